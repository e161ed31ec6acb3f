"""Many tasks and threads at once: all served, over few connections, none of them leaked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from objectstorage import ErrBadRequest, aio, open_storage
from objectstorage.testing.servers import S3Server

LIMIT = 16


def options(server: S3Server) -> dict[str, Any]:
    return {**server.options(), "connections": LIMIT}


def sockets() -> int:
    """Sockets that this process has open."""
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
        except FileNotFoundError:  # the listing's own
            pass
    return found


def test_a_thousand_gets_at_once(seaweedfs: S3Server) -> None:
    async def run() -> None:
        before = sockets()
        store: Any = aio.open_storage(seaweedfs.fresh_url(), **options(seaweedfs))
        async with store:
            contents = {f"k{number}": os.urandom(100 + number) for number in range(20)}
            await asyncio.gather(*[store.put(key, data) for key, data in contents.items()])
            keys = list(contents) * 50
            async with asyncio.timeout(120):
                got = await asyncio.gather(*[store.get(key) for key in keys])
            assert got == [contents[key] for key in keys]
            stats = store._driver._transport.stats
            assert stats.in_use == 0
            assert stats.opened - stats.replaced <= LIMIT
            assert sockets() - before <= LIMIT
        assert sockets() == before

    asyncio.run(run())


def test_a_thousand_mixed_operations_with_cancellations(seaweedfs: S3Server) -> None:
    async def run() -> None:
        store: Any = aio.open_storage(seaweedfs.fresh_url(), **options(seaweedfs))
        async with store:
            await store.put("k", b"data")
            tasks = [
                asyncio.ensure_future((store.get, store.stat, store.exists)[number % 3]("k"))
                for number in range(1000)
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks[::2]:
                task.cancel()
            async with asyncio.timeout(120):
                results = await asyncio.gather(*tasks, return_exceptions=True)
            failed = [r for r in results if isinstance(r, Exception)]
            assert failed == []
            assert store._driver._transport.stats.in_use == 0
            assert await store.get("k") == b"data"

    asyncio.run(run())


def in_child(test: Callable[[], None]) -> bool:
    """Whether it ran without an exception in a forked child."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            test()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_is_told_and_leaves_the_parents_connections(seaweedfs: S3Server) -> None:
    url = seaweedfs.fresh_url()

    async def run() -> None:
        store: Any = aio.open_storage(url, **options(seaweedfs))
        unused: Any = aio.open_storage(url, **options(seaweedfs))
        async with store:
            await store.put("k", os.urandom(1 << 20))
            reader = await store.open("k")
            first = await reader.read(10)

            def child() -> None:
                # as a child starts: without the parent's loop
                asyncio.events._set_running_loop(None)
                with pytest.raises(ErrBadRequest, match="forked"):
                    asyncio.run(store.get("k"))
                asyncio.run(store.close())
                assert len(asyncio.run(unused.get("k"))) == 1 << 20

            assert in_child(child)
            assert first + await reader.read() == await store.get("k")
            await reader.close()
            assert store._driver._transport.stats.replaced == 0
        await unused.close()

    asyncio.run(run())


def test_two_hundred_threads(seaweedfs: S3Server) -> None:
    before = sockets()
    with open_storage(seaweedfs.fresh_url(), **options(seaweedfs)) as store:
        contents = {f"k{number}": os.urandom(100 + number) for number in range(200)}

        def work(key: str) -> bool:
            store.put(key, contents[key])
            return store.get(key) == contents[key] and store.stat(key).size == len(contents[key])

        with ThreadPoolExecutor(200) as pool:
            assert all(pool.map(work, contents, timeout=120))
        stats = store._driver._transport.stats  # type: ignore[attr-defined]  # of the S3 store
        assert stats.in_use == 0
        assert sockets() - before <= LIMIT
    assert sockets() == before


def test_threads_that_upload_by_parts_share_their_workers(seaweedfs: S3Server) -> None:
    part = 5 * 1024 * 1024
    given = {**options(seaweedfs), "part_size": part}
    with open_storage(seaweedfs.fresh_url(), **given) as store:

        def work(number: int) -> bool:
            data = os.urandom(part + number)
            store.put(f"k{number}", iter([data]))
            return store.get(f"k{number}") == data

        with ThreadPoolExecutor(12) as pool:
            assert all(pool.map(work, range(1, 13), timeout=120))
        assert list(store.list_uploads()) == []
