"""Open files as fsspec's clients expect them, over a store's own."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from typing import Any

from objectstorage.errors import ErrClosed
from objectstorage.storage import Reader, Writer

__all__ = ["CompressedFile", "ReadFile", "TextFile", "WriteFile"]

_log = logging.getLogger("objectstorage")


class ReadFile(io.BufferedReader):
    """An object open for reading: one version of it, from first byte to last.

    Beyond a binary file it has what clients of fsspec ask for: `fs`, `path`,
    `mode`, `size` (bytes), `details`, `info()`, `full_name`.
    """

    mode = "rb"

    def __init__(self, fs: Any, path: str, reader: Reader, block_size: int) -> None:
        details = fs._entry(path, reader.info)
        # The raw stream under a buffer of our own: reads stay in C.
        super().__init__(reader.detach(), block_size)
        self.fs = fs
        self.path = path
        self.blocksize = block_size
        self.details: dict[str, Any] = details

    @property
    def size(self) -> int:
        """Bytes of the whole object."""
        return int(self.details["size"])

    @property
    def full_name(self) -> str:
        """The path with its protocol."""
        return str(self.fs.unstrip_protocol(self.path))

    def info(self) -> dict[str, Any]:
        """What `fs.info` told of the version that is being read."""
        return self.details

    def __del__(self) -> None:
        # Clients of fsspec leave closing what they read to the finaliser, as
        # they may: io's own would warn.
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.fs, self.path, self.blocksize, self.details["ETag"], self.tell())


def _reopen(fs: Any, path: str, block_size: int, etag: str, at: int) -> ReadFile:
    file: ReadFile = fs.open(path, block_size=block_size)
    if file.details["ETag"] != etag:
        file.close()
        raise fs._replaced(path, "open")
    file.seek(at)
    return file


class WriteFile(io.BufferedIOBase):
    """An object being written, published by a clean `close()` and by nothing else.

    Leaving a `with` block by an exception publishes nothing. The layers above
    (text, gzip) only ever call `close()`, so a `close()` while an exception is
    in flight that was not there when the file was opened discards too, with a
    line in the log; code that wants to publish from inside an `except` block
    calls `commit()`. In a transaction `close()` keeps the bytes for `commit()`
    or `discard()`. What is never closed is discarded with a `ResourceWarning`.
    """

    def __init__(self, fs: Any, path: str, mode: str, writer: Writer, *, autocommit: bool) -> None:
        self.fs = fs
        self.path = path
        self.mode = mode
        self.autocommit = autocommit
        self._writer = writer
        self._closed = False
        self._before = sys.exception()

    @property
    def full_name(self) -> str:
        """The path with its protocol."""
        return str(self.fs.unstrip_protocol(self.path))

    @property
    def closed(self) -> bool:
        """Whether it takes no more bytes."""
        # getattr: io's finaliser may ask before __init__ has run
        return getattr(self, "_closed", True)

    def readable(self) -> bool:
        """False."""
        return False

    def writable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Bytes written so far."""
        return self._writer.tell()

    def write(self, data: Any, /) -> int:
        """Take all of a bytes-like object; returns its length in bytes."""
        if self._closed:
            raise ErrClosed("write to a closed file", key=self.path, operation="write")
        return self._writer.write(data)

    def flush(self, force: bool = False) -> None:
        """Does nothing: nothing is visible before the object is published."""

    def close(self) -> None:
        """Publish, or in a transaction keep for `commit`; see the class."""
        if self._closed:
            return
        exception = sys.exception()
        if exception is not None and exception is not self._before:
            _log.warning(
                "%s was closed by %s and not published", self.path, type(exception).__name__
            )
            self.discard()
            return
        self._closed = True
        if self.autocommit:
            self._writer.close()

    def commit(self) -> None:
        """Publish, whatever is in flight. Does nothing after `discard`."""
        self._closed = True
        self._writer.close()

    def discard(self) -> None:
        """Leave no trace. Does nothing once published."""
        self._closed = True
        self._writer.abort()

    def __exit__(self, exc_type: object, *args: object) -> None:
        if exc_type is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        # Not io's own finaliser: that one closes, and closing publishes.
        if not self.closed:
            warnings.warn(
                f"{self.path!r} was never closed; discarded",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
            self.discard()


class CompressedFile(io.BufferedIOBase):
    """A compressor or decompressor whose `close()` closes the file below it too.

    The codecs leave a file that they were given open, and fsspec leaves it to
    the finaliser, which must not publish.
    """

    def __init__(self, layer: Any, file: Any) -> None:
        self._layer = layer
        self._file = file
        self.mode: str = file.mode

    def readable(self) -> bool:
        """Whether it was opened for reading."""
        return bool(self._file.readable())

    def writable(self) -> bool:
        """Whether it was opened for writing."""
        return bool(self._file.writable())

    def seekable(self) -> bool:
        """Whether the codec can seek."""
        return bool(self._layer.seekable())

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` decompressed bytes, all by default."""
        return bytes(self._layer.read(-1 if size is None else size))

    def read1(self, size: int = -1, /) -> bytes:
        """Some decompressed bytes, at most `size`."""
        return bytes(self._layer.read1(size) if hasattr(self._layer, "read1") else self.read(size))

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer with decompressed bytes; how many there were."""
        return int(self._layer.readinto(buffer))

    def readline(self, size: int | None = -1, /) -> bytes:
        """The next line."""
        return bytes(self._layer.readline(-1 if size is None else size))

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move among the decompressed bytes, if the codec can."""
        return int(self._layer.seek(offset, whence))

    def tell(self) -> int:
        """Where it stands among the decompressed bytes."""
        return int(self._layer.tell())

    def write(self, data: Any, /) -> int:
        """Compress all of a bytes-like object."""
        return int(self._layer.write(data))

    def flush(self) -> None:
        """Does nothing: nothing is visible before the object is published."""

    def close(self) -> None:
        """Finish the compressed stream, then close the file."""
        if self.closed:
            return
        try:
            self._layer.close()
        except BaseException:
            if isinstance(self._file, WriteFile):
                self._file.discard()
            raise
        finally:
            try:
                self._file.close()
            finally:
                super().close()

    def __del__(self) -> None:
        # Not io's own finaliser, which closes: the file below discards itself.
        pass


class TextFile(io.TextIOWrapper):
    """Text over one of the above; unclosed, it is discarded with what is below."""

    def __del__(self) -> None:
        # Not io's own finaliser, for the same reason.
        pass
