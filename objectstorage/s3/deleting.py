"""Deleting from S3, one and many; and the uploads that were never finished."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from copy import copy
from typing import Any

from objectstorage._plans import keys_of
from objectstorage.errors import (
    ErrBackend,
    ErrNotExist,
    ErrOutcomeUnknown,
    ErrPermission,
    ErrPreconditionFailed,
    ErrUnsupported,
    StorageError,
)
from objectstorage.s3.client import Client
from objectstorage.s3.effects import Effects, Emit
from objectstorage.s3.encoding import BufferPayload
from objectstorage.s3.reading import stat
from objectstorage.s3.replies import error_of
from objectstorage.s3.retrying import Trace
from objectstorage.s3.shortcut import MORE, Shortcut
from objectstorage.s3.signing import query_of, quote_key, quoted
from objectstorage.s3.transport import Reply
from objectstorage.s3.writing import raise_hidden
from objectstorage.s3.xml import delete_body, parse_delete, parse_uploads
from objectstorage.storage import Upload

__all__ = ["Delete", "abort_upload", "delete", "delete_many", "list_uploads"]

_BATCH = 1000


class Delete(Shortcut[None]):
    """`delete` of whatever is there, tried as one exchange."""

    __slots__ = ()
    METHOD = "DELETE"

    def finish(self, reply: Reply) -> Any:
        return None if reply.status == 204 else MORE

    def resume(self) -> Effects[None]:
        return delete(self.client, self.key, None, False, self)


def delete(
    client: Client,
    key: str,
    if_match: str | None,
    must_exist: bool,
    attempt: Delete | None = None,
) -> Effects[None]:
    """Delete one object; a condition is looked at first, then sent along."""
    path = quote_key(client.options.prefix + key)
    headers: tuple[tuple[str, str], ...] = ()
    if if_match is not None:
        # Not every server refuses a condition on what is not there.
        try:
            info = yield from stat(client, key)
        except ErrNotExist as exc:
            if exc.code == "NoSuchBucket":
                raise
            raise ErrPreconditionFailed("there is no such object") from exc
        if info.etag != if_match:
            raise ErrPreconditionFailed(f"the ETag is {info.etag!r}, not {if_match!r}")
        headers = (("if-match", quoted(if_match)),)
    elif must_exist:
        yield from stat(client, key)
    trace = Trace()
    reply = yield from client.call(
        "DELETE", path, "", headers, trace=trace, raced=if_match is not None, attempt=attempt
    )
    if reply.status < 300:
        raise_hidden(client, reply, trace)
        return
    error = error_of(reply, client.options.bucket)
    if reply.status == 404 and error.code != "NoSuchBucket" and if_match is None:
        return  # some servers say so; it is what was asked for
    if if_match is not None and reply.status in (404, 412) and error.code != "NoSuchBucket":
        if trace.uncertain:
            raise ErrOutcomeUnknown(
                "a reply was lost: this delete was carried out, or somebody was faster"
            ) from trace.lost(error)
        raise ErrPreconditionFailed(f"the ETag is not {if_match!r} any more") from error
    raise trace.checked(error)


def delete_many(
    client: Client, keys: Iterable[str], check: Any
) -> Effects[tuple[dict[str, StorageError], int]]:
    """Delete in batches of a thousand -> the failures by key, and how many were tried.

    check: called with each key, raises for one that can't be held. Keys with
    control characters go alone: XML can't carry them, and a batch with a bare
    carriage return deletes another object.
    """
    failed: dict[str, StorageError] = {}
    batch: list[str] = []
    count = 0
    for key in keys_of(keys):
        count += 1
        try:
            check(key)
            if not key.isprintable() and any(ord(c) < 0x20 or c in "\x7f￾￿" for c in key):
                yield from delete(client, key, None, False)
            else:
                batch.append(key)
        except StorageError as exc:
            failed[key] = exc.at(key=key)
        if len(batch) == _BATCH:
            yield from _delete_batch(client, batch, failed)
            batch = []
    if batch:
        yield from _delete_batch(client, batch, failed)
    return failed, count


def _delete_batch(
    client: Client, batch: list[str], failed: dict[str, StorageError]
) -> Effects[None]:
    prefix = client.options.prefix
    body = delete_body([prefix + key for key in batch])
    trace = Trace()
    digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    try:
        reply = yield from client.call(
            "POST",
            "",
            "delete=",
            (),
            BufferPayload(
                body, signed=True, headers=(("content-md5", digest), ("content-type", "text/xml"))
            ),
            trace=trace,
        )
        if reply.status != 200:
            raise trace.checked(error_of(reply, client.options.bucket))
        raise_hidden(client, reply, trace)
        try:
            errors = parse_delete(bytes(reply.body))
        except ErrBackend as exc:
            raise ErrOutcomeUnknown("the server's answer can't be read") from exc
    except StorageError as exc:
        for key in batch:
            # one error each: they are told apart by their key
            error = copy(exc).at(key=key)
            error.__cause__ = exc
            failed[key] = error
        return
    asked = set(batch)
    for full_key, code, message in errors:
        key = full_key[len(prefix) :]
        if code in ("NoSuchKey", "NoSuchVersion"):
            continue
        if key not in asked:
            raise ErrBackend(f"the server reports {key!r}, which it was not asked to delete")
        kind = ErrPermission if code == "AccessDenied" else ErrBackend
        failed[key] = kind(message or "not deleted", code=code, key=key)


def list_uploads(client: Client, prefix: str) -> Effects[None]:
    """Unfinished uploads, page by page."""
    own = client.options.prefix
    markers: tuple[str, str] | None = None
    while True:
        pairs = [("uploads", ""), ("prefix", own + prefix), ("max-uploads", "1000")]
        if not (client.dialect is not None and client.dialect.folder_order):
            # SeaweedFS says that it encodes the keys of uploads, and doesn't.
            pairs.append(("encoding-type", "url"))
        if markers is not None:
            pairs += [("key-marker", markers[0]), ("upload-id-marker", markers[1])]
        reply = yield from client.call("GET", "", query_of(pairs))
        if reply.status == 404 and markers is None:
            error = error_of(reply, client.options.bucket)
            if error.code != "NoSuchBucket":
                raise ErrUnsupported("this server lists no uploads", status=404) from error
        client.expect(reply, 200)
        page = parse_uploads(bytes(reply.body))
        yield Emit(
            [
                Upload(key[len(own) :], upload_id, initiated)
                for key, upload_id, initiated in page.uploads
                if key.startswith(own + prefix)
            ]
        )
        if not page.truncated:
            return
        following = (page.key_marker, page.upload_id_marker)
        if following == markers or not following[0]:
            raise ErrBackend("the server's listing of uploads does not advance")
        markers = following


def abort_upload(client: Client, upload: Upload) -> Effects[None]:
    """Throw one unfinished upload away."""
    trace = Trace()
    reply = yield from client.call(
        "DELETE",
        quote_key(client.options.prefix + upload.key),
        query_of([("uploadId", upload.upload_id)]),
        trace=trace,
    )
    if reply.status == 404:
        if trace.uncertain:
            return  # by an attempt whose reply was lost, or by somebody: it is gone
        error = error_of(reply, client.options.bucket)
        raise ErrNotExist("no such upload", status=404, code=error.code)
    if reply.status not in (200, 204):
        raise trace.checked(error_of(reply, client.options.bucket))
    raise_hidden(client, reply, trace)
