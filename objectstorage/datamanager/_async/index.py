"""The read index: tables of a local SQLite file that follow the data manager."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Self, TypeVar

from objectstorage import _fork
from objectstorage._plans import placed
from objectstorage.datamanager._aiowaiting import AsyncBell, AsyncTurn
from objectstorage.datamanager._async.manager import AsyncDataManager
from objectstorage.datamanager._async.snapshot import AsyncSnapshot
from objectstorage.datamanager._indexing import Apply, Place, Tables
from objectstorage.datamanager._sql.aio import AsyncDatabase
from objectstorage.datamanager._sql.control import deadline_of, left_until
from objectstorage.datamanager._sql.database import Transaction
from objectstorage.datamanager.model import Entry
from objectstorage.errors import ErrClosed, ErrCompacted, ErrTimeout, ErrUnavailable

__all__ = ["AsyncReadIndex"]

_T = TypeVar("_T")
_PAGE = 256
_PAGE_BYTES = 1024 * 1024
_log = logging.getLogger("objectstorage")


class AsyncReadIndex:
    """Tables in the SQLite file `path` that hold what the entries of `data` say.

    tables: the statements that make them, with indexes, views, triggers.
    apply(tx, action): what a `Put` or `Delete` means to them. It is also given
        every entry when they are filled, may be called again for what was
        undone, and must go by nothing but the action and the tables.
    version: raise it when `apply` changes; other `tables` are noticed.

    The sequence they are at is in the same transaction as what `apply` did, so
    a process may die at any moment. They are made anew, in one transaction
    beside which the old ones are read, if they are of another store, of
    another version, or so far behind that the log does not reach back. The
    file is the index's own: whatever else is in it is dropped. Processes may
    share it.
    """

    def __init__(
        self,
        data: AsyncDataManager,
        path: str | os.PathLike[str],
        tables: Sequence[str],
        apply: Apply,
        *,
        version: int | str = 1,
        readers: int = 4,
    ) -> None:
        if isinstance(tables, str):
            raise TypeError("tables is a list of statements, not one str")
        self._data = data
        self._tables = Tables(tables, apply, version)
        # a commit that a power loss undoes is taken in again
        self._database = AsyncDatabase(path, readers=readers, durable=False)
        self._seq = -1
        self._sure = False
        self._after_fork()
        _fork.register(self)

    def _after_fork(self) -> None:
        self._turn = AsyncTurn()
        self._closing = AsyncBell()
        self._begun = self._done = 0

    @property
    def url(self) -> str:
        """What errors say of where they happened."""
        return self._database.url

    async def do(self, fn: Callable[[Transaction], _T], *, timeout: float | None = None) -> _T:
        """Run `fn` in one transaction that reads the tables; what it returns.

        The tables are of one sequence, `seq(tx)`; see `wait_for` for how recent.
        Those that were never filled, or are of another store or version, are
        filled first.
        """
        deadline = deadline_of(timeout)

        def checked(tx: Transaction) -> tuple[_T] | None:
            place = self._tables.place(tx)
            if place is None or place[:2] != (store_id, self._tables.schema):
                return None
            return (fn(tx),)

        while True:
            store_id = await self._data.store_id()
            found = await self._database.view(checked, timeout=_left(deadline))
            if found is not None:
                return found[0]
            await self.catch_up(timeout=_left(deadline))

    def seq(self, tx: Transaction) -> int:
        """The sequence that the tables are at in a transaction of `do`."""
        place = self._tables.place(tx)
        return 0 if place is None else place.seq

    async def catch_up(self, *, timeout: float | None = None) -> int:
        """Take in every commit there was when this was called; the sequence reached."""
        deadline = deadline_of(timeout)
        with placed(self, "catch_up"):
            # Whoever waits is served by the next one that begins.
            wanted = self._begun + 1
            async with self._turn.taken(timeout):
                if self._done < wanted:
                    self._begun += 1
                    number = self._begun
                    self._seq = await self._advance(deadline)
                    self._done = number
                return self._seq

    async def wait_for(self, seq: int, *, timeout: float | None = None, poll: float = 0.05) -> None:
        """Return once the tables have commit `seq`: what was written is read afterwards.

        Takes in what there is; looks every `poll` seconds if the commit is not there yet.
        """
        deadline = deadline_of(timeout)
        while self._seq < seq and await self.catch_up(timeout=_left(deadline)) < seq:
            await self._pause(poll, deadline)

    async def follow(self, *, poll: float = 0.2) -> None:
        """Keep the tables current until cancelled or closed; looks every `poll` seconds.

        A store that is unavailable for a while is waited for, and logged; what
        `apply` raises comes out here.
        """
        while not self._closing.rung:
            pause = poll
            try:
                await self.catch_up()
            except ErrClosed:
                if not self._closing.rung:
                    raise
            except ErrUnavailable as exc:
                _log.warning("the index %s stands still: %s", self.url, exc)
                pause = 5 * poll
            await self._closing.wait(pause)

    async def close(self) -> None:
        """End `follow`, wait for what is under way, close the file."""
        self._closing.ring()
        await self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    # -- the work, one at a time -----------------------------------------------

    async def _advance(self, deadline: float | None) -> int:
        while True:
            place = await self._database.view(self._tables.place, timeout=_left(deadline))
            store_id = await self._data.store_id()
            try:
                if place is not None and await self._goes_on(place, store_id):
                    if await self._take_in(place, store_id, deadline):
                        return self._seq
                    continue
            except ErrCompacted:
                pass
            try:
                await self._rebuild(place, store_id, deadline)
            except ErrCompacted as exc:
                _log.warning("the index %s is filled again: %s", self.url, exc)

    async def _goes_on(self, place: Place, store_id: str | None) -> bool:
        """Whether the log goes on from there, rather than from another history."""
        if (place.store_id, place.schema) != (store_id, self._tables.schema):
            return False
        if place.seq and not self._sure:
            # a store that was brought back from a backup has the same id
            self._sure = await self._data.committed(place.commit_id, place.seq)
            return self._sure
        return True

    async def _take_in(self, place: Place, store_id: str | None, deadline: float | None) -> bool:
        """Every commit after `place`; False if the tables moved meanwhile."""
        self._seq = place.seq
        if await self._data.head() == place.seq:
            return True
        async for commit in self._data.watch(after=place.seq, follow=False):
            advance = partial(self._tables.advance, store_id=store_id, commit=commit)
            if not await self._database.do(advance, timeout=_left(deadline)):
                return False
            self._seq = commit.seq
        return True

    async def _rebuild(
        self, seen: Place | None, store_id: str | None, deadline: float | None
    ) -> None:
        snapshot = await self._data.snapshot()
        place = Place(store_id, self._tables.schema, snapshot.seq, snapshot.commit_id)
        self._sure = True
        await self._database.fed(
            partial(self._tables.rebuild, seen=seen, place=place),
            partial(_pages, snapshot),
            timeout=_left(deadline),
        )

    async def _pause(self, seconds: float, deadline: float | None) -> None:
        left = _left(deadline)
        if left == 0:
            with placed(self, "wait_for"):
                raise ErrTimeout("the commit is not there")
        await self._closing.wait(seconds if left is None else min(seconds, left))
        if self._closing.rung:
            with placed(self, "wait_for"):
                raise ErrClosed("the index is closed")


async def _pages(snapshot: AsyncSnapshot) -> AsyncIterator[list[Entry]]:
    """All entries of a snapshot, some at a time."""
    page: list[Entry] = []
    size = 0
    for type in await snapshot.types():
        async for entry in snapshot.list(type):
            page.append(entry)
            size += len(entry.data)
            if len(page) == _PAGE or size >= _PAGE_BYTES:
                yield page
                page, size = [], 0
    yield page


def _left(deadline: float | None) -> float | None:
    left = left_until(deadline)
    return None if left is None else max(left, 0.0)
