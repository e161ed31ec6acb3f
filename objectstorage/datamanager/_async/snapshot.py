"""One state, read: what the log says first, the data files below."""

from __future__ import annotations

from collections.abc import AsyncIterator

from objectstorage.datamanager._async.files import AsyncFiles, merged
from objectstorage.datamanager._async.log import AsyncLog
from objectstorage.datamanager.merging import changes_of
from objectstorage.datamanager.model import Entry, check_id, check_type
from objectstorage.datamanager.state import State
from objectstorage.errors import ErrCompacted, ErrIntegrity, ErrNotExist, StorageError

__all__ = ["AsyncSnapshot"]


class AsyncSnapshot:
    """All entries as of one commit, `seq`, whatever is committed meanwhile.

    `ErrCompacted` once its data files were collected: it outlived their
    minimum age.
    """

    def __init__(self, log: AsyncLog, files: AsyncFiles, state: State) -> None:
        self._log = log
        self._files = files
        self._state = state

    @property
    def seq(self) -> int:
        """The sequence of the last commit it has: the token to write with."""
        return self._state.seq

    @property
    def commit_id(self) -> str:
        """The id of that commit; empty before the first."""
        return self._state.head.commit_id

    @property
    def sweep(self) -> int:
        """The sequence of the last sweep before it."""
        return self._state.head.control.sweep

    async def read(self, type: str, id: str) -> Entry:
        """The entry; `ErrNotExist` if there is none."""
        check_type(type)
        check_id(id)
        state = self._state
        entry = state.entry(type, id)
        if entry is False:
            try:
                entry = await self._files.read(state.base.get(type, ()), type, id)
            except StorageError as exc:
                raise await self._explained(exc) from exc
        if not entry:
            raise ErrNotExist(
                "no such entry", key=f"{type}/{id}", operation="read", storage=self._log.store.url
            )
        return entry

    async def _explained(self, exc: StorageError) -> StorageError:
        """What it means that a data file could not be read."""
        url = self._log.store.url
        if not isinstance(exc, ErrNotExist) or exc.code == "NoSuchBucket":
            return exc.at(operation="read", storage=url)
        newest = await self._log.newest_status()
        if newest is not None and newest.checkpoint > self._state.checkpoint:
            return ErrCompacted(
                f"the state of {self.seq} was collected", operation="read", storage=url
            )
        return ErrIntegrity("a data file is missing", key=exc.key, operation="read", storage=url)

    def list(
        self, type: str, *, prefix: str = "", start_after: str | None = None
    ) -> AsyncIterator[Entry]:
        """The entries of a type whose id begins with `prefix`, in the order of their UTF-8 bytes.

        `start_after` is exclusive and need not exist; what lies wholly before it
        is not read. Lazy, in bounded memory.
        """
        check_type(type)
        return self._list(type, prefix, start_after or "")

    async def _list(self, type: str, prefix: str, start_after: str) -> AsyncIterator[Entry]:
        state = self._state
        changes = changes_of(state.overlay.get(type, {}), prefix, start_after)
        chunks = self._files.scan(state.base.get(type, ()), type, prefix, start_after)
        try:
            async for entries in merged(chunks, changes):
                for entry in entries:
                    yield entry
        except StorageError as exc:
            raise await self._explained(exc) from exc

    async def types(self) -> list_[str]:
        """The types that have entries, in order."""
        found = []
        for type in sorted(self._state.base.keys() | self._state.overlay.keys()):
            async for _ in self.list(type):
                found.append(type)
                break
        return found


list_ = list  # `list` is a method's name inside the class
