"""Two runs compared as if the machine had been at one speed.

By how much the machine's speed changes an operation's time depends on what the
operation does: all of it on memory, none on a server far away. The runs tell
themselves, by their parts (`Machine`): within each, the logarithm of the time
is regressed on that of the reference work's, one slope for both. Where the
machine kept its speed within the runs and not between them, and of percentiles,
nobody can tell: what it may have made is then no difference.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import exp, fsum, log
from typing import NamedTuple

from objectstorage.bench.machine import Part
from objectstorage.bench.results import Result
from objectstorage.bench.stats import Ratio, bootstrap, median

__all__ = ["adjusted", "machine_speed"]

# Speeds of one machine that differ by no more are its usual noise.
_APART = 1.05
# Two parts in a row share a sample, so what they have in common is no second opinion.
_LAG = 2
# Of the variance of samples, what those soon after must have in common with them to be a
# second opinion: a machine that keeps its speed has nothing but noise.
_COMMON = 0.5
# A variance that is rounding, not speeds that differ.
_NO_SPREAD = 1e-12
_STEEPEST = 2.0


def adjusted(plain: Ratio, a: Sequence[Result], b: Sequence[Result], metric: str) -> Ratio:
    """B's speed as a multiple of A's, were the machine's the same; of one cell's repeats.

    The slope is fitted anew in each resample of the bootstrap, so that the
    interval holds what is not known of it. What can't be cut into parts, a
    percentile, has the interval of `plain` widened by all the speeds that the
    machine had: it may lie among what was done while it was fast on one side,
    and while it was slow on the other.

    plain: the speed as it was measured; also the result, where a side has no parts.

    >>> def run(speed):
    ...     parts = [[1.0, 1.0, 100 * speed, 1.0], [2.0, 1.0, 50 * speed, 1.0]]
    ...     whole = dict(operations=150, items=150, seconds=2.0)
    ...     of = dict(layer="x", workload="get", size=1, concurrency=1)
    ...     return [
    ...         Result(**of, **whole, repeat=n, parts=[parts[n % 2], parts[n > 0]])
    ...         for n in range(6)
    ...     ]
    >>> round(adjusted(Ratio(9.0, 8.0, 10.0), run(1), run(3), "throughput").value, 6)
    3.0
    """
    machine = machine_speed(a, b)
    sides = [_side(results, metric) for results in (a, b)]
    if machine is None or not all(sides):
        return plain
    flips = _flips(sides)
    if metric not in ("throughput", "cpu"):
        if not flips and not _apart(machine) and _looks_again(sides):
            return plain
        every = [x for side in sides for repeat in side for x in repeat.references]
        most = exp(max(every) - min(every))
        return Ratio(plain.value, plain.low / most, plain.high * most)

    def draw(rng: random.Random) -> float:
        return _speed([rng.choices(side, k=len(side)) for side in sides], flips)

    speed = bootstrap(_speed(sides, flips), draw, min(map(len, sides)))
    if flips or not _apart(machine):
        return speed
    # all of an operation's time may go with the machine's speed, or none
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


def _apart(machine: float) -> bool:
    return max(machine, 1 / machine) > _APART


class _Products(NamedTuple):
    """Sums over the pairs of parts that lie so far apart."""

    pairs: int
    xx: float
    xy: float


class _Repeat:
    """One repeat: the sums that a slope is fitted by, and its time without the machine's part.

    Of a part, x is the logarithm of the reference work's time, y of an item's.
    """

    def __init__(self, parts: Sequence[tuple[float, float, float]]) -> None:
        """parts: the reference work's time, the time, the items; of some of them, an item."""
        self.references = [log(reference) for reference, _, _ in parts]
        self._times = [time for _, time, _ in parts]
        self._items = fsum(items for _, _, items in parts)
        # where nothing succeeded there is no time of an item; it took its time none the less
        self.points = [
            (log(reference), log(time / items)) for reference, time, items in parts if items
        ]
        self.products: dict[int, _Products] = {}
        self.x = self.y = 0.0
        self._known: dict[float, float] = {}

    def about(self, x: float, y: float) -> None:
        """Sum up, about these means."""
        off = [(point[0] - x, point[1] - y) for point in self.points]
        self.x, self.y = fsum(point[0] for point in off), fsum(point[1] for point in off)
        for lag in (0, _LAG):
            pairs = list(zip(off, off[lag:], strict=False))
            self.products[lag] = _Products(
                len(pairs),
                fsum(one[0] * two[0] for one, two in pairs),
                fsum(one[0] * two[1] + two[0] * one[1] for one, two in pairs) / 2,
            )

    def time(self, slope: float) -> float:
        """The logarithm of an item's time where the reference work takes a second.

        If an item takes t x^slope, there was room for so many times 1/t items.
        """
        if slope not in self._known:
            parts = zip(self._times, self.references, strict=True)
            room = fsum(time * exp(-slope * x) for time, x in parts)
            self._known[slope] = log(room / self._items)
        return self._known[slope]


_Side = Sequence[_Repeat]


def _side(results: Sequence[Result], metric: str) -> list[_Repeat]:
    """The repeats that have parts in which something was done."""
    found = []
    for result in results:
        parts = []
        for part in map(Part.of, result.parts):
            time = part.cpu_seconds if metric == "cpu" else part.seconds
            if time:
                items = part.operations * result.items / result.operations
                parts.append((part.reference, time, items))
        if any(items for _, _, items in parts):
            found.append(_Repeat(parts))
    points = [point for repeat in found for point in repeat.points]
    for repeat in found:
        repeat.about(*(fsum(point[n] for point in points) / len(points) for n in (0, 1)))
    return found


def _looks_again(sides: Sequence[_Side]) -> int:
    """How many pairs of samples there are by which `_flips` can tell."""
    return sum(repeat.products[_LAG].pairs for side in sides for repeat in side)


def _flips(sides: Sequence[_Side]) -> bool:
    """Whether the machine changed its speed within the runs, for longer than a part.

    Samples soon after one another then have much in common, which noise has not.
    """
    own, later = ([r.products[lag] for side in sides for r in side] for lag in (0, _LAG))
    pairs = _looks_again(sides)
    spread = sum(each.xx for each in own) / sum(each.pairs for each in own)
    return bool(pairs) and sum(each.xx for each in later) / pairs > _COMMON * spread > _NO_SPREAD


def _slope(sides: Sequence[_Side]) -> float:
    """Of the time on the reference work's, within the sides, to three digits.

    By the sample beside a part it would be too flat, for the noise of samples; that of
    another part is not the same. Nothing gets slower as the machine gets faster, or feels
    it twice as much as the reference work does: what lies outside is noise.
    """
    above = below = 0.0
    for side in sides:
        count = sum(len(repeat.points) for repeat in side)
        x = sum(repeat.x for repeat in side) / count
        y = sum(repeat.y for repeat in side) / count
        for repeat in side:
            pairs, xx, xy = repeat.products[_LAG]
            above += xy - pairs * x * y
            below += xx - pairs * x * x
    return round(min(_STEEPEST, max(0.0, above / below)), 3) if below > 0 else 0.0


def _speed(sides: Sequence[_Side], flips: bool) -> float:
    slope = _slope(sides) if flips else 0.0
    a, b = (median(repeat.time(slope) for repeat in side) for side in sides)
    return exp(a - b)
