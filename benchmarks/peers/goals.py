"""What is aimed at, cell by cell, and whether a measurement reaches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from objectstorage.bench.results import METRICS
from objectstorage.bench.stats import Ratio, median, ratio
from objectstorage.bench.text import metric_text

__all__ = ["OURS", "POSIX", "RUST", "S3", "S3_TASKS", "Goal", "Verdict", "judge", "row"]

OURS = "objectstorage"
RUST = ("obstore", "opendal")

Verdict = Literal["pass", "short", "not measured"]


@dataclass(frozen=True)
class Goal:
    """One line of the table.

    least: how many times the best rival's speed ours must be at least; below 1
        for what is only to be approached.
    """

    name: str
    workload: str
    metric: str
    rivals: tuple[str, ...]
    least: float
    group: Literal["plain", "durable", "large", "flat"] = "plain"


_KIB = tuple(
    goal
    for name in ("get", "stat", "range")
    for goal in (
        Goal(f"{name} 1 KiB, Rust", name, "p50", RUST, 4.0),
        Goal(f"{name} 1 KiB, fsspec", name, "p50", ("fsspec",), 1.0),
        Goal(f"{name} 1 KiB, bare", name, "p50", ("os",), 1 / 2.5),
    )
)
_POSIX_PEERS = (*RUST, "fsspec")
_S3_PEERS = (*RUST, "boto3", "minio", "s3fs")

POSIX: Sequence[Goal] = (
    *_KIB,
    # not fsspec: its writes are not atomic
    Goal("put 1 KiB, not durable", "put", "p50", RUST, 1.0),
    Goal("put 1 KiB, durable, bare", "put", "p50", ("os",), 1 / 1.25, "durable"),
    Goal("list, per object", "list", "throughput", _POSIX_PEERS, 2.0),
    Goal("get 256 MiB, streamed", "multipart-get", "throughput", _POSIX_PEERS, 1.0, "large"),
    Goal("put 256 MiB, streamed", "multipart-put", "throughput", RUST, 1.0, "large"),
)
"""On a local directory."""

S3: Sequence[Goal] = (
    *(
        Goal(f"{name} 1 KiB, client CPU", name, "cpu", _S3_PEERS, 1.5)
        for name in ("get", "put", "stat", "delete")
    ),
    # SeaweedFS lists folder by folder: key order takes a walk, which the peers leave out
    Goal("list, per object, client CPU, by folders", "list", "cpu", _S3_PEERS, 1.0),
    Goal("list, per object, client CPU, flat", "list", "cpu", _S3_PEERS, 1.0, "flat"),
    Goal("get 256 MiB, streamed", "multipart-get", "throughput", _S3_PEERS, 1.0, "large"),
    Goal("put 256 MiB, streamed", "multipart-put", "throughput", _S3_PEERS, 1.0, "large"),
)
"""On local servers, one operation at a time."""

S3_TASKS: Sequence[Goal] = tuple(
    goal
    for name in ("get", "put", "stat", "delete")
    for goal in (
        Goal(f"{name} 1 KiB", name, "throughput", RUST, 1.3),
        Goal(f"{name} 1 KiB, client CPU", name, "cpu", RUST, 3.0),
    )
)
"""On a local server, by asyncio, 32 operations in flight."""


def judge(
    goal: Goal, samples: Mapping[str, Sequence[float]]
) -> tuple[str | None, Ratio | None, Verdict]:
    """The best rival, our speed as a multiple of its, and whether that is enough.

    samples: a layer's repeats, which took turns with the others'.

    >>> judge(POSIX[0], {"objectstorage": [0.01], "obstore": [0.05], "opendal": [0.09]})
    ('obstore', Ratio(value=5.0, low=0.0, high=inf), 'pass')
    """
    more = METRICS[goal.metric]
    medians = {name: median(repeats) for name, repeats in samples.items() if repeats}
    rivals = {name: medians[name] for name in goal.rivals if medians.get(name)}
    if not rivals or not medians.get(OURS):
        return None, None, "not measured"
    best = (max if more else min)(rivals, key=lambda name: rivals[name])
    ours, theirs = samples[OURS], samples[best]
    paired = len(ours) == len(theirs)
    speed = ratio(theirs, ours, paired=paired) if more else ratio(ours, theirs, paired=paired)
    return best, speed, "pass" if speed.value >= goal.least else "short"


def row(goal: Goal, layers: Sequence[str], samples: Mapping[str, Sequence[float]]) -> list[str]:
    """The goal's line: every layer's figure, the ratio, what it should be, the verdict."""
    best, speed, verdict = judge(goal, samples)
    figures = [
        metric_text(goal.metric, median(samples[layer])) if samples.get(layer) else "-"
        for layer in layers
    ]
    text = "-"
    if speed is not None:
        text = f"{speed.value:.2f}× {best}"
        if speed.low:  # enough repeats for an interval
            text += f" ({speed.low:.2f}–{speed.high:.2f})"
    return [goal.name, goal.metric, *figures, text, f"{goal.least:.2f}×", verdict]
