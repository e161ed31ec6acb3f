"""Two sets of results side by side: what differs, by how much, how surely.

Layers of one run took turns on the same machine. Between two runs that may have
become faster or slower: they are compared as if it had not (`adjusted`), and
where that can't be told, what the machine may have made is no difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from objectstorage.bench.adjusted import adjusted, machine_speed
from objectstorage.bench.config import Cell
from objectstorage.bench.results import METRICS, Report
from objectstorage.bench.stats import Ratio, median, ratio
from objectstorage.errors import ErrBadRequest

__all__ = ["VERDICTS", "Comparison", "Difference", "Side", "compare", "differences", "verdict"]

Verdict = Literal["faster", "slower", "same", "inconclusive"]
VERDICTS: tuple[Verdict, ...] = ("faster", "slower", "same", "inconclusive")


class Side(NamedTuple):
    """One layer of one report."""

    report: Report
    layer: str

    @classmethod
    def only(cls, report: Report) -> Side:
        """The side of a report that has one layer, else `ErrBadRequest`."""
        if len(report.layers) != 1:
            raise ErrBadRequest(
                f"the results have the layers {', '.join(report.layers)}; say which is meant"
            )
        return cls(report, report.layers[0])


class Difference(NamedTuple):
    """An option, or a fact of the environment, that the sides don't share."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True)
class Comparison:
    """One cell: the medians of the repeats, and B's speed as a multiple of A's.

    A speed above 1 is better, whichever way the metric itself runs.
    """

    cell: Cell
    a: float
    b: float
    speed: Ratio
    verdict: Verdict
    errors: tuple[int, int] = (0, 0)
    """Operations that failed, in all repeats: what is not done is done fast."""
    machine: float | None = None
    """How fast the machine itself was during B, as a multiple of during A; `speed` is what
    remains without it. None if both took turns, or nobody looked."""


def differences(a: Side, b: Side) -> list[Difference]:
    """What else differs between the sides, the store first."""
    facts = [
        {
            "store": side.report.stores[side.layer],
            "layer": side.layer,
            **side.report.environment,
            **side.report.config,
        }
        for side in (a, b)
    ]
    names = dict.fromkeys((*facts[0], *facts[1]))
    return [
        Difference(name, facts[0].get(name), facts[1].get(name))
        for name in names
        if facts[0].get(name) != facts[1].get(name)
    ]


def compare(
    a: Side, b: Side, *, metric: str = "throughput", tolerance: float = 0.05
) -> tuple[list[Comparison], list[Cell]]:
    """The cells that both sides measured, and those that only one did.

    metric: one of `METRICS`; a cell that does not have it counts as measured
        by neither.
    tolerance: how much of a difference is none, as a share.
    """
    if metric not in METRICS:
        raise ErrBadRequest(f"no metric {metric!r}; there are {', '.join(METRICS)}")
    if not 0 < tolerance < 1:
        raise ErrBadRequest("the tolerance lies between 0 and 1")
    paired = a.report.run == b.report.run  # the repeats took turns
    compared, alone = [], []
    for cell in dict.fromkeys(result.cell for side in (a, b) for result in side.report.results):
        xs = a.report.samples(a.layer, cell, metric)
        ys = b.report.samples(b.layer, cell, metric)
        if not xs or not ys:
            alone.append(cell)
            continue
        results = a.report.of(a.layer, cell), b.report.of(b.layer, cell)
        both = paired and len(xs) == len(ys)
        # a metric of which less is better is turned over, so that more is speed
        speed = ratio(xs, ys, paired=both) if METRICS[metric] else ratio(ys, xs, paired=both)
        machine = None if paired or metric == "memory" else machine_speed(*results)
        if machine is not None:
            speed = adjusted(speed, *results, metric)
        errors = [sum(sum(result.errors.values()) for result in side) for side in results]
        compared.append(
            Comparison(
                cell,
                median(xs),
                median(ys),
                speed,
                verdict(speed, tolerance),
                (errors[0], errors[1]),
                machine,
            )
        )
    return compared, alone


def verdict(speed: Ratio, tolerance: float = 0.05) -> Verdict:
    """What a ratio and its interval say.

    Faster or slower takes an interval that leaves 1 out and a median beyond the
    tolerance; the same, an interval within the tolerance. Everything else is
    inconclusive: it takes more repeats.

    >>> verdict(Ratio(1.2, 1.1, 1.3)), verdict(Ratio(1.0, 0.99, 1.02))
    ('faster', 'same')
    >>> verdict(Ratio(0.8, 0.7, 0.9)), verdict(Ratio(1.1, 0.8, 1.4))
    ('slower', 'inconclusive')
    """
    low, high = 1 / (1 + tolerance), 1 + tolerance
    if low <= speed.low and speed.high <= high:
        return "same"
    if speed.low > 1 and speed.value > high:
        return "faster"
    if speed.high < 1 and speed.value < low:
        return "slower"
    return "inconclusive"
