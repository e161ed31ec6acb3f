"""S3's XML documents: read in one pass by expat, written by hand.

Source: "Amazon S3 API Reference", the ListObjectsV2, ListMultipartUploads,
ListParts, DeleteObjects and CompleteMultipartUpload actions and "REST Error
Responses". Every document of S3 is a root with fields and, in some, records of
fields; nothing deeper is needed, so no tree is built.

What a server sends is not trusted: a doctype (and so every entity), a document
above `MAX_DOCUMENT` bytes and a listed key outside the store are refused.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple, NoReturn
from urllib.parse import unquote_plus
from xml.parsers import expat

from objectstorage.errors import ErrBackend
from objectstorage.keys import MAX_KEY
from objectstorage.s3._alike import Row, alike
from objectstorage.storage import ObjectInfo, Upload

__all__ = [
    "MAX_DOCUMENT",
    "DeleteFailure",
    "ErrorDocument",
    "ListPage",
    "Part",
    "PartsPage",
    "UploadsPage",
    "complete_body",
    "delete_body",
    "parse_delete",
    "parse_error",
    "parse_list",
    "parse_parts",
    "parse_text",
    "parse_uploads",
]

MAX_DOCUMENT = 16 * 1024 * 1024
"""Bytes of the largest document read; 1,000 of the longest keys take 3 MiB."""

_log = logging.getLogger("objectstorage")

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
# Blanks between elements; a false alarm (in a text) only costs time.
_INDENTED = re.compile(rb">[ \t\r\n]")
_NO_RECORDS: frozenset[str] = frozenset()
_LISTED = frozenset(("Contents", "CommonPrefixes"))
_NO_DATE = datetime.min.replace(tzinfo=UTC)

# What reading a field of a record may raise; a date may lie outside of time.
_UNREADABLE = (KeyError, ValueError, OverflowError)

_Fields = dict[str, str]


class ListPage(NamedTuple):
    """One page of a listing; `token` asks for the next one, None at the end.

    `listed` is how many entries the server sent, those left out here included.
    """

    objects: list[ObjectInfo]
    prefixes: list[str]
    truncated: bool
    token: str | None
    listed: int


class UploadsPage(NamedTuple):
    """One page of unfinished uploads; the markers ask for the next one.

    `key_marker` is as the server has it, the store's own prefix included.
    """

    uploads: list[Upload]
    truncated: bool
    key_marker: str
    upload_id_marker: str


class Part(NamedTuple):
    """One part of an upload: its number, ETag (unquoted) and size in bytes."""

    number: int
    etag: str
    size: int


class PartsPage(NamedTuple):
    """One page of an upload's parts; `marker` asks for the next one."""

    parts: list[Part]
    truncated: bool
    marker: str


class DeleteFailure(NamedTuple):
    """One key that a batch could not delete; the key as the server has it."""

    key: str
    code: str
    message: str


class ErrorDocument(NamedTuple):
    """What a server says went wrong; empty where it says nothing."""

    code: str
    message: str
    resource: str
    request_id: str
    region: str


class _Document:
    """A parsed document: the root's name, its fields, and its records in order.

    Only the ends of elements are looked at, which halves the cost of a listing.
    So what stands before a record, or inside an element of it, lies among its
    fields too; S3 gives no two of them one name, but for `Prefix`, and then the
    record's own is the last and stays.
    """

    __slots__ = ("fields", "records", "root")

    def __init__(self, body: bytes, record_tags: frozenset[str] = _NO_RECORDS) -> None:
        if len(body) > MAX_DOCUMENT:
            raise ErrBackend(f"the server sent an XML document of {len(body)} bytes")
        records: list[tuple[str, _Fields]] = []
        top: _Fields = {}
        fields: _Fields = {}
        text = tag = former = ""

        def characters(data: str) -> None:
            nonlocal text
            text = data

        def end(name: str) -> None:
            nonlocal text, tag, fields, former
            tag = name
            if name in record_tags:
                records.append((name, fields))
                if name != former:  # the first of its kind: the root's fields may precede it
                    former = name
                    top.update(fields)
                fields = {}
            else:
                fields[name] = text
            text = ""

        def start(name: str, attributes: dict[str, str]) -> None:
            nonlocal text
            text = ""

        # The declared encoding is overruled: S3 is UTF-8, and nothing else is tried.
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.buffer_size = max(len(body), 1)  # so that no text comes in two pieces
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.CharacterDataHandler = characters
        parser.EndElementHandler = end
        declared = body.find(b"<", 1) if body.startswith(b"<?") else 0
        if _INDENTED.search(body, declared):
            # Only then can text stand before a start tag, and be taken for its
            # element's; without blanks this handler would be a third of the cost.
            parser.StartElementHandler = start
        try:
            parser.Parse(body, True)
        except expat.ExpatError as exc:
            raise ErrBackend(f"the server's XML can't be read: {exc}") from exc
        self.root = tag
        top.update(fields)
        self.fields = top
        self.records = records

    def expect(self, root: str) -> _Document:
        """Itself, if that is what it is."""
        if self.root != root:
            raise ErrBackend(f"the server sent a {self.root[:64]!r}, not a {root!r}")
        return self

    def truncated(self) -> bool:
        """Whether more pages follow."""
        said = self.fields.get("IsTruncated", "false")
        if said not in ("true", "false"):
            raise ErrBackend(f"the server sent IsTruncated {said[:64]!r}")
        return said == "true"


def _refuse_doctype(*declaration: object) -> NoReturn:
    raise ErrBackend("the server's XML has a doctype, which S3 has not")


def _missing(record: str, exc: Exception) -> ErrBackend:
    """The error of a record that lacks a field, or has one that can't be read."""
    if isinstance(exc, KeyError):
        return ErrBackend(f"the server sent a {record} without its {exc.args[0]}")
    return ErrBackend(f"the server sent a {record} that can't be read: {exc}")


def _utc(when: datetime) -> datetime:
    """A date in UTC, which S3's are when they don't say."""
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _decoded(text: str) -> str:
    """A key as `encoding-type=url` has it; a blank is `+` or `%20`, by server."""
    return unquote_plus(text, errors="strict") if "%" in text or "+" in text else text


def _is_key(key: str) -> bool:
    """Whether a store can name what the server calls so."""
    return key[:1] not in ("", "/") and "\0" not in key and len(key.encode()) <= MAX_KEY


def parse_list(body: bytes, *, own: str = "") -> ListPage:
    """A ListObjectsV2 reply, with or without `encoding-type=url`.

    own: the store's own key prefix: what is listed must begin with it, and is
    given without it. What no key can be (`/a`, NUL) is left out: whoever made
    it, it is no object of this store's. `ErrBackend` for all that is no such
    reply.
    """
    short = alike(body) if len(body) <= MAX_DOCUMENT else None
    document = _Document(body if short is None else short[1], _LISTED).expect("ListBucketResult")
    encoded = document.fields.get("EncodingType") == "url"
    rows = _rows(document) if short is None else short[0]
    objects: list[ObjectInfo] = []
    listed = 0
    add, new, iso, utc = objects.append, tuple.__new__, datetime.fromisoformat, UTC
    cut, when = len(own), _NO_DATE
    stamp: str | None = None
    try:
        # Spelt out: this is most of what a listing costs.
        for key, written, etag, digits in rows:
            listed += 1
            if encoded and ("%" in key or "+" in key):
                key = unquote_plus(key, errors="strict")
            if cut:
                key = _own(key, own)
            if written != stamp:
                stamp, when = written, iso(written)
                if when.tzinfo is not utc:
                    when = _utc(when)
            if etag[:1] == '"':
                etag = etag.strip('"')
            size = int(digits)
            if not etag or size < 0:
                if not etag and not size and (not key or key[-1] == "/"):
                    continue  # a folder that SeaweedFS keeps when it is emptied: no object
                raise ValueError("an empty ETag or a negative size")
            if (key[:1] == "/" or not 0 < len(key) < 256 or "\0" in key) and not _is_key(key):
                if key:  # the prefix itself as an object is nobody's concern
                    _log.warning(
                        "left out of a listing, no valid key: %.200r", key, extra={"key": key}
                    )
                continue
            add(new(ObjectInfo, (key, size, when, etag, None, None)))
    except _UNREADABLE as exc:
        raise _missing("Contents", exc) from exc
    prefixes = []
    try:
        for record, fields in document.records:
            if record == "CommonPrefixes":
                listed += 1
                name = fields["Prefix"]
                name = _own(_decoded(name) if encoded else name, own)
                if _is_key(name):
                    prefixes.append(name)
    except _UNREADABLE as exc:
        raise _missing("CommonPrefixes", exc) from exc
    truncated = document.truncated()
    token = document.fields.get("NextContinuationToken") or None
    if truncated and token is None:
        raise ErrBackend("the server says that a listing goes on, but not how to go on")
    return ListPage(objects, prefixes, truncated, token if truncated else None, listed)


def _rows(document: _Document) -> Iterator[Row]:
    """The objects of a listing that is read the long way."""
    for record, fields in document.records:
        if record == "Contents":
            yield fields["Key"], fields["LastModified"], fields["ETag"], fields["Size"]


def _own(key: str, own: str) -> str:
    """A listed key without the store's prefix; `ErrBackend` if it hasn't got it."""
    if key.startswith(own):
        return key[len(own) :]
    raise ErrBackend(f"the server listed {key[:200]!r}, which lies outside {own!r}")


def parse_uploads(body: bytes, *, own: str = "") -> UploadsPage:
    """A ListMultipartUploads reply; keys as `parse_list`'s."""
    document = _Document(body, frozenset(("Upload", "CommonPrefixes")))
    fields = document.expect("ListMultipartUploadsResult").fields
    decode = _decoded if fields.get("EncodingType") == "url" else str
    uploads = []
    try:
        for record, found in document.records:
            if record == "Upload":
                key = _own(decode(found["Key"]), own)
                uploads.append(
                    Upload(key, found["UploadId"], _utc(datetime.fromisoformat(found["Initiated"])))
                )
        marker = decode(fields.get("NextKeyMarker", ""))
    except _UNREADABLE as exc:
        raise _missing("Upload", exc) from exc
    uploads = [upload for upload in uploads if _is_key(upload.key)]
    truncated = document.truncated()
    if truncated and not marker:
        raise ErrBackend("the server says that a listing goes on, but not how to go on")
    return UploadsPage(uploads, truncated, marker, fields.get("NextUploadIdMarker", ""))


def parse_parts(body: bytes) -> PartsPage:
    """A ListParts reply."""
    document = _Document(body, frozenset(("Part",))).expect("ListPartsResult")
    try:
        parts = [
            Part(int(found["PartNumber"]), found["ETag"].strip('"'), int(found["Size"]))
            for _, found in document.records
        ]
    except _UNREADABLE as exc:
        raise _missing("Part", exc) from exc
    truncated = document.truncated()
    marker = document.fields.get("NextPartNumberMarker", "")
    if truncated and not marker:
        raise ErrBackend("the server says that a listing goes on, but not how to go on")
    return PartsPage(parts, truncated, marker)


def parse_delete(body: bytes) -> list[DeleteFailure]:
    """A DeleteObjects reply: what was not deleted, and why."""
    document = _Document(body, frozenset(("Deleted", "Error"))).expect("DeleteResult")
    try:
        return [
            DeleteFailure(found["Key"], found["Code"], found.get("Message", ""))
            for record, found in document.records
            if record == "Error"
        ]
    except KeyError as exc:
        raise _missing("Error", exc) from exc


def parse_error(body: bytes) -> ErrorDocument | None:
    """An error document; None if it is none, whatever else it may be.

    >>> parse_error(b"<Error><Code>NoSuchKey</Code></Error>").code
    'NoSuchKey'
    >>> parse_error(b"<html>Bad gateway") is None
    True
    """
    if b"<Error" not in body:
        return None
    try:
        document = _Document(body)
    except ErrBackend:
        return None
    fields = document.fields
    if document.root != "Error" or "Code" not in fields:
        return None
    return ErrorDocument(
        fields["Code"].strip(),
        fields.get("Message", "").strip(),
        fields.get("Resource", ""),
        fields.get("RequestId", "").strip(),
        fields.get("Region", "").strip(),
    )


def parse_text(body: bytes, *tags: str) -> dict[str, str]:
    """The texts of those elements that a small document has.

    >>> parse_text(b"<R><UploadId>u1</UploadId><Key>a</Key></R>", "UploadId", "ETag")
    {'UploadId': 'u1'}
    """
    fields = _Document(body).fields
    return {tag: fields[tag] for tag in tags if tag in fields}


def _escaped(text: str) -> str:
    """Text as XML holds it; a bare `\\r` would be read back as `\\n`."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", "&#13;")


def complete_body(parts: Iterable[tuple[int, str, str | None]]) -> bytes:
    """The document that completes an upload: (number, ETag, CRC32 or None) by number.

    >>> complete_body([(1, "e1", None)])[-82:]
    b'<Part><PartNumber>1</PartNumber><ETag>"e1"</ETag></Part></CompleteMultipartUpload>'
    """
    lines = "".join(
        [
            f'<Part><PartNumber>{number}</PartNumber><ETag>"{_escaped(etag)}"</ETag>'
            + (f"<ChecksumCRC32>{crc}</ChecksumCRC32></Part>" if crc is not None else "</Part>")
            for number, etag, crc in parts
        ]
    )
    return (
        f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{lines}</CompleteMultipartUpload>'
    ).encode()


def delete_body(keys: Iterable[str]) -> bytes:
    """The document that deletes a batch and reports failures only.

    Keys are as the server has them. Those with control characters, U+FFFE or
    U+FFFF don't belong here: XML can't hold them.

    >>> delete_body(["a&b"])[-63:]
    b'<Quiet>true</Quiet><Object><Key>a&amp;b</Key></Object></Delete>'
    """
    lines = "".join([f"<Object><Key>{_escaped(key)}</Key></Object>" for key in keys])
    return f'<Delete xmlns="{_NAMESPACE}"><Quiet>true</Quiet>{lines}</Delete>'.encode()
