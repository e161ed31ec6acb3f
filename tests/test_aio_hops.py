"""The threads behind the asynchronous face of local stores."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar
from typing import Any

import pytest

from objectstorage.aio._hops import Hop, Hops

_WAIT = 30


@pytest.fixture
def hops() -> Iterator[Hops]:
    pool = Hops(3, "test-hops")
    yield pool
    pool.shutdown()
    assert not named("test-hops")


def named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


def call(pool: Hops, function: Callable[..., Any], *args: Any) -> Hop[Any]:
    return pool.start(Context(), function, *args)


def test_results_errors_and_the_context_come_and_go(hops: Hops) -> None:
    variable: ContextVar[int] = ContextVar("variable")
    context = Context()
    context.run(variable.set, 7)

    def fail(kind: type[BaseException]) -> None:
        raise kind("of the thread")

    async def main() -> None:
        assert await hops.start(context, variable.get).result() == 7
        for kind in (OSError, KeyError, SystemExit):
            with pytest.raises(kind, match="of the thread"):
                await call(hops, fail, kind).result()
        # a future can't hold one
        with pytest.raises(RuntimeError, match="StopIteration"):
            await call(hops, fail, StopIteration).result()

    asyncio.run(main())


def test_as_many_threads_as_are_needed_and_no_more(hops: Hops) -> None:
    async def main() -> None:
        for _ in range(50):
            await call(hops, int).result()
        assert len(named("test-hops")) == 1
        meeting = threading.Barrier(3)
        waiting = [call(hops, meeting.wait, _WAIT) for _ in range(3)]
        await asyncio.gather(*(hop.result() for hop in waiting))
        release = threading.Event()
        waiting = [call(hops, release.wait, _WAIT) for _ in range(20)]
        assert len(named("test-hops")) == 3
        release.set()
        await asyncio.gather(*(hop.result() for hop in waiting))

    asyncio.run(main())


def test_what_ends_together_is_all_delivered(hops: Hops) -> None:
    async def main() -> None:
        async def worker(n: int) -> list[int]:
            return [await call(hops, lambda i=i: n * i).result() for i in range(100)]

        found = await asyncio.gather(*map(worker, range(32)))
        assert found == [[n * i for i in range(100)] for n in range(32)]

    asyncio.run(main())


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("error", [None, OSError("x")])
def test_cancelled_while_it_runs_its_end_is_known(
    hops: Hops, late: bool, error: Exception | None
) -> None:
    """Whether the outcome comes before the task looks or after it began to wait."""
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(_WAIT)
        if error is not None:
            raise error

    async def main() -> None:
        hop = call(hops, work)
        task = asyncio.create_task(hop.result())
        await asyncio.to_thread(begun.wait, _WAIT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if not late:
            go_on.set()
            # another hop of the same thread comes after it
            await asyncio.gather(*(call(hops, int).result() for _ in range(3)))
            while not hop._kept:
                await asyncio.to_thread(int)
        assert not hop.cancel()
        waiting = asyncio.create_task(hop.wait())
        await asyncio.sleep(0)
        go_on.set()
        assert await asyncio.wait_for(waiting, _WAIT) is error

    asyncio.run(main())


def test_cancelled_with_the_outcome_at_hand(hops: Hops) -> None:
    async def main() -> None:
        hop = call(hops, int)
        assert await hop.result() == 0
        assert not hop.cancel()
        assert await asyncio.wait_for(hop.wait(), _WAIT) is None

    asyncio.run(main())


def test_one_loop_after_the_other(hops: Hops) -> None:
    go_on, ended = threading.Event(), threading.Event()

    def work() -> None:
        assert go_on.wait(_WAIT)
        ended.set()

    async def leave() -> None:
        call(hops, work)

    async def stay() -> None:
        assert await call(hops, int).result() == 0

    asyncio.run(leave())  # its loop is closed before the thread ends
    go_on.set()
    assert ended.wait(_WAIT)
    asyncio.run(stay())


def test_it_is_an_executor(hops: Hops) -> None:
    assert hops.submit(pow, 2, 5).result(_WAIT) == 32
    assert isinstance(hops.submit(int, "x").exception(_WAIT), ValueError)
    go_on = threading.Event()
    busy = [hops.submit(go_on.wait, _WAIT) for _ in range(3)]
    never = hops.submit(os._exit, 1)
    assert never.cancel()
    go_on.set()
    assert all(future.result(_WAIT) for future in busy)


def test_after_shutdown_nothing_starts() -> None:
    pool = Hops(1, "test-shut")
    assert pool.submit(int).result(_WAIT) == 0
    pool.shutdown()
    with pytest.raises(RuntimeError, match="ended"):
        pool.submit(int)


def test_dropped_it_lets_its_threads_go() -> None:
    pool = Hops(2, "test-dropped")
    pool.submit(int).result(_WAIT)
    (thread,) = named("test-dropped")
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    thread.join(_WAIT)
    assert not thread.is_alive()


def test_nothing_of_a_job_is_kept(hops: Hops) -> None:
    class Large:
        pass

    async def main() -> weakref.ref[Large]:
        large = Large()
        kept = weakref.ref(large)
        await call(hops, id, large).result()
        return kept

    kept = asyncio.run(main())
    hops.submit(int).result(_WAIT)
    assert kept() is None


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(hops: Hops) -> None:
    assert hops.submit(int).result(_WAIT) == 0
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = hops.submit(int, "42").result(_WAIT) - 42
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
