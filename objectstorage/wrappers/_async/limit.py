"""A store that is asked gently: so many operations at once, so many bytes a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar, Token
from functools import partial
from types import TracebackType
from typing import Any, Self

from objectstorage import _fork, _plans
from objectstorage.aio.storage import AsyncData, AsyncStorage
from objectstorage.storage import UNSET, PutResult, Unset
from objectstorage.wrappers._aiofiles import paced
from objectstorage.wrappers._async.forwarding import AsyncCall, AsyncForwardingStorage
from objectstorage.wrappers._pace import Pace, check_limit

__all__ = ["AsyncLimitedStorage"]

# The stores whose turn this task or thread has. Data that is read from a store
# while it is written there must not wait for itself.
_turns: ContextVar[frozenset[int]] = ContextVar("objectstorage-turns", default=frozenset())


class AsyncLimitedStorage(AsyncForwardingStorage):
    """`store`, at most `concurrency` operations at once and `bytes_per_second`.

    Bytes are those of objects, both ways together; None is no limit. What is
    sent from a file or an iterable, written or streamed is paced piece by
    piece; what `get` and `fetch` bring comes in one go and is then waited for.
    An open reader, writer or listing takes a turn for each piece only.
    """

    def __init__(
        self,
        store: AsyncStorage,
        *,
        concurrency: int | None = None,
        bytes_per_second: float | None = None,
    ) -> None:
        super().__init__(store)
        check_limit("concurrency", concurrency)
        if concurrency is not None and not isinstance(concurrency, int):
            raise TypeError("concurrency is an int or None")
        check_limit("bytes_per_second", bytes_per_second)
        self._concurrency = concurrency
        self._rate = bytes_per_second
        self._after_fork()
        _fork.register(self)

    def _after_fork(self) -> None:
        limit = self._concurrency
        self._turn = None if limit is None else asyncio.Semaphore(limit)
        self._pace = None if self._rate is None else Pace(self._rate)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return partial(type(self), concurrency=self._concurrency, bytes_per_second=self._rate), (
            self._store,
        )

    def _call(self, operation: str, key: str | None, several: bool = False) -> AsyncCall:
        return _LimitedCall(self)

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
        if self._pace is not None:
            with _plans.placed(self, "put", key):
                data, size = await paced(data, size, self._call("put", key))
        return await super().put(
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

    # by `put` and `open`, whose pieces are paced
    upload = AsyncStorage.upload
    download = AsyncStorage.download

    async def _spend(self, count: int) -> None:
        if self._pace is not None:
            seconds = self._pace.spend(count)
            if seconds > 0:
                await self._pause(seconds)


class _LimitedCall(AsyncCall):
    _held: Token[frozenset[int]] | None = None

    def __init__(self, store: AsyncLimitedStorage) -> None:
        super().__init__(store._error)
        self._store = store

    async def __aenter__(self) -> Self:
        turns = _turns.get()
        if self._store._turn is not None and id(self._store) not in turns:
            await self._store._turn.acquire()
            self._held = _turns.set(turns | {id(self._store)})
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._held is not None:
            _turns.reset(self._held)
            self._held = None
            assert self._store._turn is not None
            self._store._turn.release()

    async def sending(self, count: int) -> None:
        await self._store._spend(count)

    async def received(self, count: int) -> None:
        await self._store._spend(count)
