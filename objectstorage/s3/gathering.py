"""What a writer does with the bytes it is given: gather parts, publish, or discard."""

from __future__ import annotations

from collections.abc import Callable

from objectstorage.errors import ErrClosed
from objectstorage.s3.client import Client
from objectstorage.s3.effects import Effects
from objectstorage.s3.encoding import BufferPayload
from objectstorage.s3.multipart import PartsUpload, part_size_for
from objectstorage.s3.writing import Condition, object_headers, put_payload
from objectstorage.storage import PutResult

__all__ = ["Gathering"]


class Gathering:
    """Holds up to a part; one part's worth or less becomes a single put.

    require: raises if the condition can't be kept for a multipart write.
    """

    def __init__(
        self,
        client: Client,
        key: str,
        content_type: str | None,
        metadata: dict[str, str],
        condition: Condition | None,
        require: Callable[[], None],
    ) -> None:
        self._client = client
        self._key = key
        self._content_type = content_type
        self._metadata = metadata
        self._condition = condition
        self._require = require
        self._buffer = bytearray()
        self._parts: PartsUpload | None = None
        self._number = 1
        self._failed = False

    def append(self, data: memoryview) -> Effects[None]:
        """Take all of `data`."""
        if self._failed:
            raise ErrClosed("an earlier write failed; nothing will be published")
        try:
            while len(data):
                wanted = part_size_for(None, self._client.options.part_size, self._number)
                if len(self._buffer) == wanted:
                    # A further byte is here: this part is full, and not the last.
                    yield from self._flush()
                    continue
                room = wanted - len(self._buffer)
                self._buffer += data[:room]
                data = data[room:]
        except BaseException:
            self._failed = True
            raise

    def _flush(self) -> Effects[None]:
        if self._parts is None:
            self._require()
            self._parts = PartsUpload(
                self._client, self._key, self._content_type, self._metadata, self._condition
            )
        part, self._buffer = self._buffer, bytearray()
        self._number += 1
        yield from self._parts.add(part)

    def publish(self) -> Effects[PutResult]:
        """Make it the object; whatever fails leaves nothing."""
        if self._failed:
            yield from self.discard()
            raise ErrClosed("an earlier write failed; nothing was published")
        if self._parts is None:
            return (yield from self._put())
        try:
            if self._buffer:
                yield from self._flush()
            return (yield from self._parts.complete())
        except BaseException:
            yield from self._parts.abort()
            raise

    def _put(self) -> Effects[PutResult]:
        options, condition = self._client.options, self._condition
        payload = BufferPayload(
            self._buffer, checksum=options.checksum != "none", signed=options.sign_payload
        )
        headers = object_headers(
            self._client,
            self._content_type,
            self._metadata,
            condition.write_id if condition is not None else None,
        )
        size = len(self._buffer)
        return put_payload(self._client, self._key, payload, size, headers, condition, None)

    def discard(self) -> Effects[None]:
        """Leave no trace."""
        self._buffer = bytearray()
        parts, self._parts = self._parts, None
        if parts is not None:
            yield from parts.abort()
