"""One state, read: what the log says first, the data files below."""

from __future__ import annotations

from collections.abc import AsyncIterator

from objectstorage.datamanager._async.log import AsyncLog
from objectstorage.datamanager.model import Entry, check_id, check_type
from objectstorage.datamanager.state import State
from objectstorage.errors import ErrNotExist

__all__ = ["AsyncSnapshot"]


class AsyncSnapshot:
    """All entries as of one commit, `seq`, whatever is committed meanwhile.

    `ErrCompacted` once its data files were collected: it outlived their
    minimum age.
    """

    def __init__(self, log: AsyncLog, state: State) -> None:
        self._log = log
        self._state = state

    @property
    def seq(self) -> int:
        """The sequence of the last commit it has: the token to write with."""
        return self._state.seq

    @property
    def commit_id(self) -> str:
        """The id of that commit; empty before the first."""
        return self._state.head.commit_id

    async def read(self, type: str, id: str) -> Entry:
        """The entry; `ErrNotExist` if there is none."""
        check_type(type)
        check_id(id)
        entry = self._state.entry(type, id)
        if not entry:
            raise ErrNotExist(
                "no such entry", key=f"{type}/{id}", operation="read", storage=self._log.store.url
            )
        return entry

    def list(
        self, type: str, *, prefix: str = "", start_after: str | None = None
    ) -> AsyncIterator[Entry]:
        """The entries of a type whose id begins with `prefix`, in the order of their UTF-8 bytes.

        `start_after` is exclusive and need not exist. Lazy.
        """
        check_type(type)
        return self._list(type, prefix, start_after)

    async def _list(self, type: str, prefix: str, start_after: str | None) -> AsyncIterator[Entry]:
        entries = self._state.overlay.get(type, {})
        # code points sort as their UTF-8 bytes do
        for id in sorted(entries):
            entry = entries[id]
            if entry is not None and id.startswith(prefix) and id > (start_after or ""):
                yield entry

    async def types(self) -> list_[str]:
        """The types that have entries, in order."""
        return sorted(
            type for type, entries in self._state.overlay.items() if any(entries.values())
        )


list_ = list  # `list` is a method's name inside the class
