"""Several requests at once, in threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["together"]

_T = TypeVar("_T")


def together(calls: Sequence[Callable[[], _T]], width: int) -> list[_T]:
    """What the calls give, in order; at most `width` at once. The first error is raised."""
    if width == 1 or len(calls) == 1:
        return [call() for call in calls]
    with ThreadPoolExecutor(min(width, len(calls)), "objectstorage-data") as pool:
        futures = [pool.submit(call) for call in calls]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise
