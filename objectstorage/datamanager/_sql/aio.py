"""The database for asyncio: a transaction is one hop to one of a few threads."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Self, TypeVar

from objectstorage import _fork
from objectstorage.aio._threads import Pulled, finished
from objectstorage.datamanager._sql.control import Control
from objectstorage.datamanager._sql.database import Database, Transaction
from objectstorage.errors import ErrClosed, ErrOutcomeUnknown, ErrTimeout

__all__ = ["AsyncDatabase"]

_T = TypeVar("_T")
_I = TypeVar("_I")


class AsyncDatabase:
    """`Database` for asyncio: the same arguments, the same transactions.

    `fn` stays a plain function and runs in a thread, all of it in one. A task
    that is cancelled interrupts its transaction and waits until it is undone;
    if it was committed just before, that is `ErrOutcomeUnknown`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        readers: int = 4,
        durable: bool = True,
        patience: float = 30.0,
    ) -> None:
        self._database = Database(path, readers=readers, durable=durable, patience=patience)
        self._readers = readers
        self._closed = False
        self._after_fork()
        _fork.register(self)

    def _after_fork(self) -> None:
        # one thread for each connection: a thread never waits for one
        self._pools = {
            True: ThreadPoolExecutor(1, "objectstorage-db-do"),
            False: ThreadPoolExecutor(self._readers, "objectstorage-db-view"),
        }

    @property
    def path(self) -> str:
        """The file."""
        return self._database.path

    @property
    def url(self) -> str:
        """What errors say of where they happened."""
        return self._database.url

    async def do(self, fn: Callable[[Transaction], _T], *, timeout: float | None = None) -> _T:
        """See `Database.do`."""
        return await self._hop(fn, timeout, writes=True)

    async def view(self, fn: Callable[[Transaction], _T], *, timeout: float | None = None) -> _T:
        """See `Database.view`."""
        return await self._hop(fn, timeout, writes=False)

    async def fed(
        self,
        fn: Callable[[Transaction, Iterator[_I]], _T],
        items: Callable[[], AsyncIterator[_I]],
        *,
        timeout: float | None = None,
    ) -> _T:
        """See `Database.fed`; each step of the items runs on the loop."""
        loop = asyncio.get_running_loop()
        feeds: list[Pulled[_I]] = []

        def with_items(tx: Transaction) -> _T:
            feeds.append(Pulled(items(), loop))
            return fn(tx, iter(feeds[-1]))

        return await self._hop(with_items, timeout, writes=True, feeds=feeds)

    async def close(self) -> None:
        """See `Database.close`."""
        if not self._closed:
            self._closed = True
            loop = asyncio.get_running_loop()
            for pool in self._pools.values():
                await loop.run_in_executor(None, pool.shutdown)
            await loop.run_in_executor(None, self._database.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __reduce__(self) -> tuple[Callable[..., AsyncDatabase], tuple[Any, ...]]:
        return partial(AsyncDatabase, **self._database.options), (self.path,)

    async def _hop(
        self,
        fn: Callable[[Transaction], _T],
        timeout: float | None,
        *,
        writes: bool,
        feeds: Sequence[Pulled[Any]] = (),
    ) -> _T:
        control = Control(timeout, "do" if writes else "view", self.url)
        if self._closed:
            raise control.place(ErrClosed("the database is closed"))
        context = contextvars.copy_context()
        work = self._pools[writes].submit(
            context.run, self._database._run, fn, control, writes=writes
        )
        future = asyncio.wrap_future(work)
        try:
            await asyncio.wait([future], timeout=control.left)
            if not future.done() and work.cancel():
                raise control.place(ErrTimeout("other transactions of this process took too long"))
            # what has begun keeps the deadline by itself
            await asyncio.wait([future])
        except asyncio.CancelledError:
            control.stop()
            for feed in feeds:
                feed.stop()
            if work.cancel():
                raise
            await finished(future)
            error = future.exception()
            if isinstance(error, ErrOutcomeUnknown):
                raise error from None
            if error is None and writes:
                raise control.place(
                    ErrOutcomeUnknown("cancelled after the commit: the transaction is done")
                ) from None
            raise
        return future.result()
