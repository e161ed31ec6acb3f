"""The small objects: `FORMAT.json`, slots, statuses, the boundary; and the keys of all.

Each is one JSON object `{"sha256": …, "body": …}` whose checksum covers the
bytes of the body as they stand.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote, unquote

from objectstorage.datamanager.model import Action, DataStatus
from objectstorage.errors import ErrIntegrity

__all__ = [
    "BOUNDARY",
    "DATA",
    "FORMAT",
    "STATUS",
    "WAL",
    "WALDATA",
    "Control",
    "FileRef",
    "Payload",
    "Record",
    "Slot",
    "Status",
    "Types",
    "checkpoint_tag",
    "data_key",
    "import_tag",
    "number_of",
    "pack",
    "pack_slot",
    "pack_status",
    "pack_types",
    "payload_key",
    "random_id",
    "slot_key",
    "status_key",
    "tag_of",
    "type_of",
    "unpack",
    "unpack_slot",
    "unpack_status",
    "unpack_types",
    "weight",
]

FORMAT = "FORMAT.json"
BOUNDARY = "gc/boundary.json"
WAL = "wal/"
WALDATA = "waldata/"
STATUS = "status/"
DATA = "data/"

_FRONT = re.compile(rb'\{"sha256":"([0-9a-f]{64})","body":')
_TAG = re.compile(r"(?:waldata/|data/[^/]+/([ci]))(\d{20})-[^/]+")
_NUMBER = re.compile(r"(?:wal|status)/(\d{20})\.json")


def pack(body: Mapping[str, Any]) -> bytes:
    """A record as bytes."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    return b'{"sha256":"%s","body":%s}\n' % (hashlib.sha256(text).hexdigest().encode(), text)


def unpack(data: bytes, key: str) -> Any:
    """What `pack` was given; `ErrIntegrity` naming `key` if the bytes are not whole."""
    front = _FRONT.match(data)
    if front is None or not data.endswith(b"}\n"):
        raise ErrIntegrity("this is no record, or not a whole one", key=key)
    text = data[front.end() : -2]
    if hashlib.sha256(text).hexdigest().encode() != front[1]:
        raise ErrIntegrity("the checksum differs", key=key)
    return json.loads(text)


def random_id() -> str:
    """A name nobody else has."""
    return os.urandom(16).hex()


def slot_key(seq: int) -> str:
    """Where the commit of a sequence lies."""
    return f"{WAL}{seq:020d}.json"


def status_key(checkpoint: int) -> str:
    """Where the data status of a checkpoint lies."""
    return f"{STATUS}{checkpoint:020d}.json"


def number_of(key: str) -> int | None:
    """The number in a slot's or status's key; None for a key of neither."""
    found = _NUMBER.fullmatch(key)
    return None if found is None else int(found[1])


def payload_key(sweep: int, name: str) -> str:
    """Where a payload lies that was written after the sweep of that sequence."""
    return f"{WALDATA}{sweep:020d}-{name}"


def data_key(type: str, name: str) -> str:
    """Where a data file lies, without `.data` or `.index`."""
    return f"{DATA}{quote(type, safe='').replace('.', '%2E')}/{name}"


def type_of(key: str) -> str:
    """The type whose data file a key is."""
    return unquote(key.split("/")[1])


def checkpoint_tag(checkpoint: int) -> str:
    """How the names of data files begin that were made for a checkpoint."""
    return f"c{checkpoint:020d}"


def import_tag(sweep: int) -> str:
    """How the names of data files begin that were imported after the sweep of that sequence."""
    return f"i{sweep:020d}"


def tag_of(key: str) -> tuple[str, int] | None:
    """What a key was made for: ("c", checkpoint), ("i", sweep) or, a payload, ("p", sweep)."""
    found = _TAG.fullmatch(key)
    return None if found is None else (found[1] or "p", int(found[2]))


class Control(NamedTuple):
    """What every slot carries on from the one before.

    `epoch`: raised by `fence`. `sweep`: the sequence of the last sweep; payloads
    written before it may be gone. `maintenance`: why writers are refused, None
    when they are not. `total`: the `weight` of all commits so far.
    """

    epoch: int = 0
    sweep: int = 0
    maintenance: str | None = None
    total: int = 0


class Payload(NamedTuple):
    """A commit's actions: here (`data`) or in an object of its own (`key`)."""

    length: int
    sha256: str
    key: str | None
    data: bytes | None


def weight(payload: Payload, actions: int) -> int:
    """About the bytes that a commit of so many actions takes in memory."""
    return payload.length + 200 * actions


class Slot(NamedTuple):
    """One place of the log: a commit. `control` is what holds after it."""

    seq: int
    id: str
    previous: str
    kind: str
    control: Control
    groups: tuple[str, ...]
    payload: Payload | None
    time: datetime | None = None


def pack_slot(slot: Slot) -> bytes:
    """A slot as bytes."""
    payload: dict[str, Any] | None = None
    if slot.payload is not None:
        payload = {"length": slot.payload.length, "sha256": slot.payload.sha256}
        if slot.payload.data is not None:
            payload["data"] = base64.b64encode(slot.payload.data).decode()
        else:
            payload["key"] = slot.payload.key
    return pack(
        {
            "seq": slot.seq,
            "id": slot.id,
            "previous": slot.previous,
            "kind": slot.kind,
            **slot.control._asdict(),
            "groups": slot.groups,
            "payload": payload,
        }
    )


def unpack_slot(data: bytes, seq: int, time: datetime) -> Slot:
    """The slot that lies at `seq`; `ErrIntegrity` if it isn't whole, or is another's."""
    key = slot_key(seq)
    body = unpack(data, key)
    if body["seq"] != seq:
        raise ErrIntegrity(f"this is the slot of sequence {body['seq']}", key=key)
    payload = None
    if (found := body["payload"]) is not None:
        inline = found.get("data")
        payload = Payload(
            found["length"],
            found["sha256"],
            found.get("key"),
            None if inline is None else base64.b64decode(inline),
        )
    control = Control(body["epoch"], body["sweep"], body["maintenance"], body["total"])
    return Slot(
        seq,
        body["id"],
        body["previous"],
        body["kind"],
        control,
        tuple(body["groups"]),
        payload,
        time,
    )


class FileRef(NamedTuple):
    """A data file: entries of one type from id `first` to `last`, in order.

    `name` is its key without the ending. Sizes in bytes; the checksums are of
    the whole objects.
    """

    name: str
    first: str
    last: str
    entries: int
    size: int
    sha256: str
    index_size: int
    index_sha256: str


Types: TypeAlias = Mapping[str, tuple[FileRef, ...]]
"""All data files, by type."""


class Record(NamedTuple):
    """A slot and what it did: actions; or, for an import, the files that replace everything."""

    slot: Slot
    actions: tuple[Action, ...]
    types: Types | None = None


class Status(NamedTuple):
    """A data status: all entries as of `seq`, in data files by type.

    `commit_id` and `control` are of the commit at `seq`; `ids` are those of the
    last commits up to it, newest last.
    """

    checkpoint: int
    seq: int
    commit_id: str
    control: Control
    ids: tuple[str, ...]
    types: Types
    time: datetime | None = None

    def summary(self) -> DataStatus:
        """What callers are told of it."""
        files = [file for found in self.types.values() for file in found]
        return DataStatus(
            self.checkpoint,
            self.seq,
            sum(file.entries for file in files),
            sum(file.size for file in files),
            len(files),
            self.time or datetime.now(UTC),
        )


def pack_status(status: Status) -> bytes:
    """A status as bytes."""
    body = status._asdict()
    del body["time"]
    body["control"] = status.control._asdict()
    return pack(body)


def pack_types(types: Types) -> bytes:
    """The payload of an import: the data files that are everything from then on."""
    return pack({"types": types})


def unpack_types(data: bytes, key: str) -> Types:
    """What `pack_types` was given."""
    return _types(unpack(data, key)["types"])


def _types(rows: Mapping[str, Any]) -> Types:
    return {name: tuple(FileRef(*row) for row in files) for name, files in rows.items()}


def unpack_status(data: bytes, checkpoint: int, time: datetime) -> Status:
    """The status of a checkpoint; `ErrIntegrity` if it isn't whole, or is another's."""
    key = status_key(checkpoint)
    body = unpack(data, key)
    if body["checkpoint"] != checkpoint:
        raise ErrIntegrity(f"this is the status of checkpoint {body['checkpoint']}", key=key)
    return Status(
        checkpoint,
        body["seq"],
        body["commit_id"],
        Control(**body["control"]),
        tuple(body["ids"]),
        _types(body["types"]),
        time,
    )
