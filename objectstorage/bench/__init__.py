"""Measures stores: one runner for the commands, the benchmarks and the peers.

>>> from objectstorage import open_storage
>>> config = Config(workloads=("stat",), count=200, objects=10, repeats=1, warmup=0)
>>> report = run([storage_target(open_storage("memory://"))], config)
>>> sorted(report.results[0].latency["all"])
['max', 'min', 'p50', 'p90', 'p95']
"""

from objectstorage.bench.config import DEFAULT_WORKLOADS, Cell, Config
from objectstorage.bench.results import METRICS, SCHEMA, Report, Result, load
from objectstorage.bench.runner import run
from objectstorage.bench.targets import Target, storage_target
from objectstorage.bench.workloads import WORKLOADS
from objectstorage.bench.workspace import Workspace

__all__ = [
    "DEFAULT_WORKLOADS",
    "METRICS",
    "SCHEMA",
    "WORKLOADS",
    "Cell",
    "Config",
    "Report",
    "Result",
    "Target",
    "Workspace",
    "load",
    "run",
    "storage_target",
]
