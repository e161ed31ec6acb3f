"""The data manager: what callers see."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Self

from objectstorage.aio.storage import AsyncData, AsyncStorage
from objectstorage.datamanager._async.checkpoint import AsyncCheckpointer
from objectstorage.datamanager._async.collecting import AsyncCollector
from objectstorage.datamanager._async.committing import AsyncCommitter
from objectstorage.datamanager._async.exporting import AsyncImporter, exported
from objectstorage.datamanager._async.files import AsyncFiles
from objectstorage.datamanager._async.log import AsyncLog
from objectstorage.datamanager._async.snapshot import AsyncSnapshot
from objectstorage.datamanager._async.tail import AsyncTail
from objectstorage.datamanager._async.verifying import AsyncVerifier
from objectstorage.datamanager.limits import DEFAULTS, Limits
from objectstorage.datamanager.model import (
    Action,
    Collected,
    Commit,
    DataStatus,
    Entry,
    Report,
    check_actions,
    check_groups,
    check_id,
    check_type,
)
from objectstorage.datamanager.proposal import Proposal
from objectstorage.datamanager.records import Control, random_id, slot_key
from objectstorage.errors import (
    ErrBadRequest,
    ErrCompacted,
    ErrConcurrency,
    ErrNoDataStatus,
    StorageError,
)
from objectstorage.wrappers._async.dry_run import AsyncDryRunStorage

__all__ = ["AsyncDataManager"]

_log = logging.getLogger("objectstorage")


class AsyncDataManager:
    """Entries (type, id, bytes) in `store`, changed by transactions; see the package's page.

    `single_writer`: vouches that nobody else writes, for a store whose
    conditional writes are not proven; without it such a store is refused
    (`ErrUnsupported`) by the first write. No I/O until used. Safe across threads
    and processes; the store is not closed with it. Every object lies in `store`
    itself: give it a part of one by `objectstorage.wrappers`. `new_id` makes names
    that nobody else has, for whoever must know them beforehand: a simulation.
    """

    def __init__(
        self,
        store: AsyncStorage,
        *,
        single_writer: bool = False,
        limits: Limits = DEFAULTS,
        new_id: Callable[[], str] = random_id,
    ) -> None:
        self._store = store
        self._limits = limits
        self._log = AsyncLog(store, single_writer, limits.inline_bytes, new_id, limits.requests)
        self._tail = AsyncTail(self._log, limits.checkpoint_bytes, limits.checkpoint_commits)
        self._files = AsyncFiles(store)
        self._committer = AsyncCommitter(self._log, self._tail)
        self._collector = AsyncCollector(self._log, self._tail, self._committer)
        self._checkpointer = AsyncCheckpointer(self._log, self._tail, self._files, limits)

    @property
    def url(self) -> str:
        """The store's URL; never contains a secret."""
        return self._store.url

    async def store_id(self) -> str | None:
        """The id this data was given when it was first written; None if it never was."""
        return await self._log.store_id()

    # -- writing ---------------------------------------------------------------

    async def write(
        self,
        actions: Iterable[Action],
        *,
        groups: Iterable[str] = (),
        token: int | None = None,
        epoch: int | None = None,
        timeout: float | None = None,
    ) -> Commit:
        """Commit the actions, all or none; durable on return.

        groups: what the commit reads and changes, by names of the caller's.
        token: the sequence the caller read at; `ErrConcurrency` if a later
            commit has one of `groups`, `ErrCompacted` if that can no longer be
            told. None: whatever happened meanwhile.
        epoch: only in this one (see `fence`), else `ErrConcurrency`.
        timeout: seconds; `ErrTimeout` if it passed before the commit was tried.
        Errors: `ErrBadRequest` for a type, id or group that can't be, before
        any I/O; `ErrUnavailable` in maintenance; `ErrCommitUnknown` if the
        store never said whether the commit stands (see `committed`).

        Several that wait become one commit with one sequence and one id; each
        still stands or fails by its own groups and token.
        """
        proposal = Proposal(
            "write",
            check_actions(actions),
            check_groups(groups),
            token=_sequence(token, "token"),
            epoch=epoch,
            timeout=timeout,
        )
        await self._make_room()
        commit = await self._committer.commit(proposal)
        if self._committer.take_due():
            await self._checkpoint_due()
        return commit

    async def _make_room(self) -> None:
        """No commit before the checkpoint that is long due: this bounds what readers hold."""
        state = await self._tail.known()
        if state.pending_bytes >= self._limits.log_bytes:
            await self._checkpointer.run(size=self._limits.checkpoint_bytes)

    async def _checkpoint_due(self) -> None:
        """The checkpoint that this client's commit made due; the commit stands anyway."""
        try:
            await self._checkpointer.run(
                commits=self._limits.checkpoint_commits, size=self._limits.checkpoint_bytes
            )
        except StorageError as exc:
            _log.warning("the checkpoint of %s failed: %s", self.url, exc)

    async def committed(self, commit_id: str, seq: int) -> bool:
        """Whether that commit stands, as after `ErrCommitUnknown`.

        False is final only once `head()` is at `seq` or beyond; until then the
        request may still be under way. `ErrCompacted` if it can't be told any
        more.
        """
        slot = await self._log.slot(seq)
        if await self._log.boundary() < seq:
            return slot is not None and slot.id == commit_id
        status = await self._log.newest_status()
        if status is not None and 0 <= status.seq - seq < len(status.ids):
            return status.ids[seq - status.seq - 1] == commit_id
        raise ErrCompacted("the commit is too long ago", key=slot_key(seq), storage=self.url)

    async def checkpoint(self) -> DataStatus:
        """Bring everything committed so far into data files; `ErrNoDataStatus` if nothing was.

        Any number of clients may at the same time. Files without changes are used
        again. Writers do it by themselves once the log has grown (see `Limits`).
        """
        status = await self._checkpointer.run()
        if status is None:
            raise self._no_status("checkpoint")
        return status.summary()

    async def collect(self, min_age: float = 3600.0, *, dry_run: bool = False) -> Collected:
        """Delete what the newest checkpoint made superfluous: log, older checkpoints, files.

        min_age: seconds, by the store's own clock. What became superfluous less
            long ago stays, so that tokens, snapshots and watchers of that age
            still serve.
        dry_run: only say what would go.
        """
        return await self._collector.collect(min_age, dry_run)

    async def sweep(self, min_age: float = 3600.0, *, dry_run: bool = False) -> int:
        """Delete what writers left behind that died before their commit; how many objects.

        No commit is ever robbed of its payload: if need be, a commit of kind
        "sweep" is made first, after which no writer commits what was put before
        it. `min_age`, seconds, spares slow writers to put theirs again.
        """
        return await self._collector.sweep(min_age, dry_run)

    async def fence(self) -> int:
        """Begin a new epoch and return it; writers with `epoch` of an earlier one are refused."""

        def change(seq: int, last: Control) -> Control:
            return last._replace(epoch=last.epoch + 1)

        return (await self._committer.commit(Proposal("fence", change=change))).epoch

    async def maintenance(self, reason: str | None) -> None:
        """Refuse every writer from now on (`ErrUnavailable` with `reason`); None: no longer.

        Once it returns, no write commits. Checkpoints, collecting and imports go on.
        """
        if reason is not None and (not isinstance(reason, str) or not reason):
            raise ErrBadRequest("maintenance needs a reason; None ends it")

        def change(seq: int, last: Control) -> Control:
            return last._replace(maintenance=reason)

        await self._committer.commit(Proposal("maintenance", change=change))

    async def in_maintenance(self) -> str | None:
        """Why writers are refused; None if they are not."""
        return (await self._tail.refresh()).head.control.maintenance

    def export(self) -> AsyncIterator[bytes]:
        """One state, all of it, as lines of JSON that `import_` takes; bounded memory."""
        return self._export()

    async def _export(self) -> AsyncIterator[bytes]:
        async for chunk in exported(await self.snapshot(), await self.store_id()):
            yield chunk

    async def import_(self, source: AsyncData, *, replace: bool = False) -> Commit:
        """Make what `export` gave the whole state, in one commit.

        source: bytes, a binary file, or an iterable of bytes; bounded memory.
        `ErrBadRequest`, and nothing has changed, if it is truncated, unsorted or
        damaged, or if there are entries already and `replace` was not asked
        for. `ErrConcurrency` if anything was committed meanwhile: let
        `maintenance` keep writers away. Watchers get `ErrCompacted` there.
        """
        await self._log.prepare()
        snapshot = await self.snapshot()
        if not replace and await snapshot.types():
            raise ErrBadRequest("there are entries already", operation="import", storage=self.url)
        importer = AsyncImporter(self._log, self._limits, snapshot.sweep, snapshot.seq + 1)
        types, _ = await importer.run(source)
        try:
            return await self._committer.commit(Proposal("import", types=types, exact=snapshot.seq))
        except ErrConcurrency:
            await importer.discard()
            raise

    async def check_import(self, source: AsyncData) -> int:
        """How many entries an export has; `ErrBadRequest` as from `import_`. Nothing is written."""
        nowhere = AsyncLog(AsyncDryRunStorage(self._store, _forget), True, 0, random_id)
        _, entries = await AsyncImporter(nowhere, self._limits, 0, 1).run(source)
        return entries

    async def verify(self) -> Report:
        """Read everything and check every checksum and invariant; what is wrong, by key.

        Writers may go on meanwhile. Memory: one data file.
        """
        return await AsyncVerifier(self._log).run()

    # -- reading ---------------------------------------------------------------

    async def head(self) -> int:
        """The newest sequence, 0 before the first commit: the token of what is read now."""
        return (await self._tail.refresh()).seq

    async def boundary(self) -> int:
        """Up to which sequence the log was collected; `watch` can begin here."""
        return await self._log.boundary()

    async def epoch(self) -> int:
        """The epoch in force."""
        return (await self._tail.refresh()).head.control.epoch

    async def read(self, type: str, id: str) -> Entry:
        """The entry as of the newest commit; `ErrNotExist` if there is none."""
        check_type(type)
        check_id(id)
        while True:
            # not held: whatever is committed meanwhile may show
            snapshot = AsyncSnapshot(self._log, self._files, await self._tail.refresh())
            try:
                return await snapshot.read(type, id)
            except ErrCompacted:
                await self._tail.reload()

    def list(
        self, type: str, *, prefix: str = "", start_after: str | None = None
    ) -> AsyncIterator[Entry]:
        """The entries of a type as of the newest commit; see `Snapshot.list`."""
        check_type(type)
        return self._list(type, prefix, start_after)

    async def _list(self, type: str, prefix: str, start_after: str | None) -> AsyncIterator[Entry]:
        snapshot = await self.snapshot()
        async for entry in snapshot.list(type, prefix=prefix, start_after=start_after):
            yield entry

    async def types(self) -> list_[str]:
        """The types that have entries, in order."""
        return await (await self.snapshot()).types()

    async def snapshot(self) -> AsyncSnapshot:
        """The state of the newest commit; it does not change."""
        return AsyncSnapshot(self._log, self._files, await self._tail.hold())

    async def last_data_status(self) -> DataStatus:
        """The newest checkpoint; `ErrNoDataStatus` if there was none yet."""
        status = await self._log.newest_status()
        if status is None:
            raise self._no_status("status")
        return status.summary()

    def _no_status(self, operation: str) -> ErrNoDataStatus:
        return ErrNoDataStatus("there was no checkpoint yet", operation=operation, storage=self.url)

    def watch(self, *, after: int, follow: bool = True, poll: float = 0.2) -> AsyncIterator[Commit]:
        """Every commit after sequence `after`, in order, none left out.

        follow: at the head, wait for more, looking every `poll` seconds; else end.
        `ErrCompacted` if the log no longer goes back that far: read a snapshot
        and watch from its `seq`.
        """
        if _sequence(after, "after") is None:
            raise ErrBadRequest("after is a sequence; 0 for all")
        return self._watch(after, follow, poll)

    async def _watch(self, after: int, follow: bool, poll: float) -> AsyncIterator[Commit]:
        if after and await self._log.slot(after) is None:
            if await self._log.boundary() < after:
                raise ErrBadRequest(
                    f"there is no commit {after} yet", operation="watch", storage=self.url
                )
        while True:
            records, more = await self._tail.read(after)
            for slot, actions, _ in records:
                if slot.kind == "import":
                    raise ErrCompacted(
                        f"everything was replaced at {slot.seq}",
                        operation="watch",
                        storage=self.url,
                    )
                after = slot.seq
                yield Commit(
                    slot.seq,
                    slot.id,
                    slot.groups,
                    actions,
                    slot.kind,
                    slot.control.epoch,
                    slot.time,
                )
            if not records and not more:
                if not follow:
                    return
                await self._store._pause(poll)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Nothing to let go of: the store is its owner's."""


list_ = list  # `list` is a method's name inside the class


def _forget(action: object) -> None:
    """What would have been done is of no interest."""


def _sequence(value: int | None, what: str) -> int | None:
    if value is not None and (not isinstance(value, int) or value < 0):
        raise ErrBadRequest(f"{what} is a sequence, 0 or more, not {value!r}")
    return value
