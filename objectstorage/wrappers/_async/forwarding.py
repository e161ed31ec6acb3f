"""The wrapper that changes nothing: every method forwarded, with places to step in.

A wrapper is a subclass that overrides the places:

    _call     what happens around an operation: refuse it, count it, wait first
    _down     the wrapped store's key for one of this store's
    _up       and back
    _error    an error of the wrapped store as this store's
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from objectstorage.aio.storage import AsyncData, AsyncReader, AsyncStorage, AsyncWriter
from objectstorage.errors import StorageError
from objectstorage.storage import (
    UNSET,
    Capabilities,
    Fetched,
    ObjectInfo,
    Prefix,
    Progress,
    PutResult,
    Unset,
    Upload,
)
from objectstorage.wrappers._aiofiles import AsyncWrappedReader, AsyncWrappedWriter, finish

__all__ = ["AsyncCall", "AsyncForwardingStorage"]

_T = TypeVar("_T")


class AsyncCall:
    """One operation under way; `async with` it stands around each piece of its I/O.

    An operation is over with its first piece, or, with `several`, when `end`
    is called: a listing, a reader, a writer.
    """

    def __init__(self, error: Callable[[StorageError], StorageError]) -> None:
        self._error = error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(exc, StorageError):
            self._error(exc)

    async def sending(self, count: int) -> None:
        """So many bytes are about to go."""

    def sent(self, count: int) -> None:
        """So many bytes went."""

    async def received(self, count: int) -> None:
        """So many bytes came."""

    def end(self, outcome: str = "ok") -> None:
        """An operation of several pieces is over."""


class AsyncForwardingStorage(AsyncStorage):
    """A store around `store`, which it closes."""

    def __init__(self, store: AsyncStorage) -> None:
        self._store = store

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self), (self._store,)

    # -- the places ------------------------------------------------------------

    def _call(self, operation: str, key: str | None, several: bool = False) -> AsyncCall:
        return AsyncCall(self._error)

    def _down(self, operation: str, key: str) -> str:
        return key

    def _up(self, key: str) -> str:
        return key

    def _error(self, exc: StorageError) -> StorageError:
        return exc

    def _info(self, info: ObjectInfo) -> ObjectInfo:
        return info

    def _result(self, result: PutResult) -> PutResult:
        return result

    # -- the verbs -------------------------------------------------------------

    @property
    def url(self) -> str:
        """The wrapped store's."""
        return self._store.url

    @property
    def capabilities(self) -> Capabilities:
        """The wrapped store's."""
        return self._store.capabilities

    async def probe(self) -> Capabilities:
        """See `Storage.probe`."""
        async with self._call("probe", None):
            await self._store.probe()
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
        timeout: float | None = None,
    ) -> PutResult:
        """See `Storage.put`."""
        down = self._down("put", key)
        async with self._call("put", key) as call:
            result = await self._store.put(
                down,
                data,
                size=size,
                content_type=content_type,
                metadata=metadata,
                create=create,
                if_match=if_match,
                durable=durable,
                timeout=timeout,
            )
            call.sent(result.size)
        return self._result(result)

    async def get(self, key: str) -> bytes:
        """See `Storage.get`."""
        down = self._down("get", key)
        async with self._call("get", key) as call:
            data = await self._store.get(down)
            await call.received(len(data))
        return data

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
        down = self._down("fetch", key)
        async with self._call("fetch", key) as call:
            data, info = await self._store.fetch(
                down, start=start, end=end, if_match=if_match, if_none_match=if_none_match
            )
            await call.received(len(data))
        return Fetched(data, self._info(info))

    async def get_range(
        self, key: str, *, start: int, end: int | None = None, length: int | None = None
    ) -> bytes:
        """See `Storage.get_range`."""
        down = self._down("get_range", key)
        async with self._call("get_range", key) as call:
            data = await self._store.get_range(down, start=start, end=end, length=length)
            await call.received(len(data))
        return data

    async def get_ranges(
        self,
        key: str,
        *,
        starts: Sequence[int],
        ends: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> list_[bytes]:
        """See `Storage.get_ranges`."""
        down = self._down("get_ranges", key)
        async with self._call("get_ranges", key) as call:
            pieces = await self._store.get_ranges(down, starts=starts, ends=ends, lengths=lengths)
            await call.received(sum(map(len, pieces)))
        return pieces

    async def stat(self, key: str) -> ObjectInfo:
        """See `Storage.stat`."""
        down = self._down("stat", key)
        async with self._call("stat", key):
            return self._info(await self._store.stat(down))

    async def exists(self, key: str) -> bool:
        """See `Storage.exists`."""
        down = self._down("exists", key)
        async with self._call("exists", key):
            return await self._store.exists(down)

    async def open(self, key: str) -> AsyncReader:
        """See `Storage.open`."""
        down = self._down("open", key)
        call = self._call("open", key, several=True)
        async with call:
            reader = await self._store.open(down)
        return AsyncWrappedReader(reader, self._info(reader.info), call)

    async def stream(self, key: str, *, chunk_size: int = 1024 * 1024) -> AsyncIterator[bytes]:
        """See `Storage.stream`."""
        down = self._down("stream", key)
        call = self._call("stream", key, several=True)
        chunks = self._steps(call, self._store.stream(down, chunk_size=chunk_size))
        try:
            async for chunk in chunks:
                await call.received(len(chunk))
                yield chunk
        finally:
            await finish(chunks)

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
        down = self._down("writer", key)
        call = self._call("writer", key, several=True)
        async with call:
            writer = await self._store.writer(
                down,
                content_type=content_type,
                metadata=metadata,
                create=create,
                if_match=if_match,
                durable=durable,
            )
        return AsyncWrappedWriter(writer, call, self._result)

    async def upload(
        self,
        key: str,
        path: str | os.PathLike[str],
        *,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        create: bool = False,
        if_match: str | Unset = UNSET,
        durable: bool | None = None,
        progress: Progress | None = None,
    ) -> PutResult:
        """See `Storage.upload`."""
        down = self._down("upload", key)
        async with self._call("upload", key) as call:
            result = await self._store.upload(
                down,
                path,
                content_type=content_type,
                metadata=metadata,
                create=create,
                if_match=if_match,
                durable=durable,
                progress=progress,
            )
            call.sent(result.size)
        return self._result(result)

    async def download(
        self, key: str, path: str | os.PathLike[str], *, progress: Progress | None = None
    ) -> ObjectInfo:
        """See `Storage.download`."""
        down = self._down("download", key)
        async with self._call("download", key) as call:
            info = await self._store.download(down, path, progress=progress)
            await call.received(info.size)
        return self._info(info)

    def list(
        self, prefix: str = "", *, start_after: str | None = None, ordered: bool = True
    ) -> AsyncIterator[ObjectInfo]:
        """See `Storage.list`."""
        call = self._call("list", prefix, several=True)
        try:
            infos = self._store.list(prefix, start_after=start_after, ordered=ordered)
        except StorageError as exc:
            raise self._error(exc)
        return self._steps(call, infos)

    def list_level(self, prefix: str = "") -> AsyncIterator[ObjectInfo | Prefix]:
        """See `Storage.list_level`."""
        call = self._call("list_level", prefix, several=True)
        try:
            entries = self._store.list_level(prefix)
        except StorageError as exc:
            raise self._error(exc)
        return self._steps(call, entries)

    async def copy(self, src: str, dst: str, *, create: bool = False) -> PutResult:
        """See `Storage.copy`."""
        down, target = self._down("copy", src), self._down("copy", dst)
        async with self._call("copy", src):
            return self._result(await self._store.copy(down, target, create=create))

    async def move(self, src: str, dst: str, *, create: bool = False) -> PutResult:
        """See `Storage.move`."""
        down, target = self._down("move", src), self._down("move", dst)
        async with self._call("move", src):
            return self._result(await self._store.move(down, target, create=create))

    async def _copy_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        return await self.copy(src, dst, create=create)

    async def _move_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        return await self.move(src, dst, create=create)

    async def update(
        self, key: str, fn: Callable[[bytes | None], bytes | None], *, timeout: float | None = None
    ) -> PutResult | None:
        """See `Storage.update`."""
        down = self._down("update", key)
        async with self._call("update", key) as call:
            result = await self._store.update(down, fn, timeout=timeout)
            if result is None:
                return None
            call.sent(result.size)
        return self._result(result)

    async def delete(
        self, key: str, *, if_match: str | Unset = UNSET, must_exist: bool = False
    ) -> None:
        """See `Storage.delete`."""
        down = self._down("delete", key)
        async with self._call("delete", key):
            await self._store.delete(down, if_match=if_match, must_exist=must_exist)

    async def delete_many(
        self, keys: Iterable[str], *, errors: Literal["raise", "return"] = "raise"
    ) -> dict[str, StorageError]:
        """See `Storage.delete_many`."""
        async with self._call("delete_many", None):
            return await self._store.delete_many(keys, errors=errors)

    async def presign(self, key: str, *, method: str = "GET", expires: int = 3600) -> str:
        """See `Storage.presign`."""
        down = self._down("presign", key)
        async with self._call("presign", key):
            return await self._store.presign(down, method=method, expires=expires)

    def list_uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        """See `Storage.list_uploads`."""
        call = self._call("list_uploads", prefix, several=True)
        try:
            uploads = self._store.list_uploads(prefix)
        except StorageError as exc:
            raise self._error(exc)
        return self._steps(call, uploads)

    async def abort_upload(self, upload: Upload) -> None:
        """See `Storage.abort_upload`."""
        down = self._down("abort_upload", upload.key)
        async with self._call("abort_upload", upload.key):
            await self._store.abort_upload(upload._replace(key=down))

    async def clock(self) -> datetime:
        """See `Storage.clock`."""
        async with self._call("clock", None):
            return await self._store.clock()

    async def close(self) -> None:
        """See `Storage.close`; the wrapped store is closed too."""
        self._closed = True
        await self._store.close()

    async def _steps(self, call: AsyncCall, items: AsyncIterator[_T]) -> AsyncIterator[_T]:
        """The items, each step of getting one a piece of `call`."""
        try:
            while True:
                async with call:
                    item = await anext(items, None)
                if item is None:
                    return
                yield item
        finally:
            await finish(items)
            call.end()


list_ = list  # `list` is a method's name inside the class
