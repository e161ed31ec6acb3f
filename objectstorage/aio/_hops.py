"""A bounded pool of threads for an event loop, whose hop costs little.

The executors of the standard library take a lock, a condition and a pipe's
write an operation. Here a hop there is a queue's put, and what ends together
comes back together, by one wake-up of the loop.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import Context
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from objectstorage import _fork
from objectstorage.aio._threads import finished

__all__ = ["Hop", "Hops"]

_T = TypeVar("_T")


class _Back:
    """The way back to one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._ended: deque[Hop[Any]] = deque()
        self._called = False

    def end(self, hop: Hop[Any]) -> None:
        """Called in a thread: the loop will hear of it, if it still runs."""
        self._ended.append(hop)
        if not self._called:
            self._called = True
            try:
                self.loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                return  # it was closed: nobody waits any more

    def _deliver(self) -> None:
        # before the first look, so that what comes after the last one calls again
        self._called = False
        while self._ended:
            self._ended.popleft().deliver()


class Hop(Generic[_T]):
    """One call in a thread. All but `run` and `end` belongs to the loop."""

    __slots__ = ("_back", "_call", "_error", "_future", "_kept", "_result", "_unclaimed")

    def __init__(self, call: Callable[[], _T], back: _Back) -> None:
        self._call: Callable[[], _T] | None = call
        self._back = back
        self._future: asyncio.Future[_T] = back.loop.create_future()
        self._unclaimed = [None]  # whoever pops it, decides: one pop succeeds
        self._result: _T | None = None
        self._error: BaseException | None = None
        self._kept = False

    def run(self) -> None:
        """In the thread: the call, unless it was cancelled."""
        call, self._call = self._call, None
        if call is None or not self._claim():
            return
        try:
            self._result = call()
        except StopIteration as exc:  # which a future can't hold
            self._error = RuntimeError("a call in a thread raised StopIteration")
            self._error.__cause__ = exc
        except BaseException as exc:
            self._error = exc

    def end(self) -> None:
        """In the thread: let the loop know."""
        self._back.end(self)

    def deliver(self) -> None:
        """Hand the outcome to whoever waits, or keep it for who may ask."""
        if self._future.done():  # cancelled
            self._kept = True
            return
        # not kept: an error leads to frames, and these to the hop
        error, self._error = self._error, None
        if error is None:
            self._future.set_result(self._result)  # type: ignore[arg-type]  # the call's own
        else:
            self._future.set_exception(error)

    def _claim(self) -> bool:
        try:
            self._unclaimed.pop()
        except IndexError:
            return False
        return True

    async def result(self) -> _T:
        """What the call returns or raises. Cancelled, it goes on: see `cancel` and `wait`."""
        return await self._future

    def cancel(self) -> bool:
        """After `result` was cancelled: whether it had not begun, and never will."""
        if self._claim():
            return True
        if self._future.cancelled() and not self._kept:
            self._future = self._back.loop.create_future()
        return False

    async def wait(self) -> BaseException | None:
        """After a `cancel` in vain: wait for the end; the call's error, if it raised one."""
        if self._kept:
            return self._error
        await finished(self._future)
        return self._future.exception()


class _Threads:
    """What the threads share; it does not hold the pool, so that this can be dropped."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[Any] = SimpleQueue()
        self.idle: deque[None] = deque()  # one entry for each thread that waits for a job
        self.all: list[threading.Thread] = []

    def work(self) -> None:
        """A thread's life."""
        while (job := self.jobs.get()) is not None:
            job.run()
            # Before others hear of the end: what they do next can come here again.
            if self.jobs.empty():
                self.idle.append(None)
            job.end()
            del job  # nothing of it is kept while waiting

    def stop(self) -> None:
        """Let each thread end once the jobs before are done."""
        for _ in self.all:
            self.jobs.put(None)


class _Filled:
    """A job whose outcome a `concurrent.futures.Future` gets."""

    def __init__(self, future: Future[Any], call: Callable[[], Any]) -> None:
        self._future = future
        self._call = call

    def run(self) -> None:
        if self._future.set_running_or_notify_cancel():
            try:
                self._future.set_result(self._call())
            except BaseException as exc:
                self._future.set_exception(exc)

    def end(self) -> None:
        """All was said."""


class Hops(Executor):
    """At most `threads` threads, started as they are needed.

    `start` is for one event loop at a time; `submit` makes it an executor for
    whoever wants one.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._most = threads
        self._name = name
        self._lock = threading.Lock()
        self._back: _Back | None = None
        self._open()
        _fork.register(self)

    def _open(self) -> None:
        self._threads = _Threads()
        self._finalizer = weakref.finalize(self, self._threads.stop)

    def _after_fork(self) -> None:
        self._finalizer.detach()
        self._lock = threading.Lock()
        self._back = None
        self._open()

    def start(
        self, context: Context, function: Callable[..., _T], *args: Any, **kwargs: Any
    ) -> Hop[_T]:
        """Run the function in a thread, within the context; called on the loop."""
        loop = asyncio.get_running_loop()
        back = self._back
        if back is None or back.loop is not loop:
            back = self._back = _Back(loop)
        hop = Hop(partial(context.run, function, *args, **kwargs), back)
        self._put(hop)
        return hop

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """See `Executor.submit`."""
        future: Future[_T] = Future()
        self._put(_Filled(future, partial(fn, *args, **kwargs)))
        return future

    def _put(self, job: Hop[Any] | _Filled) -> None:
        threads = self._threads
        if not self._finalizer.alive:
            raise RuntimeError("the threads have ended")
        threads.jobs.put(job)
        try:
            threads.idle.pop()
        except IndexError:
            self._grow(threads)

    def _grow(self, threads: _Threads) -> None:
        with self._lock:
            if len(threads.all) == self._most:
                return
            name = f"{self._name}-{len(threads.all)}"
            # daemons: an interpreter that ends does not wait for a store left open
            thread = threading.Thread(target=threads.work, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no more
                if not threads.all:
                    raise
            else:
                threads.all.append(thread)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor.shutdown`; what was started comes to its end."""
        self._finalizer()
        if wait:
            for thread in self._threads.all:
                thread.join()
