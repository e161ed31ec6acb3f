"""Copying within a bucket, on the server: one request, or by parts above 5 GiB."""

from __future__ import annotations

import secrets

from objectstorage.errors import (
    ErrExist,
    ErrNotExist,
    ErrOutcomeUnknown,
    ErrPreconditionFailed,
    ErrUnsupported,
)
from objectstorage.s3.client import Client
from objectstorage.s3.completing import begun, complete_upload, discard_upload
from objectstorage.s3.effects import Effects
from objectstorage.s3.encoding import BufferPayload
from objectstorage.s3.reading import head_error
from objectstorage.s3.replies import META, NO_CONTENT_TYPE, WRITE_ID, error_of, info_of, unquoted
from objectstorage.s3.retrying import Trace
from objectstorage.s3.signing import query_of, quote_key, quoted
from objectstorage.s3.transport import Reply
from objectstorage.s3.writing import (
    Condition,
    etag_within,
    found_ours,
    raise_hidden,
    settle,
    sse_headers,
)
from objectstorage.s3.xml import parse_text
from objectstorage.storage import PutResult

__all__ = ["copy_object", "publish_copy"]

# Kept by a copy that replaces the metadata only when they are sent again.
_KEPT = ("cache-control", "content-disposition", "content-encoding", "content-language", "expires")


def copy_object(client: Client, src: str, dst: str, create: bool) -> Effects[PutResult]:
    """Copy one version of `src` with all that is kept with it."""
    for _ in range(client.options.attempts):
        head = yield from client.call("HEAD", quote_key(client.options.prefix + src))
        if head.status != 200:
            raise (yield from head_error(client, head))
        info = info_of(src, head)
        condition = Condition.of(create, None)
        if info.size > client.options.copy_limit:
            etag = yield from _copy_parts(client, head, src, dst, condition)
            return PutResult(dst, info.size, etag)
        headers = _copy_headers(client, head, condition)
        try:
            etag = yield from _copy_once(client, src, info.etag, dst, headers, condition)
        except ErrExist:
            raise
        except ErrPreconditionFailed:
            continue  # the source was replaced between the two requests: copy what is there now
        return PutResult(dst, info.size, etag)
    raise ErrPreconditionFailed(f"{src!r} was replaced again and again while it was copied")


def publish_copy(
    client: Client,
    src: str,
    src_etag: str,
    dst: str,
    condition: Condition,
    deadline: float | None,
) -> Effects[str]:
    """Make a temporary object of ours the object `dst`, if the condition holds."""
    # The write id goes along: the temporary was made with it.
    return (
        yield from _copy_once(client, src, src_etag, dst, sse_headers(client), condition, deadline)
    )


def _copy_headers(
    client: Client, head: Reply, condition: Condition | None
) -> list[tuple[str, str]]:
    """Headers of a copy; the source's write id must not go along."""
    headers = sse_headers(client)
    if condition is None and WRITE_ID not in head.headers:
        return headers
    headers.append(("x-amz-metadata-directive", "REPLACE"))
    return headers + _described(head, condition.write_id if condition is not None else None)


def _described(head: Reply, write_id: str | None) -> list[tuple[str, str]]:
    """What is kept with the source, to be sent again for its copy."""
    headers = [("content-type", head.headers.get("content-type", NO_CONTENT_TYPE))]
    for name, value in head.headers.items():
        if name.startswith(META):
            kept = name != WRITE_ID
        else:
            kept = name in _KEPT and value != "aws-chunked"
        if kept:
            headers.append((name, value))
    if write_id is not None:
        headers.append((WRITE_ID, write_id))
    return headers


def _copy_source(client: Client, src: str, etag: str) -> list[tuple[str, str]]:
    options = client.options
    return [
        ("x-amz-copy-source", f"/{options.bucket}/{quote_key(options.prefix + src)}"),
        ("x-amz-copy-source-if-match", quoted(etag)),
    ]


def _copy_once(
    client: Client,
    src: str,
    src_etag: str,
    dst: str,
    headers: list[tuple[str, str]],
    condition: Condition | None,
    deadline: float | None = None,
) -> Effects[str]:
    """One CopyObject -> the copy's ETag; `ErrPreconditionFailed` if the source changed."""
    headers = headers + _copy_source(client, src, src_etag)
    if condition is not None:
        headers.append(condition.header)
    trace = Trace()
    try:
        reply: Reply = yield from client.call(
            "PUT",
            quote_key(client.options.prefix + dst),
            "",
            headers,
            BufferPayload(b""),
            trace=trace,
            deadline=deadline,
            raced=condition is not None,
        )
    except ErrOutcomeUnknown as exc:
        ours = None
        if condition is not None:
            ours = yield from found_ours(client, dst, condition.write_id, exc, deadline)
        if ours is None:
            raise
        return ours.etag
    if reply.status == 200:
        # A copy's failure may come as a body, after the head said 200.
        write_id = condition.write_id if condition is not None else None
        return (yield from etag_within(client, dst, reply, write_id, trace, deadline))
    error = error_of(reply, client.options.bucket)
    if reply.status == 412:
        if trace.uncertain and condition is not None:
            # Ours, whatever has become of the source since?
            return (yield from settle(client, dst, condition, trace, reply, deadline)).etag
        source = yield from client.call("HEAD", quote_key(client.options.prefix + src))
        if source.status != 200 or info_of(src, source).etag != src_etag:
            if source.status == 404:
                raise ErrNotExist("no such object") from error
            raise ErrPreconditionFailed("the source was replaced") from error
        if condition is not None:
            return (yield from settle(client, dst, condition, trace, reply, deadline)).etag
    raise trace.checked(error)


def _copy_parts(
    client: Client, head: Reply, src: str, dst: str, condition: Condition | None
) -> Effects[str]:
    """A copy by parts, each of the same version of the source."""
    dialect = client.dialect
    if condition is not None and dialect is not None and dialect.multipart_condition != "complete":
        raise ErrUnsupported("this server can't copy so large an object create-only")
    info = info_of(src, head)
    path = quote_key(client.options.prefix + dst)
    write_id = condition.write_id if condition is not None else secrets.token_hex(16)
    reply = yield from client.call(
        "POST",
        path,
        "uploads=",
        _described(head, write_id) + sse_headers(client),
        BufferPayload(b""),
    )
    upload_id = begun(client, reply)
    try:
        parts: list[tuple[int, str, str | None]] = []
        step = max(client.options.copy_part, -(-info.size // 10_000))
        for number, start in enumerate(range(0, info.size, step), 1):
            stop = min(start + step, info.size)
            reply = yield from client.call(
                "PUT",
                path,
                query_of([("partNumber", str(number)), ("uploadId", upload_id)]),
                [
                    *_copy_source(client, src, info.etag),
                    ("x-amz-copy-source-range", f"bytes={start}-{stop - 1}"),
                ],
                BufferPayload(b""),
            )
            client.expect(reply, 200)
            raise_hidden(client, reply, Trace())
            etag = unquoted(parse_text(bytes(reply.body), "ETag").get("ETag") or "")
            parts.append((number, etag, None))
        return (
            yield from complete_upload(client, dst, upload_id, parts, write_id, condition, None)
        )
    except BaseException:
        yield from discard_upload(client, dst, upload_id)
        raise
