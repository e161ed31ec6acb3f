"""The newest state, followed: from the newest status on through the log."""

from __future__ import annotations

import asyncio

from objectstorage import _fork
from objectstorage.datamanager._async.log import AsyncLog
from objectstorage.datamanager.records import Record, Slot
from objectstorage.datamanager.state import State, groups_of
from objectstorage.errors import ErrCompacted, ErrIntegrity, ErrNotExist

__all__ = ["AsyncTail"]

_BATCH = 64
_FEW = 4
_WINDOW = 16
_BATCH_BYTES = 4 * 1024 * 1024


class AsyncTail:
    """Keeps one `State`, and brings it up to the head of the log.

    What lies in the log counts only above the boundary. So slots are read
    first, the boundary after them: if it stands no higher than what was known
    before, none of the slots can have been collected and written again by a
    writer that slept through it, and a slot that is missing was never there.
    """

    def __init__(self, log: AsyncLog, rebase_bytes: int, rebase_commits: int) -> None:
        self._log = log
        self._rebase_bytes = rebase_bytes
        self._rebase_commits = rebase_commits
        self._state: State | None = None
        self._begun = self._done = 0
        self._after_fork()
        _fork.register(self)

    def _after_fork(self) -> None:
        self._lock = asyncio.Lock()

    async def refresh(self) -> State:
        """The state at the head, as it was at some moment after this call began."""
        # Whoever waits for the lock is served by the next refresh that begins:
        # a thousand readers cost two refreshes, not a thousand.
        wanted = self._begun + 1
        async with self._lock:
            state = self._state
            if state is None or self._done < wanted:
                self._begun += 1
                number = self._begun
                state = await self._follow()
                self._done = number
            return state

    async def known(self) -> State:
        """The last state that was read; it may be behind the head."""
        return self._state or await self.refresh()

    async def hold(self, fresh: bool = True) -> State:
        """A state that stays as it is, whatever is committed."""
        state = await (self.refresh() if fresh else self.known())
        async with self._lock:
            return state.held()

    async def committed(self, record: Record) -> bool:
        """Take in a commit that this client has just made; whether it makes a checkpoint due.

        Due is it each time the log has grown so much again since the status that
        is known: of many writers, the one that made it so.
        """
        async with self._lock:
            state = self._state
            if state is None or state.seq + 1 != record.slot.seq:
                return False
            before = self._grown(state)
            state.apply(record)
            return self._grown(state) != before

    def _grown(self, state: State) -> tuple[int, int]:
        return (
            state.pending_bytes // self._rebase_bytes,
            state.pending_commits // self._rebase_commits,
        )

    async def reload(self) -> None:
        """Go on from the newest status, if there is a newer one than is known."""
        async with self._lock:
            status = await self._log.newest_status()
            state = self._state
            if status is not None and (state is None or state.checkpoint < status.checkpoint):
                self._state = State(status)
                await self._follow()

    async def _follow(self) -> State:
        """With the lock held."""
        state = self._state
        if state is None:
            await self._log.store_id()  # a format that is not ours is refused
        if state is None or state.outgrown(self._rebase_bytes, self._rebase_commits):
            status = await self._log.newest_status()
            if state is None or (status is not None and status.checkpoint > state.checkpoint):
                state = State(status)
            else:
                state.rebased()
        while True:
            try:
                records, more = await self.read(state.seq)
            except ErrCompacted:
                # left behind: what we know has been collected
                status = await self._log.newest_status()
                known, state = state.seq, State(status)
                if state.seq <= known:
                    raise ErrIntegrity(
                        f"the log after {known} was collected, and no status holds it",
                        storage=self._log.store.url,
                    )
                continue
            for record in records:
                state.apply(record)
            self._state = state
            if not more:
                return state

    async def read(self, after: int) -> tuple[list[Record], bool]:
        """Commits after sequence `after`, and whether there may be more at once.

        `ErrCompacted` if they are no longer in the log.
        """
        records: list[Record] = []
        size = 0
        gone: ErrNotExist | None = None
        more = True
        while more and len(records) < _BATCH and size < _BATCH_BYTES:
            first = after + len(records) + 1
            # one at a time while there is little: most often there is nothing
            window = _WINDOW if len(records) >= _FEW else 1
            slots: list[Slot] = []
            for slot in await self._log.slots(range(first, first + window)):
                if slot is None:
                    more = False
                    break
                slots.append(slot)
            while slots and size < _BATCH_BYTES and gone is None:
                some = _of_size(slots, _BATCH_BYTES - size)
                del slots[: len(some)]
                for found in await self._log.opened_all(some):
                    if not isinstance(found, Record):
                        gone = found
                        break
                    records.append(found)
                size += sum(map(_size, some))
            if gone is not None:
                break
            more = more or bool(slots)
        await self.check(after)
        if gone is not None:
            raise ErrIntegrity("the payload of a commit is missing", key=gone.key) from gone
        return records, more

    async def check(self, after: int) -> None:
        """`ErrCompacted` if the log no longer goes on from sequence `after`."""
        boundary = await self._log.boundary()
        if boundary > after:
            raise ErrCompacted(
                f"the log was collected up to {boundary}; {after} is older",
                storage=self._log.store.url,
            )

    async def groups_since(self, seq: int) -> list[tuple[str, ...] | None]:
        """`groups_of` each known commit after `seq`; `ErrCompacted` if they are gone."""
        async with self._lock:
            state = self._state
            assert state is not None  # whoever asks has seen a head
            kept = state.groups_since(seq)
            head = state.seq
        if kept is not None:
            return kept
        found: list[tuple[str, ...] | None] = []
        for first in range(seq + 1, head + 1, _BATCH):
            slots = await self._log.slots(range(first, min(first + _BATCH, head + 1)))
            found.extend(groups_of(slot) for slot in slots if slot is not None)
        await self.check(seq)
        return found


def _size(slot: Slot) -> int:
    return slot.payload.length if slot.payload else 0


def _of_size(slots: list[Slot], most: int) -> list[Slot]:
    """The first of them, as many as have that many bytes together; one at least."""
    size = 0
    for count, slot in enumerate(slots):
        size += _size(slot)
        if count and size > most:
            return slots[:count]
    return slots[:]
