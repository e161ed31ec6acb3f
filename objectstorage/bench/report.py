"""Results as tables of text: columns and rows, for whoever prints them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from objectstorage.bench.compare import Comparison, Difference
from objectstorage.bench.results import Report, Result, every
from objectstorage.bench.stats import Ratio, median
from objectstorage.bench.text import (
    count_text,
    metric_text,
    seconds_text,
    size_text,
    sparkline,
)

__all__ = [
    "Table",
    "comparison_table",
    "difference_table",
    "fact_text",
    "notes",
    "ratio_text",
    "result_table",
]

_SPARKS = 30


class Table(NamedTuple):
    """Column names, and as many texts a row; all but the first are numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def result_table(report: Report) -> Table:
    """One row a cell and layer, medians over the repeats; what no repeat knows is `-`."""
    columns = ["workload", "size", "in flight", "objects/s", "MiB/s", "p50", "p99", "max"]
    columns += ["cpu/object", "memory", "errors", "per second"]
    layered = len(report.layers) > 1
    if layered:
        columns.insert(1, "layer")
    rows = []
    for (layer, cell), results in report.cells().items():

        def value(metric: str, results: Sequence[Result] = results) -> str:
            values = every(results, metric)
            return metric_text(metric, median(values)) if values else "-"

        rate = [r.bytes / r.seconds for r in results if r.bytes and r.seconds]
        row = [cell.workload, size_text(cell.size), str(cell.concurrency)]
        row += [value("throughput").removesuffix("/s")]
        row += [count_text(median(rate) / 2**20) if rate else "-"]
        row += [value(name) for name in ("p50", "p99", "max", "cpu", "memory")]
        row += [str(sum(sum(result.errors.values()) for result in results))]
        row += [sparkline(_thinned(results[-1].per_second))]
        if layered:
            row.insert(1, layer)
        rows.append(row)
    return Table(columns, rows)


def notes(report: Report) -> list[str]:
    """What a reader of the table must know besides."""
    found, bound = [], []
    for (layer, cell), results in report.cells().items():
        place = f"{cell} on {layer}" if len(report.layers) > 1 else str(cell)
        if any(result.client_bound for result in results):
            bound.append(place)
        for kind in sorted({kind for result in results for kind in result.errors}):
            failed = sum(result.errors.get(kind, 0) for result in results)
            found.append(f"{place}: {failed} operations failed with {kind}")
        retries = sum(result.retries or 0 for result in results)
        if retries:
            found.append(f"{place}: {retries} retries")
        firsts = [result.first_byte["p50"] for result in results if "p50" in result.first_byte]
        if firsts:
            found.append(f"{place}: first byte after {seconds_text(median(firsts))} (p50)")
    if bound:
        where = "every cell" if len(bound) == len(report.cells()) else "; ".join(bound)
        found.insert(0, f"the client, not the store, was the limit in {where}")
    for result in report.results:
        if result.skipped is not None:
            found.append(f"{result.cell} on {result.layer} was skipped: {result.skipped}")
    return found


def difference_table(differences: Sequence[Difference]) -> Table:
    """What differs between the sides besides the results."""
    return Table(
        ("differs", "A", "B"), [(d.name, fact_text(d.a), fact_text(d.b)) for d in differences]
    )


def comparison_table(compared: Sequence[Comparison], metric: str) -> Table:
    """One row a cell, with the verdict on B."""
    columns = (
        "workload",
        "size",
        "in flight",
        f"A {metric}",
        f"B {metric}",
        "B's speed",
        "95 %",
        "machine",
        "errors A/B",
        "B is",
    )
    return Table(
        columns,
        [
            (
                c.cell.workload,
                size_text(c.cell.size),
                str(c.cell.concurrency),
                metric_text(metric, c.a),
                metric_text(metric, c.b),
                f"{c.speed.value:.2f}×",
                ratio_text(c.speed),
                "-" if c.machine is None else f"{c.machine:.2f}×",
                f"{c.errors[0]}/{c.errors[1]}",
                c.verdict,
            )
            for c in compared
        ],
    )


def ratio_text(ratio: Ratio) -> str:
    """The interval of a ratio; `unknown` if there were too few repeats."""
    if ratio.high == float("inf"):
        return "unknown"
    return f"{ratio.low:.2f}–{ratio.high:.2f}"


def fact_text(value: object) -> str:
    """An option's value, or a fact of the environment."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "default"
    return "-" if value is None else str(value)


def _thinned(values: Sequence[int]) -> list[float]:
    """At most as many values as there is room for, each a mean of neighbours."""
    step = -(-len(values) // _SPARKS)
    if step <= 1:
        return list(values)
    groups = [values[at : at + step] for at in range(0, len(values), step)]
    return [sum(group) / len(group) for group in groups]
