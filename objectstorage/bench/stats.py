"""The arithmetic: percentiles that the samples carry, and ratios with an interval."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from statistics import NormalDist
from typing import NamedTuple

__all__ = ["PERCENTILES", "Ratio", "bootstrap", "median", "per_second", "percentiles", "ratio"]

PERCENTILES = {"p50": 500, "p90": 900, "p95": 950, "p99": 990, "p99.9": 999}
"""The percentiles that are looked at, in thousandths."""

_BEYOND = 10
_RESAMPLES = 4000
_FEWEST = 6
# Student's distribution for 1, 2, … degrees of freedom: where its upper 2.5 % begin.
_STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)


def median(values: Iterable[float]) -> float:
    """The middle value, the mean of the two middle ones if their number is even.

    >>> median([3.0, 1.0, 2.0]), median([1.0, 2.0])
    (2.0, 1.5)
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("the median of nothing")
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def percentiles(samples: Iterable[float]) -> dict[str, float]:
    """`min`, `max`, and each percentile with at least ten samples beyond it.

    A percentile is the smallest sample that at least that share of the samples
    does not exceed. With fewer samples beyond, it would tell of single events,
    not of the distribution, so it is left out. Nothing at all for no samples.

    >>> percentiles(range(100))
    {'min': 0, 'p50': 49, 'p90': 89, 'max': 99}
    """
    ordered = sorted(samples)
    if not ordered:
        return {}
    count = len(ordered)
    found = {"min": ordered[0]}
    for name, share in PERCENTILES.items():
        rank = -(-count * share // 1000)
        if count - rank >= _BEYOND:
            found[name] = ordered[rank - 1]
    found["max"] = ordered[-1]
    return found


def per_second(ends: Iterable[float], seconds: float) -> list[int]:
    """How many of `ends` (seconds since the start) fell into each whole second.

    A last second that was not lasted out is left out.

    >>> per_second([0.1, 0.2, 1.5, 2.1], 2.2)
    [2, 1]
    """
    counts = [0] * int(seconds)
    for end in ends:
        second = int(end)
        if second < len(counts):
            counts[second] += 1
    return counts


class Ratio(NamedTuple):
    """How many times `b` is `a`, and the interval that holds it with 95 %."""

    value: float
    low: float
    high: float


def ratio(a: Sequence[float], b: Sequence[float], *, paired: bool, seed: int = 0) -> Ratio:
    """The ratio of the medians of repeats, `b` to `a`, with its bootstrap interval.

    paired: the nth of both ran side by side, so that the machine's mood, common
        to both, is kept together and cancels.

    Fewer than six repeats a side can't give an interval that holds with 95 %
    (five lie on one side of the truth in one case of sixteen); it is then
    everything, unless both are the very same numbers.

    >>> ratio([10.0, 11.0, 12.0] * 2, [20.0, 22.0, 24.0] * 2, paired=True)
    Ratio(value=2.0, low=2.0, high=2.0)
    """
    if not a or not b or min(a) <= 0 or min(b) <= 0:
        raise ValueError("a ratio needs positive numbers on both sides")
    if paired and len(a) != len(b):
        raise ValueError("pairs are as many on both sides")
    if list(a) == list(b):
        return Ratio(1.0, 1.0, 1.0)
    pairs = [y / x for x, y in zip(a, b, strict=True)] if paired else []
    value = median(pairs) if paired else median(b) / median(a)

    def draw(rng: random.Random) -> float:
        if paired:
            return median(rng.choices(pairs, k=len(pairs)))
        return median(rng.choices(b, k=len(b))) / median(rng.choices(a, k=len(a)))

    return bootstrap(value, draw, min(len(a), len(b)), seed=seed)


def bootstrap(
    value: float, draw: Callable[[random.Random], float], fewest: int, *, seed: int = 0
) -> Ratio:
    """The interval of a ratio, by drawing the repeats again and again.

    draw: the ratio of repeats drawn at random, as many as there were.
    fewest: how many repeats the side with fewer has; see `ratio`.
    """
    if fewest < _FEWEST:
        return Ratio(value, 0.0, float("inf"))
    rng = random.Random(seed)
    drawn = sorted(draw(rng) for _ in range(_RESAMPLES))
    tail = int(len(drawn) * _tail(fewest))
    return Ratio(value, drawn[tail], drawn[-1 - tail])


def _tail(count: int) -> float:
    """The share of resamples beyond either end of the interval, for so many repeats.

    Few numbers, drawn from again and again, vary less than what they stand for:
    the plain 2.5 % would promise too much. This is the tail of the normal
    distribution beyond where Student's ends, stretched as the variance is
    (Hesterberg, What Teachers Should Know About the Bootstrap, 2015, 5.2).
    """
    free = count - 1
    quantile = _STUDENT[free - 1] if free <= len(_STUDENT) else 1.96 + 2.4 / free
    return NormalDist().cdf(-quantile * (count / free) ** 0.5)
