"""What is measured, part by part: importing, a local directory, an S3 server."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from time import perf_counter
from typing import Any

from benchmarks.peers import posix, s3, s3_tasks
from benchmarks.peers.goals import OURS, POSIX, S3, S3_TASKS, Goal, judge, row
from benchmarks.peers.memory import peak
from benchmarks.peers.tables import Part, Table
from objectstorage import open_storage
from objectstorage.bench import Config, Report, Target, run
from objectstorage.bench.report import notes
from objectstorage.bench.text import seconds_text, size_text
from objectstorage.testing.servers import S3Server, moto

__all__ = ["imports", "local", "server"]

_MIB = 1 << 20
_IMPORT_LIMIT = 0.040
_PAGE = 1000
_IN_FLIGHT = 32

_CHECKED = (
    "Over HTTP without TLS a put's body is protected differently: objectstorage sends its CRC-32, "
    "obstore and minio sign its SHA-256, boto3 and s3fs do both, opendal does neither."
)
"""What a put's time pays for, as seen in the requests."""

Save = Callable[[str, Report], None]
"""Keeps a report's lines, by a name."""


def imports(quick: bool) -> Part:
    """How long `import objectstorage` takes, beyond an interpreter that does nothing.

    As installed: compiled before.
    """
    codes = ("pass", "import objectstorage")
    wall: dict[str, list[float]] = {code: [] for code in codes}
    cpu: dict[str, list[float]] = {code: [] for code in codes}
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for number in range(-1, 15 if quick else 31):
            for code in codes:
                begun, used = perf_counter(), _children_cpu()
                subprocess.run([sys.executable, "-c", code], check=True, env=environment)
                if number >= 0:
                    wall[code].append(perf_counter() - begun)
                    cpu[code].append(_children_cpu() - used)
    rows, passed = [], True
    for name, times in (("wall", wall), ("cpu", cpu)):
        bare, ours = (statistics.median(times[code]) for code in codes)
        reached = ours - bare < _IMPORT_LIMIT
        texts = [f"{seconds_text(ours - bare)} more", seconds_text(bare)]
        rows.append(
            ["import objectstorage", name, *texts, seconds_text(_IMPORT_LIMIT), _word(reached)]
        )
        passed &= reached
    columns = ["import", "by", "objectstorage", "python -c pass", "below", "target"]
    return Part("import", [Table(columns, rows, passed)])


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def local(root: str, quick: bool, save: Save) -> Part:
    """A local directory, beside bare calls and the peers."""
    layers = list(posix.TARGETS)
    # many: what a disk writes back of one falls into the time of another
    small, large = _small(quick), replace(_large(quick, 256 * _MIB), repeats=7 if quick else 21)
    groups = {
        "plain": _run(
            lambda name: posix.make(name, root),
            layers,
            replace(small, workloads=("get", "stat", "range", "list", "put")),
        ),
        "durable": _run(
            lambda name: posix.make(name, root, durable=True),
            [OURS, "os"],
            # counted: a median takes twenty at least, however slow the disk is
            replace(small, workloads=("put",), count=50 if quick else 200),
        ),
        "large": _run(lambda name: posix.make(name, root), layers, large),
    }
    for name, report in groups.items():
        save(f"posix-{name}", report)
    tables = [
        _table("posix", POSIX, layers, groups),
        _memory(posix.make, root, layers, 256 * _MIB, 32 * _MIB),
        _last_page(os.path.join(root, "million"), 100 if quick else 1000),
    ]
    return Part("posix", tables, [_machine(groups.values()), *_failures(groups)])


def server(at: S3Server, quick: bool, save: Save) -> Part:
    """A local S3 server, blocking and by asyncio, beside the peers."""
    # creates the bucket that the peers expect
    with at.open() as store:
        store.put("probe", b"")
        store.delete("probe")
    verbs = ("get", "put", "stat", "delete")
    layers, small = list(s3.TARGETS), _small(quick)
    groups = {
        "plain": _run(
            lambda name: s3.make(name, at),
            layers,
            replace(small, workloads=(*verbs, "list"), objects=500),
        ),
        "large": _run(
            lambda name: s3.make(name, at), layers, _large(quick, (64 if quick else 256) * _MIB)
        ),
    }
    for name, report in groups.items():
        save(f"s3-{name}", report)
    with moto() as flat:
        groups["flat"] = _run(
            lambda name: s3.make(name, flat),
            layers,
            replace(small, workloads=("list",), objects=500),
        )
    save("s3-flat", groups["flat"])
    faces = [OURS, *s3_tasks.TARGETS]
    tasks = replace(small, workloads=verbs, objects=500, concurrency=(_IN_FLIGHT,))
    flying = {"plain": _run(lambda name: s3_tasks.make(name, at), faces, tasks)}
    save("s3-asyncio", flying["plain"])
    tables = [
        _table("s3", S3, layers, groups),
        _table(f"s3, asyncio, {_IN_FLIGHT} in flight", S3_TASKS, faces, flying),
        _memory(s3.make, at, layers, 256 * _MIB, 64 * _MIB),
    ]
    machine = _machine([*groups.values(), *flying.values()])
    return Part("s3", tables, [machine, _CHECKED, *_failures(groups), *_failures(flying)])


def _small(quick: bool) -> Config:
    return Config(
        sizes=(1024,),
        duration=0.25 if quick else 0.5,
        warmup=0.05 if quick else 0.1,
        repeats=3 if quick else 7,
    )


def _large(quick: bool, size: int) -> Config:
    return Config(
        workloads=("multipart-put", "multipart-get"),
        sizes=(size,),
        count=1,
        warmup=0,
        repeats=3 if quick else 7,
        objects=1,
    )


def _run(make: Callable[[str], Target], layers: Sequence[str], config: Config) -> Report:
    targets = [make(layer) for layer in layers]
    try:
        return run(
            targets,
            config,
            on_result=lambda _: print(".", end="", file=sys.stderr, flush=True),
        )
    finally:
        print(file=sys.stderr)
        for target in targets:
            target.close()


def _table(
    title: str, goals: Sequence[Goal], layers: Sequence[str], groups: dict[str, Report]
) -> Table:
    rows, passed = [], True
    for goal in goals:
        report = groups[goal.group]
        samples = {
            layer: report.samples(layer, cell, goal.metric)
            for layer, cell in report.cells()
            if cell.workload == goal.workload
        }
        rows.append(row(goal, layers, samples))
        passed &= judge(goal, samples)[2] == "pass"
    columns = [title, "by", *layers, "ratio to the best (95 %)", "at least", "target"]
    return Table(columns, rows, passed)


def _machine(reports: Iterable[Report]) -> str:
    """How fast the machine was, and how fast it can be."""
    took = [part[0] for report in reports for result in report.results for part in result.parts]
    usual, fast = statistics.median(took), statistics.quantiles(took, n=20)[0]
    return (
        f"The machine: its reference work took {seconds_text(usual)} in the median, "
        f"{seconds_text(fast)} in the fastest twentieth of the time."
    )


def _failures(groups: dict[str, Report]) -> list[str]:
    return [
        note
        for report in groups.values()
        for note in notes(report)
        if "failed" in note or "skipped" in note
    ]


def _memory(
    make: Callable[..., Target], place: Any, layers: Sequence[str], size: int, limit: int
) -> Table:
    """Peak memory of large streams, each in a process of its own."""
    rows, passed = [], True
    for workload in ("multipart-get", "multipart-put"):
        peaks = [peak(make, layer, place, workload, size) for layer in layers]
        ours = peaks[layers.index(OURS)]
        reached = ours is not None and ours < limit
        texts = ["-" if peak is None else size_text(peak) for peak in peaks]
        name = f"{workload} {size_text(size)}"
        rows.append([name, *texts, size_text(limit), _word(reached)])
        passed &= reached
    return Table(["memory", *layers, "below", "target"], rows, passed)


def _last_page(root: str, folders: int) -> Table:
    """The page behind `folders` directories of 1,000 objects, beside the first page."""
    with open_storage(f"posix://{root}") as store:
        for n in range(folders + 1):
            store.put(f"d{n:04}/first", b"")
            for i in range(_PAGE):
                os.close(os.open(f"{root}/d{n:04}/{i:04}", os.O_WRONLY | os.O_CREAT, 0o666))
        first: list[float] = []
        last: list[float] = []
        for _ in range(7):
            for times, after in ((first, None), (last, f"d{folders - 1:04}/\U0010ffff")):
                begun = perf_counter()
                found = sum(1 for _ in islice(store.list(start_after=after), _PAGE))
                times.append(perf_counter() - begun)
                assert found == _PAGE
    slower = statistics.median(last) / statistics.median(first)
    texts = [seconds_text(statistics.median(times)) for times in (first, last)]
    reached = slower <= 2
    name = f"list, the page after {folders * _PAGE:,}"
    return Table(
        ["posix", "first page", "last page", "ratio", "at most", "target"],
        [[name, *texts, f"{slower:.2f}×", "2.00×", _word(reached)]],
        reached,
    )


def _word(passed: bool) -> str:
    return "pass" if passed else "short"
