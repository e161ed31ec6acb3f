"""The end of a multipart upload: it becomes the object, or is thrown away."""

from __future__ import annotations

import time

from objectstorage.errors import ErrBackend, ErrOutcomeUnknown, StorageError
from objectstorage.s3.client import Client
from objectstorage.s3.effects import Effects
from objectstorage.s3.encoding import BufferPayload
from objectstorage.s3.replies import error_of
from objectstorage.s3.retrying import Trace
from objectstorage.s3.signing import query_of, quote_key
from objectstorage.s3.transport import Reply
from objectstorage.s3.writing import (
    Condition,
    etag_within,
    found_ours,
    raise_hidden,
    refused,
    settle,
)
from objectstorage.s3.xml import complete_body, parse_text

__all__ = ["begun", "complete_upload", "discard_upload", "remove"]

_TIDY = 10.0  # seconds that cleaning up may hold up whoever waits for the error


def begun(client: Client, reply: Reply) -> str:
    """The id of the upload that a server says it has begun."""
    client.expect(reply, 200)
    raise_hidden(client, reply, Trace())
    upload_id = parse_text(bytes(reply.body), "UploadId").get("UploadId")
    if not upload_id:
        raise ErrBackend("the server began an upload and gave it no id")
    return upload_id


def complete_upload(
    client: Client,
    key: str,
    upload_id: str,
    parts: list[tuple[int, str, str | None]],
    write_id: str,
    condition: Condition | None,
    deadline: float | None,
) -> Effects[str]:
    """CompleteMultipartUpload -> the object's ETag, settled if its reply was lost.

    parts: number, ETag and CRC-32 of each, in order. write_id: what the upload
    was begun with.
    """
    trace = Trace()
    try:
        reply: Reply = yield from client.call(
            "POST",
            quote_key(client.options.prefix + key),
            query_of([("uploadId", upload_id)]),
            () if condition is None else (condition.header,),
            BufferPayload(
                complete_body(parts), signed=True, headers=(("content-type", "text/xml"),)
            ),
            trace=trace,
            deadline=deadline,
        )
    except ErrOutcomeUnknown as exc:
        ours = yield from found_ours(client, key, write_id, exc, deadline)
        if ours is None:
            raise
        return ours.etag
    if reply.status == 200:
        # The reply begins before the work is done: a failure comes as a body.
        return (yield from etag_within(client, key, reply, write_id, trace, deadline))
    error = error_of(reply, client.options.bucket)
    if reply.status == 404 and error.code != "NoSuchBucket":
        # Completed by an attempt whose reply was lost, if it is there.
        unknown = ErrOutcomeUnknown(
            "a reply was lost: the upload was completed and replaced since, or aborted"
        )
        unknown.__cause__ = trace.lost(error)
        ours = yield from found_ours(client, key, write_id, unknown, deadline)
        if ours is not None:
            return ours.etag
        if trace.uncertain:
            raise unknown
    if condition is not None and reply.status == 412:
        return (yield from settle(client, key, condition, trace, reply, deadline)).etag
    if condition is not None and condition.if_match is not None and error.code == "NoSuchKey":
        raise refused(condition, reply, client.options.bucket)
    raise trace.checked(error)


def discard_upload(client: Client, key: str, upload_id: str) -> Effects[None]:
    """Throw an upload away; one that can't be reached stays listed by `list_uploads`."""
    return remove(client, key, query_of([("uploadId", upload_id)]))


def remove(client: Client, key: str, query: str = "") -> Effects[None]:
    """Delete what is ours to tidy up; its failure is not what the caller has to hear of."""
    path = quote_key(client.options.prefix + key)
    try:
        yield from client.call("DELETE", path, query, deadline=time.monotonic() + _TIDY)
    except StorageError:
        return
