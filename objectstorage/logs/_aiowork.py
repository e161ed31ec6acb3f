"""What of logs has no generated twin: work beside the caller's, as a task (see `_work`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["AsyncWorker", "pause"]


async def pause(seconds: float) -> None:
    """Wait."""
    await asyncio.sleep(seconds)


class AsyncWorker:
    """Runs one coroutine function beside its owner, until it is asked to stop.

    It is asked, never interrupted: a write under way ends as it ends.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._event = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.stopped = False

    def start(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin; `function` returns once `stopped` is true."""
        self._task = asyncio.create_task(function(), name=self._name)

    def wake(self) -> None:
        """End its `wait`, or the next one."""
        self._event.set()

    async def wait(self, seconds: float | None) -> None:
        """In the function: until woken, or for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()

    async def stop(self) -> None:
        """Ask it to return, and wait until it has."""
        self.stopped = True
        self._event.set()
        if self._task is not None:
            await asyncio.wait([self._task])
