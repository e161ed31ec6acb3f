"""What a run found, and its JSON lines.

The first line says what was run and where, each further one is one cell, on one
layer, in one repeat. Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, get_args, get_origin, get_type_hints

from objectstorage.bench.config import Cell
from objectstorage.bench.machine import Part
from objectstorage.bench.stats import median
from objectstorage.errors import ErrBadRequest

__all__ = ["METRICS", "SCHEMA", "Report", "Result", "load"]

SCHEMA = 1
"""Counts up whenever a line's meaning changes."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One cell on one layer, measured once.

    latency: per kind of operation, and "all": min, max and the percentiles that
        the number of samples allows.
    first_byte: the same for the time to a streamed body's first bytes.
    parts: the measurement cut where the machine's own speed was looked at, a `Part`
        each, which see.
    cpu_seconds: the client's, all its threads.
    peak_memory: what was resident beyond the start, the samples left out;
        None where the system can't tell.
    client_bound: the client's CPU, or its pace, was the limit, not the store.
    skipped: why nothing was measured, else None.
    """

    layer: str
    workload: str
    size: int
    concurrency: int
    repeat: int
    operations: int = 0
    items: int = 0
    bytes: int = 0
    seconds: float = 0.0
    latency: dict[str, dict[str, float]] = field(default_factory=dict)
    first_byte: dict[str, float] = field(default_factory=dict)
    per_second: list[int] = field(default_factory=list)
    parts: list[list[float]] = field(default_factory=list)
    cpu_seconds: float = 0.0
    peak_memory: int | None = None
    errors: dict[str, int] = field(default_factory=dict)
    retries: int | None = None
    client_bound: bool = False
    skipped: str | None = None

    @property
    def cell(self) -> Cell:
        """What it is compared by."""
        return Cell(self.workload, self.size, self.concurrency)

    def metric(self, name: str) -> float | None:
        """One of `METRICS`; None if this result does not have it."""
        if not self.operations or not self.seconds:
            return None
        if name == "throughput":
            return self.items / self.seconds
        if name == "cpu":
            return self.cpu_seconds / self.items or None
        if name == "memory":
            return self.peak_memory or None
        return self.latency.get("all", {}).get(name) or None


def every(results: Sequence[Result], metric: str) -> list[float]:
    """The metric of each; nothing unless all have it.

    A percentile that only the repeats with many samples allow would be one of
    those, which are the fast ones.
    """
    values = [result.metric(metric) for result in results]
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else []


METRICS = {
    "throughput": True,
    "p50": False,
    "p90": False,
    "p95": False,
    "p99": False,
    "p99.9": False,
    "cpu": False,
    "memory": False,
}
"""What results are compared by, and whether more of it is better.

Throughput is objects a second, `cpu` client seconds an object, the percentiles
are of an operation.
"""


@dataclass
class Report:
    """One run: what was asked for, where, and every result."""

    run: str
    config: dict[str, Any]
    environment: dict[str, Any]
    stores: dict[str, str]
    """Layer to store URL."""
    results: list[Result] = field(default_factory=list)

    @property
    def layers(self) -> list[str]:
        """The layers, in the order they were given."""
        return list(self.stores)

    def cells(self) -> dict[tuple[str, Cell], list[Result]]:
        """The repeats of each layer and cell, what was skipped left out."""
        found: dict[tuple[str, Cell], list[Result]] = {}
        for result in self.results:
            if result.skipped is None:
                found.setdefault((result.layer, result.cell), []).append(result)
        return found

    def of(self, layer: str, cell: Cell | None = None) -> list[Result]:
        """The layer's results, of one cell or of all, what was skipped left out."""
        return [
            result
            for result in self.results
            if result.layer == layer and result.skipped is None and cell in (None, result.cell)
        ]

    def samples(self, layer: str, cell: Cell, metric: str) -> list[float]:
        """One number a repeat."""
        return every(self.of(layer, cell), metric)

    def median(self, layer: str, cell: Cell, metric: str) -> float | None:
        """The median over the repeats, None if none has it."""
        samples = self.samples(layer, cell, metric)
        return median(samples) if samples else None

    def header(self) -> str:
        """The first line."""
        return _line(
            {
                "schema": SCHEMA,
                "type": "run",
                "run": self.run,
                "config": self.config,
                "environment": self.environment,
                "stores": self.stores,
            }
        )

    def lines(self) -> Iterator[str]:
        """All lines, without line ends."""
        yield self.header()
        for result in self.results:
            yield result_line(result)


def result_line(result: Result) -> str:
    """One result as a line."""
    return _line({"schema": SCHEMA, "type": "result", **asdict(result)})


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def load(lines: Iterable[str]) -> Report:
    """A run from its lines; `ErrBadRequest` for anything else."""
    report: Report | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if record["schema"] != SCHEMA:
                raise ErrBadRequest(
                    f"line {number} has schema {record['schema']!r}, this version reads {SCHEMA}"
                )
            if record["type"] == "run":
                if report is not None:
                    raise ErrBadRequest(f"line {number} begins a second run")
                report = Report(**_checked(record, Report))
            elif record["type"] == "result" and report is not None:
                result = Result(**_checked(record, Result))
                if result.operations and not (result.items and result.seconds):
                    raise ValueError("operations that did nothing, or in no time")
                for part in result.parts:
                    Part.of(part)
                report.results.append(result)
            else:
                raise ErrBadRequest(f"line {number} is no part of a benchmark's results")
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            if isinstance(exc, ErrBadRequest):
                raise
            raise ErrBadRequest(f"line {number} is no line of benchmark results") from exc
    if report is None:
        raise ErrBadRequest("there are no benchmark results in it")
    return report


def _checked(record: dict[str, Any], cls: type) -> dict[str, Any]:
    """What the record has of the class's fields; `TypeError` if one is of another type."""
    found = {name: kind for name, kind in get_type_hints(cls).items() if name in record}
    for name, kind in found.items():
        if not _fits(record[name], kind):
            raise TypeError(name)
    return {name: record[name] for name in found}


def _fits(value: Any, kind: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(item, inner[1]) for item in value.values())
    if origin is list:
        return isinstance(value, list) and all(_fits(item, inner[0]) for item in value)
    if inner:
        return any(_fits(value, one) for one in inner)
    if kind in (int, float):
        # no number of a run is negative, and none so small or large that arithmetic fails
        return type(value) in (int, kind) and (value == 0 or 1e-12 <= value <= 1e18)
    return kind is Any or isinstance(value, kind)
