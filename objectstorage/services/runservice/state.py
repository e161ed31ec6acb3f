"""Runs and tasks in the data manager: read by the index, changed by commits."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple, TypeVar

from objectstorage.client.tasks import PENDING, ExecutorTask, Run, Spec
from objectstorage.datamanager import Delete, Put
from objectstorage.datamanager.aio import AsyncDataManager
from objectstorage.datamanager.db import Transaction
from objectstorage.datamanager.index import AsyncReadIndex
from objectstorage.errors import ErrCompacted, ErrConcurrency, ErrNotExist, ErrUnsupported
from objectstorage.services.runservice import tables
from objectstorage.services.runservice.transitions import claimed

__all__ = ["State"]

_T = TypeVar("_T")
_TRIES = 6
_FORMAT = ("service", "format")


class _Own(NamedTuple):
    """A task as this process committed it, at `seq`; None while that is under way."""

    seq: int | None
    task: ExecutorTask


class State:
    """What is known of runs and tasks, and the commits that change it.

    Every commit has the tasks that it changes as its change groups, and the
    sequence they were read at as its token: of two that change a task, one
    gets `ErrConcurrency` and looks again. Reads are of the index, brought up
    to the newest commit first, by one look at the store for all who wait.
    """

    def __init__(self, data: AsyncDataManager, index: AsyncReadIndex) -> None:
        self._data = data
        self._index = index
        self._choosing = asyncio.Lock()
        # What the index may not have yet: so the store needn't be asked for our own commits.
        self._own: dict[str, _Own] = {}

    async def prepare(self) -> str:
        """Check that the state is of a known format, begin it if there is none; the store's id."""
        try:
            head = await self._data.head()
            found = json.loads((await self._data.read(*_FORMAT)).data)
            if found["format"] != 1:
                raise ErrUnsupported(f"runs of format {found['format']!r}; 1 is known")
        except ErrNotExist:
            begin = Put(*_FORMAT, json.dumps({"format": 1}).encode())
            try:
                await self._data.write([begin], groups=["service"], token=head)
            except ErrConcurrency:
                pass  # by another service, just now
        id_ = await self._data.store_id()
        assert id_ is not None  # there was a commit
        return id_

    async def read(self, fn: Callable[[Transaction], _T]) -> _T:
        """What `fn` finds in the tables, as of now."""
        await self._index.catch_up()
        return await self._index.do(fn)

    async def start(
        self, id_: str, name: str, project: str, created: datetime, tasks: Sequence[str]
    ) -> Run:
        """Commit a new run with its tasks."""
        fields = {"id": id_, "name": name, "project": project, "created": created.isoformat()}
        run = Put(tables.RUN, id_, json.dumps(fields).encode())
        puts = [_put(ExecutorTask(Spec(id_, task))) for task in tasks]
        await self._data.write([run, *puts], groups=[f"run/{id_}"])
        return Run(id_, name, project, created, {PENDING: len(puts)})

    async def delete(self, id_: str) -> None:
        """Commit that a finished run and its tasks are no more."""
        tasks = await self.read(partial(tables.task_ids, run=id_))
        gone = [Delete(tables.TASK, task) for task in tasks]
        groups = [f"run/{id_}", *(f"task/{task}" for task in tasks)]
        await self._data.write([Delete(tables.RUN, id_), *gone], groups=groups)

    async def claim(self, executor: str, most: int, holding: Collection[str]) -> list[ExecutorTask]:
        """Claim at most `most` tasks; before new ones those that it has and doesn't know of."""
        mine = await self.read(partial(tables.running_of, executor=executor))
        given = [task for task in mine if task.spec.id not in holding][:most]
        for attempt in range(_TRIES):
            chosen, token = await self._choose(executor, most - len(given), attempt)
            if not chosen:
                break
            try:
                await self._commit(chosen, token)
                return given + chosen
            except ErrConcurrency:
                await self._index.catch_up()  # another service was faster
        return given

    async def _choose(
        self, executor: str, most: int, attempt: int
    ) -> tuple[list[ExecutorTask], int]:
        """The oldest tasks; where others were faster before, some of a few more."""
        window = most * 4**attempt
        async with self._choosing:
            # a commit that ends meanwhile must not make its tasks look free
            taken = set(self._own)
            found, seq = await self._index.do(
                lambda tx: (tables.pending(tx, window, taken), self._index.seq(tx))
            )
            self._forget(seq)
            if len(found) > most:
                found = random.sample(found, most)
            chosen = [claimed(task, executor) for task in found]
            self._own |= {task.spec.id: _Own(None, task) for task in chosen}
            return chosen, seq

    async def change(
        self, id_: str, change: Callable[[ExecutorTask], ExecutorTask]
    ) -> ExecutorTask:
        """Commit what `change` makes of a task; nothing, if that is the same.

        `ErrNotExist`, or what `change` raises of the task as it is now.
        """
        fresh = False
        while True:
            if fresh:
                await self._index.catch_up()
            task, token = await self._task(id_)
            try:
                if task is None:
                    raise ErrNotExist("task doesn't exist", details={"task": id_})
                changed = change(task)
            except (ErrNotExist, ErrConcurrency):
                if fresh:
                    raise
                fresh = True
                continue
            if changed == task:
                return task
            try:
                await self._commit([changed], token)
            except (ErrConcurrency, ErrCompacted):
                fresh = True
            else:
                return changed

    async def _task(self, id_: str) -> tuple[ExecutorTask | None, int]:
        """A task as it was at some sequence, without asking the store."""
        task, seq = await self._index.do(lambda tx: (tables.task_of(tx, id_), self._index.seq(tx)))
        own = self._own.get(id_)
        if own is not None and own.seq is not None and own.seq > seq:
            # nobody else changed it in between: our commit would not stand
            return own.task, own.seq
        self._forget(seq)
        return task, seq

    async def _commit(self, tasks: Sequence[ExecutorTask], token: int) -> None:
        groups = [f"task/{task.spec.id}" for task in tasks]
        try:
            commit = await self._data.write(map(_put, tasks), groups=groups, token=token)
        except BaseException:
            for task in tasks:
                own = self._own.get(task.spec.id)
                if own is not None and own.seq is None:
                    del self._own[task.spec.id]
            raise
        self._own |= {task.spec.id: _Own(commit.seq, task) for task in tasks}

    def _forget(self, seq: int) -> None:
        """What the index has by now."""
        for id_, own in list(self._own.items()):
            if own.seq is not None and own.seq <= seq:
                del self._own[id_]


def _put(task: ExecutorTask) -> Put:
    """A task as it is stored: spec and status, never the spec data."""
    data = json.dumps(task._replace(spec_data=None).fields(), separators=(",", ":"))
    return Put(tables.TASK, task.spec.id, data.encode())
