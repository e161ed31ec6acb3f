"""The run service, without HTTP."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

from objectstorage._segments import escape
from objectstorage.aio.storage import AsyncStorage
from objectstorage.client.tasks import ExecutorTask, Heartbeat, Run, Status
from objectstorage.datamanager.index import AsyncReadIndex
from objectstorage.errors import ErrBadRequest, ErrConflict, ErrInvalidKey, ErrNotExist
from objectstorage.logs.aio import AsyncLogHub, delete
from objectstorage.logs.layout import manifest_key
from objectstorage.services.places import (
    caches_in,
    configurations_in,
    data_in,
    executors_in,
    logs_in,
)
from objectstorage.services.runservice import tables, transitions
from objectstorage.services.runservice.configuration import checked
from objectstorage.services.runservice.configurations import Configurations
from objectstorage.services.runservice.state import State
from objectstorage.services.runservice.upkeep import Executors, every, tidy

__all__ = ["RunService"]

MOST_CLAIMED = 100
# Bytes of spec data in one reply; a task more than that goes alone.
_MOST_SPEC_DATA = 8 * 1024 * 1024
_UPKEEP = 3600.0


class RunService:
    """Keeps runs and their tasks in `store`; any number of services may, of one store.

    index: where the SQLite file of the read index lies; made if need be, a
        service's own or shared by those of one machine.
    dead_after: seconds without a heartbeat, by the store's clock, after which
        an executor's tasks are given to others.
    caches_unused_for: caches that nobody restored for so long are deleted.

    To be entered; the store is not closed with it.
    """

    def __init__(
        self,
        store: AsyncStorage,
        index: str | os.PathLike[str],
        *,
        dead_after: float = 30.0,
        caches_unused_for: timedelta = timedelta(days=30),
    ) -> None:
        if not dead_after > 0:
            raise ErrBadRequest("dead_after is more than 0 seconds")
        self.hub = AsyncLogHub(logs_in(store))
        self.caches = caches_in(store)
        self.store_id = ""
        """The id of the data; known once entered."""
        self._store = store
        self._data = data_in(store)
        self._index = AsyncReadIndex(self._data, index, tables.TABLES, tables.apply)
        self._state = State(self._data, self._index)
        self._configurations = Configurations(configurations_in(store))
        self._executors = Executors(executors_in(store), self.hub.store, self._state, dead_after)
        self._unused_for = caches_unused_for
        self._loops: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.store_id = await self._state.prepare()
        # The first time only after `dead_after`: when all services were down, nobody was
        # heard of, and nobody is dead for that.
        loops = (
            every(self._executors.dead_after / 4, self._reap_when_due),
            every(_UPKEEP, partial(tidy, self._data, self.caches, self._unused_for)),
        )
        loop = asyncio.get_running_loop()
        self._spare()
        self._loops = [loop.create_task(coroutine) for coroutine in loops]
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self.hub.close()
        await self._index.close()

    async def _reap_when_due(self) -> None:
        if asyncio.get_running_loop().time() >= self._reap_from:
            try:
                await self._executors.reap()
            except BaseException:
                self._spare()  # while the store was away nobody was heard of, either
                raise

    def _spare(self) -> None:
        """Nobody is taken for dead before he has had the time to be heard of."""
        self._reap_from = asyncio.get_running_loop().time() + self._executors.dead_after

    # -- for people ------------------------------------------------------------

    async def start(self, configuration: Any) -> Run:
        """Start a run of a configuration in JSON; `ErrBadRequest` if it is none."""
        found = checked(configuration)
        created = await self._store.clock()
        id_ = _new_id(created)
        # First: a run that is there can be run.
        await self._configurations.put(id_, found)
        return await self._state.start(id_, found.name, found.project, created, found.tasks)

    async def run(self, id_: str) -> Run:
        """A run; `ErrNotExist`."""
        run = await self._state.read(partial(tables.run_of, id_=id_))
        if run is None:
            raise ErrNotExist("run doesn't exist", details={"run": id_})
        return run

    async def runs(self, project: str | None, before: str | None, limit: int) -> tables.Rows:
        """Runs, of a project or all, the newest first, those after `before`."""
        read = partial(tables.runs_page, project=project, before=before, limit=limit)
        return await self._state.read(read)

    async def cancel(self, id_: str) -> Run:
        """Cancel what of a run is not finished; `ErrNotExist`."""
        await self.run(id_)
        unfinished = await self._state.read(partial(tables.unfinished, run=id_))
        changes = [self._state.change(one.spec.id, transitions.cancelled) for one in unfinished]
        await asyncio.gather(*changes)
        return await self.run(id_)

    async def delete(self, id_: str) -> None:
        """Delete a run with its logs; `ErrNotExist`, `ErrConflict` if it isn't finished."""
        await self.run(id_)
        if await self._state.read(partial(tables.unfinished, run=id_)):
            raise ErrConflict("run isn't finished", details={"run": id_})
        # The run last: interrupted, it can be deleted again.
        logs, end = self.hub.store, "/" + manifest_key("")
        async for info in logs.list(f"{id_}/"):
            if info.key.endswith(end):
                await delete(logs, info.key.removesuffix(end))
        await self._configurations.delete(id_)
        await self._state.delete(id_)

    async def task(self, run: str, task: str) -> ExecutorTask:
        """A task; `ErrNotExist`."""
        id_ = f"{run}/{task}"
        found = await self._state.read(partial(tables.task_of, id_=id_))
        if found is None:
            raise ErrNotExist("task doesn't exist", details={"task": id_})
        return found

    async def tasks(self, run: str, after: str, limit: int) -> tables.Rows:
        """A run's tasks after the one of that name; `ErrNotExist` if there is no such run."""
        await self.run(run)
        return await self._state.read(partial(tables.tasks_page, run=run, after=after, limit=limit))

    # -- for executors ---------------------------------------------------------

    async def heartbeat(self, executor: str) -> Heartbeat:
        """An executor lives; what it has to run."""
        _check_executor(executor)
        await self._executors.beat(executor)
        tasks = await self._state.read(partial(tables.running_of, executor=executor))
        return Heartbeat(self._executors.dead_after, tuple(task.spec for task in tasks))

    async def claim(self, executor: str, most: int, holding: Collection[str]) -> list[ExecutorTask]:
        """Tasks for an executor, with their spec data."""
        _check_executor(executor)
        if not 1 <= most <= MOST_CLAIMED:
            raise ErrBadRequest(f"most is 1 to {MOST_CLAIMED}", details={"field": "most"})
        tasks: list[ExecutorTask] = []
        size = 0
        for task in await self._state.claim(executor, most, holding):
            data = await self._spec_data(task)
            size += len(json.dumps(data))
            if tasks and size > _MOST_SPEC_DATA:
                break  # it holds none of the others, so the next claim gives them
            tasks.append(task._replace(spec_data=data))
        return tasks

    async def report(self, executor: str, task: str, claim: int, status: Status) -> ExecutorTask:
        """Take a status from the executor of a claim; `ErrConcurrency` if that is stale."""
        change = partial(transitions.reported, executor=executor, claim=claim, status=status)
        return await self._state.change(task, change)

    async def hand_back(self, executor: str, task: str, claim: int) -> ExecutorTask:
        """Take a task back from the executor of a claim; `ErrConcurrency` if that is stale."""
        change = partial(transitions.handed_back, executor=executor, claim=claim)
        return await self._state.change(task, change)

    async def _spec_data(self, task: ExecutorTask) -> Any:
        configuration = await self._configurations.get(task.spec.run)
        return configuration.spec_data(task.spec)


def _new_id(created: datetime) -> str:
    """Unique, and in the order of time."""
    return f"{int(created.timestamp() * 1000):012x}{os.urandom(4).hex()}"


def _check_executor(executor: str) -> None:
    try:
        escape(executor, "executor")
    except ErrInvalidKey as exc:
        raise ErrBadRequest(exc.message, details={"field": "executor"}) from exc
