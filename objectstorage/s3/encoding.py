"""Request bodies as they go over the wire, with their checksums.

A buffer goes as it is, its CRC-32 in a header of its own. A stream goes in chunks of
`aws-chunked` with its CRC-32 in the trailer, so that it is read only once.
"""

from __future__ import annotations

import hashlib
from binascii import b2a_base64
from collections.abc import Sequence
from typing import Protocol

from objectstorage.bodies import Source
from objectstorage.errors import ErrIntegrity
from objectstorage.s3.signing import EMPTY_SHA256, UNSIGNED, Headers
from objectstorage.s3.transport import StreamBody

try:  # the extra `fast`: three times as fast
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

__all__ = ["EMPTY", "BufferPayload", "Payload", "StreamPayload", "crc32", "crc32_text"]

CHUNK = 256 * 1024


def crc32_text(value: int) -> str:
    """A CRC-32 as S3 writes it: base64 of its four bytes.

    >>> crc32_text(crc32(b"hello"))
    'NhCmhg=='
    """
    return b2a_base64(value.to_bytes(4, "big"), newline=False).decode()


class Payload(Protocol):
    """A request's body: what is signed, what is declared, what is sent.

    checksum: its CRC-32 where that is declared before it is sent.
    """

    hash: str
    headers: Headers
    length: int | None
    checksum: str | None

    def body(self) -> bytes | memoryview | StreamBody | None:
        """The body, from its start; called once an attempt."""

    @property
    def repeatable(self) -> bool:
        """Whether `body` may be called again."""


class _Empty:
    hash = EMPTY_SHA256
    headers: Headers = ()
    length: int | None = None
    checksum: str | None = None
    repeatable = True

    def body(self) -> None:
        return None


EMPTY: Payload = _Empty()
"""No body, and none expected: GET, HEAD, DELETE."""


class BufferPayload:
    """Bytes in memory, sent without a copy."""

    repeatable = True

    def __init__(
        self,
        data: bytes | bytearray | memoryview,
        *,
        checksum: bool = False,
        signed: bool = False,
        headers: Headers = (),
    ) -> None:
        self._data = data
        self.length: int | None = len(data)
        self.hash = hashlib.sha256(data).hexdigest() if signed else UNSIGNED
        self.headers: Headers = headers
        self.checksum: str | None = crc32_text(crc32(data)) if checksum else None

    def body(self) -> bytes | memoryview:
        data = self._data
        return data if isinstance(data, bytes) else memoryview(data)


class StreamPayload:
    """`size` bytes of a source, read while they are sent."""

    checksum: str | None = None  # known only when all is sent, and sent then

    def __init__(self, source: Source, size: int, *, checksum: bool) -> None:
        self._source = source
        self._size = size
        self._used = False
        self._checksum = checksum
        if checksum:
            self.hash = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
            self.headers: Headers = (
                ("content-encoding", "aws-chunked"),
                ("x-amz-decoded-content-length", str(size)),
                ("x-amz-trailer", "x-amz-checksum-crc32"),
            )
            self.length: int | None = _chunked_length(size)
        else:
            self.hash = UNSIGNED
            self.headers = ()
            self.length = size

    @property
    def repeatable(self) -> bool:
        return self._source.rewindable or not self._used

    def body(self) -> StreamBody:
        if self._used:
            self._source.rewind()
        self._used = True
        kind = _Chunked if self._checksum else _Plain
        return kind(self._source, self._size, self.length or 0)


_TRAILER = len("0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n")


def _chunked_length(size: int) -> int:
    """Bytes on the wire of `size` bytes in chunks of `CHUNK`."""
    whole, rest = divmod(size, CHUNK)
    length = whole * (len(f"{CHUNK:x}") + 4 + CHUNK)
    if rest:
        length += len(f"{rest:x}") + 4 + rest
    return length + _TRAILER


class _Plain(StreamBody):
    """The source's bytes as they are."""

    def __init__(self, source: Source, size: int, length: int) -> None:
        super().__init__(source, length)
        self._left = size

    def want(self) -> int:
        return min(self._left, CHUNK)

    def feed(self, data: bytes | bytearray | memoryview) -> Sequence[bytes | memoryview]:
        self._take(len(data))
        return [memoryview(data)]

    def finish(self) -> Sequence[bytes | memoryview]:
        self._take(0)
        return []

    def _take(self, count: int) -> None:
        if count != self.want():  # fewer only at the source's end
            # The rest of the body can't be made up; the connection is dropped.
            raise ErrIntegrity(f"the source ended {self._left - count} bytes early")
        self._left -= count


class _Chunked(_Plain):
    """`aws-chunked` with an unsigned trailer."""

    def __init__(self, source: Source, size: int, length: int) -> None:
        super().__init__(source, size, length)
        self._crc = 0

    def feed(self, data: bytes | bytearray | memoryview) -> Sequence[bytes | memoryview]:
        self._take(len(data))
        self._crc = crc32(data, self._crc)
        return [f"{len(data):x}\r\n".encode(), memoryview(data), b"\r\n"]

    def finish(self) -> Sequence[bytes | memoryview]:
        self._take(0)
        return [f"0\r\nx-amz-checksum-crc32:{crc32_text(self._crc)}\r\n\r\n".encode()]
