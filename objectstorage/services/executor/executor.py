"""The executor: claims tasks, runs them, says that it lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
from typing import NamedTuple

from objectstorage.aio.storage import AsyncStorage
from objectstorage.client.aio import AsyncClient
from objectstorage.client.tasks import ExecutorTask, Spec
from objectstorage.errors import ErrBadRequest, StorageError
from objectstorage.services.executor.processes import Lifeline
from objectstorage.services.executor.reports import refused
from objectstorage.services.executor.running import RunningTask, Shared, Why
from objectstorage.services.places import caches_in, data_in, logs_in

__all__ = ["Executor"]

_log = logging.getLogger("objectstorage.services")


class _Entry(NamedTuple):
    task: RunningTask
    work: asyncio.Task[None]


class Executor:
    """Runs tasks of the run service that `client` calls, `slots` at a time, until drained.

    store: the very store of the run service: logs and caches go straight there,
        so that neither its load nor its restarts touch them.
    folder: where tasks get folders of their own.
    name: of this process alone, and never used again; made up if not given.
    poll: seconds between looks for tasks while there are none.

    While it can't reach the service for most of `dead_after`, it counts itself
    dead, and ends its tasks before others begin them anew.
    """

    def __init__(
        self,
        store: AsyncStorage,
        client: AsyncClient,
        folder: str,
        *,
        slots: int = 2,
        name: str | None = None,
        poll: float = 0.5,
    ) -> None:
        if slots < 1:
            raise ErrBadRequest("slots is at least 1")
        self.name = name or f"{socket.gethostname()}-{os.urandom(4).hex()}"
        self._store = store
        self._client = client
        self._slots = slots
        self._poll = poll
        self._lifeline = Lifeline()
        self._shared = Shared(client, logs_in(store), caches_in(store), folder, self._lifeline)
        # By id and claim: one that was taken from us may be ours again before it has ended.
        self._running: dict[tuple[str, int], _Entry] = {}
        self._changed = asyncio.Event()
        self._draining = False
        self._dead_after = 0.0
        self._heard = 0.0  # when the last heartbeat was sent that was answered

    async def run(self) -> None:
        """Until it is drained; `ErrBadRequest` if the service is another store's."""
        if not await self._meet():
            return
        beating = asyncio.ensure_future(self._beat_on())
        try:
            await self._claim_on()
            while self._running:
                await asyncio.wait(self._works())
        finally:
            beating.cancel()
            for entry in self._running.values():
                entry.work.cancel()
            await asyncio.gather(beating, *self._works(), return_exceptions=True)
            self._lifeline.close()

    def drain(self) -> None:
        """Claim nothing more, and end when what is running has ended."""
        self._draining = True
        self._changed.set()

    def hand_back(self) -> None:
        """Drain, and stop what is running: others begin it anew."""
        self.drain()
        self._stop_all("handed back")

    def _stop_all(self, why: Why) -> None:
        for entry in self._running.values():
            entry.task.stop(why)

    def _works(self) -> list[asyncio.Task[None]]:
        return [entry.work for entry in self._running.values()]

    async def _meet(self) -> bool:
        """Whether it found the service, of the same store; waits for one that isn't up yet."""
        while not self._draining:
            try:
                theirs = (await self._client.executors.store_id()).value
                ours = await data_in(self._store).store_id()
                if theirs != ours:
                    raise ErrBadRequest("the run service keeps its runs in another store")
                await self._beat()
                return True
            except StorageError as exc:
                if refused(exc):
                    raise
                _log.warning("executor %s waits for its run service: %s", self.name, exc)
            await self._wait(1.0)
        return False

    # -- heartbeats ------------------------------------------------------------

    async def _beat_on(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._dead_after / 6)
            try:
                async with asyncio.timeout(self._dead_after / 4):
                    await self._beat()
            except (StorageError, TimeoutError) as exc:
                _log.warning("executor %s: a heartbeat failed: %r", self.name, exc)
                if loop.time() - self._heard > 0.7 * self._dead_after:
                    self._stop_all("lost")

    async def _beat(self) -> None:
        sent = asyncio.get_running_loop().time()
        entries = dict(self._running)
        dead_after, specs = (await self._client.executors.heartbeat(self.name)).value
        self._dead_after, self._heard = dead_after, sent
        theirs: dict[tuple[str, int], Spec] = {(spec.id, spec.claim): spec for spec in specs}
        for entry in entries.values():
            spec = theirs.get((entry.task.spec.id, entry.task.spec.claim))
            if spec is None:
                entry.task.stop("lost")
            elif spec.stop:
                entry.task.stop("cancelled")

    # -- tasks -----------------------------------------------------------------

    async def _claim_on(self) -> None:
        while not self._draining:
            self._changed.clear()
            free = self._slots - len(self._running)
            pause = self._poll * random.uniform(0.75, 1.25)
            if free > 0:
                try:
                    claimed = await self._client.executors.claim(
                        self.name, free, [id_ for id_, _ in self._running]
                    )
                    for task in claimed.value:
                        self._start(task)
                except StorageError as exc:
                    _log.warning("executor %s: a claim failed: %s", self.name, exc)
                    pause *= 4
            await self._wait(pause)

    def _start(self, task: ExecutorTask) -> None:
        running = RunningTask(self._shared, task)
        work = asyncio.ensure_future(running.run())
        which = task.spec.id, task.spec.claim
        self._running[which] = _Entry(running, work)
        work.add_done_callback(lambda done: self._ended(which, done))

    def _ended(self, which: tuple[str, int], work: asyncio.Task[None]) -> None:
        del self._running[which]
        self._changed.set()
        if not work.cancelled() and work.exception() is not None:
            _log.error("task %s broke off", which[0], exc_info=work.exception())

    async def _wait(self, seconds: float) -> None:
        """So long, or until a task ends or it is drained."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
