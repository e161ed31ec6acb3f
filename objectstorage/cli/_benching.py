"""What `bench` and `compare` share: options of a run, its progress, its files."""

from __future__ import annotations

import os
import re
import sys
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TextIO

from objectstorage.bench.config import DEFAULT_WORKLOADS, Config
from objectstorage.bench.layers import LAYERS
from objectstorage.bench.overhead import overhead_lines, overhead_table
from objectstorage.bench.report import Table, notes, result_table
from objectstorage.bench.results import Report, Result, result_line
from objectstorage.bench.runner import new_report, run
from objectstorage.bench.targets import Target
from objectstorage.bench.text import metric_text
from objectstorage.bench.workloads import WORKLOADS
from objectstorage.cli._output import EXIT_FAILED, Output, Usage
from objectstorage.cli._parser import Parser
from objectstorage.cli._tables import print_table

__all__ = ["add_run_options", "config_of", "print_report", "run_targets", "show", "write_html"]

_UNITS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30}


def add_run_options(parser: Parser) -> None:
    """The options that become a `Config`, and where results go."""
    group = parser.add_argument_group("what to run")
    names = ", ".join(WORKLOADS)
    group.add_argument(
        "--workloads",
        metavar="NAMES",
        type=_names,
        default=DEFAULT_WORKLOADS,
        help=f"'all', or some of: {names} (default {','.join(DEFAULT_WORKLOADS)})",
    )
    group.add_argument(
        "--layers",
        metavar="NAMES",
        type=_layers,
        default=("sync",),
        help=f"ways to the store, in turns, some of: {', '.join(LAYERS)} (default sync)",
    )
    group.add_argument(
        "--sizes",
        metavar="SIZES",
        type=_several(_size),
        default=(),
        help="bytes an object, as in 1KiB,1MiB (default: each workload's own)",
    )
    group.add_argument(
        "--concurrency",
        metavar="NUMBERS",
        type=_several(int),
        default=(1,),
        help="operations in flight, as in 1,8 (default 1)",
    )
    group.add_argument(
        "--duration", metavar="SECONDS", type=float, default=2.0, help="a measurement (default 2)"
    )
    group.add_argument("--count", metavar="N", type=int, help="operations, instead of a duration")
    group.add_argument(
        "--warmup", metavar="SECONDS", type=float, default=0.3, help="not measured (default 0.3)"
    )
    group.add_argument(
        "--repeats",
        metavar="N",
        type=int,
        default=7,
        help="measurements a cell (default 7; to compare, 6 at least)",
    )
    group.add_argument(
        "--rate",
        metavar="N",
        type=float,
        help="operations a second; latencies then count from when each was due",
    )
    group.add_argument(
        "--objects", metavar="N", type=int, default=1000, help="that are prepared (default 1000)"
    )
    group.add_argument("--seed", metavar="N", type=int, default=0, help="of all random choices")
    group.add_argument("--no-durable", action="store_true", help="puts may be lost with the power")
    group = parser.add_argument_group("where results go, besides standard output")
    group.add_argument("--save", metavar="FILE", help="JSON lines, for 'objectstorage compare'")
    group.add_argument("--html", metavar="FILE", help="one page with plots")


def config_of(args: Namespace) -> Config:
    """The run that the options ask for."""
    for path in (args.save, args.html):
        if path is not None and not os.path.isdir(os.path.dirname(path) or "."):
            raise Usage(f"there is no folder for {path!r}")
    return Config(
        workloads=args.workloads,
        sizes=args.sizes,
        concurrency=args.concurrency,
        duration=args.duration,
        count=args.count,
        warmup=args.warmup,
        repeats=args.repeats,
        rate=args.rate,
        objects=args.objects,
        seed=args.seed,
        durable=False if args.no_durable else None,
    )


def run_targets(targets: Sequence[Target], config: Config, args: Namespace, out: Output) -> Report:
    """Run, tell how it goes, save line by line; cut short, show what there is."""
    report = new_report(targets, config)
    status = _Status(out, len(config.cells()) * config.repeats * len(targets))
    saved: TextIO | None = None

    def on_result(result: Result) -> None:
        nonlocal saved
        status.step(result)
        lines = [result_line(result)]
        if len(report.results) == 1:
            lines.insert(0, report.header())
            if args.save is not None:
                file = open(args.save, "w", encoding="utf-8")  # noqa: SIM115  # closed by `files`
                saved = files.enter_context(file)
        for line in lines:
            if out.as_json:
                out.line(line)
            if saved is not None:
                saved.write(line + "\n")
                saved.flush()

    with ExitStack() as files:
        for target in targets:
            files.callback(target.close)
        files.callback(status.clear)
        try:
            run(targets, config, report=report, on_result=on_result)
        except KeyboardInterrupt:
            status.clear()
            print_report(report, out)
            raise
    if any(result.errors for result in report.results):
        out.code = EXIT_FAILED
    return report


def print_report(report: Report, out: Output) -> None:
    """The results as a table, and what must be said besides; with --json nothing."""
    if out.as_json or not report.results:
        return
    for line in overhead_lines(report):
        out.line(line)
    show(result_table(report), out)
    show(overhead_table(report), out)
    for note in notes(report):
        out.line(note)


def show(table: Table, out: Output) -> None:
    """A table on standard output, unless it is empty."""
    if table.rows:
        print_table(out, table.columns, table.rows)


def write_html(path: str | None, page: Callable[[], str]) -> None:
    """The page into its file, if one was asked for."""
    if path is not None:
        with open(path, "w", encoding="utf-8") as file:
            file.write(page())


class _Status:
    """A line on the terminal between measurements; nothing runs during one."""

    def __init__(self, out: Output, steps: int) -> None:
        self._watched = out.interactive
        self._steps, self._done = steps, 0
        self._width = 0
        self._started = time.monotonic()
        self._draw("starting")

    def step(self, result: Result) -> None:
        """One measurement more is there."""
        self._done += 1
        speed = result.metric("throughput")
        text = "skipped" if speed is None else metric_text("throughput", speed)
        left = (time.monotonic() - self._started) / self._done * (self._steps - self._done)
        self._draw(f"{result.cell}: {text}, {left:.0f} s left")

    def clear(self) -> None:
        """Leave the terminal as it was found."""
        if self._width:
            self._write(f"\r{'':<{self._width}}\r")
            self._width = 0

    def _draw(self, text: str) -> None:
        if self._watched:
            text = f"[{self._done}/{self._steps}] {text}"
            self._write(f"\r{text:<{self._width}}")
            self._width = len(text)

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def _several(kind: Callable[[str], int]) -> Callable[[str], tuple[int, ...]]:
    def parse(text: str) -> tuple[int, ...]:
        try:
            return tuple(kind(part) for part in text.split(","))
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is no list of whole numbers") from None

    return parse


def _names(text: str) -> tuple[str, ...]:
    return tuple(WORKLOADS) if text == "all" else tuple(text.split(","))


def _layers(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in LAYERS:
            raise ArgumentTypeError(f"no layer {name!r}; there are {', '.join(LAYERS)}")
    return names


def _size(text: str) -> int:
    match = re.fullmatch(r"(-?\d+(?:\.\d+)?) *([kmg]?)(?:i?b)?", text.strip().lower())
    if match is None:
        raise ArgumentTypeError(f"{text!r} is no size; write 1024, 1KiB or 64MiB")
    return int(float(match[1]) * _UNITS[match[2]])
