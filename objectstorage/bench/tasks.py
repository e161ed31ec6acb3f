"""Workers that are tasks of one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from itertools import islice
from time import perf_counter
from typing import Any, TypeVar

from objectstorage.bench.driver import Pace, Record
from objectstorage.bench.workloads import Operation

__all__ = ["TaskDriver"]

_T = TypeVar("_T")


class TaskDriver:
    """One task a worker, on an event loop that lasts from round to round.

    What is bound to that loop, connections above all, is kept between rounds.
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def __call__(
        self, operations: Callable[[int], Iterator[Operation]], pace: Pace, records: list[Record]
    ) -> None:
        """See `Driver`; the first operation of each worker starts in the same turn."""
        self.run(_all(operations, pace, records))

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """What the coroutine returns, run on the loop."""
        return self._runner.run(coroutine)

    def close(self) -> None:
        """End the loop."""
        self._runner.close()


async def _all(
    operations: Callable[[int], Iterator[Operation]], pace: Pace, records: list[Record]
) -> None:
    jobs = [operations(worker) for worker in range(pace.workers)]
    pace.begin()
    try:
        async with asyncio.TaskGroup() as group:
            for worker, job in enumerate(jobs):
                group.create_task(_work(job, pace, worker, records[worker]))
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None  # one worker's failure ended the others


async def _work(operations: Iterator[Operation], pace: Pace, worker: int, record: Record) -> None:
    """As the threads', but for the awaits."""
    clock = perf_counter
    start, end, paced = pace.start, pace.end, pace.rate is not None
    sample_due = pace.sample_due(worker)
    for n, (kind, call, args, check) in enumerate(islice(operations, pace.limit(worker))):
        began = pace.due(worker, n) if paced else clock()
        if not paced and began >= sample_due:
            held = pace.sample(start)
            start, end, sample_due = start + held, end + held, pace.sample_due(worker)
            began = clock()
        if began >= end or (paced and clock() >= end):
            return
        if paced and began > clock():
            await asyncio.sleep(began - clock())
        try:
            result = await call(*args)
            ended = clock()
            moved = check(result)
        except Exception as exc:
            record.errors[type(exc).__name__] += 1
            record.last = clock() - start
            continue
        record.add(kind, moved, began, ended, start)
    record.exhausted = True
