"""Several requests at once, on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

__all__ = ["together"]

_T = TypeVar("_T")


async def together(calls: Sequence[Callable[[], Awaitable[_T]]], width: int) -> list[_T]:
    """What the calls give, in order; at most `width` at once. The first error is raised."""
    if width == 1 or len(calls) == 1:
        return [await call() for call in calls]
    found: list[_T] = []
    for start in range(0, len(calls), width):
        tasks = [asyncio.ensure_future(call()) for call in calls[start : start + width]]
        try:
            found.extend(await asyncio.gather(*tasks))
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
    return found
