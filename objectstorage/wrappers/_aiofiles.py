"""What of the asynchronous wrappers has no generated twin: files (see `_files`)."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from objectstorage.aio.storage import AsyncData, AsyncReader, AsyncWriter
from objectstorage.bodies import Source, as_source
from objectstorage.errors import ErrClosed, ErrIntegrity
from objectstorage.storage import ObjectInfo, PutResult

if TYPE_CHECKING:
    from objectstorage.wrappers._async.forwarding import AsyncCall

__all__ = [
    "PIECE",
    "AsyncCountingWriter",
    "AsyncWrappedReader",
    "AsyncWrappedWriter",
    "count_bytes",
    "finish",
    "paced",
]

PIECE = 64 * 1024
"""Bytes that are sent in one go when there is a limit to how many a second."""


class AsyncWrappedReader(AsyncReader):
    """`inner` from its byte `first` on, as the object that `info` tells of."""

    def __init__(
        self, inner: AsyncReader, info: ObjectInfo, call: AsyncCall, first: int = 0
    ) -> None:
        self._inner = inner
        self._info = info
        self._call = call
        self._first = first
        self._at = 0
        self._moved = bool(first)

    @property
    def info(self) -> ObjectInfo:
        return self._info

    async def read(self, n: int = -1, /) -> bytes:
        async with self._call as call:
            await self._go()
            data = await self._inner.read(n)
            await call.received(len(data))
        self._at += len(data)
        return data

    async def readinto(self, buffer: Any, /) -> int:
        async with self._call as call:
            await self._go()
            count = await self._inner.readinto(buffer)
            await call.received(count)
        self._at += count
        return count

    async def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        place = (0, self._at, self._info.size)[whence] + offset
        if place < 0:
            raise ValueError("seek before the start")
        self._at, self._moved = place, True
        return place

    async def tell(self) -> int:
        return self._at

    async def close(self) -> None:
        try:
            await self._inner.close()
        finally:
            self._call.end()

    async def _go(self) -> None:
        if self._moved:
            await self._inner.seek(self._first + self._at)
            self._moved = False


class AsyncWrappedWriter(AsyncWriter):
    """`inner`, and what it published as `result` has it."""

    def __init__(
        self, inner: AsyncWriter, call: AsyncCall, result: Callable[[PutResult], PutResult]
    ) -> None:
        self._inner = inner
        self._call = call
        self._to_result = result

    async def write(self, data: Any, /) -> int:
        count = memoryview(data).nbytes
        await self._call.sending(count)
        async with self._call as call:
            await self._inner.write(data)
            call.sent(count)
        return count

    async def _publish(self) -> PutResult:
        async with self._call as call:
            await self._inner.close()
            assert self._inner.result is not None
            result = self._to_result(self._inner.result)
        call.end()
        return result

    async def _discard(self) -> None:
        try:
            await self._inner.abort()
        finally:
            self._call.end("aborted")

    def __del__(self) -> None:
        """The inner writer warns, once for both, and knows how to discard."""


class AsyncCountingWriter(AsyncWriter):
    """A writer that counts, and publishes by calling `publish` with how many bytes it were."""

    def __init__(self, publish: Callable[[int], Awaitable[PutResult]]) -> None:
        self._to_result = publish
        self._count = 0

    async def write(self, data: Any, /) -> int:
        if self.closed:
            raise ErrClosed("write to a closed writer")
        count = memoryview(data).nbytes
        self._count += count
        return count

    async def _publish(self) -> PutResult:
        return await self._to_result(self._count)

    async def _discard(self) -> None:
        """There is nothing."""


async def count_bytes(data: AsyncData, size: int | None) -> int:
    """How many bytes `put` would store; reads them."""
    count = 0
    if isinstance(data, AsyncIterable):
        async for chunk in data:
            count += len(chunk)
        if size is not None and count != size:
            raise ErrIntegrity(f"{size} bytes were promised, {count} came")
        return count
    async for piece in _read(as_source(data, size)):
        count += len(piece)
    return count


async def paced(data: AsyncData, size: int | None, call: AsyncCall) -> tuple[AsyncData, int | None]:
    """`put`'s arguments such that `call.sending` is asked before every piece."""
    if isinstance(data, AsyncIterable):
        return _chunks(data, call), size
    source = as_source(data, size)
    if source.in_memory and source.size is not None and source.size <= PIECE:
        await call.sending(source.size)
        return data, size
    return _pieces(source, call), source.size


async def _chunks(chunks: AsyncIterable[bytes], call: AsyncCall) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        for at in range(0, len(chunk), PIECE):
            piece = chunk[at : at + PIECE]
            await call.sending(len(piece))
            yield piece


async def _pieces(source: Source, call: AsyncCall) -> AsyncIterator[Any]:
    async for piece in _read(source):
        await call.sending(len(piece))
        yield piece


async def _read(source: Source) -> AsyncIterator[Any]:
    while True:
        # a file may block, and so may whatever an iterable does
        if source.in_memory:
            piece = source.read(PIECE)
        else:
            piece = await asyncio.to_thread(source.read, PIECE)
        if not piece:
            return
        yield piece


async def finish(iterator: AsyncIterator[Any]) -> None:
    """Let go of what an iterator holds, if it holds anything."""
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()
