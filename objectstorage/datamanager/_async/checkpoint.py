"""The checkpoint: the log laid over the data files, as new data files and a status."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from objectstorage.datamanager._async.files import AsyncFiles, merged
from objectstorage.datamanager._async.log import AsyncLog
from objectstorage.datamanager._async.tail import AsyncTail
from objectstorage.datamanager.limits import Limits
from objectstorage.datamanager.merging import Changes, Cutter, changes_of
from objectstorage.datamanager.model import Entry
from objectstorage.datamanager.records import (
    FileRef,
    Status,
    checkpoint_tag,
    data_key,
    pack_status,
    status_key,
)
from objectstorage.datamanager.state import State
from objectstorage.errors import ErrExist, ErrIntegrity, ErrNotExist, ErrOutcomeUnknown

__all__ = ["AsyncCheckpointer", "AsyncFileWriter"]


class AsyncFileWriter:
    """Cuts entries of one type into data files and stores them; `refs` are those done."""

    def __init__(self, log: AsyncLog, limits: Limits, type: str, tag: str) -> None:
        self._log = log
        self._type = type
        self._tag = tag
        self._cutter = Cutter(limits.file_bytes, limits.block_bytes)
        self.refs: list[FileRef] = []

    @property
    def held(self) -> int:
        """Bytes not stored yet."""
        return self._cutter.size

    async def add(self, entries: Iterable[Entry]) -> None:
        """Take entries, the next in id order."""
        for entry in entries:
            self._cutter.add(entry)
            if self._cutter.full:
                await self.flush()

    async def flush(self) -> None:
        """Store what is held as a file."""
        if self._cutter.size:
            name = data_key(self._type, f"{self._tag}-{self._log.new_id()}")
            built = self._cutter.cut(name)
            await self._log.put_new(name + ".data", built.data)
            await self._log.put_new(name + ".index", built.blocks)
            self.refs.append(built.ref)


class AsyncCheckpointer:
    """Makes checkpoints; any number of clients may, at the same time.

    Checkpoint n + 1 goes on from the status of checkpoint n, and its status is
    created only once: whoever comes second has worked in vain, and its files,
    named for n + 1, are known to be nobody's.
    """

    def __init__(self, log: AsyncLog, tail: AsyncTail, files: AsyncFiles, limits: Limits) -> None:
        self._log = log
        self._tail = tail
        self._files = files
        self._limits = limits

    async def run(self, *, commits: int = 1, size: int = 0) -> Status | None:
        """A status of the head as it is now or later; None if there is nothing to make one of.

        Fewer than `commits` commits and less than `size` bytes since the last
        checkpoint are left for later, and the last status given.
        """
        await self._log.prepare()
        wanted: int | None = None
        while True:
            status = await self._log.newest_status()
            newest = 0 if status is None else status.checkpoint
            state = await self._tail.hold()
            if state.checkpoint < newest:
                await self._tail.reload()
                state = await self._tail.hold()
            if wanted is None:
                wanted = state.seq
            if status is not None and status.seq >= wanted:
                return status
            if state.checkpoint != newest:
                continue  # a newer one between the two looks
            if state.pending_commits < commits and state.pending_bytes <= size:
                return status
            try:
                await self._make(state, newest + 1)
            except ErrNotExist as exc:
                # A file was collected, which happens only once a newer status stands.
                status = await self._log.newest_status()
                if status is None or status.checkpoint == newest:
                    raise ErrIntegrity("a data file is missing", key=exc.key) from exc
            except (ErrExist, ErrOutcomeUnknown):
                await self._log.pause()  # look what stands there

    async def _make(self, state: State, checkpoint: int) -> None:
        types = {}
        for type in sorted(state.base.keys() | state.overlay.keys()):
            writer = AsyncFileWriter(self._log, self._limits, type, checkpoint_tag(checkpoint))
            changes = changes_of(state.overlay.get(type, {}))
            await self._write(writer, type, state.base.get(type, ()), changes)
            if writer.refs:
                types[type] = tuple(writer.refs)
        head = state.head
        status = Status(checkpoint, head.seq, head.commit_id, head.control, tuple(state.ids), types)
        await self._log.create(status_key(checkpoint), pack_status(status))

    async def _write(
        self, writer: AsyncFileWriter, type: str, files: tuple[FileRef, ...], changes: Changes
    ) -> None:
        """A type's files anew; those without changes stay, unless they fit into a gap."""
        at = 0
        for number, ref in enumerate(files):
            end = len(changes)
            if number + 1 < len(files):
                end = bisect_left(changes, files[number + 1].first, key=lambda item: item[0])
            mine = changes[at:end]
            at = end
            fits = 0 < writer.held <= self._limits.file_bytes - ref.size
            if not mine and not fits:
                await writer.flush()
                writer.refs.append(ref)
                continue
            async for entries in merged(self._files.scan([ref], type), mine):
                await writer.add(entries)
        if not files:
            await writer.add(entry for _, entry in changes if entry is not None)
        await writer.flush()
