"""What a run service does by itself: tasks of dead executors, and what is superfluous."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from objectstorage._segments import escape, unescape
from objectstorage.aio.storage import AsyncStorage
from objectstorage.caches.aio import AsyncCacheStore
from objectstorage.client.tasks import SETUP, ExecutorTask, Spec
from objectstorage.datamanager.aio import AsyncDataManager
from objectstorage.errors import ErrNotExist
from objectstorage.logs.aio import finish
from objectstorage.services.runservice import tables
from objectstorage.services.runservice.state import State
from objectstorage.services.runservice.transitions import lost

__all__ = ["Executors", "every", "tidy"]

_log = logging.getLogger("objectstorage.services")
_FORGET = 20


class Executors:
    """Who lives: an object an executor, put again at each heartbeat, dated by the store.

    Heartbeats are no transactions, and cost the commit log nothing.
    """

    def __init__(
        self, store: AsyncStorage, logs: AsyncStorage, state: State, dead_after: float
    ) -> None:
        self._store = store
        self._logs = logs
        self._state = state
        self.dead_after = dead_after

    async def beat(self, executor: str) -> None:
        """It lives."""
        await self._store.put(escape(executor, "executor"), b"", durable=False)

    async def reap(self) -> int:
        """Take their tasks from the executors that died; how many. Any service may, at any time."""
        # In this order: whoever has a task by then had sent a heartbeat before.
        running = await self._state.read(tables.running)
        alive = await self._alive(set(running))
        count = 0
        for executor, specs in running.items():
            if executor not in alive:
                _log.warning("executor %s is dead; it had %d tasks", executor, len(specs))
                for spec in specs:
                    await self._take(spec)
                    count += 1
        return count

    async def _alive(self, busy: set[str]) -> set[str]:
        now = await self._store.clock()
        alive = set()
        async for info in self._store.list():
            age = now - info.last_modified
            executor = unescape(info.key)
            if age <= timedelta(seconds=self.dead_after):
                alive.add(executor)
            elif age > timedelta(seconds=_FORGET * self.dead_after) and executor not in busy:
                await self._store.delete(info.key)
        return alive

    async def _take(self, spec: Spec) -> None:
        # The logs first. Who is alive after all closes them before it reports success, and
        # can't any more: what it reported before has whole logs, and stands.
        step = 0
        try:
            while True:
                await finish(self._logs, spec.log(step or SETUP), "executor lost")
                step += 1
        except ErrNotExist:
            pass
        now = await self._store.clock()
        await self._state.change(spec.id, lambda task: _lost(task, spec, now))


def _lost(task: ExecutorTask, spec: Spec, now: datetime) -> ExecutorTask:
    if task.status.final or (task.spec.executor, task.spec.claim) != (spec.executor, spec.claim):
        return task
    return lost(task, now)


async def tidy(data: AsyncDataManager, caches: AsyncCacheStore, unused_for: timedelta) -> None:
    """Delete what nobody needs: the log that checkpoints hold, orphans, caches long unused."""
    await data.collect()
    await data.sweep()
    await caches.clean(unused_for=unused_for)


async def every(seconds: float, do: Callable[[], Awaitable[object]]) -> None:
    """Do it again and again, for the first time after so long, until cancelled."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await do()
        except Exception:  # whatever it is, the tasks of the next to die are not to wait for ever
            _log.warning("upkeep failed; it is tried again", exc_info=True)
