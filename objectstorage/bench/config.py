"""What to run, checked before anything is touched, and where it runs."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from objectstorage.bench.text import size_text
from objectstorage.bench.workloads import WORKLOADS
from objectstorage.errors import ErrBadRequest

__all__ = ["DEFAULT_WORKLOADS", "Cell", "Config", "environment"]

DEFAULT_WORKLOADS = ("put", "get", "range", "stat", "list", "delete", "mixed")


class Cell(NamedTuple):
    """What is compared with its like: one workload, size and concurrency."""

    workload: str
    size: int
    concurrency: int

    def __str__(self) -> str:
        return f"{self.workload} {size_text(self.size)} ×{self.concurrency}"


@dataclass(frozen=True, kw_only=True)
class Config:
    """The options of a run; `ErrBadRequest` for what makes no sense.

    workloads: names from `WORKLOADS`.
    sizes: bytes an object; empty for each workload's own default.
    concurrency: threads, or tasks of a layer that has those.
    duration: seconds measured per cell and repeat, unless `count` operations
        are asked for instead.
    warmup: seconds before each measurement that are left out.
    repeats: how often each cell is measured, layers taking turns; a comparison
        takes six at least.
    rate: operations a second in all, latencies then counting from when each
        operation was due; None for as fast as it goes.
    objects: how many objects a workload prepares.
    durable: as `Storage.put`'s.

    >>> Config(workloads=("put",), sizes=(1024,), concurrency=(1, 8)).cells()
    [Cell(workload='put', size=1024, concurrency=1), Cell(workload='put', size=1024, concurrency=8)]
    """

    workloads: Sequence[str] = DEFAULT_WORKLOADS
    sizes: Sequence[int] = ()
    concurrency: Sequence[int] = (1,)
    duration: float = 2.0
    count: int | None = None
    warmup: float = 0.3
    repeats: int = 7
    rate: float | None = None
    objects: int = 1000
    seed: int = 0
    durable: bool | None = None

    def __post_init__(self) -> None:
        for name in self.workloads:
            if name not in WORKLOADS:
                raise ErrBadRequest(f"no workload {name!r}; there are {', '.join(WORKLOADS)}")
        _check(bool(self.workloads), "at least one workload is asked for")
        _check(all(size >= 0 for size in self.sizes), "a size is not negative")
        _check(bool(self.concurrency), "at least one concurrency is asked for")
        _check(all(1 <= n <= 1024 for n in self.concurrency), "a concurrency is 1 to 1,024")
        _check(0 < self.duration < float("inf"), "the duration is more than 0 seconds")
        _check(self.count is None or self.count >= 1, "the count is at least 1")
        _check(0 <= self.warmup < float("inf"), "the warm-up is 0 seconds or more")
        _check(self.repeats >= 1, "there is at least 1 repeat")
        _check(self.rate is None or 0 < self.rate < float("inf"), "the rate is more than 0")
        _check(self.objects >= 1, "there is at least 1 object")

    def cells(self) -> list[Cell]:
        """Every combination, in the order asked for, each once."""
        return list(
            dict.fromkeys(
                Cell(name, size, threads)
                for name in self.workloads
                for size in self.sizes or (WORKLOADS[name].default_size,)
                for threads in self.concurrency
            )
        )

    def as_dict(self) -> dict[str, Any]:
        """The options as plain data."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise ErrBadRequest(message)


def environment() -> dict[str, Any]:
    """What a result depends on besides the options."""
    from objectstorage import __version__

    return {
        "objectstorage": __version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
    }
