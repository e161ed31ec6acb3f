"""How caches lie in a store, as text and bytes; no I/O here.

Group and key are a segment each, escaped:

    entries/<group>/<key>            JSON: when it was saved, which data; created only
    data/<group>/<key>!<16 hex>      the bytes; written before the entry
    used/<group>/<key>               empty; rewritten now and then, when it is restored

The entry is what is saved first wins; data without one are left over from a
save that died. The three sort alike (`!` is below every character of a
segment), so that one pass over the three listings beside each other cleans.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import NamedTuple

from objectstorage._segments import escape, escape_start, unescape
from objectstorage.errors import ErrExist, ErrIntegrity, ErrNotExist

__all__ = [
    "DATA",
    "ENTRIES",
    "USED",
    "CacheInfo",
    "Entry",
    "check_group",
    "data_key",
    "decode_entry",
    "entry_key",
    "missing",
    "names_of",
    "place_of",
    "start_of_entries",
    "taken",
    "used_key",
]

ENTRIES, DATA, USED = "entries/", "data/", "used/"


class CacheInfo(NamedTuple):
    """A saved cache; `size` in bytes; `saved` aware, UTC, by the clock of who saved it."""

    group: str
    key: str
    size: int
    saved: datetime


class Entry(NamedTuple):
    """What an entry says: which data, their size, when by its writer's clock (ns)."""

    data: str
    size: int
    saved: int

    def encode(self) -> bytes:
        """As it is stored."""
        return json.dumps({"format": 1, **self._asdict()}).encode()

    def info(self, group: str, key: str) -> CacheInfo:
        """What of it is told to callers."""
        saved = datetime.fromtimestamp(self.saved / 1e9, UTC)
        return CacheInfo(group, key, self.size, saved)


def decode_entry(raw: bytes, key: str) -> Entry:
    """What is stored; `ErrIntegrity` if it is no entry, or one of a later format."""
    try:
        fields = json.loads(raw)
        if fields["format"] != 1:
            raise ErrIntegrity(f"a cache of format {fields['format']!r}; 1 is known", key=key)
        return Entry(str(fields["data"]), int(fields["size"]), int(fields["saved"]))
    except (ValueError, KeyError, TypeError) as exc:
        raise ErrIntegrity("this is no entry of a cache", key=key) from exc


def check_group(group: str) -> str:
    """The group's segment; `ErrInvalidKey` if it can't be one."""
    return escape(group, "cache group")


def place_of(group: str, key: str) -> str:
    """`<group>/<key>`, as it stands in all three.

    >>> place_of("a", "b-c"), place_of("a-b", "c"), place_of("a/b", "c")
    ('a/b-c', 'a-b/c', 'a%2Fb/c')
    """
    return f"{check_group(group)}/{escape(key, 'cache key')}"


def names_of(place: str) -> tuple[str, str]:
    """The group and the key of a place."""
    group, _, key = place.partition("/")
    return unescape(group), unescape(key)


def start_of_entries(group: str, prefix: str) -> str:
    """How the entries' keys begin whose key in the group begins with `prefix`."""
    return f"{ENTRIES}{check_group(group)}/{escape_start(prefix, 'prefix')}"


def entry_key(place: str) -> str:
    """The key of the entry."""
    return ENTRIES + place


def data_key(place: str, name: str) -> str:
    """The key of the data of that name."""
    return f"{DATA}{place}!{name}"


def used_key(place: str) -> str:
    """The key of the object whose age says when the cache was used."""
    return USED + place


def missing(group: str, key: str | None, prefix: str | None = None) -> ErrNotExist:
    """What is raised for a cache that isn't there."""
    details = {"group": group} | ({"key": key} if prefix is None else {"prefix": prefix})
    return ErrNotExist("cache doesn't exist", details=details)


def taken(group: str, key: str) -> ErrExist:
    """What is raised for a key that was saved already."""
    return ErrExist("cache exists already", details={"group": group, "key": key})
