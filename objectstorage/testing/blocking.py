"""An asynchronous store as a blocking one, so that one suite tests both faces.

    store = BlockingStorage(lambda: aio.open_storage(url))

Every call becomes one coroutine on an event loop in a thread of the store's own;
threads may call at once, and their operations run concurrently on the loop.
"""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, NoReturn, TypeVar

from objectstorage.aio.storage import AsyncReader, AsyncStorage, AsyncWriter
from objectstorage.errors import StorageError
from objectstorage.storage import (
    UNSET,
    Capabilities,
    Data,
    Fetched,
    ObjectInfo,
    Prefix,
    Progress,
    PutResult,
    Reader,
    Storage,
    Unset,
    Upload,
    Writer,
)

__all__ = ["BlockingStorage"]

_T = TypeVar("_T")


class BlockingStorage(Storage):
    """`make()` gives the asynchronous store, `new_loop()` the loop that it lives on."""

    def __init__(
        self,
        make: Callable[[], AsyncStorage],
        new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    ) -> None:
        self._make = make
        self._new_loop = new_loop
        self._own = make()
        self._nested: BlockingStorage | None = None
        self._loop = new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def __reduce__(self) -> NoReturn:
        raise TypeError("an event loop and its thread are not pickled")

    def _here(self) -> BlockingStorage:
        """Itself; on the loop's own thread, in a callback, one with another loop."""
        if threading.current_thread() is not self._thread:
            return self
        if self._nested is None:
            self._nested = BlockingStorage(self._make, self._new_loop)
        return self._nested

    @property
    def _store(self) -> AsyncStorage:
        return self._here()._own

    def call(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine on the loop and wait for it."""
        here = self._here()
        if here._closed:
            return asyncio.run(coroutine)  # says that the store is closed
        return asyncio.run_coroutine_threadsafe(coroutine, here._loop).result()

    def _steps(self, start: Callable[[], AsyncIterator[_T]]) -> Iterator[_T]:
        iterator = start()  # bad arguments and a closed store show at once

        async def step() -> tuple[bool, Any]:
            try:
                return True, await anext(iterator)
            except StopAsyncIteration:
                return False, None

        def go_on() -> Iterator[_T]:
            try:
                while True:
                    more, item = self.call(step())
                    if not more:
                        return
                    yield item
            finally:
                if not self._closed:
                    self.call(_close(iterator))

        return go_on()

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def capabilities(self) -> Capabilities:
        return self._store.capabilities

    def probe(self) -> Capabilities:
        return self.call(self._store.probe())

    def put(
        self,
        key: str,
        data: Data,
        *,
        size: int | None = None,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        create: bool = False,
        if_match: str | Unset = UNSET,
        durable: bool | None = None,
        timeout: float | None = None,
    ) -> PutResult:
        return self.call(
            self._store.put(
                key,
                data,
                size=size,
                content_type=content_type,
                metadata=metadata,
                create=create,
                if_match=if_match,
                durable=durable,
                timeout=timeout,
            )
        )

    def get(self, key: str) -> bytes:
        return self.call(self._store.get(key))

    def fetch(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        if_match: str | Unset = UNSET,
        if_none_match: str | Unset = UNSET,
    ) -> Fetched:
        return self.call(
            self._store.fetch(
                key, start=start, end=end, if_match=if_match, if_none_match=if_none_match
            )
        )

    def get_range(
        self, key: str, *, start: int, end: int | None = None, length: int | None = None
    ) -> bytes:
        return self.call(self._store.get_range(key, start=start, end=end, length=length))

    def get_ranges(
        self,
        key: str,
        *,
        starts: Sequence[int],
        ends: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> list_[bytes]:
        return self.call(self._store.get_ranges(key, starts=starts, ends=ends, lengths=lengths))

    def stat(self, key: str) -> ObjectInfo:
        return self.call(self._store.stat(key))

    def exists(self, key: str) -> bool:
        return self.call(self._store.exists(key))

    def open(self, key: str) -> Reader:
        reader = self.call(self._store.open(key))
        return Reader(_Raw(self, reader), reader.info)

    def stream(self, key: str, *, chunk_size: int = 1024 * 1024) -> Iterator[bytes]:
        return self._steps(lambda: self._store.stream(key, chunk_size=chunk_size))

    def writer(
        self,
        key: str,
        *,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        create: bool = False,
        if_match: str | Unset = UNSET,
        durable: bool | None = None,
    ) -> Writer:
        return _Writer(
            self,
            self.call(
                self._store.writer(
                    key,
                    content_type=content_type,
                    metadata=metadata,
                    create=create,
                    if_match=if_match,
                    durable=durable,
                )
            ),
        )

    def upload(
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
        return self.call(
            self._store.upload(
                key,
                path,
                content_type=content_type,
                metadata=metadata,
                create=create,
                if_match=if_match,
                durable=durable,
                progress=progress,
            )
        )

    def download(
        self, key: str, path: str | os.PathLike[str], *, progress: Progress | None = None
    ) -> ObjectInfo:
        return self.call(self._store.download(key, path, progress=progress))

    def list(
        self, prefix: str = "", *, start_after: str | None = None, ordered: bool = True
    ) -> Iterator[ObjectInfo]:
        return self._steps(
            lambda: self._store.list(prefix, start_after=start_after, ordered=ordered)
        )

    def list_level(self, prefix: str = "") -> Iterator[ObjectInfo | Prefix]:
        return self._steps(lambda: self._store.list_level(prefix))

    def list_uploads(self, prefix: str = "") -> Iterator[Upload]:
        return self._steps(lambda: self._store.list_uploads(prefix))

    def abort_upload(self, upload: Upload) -> None:
        self.call(self._store.abort_upload(upload))

    def copy(self, src: str, dst: str, *, create: bool = False) -> PutResult:
        return self.call(self._store.copy(src, dst, create=create))

    def move(self, src: str, dst: str, *, create: bool = False) -> PutResult:
        return self.call(self._store.move(src, dst, create=create))

    def _copy_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        return self.call(self._store._copy_within(src, dst, create=create))

    def update(
        self, key: str, fn: Callable[[bytes | None], bytes | None], *, timeout: float | None = None
    ) -> PutResult | None:
        return self.call(self._store.update(key, fn, timeout=timeout))

    def delete(self, key: str, *, if_match: str | Unset = UNSET, must_exist: bool = False) -> None:
        self.call(self._store.delete(key, if_match=if_match, must_exist=must_exist))

    def delete_many(
        self, keys: Iterable[str], *, errors: Literal["raise", "return"] = "raise"
    ) -> dict[str, StorageError]:
        return self.call(self._store.delete_many(keys, errors=errors))

    def presign(self, key: str, *, method: str = "GET", expires: int = 3600) -> str:
        return self.call(self._store.presign(key, method=method, expires=expires))

    def clock(self) -> datetime:
        return self.call(self._store.clock())

    def close(self) -> None:
        """Close the store, and end the loop when nothing is under way any more."""
        if not self._closed:
            self.call(self._own.close())
            self._closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            if self._nested is not None:
                self._nested.close()


async def _close(iterator: Any) -> None:
    await iterator.aclose()


class _Raw(io.RawIOBase):
    def __init__(self, store: BlockingStorage, reader: AsyncReader) -> None:
        self._store = store
        self._reader = reader

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._store.call(self._reader.readinto(buffer))

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._store.call(self._reader.seek(offset, whence))

    def tell(self) -> int:
        return self._store.call(self._reader.tell())

    def close(self) -> None:
        if not self.closed and not self._store._closed:
            self._store.call(self._reader.close())
        super().close()


class _Writer(Writer):
    def __init__(self, store: BlockingStorage, writer: AsyncWriter) -> None:
        super().__init__()
        self._store = store
        self._writer = writer

    def _append(self, data: memoryview) -> None:
        self._store.call(self._writer.write(data))

    def _publish(self) -> PutResult:
        self._store.call(self._writer.close())
        assert self._writer.result is not None
        return self._writer.result

    def _discard(self) -> None:
        self._store.call(self._writer.abort())


list_ = list  # `list` is a method's name inside the class
