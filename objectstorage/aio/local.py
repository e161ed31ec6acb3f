"""A blocking store behind the asynchronous face: one bounded thread hop an operation.

For local files, where the system offers no better; S3 has an asyncio of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Literal, TypeVar

from objectstorage import _cancel
from objectstorage.aio._hops import Hops
from objectstorage.aio._threads import Pulled
from objectstorage.aio.storage import AsyncData, AsyncReader, AsyncStorage, AsyncWriter
from objectstorage.errors import ErrBadRequest, ErrOutcomeUnknown, StorageError
from objectstorage.storage import (
    UNSET,
    Capabilities,
    Fetched,
    ObjectInfo,
    Prefix,
    PutResult,
    Reader,
    Storage,
    Unset,
    Upload,
    Writer,
)

__all__ = ["ThreadedStorage"]

_T = TypeVar("_T")
_PAGE = 256  # objects a hop brings when listing


class ThreadedStorage(AsyncStorage):
    """Any `Storage`, its operations run in at most `threads` threads."""

    def __init__(self, store: Storage, threads: int = 16) -> None:
        self._store = store
        self._pool = Hops(threads, "objectstorage-aio")
        # Apart: they wait for data, which may come from an operation of the same store.
        self._feeding = Hops(threads, "objectstorage-aio-put")

    def __reduce__(self) -> tuple[type[ThreadedStorage], tuple[Storage]]:
        return ThreadedStorage, (self._store,)

    async def _hop(self, function: Callable[..., _T], /, *args: Any, **kwargs: Any) -> _T:
        """Run in a thread; when cancelled, wait for it and say what it did."""
        return await self._hop_to(self._pool, function, *args, **kwargs)

    async def _hop_to(
        self, pool: Hops, function: Callable[..., _T], /, *args: Any, **kwargs: Any
    ) -> _T:
        name = getattr(function, "__name__", "call")
        self._check_open(name)
        event = threading.Event()
        context = contextvars.copy_context()
        context.run(_cancel.flag.set, event)
        hop = pool.start(context, function, *args, **kwargs)
        try:
            return await hop.result()
        except asyncio.CancelledError:
            event.set()
            if hop.cancel():  # it had not begun
                raise
            for feed in args:
                if isinstance(feed, Pulled):
                    feed.stop()
            error = await hop.wait()
            if isinstance(error, ErrOutcomeUnknown):
                raise error from None
            if error is None and name in _WRITES:
                raise ErrOutcomeUnknown(
                    "cancelled after the publish: the write is done", storage=self.url
                ) from None
            raise

    @property
    def url(self) -> str:
        """The store's URL; never contains a secret."""
        return self._store.url

    @property
    def capabilities(self) -> Capabilities:
        """What the store promises."""
        return self._store.capabilities

    async def probe(self) -> Capabilities:
        """See `Storage.probe`."""
        return await self._hop(self._store.probe)

    async def put(
        self,
        key: str,
        data: AsyncData,
        *,
        size: int | None = None,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        create: bool = False,
        if_match: str | Unset = UNSET,
        durable: bool | None = None,
        timeout: float | None = None,  # the store's own deadline
    ) -> PutResult:
        """See `AsyncStorage.put`."""
        plain: Any = data
        pool = self._pool
        if isinstance(data, AsyncIterable):
            plain, pool = Pulled(data, asyncio.get_running_loop()), self._feeding
        return await self._hop_to(
            pool,
            self._store.put,
            key,
            plain,
            size=size,
            content_type=content_type,
            metadata=metadata,
            create=create,
            if_match=if_match,
            durable=durable,
            timeout=timeout,
        )

    async def get(self, key: str) -> bytes:
        """See `Storage.get`."""
        return await self._hop(self._store.get, key)

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
        return await self._hop(
            self._store.fetch,
            key,
            start=start,
            end=end,
            if_match=if_match,
            if_none_match=if_none_match,
        )

    async def stat(self, key: str) -> ObjectInfo:
        """See `Storage.stat`."""
        return await self._hop(self._store.stat, key)

    async def open(self, key: str) -> AsyncReader:
        """See `Storage.open`; an `aiofiles` handle underneath."""
        reader = await self._hop(self._store.open, key)
        return _ThreadedReader(reader, self._pool)

    async def writer(
        self,
        key: str,
        *,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        create: bool = False,
        if_match: str | Unset = UNSET,
        durable: bool | None = None,
    ) -> AsyncWriter:
        """See `Storage.writer`."""
        writer = await self._hop(
            self._store.writer,
            key,
            content_type=content_type,
            metadata=metadata,
            create=create,
            if_match=if_match,
            durable=durable,
        )
        return _ThreadedWriter(self, writer)

    def list(
        self, prefix: str = "", *, start_after: str | None = None, ordered: bool = True
    ) -> AsyncIterator[ObjectInfo]:
        """See `Storage.list`; a hop brings some hundred objects."""
        self._check_open("list")
        return self._pages(self._store.list(prefix, start_after=start_after, ordered=ordered))

    def list_level(self, prefix: str = "") -> AsyncIterator[ObjectInfo | Prefix]:
        """See `Storage.list_level`."""
        self._check_open("list_level")
        return self._pages(self._store.list_level(prefix))

    def list_uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        """See `Storage.list_uploads`."""
        self._check_open("list_uploads")
        return self._pages(self._store.list_uploads(prefix))

    async def _pages(self, iterator: Iterator[_T]) -> AsyncIterator[_T]:
        try:
            while page := await self._hop(_take, iterator):
                for item in page:
                    yield item
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    async def delete(
        self, key: str, *, if_match: str | Unset = UNSET, must_exist: bool = False
    ) -> None:
        """See `Storage.delete`."""
        await self._hop(self._store.delete, key, if_match=if_match, must_exist=must_exist)

    async def delete_many(
        self, keys: Iterable[str], *, errors: Literal["raise", "return"] = "raise"
    ) -> dict[str, StorageError]:
        """See `Storage.delete_many`."""
        return await self._hop(self._store.delete_many, keys, errors=errors)

    async def _copy_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        return await self._hop(self._store._copy_within, src, dst, create=create)

    async def _move_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        return await self._hop(self._store._move_within, src, dst, create=create)

    async def presign(self, key: str, *, method: str = "GET", expires: int = 3600) -> str:
        """See `Storage.presign`."""
        return await self._hop(self._store.presign, key, method=method, expires=expires)

    async def abort_upload(self, upload: Upload) -> None:
        """See `Storage.abort_upload`."""
        await self._hop(self._store.abort_upload, upload)

    async def clock(self) -> datetime:
        """See `Storage.clock`."""
        return await self._hop(self._store.clock)

    async def close(self) -> None:
        """See `Storage.close`; waits for what is under way."""
        if not self._closed:
            self._closed = True
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._feeding.shutdown)
            await loop.run_in_executor(None, self._pool.shutdown)
            self._store.close()


_WRITES = frozenset(
    ("put", "delete", "delete_many", "_copy_within", "_move_within", "_publish", "close")
)


def _take(iterator: Iterator[_T]) -> list[_T]:
    page = []
    for item in iterator:
        page.append(item)
        if len(page) == _PAGE:
            break
    return page


class _ThreadedReader(AsyncReader):
    def __init__(self, reader: Reader, pool: Hops) -> None:
        from aiofiles.threadpool import wrap

        self._info = reader.info
        self._file: Any = wrap(reader, loop=asyncio.get_running_loop(), executor=pool)

    @property
    def info(self) -> ObjectInfo:
        return self._info

    async def read(self, n: int = -1, /) -> bytes:
        data: bytes = await self._file.read(n)
        return data

    async def readinto(self, buffer: Any, /) -> int:
        count: int = await self._file.readinto(buffer)
        return count

    async def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        place: int = await self._file.seek(offset, whence)
        return place

    async def tell(self) -> int:
        place: int = await self._file.tell()
        return place

    async def close(self) -> None:
        await self._file.close()


class _ThreadedWriter(AsyncWriter):
    def __init__(self, store: ThreadedStorage, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    async def write(self, data: Any, /) -> int:
        return await self._store._hop(self._writer.write, data)

    async def _publish(self) -> PutResult:
        await self._store._hop(self._writer.close)
        if self._writer.result is None:
            raise ErrBadRequest("the writer was closed before")
        return self._writer.result

    async def _discard(self) -> None:
        await self._store._hop(self._writer.abort)

    def __del__(self) -> None:
        super().__del__()
        if not self.closed:
            self._writer.abort()
