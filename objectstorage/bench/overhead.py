"""What each layer costs over the first one: the ratio of their times."""

from __future__ import annotations

from math import exp, fsum, log
from typing import NamedTuple

from objectstorage.bench.compare import Side, compare
from objectstorage.bench.config import Cell
from objectstorage.bench.report import Table, ratio_text
from objectstorage.bench.results import Report
from objectstorage.bench.stats import Ratio
from objectstorage.bench.text import size_text

__all__ = ["Overhead", "overhead_lines", "overhead_table", "overheads"]


class Overhead(NamedTuple):
    """How many times as long a layer takes for a cell as the first layer does."""

    layer: str
    cell: Cell
    time: Ratio


def overheads(report: Report) -> list[Overhead]:
    """Each layer but the first, cell by cell, as far as both measured it.

    By throughput; by the median latency where a rate was asked for, which sets
    the throughput.
    """
    metric = "throughput" if report.config.get("rate") is None else "p50"
    base = Side(report, report.layers[0])
    found = []
    for layer in report.layers[1:]:
        for c in compare(base, Side(report, layer), metric=metric)[0]:
            low = 1 / c.speed.high
            high = 1 / c.speed.low if c.speed.low else float("inf")
            found.append(Overhead(layer, c.cell, Ratio(1 / c.speed.value, low, high)))
    return found


def overhead_lines(report: Report) -> list[str]:
    """A sentence a layer: the geometric mean over the cells, the least and the most."""
    lines = []
    for layer in report.layers[1:]:
        mine = sorted((o for o in overheads(report) if o.layer == layer), key=lambda o: o.time)
        if not mine:
            continue
        mean = exp(fsum(log(o.time.value) for o in mine) / len(mine))
        line = f"{layer} takes {mean:.2f}× the time of {report.layers[0]}"
        if len(mine) > 1:
            least, most = mine[0], mine[-1]
            line += (
                f" (geometric mean of {len(mine)} cells; from {least.time.value:.2f}× for "
                f"{least.cell} to {most.time.value:.2f}× for {most.cell})"
            )
        lines.append(line)
    return lines


def overhead_table(report: Report) -> Table:
    """One row a cell, a layer's ratio and its interval side by side."""
    layers = report.layers[1:]
    columns = ["times as long", "size", "in flight"]
    for layer in layers:
        columns += [f"{layer} / {report.layers[0]}", "95 %"]
    found = {(o.cell, o.layer): o.time for o in overheads(report)}
    rows = []
    for cell in dict.fromkeys(cell for cell, _ in found):
        row = [cell.workload, size_text(cell.size), str(cell.concurrency)]
        for layer in layers:
            time = found.get((cell, layer))
            row += ["-", "-"] if time is None else [f"{time.value:.2f}×", ratio_text(time)]
        rows.append(row)
    return Table(columns, rows)
