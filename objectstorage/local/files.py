"""An object's bytes: reading them exactly, as a stream, copying them, writing them."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from typing import Any

from objectstorage.errors import ErrClosed, ErrIntegrity, StorageError
from objectstorage.local import ops
from objectstorage.local.atomic import Temporary
from objectstorage.local.failures import read_error
from objectstorage.storage import PutResult, Writer

__all__ = ["LocalWriter", "RawFile", "copy_bytes", "read_exactly"]

_CHUNK = 1024 * 1024
_BUFFERED = 64 * 1024
# Where the kernel can't copy between these two files, and reading and writing can.
_NO_KERNEL_COPY = (errno.ENOSYS, errno.ENOTSUP, errno.EINVAL, errno.EXDEV, errno.EBADF)


def read_exactly(fd: int, count: int, offset: int) -> bytes:
    """`count` bytes from `offset`; `ErrIntegrity` if the file turns out shorter."""
    data = ops.pread(fd, count, offset)
    if len(data) == count:
        return data
    pieces = [data]  # the kernel reads at most 2 GiB at once
    done = len(data)
    while done < count:
        piece = ops.pread(fd, count - done, offset + done)
        if not piece:
            raise ErrIntegrity(f"the file ended after {offset + done} bytes while it was read")
        pieces.append(piece)
        done += len(piece)
    return b"".join(pieces)


def copy_bytes(src: int, temporary: Temporary, size: int) -> None:
    """Fill the temporary with the file's bytes, by reference or within the kernel.

    Never a hard link: that would be one object under two keys.
    """
    try:
        ops.reflink(src, temporary.fd)
        done = ops.fstat(temporary.fd).st_size
    except OSError:
        done = _copy_range(src, temporary.fd, size)
        while piece := ops.pread(src, _CHUNK, done):
            temporary.write(piece)
            done += len(piece)
    if done != size:
        raise ErrIntegrity(f"the file has {done} bytes, no longer {size}")


def _copy_range(src: int, dst: int, size: int) -> int:
    done = 0
    try:
        while done < size and (count := ops.copy_range(src, dst, size - done)):
            done += count
    except OSError as exc:
        if exc.errno not in _NO_KERNEL_COPY:
            raise
    return done


class RawFile(io.FileIO):
    """An open object; what the system refuses is a `StorageError`."""

    def __init__(self, fd: int, located: Callable[[StorageError], StorageError]) -> None:
        super().__init__(fd, "rb")
        self._located = located

    def readinto(self, buffer: Any, /) -> int:
        """See `io.RawIOBase.readinto`."""
        try:
            return super().readinto(buffer) or 0
        except OSError as exc:
            raise self._located(read_error(exc)) from exc

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """See `io.IOBase.seek`."""
        try:
            return super().seek(offset, whence)
        except OSError as exc:
            raise ValueError("seek before the start") from exc

    def readall(self) -> bytes:
        """See `io.RawIOBase.readall`."""
        try:
            return super().readall() or b""
        except OSError as exc:
            raise self._located(read_error(exc)) from exc


class LocalWriter(Writer):
    """An object being written to a temporary file."""

    def __init__(
        self,
        temporary: Temporary,
        commit: Callable[[Temporary], PutResult],
        located: Callable[[StorageError], StorageError],
    ) -> None:
        super().__init__()
        self._located = located
        self._temporary = temporary
        self._commit = commit
        self._pid = os.getpid()
        self._small = bytearray()

    def _append(self, data: memoryview) -> None:
        if len(self._small) + len(data) < _BUFFERED:
            self._small += data
            return
        try:
            self._spill()
            self._temporary.write(data)
        except StorageError as exc:
            raise self._located(exc)

    def _spill(self) -> None:
        if self._small:
            small, self._small = self._small, bytearray()
            self._temporary.write(small)

    def _publish(self) -> PutResult:
        if os.getpid() != self._pid:
            self._discard()
            raise ErrClosed("the writer belongs to the process that opened it")
        try:
            self._spill()
            return self._commit(self._temporary)
        except BaseException as exc:
            self._discard()
            if isinstance(exc, StorageError):
                self._located(exc)
            raise

    def _discard(self) -> None:
        self._small = bytearray()
        self._temporary.discard()
