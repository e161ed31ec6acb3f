"""Peak memory, each measurement in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from objectstorage.bench import Config, Target, run

__all__ = ["peak"]


def peak(
    make: Callable[..., Target], layer: str, place: Any, workload: str, size: int
) -> int | None:
    """What one operation of `size` bytes adds to a fresh process, in bytes; None if it failed.

    A process that had measured before would reuse what it has.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, make, layer, place, workload, size).result()


def _measure(
    make: Callable[..., Target], layer: str, place: Any, workload: str, size: int
) -> int | None:
    config = Config(workloads=(workload,), sizes=(size,), count=1, repeats=1, warmup=0, objects=1)
    target = make(layer, place)
    try:
        (result,) = run([target], config).results
        # a failed operation is no measurement, however little it took
        return None if result.errors else result.peak_memory
    finally:
        target.close()
