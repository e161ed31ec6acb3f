"""Measures stores: one runner for the commands, the benchmarks and the peers.

>>> from objectstorage import open_storage
>>> config = Config(workloads=("stat",), count=200, objects=10, repeats=1, warmup=0)
>>> report = run([storage_target(open_storage("memory://"))], config)
>>> sorted(report.results[0].latency["all"])
['max', 'min', 'p50', 'p90', 'p95']
"""

from objectstorage.bench.config import DEFAULT_WORKLOADS, Cell, Config
from objectstorage.bench.layers import LAYERS, async_target, layer_target
from objectstorage.bench.results import METRICS, SCHEMA, Report, Result, load
from objectstorage.bench.runner import run
from objectstorage.bench.targets import Target, filesystem_target, storage_target
from objectstorage.bench.workloads import WORKLOADS
from objectstorage.bench.workspace import Workspace

__all__ = [
    "DEFAULT_WORKLOADS",
    "LAYERS",
    "METRICS",
    "SCHEMA",
    "WORKLOADS",
    "Cell",
    "Config",
    "Report",
    "Result",
    "Target",
    "Workspace",
    "async_target",
    "filesystem_target",
    "layer_target",
    "load",
    "run",
    "storage_target",
]
