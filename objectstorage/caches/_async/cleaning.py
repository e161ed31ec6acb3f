"""Deleting the caches that nobody uses, and what saves that died left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from objectstorage.aio.storage import AsyncStorage
from objectstorage.caches.layout import (
    DATA,
    ENTRIES,
    USED,
    data_key,
    decode_entry,
    entry_key,
    used_key,
)
from objectstorage.errors import ErrNotExist, ErrPreconditionFailed
from objectstorage.storage import Fetched, ObjectInfo

__all__ = ["AsyncCleaning"]

# A save that takes longer than this may lose its data to a cleaning.
_DEAD = timedelta(days=1)


class AsyncCleaning:
    """One pass over entries, uses and data beside each other, in bounded memory."""

    def __init__(self, store: AsyncStorage, unused_for: timedelta) -> None:
        self._store = store
        self._unused_for = unused_for

    async def run(self) -> int:
        """Delete; returns how many caches went."""
        now = await self._store.clock()
        unused, dead = now - self._unused_for, now - _DEAD
        conditions = (await self._store.probe()).conditions
        self._conditional = conditions is not None and "delete" in conditions.delete
        entries, uses, data = [_Column(self._store, kind) for kind in (ENTRIES, USED, DATA)]
        count = 0
        while True:
            places = [place for column in (entries, uses, data) if (place := await column.place())]
            if not places:
                return count
            place = min(places)
            entry, used = await entries.take(place), await uses.take(place)
            names = {
                info.key.rpartition("!")[2]: info.last_modified < dead
                for info in await data.take(place)
            }
            last = max(info.last_modified for info in (*entry, *used)) if entry else None
            if last is not None and last <= unused:
                current = await self._unused(place, used)
                if current is not None and await self._delete_entry(place, current):
                    await self._store.delete(used_key(place))
                    await self._store.delete(data_key(place, self._data_of(current)))
                    count += 1
            elif last is None and used and used[0].last_modified < dead:
                await self._store.delete(used_key(place))
            if len(names) > len(entry):
                await self._delete_dead(place, names)

    async def _entry(self, place: str) -> Fetched | None:
        try:
            return await self._store.fetch(entry_key(place))
        except ErrNotExist:
            return None

    def _data_of(self, entry: Fetched) -> str:
        return decode_entry(entry.data, entry.info.key).data

    async def _unused(self, place: str, used: list[ObjectInfo]) -> Fetched | None:
        """The entry, if it wasn't used since it was listed."""
        try:
            again = await self._store.stat(used_key(place))
        except ErrNotExist:
            again = None
        if again is not None and (
            not used or again.etag != used[0].etag or again.last_modified != used[0].last_modified
        ):
            return None
        return await self._entry(place)

    async def _delete_entry(self, place: str, entry: Fetched) -> bool:
        condition: dict[str, Any] = {"if_match": entry.info.etag} if self._conditional else {}
        try:
            await self._store.delete(entry_key(place), **condition)
        except ErrPreconditionFailed:
            return False  # deleted by another, and maybe saved again
        return True

    async def _delete_dead(self, place: str, names: dict[str, bool]) -> None:
        """Data older than any save takes, without an entry that names them."""
        dead = [name for name, is_dead in names.items() if is_dead]
        if dead:
            entry = await self._entry(place)
            keep = None if entry is None else self._data_of(entry)
            for name in dead:
                if name != keep:
                    await self._store.delete(data_key(place, name))


class _Column:
    """One of the three listings, read place by place."""

    def __init__(self, store: AsyncStorage, kind: str) -> None:
        self._kind = kind
        self._infos: AsyncIterator[ObjectInfo] = aiter(store.list(kind))
        self._head: ObjectInfo | None = None
        self._ended = False

    async def place(self) -> str | None:
        """The next one; None at the end."""
        if self._head is None and not self._ended:
            self._head = await anext(self._infos, None)
            self._ended = self._head is None
        if self._head is None:
            return None
        return self._head.key.removeprefix(self._kind).partition("!")[0]

    async def take(self, place: str) -> list[ObjectInfo]:
        """What is there of a place that is not past yet."""
        taken: list[ObjectInfo] = []
        while await self.place() == place and self._head is not None:
            taken.append(self._head)
            self._head = None
        return taken
