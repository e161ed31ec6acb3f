"""What can be stored: one way to take bytes from anything `put` accepts."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from typing import Any

from objectstorage.errors import ErrBadRequest, ErrIntegrity

__all__ = ["ChunkSource", "Gatherer", "Source", "as_buffer", "as_source", "check_size", "pull"]

_CHUNK = 1024 * 1024


def as_buffer(data: Any, size: int | None) -> memoryview | None:
    """A flat view of bytes-like data, cut to `size`; None if it must be read.

    `TypeError` for what is no data at all, `ErrIntegrity` for too few bytes.
    """
    check_size(size)
    if isinstance(data, bytes | bytearray):
        view = memoryview(data)
    elif isinstance(data, str):
        raise TypeError("data is bytes, a binary file or an iterable of bytes, not str")
    elif isinstance(data, os.PathLike):
        raise TypeError("data is no path; use upload(key, path)")
    else:
        try:
            view = memoryview(data)
        except TypeError:
            return None
        # cast refuses views with gaps; those need a copy
        view = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
    if size is None or size == len(view):
        return view
    if size > len(view):
        raise ErrIntegrity(f"size={size} was promised, the data has {len(view)} bytes")
    return view[:size]


def check_size(size: int | None) -> None:
    """A promised size is a number of bytes."""
    if size is None:
        return
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"size is an int, not {type(size).__name__}")
    if size < 0:
        raise ErrBadRequest(f"size={size} is negative")


class Source:
    """Bytes to be stored, taken piece by piece, in bounded memory.

    `size` is None when only reading to the end can tell. `rewind` goes back to
    where it began, when `rewindable`; reading never blocks when `in_memory`.
    """

    size: int | None
    rewindable: bool = False
    in_memory: bool = False

    def read(self, n: int) -> bytes | memoryview:
        """Up to `n` bytes; empty at the end, `ErrIntegrity` before a promised one."""
        raise NotImplementedError

    def rewind(self) -> None:
        """Back to the first byte; `ErrBadRequest` if that can't be."""
        raise ErrBadRequest("this source can be read once only")


class _BufferSource(Source):
    rewindable = True
    in_memory = True

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0
        self.size = len(view)

    def read(self, n: int) -> memoryview:
        piece = self._view[self._at : self._at + n]
        self._at += len(piece)
        return piece

    def rewind(self) -> None:
        self._at = 0


class _FileSource(Source):
    def __init__(self, file: Any, size: int | None) -> None:
        self._file = file
        self._start: int | None = None
        seekable = getattr(file, "seekable", None)
        if seekable is not None and seekable():
            self._start = file.tell()
            self.rewindable = True
            if size is None:
                size = max(0, file.seek(0, io.SEEK_END) - self._start)
                file.seek(self._start)
        self.size = size
        self._left = size

    def read(self, n: int) -> bytes:
        if self._left is not None:
            n = min(n, self._left)
        if n == 0:
            return b""
        data = self._file.read(n)
        if not isinstance(data, bytes):
            if isinstance(data, str):
                raise TypeError("data is a text file; open it in binary mode")
            if data is None:
                raise TypeError("data is a non-blocking file that has no bytes yet")
            data = bytes(data)
        if self._left is not None:
            if not data:
                raise ErrIntegrity(f"{self.size} bytes were promised, {self._left} are missing")
            if len(data) > n:
                raise ErrIntegrity("the file gave more bytes than it was asked for")
            self._left -= len(data)
        return data

    def rewind(self) -> None:
        if self._start is None:
            super().rewind()
        self._file.seek(self._start)
        self._left = self.size


class ChunkSource(Source):
    """Chunks of any length, given out piece by piece; where they come from is a subclass's."""

    def __init__(self, size: int | None) -> None:
        self.size = size
        self._left = size
        self._rest = memoryview(b"")

    @property
    def _wanting(self) -> bool:
        """Whether the next piece needs another chunk."""
        return not self._rest and self._left != 0

    def _accept(self, chunk: Any) -> bool:
        """Take the next chunk, None at the end; whether there was one."""
        if chunk is None:
            if self._left:
                raise ErrIntegrity(f"{self.size} bytes were promised, {self._left} are missing")
            return False
        if isinstance(chunk, str | int):
            raise TypeError(f"data is an iterable of bytes, not of {type(chunk).__name__}")
        self._rest = memoryview(chunk).cast("B")
        if self._left is not None:
            if len(self._rest) > self._left:
                # What was pulled can't be put back, and must not be lost unseen.
                raise ErrIntegrity(f"{self.size} bytes were promised, the iterable gave more")
            self._left -= len(self._rest)
        return True

    def _cut(self, n: int) -> memoryview:
        piece, self._rest = self._rest[:n], self._rest[n:]
        return piece


class _IterableSource(ChunkSource):
    def __init__(self, chunks: Iterable[Any], size: int | None) -> None:
        super().__init__(size)
        self._chunks: Iterator[Any] = iter(chunks)

    def read(self, n: int) -> memoryview:
        while self._wanting and self._accept(next(self._chunks, None)):
            pass
        return self._cut(n)


def as_source(data: Any, size: int | None = None) -> Source:
    """What `put` was given as a `Source`; `TypeError` for what is no data.

    >>> as_source([b"ab", b"c"]).read(10).tobytes()
    b'ab'
    """
    check_size(size)
    view = as_buffer(data, size)
    if view is not None:
        return _BufferSource(view)
    if isinstance(data, io.TextIOBase):
        raise TypeError("data is a text file; open it in binary mode")
    if callable(getattr(data, "read", None)):
        return _FileSource(data, size)
    try:
        return _IterableSource(data, size)
    except TypeError:
        raise TypeError(
            f"data is bytes, a binary file or an iterable of bytes, not {type(data).__name__}"
        ) from None


def pull(source: Source, n: int) -> bytes | bytearray | memoryview:
    """`n` bytes of a source, without a copy when one read gives them all."""
    first = source.read(n)
    if len(first) == n or not first:
        return first
    gathered = Gatherer(first, n)
    while gathered.missing and gathered.add(source.read(gathered.missing)):
        pass
    return gathered.result()


class Gatherer:
    """Pieces put together in one buffer of known size, so that growing copies nothing."""

    def __init__(self, first: bytes | bytearray | memoryview, n: int) -> None:
        self._buffer = bytearray(n)
        self._count = 0
        self.missing = n
        self.add(first)

    def add(self, piece: bytes | bytearray | memoryview) -> bool:
        """Take a piece; whether it had any bytes."""
        count = len(piece)
        self._buffer[self._count : self._count + count] = piece
        self._count += count
        self.missing -= count
        return count > 0

    def result(self) -> bytearray:
        """What was gathered."""
        del self._buffer[self._count :]
        return self._buffer
