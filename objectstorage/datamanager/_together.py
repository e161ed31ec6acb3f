"""Several requests at once, in threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TypeVar

__all__ = ["together"]

_T = TypeVar("_T")

# Seconds of a call from which on others are worth threads; a local store's are quicker.
_WORTH = 0.001


def together(calls: Sequence[Callable[[], _T]], width: int) -> list[_T]:
    """What the calls give, in order; at most `width` at once. The first error is raised."""
    found: list[_T] = []
    for call in calls:
        begun = perf_counter()
        found.append(call())
        if width > 1 and perf_counter() - begun > _WORTH:
            break
    rest = calls[len(found) :]
    if not rest:
        return found
    with ThreadPoolExecutor(min(width, len(rest)), "objectstorage-data") as pool:
        futures = [pool.submit(call) for call in rest]
        try:
            return found + [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise
