"""Entries in id order, in chunks: changes laid over them, and data files cut from them."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from objectstorage.datamanager.frames import entry_frame
from objectstorage.datamanager.model import Entry
from objectstorage.datamanager.records import FileRef, pack
from objectstorage.errors import ErrIntegrity

__all__ = ["Block", "Built", "Changes", "Cutter", "changes_of", "check_order", "overlaid", "upto"]

Changes: TypeAlias = list[tuple[str, Entry | None]]
"""What is put or (None) deleted, by id, in order."""


def changes_of(
    entries: Mapping[str, Entry | None], prefix: str = "", start_after: str = ""
) -> Changes:
    """What lies on top of the data files of one type, cut to a range.

    Code points sort as their UTF-8 bytes do.
    """
    return sorted(
        (item for item in entries.items() if item[0].startswith(prefix) and item[0] > start_after),
        key=lambda item: item[0],
    )


def overlaid(chunk: Sequence[Entry], changes: Changes) -> list[Entry]:
    """A chunk of entries with the changes that fall into it."""
    if not changes:
        return list(chunk)
    changed = {id for id, _ in changes}
    found = [entry for entry in chunk if entry.id not in changed]
    found.extend(entry for _, entry in changes if entry is not None)
    found.sort(key=lambda entry: entry.id)  # two runs, each in order: one pass
    return found


def upto(changes: Changes, at: int, last: str) -> int:
    """The index after the changes from `at` on whose id is at most `last`."""
    return bisect_right(changes, last, lo=at, key=lambda item: item[0])


def check_order(before: str, entries: Iterable[Entry], key: str) -> str:
    """The last id, if all come in order after `before`; else `ErrIntegrity`."""
    for entry in entries:
        if entry.id <= before:
            raise ErrIntegrity(f"{entry.id!r} comes after {before!r}", key=key)
        before = entry.id
    return before


class Block(NamedTuple):
    """Some entries of a data file: the first one's id, where they begin, bytes, how many."""

    first: str
    start: int
    length: int
    entries: int


class Built(NamedTuple):
    """A data file as it is to be stored: both objects and what the status says of them."""

    ref: FileRef
    data: bytes
    blocks: bytes


class Cutter:
    """Cuts a stream of entries into data files; holds no more than one."""

    def __init__(self, file_bytes: int, block_bytes: int) -> None:
        self._file_bytes = file_bytes
        self._block_bytes = block_bytes
        self._start()

    def _start(self) -> None:
        self._data = bytearray()
        self._blocks: list[Block] = []
        self._open: list[Any] | None = None  # first id, start and entries of the last block
        self._first = self._last = ""
        self._entries = 0

    @property
    def size(self) -> int:
        """Bytes that are held."""
        return len(self._data)

    @property
    def full(self) -> bool:
        """Whether it is time to `cut`."""
        return len(self._data) >= self._file_bytes

    def add(self, entry: Entry) -> None:
        """Take the next entry."""
        if self._open is None:
            self._open = [entry.id, len(self._data), 0]
        if not self._entries:
            self._first = entry.id
        self._data += entry_frame(entry)
        self._last = entry.id
        self._entries += 1
        self._open[2] += 1
        if len(self._data) - self._open[1] >= self._block_bytes:
            self._close_block()

    def _close_block(self) -> None:
        if self._open is not None:
            first, start, entries = self._open
            self._blocks.append(Block(first, start, len(self._data) - start, entries))
            self._open = None

    def cut(self, name: str) -> Built:
        """What was taken so far, as the data file `name`."""
        self._close_block()
        data = bytes(self._data)
        index = pack({"blocks": self._blocks})
        ref = FileRef(
            name,
            self._first,
            self._last,
            self._entries,
            len(data),
            hashlib.sha256(data).hexdigest(),
            len(index),
            hashlib.sha256(index).hexdigest(),
        )
        self._start()
        return Built(ref, data, index)
