"""Waiting in the asynchronous face; `_waiting` has the same for the blocking one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager

from objectstorage.aio.driver import AsyncSource, read_source
from objectstorage.aio.storage import AsyncData
from objectstorage.bodies import as_source
from objectstorage.errors import ErrTimeout

__all__ = ["AsyncBell", "AsyncTurn", "achunks"]

_CHUNK = 256 * 1024


async def achunks(data: AsyncData) -> AsyncIterator[bytes]:
    """The bytes of data, some at a time; what may block is read in a thread."""
    # Asynchronous first: a store's own reader has an awaitable `read`.
    source = AsyncSource(data, None) if isinstance(data, AsyncIterable) else as_source(data)
    while chunk := await read_source(source, _CHUNK):
        yield bytes(chunk)


class AsyncTurn:
    """One at a time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def taken(self, seconds: float | None) -> AsyncIterator[None]:
        """One's turn, for the block; `ErrTimeout` if it does not come in time."""
        try:
            async with asyncio.timeout(seconds):
                await self._lock.acquire()
        except TimeoutError as exc:
            raise ErrTimeout("others took too long") from exc
        try:
            yield
        finally:
            self._lock.release()


class AsyncBell:
    """Rung once; `wait` ends early then."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def rung(self) -> bool:
        """Whether it was."""
        return self._event.is_set()

    def ring(self) -> None:
        """End all waiting, now and from now on."""
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Wait so long, or until it is rung."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass
