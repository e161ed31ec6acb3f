"""The contract for asyncio: `AsyncStorage`, the same names as `Storage`'s.

What each promises stands at the method of the same name of
`objectstorage.Storage`; here is only what differs: coroutines, asynchronous
iterators with `aclose`, and sources that may be asynchronous iterables.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Sequence,
)
from datetime import datetime
from typing import Any, Literal, Self, TypeAlias

from objectstorage import _plans
from objectstorage.aio._threads import finished
from objectstorage.errors import ErrBadRequest, ErrClosed, ErrUnsupported, StorageError
from objectstorage.storage import (
    UNSET,
    Capabilities,
    Data,
    Fetched,
    ObjectInfo,
    Prefix,
    Progress,
    PutResult,
    Unset,
    Upload,
)

__all__ = ["AsyncData", "AsyncReader", "AsyncStorage", "AsyncWriter"]

AsyncData: TypeAlias = Data | AsyncIterable[bytes]
"""What `put` takes: what the sync face takes, or an asynchronous iterable of bytes."""


class AsyncReader(ABC):
    """An open object: `read`, `readinto`, `seek` and `tell` as of a binary file."""

    @property
    @abstractmethod
    def info(self) -> ObjectInfo:
        """The version that is being read."""

    @abstractmethod
    async def read(self, n: int = -1, /) -> bytes:
        """`n` bytes, fewer only at the end; all that is left without `n`."""

    @abstractmethod
    async def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer; fewer bytes only at the end. Returns how many."""

    @abstractmethod
    async def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place; returns it."""

    @abstractmethod
    async def tell(self) -> int:
        """The place of the next byte."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.read(_plans.CHUNK):
            yield chunk


class AsyncWriter(ABC):
    """An object being written; visible only after a clean `close`."""

    result: PutResult | None = None
    _state: Literal["open", "closed"] = "open"

    @abstractmethod
    async def write(self, data: Any, /) -> int:
        """Take all of a bytes-like object; returns its length in bytes."""

    @abstractmethod
    async def _publish(self) -> PutResult:
        """Make what was written the object."""

    @abstractmethod
    async def _discard(self) -> None:
        """Leave no trace."""

    @property
    def closed(self) -> bool:
        """Whether it was published or discarded."""
        return self._state == "closed"

    async def close(self) -> None:
        """Publish. Does nothing the second time."""
        if not self.closed:
            self._state = "closed"
            self.result = await self._publish()

    async def abort(self) -> None:
        """Discard. Does nothing after `close`."""
        if not self.closed:
            self._state = "closed"
            await self._discard()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: object, *args: object) -> None:
        if exc_type is None:
            await self.close()
        else:
            await self.abort()

    def __del__(self) -> None:
        # Nothing can be awaited here: an unfinished upload stays listed by `list_uploads`.
        if not self.closed:
            warnings.warn(
                f"{self!r} was never closed; discarded",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )


async def arun(plan: Generator[Callable[[], Any], Any, Any]) -> Any:
    """Run a plan (see `objectstorage._plans`), awaiting what its steps give."""
    try:
        step = next(plan)
        while True:
            try:
                value = step()
                if inspect.isawaitable(value):
                    value = await value
            except BaseException as exc:
                step = plan.throw(exc)
            else:
                step = plan.send(value)
    except StopIteration as stop:
        return stop.value


class AsyncStorage(ABC):
    """One store of objects for one event loop; closed by `async with`."""

    _closed = False

    @property
    @abstractmethod
    def url(self) -> str:
        """The store's URL; never contains a secret."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this store promises; no I/O."""

    @abstractmethod
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
        """See `Storage.put`. Cancelled before the publish, nothing is stored."""

    @abstractmethod
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

    @abstractmethod
    async def stat(self, key: str) -> ObjectInfo:
        """See `Storage.stat`."""

    @abstractmethod
    async def open(self, key: str) -> AsyncReader:
        """See `Storage.open`."""

    @abstractmethod
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

    @abstractmethod
    def list(
        self, prefix: str = "", *, start_after: str | None = None, ordered: bool = True
    ) -> AsyncIterator[ObjectInfo]:
        """See `Storage.list`."""

    @abstractmethod
    def list_level(self, prefix: str = "") -> AsyncIterator[ObjectInfo | Prefix]:
        """See `Storage.list_level`."""

    @abstractmethod
    async def delete(
        self, key: str, *, if_match: str | Unset = UNSET, must_exist: bool = False
    ) -> None:
        """See `Storage.delete`."""

    @abstractmethod
    async def _copy_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        """Copy between two different valid keys of this store, atomically."""

    @abstractmethod
    async def _move_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        """Move between two different valid keys of this store."""

    @abstractmethod
    async def clock(self) -> datetime:
        """See `Storage.clock`."""

    @abstractmethod
    def list_uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        """See `Storage.list_uploads`."""

    @abstractmethod
    async def abort_upload(self, upload: Upload) -> None:
        """See `Storage.abort_upload`."""

    async def close(self) -> None:
        """See `Storage.close`."""
        self._closed = True

    async def probe(self) -> Capabilities:
        """See `Storage.probe`."""
        return self.capabilities

    async def get(self, key: str) -> bytes:
        """See `Storage.get`."""
        return (await self.fetch(key)).data

    async def get_range(
        self, key: str, *, start: int, end: int | None = None, length: int | None = None
    ) -> bytes:
        """See `Storage.get_range`."""
        return await arun(_plans.get_range(self, key, start, end, length))

    async def get_ranges(
        self,
        key: str,
        *,
        starts: Sequence[int],
        ends: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> list_[bytes]:
        """See `Storage.get_ranges`."""
        return await arun(_plans.get_ranges(self, key, starts, ends, lengths))

    async def exists(self, key: str) -> bool:
        """See `Storage.exists`."""
        return await arun(_plans.exists(self, key))

    async def stream(self, key: str, *, chunk_size: int = 1024 * 1024) -> AsyncIterator[bytes]:
        """See `Storage.stream`."""
        if chunk_size < 1:
            raise ErrBadRequest("chunk_size is at least 1")
        async with await self.open(key) as reader:
            while chunk := await reader.read(chunk_size):
                yield chunk

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
        return await arun(
            _plans.upload(
                self,
                key,
                path,
                progress,
                content_type=content_type,
                metadata=metadata,
                create=create,
                if_match=if_match,
                durable=durable,
            )
        )

    async def download(
        self, key: str, path: str | os.PathLike[str], *, progress: Progress | None = None
    ) -> ObjectInfo:
        """See `Storage.download`."""
        return await arun(_plans.download(self, key, path, progress))

    async def _open_whole(self, key: str) -> AsyncReader:
        return await self.open(key)

    async def copy(self, src: str, dst: str, *, create: bool = False) -> PutResult:
        """See `Storage.copy`."""
        return PutResult(*await arun(_plans.copy(self, src, dst, create)))

    async def move(self, src: str, dst: str, *, create: bool = False) -> PutResult:
        """See `Storage.move`."""
        return PutResult(*await arun(_plans.move(self, src, dst, create)))

    async def update(
        self, key: str, fn: Callable[[bytes | None], bytes | None], *, timeout: float | None = None
    ) -> PutResult | None:
        """See `Storage.update`; `fn` is a plain function."""
        return await arun(_plans.update(self, key, fn, timeout))

    async def delete_many(
        self, keys: Iterable[str], *, errors: Literal["raise", "return"] = "raise"
    ) -> dict[str, StorageError]:
        """See `Storage.delete_many`."""
        return await arun(_plans.delete_many(self, keys, errors))

    async def presign(self, key: str, *, method: str = "GET", expires: int = 3600) -> str:
        """See `Storage.presign`."""
        raise ErrUnsupported(
            "this store has no URLs to sign", key=key, operation="presign", storage=self.url
        )

    async def _aside(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Call what may block on local files in a thread, as the plans ask for it.

        Cancelled, it waits for the thread: what that works with is let go next.
        """
        work = asyncio.get_running_loop().run_in_executor(None, function, *args)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await finished(work)
            work.exception()  # seen, so that the loop does not report it
            raise

    def _pause(self, seconds: float) -> Awaitable[None]:
        return asyncio.sleep(seconds)

    def _check_open(self, operation: str) -> None:
        if self._closed:
            raise ErrClosed("the store is closed", operation=operation, storage=self.url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"


list_ = list  # `list` is a method's name inside the class
