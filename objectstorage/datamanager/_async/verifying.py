"""Everything read and checked against everything else."""

from __future__ import annotations

import hashlib

from objectstorage.datamanager._async.log import AsyncLog
from objectstorage.datamanager.frames import entries_of
from objectstorage.datamanager.merging import Block, check_order
from objectstorage.datamanager.model import Problem, Report
from objectstorage.datamanager.records import (
    BOUNDARY,
    DATA,
    FORMAT,
    STATUS,
    WAL,
    WALDATA,
    Control,
    FileRef,
    Slot,
    Status,
    Types,
    number_of,
    slot_key,
    status_key,
    unpack,
    weight,
)
from objectstorage.errors import ErrIntegrity, ErrNotExist, StorageError

__all__ = ["AsyncVerifier"]


class AsyncVerifier:
    """One walk over all objects. Memory: one data file, and the names of what is referred to."""

    def __init__(self, log: AsyncLog) -> None:
        self._log = log
        self._start()

    def _start(self) -> None:
        self._problems: list[Problem] = []
        self._named: set[str] = set()
        self._entries = self._commits = 0

    async def run(self) -> Report:
        """What there is, and what is wrong with it. Others may go on meanwhile."""
        while True:
            self._start()
            status = await self._newest()
            boundary = await self._boundary(status)
            seq = await self._check_all(status, boundary)
            objects, orphans = await self._count()
            if not self._problems or (
                await self._newest(quiet=True) == status
                and await self._boundary(status, quiet=True) == boundary
            ):
                break
            # What was missing may have been collected: look at what is there now.
        return Report(
            tuple(self._problems),
            seq,
            0 if status is None else status.checkpoint,
            self._entries,
            self._commits,
            objects,
            orphans,
        )

    def _wrong(self, key: str, what: str | StorageError) -> None:
        text = what if isinstance(what, str) else what.message
        self._problems.append(Problem(key, text))

    async def _check_all(self, status: Status | None, boundary: int) -> int:
        if status is not None:
            await self._check_types(status.types)
        seq = await self._check_log(status, boundary)
        try:
            if await self._log.store_id() is None and seq:
                self._wrong(FORMAT, "it is missing")
        except ErrIntegrity as exc:
            self._wrong(FORMAT, exc)
        return seq

    async def _boundary(self, status: Status | None, quiet: bool = False) -> int:
        try:
            return await self._log.boundary()
        except ErrIntegrity as exc:
            if not quiet:
                self._wrong(BOUNDARY, exc)
            return status.seq if status else 0

    async def _newest(self, quiet: bool = False) -> Status | None:
        """The newest status that can be read; others are leftovers."""
        numbers = [number_of(info.key) async for info in self._log.store.list(STATUS)]
        for number in reversed([number for number in numbers if number is not None]):
            try:
                status = await self._log.status(number)
            except ErrIntegrity as exc:
                if not quiet:
                    self._wrong(status_key(number), exc)
                continue
            if status is not None:
                return status
        return None

    # -- data files ------------------------------------------------------------

    async def _check_types(self, types: Types) -> None:
        for type, refs in types.items():
            last = ""
            for ref in refs:
                if ref.first <= last:
                    self._wrong(ref.name + ".data", f"{ref.first!r} comes after {last!r}")
                last = ref.last
                if ref.name not in self._named:
                    self._named.add(ref.name)
                    await self._check_file(type, ref)

    async def _check_file(self, type: str, ref: FileRef) -> None:
        blocks = await self._whole(ref.name + ".index", ref.index_size, ref.index_sha256)
        data = await self._whole(ref.name + ".data", ref.size, ref.sha256)
        if data is None or blocks is None:
            return
        key = ref.name + ".data"
        try:
            entries = list(entries_of(data, type, key))
            check_order("", entries, key)
            at = start = 0
            for block in (Block(*row) for row in unpack(blocks, ref.name + ".index")["blocks"]):
                if block.start != start or entries[at].id != block.first:
                    raise ErrIntegrity(f"the index is wrong at byte {start}", key=key)
                at += block.entries
                start += block.length
            if (start, at) != (len(data), len(entries)) or at != ref.entries:
                raise ErrIntegrity("the index, the file and the status differ", key=key)
            if (ref.first, ref.last) != (entries[0].id, entries[-1].id):
                raise ErrIntegrity("its first and last id differ from the status's", key=key)
        except StorageError as exc:
            self._wrong(exc.key or key, exc)
        else:
            self._entries += len(entries)

    async def _whole(self, key: str, size: int, sha256: str) -> bytes | None:
        found = await self._log.get(key)
        if found is None:
            self._wrong(key, "it is missing")
        elif len(found.data) != size:
            self._wrong(key, f"{len(found.data)} of {size} bytes are there")
        elif hashlib.sha256(found.data).hexdigest() != sha256:
            self._wrong(key, "the checksum differs")
        else:
            return found.data
        return None

    # -- the log ---------------------------------------------------------------

    async def _check_log(self, status: Status | None, boundary: int) -> int:
        """Every slot above the boundary; returns the last one's sequence."""
        covered = status.seq if status else 0
        if boundary > covered:
            self._wrong(BOUNDARY, f"it is {boundary}, beyond the newest status at {covered}")
        seq = boundary
        before: Slot | None = None
        async for info in self._log.store.list(WAL, start_after=slot_key(boundary)):
            number = number_of(info.key)
            if number is None:
                self._wrong(info.key, "this is no slot's name")
                continue
            if number != seq + 1:
                self._wrong(slot_key(seq + 1), "it is missing")
                before = None
            seq = number
            before = await self._check_slot(number, before, status)
        if seq < covered and boundary < covered:
            self._wrong(slot_key(seq + 1), "it is missing")
        return max(seq, covered)

    async def _check_slot(
        self, seq: int, before: Slot | None, status: Status | None
    ) -> Slot | None:
        key = slot_key(seq)
        try:
            slot = await self._log.slot(seq)
            if slot is None:
                return None  # collected between the two
            self._check_chain(slot, before, status)
            if slot.payload is not None and slot.payload.key is not None:
                self._named.add(slot.payload.key)
            record = await self._log.opened(slot)
        except ErrNotExist as exc:
            self._wrong(exc.key or key, "it is missing")
            return slot
        except ErrIntegrity as exc:
            self._wrong(exc.key or key, exc)
            return None
        self._commits += 1
        mine = weight(slot.payload, len(record.actions)) if slot.payload else 0
        if before is not None and slot.control.total != before.control.total + mine:
            self._wrong(key, "its total is not that of the one before and its own")
        if record.types is not None:
            await self._check_types(record.types)
        return slot

    def _check_chain(self, slot: Slot, before: Slot | None, status: Status | None) -> None:
        key = slot_key(slot.seq)
        if before is not None:
            if slot.previous != before.id:
                self._wrong(key, f"it says that it follows {slot.previous!r}, not {before.id!r}")
            if not _follows(slot.control, before.control):
                self._wrong(key, "epoch or sweep go back")
        elif slot.seq == 1 and slot.previous:
            self._wrong(key, "the first commit says that it follows one")
        if status is not None and slot.seq == status.seq and slot.id != status.commit_id:
            self._wrong(key, f"checkpoint {status.checkpoint} has commit {status.commit_id!r}")

    # -- the rest --------------------------------------------------------------

    async def _count(self) -> tuple[int, int]:
        """How many objects there are, and how many nothing refers to."""
        objects = orphans = 0
        async for info in self._log.store.list():
            objects += 1
            if info.key.startswith((WALDATA, DATA)):
                name = info.key.removesuffix(".data").removesuffix(".index")
                orphans += name not in self._named
        return objects, orphans


def _follows(after: Control, before: Control) -> bool:
    return after.epoch >= before.epoch and after.sweep >= before.sweep
