"""Cancelling operations on local stores: nothing half done, nothing guessed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from objectstorage import ErrClosed, ErrOutcomeUnknown, PutResult
from objectstorage.aio.local import ThreadedStorage
from objectstorage.memory import MemoryStorage
from objectstorage.posix import PosixStorage
from objectstorage.storage import Storage


@pytest.fixture(params=["memory", "posix", "posix durable"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Storage]:
    if request.param == "memory":
        return MemoryStorage
    return lambda: PosixStorage(tmp_path / "store", durable="durable" in request.param)


def test_cancelled_before_the_publish_nothing_is_stored(make: Callable[[], Storage]) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow() -> Iterator[bytes]:
        yield b"first"
        started.set()
        assert go_on.wait(30)
        yield b"last"

    async def main() -> None:
        async with ThreadedStorage(make()) as store:
            await store.put("k", b"old")
            task = asyncio.create_task(store.put("k", slow()))
            await asyncio.to_thread(started.wait, 30)
            task.cancel()
            await asyncio.sleep(0)  # the cancellation reaches the waiting put
            assert not task.done(), "it waits for its thread"
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await store.get("k") == b"old"
            assert [info.key async for info in store.list()] == ["k"]

    asyncio.run(main())


def test_cancelled_after_the_publish_is_said(tmp_path: Path) -> None:
    published, go_on = threading.Event(), threading.Event()

    class Slow(PosixStorage):
        def put(self, *args: Any, **kwargs: Any) -> PutResult:
            result = super().put(*args, **kwargs)
            published.set()
            assert go_on.wait(30)
            return result

    async def main() -> None:
        async with ThreadedStorage(Slow(tmp_path)) as store:
            task = asyncio.create_task(store.put("k", b"new"))
            await asyncio.to_thread(published.wait, 30)
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
            go_on.set()
            with pytest.raises(ErrOutcomeUnknown, match="the write is done"):
                await task
            assert await store.get("k") == b"new"

    asyncio.run(main())


def test_cancelled_before_it_began_it_never_runs() -> None:
    go_on = threading.Event()

    def slow() -> Iterator[bytes]:
        assert go_on.wait(30)
        yield b""

    async def main() -> None:
        async with ThreadedStorage(MemoryStorage(), threads=1) as store:
            first = asyncio.create_task(store.put("first", slow()))
            second = asyncio.create_task(store.put("second", b""))
            await asyncio.sleep(0)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            go_on.set()
            await first
            assert [info.key async for info in store.list()] == ["first"]

    asyncio.run(main())


def test_an_asynchronous_source_runs_on_the_loop(make: Callable[[], Storage]) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for n in range(3):
            await asyncio.sleep(0)
            yield bytes([n])

    async def main() -> None:
        async with ThreadedStorage(make()) as store:
            await store.put("k", chunks())
            assert await store.get("k") == b"\0\1\2"

    asyncio.run(main())


def test_closed_is_closed() -> None:
    async def main() -> None:
        store = ThreadedStorage(MemoryStorage())
        await store.close()
        await store.close()
        with pytest.raises(ErrClosed):
            await store.get("k")

    asyncio.run(main())
