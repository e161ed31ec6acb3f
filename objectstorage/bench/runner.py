"""Runs cells, layers taking turns, and cleans up behind itself."""

from __future__ import annotations

import contextlib
import secrets
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from time import perf_counter, process_time

from objectstorage.bench.config import Cell, Config, environment
from objectstorage.bench.driver import Driver, Pace, Record, drive_threads
from objectstorage.bench.machine import Machine
from objectstorage.bench.memory import peak_memory, release, reset_peak, resident_memory
from objectstorage.bench.results import Report, Result
from objectstorage.bench.stats import per_second, percentiles
from objectstorage.bench.targets import Target
from objectstorage.bench.workloads import WORKLOADS, Site, Workload
from objectstorage.bench.workspace import Workspace
from objectstorage.errors import ErrUnsupported

__all__ = ["run"]

# Of one CPU: above it the client computes more than it waits.
_BUSY = 0.9
# Of the operations asked for by a rate: below it the client, or the store
# behind its concurrency, did not keep up.
_KEPT_UP = 0.95
# Of the duration: how long it may take, preparations between rounds included.
_PATIENCE = 3


def run(
    targets: Sequence[Target],
    config: Config,
    *,
    driver: Driver = drive_threads,
    report: Report | None = None,
    on_result: Callable[[Result], None] = lambda result: None,
) -> Report:
    """Measure every cell on every target, in turns (A B A B …), again and again, and clean up.

    Each target gets a fresh prefix. What was written there is deleted again,
    whatever happens, KeyboardInterrupt included; nothing else is touched.

    report: where results go, for a caller that wants those of a run cut short.
    on_result: called after each measurement.
    Errors: what the store raises if it can't be reached or written to, before
    anything is measured. An error of a single operation is counted, not raised.

    >>> from objectstorage import open_storage
    >>> from objectstorage.bench import Config, storage_target
    >>> config = Config(workloads=("put",), count=100, repeats=1, warmup=0)
    >>> report = run([storage_target(open_storage("memory://"))], config)
    >>> report.results[0].operations, report.results[0].errors
    (100, {})
    """
    if report is None:
        report = new_report(targets, config)
    with contextlib.ExitStack() as stack:
        spaces = []
        for target in targets:
            space = Workspace(target)
            space.claim()
            stack.callback(space.clean)
            spaces.append(space)
        _run_cells(spaces, config, driver, report, on_result)
    return report


def new_report(targets: Sequence[Target], config: Config) -> Report:
    """A report without results yet."""
    return Report(
        secrets.token_hex(8),
        config.as_dict(),
        environment(),
        {target.layer: target.url for target in targets},
    )


def _run_cells(
    spaces: Sequence[Workspace],
    config: Config,
    driver: Driver,
    report: Report,
    on_result: Callable[[Result], None],
) -> None:
    """Every cell once, then every cell again: so the repeats are spread over the run.

    What slows the machine for a while then hits one repeat of many cells, and
    shows in their intervals, instead of all repeats of one. Each repeat begins
    with another layer: what the cell before left behind hits all of them.
    """

    def note(result: Result) -> None:
        report.results.append(result)
        on_result(result)

    jobs: dict[Cell, list[Workload]] = {}
    for repeat in range(config.repeats):
        for cell in config.cells():
            if cell not in jobs:
                jobs[cell] = []
                for space in spaces:
                    job = _prepared(cell, space, config)
                    if isinstance(job, Result):
                        note(job)
                    else:
                        jobs[cell].append(job)
            turn = repeat % len(jobs[cell]) if jobs[cell] else 0
            for job in (*jobs[cell][turn:], *jobs[cell][:turn]):
                if config.warmup:
                    _rounds(job, config, driver, seconds=config.warmup, count=None)
                result = _measure(job, cell, repeat, config, driver)
                job.verify()
                note(result)


def _prepared(cell: Cell, space: Workspace, config: Config) -> Workload | Result:
    """The cell's work, ready to begin, or the result that says why there is none."""
    name = f"{cell.workload}-{cell.size}-{cell.concurrency}"
    site = Site(space.target, space, name, cell.size, cell.concurrency, config.objects, config.seed)
    try:
        job = WORKLOADS[cell.workload](site)
        job.prepare()
    except ErrUnsupported as exc:
        return Result(layer=space.target.layer, **cell._asdict(), repeat=0, skipped=exc.message)
    return job


class _Tally:
    """What the rounds of one measurement add up to."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cpu = 0.0
        self.bytes = self.items = 0
        self.latencies: dict[str, array[float]] = {}
        self.ends = array("d")
        self.first_bytes = array("d")
        self.errors: Counter[str] = Counter()
        self.peak: int | None = None

    @property
    def attempts(self) -> int:
        return len(self.ends) + self.errors.total()

    def add(self, records: Sequence[Record], seconds: float, cpu: float, peak: int | None) -> None:
        for record in records:
            for kind, samples in record.latencies.items():
                self.latencies.setdefault(kind, array("d")).extend(samples)
            self.ends.extend(self.seconds + end for end in record.ends)
            self.first_bytes.extend(record.first_bytes)
            self.errors.update(record.errors)
            self.bytes += record.bytes
            self.items += record.items
        self.seconds += seconds
        self.cpu += cpu
        if peak is not None:
            self.peak = max(self.peak or 0, peak)


def _rounds(
    job: Workload,
    config: Config,
    driver: Driver,
    *,
    seconds: float,
    count: int | None,
    machine: Machine | None = None,
) -> _Tally:
    """Rounds until the seconds, or the operations, are used up."""
    tally = _Tally()
    workers = job.site.concurrency
    begun = perf_counter()
    while tally.seconds < seconds if count is None else tally.attempts < count:
        job.begin()
        records = [Record() for _ in range(workers)]
        pace = Pace(
            workers,
            seconds=seconds - tally.seconds if count is None else None,
            count=None if count is None else count - tally.attempts,
            rate=config.rate,
            machine=machine,
        )
        if machine is not None:
            machine.begin_round(tally.seconds, tally.cpu)
        known = reset_peak()
        resident, before = resident_memory(), tally.attempts
        (job.target.driver or driver)(job.operations, pace, records)
        cpu = process_time() - pace.cpu
        peak = peak_memory() - resident - sum(record.memory for record in records)
        # a round ends with its last operation, not with the join behind it
        ended = max(record.last for record in records)
        tally.add(records, ended, cpu, max(peak, 0) if known else None)
        if tally.attempts == before or not any(record.ends for record in records):
            break  # nothing, or nothing but errors: another round would bring no more
        if count is None and perf_counter() - begun > _PATIENCE * seconds:
            break  # what has to be set up takes far longer than what is measured
    return tally


def _measure(job: Workload, cell: Cell, repeat: int, config: Config, driver: Driver) -> Result:
    release()
    retries = job.retries
    machine = Machine(alone=cell.concurrency == 1)
    tally = _rounds(
        job, config, driver, seconds=config.duration, count=config.count, machine=machine
    )
    after = job.retries
    parts = machine.parts(tally.ends, tally.seconds, tally.cpu)
    tally.cpu = max(0.0, round(tally.cpu - machine.cpu, 9))
    every: array[float] = array("d")
    for samples in tally.latencies.values():
        every.extend(samples)
    latency = {"all": percentiles(every)} if every else {}
    if len(tally.latencies) > 1:
        latency |= {kind: percentiles(samples) for kind, samples in tally.latencies.items()}
    behind = config.rate is not None and len(every) < _KEPT_UP * config.rate * tally.seconds
    return Result(
        layer=job.target.layer,
        **cell._asdict(),
        repeat=repeat,
        operations=len(every),
        items=tally.items,
        bytes=tally.bytes,
        seconds=tally.seconds,
        latency=latency,
        first_byte=percentiles(tally.first_bytes),
        per_second=per_second(tally.ends, tally.seconds),
        cpu_seconds=tally.cpu,
        peak_memory=tally.peak,
        errors=dict(tally.errors),
        retries=None if retries is None or after is None else after - retries,
        parts=[list(part) for part in parts],
        client_bound=behind or tally.cpu > _BUSY * tally.seconds > 0,
    )
