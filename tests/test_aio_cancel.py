"""Cancelled in the middle: what is left behind, and what is said of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from s3_bench import KEY, AsyncFace, Bench, benches, data

from objectstorage import ErrOutcomeUnknown, aio
from objectstorage.testing.servers import S3Server

PART = 5 << 20


async def reaches(condition: Callable[[], object]) -> None:
    # the condition is another thread's doing, which can't set an asyncio.Event
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def cancelled(task: asyncio.Task[Any]) -> BaseException:
    """What a task that is cancelled now ends with."""
    task.cancel()
    await asyncio.wait([task])
    with pytest.raises((asyncio.CancelledError, Exception)) as caught:
        task.result()
    return caught.value


def on_s3(server: S3Server, test: Callable[[Bench, Any], Awaitable[None]], **options: Any) -> None:
    """Run a test on a loop's store behind the proxy; no connection may be left in use."""
    with benches(server, AsyncFace) as bench:
        face = bench.open(**options)
        face.probe()
        bench.proxy.clear()

        async def run() -> None:
            await test(bench, face._store)
            await reaches(lambda: not face._store._driver._transport.stats.in_use)

        face._loop.run_until_complete(run())


def stuck_after(chunk: bytes, reached: asyncio.Event) -> AsyncIterator[bytes]:
    async def chunks() -> AsyncIterator[bytes]:
        yield chunk
        reached.set()
        await asyncio.Event().wait()

    return chunks()


def test_before_the_last_byte_nothing_is_stored(seaweedfs: S3Server) -> None:
    async def test(bench: Bench, store: aio.AsyncStorage) -> None:
        reached = asyncio.Event()
        body = stuck_after(data(1 << 20), reached)
        task = asyncio.create_task(store.put(KEY, body, size=20 << 20, create=True))
        await reached.wait()
        assert isinstance(await cancelled(task), asyncio.CancelledError)
        assert not await store.exists(KEY)

    on_s3(seaweedfs, test)


@pytest.mark.parametrize("options", [{}, {"create": True}])
def test_after_the_last_byte_it_is_unknown(seaweedfs: S3Server, options: dict[str, Any]) -> None:
    async def test(bench: Bench, store: aio.AsyncStorage) -> None:
        rule = bench.proxy.on(method="PUT", path=KEY).stall()
        task = asyncio.create_task(store.put(KEY, b"x", **options))
        await reaches(lambda: rule.hits)
        assert isinstance(await cancelled(task), ErrOutcomeUnknown)

    on_s3(seaweedfs, test)


def test_between_two_tries_it_is_unknown(seaweedfs: S3Server) -> None:
    async def test(bench: Bench, store: aio.AsyncStorage) -> None:
        answers = {"retry-after": "20"}
        rule = bench.proxy.on(method="PUT", path=KEY, nth=None)
        rule.replace(status=503, headers=answers, body="")
        task = asyncio.create_task(store.put(KEY, b"x"))
        await reaches(lambda: rule.hits and bench.proxy.forwarded)
        await reaches(lambda: not store._driver._transport.stats.in_use)  # type: ignore[attr-defined]  # of the S3 store
        assert isinstance(await cancelled(task), ErrOutcomeUnknown)

    on_s3(seaweedfs, test)


@pytest.mark.parametrize("options", [{}, {"create": True}])
def test_an_upload_by_parts_is_aborted(seaweedfs: S3Server, options: dict[str, Any]) -> None:
    async def test(bench: Bench, store: aio.AsyncStorage) -> None:
        rule = bench.proxy.on(method="PUT", path="partNumber=1").stall()
        body = stuck_after(data(2 * PART), asyncio.Event())
        task = asyncio.create_task(store.put(KEY, body, **options))
        await reaches(lambda: rule.hits)
        assert isinstance(await cancelled(task), asyncio.CancelledError)
        assert [upload async for upload in store.list_uploads()] == []
        assert not await store.exists(KEY)

    on_s3(seaweedfs, test, part_size=PART)


def test_a_writer_whose_block_is_cancelled_leaves_nothing(seaweedfs: S3Server) -> None:
    async def test(bench: Bench, store: aio.AsyncStorage) -> None:
        written = asyncio.Event()

        async def write() -> None:
            async with await store.writer(KEY) as writer:
                await writer.write(data(2 * PART + 1))
                written.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(write())
        await written.wait()
        assert isinstance(await cancelled(task), asyncio.CancelledError)
        assert [upload async for upload in store.list_uploads()] == []
        assert not await store.exists(KEY)

    on_s3(seaweedfs, test, part_size=PART)


def test_a_read_cancelled_in_the_middle_is_not_mixed_into_the_next(seaweedfs: S3Server) -> None:
    async def test(bench: Bench, store: aio.AsyncStorage) -> None:
        contents = {name: data(300_000) for name in ("a", "b")}
        for name, content in contents.items():
            await store.put(name, content)
        rule = bench.proxy.on(method="GET", path="/a").drip(2000)
        task = asyncio.create_task(store.get("a"))
        await reaches(lambda: rule.hits)
        assert isinstance(await cancelled(task), asyncio.CancelledError)
        for name, content in contents.items():
            assert await store.get(name) == content

    on_s3(seaweedfs, test)


def test_a_local_put_that_waits_for_its_data_is_let_go(tmp_path: Path) -> None:
    async def run() -> None:
        async with aio.open_storage(f"posix://{tmp_path}") as store:
            reached = asyncio.Event()
            task = asyncio.create_task(store.put(KEY, stuck_after(b"x", reached)))
            await reached.wait()
            assert isinstance(await cancelled(task), asyncio.CancelledError)
            assert not await store.exists(KEY)

    asyncio.run(run())


def test_copies_within_a_local_store_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async def run() -> None:
        async with aio.open_storage(f"posix://{tmp_path}") as store:
            await store.put("src", b"data")
            copies = [aio.copy(store, "src", store, f"dst/{number}") for number in range(200)]
            async with asyncio.timeout(60):
                await asyncio.gather(*copies)
            assert len([info async for info in store.list("dst/")]) == 200

    asyncio.run(run())


class Gate(ThreadPoolExecutor):
    """Its first job waits for `go` before or after its work; tells when each has ended."""

    def __init__(self, *, before: bool) -> None:
        super().__init__()
        self._before = before
        self.jobs = 0
        self.there, self.go, self.ended = threading.Event(), threading.Event(), threading.Event()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.jobs += 1
        return (
            super().submit(self._gated, fn, *args) if self.jobs == 1 else super().submit(fn, *args)
        )

    def _gated(self, fn: Any, *args: Any) -> Any:
        if self._before:
            self._wait()
        result = fn(*args)
        if not self._before:
            self._wait()
        self.ended.set()
        return result

    def _wait(self) -> None:
        self.there.set()
        self.go.wait()


@pytest.mark.parametrize("before", [True, False])
def test_a_download_waits_for_the_thread_that_writes(tmp_path: Path, before: bool) -> None:
    async def run() -> None:
        gate = Gate(before=before)
        loop = asyncio.get_running_loop()
        async with aio.open_storage("memory://") as store:
            await store.put(KEY, b"data")
            loop.set_default_executor(gate)
            task = asyncio.create_task(store.download(KEY, tmp_path / "file"))
            await reaches(gate.there.is_set)
            task.cancel()
            loop.call_soon(lambda: loop.call_soon(gate.go.set))
            await asyncio.wait([task])
            assert task.cancelled()
            assert gate.ended.is_set()
        assert not [name for name in open_files() if name.endswith(".part")]

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []


def open_files() -> list[str]:
    names = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            names.append(os.readlink(f"/proc/self/fd/{fd}").removesuffix(" (deleted)"))
    return names
