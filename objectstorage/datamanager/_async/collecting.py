"""What is no longer needed, deleted: the log's old end, old statuses and files, orphans."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from objectstorage.datamanager._async.committing import AsyncCommitter
from objectstorage.datamanager._async.log import AsyncLog
from objectstorage.datamanager._async.tail import AsyncTail
from objectstorage.datamanager.model import Collected
from objectstorage.datamanager.proposal import Proposal
from objectstorage.datamanager.records import (
    DATA,
    STATUS,
    WAL,
    WALDATA,
    Types,
    number_of,
    slot_key,
    status_key,
    tag_of,
)
from objectstorage.errors import ErrBadRequest, ErrNotExist

__all__ = ["AsyncCollector"]

_BATCH = 512


class AsyncCollector:
    """Deletes in two ways, each exact without trusting a clock; ages are a courtesy.

    `collect`: the log that a status covers, behind the boundary; statuses that
    have a newer one; data files made for checkpoints that have come, which no
    status names. `sweep`: payloads and imported files of before the last sweep
    that no commit names.
    """

    def __init__(self, log: AsyncLog, tail: AsyncTail, committer: AsyncCommitter) -> None:
        self._log = log
        self._tail = tail
        self._committer = committer

    # -- the log, statuses and their files -------------------------------------

    async def collect(self, min_age: float, dry_run: bool) -> Collected:
        """See `DataManager.collect`."""
        oldest = await self._before(min_age)
        newest = await self._log.newest_status()
        if newest is None:
            return Collected(0, 0, 0, 0)
        boundary = await self._log.boundary()
        slots = last = 0
        while batch := await self._old_slots(last, boundary, newest.seq, oldest):
            if not dry_run and not await self._drop(boundary, batch):
                break
            slots += len(batch)
            last = batch[-1]
            boundary = max(boundary, last)
        gone = await self._old_statuses(oldest)
        files = await self._old_files(gone, dry_run)
        return Collected(boundary, slots, len(gone), files)

    async def _old_slots(
        self, after: int, boundary: int, limit: int, oldest: datetime
    ) -> list[int]:
        """The next slots to delete after `after`; those left behind the boundary too."""
        found: list[int] = []
        async for info in self._log.store.list(WAL, start_after=slot_key(after)):
            seq = number_of(info.key)
            if seq is None:
                continue
            if seq > boundary and (seq > limit or info.last_modified > oldest):
                break
            found.append(seq)
            if len(found) == _BATCH:
                break
        return found

    async def _drop(self, boundary: int, batch: list[int]) -> bool:
        """Move the boundary, then delete the slots at and below it; False if another moved it."""
        payloads = []
        fresh = [seq for seq in batch if seq > boundary]
        if fresh:
            # Read before the boundary moves: these are the slots that count. One
            # below it may be a leftover that names a payload in use elsewhere.
            slots = await self._log.slots(fresh)
            if not await self._log.raise_boundary(boundary, fresh[-1]):
                return False
            payloads = [slot.payload for slot in slots if slot is not None]
        await self._log.delete_all([p.key for p in payloads if p is not None and p.key is not None])
        await self._log.delete_all([slot_key(seq) for seq in batch])
        return True

    async def _old_statuses(self, oldest: datetime) -> list[int]:
        """The statuses that have had a newer one since before `oldest`."""
        gone: list[int] = []
        before: int | None = None
        async for info in self._log.store.list(STATUS):
            number = number_of(info.key)
            if number is None:
                continue
            if before is not None and info.last_modified <= oldest:
                gone.append(before)
            before = number
        return gone

    async def _old_files(self, gone: list[int], dry_run: bool) -> int:
        """Delete these statuses, and the files that none of the others names."""
        named: set[str] = set()
        newest = 0
        async for info in self._log.store.list(STATUS):
            number = number_of(info.key)
            if number is None or number in gone:
                continue
            status = await self._log.status(number)
            if status is not None:
                named.update(_names(status.types))
                newest = max(newest, number)
        if not dry_run:
            for number in gone:
                await self._log.delete(status_key(number))
        count = 0
        async for info in self._log.store.list(DATA):
            tag = tag_of(info.key)
            if tag is None or tag[0] != "c" or tag[1] > newest or _name(info.key) in named:
                continue
            count += 1
            if not dry_run:
                await self._log.delete(info.key)
        return count

    # -- orphans ---------------------------------------------------------------

    async def sweep(self, min_age: float, dry_run: bool) -> int:
        """See `DataManager.sweep`."""
        oldest = await self._before(min_age)
        head = (await self._tail.refresh()).head
        found: dict[str, int] = {}
        for prefix in (WALDATA, DATA):
            async for info in self._log.store.list(prefix):
                tag = tag_of(info.key)
                if tag is not None and tag[0] in "pi" and info.last_modified <= oldest:
                    found[info.key] = tag[1]
        if not found:
            return 0
        named = await self._named(0, head.seq)
        for key in [key for key in found if _name(key) in named]:
            del found[key]
        sweep = head.control.sweep
        if not dry_run and max(found.values(), default=-1) >= sweep:
            # From here on nobody commits what was put before: see AsyncCommitter.
            proposal = Proposal("sweep", change=lambda seq, last: last._replace(sweep=seq))
            sweep = (await self._committer.commit(proposal)).seq
            named = await self._named(head.seq, sweep)
        count = 0
        for key, put_after in found.items():
            if dry_run or (put_after < sweep and _name(key) not in named):
                count += 1
                if not dry_run:
                    await self._log.delete(key)
        return count

    async def _named(self, after: int, upto: int) -> set[str]:
        """What the commits after `after` up to `upto` name, and what statuses do.

        The log first: what a slot that is gone by now named is in the status that
        let it go.
        """
        named: set[str] = set()
        first = max(after, await self._log.boundary()) + 1
        for start in range(first, upto + 1, _BATCH):
            for slot in await self._log.slots(range(start, min(start + _BATCH, upto + 1))):
                if slot is None or slot.payload is None:
                    continue
                if slot.payload.key is not None:
                    named.add(slot.payload.key)
                if slot.kind == "import":
                    try:
                        named.update(_names((await self._log.opened(slot)).types or {}))
                    except ErrNotExist:
                        pass  # collected between the two
        async for info in self._log.store.list(STATUS):
            number = number_of(info.key)
            status = None if number is None else await self._log.status(number)
            if status is not None:
                named.update(_names(status.types))
        return named

    async def _before(self, min_age: float) -> datetime:
        if min_age < 0:
            raise ErrBadRequest(f"an age is 0 seconds or more, not {min_age}")
        await self._log.prepare()
        return await self._log.store.clock() - timedelta(seconds=min_age)


def _names(types: Types) -> Iterable[str]:
    return (ref.name for refs in types.values() for ref in refs)


def _name(key: str) -> str:
    """The name that refers to an object: its key, without a data file's ending."""
    return key.removesuffix(".data").removesuffix(".index")
