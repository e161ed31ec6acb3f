"""How a log lies in a store, as text and bytes; no I/O here.

Below `<name>/`, each segment of the name escaped:

    =log                       the manifest: JSON; which log this is, and once archived, its end
    =<id>-<20 digits>          a segment: what was flushed from that offset on; immutable
    =<id>-sum-<20 digits>      some segments' bytes once more, from that offset on (see `summing`)
    =<id>-all                  the whole log's bytes, once archived; the segments go then

A segment is created only, so the chain of them is what fences: of two writers
at one offset one wins. Its first line says who wrote it and whether it is
the end; the end is a segment too, at the offset that is the log's size. The
`id` is new for every log, so that one deleted and made again under the same
name never meets what is left of the former.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, NamedTuple

from objectstorage._segments import escape_path
from objectstorage.errors import ErrBadRequest, ErrIntegrity, ErrInvalidRange, ErrNotExist

__all__ = [
    "HEADER",
    "MAX_STATUS",
    "LogInfo",
    "Manifest",
    "Segment",
    "archive_key",
    "beyond",
    "check_offset",
    "check_status",
    "decode_manifest",
    "decode_segment",
    "encode_segment",
    "folder_of",
    "manifest_key",
    "missing",
    "segment_key",
    "segments_prefix",
    "start_of",
    "sum_key",
    "sums_prefix",
]

HEADER = 36
"""Bytes of a segment's first line."""

MAX_STATUS = 1024
"""Bytes of a log's final status."""

_LINE = re.compile(rb"log1 (data|end ) ([0-9]{8}) ([0-9a-f]{16})\n")
_SEGMENT = re.compile(r"=[0-9a-f]{16}-([0-9]{20})")


class LogInfo(NamedTuple):
    """What is known of a log.

    `size` in bytes, of what was flushed so far; `status` is what it was
    finished with, "" before; `created`: aware, UTC, by the clock of its creator.
    """

    name: str
    size: int
    finished: bool
    status: str
    archived: bool
    created: datetime


class Manifest(NamedTuple):
    """The object that says that there is a log; `size` is set once it is archived."""

    id: str
    created: datetime
    size: int | None = None
    status: str = ""

    def encode(self) -> bytes:
        """As it is stored."""
        fields: dict[str, Any] = {
            "format": 1,
            "id": self.id,
            "created": self.created.isoformat(),
        }
        if self.size is not None:
            fields["archived"] = {"size": self.size, "status": self.status}
        return json.dumps(fields).encode()


class Segment(NamedTuple):
    """What a segment holds: `data` of the log, or its end, with the status as `data`."""

    end: bool
    epoch: int
    writer: str
    data: bytes


def folder_of(name: str) -> str:
    """Where the log's objects lie; ends in `/`. `ErrInvalidKey` for what is no name."""
    return escape_path(name, "log's name") + "/"


def manifest_key(folder: str) -> str:
    """The key of the object that says that there is a log."""
    return folder + "=log"


def segments_prefix(folder: str, id_: str) -> str:
    """How the keys of this log's objects begin, but for the manifest."""
    return f"{folder}={id_}-"


def segment_key(folder: str, id_: str, offset: int) -> str:
    """The key of the segment that begins at `offset`."""
    return f"{folder}={id_}-{offset:020}"


def sum_key(folder: str, id_: str, offset: int) -> str:
    """The key of the sum that begins at `offset`."""
    return f"{sums_prefix(folder, id_)}{offset:020}"


def sums_prefix(folder: str, id_: str) -> str:
    """How the keys of this log's sums begin."""
    return f"{folder}={id_}-sum-"


def archive_key(folder: str, id_: str) -> str:
    """The key of the whole log's bytes."""
    return f"{folder}={id_}-all"


def start_of(key: str) -> int | None:
    """The offset that a segment's key names; None for another object."""
    match = _SEGMENT.fullmatch(key.rpartition("/")[2])
    return None if match is None else int(match[1])


def encode_segment(segment: Segment) -> bytes:
    """As it is stored.

    >>> encode_segment(Segment(False, 1, "00c0ffee00c0ffee", b"hello"))
    b'log1 data 00000001 00c0ffee00c0ffee\\nhello'
    """
    kind = "end " if segment.end else "data"
    return f"log1 {kind} {segment.epoch:08} {segment.writer}\n".encode() + segment.data


def decode_segment(raw: bytes, key: str) -> Segment:
    """What is stored; `ErrIntegrity` if it is no segment."""
    match = _LINE.match(raw)
    if match is None:
        raise ErrIntegrity("this is no segment of a log", key=key)
    return Segment(match[1] == b"end ", int(match[2]), match[3].decode(), raw[match.end() :])


def decode_manifest(raw: bytes, key: str) -> Manifest:
    """What is stored; `ErrIntegrity` if it is no manifest, or one of a later format."""
    try:
        fields = json.loads(raw)
        if fields["format"] != 1:
            raise ErrIntegrity(f"a log of format {fields['format']!r}; 1 is known", key=key)
        created = datetime.fromisoformat(fields["created"])
        archived = fields.get("archived")
        if archived is None:
            return Manifest(str(fields["id"]), created)
        return Manifest(str(fields["id"]), created, int(archived["size"]), str(archived["status"]))
    except (ValueError, KeyError, TypeError) as exc:
        raise ErrIntegrity("this is no manifest of a log", key=key) from exc


def check_offset(offset: int, length: int | None = None) -> None:
    """`ErrBadRequest` unless both count bytes."""
    for what, value in (("offset", offset), ("length", length)):
        if value is None and what == "length":
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{what} is an int, not {type(value).__name__}")
        if not 0 <= value < 10**20:
            raise ErrBadRequest(f"{what} is not negative and has at most 20 digits, not {value}")


def check_status(status: str) -> bytes:
    """The status' bytes; `ErrBadRequest` if there are too many."""
    raw = status.encode()
    if len(raw) > MAX_STATUS:
        raise ErrBadRequest(f"the status has {len(raw)} bytes; at most {MAX_STATUS} are held")
    return raw


def missing(name: str) -> ErrNotExist:
    """What is raised, from the storage's own, for a log that isn't there."""
    return ErrNotExist("log doesn't exist", details={"log": name})


def beyond(offset: int, size: int) -> ErrInvalidRange:
    """What is raised for an offset past the end."""
    return ErrInvalidRange(
        f"the log has {size} bytes; there is none at {offset}", details={"size": size}
    )
