"""Bytes on their way from one side to the other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

__all__ = ["CHUNK", "Feed", "Hole"]

CHUNK = 1024 * 1024


class Feed:
    """An open file of `size` bytes as `put` reads it: counted, hashed, checked at its end.

    `moved` is called with the bytes that were read, and with a negative number
    when they are read again. `check` is called before the last of them are
    given out, so that what it raises leaves nothing published.
    """

    def __init__(
        self,
        file: BinaryIO,
        size: int,
        moved: Callable[[int], None],
        check: Callable[[], None],
        *,
        hashed: bool = False,
    ) -> None:
        self._file = file
        self._size = size
        self._moved = moved
        self._check = check
        self._hashed = hashed
        self._at = 0
        self._md5 = hashlib.md5(usedforsecurity=False)

    @property
    def digest(self) -> str:
        """The MD5 of what was read, if that was asked for."""
        return self._md5.hexdigest()

    def as_file(self) -> BinaryIO:
        """Itself: `put` reads, tells and seeks, nothing else."""
        return cast(BinaryIO, self)

    def read(self, n: int = -1, /) -> bytes:
        """Up to `n` bytes."""
        data = self._file.read(n)
        self._at += len(data)
        if self._hashed:
            self._md5.update(data)
        self._moved(len(data))
        if self._at >= self._size:
            self._check()
        return data

    def seekable(self) -> bool:
        """Whether it can be read again, for a request that is sent again."""
        return self._file.seekable()

    def tell(self) -> int:
        """Bytes read so far."""
        return self._at

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Back to the beginning; nobody seeks elsewhere."""
        if offset or whence:
            raise ValueError("a feed goes back to its beginning only")
        self.take_back()
        return self._file.seek(0)

    def take_back(self) -> None:
        """Forget what was read: it did not arrive."""
        self._moved(-self._at)
        self._at = 0
        self._md5 = hashlib.md5(usedforsecurity=False)

    def chunks(self) -> Iterator[bytes]:
        """What is left, in pieces."""
        while chunk := self.read(CHUNK):
            yield chunk


class Hole:
    """A file without end and without contents, for what only counts bytes."""

    _ZEROS = bytes(CHUNK)

    def as_file(self) -> BinaryIO:
        """Itself: only `read` is called."""
        return cast(BinaryIO, self)

    def read(self, n: int = -1, /) -> bytes:
        """`n` zeros, at most a chunk."""
        return self._ZEROS if n >= CHUNK else self._ZEROS[:n]
