"""Two runs compared as if the machine had been at one speed.

By how much the machine's speed changes an operation's time depends on what the
operation does: all of it on memory, none on a server far away. The runs tell
themselves, by their parts (`Machine`): within each, the logarithm of the time
is regressed on that of the reference work's, one slope for both.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import exp, fsum, log
from typing import NamedTuple

from objectstorage.bench.machine import Part
from objectstorage.bench.results import Result
from objectstorage.bench.stats import Ratio, bootstrap, median

__all__ = ["adjusted", "machine_speed", "widened"]

# Speeds of one machine that differ by no more are its usual noise.
_APART = 1.05
# Two parts in a row share a sample, so what they have in common is no second opinion.
_LAG = 2
# Of the variance of samples, what those soon after must have in common with them to be a
# second opinion: a machine that keeps its speed has nothing but noise.
_COMMON = 0.5
# Sums of squares that are rounding, not speeds that differ.
_NO_SPREAD = 1e-9
_STEEPEST = 2.0


def adjusted(a: Sequence[Result], b: Sequence[Result], metric: str) -> Ratio | None:
    """B's speed as a multiple of A's, were the machine's the same; of one cell's repeats.

    The slope is fitted anew in each resample of the bootstrap, so that the
    interval holds what is not known of it. None if a side has no parts, or the
    metric can't be told of parts.

    >>> def run(speed):
    ...     parts = [[1.0, 1.0, 100 * speed, 1.0], [2.0, 1.0, 50 * speed, 1.0]]
    ...     whole = dict(operations=150, items=150, seconds=2.0)
    ...     of = dict(layer="x", workload="get", size=1, concurrency=1)
    ...     return [
    ...         Result(**of, **whole, repeat=n, parts=[parts[n % 2], parts[n > 0]])
    ...         for n in range(6)
    ...     ]
    >>> round(adjusted(run(1), run(3), "throughput").value, 6)
    3.0
    """
    if metric not in ("throughput", "cpu"):
        return None
    sides = [_side(results, metric) for results in (a, b)]
    if not all(sides):
        return None
    lag = _lag(sides)

    def draw(rng: random.Random) -> float:
        return _speed([rng.choices(side, k=len(side)) for side in sides], lag)

    return bootstrap(_speed(sides, lag), draw, min(map(len, sides)))


def widened(speed: Ratio, machine: float | None) -> Ratio:
    """The interval with what the machine's own speed may have made of it.

    For what can't be adjusted: all of an operation's time may go with the
    machine's speed, or none.

    >>> widened(Ratio(0.5, 0.4, 0.6), 0.5)
    Ratio(value=0.5, low=0.4, high=1.2)
    """
    if machine is None or max(machine, 1 / machine) <= _APART:
        return speed
    return Ratio(speed.value, speed.low / max(1, machine), speed.high / min(1, machine))


def machine_speed(a: Sequence[Result], b: Sequence[Result]) -> float | None:
    """How fast the machine was during B, as a multiple of during A; None if nobody looked."""
    took = []
    for side in (a, b):
        parts = [Part.of(numbers) for result in side for numbers in result.parts]
        if not parts:
            return None
        seconds = fsum(part.seconds for part in parts)
        took.append(fsum(part.reference * part.seconds for part in parts) / seconds)
    return took[0] / took[1]


class _Point(NamedTuple):
    """A part in logarithms: of the reference work's time, x, and of an item's, y."""

    x: float
    y: float
    time: float
    items: float


class _Products(NamedTuple):
    """Sums over the pairs of parts that lie so far apart."""

    pairs: int
    xx: float
    xy: float


class _Repeat:
    """One repeat: the sums that a slope is fitted by, and its time without the machine's part.

    x, y: the side's means, which the sums are about.
    """

    def __init__(self, points: Sequence[_Point], x: float, y: float) -> None:
        self._points = points
        self.count = len(points)
        off = [(point.x - x, point.y - y) for point in points]
        self.x, self.y = fsum(point[0] for point in off), fsum(point[1] for point in off)
        self.products: dict[int, _Products] = {}
        for lag in (0, _LAG):
            pairs = list(zip(off, off[lag:], strict=False))
            self.products[lag] = _Products(
                len(pairs),
                fsum(one[0] * two[0] for one, two in pairs),
                fsum(one[0] * two[1] + two[0] * one[1] for one, two in pairs) / 2,
            )
        self._known: dict[float, float] = {}

    def time(self, slope: float) -> float:
        """The logarithm of an item's time where the reference work takes a second.

        If an item takes t x^slope, there was room for so many times 1/t items.
        """
        if slope not in self._known:
            room = fsum(point.time * exp(-slope * point.x) for point in self._points)
            self._known[slope] = log(room / fsum(point.items for point in self._points))
        return self._known[slope]


_Side = Sequence[_Repeat]


def _side(results: Sequence[Result], metric: str) -> list[_Repeat]:
    """The repeats that have parts."""
    found = []
    for result in results:
        points = []
        for part in map(Part.of, result.parts):
            time = part.seconds if metric == "throughput" else part.cpu_seconds
            if time:
                items = part.operations * result.items / result.operations
                points.append(_Point(log(part.reference), log(time / items), time, items))
        if points:
            found.append(points)
    every = [point for points in found for point in points]
    if not every:
        return []
    x, y = (fsum(point[n] for point in every) / len(every) for n in (0, 1))
    return [_Repeat(points, x, y) for points in found]


def _lag(sides: Sequence[_Side]) -> int:
    """How far apart the samples are of which the slope is told.

    By the sample beside a part alone the slope is too flat, for the noise of
    samples; that of another does not have the same. But a machine that keeps
    its speed has nothing else, and of that no slope is told.
    """
    own, later = ([r.products[lag] for side in sides for r in side] for lag in (0, _LAG))
    if not sum(each.pairs for each in later):
        return 0
    common = sum(each.xx for each in later) / sum(each.pairs for each in later)
    spread = sum(each.xx for each in own) / sum(each.pairs for each in own)
    return _LAG if common > _COMMON * spread else 0


def _slope(sides: Sequence[_Side], lag: int) -> float:
    """Of the time on the reference work's, within the sides, to three digits.

    Nothing gets slower as the machine gets faster, or feels it twice as much as the
    reference work does: what lies outside is noise.
    """
    above = below = 0.0
    for side in sides:
        count = sum(repeat.count for repeat in side)
        x = sum(repeat.x for repeat in side) / count
        y = sum(repeat.y for repeat in side) / count
        for repeat in side:
            pairs, xx, xy = repeat.products[lag]
            above += xy - pairs * x * y
            below += xx - pairs * x * x
    return round(min(_STEEPEST, max(0.0, above / below)), 3) if below > _NO_SPREAD else 0.0


def _speed(sides: Sequence[_Side], lag: int) -> float:
    slope = _slope(sides, lag)
    a, b = (median(repeat.time(slope) for repeat in side) for side in sides)
    return exp(a - b)
