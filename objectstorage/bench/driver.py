"""Running workers side by side, and what they record.

A driver runs every worker's loop at once and waits for all of them. Threads
are one; `objectstorage.bench.tasks` has the other.
"""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from time import perf_counter, process_time
from typing import Protocol

from objectstorage.bench.machine import Machine
from objectstorage.bench.workloads import Moved, Operation

__all__ = ["Driver", "Pace", "Record", "drive_threads"]


class Record:
    """What one worker saw: raw samples, in seconds."""

    def __init__(self) -> None:
        self.latencies: dict[str, array[float]] = {}
        self.ends = array("d")
        self.first_bytes = array("d")
        self.errors: Counter[str] = Counter()
        self.bytes = 0
        self.items = 0
        self.exhausted = False
        self.last = 0.0
        """When the last operation ended, whether or not it failed."""

    def add(self, kind: str, moved: Moved, began: float, ended: float, start: float) -> None:
        """An operation of a round that started at `start`."""
        if kind not in self.latencies:
            self.latencies[kind] = array("d")
        self.latencies[kind].append(ended - began)
        self.last = ended - start
        self.ends.append(self.last)
        self.bytes += moved.bytes
        self.items += moved.items
        if moved.first_byte is not None:
            self.first_bytes.append(moved.first_byte - began)

    @property
    def memory(self) -> int:
        """Bytes that the samples take."""
        arrays = [*self.latencies.values(), self.ends, self.first_bytes]
        return sum(len(samples) * samples.itemsize for samples in arrays)


class Pace:
    """When a round starts and ends, and when each operation is due.

    seconds: how long; None for no end but `count`'s.
    count: operations in all, dealt out to the workers; None for no limit.
    rate: operations a second in all; None for one after the other.
    machine: its speed is sampled between operations that are not paced.
    """

    def __init__(
        self,
        workers: int,
        *,
        seconds: float | None,
        count: int | None,
        rate: float | None,
        machine: Machine | None = None,
    ) -> None:
        self.workers = workers
        self.rate = rate
        self._machine = machine
        self.seconds = float("inf") if seconds is None else seconds
        self._count = count
        self.start = self.end = self.cpu = 0.0
        self.stop = threading.Event()
        self._barrier = threading.Barrier(workers, action=self.begin)

    def begin(self) -> None:
        """The round starts now; for workers that don't `wait`."""
        self.cpu = process_time()  # what the workers set up before is not counted
        self.start = perf_counter()
        self.end = self.start + self.seconds

    def wait(self) -> None:
        """Until every worker is there."""
        self._barrier.wait()

    def abort(self) -> None:
        """Let every worker end after its current operation."""
        self.stop.set()
        self._barrier.abort()

    def limit(self, worker: int) -> int | None:
        """How many operations a worker does at most."""
        if self._count is None:
            return None
        return len(range(worker, self._count, self.workers))

    def sample_due(self, worker: int) -> float:
        """When a worker is to `sample`; one of them does."""
        return self._machine.due if self._machine is not None and not worker else float("inf")

    def sample(self, start: float) -> float:
        """Look how fast the machine is; how long the round's time stood still meanwhile."""
        assert self._machine is not None
        return self._machine.sample(start, self.cpu)

    def due(self, worker: int, n: int) -> float:
        """When a worker's nth operation starts; the workers take turns."""
        assert self.rate is not None
        return self.start + (n * self.workers + worker) / self.rate


class Driver(Protocol):
    """Runs every worker of a round, and returns when all have ended.

    After an exception, KeyboardInterrupt included, no worker is running either.
    """

    def __call__(
        self, operations: Callable[[int], Iterator[Operation]], pace: Pace, records: list[Record]
    ) -> None:
        """Worker n runs `operations(n)` at that pace and fills `records[n]`."""


def drive_threads(
    operations: Callable[[int], Iterator[Operation]], pace: Pace, records: list[Record]
) -> None:
    """One thread a worker; what a worker's own code raises is raised here."""
    failures: list[BaseException] = []

    def main(worker: int) -> None:
        try:
            _work(operations(worker), pace, worker, records[worker])
        except threading.BrokenBarrierError:
            pass  # another worker failed, or the run was interrupted
        except BaseException as exc:
            failures.append(exc)
            pace.abort()

    threads = [
        threading.Thread(target=main, args=(worker,), name=f"bench-{worker}", daemon=True)
        for worker in range(pace.workers)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        pace.abort()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        raise
    if failures:
        raise failures[0]


def _work(operations: Iterator[Operation], pace: Pace, worker: int, record: Record) -> None:
    clock, stop = perf_counter, pace.stop
    limit = pace.limit(worker)
    pace.wait()
    start, end, paced = pace.start, pace.end, pace.rate is not None
    sample_due = pace.sample_due(worker)
    for n, (kind, call, args, check) in enumerate(islice(operations, limit)):
        if paced:
            due = pace.due(worker, n)
            if due >= end or (due > clock() and stop.wait(due - clock())):
                return
            began = due
        else:
            began = clock()
            if began >= sample_due:
                held = pace.sample(start)
                start, end, sample_due = start + held, end + held, pace.sample_due(worker)
                began = clock()
        # behind its rate, a round does not go on after its end until it has caught up
        if began >= end or (paced and clock() >= end) or stop.is_set():
            return
        try:
            result = call(*args)
            ended = clock()
            moved = check(result)
        except Exception as exc:
            record.errors[type(exc).__name__] += 1
            record.last = clock() - start
            continue
        record.add(kind, moved, began, ended, start)
    record.exhausted = True
