"""Between the event loop and a thread that works for one of its tasks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, Iterator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from objectstorage import _cancel

__all__ = ["Pulled", "finished"]

_T = TypeVar("_T")


async def finished(future: asyncio.Future[Any]) -> None:
    """Wait for a thread, however often one is asked to stop: it can't be left alone."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue


class Pulled(Generic[_T]):
    """An asynchronous iterable for a thread: each step runs on the loop."""

    def __init__(self, data: AsyncIterable[_T], loop: asyncio.AbstractEventLoop) -> None:
        self._iterator = aiter(data)
        self._loop = loop
        self._lock = threading.Lock()
        self._step: Future[_T | None] | None = None
        self._stopped = False

    def __iter__(self) -> Iterator[_T]:
        while (item := self._begin().result()) is not None:
            yield item

    def _begin(self) -> Future[_T | None]:
        with self._lock:
            if self._stopped:
                raise _cancel.Cancelled
            self._step = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            return self._step

    async def _next(self) -> _T | None:
        return await anext(self._iterator, None)

    def stop(self) -> None:
        """Let the thread go that waits for more; called on the loop."""
        with self._lock:
            self._stopped = True
            if self._step is not None:
                self._step.cancel()
