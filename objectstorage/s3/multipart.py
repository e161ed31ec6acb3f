"""Multipart writes: parts in flight with bounded memory, conditions included.

Where the server decides a condition at Complete, it goes there. Where Complete
is not atomic, the parts make a temporary object, which a conditional copy
publishes. Either way an upload that fails is aborted.
"""

from __future__ import annotations

import secrets
from typing import Any

from objectstorage.bodies import Source
from objectstorage.errors import (
    ErrBackend,
    ErrNotExist,
    ErrOutcomeUnknown,
    StorageError,
)
from objectstorage.s3.client import Client
from objectstorage.s3.completing import begun, complete_upload, discard_upload, remove
from objectstorage.s3.copying import publish_copy
from objectstorage.s3.dialect import RESERVED
from objectstorage.s3.effects import Effects, Pull, Spawn, Task, WaitAny
from objectstorage.s3.encoding import BufferPayload
from objectstorage.s3.replies import unquoted
from objectstorage.s3.retrying import Trace
from objectstorage.s3.signing import query_of, quote_key
from objectstorage.s3.writing import Condition, object_headers, raise_hidden
from objectstorage.storage import PutResult

__all__ = ["MAX_PARTS", "PartsUpload", "part_size_for", "put_parts"]

MAX_PARTS = 10_000
_MIB = 1024 * 1024


def part_size_for(size: int | None, part_size: int, number: int) -> int:
    """Bytes of part `number` (from 1), so that 10,000 parts are enough.

    Of unknown size the parts double every thousand: the first 8,000 MiB take
    no more memory than a short stream, and 5 TiB still fit.

    >>> part_size_for(None, 8, 1), part_size_for(None, 8, 1001)
    (8, 16)
    """
    if size is None:
        return part_size * int(2 ** ((number - 1) // 1000))
    return max(part_size, -(-size // MAX_PARTS))


class PartsUpload:
    """One multipart upload; its methods are generators to be run one at a time."""

    def __init__(
        self,
        client: Client,
        key: str,
        content_type: str | None,
        metadata: dict[str, str],
        condition: Condition | None,
        deadline: float | None = None,
    ) -> None:
        self._client = client
        self._key = key
        self._condition = condition
        self._deadline = deadline
        dialect = client.dialect
        self._by_copy = (
            condition is not None and dialect is not None and dialect.multipart_condition == "copy"
        )
        self._target = f"{RESERVED}/tmp/{secrets.token_hex(16)}" if self._by_copy else key
        self._path = quote_key(client.options.prefix + self._target)
        self._write_id = condition.write_id if condition is not None else secrets.token_hex(16)
        self._headers = object_headers(client, content_type, metadata, self._write_id)
        self._upload_id: str | None = None
        self._flying: list[Task] = []
        self._done: dict[int, tuple[str, str | None]] = {}
        self._number = 0
        self._size = 0

    def add(self, data: bytes | bytearray | memoryview) -> Effects[None]:
        """Send one part beside the others; waits while too many are in flight."""
        if self._upload_id is None:
            yield from self._begin()
        self._number += 1
        self._size += len(data)
        task = yield Spawn(self._send(self._number, data))
        self._flying.append(task)
        while len(self._flying) >= self._client.options.parts_in_flight:
            yield from self._collect()

    def _begin(self) -> Effects[None]:
        headers = self._headers
        if self._client.options.checksum != "none":
            headers = [*headers, ("x-amz-checksum-algorithm", "CRC32")]
        reply = yield from self._client.call(
            "POST", self._path, "uploads=", headers, BufferPayload(b""), deadline=self._deadline
        )
        self._upload_id = begun(self._client, reply)

    def _send(
        self, number: int, data: bytes | bytearray | memoryview
    ) -> Effects[tuple[int, str, str | None]]:
        options = self._client.options
        payload = BufferPayload(
            data, checksum=options.checksum != "none", signed=options.sign_payload
        )
        query = query_of([("partNumber", str(number)), ("uploadId", self._upload_id or "")])
        reply = yield from self._client.call(
            "PUT", self._path, query, (), payload, deadline=self._deadline
        )
        self._client.expect(reply, 200)
        raise_hidden(self._client, reply, Trace())
        etag = unquoted(reply.headers.get("etag", ""))
        if not etag:
            raise ErrBackend(f"the server took part {number} and gave it no ETag")
        return number, etag, payload.checksum

    def _collect(self) -> Effects[None]:
        done: list[Task] = yield WaitAny(self._flying)
        self._flying = [task for task in self._flying if task not in done]
        failures = []
        for task in done:
            error = task.settle()
            if error is not None:
                failures.append(error)
                continue
            number, etag, checksum = task.result()
            self._done[number] = (etag, checksum)
        if failures:
            raise failures[0]

    def complete(self) -> Effects[PutResult]:
        """Wait for the parts and make them the object."""
        while self._flying:
            yield from self._collect()
        if self._by_copy and self._condition is not None:
            etag = yield from self._publish(self._condition)
        else:
            etag = yield from self._complete(self._condition)
        return PutResult(self._key, self._size, etag)

    def _publish(self, condition: Condition) -> Effects[str]:
        """Make the parts a temporary object and that, by a conditional copy, the object."""
        try:
            etag = yield from self._complete(None)
        except ErrOutcomeUnknown as exc:
            # In doubt is the temporary alone; what was to be written certainly was not.
            raise exc.__cause__ or exc
        etag = yield from publish_copy(
            self._client, self._target, etag, self._key, condition, self._deadline
        )
        try:
            # If that fails, it stays out of every listing and is found by the sweep.
            yield from remove(self._client, self._target)
        except BaseException as exc:
            raise ErrOutcomeUnknown("interrupted after the write was done") from exc
        return etag

    def _complete(self, condition: Condition | None) -> Effects[str]:
        parts = [(number, *self._done[number]) for number in sorted(self._done)]
        return complete_upload(
            self._client,
            self._target,
            self._upload_id or "",
            parts,
            self._write_id,
            condition,
            self._deadline,
        )

    def abort(self) -> Effects[None]:
        """Throw the upload away, once no part can land any more."""
        for task in self._flying:
            task.cancel()
        while self._flying:
            done: list[Task] = yield WaitAny(self._flying)
            self._flying = [task for task in self._flying if task not in done]
            for task in done:
                task.settle()
        if self._upload_id is not None:
            yield from discard_upload(self._client, self._target, self._upload_id)
            if self._by_copy:
                yield from remove(self._client, self._target)

    @property
    def size(self) -> int:
        """Bytes added."""
        return self._size


def put_parts(
    client: Client,
    key: str,
    source: Source,
    first: bytes | bytearray | memoryview | None,
    content_type: str | None,
    metadata: dict[str, str],
    condition: Condition | None,
    deadline: float | None,
) -> Effects[PutResult]:
    """A source as a multipart upload; `first` is its first part, already pulled."""
    tries = 0
    while True:
        upload = PartsUpload(client, key, content_type, metadata, condition, deadline)
        try:
            number = 1
            data: Any = first
            if data is None:
                data = yield Pull(source, part_size_for(source.size, client.options.part_size, 1))
            while len(data):
                yield from upload.add(data)
                number += 1
                data = yield Pull(
                    source, part_size_for(source.size, client.options.part_size, number)
                )
            return (yield from upload.complete())
        except BaseException as exc:
            yield from upload.abort()
            tries += 1
            if not (_raced(exc) and source.rewindable and tries < client.options.attempts):
                raise
        source.rewind()
        first = None


def _raced(exc: BaseException) -> bool:
    """Whether S3 asks to upload it all again, because two completed at once."""
    return isinstance(exc, StorageError) and (
        exc.code in ("ConditionalRequestConflict", "OperationAborted")
        or (exc.status == 409 and not isinstance(exc, ErrNotExist))
    )
