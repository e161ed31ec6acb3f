"""`python -m benchmarks.peers`: measure, and print the table of targets."""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from time import perf_counter
from typing import Any

from benchmarks.peers import posix, s3, s3_tasks
from benchmarks.peers.goals import OURS, POSIX, S3, S3_TASKS, Goal, judge, row
from benchmarks.peers.memory import peak
from objectstorage import open_storage
from objectstorage.bench import Config, Report, Target, run
from objectstorage.bench.report import notes
from objectstorage.bench.text import seconds_text, size_text
from objectstorage.testing.servers import S3Server, external, moto, seaweedfs

_MIB = 1 << 20
_IMPORT_LIMIT = 0.040
_PAGE = 1000
_IN_FLIGHT = 32


def main() -> int:
    """Measure what is asked for; 1 if a target was missed, or not measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--only", choices=("posix", "s3", "import"), help="one part of it")
    parser.add_argument("--quick", action="store_true", help="minutes, less exact")
    parser.add_argument("--save", metavar="FOLDER", help="every measurement, as JSON lines")
    args = parser.parse_args()
    passed = True
    with ExitStack() as stack:
        if args.only in (None, "import"):
            passed &= _imports(args.quick)
        if args.only in (None, "posix"):
            # not /tmp, which may be memory
            root = stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp"))
            passed &= _posix(root, args.quick, args.save)
        if args.only in (None, "s3"):
            server = external() or stack.enter_context(seaweedfs())
            passed &= _s3(server, args.quick, args.save)
    return 0 if passed else 1


def _imports(quick: bool) -> bool:
    """How long `import objectstorage` takes, beyond an interpreter that does nothing."""
    codes = ("pass", "import objectstorage")
    wall: dict[str, list[float]] = {code: [] for code in codes}
    cpu: dict[str, list[float]] = {code: [] for code in codes}
    for _ in range(15 if quick else 31):
        for code in codes:
            begun, used = perf_counter(), _children_cpu()
            subprocess.run([sys.executable, "-c", code], check=True)
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
    _print(["import", "by", "objectstorage", "python -c pass", "below", "target"], rows)
    return passed


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _posix(root: str, quick: bool, save: str | None) -> bool:
    small, large = _configs(quick, ("put", "get", "stat", "range", "list"), large=256 * _MIB)
    layers = list(posix.TARGETS)
    groups = {
        "plain": _run(lambda name: posix.make(name, root), layers, small),
        "durable": _run(
            lambda name: posix.make(name, root, durable=True),
            [OURS, "os"],
            _configs(quick, ("put",), large=0)[0],
        ),
        "large": _run(lambda name: posix.make(name, root), layers, large),
    }
    passed = _table("posix", POSIX, layers, groups, save)
    passed &= _memory(posix.make, root, layers, large.sizes[0], 32 * _MIB)
    return passed & _last_page(os.path.join(root, "million"), 100 if quick else 1000)


def _s3(server: S3Server, quick: bool, save: str | None) -> bool:
    # creates the bucket that the peers expect
    with server.open() as store:
        store.put("probe", b"")
        store.delete("probe")
    verbs = ("put", "get", "stat", "delete")
    small, large = _configs(quick, (*verbs, "list"), large=(64 if quick else 256) * _MIB)
    layers = list(s3.TARGETS)
    groups = {
        "plain": _run(lambda name: s3.make(name, server), layers, small),
        "large": _run(lambda name: s3.make(name, server), layers, large),
    }
    with moto() as flat:
        listing = replace(small, workloads=("list",))
        groups["flat"] = _run(lambda name: s3.make(name, flat), layers, listing)
    passed = _table("s3", S3, layers, groups, save)
    layers = [OURS, *s3_tasks.TARGETS]
    tasks = replace(small, workloads=verbs, concurrency=(_IN_FLIGHT,))
    groups = {"plain": _run(lambda name: s3_tasks.make(name, server), layers, tasks)}
    passed &= _table(f"s3, asyncio, {_IN_FLIGHT} in flight", S3_TASKS, layers, groups, save)
    return passed & _memory(s3.make, server, list(s3.TARGETS), 256 * _MIB, 64 * _MIB)


def _configs(quick: bool, workloads: Sequence[str], *, large: int) -> tuple[Config, Config]:
    small = Config(
        workloads=workloads,
        sizes=(1024,),
        duration=0.3 if quick else 1.0,
        warmup=0.1 if quick else 0.3,
        repeats=3 if quick else 7,
    )
    big = Config(
        workloads=("multipart-put", "multipart-get"),
        sizes=(large,),
        count=1 if quick else 2,
        warmup=0,
        repeats=3 if quick else 5,
        objects=1,
    )
    return small, big


def _run(make: Callable[[str], Target], layers: Sequence[str], config: Config) -> Report:
    targets = [make(layer) for layer in layers]
    try:
        return run(targets, config, on_result=lambda result: print(".", end="", flush=True))
    finally:
        print()
        for target in targets:
            target.close()


def _table(
    part: str,
    goals: Sequence[Goal],
    layers: Sequence[str],
    groups: dict[str, Report],
    save: str | None,
) -> bool:
    rows, passed = [], True
    for goal in goals:
        report = groups[goal.group]
        medians = {
            layer: value
            for layer, cell in report.cells()
            if cell.workload == goal.workload
            and (value := report.median(layer, cell, goal.metric)) is not None
        }
        rows.append(row(goal, layers, medians))
        passed &= judge(goal, medians)[2] == "pass"
    _print([part, "by", *layers, "ratio to the best", "at least", "target"], rows)
    for name, report in groups.items():
        for note in notes(report):
            if "failed" in note or "skipped" in note:
                print(note)
        if save is not None:
            os.makedirs(save, exist_ok=True)
            title = "-".join(part.replace(",", "").split())
            with open(os.path.join(save, f"{title}-{name}.jsonl"), "w") as file:
                file.writelines(line + "\n" for line in report.lines())
    return passed


def _memory(
    make: Callable[..., Target], place: Any, layers: Sequence[str], size: int, limit: int
) -> bool:
    """Peak memory of large streams, each in a process of its own."""
    rows, passed = [], True
    for workload in ("multipart-get", "multipart-put"):
        peaks = []
        for layer in layers:
            peaks.append(peak(make, layer, place, workload, size))
        ours = peaks[layers.index(OURS)]
        reached = ours is not None and ours < limit
        texts = ["-" if peak is None else size_text(peak) for peak in peaks]
        name = f"{workload} {size_text(size)}"
        rows.append([name, *texts, size_text(limit), _word(reached)])
        passed &= reached
    _print(["memory", *layers, "below", "target"], rows)
    return passed


def _last_page(root: str, folders: int) -> bool:
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
    _print(
        ["posix", "first page", "last page", "ratio", "at most", "target"],
        [[name, *texts, f"{slower:.2f}×", "2.00×", _word(reached)]],
    )
    return reached


def _word(passed: bool) -> str:
    return "pass" if passed else "short"


def _print(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [columns, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        first, *others = zip(line, widths, strict=True)
        print(first[0].ljust(first[1]), *(text.rjust(width) for text, width in others), sep="  ")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
