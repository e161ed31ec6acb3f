"""Actions and entries as bytes: frames, each with its length and checksum.

A frame is `checksum, op, sequence, length of type, of id, of data`, then the
three. The checksum (CRC-32) covers all that follows it. Payloads of commits and
data files are nothing but frames.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

from objectstorage.datamanager.model import Action, Delete, Entry, Put
from objectstorage.errors import ErrIntegrity

__all__ = ["entries_of", "entry_frame", "pack_actions", "unpack_actions"]

_HEAD = struct.Struct(">IBQHHI")
_PUT, _DELETE = 1, 2


def frame(op: int, seq: int, type: bytes, id: bytes, data: bytes) -> bytes:
    """One frame."""
    head = _HEAD.pack(0, op, seq, len(type), len(id), len(data))
    rest = b"".join((head[4:], type, id, data))
    return zlib.crc32(rest).to_bytes(4, "big") + rest


def _frames(data: bytes, key: str) -> Iterator[tuple[int, int, bytes, bytes, bytes]]:
    at, end = 0, len(data)
    while at < end:
        if end - at < _HEAD.size:
            raise ErrIntegrity(f"a frame is cut short at byte {at}", key=key)
        check, op, seq, type_length, id_length, length = _HEAD.unpack_from(data, at)
        start = at + _HEAD.size
        middle = start + type_length
        body = middle + id_length
        stop = body + length
        if stop > end:
            raise ErrIntegrity(f"a frame is cut short at byte {at}", key=key)
        if zlib.crc32(memoryview(data)[at + 4 : stop]) != check or op not in (_PUT, _DELETE):
            raise ErrIntegrity(f"a frame's checksum differs at byte {at}", key=key)
        yield op, seq, data[start:middle], data[middle:body], data[body:stop]
        at = stop


def pack_actions(actions: Iterable[Action]) -> bytes:
    """A commit's payload."""
    return b"".join(
        frame(_PUT, 0, action.type.encode(), action.id.encode(), action.data)
        if isinstance(action, Put)
        else frame(_DELETE, 0, action.type.encode(), action.id.encode(), b"")
        for action in actions
    )


def unpack_actions(data: bytes, key: str) -> tuple[Action, ...]:
    """What `pack_actions` made; `ErrIntegrity` naming `key` if it is torn."""
    return tuple(
        Put(type.decode(), id.decode(), content)
        if op == _PUT
        else Delete(type.decode(), id.decode())
        for op, _, type, id, content in _frames(data, key)
    )


def entry_frame(entry: Entry) -> bytes:
    """An entry as it lies in a data file; the file's place says its type."""
    return frame(_PUT, entry.seq, b"", entry.id.encode(), entry.data)


def entries_of(data: bytes, type: str, key: str) -> Iterator[Entry]:
    """The entries of whole frames of a data file; `ErrIntegrity` if one is torn."""
    for _, seq, _, id, content in _frames(data, key):
        yield Entry(type, id.decode(), content, seq)
