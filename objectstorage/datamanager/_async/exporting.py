"""Everything out as one stream of lines, and back in, all or nothing.

The first line says what it is, then a line an entry in order of type and id,
and at last how many there were and the SHA-256 of all lines before.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from objectstorage.aio.storage import AsyncData
from objectstorage.datamanager._aiowaiting import achunks
from objectstorage.datamanager._async.checkpoint import AsyncFileWriter
from objectstorage.datamanager._async.log import AsyncLog
from objectstorage.datamanager._async.snapshot import AsyncSnapshot
from objectstorage.datamanager.limits import Limits
from objectstorage.datamanager.model import Entry, check_id, check_type
from objectstorage.datamanager.records import Types, import_tag
from objectstorage.errors import ErrBadRequest, StorageError

__all__ = ["AsyncImporter", "exported"]

_log = logging.getLogger("objectstorage")

_WHAT = "objectstorage data export"
_CHUNK = 256 * 1024
_MAX_LINE = 32 * 1024 * 1024


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


async def exported(snapshot: AsyncSnapshot, store_id: str | None) -> AsyncIterator[bytes]:
    """The lines of a snapshot, some at a time."""
    digest = hashlib.sha256()
    count = 0
    lines = [_line({"format": _WHAT, "version": 1, "store_id": store_id, "seq": snapshot.seq})]
    size = len(lines[0])
    for type in await snapshot.types():
        async for entry in snapshot.list(type):
            data = base64.b64encode(entry.data).decode()
            lines.append(_line({"type": type, "id": entry.id, "data": data}))
            size += len(lines[-1])
            count += 1
            if size >= _CHUNK:
                chunk = b"".join(lines)
                digest.update(chunk)
                yield chunk
                lines, size = [], 0
    chunk = b"".join(lines)
    digest.update(chunk)
    yield chunk + _line({"entries": count, "sha256": digest.hexdigest()})


async def _lines(source: AsyncData) -> AsyncIterator[bytes]:
    """The lines of a source, each with its end."""
    rest = b""
    async for chunk in achunks(source):
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for line in lines:
            yield line + b"\n"
        if len(rest) > _MAX_LINE:
            raise ErrBadRequest(f"a line is longer than {_MAX_LINE} bytes")
    if rest:
        raise ErrBadRequest("the last line is cut short")


class AsyncImporter:
    """Reads an export into data files that nothing names yet."""

    def __init__(self, log: AsyncLog, limits: Limits, sweep: int, seq: int) -> None:
        self._log = log
        self._limits = limits
        self._sweep = sweep
        self._seq = seq
        self._writers: dict[str, AsyncFileWriter] = {}

    async def run(self, source: AsyncData) -> tuple[Types, int]:
        """The files, and how many entries they have; `ErrBadRequest` and no files if it is bad."""
        try:
            count = await self._read(source)
        except StorageError:
            await self.discard()
            raise
        return {type: tuple(writer.refs) for type, writer in self._writers.items()}, count

    async def discard(self) -> None:
        """Delete the files again; what is left of them, the sweep takes."""
        try:
            for writer in self._writers.values():
                for ref in writer.refs:
                    await self._log.delete(ref.name + ".data")
                    await self._log.delete(ref.name + ".index")
        except StorageError as exc:
            _log.info("files of an import that failed are left: %s", exc)

    async def _read(self, source: AsyncData) -> int:
        digest = hashlib.sha256()
        count = -1
        last = ("", "")
        end: dict[str, Any] | None = None
        async for line in _lines(source):
            if end is not None:
                raise ErrBadRequest(f"there is more after the end, line {count + 3}")
            value = _parsed(line, count + 2)
            if count < 0:
                if value.get("format") != _WHAT or value.get("version") != 1:
                    raise ErrBadRequest(f"this is no {_WHAT} of version 1")
            elif "sha256" in value:
                end = value
                continue
            else:
                entry = self._entry(value, count + 2)
                if last >= (entry.type, entry.id):
                    raise ErrBadRequest(f"line {count + 2} is out of order, or there twice")
                if entry.type != last[0]:
                    await self._flush(last[0])
                    self._writers[entry.type] = AsyncFileWriter(
                        self._log, self._limits, entry.type, import_tag(self._sweep)
                    )
                last = (entry.type, entry.id)
                await self._writers[entry.type].add([entry])
            digest.update(line)
            count += 1
        if end is None:
            raise ErrBadRequest("the end is missing")
        if end != {"entries": count, "sha256": digest.hexdigest()}:
            raise ErrBadRequest("number or checksum of the entries differ from what the end says")
        await self._flush(last[0])
        return count

    def _entry(self, value: dict[str, Any], line: int) -> Entry:
        try:
            type, id = value["type"], value["id"]
            check_type(type)
            check_id(id)
            return Entry(type, id, base64.b64decode(value["data"], validate=True), self._seq)
        except ErrBadRequest:
            raise
        except (KeyError, TypeError, ValueError) as exc:
            raise ErrBadRequest(f"line {line} is no entry") from exc

    async def _flush(self, type: str) -> None:
        if type:
            await self._writers[type].flush()


def _parsed(line: bytes, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as exc:
        raise ErrBadRequest(f"line {number} is no JSON") from exc
    if not isinstance(value, dict):
        raise ErrBadRequest(f"line {number} is no object")
    return value
