"""From a reply to a result or an error: the one place where S3's answers are mapped."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from objectstorage.errors import (
    ErrBackend,
    ErrIntegrity,
    ErrInvalidRange,
    ErrNotExist,
    ErrNotModified,
    ErrPermission,
    ErrPreconditionFailed,
    ErrTimeout,
    ErrUnavailable,
    ErrUnsupported,
    StorageError,
)
from objectstorage.s3._plain import named
from objectstorage.s3.transport import Reply
from objectstorage.s3.xml import parse_error
from objectstorage.storage import ObjectInfo

__all__ = [
    "META",
    "NO_CONTENT_TYPE",
    "WRITE_ID",
    "error_of",
    "http_date",
    "info_of",
    "size_of",
    "unquoted",
]

META = "x-amz-meta-"
WRITE_ID = META + "objectstorage-write-id"
"""Names a conditional write, so that one whose reply was lost is recognised."""
_OWN_NAME = WRITE_ID[len(META) :]

# int() refuses thousands of digits, and no file has that many bytes.
_MAX_DIGITS = 20

NO_CONTENT_TYPE = "binary/octet-stream"
"""Sent when `put` was given none: servers make one up otherwise, some from the bytes."""

_BY_CODE: dict[str, type[StorageError]] = {
    "NoSuchKey": ErrNotExist,
    "NoSuchBucket": ErrNotExist,
    "NoSuchUpload": ErrNotExist,
    "AccessDenied": ErrPermission,
    "AllAccessDisabled": ErrPermission,
    "InvalidAccessKeyId": ErrPermission,
    "SignatureDoesNotMatch": ErrPermission,
    "ExpiredToken": ErrPermission,
    "InvalidToken": ErrPermission,
    "RequestTimeTooSkewed": ErrPermission,
    "PreconditionFailed": ErrPreconditionFailed,
    "InvalidRange": ErrInvalidRange,
    "NotImplemented": ErrUnsupported,
    "SlowDown": ErrUnavailable,
    "ServiceUnavailable": ErrUnavailable,
    "InternalError": ErrUnavailable,
    "RequestTimeout": ErrTimeout,
    "BadDigest": ErrIntegrity,
    "InvalidDigest": ErrIntegrity,
    "IncompleteBody": ErrIntegrity,
    "XAmzContentChecksumMismatch": ErrIntegrity,
    "XAmzContentSHA256Mismatch": ErrIntegrity,
}
_BY_STATUS: dict[int, type[StorageError]] = {
    304: ErrNotModified,
    401: ErrPermission,
    403: ErrPermission,
    404: ErrNotExist,
    412: ErrPreconditionFailed,
    416: ErrInvalidRange,
    429: ErrUnavailable,
    500: ErrUnavailable,
    501: ErrUnsupported,
    502: ErrUnavailable,
    503: ErrUnavailable,
    504: ErrUnavailable,
}
_MESSAGES: dict[type[StorageError], str] = {
    ErrNotExist: "no such object",
    ErrNotModified: "not modified",
    ErrPreconditionFailed: "the condition did not hold",
    ErrInvalidRange: "the range starts past the end",
    ErrPermission: "denied",
}
# What servers echo of a request may hold a signature or a key id.
_SECRETS = re.compile(r"(?i)(signature|credential|token|secret|AWSAccessKeyId)=?[^\s,&]*")


def error_of(reply: Reply, bucket: str) -> StorageError:
    """The error that a reply of failure means; the caller says where it happened."""
    document = parse_error(bytes(reply.body))
    code = _line(document.code) if document is not None else None
    request_id = reply.headers.get("x-amz-request-id")
    kind = _BY_CODE.get(code or "") or _BY_STATUS.get(reply.status) or ErrBackend
    if code == "NoSuchBucket":
        message = f"no bucket {bucket!r}"
    elif kind in _MESSAGES:
        message = _MESSAGES[kind]
    elif document is not None and document.message:
        message = "the server said: " + _SECRETS.sub(r"\1=…", _line(document.message[:300]))
    else:
        message = f"the server answered with status {reply.status}"
    return kind(
        message,
        status=reply.status,
        code=code,
        request_id=None if request_id is None else _line(request_id),
    )


def _line(text: str) -> str:
    """What a server says as a line of text: it may end up in a log or on a terminal."""
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() else repr(c)[1:-1] for c in text])


def http_date(text: str | None) -> datetime:
    """An HTTP date; `ErrBackend` if it is none."""
    try:
        when = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError) as exc:
        raise ErrBackend(f"the server's date {text!r} can't be read") from exc
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


class HeaderInfo(ObjectInfo):
    """An `ObjectInfo` whose date is read from its header when it is asked for."""

    __slots__ = ()

    @property
    def last_modified(self) -> datetime:
        """When this version was written; aware, UTC."""
        return http_date(self[2])


def size_of(reply: Reply) -> int:
    """The whole object's size in bytes, also in a reply of a part of it."""
    if reply.status == 206:
        _, slash, total = reply.headers.get("content-range", "").rpartition("/")
        if slash and total.isdecimal() and len(total) < _MAX_DIGITS:
            return int(total)
        raise ErrBackend("a partial reply that does not say of how much", status=reply.status)
    length = reply.headers.get("content-length", "")
    if length.isdecimal() and len(length) < _MAX_DIGITS:
        return int(length)
    if isinstance(reply.body, bytes) and reply.headers.get("transfer-encoding"):
        return len(reply.body)
    raise ErrBackend("a reply that does not say how long the object is", status=reply.status)


def unquoted(etag: str) -> str:
    """An `ETag` header without its quotes; a weak one stays as it is."""
    return etag if etag.startswith("W/") else etag.strip('"')


def info_of(key: str, reply: Reply) -> ObjectInfo:
    """What a reply's headers say of an object."""
    headers = reply.headers
    etag = unquoted(headers.get("etag", ""))
    if not etag:
        raise ErrBackend("a reply without an ETag", status=reply.status)
    metadata = named(headers, META)
    metadata.pop(_OWN_NAME, None)
    fields: tuple[Any, ...] = (
        key,
        size_of(reply),
        headers.get("last-modified"),
        etag,
        None if (kind := headers.get("content-type")) == NO_CONTENT_TYPE else kind,
        metadata,
    )
    return tuple.__new__(HeaderInfo, fields)
