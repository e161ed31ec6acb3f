"""`AsyncS3Storage`: S3 on the event loop, by the same logic as the blocking face."""

from __future__ import annotations

import asyncio
import io
from asyncio import get_running_loop
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

from objectstorage import _fork
from objectstorage.aio.connecting import connect
from objectstorage.aio.driver import AsyncDriver, AsyncSource
from objectstorage.aio.storage import AsyncData, AsyncReader, AsyncStorage, AsyncWriter
from objectstorage.errors import ErrBadRequest, ErrClosed, StorageError
from objectstorage.s3.effects import Effects
from objectstorage.s3.gathering import Gathering
from objectstorage.s3.reading import ObjectBody
from objectstorage.s3.shortcut import Shortcut
from objectstorage.s3.store import S3Storage
from objectstorage.storage import (
    UNSET,
    Capabilities,
    Fetched,
    ObjectInfo,
    Prefix,
    PutResult,
    Unset,
    Upload,
)

__all__ = ["AsyncS3Storage"]

_T = TypeVar("_T")


class AsyncS3Storage(AsyncStorage):
    """See `S3Storage`. Bound to the event loop of its first request."""

    def __init__(self, store: S3Storage) -> None:
        # The blocking store brings options and logic; its own transport stays unused.
        self._sync = store
        self._core = store._core
        self._driver: AsyncDriver | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._forked = False
        _fork.register(self)

    def __reduce__(self) -> tuple[type[AsyncS3Storage], tuple[S3Storage]]:
        return AsyncS3Storage, (self._sync,)

    def _after_fork(self) -> None:
        # No loop survives a fork, and the connections are the parent's loop's.
        if self._driver is not None:
            self._forked = True
            self._loop = None
            self._driver.after_fork()

    @property
    def url(self) -> str:
        """The store's URL; never contains a secret."""
        return self._core.url

    @property
    def capabilities(self) -> Capabilities:
        """What is declared and known so far; `probe` asks the server for the rest."""
        return self._core.capabilities

    def _on_loop(self, operation: str) -> AsyncDriver:
        if self._closed:
            raise ErrClosed("the store is closed", operation=operation, storage=self.url)
        if self._forked:
            raise ErrBadRequest(
                "this store was used before the process was forked; open one in the child",
                operation=operation,
                storage=self.url,
            )
        loop = get_running_loop()
        if self._driver is None or self._loop is not loop:
            if self._driver is not None:
                raise ErrBadRequest(
                    "this store belongs to another event loop; open one for each loop",
                    operation=operation,
                    storage=self.url,
                )
            options = self._core.options
            tls = options.tls_context(self._core.client.origin)
            self._loop = loop
            self._driver = AsyncDriver(
                lambda origin: connect(options, origin, tls),
                self._core.client.origin,
                options.url,
            )
        return self._driver

    def _run(
        self, operation: str, key: str | None, steps: Effects[_T] | Shortcut[_T]
    ) -> Coroutine[Any, Any, _T]:
        # no coroutine itself: each that is awaited through costs a step
        driver = self._driver
        if driver is None or self._closed or self._loop is not get_running_loop():
            driver = self._on_loop(operation)
        return driver.run(steps, operation, key)

    async def _items(
        self, operation: str, key: str | None, generator: Effects[None]
    ) -> AsyncIterator[Any]:
        try:
            async for batch in self._on_loop(operation).iterate(generator):
                for item in batch:
                    yield item
        except StorageError as exc:
            raise exc.at(key=key, operation=operation, storage=self.url)

    # -- the verbs -------------------------------------------------------------

    async def probe(self) -> Capabilities:
        """See `Storage.probe`."""
        await self._run("probe", None, self._core.probe())
        return self.capabilities

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
        timeout: float | None = None,  # the deadline of the whole exchange
    ) -> PutResult:
        """See `AsyncStorage.put`."""
        source: Any = data
        if type(data) is not bytes and isinstance(data, AsyncIterable):
            source = AsyncSource(data, size)
        return await self._run(
            "put",
            key,
            self._core.put(key, source, size, content_type, metadata, create, if_match, timeout),
        )

    async def get(self, key: str) -> bytes:
        """See `Storage.get`."""
        return await self._run("get", key, self._core.get(key))

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
        return await self._run(
            "fetch", key, self._core.fetch(key, start, end, if_match, if_none_match)
        )

    async def get_ranges(
        self,
        key: str,
        *,
        starts: Sequence[int],
        ends: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> list_[bytes]:
        """See `Storage.get_ranges`; several requests in flight."""
        return await self._run("get_ranges", key, self._core.get_ranges(key, starts, ends, lengths))

    async def stat(self, key: str) -> ObjectInfo:
        """See `Storage.stat`."""
        return await self._run("stat", key, self._core.stat(key))

    async def open(self, key: str) -> AsyncReader:
        """See `Storage.open`."""
        return _S3Reader(self, key, await self._run("open", key, self._core.open(key)))

    async def _open_whole(self, key: str) -> AsyncReader:
        return _S3Reader(self, key, await self._run("open", key, self._core.open_whole(key)))

    async def stream(self, key: str, *, chunk_size: int = 1024 * 1024) -> AsyncIterator[bytes]:
        """See `Storage.stream`; one request, resumed if it is cut."""
        if chunk_size < 1:
            raise ErrBadRequest("chunk_size is at least 1")
        body = await self._run("stream", key, self._core.open_whole(key))
        try:
            place = 0
            while data := await self._run("stream", key, body.read(place, chunk_size)):
                place += len(data)
                yield data
        finally:
            if not self._closed:
                await self._run("stream", key, body.close())

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
        gathering = await self._run(
            "writer", key, self._core.begin_writer(key, content_type, metadata, create, if_match)
        )
        return _S3Writer(self, key, gathering)

    def list(
        self, prefix: str = "", *, start_after: str | None = None, ordered: bool = True
    ) -> AsyncIterator[ObjectInfo]:
        """See `Storage.list`."""
        self._check_open("list")
        self._core.check_prefix("list", prefix)
        return self._items("list", prefix, self._core.list(prefix, start_after, ordered))

    def list_level(self, prefix: str = "") -> AsyncIterator[ObjectInfo | Prefix]:
        """See `Storage.list_level`."""
        self._check_open("list_level")
        self._core.check_prefix("list_level", prefix)
        return self._items("list_level", prefix, self._core.list_level(prefix))

    async def delete(
        self, key: str, *, if_match: str | Unset = UNSET, must_exist: bool = False
    ) -> None:
        """See `Storage.delete`."""
        await self._run("delete", key, self._core.delete(key, if_match, must_exist))

    async def delete_many(
        self, keys: Iterable[str], *, errors: Literal["raise", "return"] = "raise"
    ) -> dict[str, StorageError]:
        """See `Storage.delete_many`."""
        return await self._run("delete_many", None, self._core.delete_many(keys, errors))

    async def _copy_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        return await self._run("copy", src, self._core.copy(src, dst, create))

    async def _move_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        return await self._run("move", src, self._core.move(src, dst, create))

    async def presign(self, key: str, *, method: str = "GET", expires: int = 3600) -> str:
        """See `Storage.presign`."""
        return await self._run("presign", key, self._core.presign(key, method, expires))

    def list_uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        """See `Storage.list_uploads`."""
        self._check_open("list_uploads")
        self._core.check_prefix("list_uploads", prefix)
        return self._items("list_uploads", prefix, self._core.list_uploads(prefix))

    async def abort_upload(self, upload: Upload) -> None:
        """See `Storage.abort_upload`."""
        await self._run("abort_upload", upload.key, self._core.abort_upload(upload))

    async def clock(self) -> datetime:
        """See `Storage.clock`."""
        return await self._run("clock", None, self._core.clock())

    async def close(self) -> None:
        """See `Storage.close`."""
        if not self._closed:
            self._closed = True
            if self._driver is not None and not self._forked:
                await self._driver.close()
            self._sync.close()


class _S3Reader(AsyncReader):
    def __init__(self, store: AsyncS3Storage, key: str, body: ObjectBody) -> None:
        self._store = store
        self._key = key
        self._body = body
        self._at = 0
        self._closed = False

    @property
    def info(self) -> ObjectInfo:
        return self._body.info

    async def _some(self, n: int) -> bytes:
        if self._closed:
            raise ErrClosed("the reader is closed", key=self._key, operation="read")
        data = await self._store._run("read", self._key, self._body.read(self._at, n))
        self._at += len(data)
        return data

    async def read(self, n: int = -1, /) -> bytes:
        if n < 0:
            n = max(0, self._body.info.size - self._at)
        first = await self._some(n)
        if len(first) == n or not first:
            return first
        buffer = bytearray(first)
        while len(buffer) < n and (data := await self._some(n - len(buffer))):
            buffer += data
        return bytes(buffer)

    async def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and (data := await self._some(len(view) - done)):
            view[done : done + len(data)] = data
            done += len(data)
        return done

    async def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = (0, self._at, self._body.info.size)[whence]
        if base + offset < 0:
            raise ValueError("seek before the start")
        self._at = base + offset
        return self._at

    async def tell(self) -> int:
        return self._at

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            if not self._store._closed:
                await self._store._run("close", self._key, self._body.close())


class _S3Writer(AsyncWriter):
    def __init__(self, store: AsyncS3Storage, key: str, gathering: Gathering) -> None:
        self._store = store
        self._key = key
        self._gathering = gathering

    async def write(self, data: Any, /) -> int:
        if self.closed:
            raise ErrClosed("write to a closed writer", key=self._key, operation="writer")
        view = memoryview(data).cast("B")
        await self._store._run("writer", self._key, self._gathering.append(view))
        return len(view)

    async def _publish(self) -> PutResult:
        return await self._store._run("writer", self._key, self._gathering.publish())

    async def _discard(self) -> None:
        if not self._store._closed:
            await self._store._run("writer", self._key, self._gathering.discard())


list_ = list  # `list` is a method's name inside the class
