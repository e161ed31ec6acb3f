"""Objects read once are kept in a second, nearer store, and served while they are current."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, NamedTuple

from objectstorage import _fork, _plans
from objectstorage.aio.storage import AsyncReader, AsyncStorage
from objectstorage.errors import ErrNotExist, ErrUnsupported, StorageError
from objectstorage.ranges import check_range, resolve_range
from objectstorage.storage import UNSET, Fetched, ObjectInfo, Unset
from objectstorage.wrappers._aiofiles import AsyncWrappedReader
from objectstorage.wrappers._async.forwarding import AsyncForwardingStorage
from objectstorage.wrappers._entry import FOLDER, LENGTH, etag_of, header, is_entry, name_of
from objectstorage.wrappers._pace import check_limit

__all__ = ["AsyncCachingStorage"]

_CHUNK = 1024 * 1024
_log = logging.getLogger("objectstorage")


class _Entry(NamedTuple):
    """An object in the cache: its version, and where its bytes begin in `reader`."""

    reader: AsyncReader
    etag: str
    first: int


class AsyncCachingStorage(AsyncForwardingStorage):
    """`store`, reading through `cache`: any store that is nearer, as a local directory.

    Nothing stale is ever served: each read asks the store for the current ETag
    and takes the bytes from the cache if it is theirs. Whole reads fill the
    cache (`get`, `fetch`, `open`, `stream`, `download`), with objects of at most
    `max_object` bytes (by default a sixteenth of `max_bytes`); ranges and
    conditional fetches of what is not cached pass it by, and so do writes.

    The cache holds at most `max_bytes`; what was stored longest ago and not
    read since goes first. Threads, processes and stores may share one (each
    process beyond the first may go over by a sixteenth). A cache that fails is
    as good as empty, but for a reader that is open on it already. It is not
    closed with this store.

    `ErrUnsupported` if equal ETags don't mean equal bytes on `store`.
    """

    def __init__(
        self,
        store: AsyncStorage,
        cache: AsyncStorage,
        *,
        max_bytes: int,
        max_object: int | None = None,
    ) -> None:
        super().__init__(store)
        check_limit("max_bytes", max_bytes)
        check_limit("max_object", max_object)
        if not store.capabilities.strong_etags:
            raise ErrUnsupported(
                "equal ETags don't mean equal bytes there; it can't be cached",
                operation="open",
                storage=store.url,
            )
        self._cache = cache
        self._max_bytes = max_bytes
        self._slack = max_bytes // 16
        self._max_object = self._slack if max_object is None else max_object
        self._used: set[str] = set()
        self._unlisted: int | None = None  # bytes stored since the cache was last listed
        self._after_fork()
        _fork.register(self)

    def _after_fork(self) -> None:
        self._room = asyncio.Lock()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        rebuild = partial(type(self), max_bytes=self._max_bytes, max_object=self._max_object)
        return rebuild, (self._store, self._cache)

    # -- reading ---------------------------------------------------------------

    async def fetch(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        if_match: str | Unset = UNSET,
        if_none_match: str | Unset = UNSET,
    ) -> Fetched:
        """See `Storage.fetch`."""
        if if_match is UNSET and if_none_match is UNSET:
            with _plans.placed(self, "fetch", key):
                check_range(start, end)
            cached = await self._current(key)
            if cached is not None:
                entry, info = cached
                async with entry.reader as reader:
                    data = await self._piece(reader, entry.first, info, start, end)
                if data is not None:
                    return Fetched(data, info)
        fetched = await super().fetch(
            key, start=start, end=end, if_match=if_match, if_none_match=if_none_match
        )
        if start == 0 and end is None and len(fetched.data) == fetched.info.size:
            await self._keep(key, fetched.info, fetched.data)
        return fetched

    async def open(self, key: str) -> AsyncReader:
        """See `Storage.open`."""
        cached = await self._current(key)
        if cached is not None:
            return self._reader(*cached)
        reader = await super().open(key)
        try:
            info = reader.info
            if await self._keep(key, info, reader):
                entry = await self._entry(key)
                if entry is not None and entry.etag == info.etag:
                    await reader.close()
                    return self._reader(entry, info)
                if entry is not None:
                    await entry.reader.close()
            await reader.seek(0)
        except BaseException:
            await reader.close()
            raise
        return reader

    # by `fetch` and `open`
    get = AsyncStorage.get
    get_range = AsyncStorage.get_range
    get_ranges = AsyncStorage.get_ranges
    stream = AsyncStorage.stream
    download = AsyncStorage.download

    def _reader(self, entry: _Entry, info: ObjectInfo) -> AsyncReader:
        call = self._call("open", info.key, several=True)
        return AsyncWrappedReader(entry.reader, info, call, entry.first)

    async def _piece(
        self, reader: AsyncReader, first: int, info: ObjectInfo, start: int, end: int | None
    ) -> bytes | None:
        """A range of the cached bytes; None if the cache could not give it."""
        try:
            start, stop = resolve_range(start, end, info.size)
        except StorageError as exc:
            raise exc.at(key=info.key, operation="fetch", storage=self.url)
        try:
            await reader.seek(first + start)
            data = await reader.read(stop - start)
        except StorageError as exc:
            self._failed(exc)
            return None
        return data if len(data) == stop - start else None

    # -- the cache -------------------------------------------------------------

    async def _current(self, key: str) -> tuple[_Entry, ObjectInfo] | None:
        """The entry, if it is of the version that the store has now, and that version."""
        entry = await self._entry(key)
        if entry is None:
            return None
        try:
            info = await super().stat(key)
        except BaseException:
            await entry.reader.close()
            raise
        if info.etag == entry.etag:
            self._used.add(name_of(self.url, key))
            return entry, info
        await entry.reader.close()
        return None

    async def _entry(self, key: str) -> _Entry | None:
        self._check_open("fetch")
        with _plans.placed(self, "fetch", key):
            self.capabilities.key_rules.check(key)
        try:
            reader = await self._cache.open(name_of(self.url, key))
        except StorageError as exc:
            self._failed(exc)
            return None
        etag = None
        try:
            length = int.from_bytes(await reader.read(LENGTH), "big")
            first = LENGTH + length
            # a length that can't be says that it is no entry, and how much not to read
            if first <= reader.info.size:
                text = await reader.read(length)
                etag = etag_of(text, self.url, key, reader.info.size - first)
        except StorageError as exc:
            self._failed(exc)
        finally:
            if etag is None:
                await reader.close()
        return None if etag is None else _Entry(reader, etag, first)

    async def _keep(self, key: str, info: ObjectInfo, data: bytes | AsyncReader) -> bool:
        """Store an object's bytes; whether that worked."""
        front = header(self.url, key, info.size, info.etag)
        size = len(front) + info.size
        if info.size > self._max_object or size > self._max_bytes - self._slack:
            return False
        try:
            await self._make_room(size)
            await self._cache.put(name_of(self.url, key), _content(front, data), size=size)
        except StorageError as exc:
            self._failed(exc)
            return False
        return True

    async def _make_room(self, size: int) -> None:
        """Evict until `size` bytes fit; lists the cache once in a while only."""
        async with self._room:
            if self._unlisted is not None and self._unlisted + size <= self._slack:
                self._unlisted += size
                return
            entries = []
            total = 0
            async for info in self._cache.list(FOLDER):
                if is_entry(info.key):
                    entries.append((info.key in self._used, info.last_modified, info))
                    total += info.size
            entries.sort(key=lambda entry: entry[:2])
            for _, _, info in entries:
                if total + size <= self._max_bytes - self._slack:
                    break
                await self._cache.delete(info.key)
                total -= info.size
            self._used.clear()
            self._unlisted = 0

    def _failed(self, exc: StorageError) -> None:
        if not isinstance(exc, ErrNotExist):
            _log.warning("the cache of %s failed: %s", self.url, exc)


async def _content(front: bytes, data: bytes | AsyncReader) -> AsyncIterator[bytes]:
    yield front
    if isinstance(data, bytes):
        yield data
        return
    while chunk := await data.read(_CHUNK):
        yield chunk
