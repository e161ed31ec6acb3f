"""Caches saved and restored."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import NamedTuple

from objectstorage.aio.storage import AsyncData, AsyncReader, AsyncStorage
from objectstorage.caches._async.cleaning import AsyncCleaning
from objectstorage.caches.layout import (
    CacheInfo,
    Entry,
    check_group,
    data_key,
    decode_entry,
    entry_key,
    missing,
    names_of,
    place_of,
    start_of_entries,
    taken,
    used_key,
)
from objectstorage.errors import (
    ErrBackend,
    ErrBadRequest,
    ErrExist,
    ErrNotExist,
    ErrOutcomeUnknown,
    ErrUnavailable,
    StorageError,
)

__all__ = ["AsyncCacheStore", "AsyncRestored"]

_log = logging.getLogger("objectstorage")


class AsyncRestored(NamedTuple):
    """A cache that is being restored; `reader` gives its bytes and is to be closed."""

    info: CacheInfo
    reader: AsyncReader


class _Found(NamedTuple):
    place: str
    entry: Entry
    modified: datetime
    info: CacheInfo


class AsyncCacheStore:
    """Caches by key, in groups that never see each other; a key once saved stays as it is.

    Group and key are any text whose escaped form has at most 220 bytes. When a
    cache was used last is written down at its restore, at most once in
    `touch_every`.
    """

    def __init__(self, store: AsyncStorage, *, touch_every: timedelta = timedelta(hours=6)) -> None:
        if touch_every < timedelta(0):
            raise ErrBadRequest("touch_every is not negative")
        self._store = store
        self._touch_every = touch_every

    async def save(
        self, group: str, key: str, data: AsyncData, *, size: int | None = None
    ) -> CacheInfo:
        """Save what a bytes-like object, a file or an iterable gives, as `Storage.put` takes it.

        `ErrExist` if the key is taken; of several at once one wins. Nothing is
        seen before all is stored.
        """
        place = place_of(group, key)
        if await self._store.exists(entry_key(place)):
            raise taken(group, key)
        name = os.urandom(8).hex()
        stored = await self._store.put(data_key(place, name), data, size=size)
        entry = Entry(name, stored.size, time.time_ns())
        try:
            await self._store.put(entry_key(place), entry.encode(), create=True)
        except (ErrOutcomeUnknown, ErrUnavailable, ErrBackend):
            raise  # the entry may be there, and then it needs its data
        except StorageError as exc:
            await self._store.delete(data_key(place, name))
            if isinstance(exc, ErrExist):
                raise taken(group, key) from exc
            raise
        return entry.info(group, key)

    async def find(
        self, group: str, key: str | None = None, *, prefix: str | None = None
    ) -> CacheInfo:
        """The cache of that key, or the one saved last whose key begins with `prefix`.

        Last by the store's clock; within one tick of it (a second on S3) by the
        clocks of those who saved. `ErrNotExist`, "cache doesn't exist".
        """
        return (await self._find(group, key, prefix)).info

    async def restore(
        self, group: str, key: str | None = None, *, prefix: str | None = None
    ) -> AsyncRestored:
        """What `find` finds, opened for reading; counts as a use."""
        found = await self._find(group, key, prefix)
        # First: a cleaning that runs now looks once more before it deletes.
        await self._touch(found)
        try:
            reader = await self._store.open(data_key(found.place, found.entry.data))
        except ErrNotExist as exc:
            raise missing(group, key, prefix) from exc
        return AsyncRestored(found.info, reader)

    async def list(
        self, group: str, prefix: str = "", *, start_after: str | None = None
    ) -> AsyncIterator[CacheInfo]:
        """The group's caches whose keys begin with `prefix`, in the order of the escaped keys.

        A request for each. `start_after` is a key, exclusive.
        """
        after = None if start_after is None else entry_key(place_of(group, start_after))
        start = start_of_entries(group, prefix)
        async for info in self._store.list(start, start_after=after):
            place = info.key.removeprefix(entry_key(""))
            try:
                yield (await self._entry(place)).info
            except ErrNotExist:
                continue  # deleted meanwhile

    async def delete(self, group: str, key: str) -> None:
        """Delete a cache; no error if there is none."""
        place = place_of(group, key)
        try:
            found = await self._entry(place)
        except ErrNotExist as exc:
            if exc.code == "NoSuchBucket":
                raise
            return
        await self._store.delete(entry_key(place))
        await self._store.delete(used_key(place))
        await self._store.delete(data_key(place, found.entry.data))

    async def clean(self, *, unused_for: timedelta) -> int:
        """Delete the caches that were not restored for so long; returns how many.

        By the store's clock. As uses are written down once in `touch_every`, a
        cache stays by that much longer. What saves that died left behind goes
        after a day.
        """
        if unused_for < timedelta(0):
            raise ErrBadRequest("unused_for is not negative")
        return await AsyncCleaning(self._store, unused_for + self._touch_every).run()

    async def _find(self, group: str, key: str | None, prefix: str | None) -> _Found:
        if (key is None) == (prefix is None):
            raise ErrBadRequest("give a key or a prefix")
        if key is None:
            return await self._newest(group, prefix or "")
        try:
            return await self._entry(place_of(group, key))
        except ErrNotExist as exc:
            if exc.code == "NoSuchBucket":  # that says nothing of the cache
                raise
            raise missing(group, key) from exc

    async def _newest(self, group: str, prefix: str) -> _Found:
        check_group(group)
        gone: set[str] = set()
        while True:
            newest: list_[str] = []
            when: datetime | None = None
            async for info in self._store.list(start_of_entries(group, prefix)):
                if info.key in gone or (when is not None and info.last_modified < when):
                    continue
                if when is None or info.last_modified > when:
                    when, newest = info.last_modified, []
                newest.append(info.key)
            if not newest:
                raise missing(group, None, prefix)
            found: list_[_Found] = []
            for key in newest:
                try:
                    found.append(await self._entry(key.removeprefix(entry_key(""))))
                except ErrNotExist:
                    gone.add(key)
            if found:
                return max(found, key=lambda one: one.entry.saved)

    async def _entry(self, place: str) -> _Found:
        key = entry_key(place)
        fetched = await self._store.fetch(key)
        entry = decode_entry(fetched.data, key)
        return _Found(place, entry, fetched.info.last_modified, entry.info(*names_of(place)))

    async def _touch(self, found: _Found) -> None:
        key = used_key(found.place)
        try:
            horizon = await self._store.clock() - self._touch_every
            if found.modified > horizon:
                return
            try:
                if (await self._store.stat(key)).last_modified > horizon:
                    return
            except ErrNotExist:
                pass
            await self._store.put(key, b"", durable=False)
        except StorageError as exc:
            # It is cleaned too early at worst; that is no reason not to restore it.
            _log.warning("cache %s: its use was not written down: %s", found.place, exc)


list_ = list  # `list` is a method's name inside the class
