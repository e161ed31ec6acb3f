"""The commit: a slot created after the head, by one for all who wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from objectstorage import _fork
from objectstorage.datamanager._async.log import AsyncLog
from objectstorage.datamanager._async.tail import AsyncTail
from objectstorage.datamanager.frames import pack_actions
from objectstorage.datamanager.model import Commit
from objectstorage.datamanager.proposal import Attempt, Proposal, merge
from objectstorage.datamanager.records import (
    Payload,
    Record,
    Slot,
    pack_slot,
    pack_types,
    slot_key,
    weight,
)
from objectstorage.datamanager.state import Head
from objectstorage.errors import (
    ErrBackend,
    ErrBadRequest,
    ErrCommitUnknown,
    ErrCompacted,
    ErrConcurrency,
    ErrDurabilityUnknown,
    ErrExist,
    ErrOutcomeUnknown,
    ErrTimeout,
    ErrUnavailable,
    StorageError,
)

__all__ = ["AsyncCommitter"]

_TRIES = 5
_MOST_LOST = 8
# After these the slot may exist, or come into existence yet.
_UNSURE = (ErrOutcomeUnknown, ErrUnavailable, ErrBackend)


class AsyncCommitter:
    """Commits proposals, several at once when many wait."""

    def __init__(self, log: AsyncLog, tail: AsyncTail) -> None:
        self._log = log
        self._tail = tail
        self._due = False
        self._lost = 0  # slots, one after the other
        self._placed: tuple[tuple[Proposal, ...], int, Payload] | None = None
        self._after_fork()
        _fork.register(self)

    def _after_fork(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting: dict[Proposal, None] = {}  # in the order they came
        self._attempt: Attempt | None = None

    async def commit(self, proposal: Proposal) -> Commit:
        """Commit it, or raise what kept it from that."""
        self._waiting[proposal] = None
        try:
            async with self._lock:
                while not proposal.done:
                    await self._lead(proposal)
        finally:
            self._waiting.pop(proposal, None)
        return proposal.outcome()

    def take_due(self) -> bool:
        """Whether a commit made a checkpoint due; says so once."""
        due, self._due = self._due, False
        return due

    async def _lead(self, leader: Proposal) -> None:
        """Bring some of those who wait to an end; with the lock held.

        What ends the leader alone (a deadline, a cancellation) leaves the
        others waiting: the next to lead goes on with the very slot that may
        stand already.
        """
        attempt = self._attempt
        if attempt is not None and not any(member in self._waiting for member in attempt.members):
            attempt = self._attempt = None
        try:
            if leader.late and (attempt is None or leader not in attempt.members):
                raise ErrTimeout("the deadline passed before the commit")
            if attempt is None:
                await self._log.prepare()
                attempt = await self._prepare()
            if attempt is not None:
                self._attempt = attempt
                await self._settle(attempt, leader.deadline)
        except StorageError as exc:
            exc.at(operation="write", storage=self._log.store.url)
            if leader.late and isinstance(exc, ErrTimeout | ErrCommitUnknown):
                self._refuse([leader], exc)
            elif self._attempt is not None:
                self._refuse(self._attempt.members, exc)
                self._attempt = None
            else:
                # nobody who waits would fare better with this store
                self._refuse(list(self._waiting), exc)

    def _refuse(self, members: Sequence[Proposal], error: StorageError) -> None:
        for member in members:
            if member in self._waiting:
                member.fail(error)
                self._waiting.pop(member, None)

    # -- what to put into the slot ---------------------------------------------

    async def _prepare(self) -> Attempt | None:
        """A slot for the first who wait; None if they were all refused."""
        waiting = list(self._waiting)
        batch = merge(waiting[0], waiting[1:])
        fresh = False
        while True:
            head = (await self._tail.known()).head
            refused = {}
            for proposal in batch:
                error = await self._refusal(proposal, head)
                if error is not None:
                    refused[proposal] = error
            if refused and not fresh:
                # what is known may be old: a maintenance over, a newer epoch
                await self._tail.refresh()
                fresh = True
                continue
            for proposal, error in refused.items():
                self._refuse([proposal], error.at(operation="write", storage=self._log.store.url))
            batch = [proposal for proposal in batch if proposal not in refused]
            if not batch:
                return None
            if (await self._tail.known()).head is head:
                return await self._build(tuple(batch), head)

    async def _build(self, members: tuple[Proposal, ...], head: Head) -> Attempt:
        first = members[0]
        payload = None
        if first.actions or first.types is not None:
            payload = await self._payload(members, head.control.sweep)
        control = head.control
        if payload is not None:
            actions = sum(len(member.actions) for member in members)
            control = control._replace(total=control.total + weight(payload, actions))
        if first.change is not None:
            control = first.change(head.seq + 1, control)
        groups = tuple(sorted({group for member in members for group in member.groups}))
        slot = Slot(
            head.seq + 1,
            self._log.new_id(),
            head.commit_id,
            first.kind,
            control,
            groups,
            payload,
        )
        return Attempt(slot, members)

    async def _payload(self, members: tuple[Proposal, ...], sweep: int) -> Payload:
        """The payload of these, written already or now.

        One written before the last sweep may have been swept: it is put again,
        under a new name.
        """
        placed = self._placed
        if placed is not None and placed[0] == members and placed[1] == sweep:
            return placed[2]
        types = members[0].types
        if types is not None:
            data = pack_types(types)
        else:
            data = pack_actions(action for member in members for action in member.actions)
        payload = await self._log.place(data, sweep)
        self._placed = members, sweep, payload
        return payload

    async def _refusal(self, proposal: Proposal, head: Head) -> StorageError | None:
        """Why the proposal can't be committed after `head`, if it can't."""
        control, token = head.control, proposal.token
        if proposal.kind == "write" and control.maintenance is not None:
            return ErrUnavailable(f"maintenance: {control.maintenance}")
        if proposal.epoch is not None and proposal.epoch != control.epoch:
            return ErrConcurrency(f"the epoch is {control.epoch}, not {proposal.epoch}")
        if proposal.exact is not None and proposal.exact != head.seq:
            return ErrConcurrency(f"the head is {head.seq}, no longer {proposal.exact}")
        if token is None:
            return None
        if token > head.seq:
            seq = (await self._tail.refresh()).seq
            return ErrBadRequest(f"the token is {token}, the head {seq}") if token > seq else None
        try:
            since = await self._tail.groups_since(token)
        except ErrCompacted as exc:
            return exc
        mine = set(proposal.groups)
        for seq, groups in enumerate(since, token + 1):
            if groups is None:
                return ErrConcurrency(f"commit {seq} replaced everything")
            if not mine.isdisjoint(groups):
                shared = min(mine.intersection(groups))
                return ErrConcurrency(f"commit {seq} changed {shared!r} first")
        return None

    # -- the slot --------------------------------------------------------------

    async def _settle(self, attempt: Attempt, deadline: float | None) -> None:
        """Create the slot, find out whose it is, and tell the members."""
        slot, members = attempt
        begun = time.monotonic()
        ours = await self._create(slot, deadline)
        self._attempt = None
        if not ours:
            # Whatever becomes of our requests now: this slot is another's. Those
            # who lose together would meet at the next one, too, and slow each
            # other down: the more often, the longer the pause.
            self._lost = min(self._lost + 1, _MOST_LOST)
            pause = self._lost * (time.monotonic() - begun)
            left = _left(deadline)
            await self._log.pause(pause if left is None else min(pause, left))
            await self._tail.refresh()
            return
        self._lost = 0
        self._placed = None
        actions = tuple(action for member in members for action in member.actions)
        self._due = await self._tail.committed(Record(slot, actions, members[0].types)) or self._due
        for member in members:
            if member in self._waiting:
                member.succeed(slot)
                self._waiting.pop(member, None)

    async def _create(self, slot: Slot, deadline: float | None) -> bool:
        """Whether the slot is ours; `ErrCommitUnknown` if that can't be found out."""
        key = slot_key(slot.seq)
        data = pack_slot(slot)
        created = unsure = False
        tries = 0
        while True:
            try:
                if not created:
                    try:
                        await self._log.create(key, data, timeout=_left(deadline))
                    except ErrExist:
                        unsure = True  # if it is ours, an earlier request made it
                        found = await self._log.slot(slot.seq)
                        if found is not None and found.id != slot.id:
                            return False
                    created = unsure = True
                return await self._counts(slot)
            except ErrDurabilityUnknown as exc:
                raise _unknown(slot, "it is visible, and may not survive a power loss") from exc
            except StorageError as exc:
                if isinstance(exc, ErrCommitUnknown):
                    raise
                unsure = unsure or isinstance(exc, _UNSURE)
                if not unsure:
                    raise
                # Create the very same slot again: only one of the two can be it.
                tries += 1
                if tries == _TRIES or (deadline is not None and time.monotonic() >= deadline):
                    raise _unknown(slot, "the store did not say") from exc
            await self._log.pause()

    async def _counts(self, slot: Slot) -> bool:
        """Whether a slot that was created is the one that counts.

        It isn't if its place had been collected: then it was created a second
        time, below the boundary. The boundary is raised before anything is
        deleted, so it shows.
        """
        if await self._log.boundary() < slot.seq:
            return True
        status = await self._log.newest_status()
        if status is not None:
            ago = status.seq - slot.seq
            if 0 <= ago < len(status.ids):
                return status.ids[-1 - ago] == slot.id
        raise _unknown(slot, "it was collected before it could be checked")


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0.001)


def _unknown(slot: Slot, why: str) -> ErrCommitUnknown:
    return ErrCommitUnknown(
        f"commit {slot.id} may or may not stand at {slot.seq}: {why}",
        commit_id=slot.id,
        seq=slot.seq,
        key=slot_key(slot.seq),
        operation="write",
    )
