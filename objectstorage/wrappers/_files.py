"""What of the blocking wrappers is not generated: files, whose two faces differ in shape."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from objectstorage.bodies import Source, as_source
from objectstorage.storage import Data, ObjectInfo, PutResult, Reader, Writer

if TYPE_CHECKING:
    from objectstorage.wrappers._sync.forwarding import Call

__all__ = [
    "PIECE",
    "CountingWriter",
    "WrappedReader",
    "WrappedWriter",
    "count_bytes",
    "finish",
    "paced",
]

PIECE = 64 * 1024
"""Bytes that are sent in one go when there is a limit to how many a second."""


class WrappedReader(Reader):
    """`inner` from its byte `first` on, as the object that `info` tells of."""

    def __init__(self, inner: Reader, info: ObjectInfo, call: Call, first: int = 0) -> None:
        super().__init__(_Raw(inner, info.size, call, first), info)


class _Raw(io.RawIOBase):
    def __init__(self, inner: Reader, size: int, call: Call, first: int) -> None:
        self._inner = inner
        self._size = size
        self._call = call
        self._first = first
        self._at = 0
        if first:
            inner.seek(first)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        with self._call as call:
            count = self._inner.readinto1(buffer)
            call.received(count)
        self._at += count
        return count

    def readall(self) -> bytes:
        # io's own asks for 8 KiB at a time
        with self._call as call:
            data = self._inner.read()
            call.received(len(data))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        place = (0, self._at, self._size)[whence] + offset
        if place < 0:
            raise ValueError("seek before the start")
        self._inner.seek(self._first + place)
        self._at = place
        return place

    def close(self) -> None:
        if not self.closed:
            try:
                self._inner.close()
            finally:
                super().close()
                self._call.end()


class WrappedWriter(Writer):
    """`inner`, and what it published as `result` has it."""

    def __init__(self, inner: Writer, call: Call, result: Callable[[PutResult], PutResult]) -> None:
        super().__init__()
        self._inner = inner
        self._call = call
        self._to_result = result

    def _append(self, data: memoryview) -> None:
        self._call.sending(len(data))
        with self._call as call:
            self._inner.write(data)
            call.sent(len(data))

    def _publish(self) -> PutResult:
        with self._call as call:
            self._inner.close()
            assert self._inner.result is not None
            result = self._to_result(self._inner.result)
        call.end()
        return result

    def _discard(self) -> None:
        try:
            self._inner.abort()
        finally:
            self._call.end("aborted")


class CountingWriter(Writer):
    """A writer that counts, and publishes by calling `publish` with how many bytes it were."""

    def __init__(self, publish: Callable[[int], PutResult]) -> None:
        super().__init__()
        self._to_result = publish

    def _append(self, data: memoryview) -> None:
        """Nothing is kept; the caller counts."""

    def _publish(self) -> PutResult:
        return self._to_result(self._count)

    def _discard(self) -> None:
        """There is nothing."""


def count_bytes(data: Data, size: int | None) -> int:
    """How many bytes `put` would store; reads them."""
    source = as_source(data, size)
    count = 0
    while piece := source.read(PIECE):
        count += len(piece)
    return count


def paced(data: Data, size: int | None, call: Call) -> tuple[Data, int | None]:
    """`put`'s arguments such that `call.sending` is asked before every piece."""
    source = as_source(data, size)
    if source.in_memory and source.size is not None and source.size <= PIECE:
        call.sending(source.size)
        return data, size
    return _pieces(source, call), source.size


def _pieces(source: Source, call: Call) -> Iterator[Any]:
    while piece := source.read(PIECE):
        call.sending(len(piece))
        yield piece


def finish(iterator: Iterator[Any]) -> None:
    """Let go of what an iterator holds, if it holds anything."""
    close = getattr(iterator, "close", None)
    if close is not None:
        close()
