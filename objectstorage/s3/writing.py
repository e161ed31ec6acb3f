"""Writing to S3 in one request, and settling what became of a conditional write.

A conditional write carries a write id in its metadata. When a reply was lost,
the next attempt meets its own object and is told that the condition fails; the
id on the object then tells whose it is.
"""

from __future__ import annotations

import secrets
import time
from datetime import timedelta
from typing import Any, NamedTuple

from objectstorage.errors import (
    ErrBackend,
    ErrConflict,
    ErrExist,
    ErrIntegrity,
    ErrNotExist,
    ErrOutcomeUnknown,
    ErrPreconditionFailed,
    StorageError,
    is_err_not_exist,
)
from objectstorage.s3.client import Client
from objectstorage.s3.effects import Effects
from objectstorage.s3.encoding import BufferPayload, StreamPayload
from objectstorage.s3.reading import head_error
from objectstorage.s3.replies import (
    META,
    NO_CONTENT_TYPE,
    WRITE_ID,
    error_of,
    http_date,
    info_of,
    unquoted,
)
from objectstorage.s3.retrying import Trace
from objectstorage.s3.shortcut import MORE, Shortcut
from objectstorage.s3.signing import Headers, Signer, quote_key, quoted
from objectstorage.s3.transport import Reply
from objectstorage.s3.xml import parse_error, parse_text
from objectstorage.storage import ObjectInfo, PutResult

__all__ = [
    "Condition",
    "Put",
    "etag_within",
    "found_ours",
    "object_headers",
    "put_payload",
    "raise_hidden",
    "refused",
    "settle",
    "sse_headers",
]

# How far apart two clocks, read in whole seconds, may be when one is the same server's.
_CLOCK_MARGIN = timedelta(seconds=3)


class Condition(NamedTuple):
    """What a write depends on, and the id that recognises it."""

    create: bool
    if_match: str | None
    write_id: str

    @classmethod
    def of(cls, create: bool, if_match: str | None) -> Condition | None:
        """A condition with a fresh write id; None where there is none."""
        if not create and if_match is None:
            return None
        return cls(create, if_match, secrets.token_hex(16))

    @property
    def verb(self) -> str:
        """Its name in `capabilities.conditions`."""
        return "create" if self.create else "replace"

    def refused_by(self, status: int) -> bool:
        """Whether a reply's status says that it did not hold: 404 is of no key there to match."""
        return status == 412 or (status == 404 and self.if_match is not None)

    @property
    def header(self) -> tuple[str, str]:
        """What makes the request conditional."""
        if self.if_match is None:
            return ("if-none-match", "*")
        return ("if-match", quoted(self.if_match))


def sse_headers(client: Client) -> list[tuple[str, str]]:
    """Server-side encryption, on what creates an object."""
    options = client.options
    headers = []
    if options.sse:
        headers.append(("x-amz-server-side-encryption", options.sse))
    if options.sse_kms_key:
        headers.append(("x-amz-server-side-encryption-aws-kms-key-id", options.sse_kms_key))
    return headers


def object_headers(
    client: Client,
    content_type: str | None,
    metadata: dict[str, str],
    write_id: str | None,
) -> Headers:
    """Content type, metadata, encryption and write id of a new object."""
    kind = ("content-type", content_type or NO_CONTENT_TYPE)
    options = client.options
    if not metadata and write_id is None and not options.sse and not options.sse_kms_key:
        return (kind,)
    headers = [kind, *[(META + name, value) for name, value in metadata.items()]]
    if write_id is not None:
        headers.append((WRITE_ID, write_id))
    return headers + sse_headers(client)


class Put(Shortcut[PutResult]):
    """`put` of bytes in memory without a condition, tried as one exchange."""

    __slots__ = ("_headers", "_payload", "_size")

    def __init__(
        self, client: Client, signer: Signer, key: str, data: bytes, deadline: float | None
    ) -> None:
        self.client = client
        self.key = key
        self._size = len(data)
        self.signer = signer
        options = client.options
        self._payload = payload = BufferPayload(
            data, checksum=options.checksum != "none", signed=options.sign_payload
        )
        self._headers = headers = object_headers(client, None, {}, None)
        path = quote_key(options.prefix + key)
        self.exchange = client.exchange(signer, "PUT", path, "", headers, payload, deadline)

    def finish(self, reply: Reply) -> Any:
        if reply.status == 200:
            headers, checksum = reply.headers, self._payload.checksum
            etag = unquoted(headers.get("etag", ""))
            if etag and headers.get("x-amz-checksum-crc32", checksum) == checksum:
                return PutResult(self.key, self._size, etag)
        return MORE

    def resume(self) -> Effects[PutResult]:
        return put_payload(
            self.client,
            self.key,
            self._payload,
            self._size,
            self._headers,
            None,
            self.exchange.deadline,
            self,
        )


def put_payload(
    client: Client,
    key: str,
    payload: BufferPayload | StreamPayload,
    size: int,
    headers: Headers,
    condition: Condition | None,
    deadline: float | None,
    attempt: Put | None = None,
) -> Effects[PutResult]:
    """One PUT, settled if its reply was lost."""
    path = quote_key(client.options.prefix + key)
    trace = Trace()
    if condition is not None:
        headers = [*headers, condition.header]
    try:
        reply: Reply = yield from client.call(
            "PUT",
            path,
            "",
            headers,
            payload,
            trace=trace,
            deadline=deadline,
            raced=condition is not None,
            attempt=attempt,
        )
    except ErrOutcomeUnknown as exc:
        if condition is None:
            raise
        ours = yield from found_ours(client, key, condition.write_id, exc, deadline)
        if ours is None:
            raise
        return _result(ours, size, exc)
    if reply.status == 200:
        if payload.checksum is not None:
            _check_echo(payload.checksum, reply)
        etag = unquoted(reply.headers.get("etag", ""))
        if etag:
            return PutResult(key, size, etag)
    if reply.status < 300:
        raise_hidden(client, reply, trace)
        # No ETag in the reply: ask for it.
        try:
            info = yield from _head(client, key)
        except StorageError as exc:
            raise ErrOutcomeUnknown("the server took it, and does not show it") from exc
        return _result(info, size, None)
    if condition is None or not condition.refused_by(reply.status):
        raise trace.checked(error_of(reply, client.options.bucket))
    settled = yield from settle(client, key, condition, trace, reply, deadline)
    return _result(settled, size, None)


def _check_echo(checksum: str, reply: Reply) -> None:
    """What the server says it stored, where it says so."""
    echoed = reply.headers.get("x-amz-checksum-crc32", checksum)
    if echoed != checksum and "-" not in echoed:
        raise ErrIntegrity("the server stored bytes of another checksum")


def _result(info: ObjectInfo, size: int, cause: StorageError | None) -> PutResult:
    if info.size != size:
        raise ErrIntegrity(f"{info.size} bytes are stored, not {size}") from cause
    return PutResult(info.key, info.size, info.etag)


def refused(condition: Condition, reply: Reply, bucket: str) -> StorageError:
    """The error of a condition that certainly did not hold."""
    error = error_of(reply, bucket)
    if isinstance(error, ErrNotExist) and error.code == "NoSuchBucket":
        return error
    kind, message = (
        (ErrExist, "the key is taken")
        if condition.create
        else (ErrPreconditionFailed, f"the ETag is not {condition.if_match!r}")
    )
    return kind(message, status=error.status, code=error.code, request_id=error.request_id)


def settle(
    client: Client,
    key: str,
    condition: Condition,
    trace: Trace,
    reply: Reply,
    deadline: float | None,
) -> Effects[ObjectInfo]:
    """After "the condition failed": the object if it is ours after all, or the error.

    Certain that it is not ours: no earlier attempt can have been carried out,
    or what is there was there before the first attempt began. Else somebody may
    have replaced ours since: `ErrOutcomeUnknown`.
    """
    error = refused(condition, reply, client.options.bucket)
    if is_err_not_exist(error):
        raise error
    if not trace.uncertain:
        return (yield from _settle_first(client, key, condition, error, deadline))
    path = quote_key(client.options.prefix + key)
    try:
        head = yield from client.call("HEAD", path, deadline=deadline)
        if head.status not in (200, 404):
            raise error_of(head, client.options.bucket)
        if head.status == 200:
            info = info_of(key, head)
            if head.headers.get(WRITE_ID) == condition.write_id:
                return info
            server_now = http_date(head.headers.get("date"))
            began = server_now - timedelta(seconds=time.monotonic() - trace.began)
            foreign = info.last_modified + _CLOCK_MARGIN < began
        else:
            foreign = False
    except BaseException as exc:  # an interrupt, too, leaves it undecided
        raise ErrOutcomeUnknown(
            "a reply was lost, and what became of the write can't be read"
        ) from exc
    if foreign:
        raise error
    raise ErrOutcomeUnknown(
        "a reply was lost and the condition fails now: this write was not carried out, "
        "or it was and has been replaced since"
    ) from trace.lost(error)


def _settle_first(
    client: Client,
    key: str,
    condition: Condition,
    error: StorageError,
    deadline: float | None,
) -> Effects[ObjectInfo]:
    """The object if it is ours, though the first attempt was refused; else the error.

    A gateway may send a request twice when its own connection broke, and then
    says what it heard of the second. And `ErrConflict` if it was no object that
    a create-only write met: SeaweedFS holds `a` beside `a/b`, but takes the
    folder, even an emptied one, for the object `a`.
    """
    try:
        head = yield from client.call(
            "HEAD", quote_key(client.options.prefix + key), deadline=deadline
        )
    except StorageError:
        raise error
    if head.status == 200 and head.headers.get(WRITE_ID) == condition.write_id:
        return info_of(key, head)
    folders = client.dialect is not None and client.dialect.folder_order
    if head.status == 404 and condition.create and folders:
        path = quote_key(f"{client.options.prefix}{key}/")
        try:
            folder = yield from client.call("HEAD", path, deadline=deadline)
        except StorageError:
            raise error
        if folder.status == 404:
            raise error  # there was an object, which was deleted meanwhile
        raise ErrConflict(
            "this server takes the folder of that name for an object, and creates none; "
            "an unconditional write works"
        ) from error
    raise error


def raise_hidden(client: Client, reply: Reply, trace: Trace) -> None:
    """Raise the error that a reply of success has for a body, if it has one."""
    if reply.body and parse_error(bytes(reply.body)) is not None:
        reply.status = 500
        raise trace.checked(error_of(reply, client.options.bucket))


def etag_within(
    client: Client,
    key: str,
    reply: Reply,
    write_id: str | None,
    trace: Trace,
    deadline: float | None,
) -> Effects[str]:
    """The ETag in the document of a success, which is an error if the document says so.

    One that can't be read says nothing: the object then tells, by its write id.
    """
    raise_hidden(client, reply, trace)
    try:
        etag = parse_text(bytes(reply.body), "ETag").get("ETag")
        if not etag:
            raise ErrBackend("the server answered without an ETag")
    except ErrBackend as exc:
        unknown = ErrOutcomeUnknown("the server's answer can't be read")
        unknown.__cause__ = exc
        ours = None
        if write_id is not None:
            ours = yield from found_ours(client, key, write_id, unknown, deadline)
        if ours is None:
            raise unknown
        return ours.etag
    return unquoted(etag)


def found_ours(
    client: Client, key: str, write_id: str, unknown: ErrOutcomeUnknown, deadline: float | None
) -> Effects[ObjectInfo | None]:
    """The object if it carries our write id; None if that can't be said.

    unknown: why it is asked. Whoever was interrupted is told at once, and
    never that all went well: he would go on.
    """
    if not isinstance(unknown.__cause__, StorageError):
        return None
    path = quote_key(client.options.prefix + key)
    try:
        head = yield from client.call("HEAD", path, deadline=deadline)
    except StorageError:
        return None
    except BaseException as exc:
        raise unknown from exc
    if head.status == 200 and head.headers.get(WRITE_ID) == write_id:
        return info_of(key, head)
    return None


def _head(client: Client, key: str) -> Effects[ObjectInfo]:
    reply = yield from client.call("HEAD", quote_key(client.options.prefix + key))
    if reply.status != 200:
        raise (yield from head_error(client, reply))
    return info_of(key, reply)
