"""How fast the machine itself is while it measures.

A virtual machine is slowed by its neighbours for seconds at a time, a laptop by
its heat. So a fixed piece of work is timed now and then between two operations:
what was measured between two such looks is known to belong to that speed of the
machine, and two runs can be compared as if it had been the same (`adjusted`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from time import get_clock_info, perf_counter, process_time, thread_time
from typing import NamedTuple

__all__ = ["Machine", "Part"]

_WORK = 500
# Seconds between samples. Several workers wait for one, as they share an event loop or a lock:
# so rarely that it is no percentile's affair up to p99.
_EVERY_ALONE = 0.025
_EVERY = 0.25
# Seconds: of a clock that ticks more rarely the samples are too short.
_COARSE = 1e-5
_NANO = 1e-9


def _reference_work() -> None:
    """Some hundred microseconds of what a client does: strings, bytes, a dict, calls.

    A bare loop would not do: what slows a machine slows memory more than arithmetic.
    """
    known: dict[str, bytes] = {}
    for n in range(_WORK):
        key = f"folder-{n & 255}/{n}"
        known[key] = key.encode()
        if key.split("/")[-1] and n & 1:
            del known[key]


class Part(NamedTuple):
    """What was done between two looks at the machine; times are in seconds.

    reference: what the reference work took, the mean of before and after.
    operations: that succeeded; what failed took its time, too.
    """

    reference: float
    seconds: float
    operations: int
    cpu_seconds: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Part:
        """From its line of four numbers; `ValueError` for others."""
        reference, seconds, operations, cpu_seconds = numbers
        if not (reference and seconds and operations == int(operations)):
            raise ValueError("it took no time, or had parts of operations")
        return cls(reference, seconds, int(operations), cpu_seconds)


class _Sample(NamedTuple):
    began: float
    ended: float
    cpu_began: float
    cpu_ended: float
    took: float


class Machine:
    """Samples of the machine's speed, on the clock of one measurement.

    That clock counts what is measured, not what is prepared between rounds. One
    worker samples, between two of its operations. Time stands still for it if it
    is `alone`; others go on meanwhile.
    """

    def __init__(self, *, alone: bool) -> None:
        self.alone = alone
        self._base = self._base_cpu = 0.0
        coarse = get_clock_info("thread_time").resolution > _COARSE
        self.due = float("inf") if coarse else 0.0
        """When the next sample is, by `perf_counter`."""
        self._samples: list[_Sample] = []
        _reference_work()  # the first one is not like the others

    def begin_round(self, base: float, base_cpu: float) -> None:
        """A round starts, at that time and CPU time of the measurement.

        The round before ended with its last operation: a sample after that was
        taken at its end, or it would seem to come after some of this round.
        """
        self._base, self._base_cpu = base, base_cpu
        if self._samples:
            last = self._samples[-1]
            self._samples[-1] = last._replace(
                began=min(last.began, base), ended=min(last.ended, base)
            )

    def sample(self, start: float, start_cpu: float) -> float:
        """Take one, in a round that started then; how long time stood still for it."""
        cpu_began, began = process_time(), perf_counter()
        took = _timed()
        ended, cpu_ended = perf_counter(), process_time()
        held = ended - began if self.alone else 0.0
        at, cpu_at = self._base - start, self._base_cpu - start_cpu
        self._samples.append(
            _Sample(at + began, at + ended - held, cpu_at + cpu_began, cpu_at + cpu_ended, took)
        )
        self.due = ended + (_EVERY_ALONE if self.alone else _EVERY)
        return held

    @property
    def cpu(self) -> float:
        """The CPU seconds that the samples took."""
        return sum(sample.took for sample in self._samples)

    def parts(self, ends: Iterable[float], seconds: float, cpu_seconds: float) -> list[Part]:
        """What was done between the samples, and a last one at the end of it all.

        ends: when each operation ended, in any order.
        seconds, cpu_seconds: what it all took, the samples included.
        """
        if not self._samples:
            return []  # operations at a rate: they are not held up
        ordered, found = sorted(ends), []
        last = _Sample(seconds, seconds, cpu_seconds, cpu_seconds, _timed())
        for one, two in pairwise([*self._samples, last]):
            operations = bisect_right(ordered, two.began) - bisect_right(ordered, one.ended)
            took, time = (one.took + two.took) / 2, two.began - one.ended
            if took > _NANO < time:
                cpu = max(0.0, two.cpu_began - one.cpu_ended)
                found.append(Part(round(took, 9), round(time, 9), operations, round(cpu, 9)))
        return found


def _timed() -> float:
    """The CPU time of the reference work: other threads may run meanwhile."""
    before = thread_time()
    _reference_work()
    return thread_time() - before
