"""The client for `httpx.AsyncClient`; see `objectstorage.client`."""

from objectstorage.client._async.caches import AsyncCaches
from objectstorage.client._async.calls import AsyncStream
from objectstorage.client._async.client import AsyncClient
from objectstorage.client._async.executors import AsyncExecutors
from objectstorage.client._async.logs import AsyncLogs
from objectstorage.client._async.runs import AsyncRuns
from objectstorage.client.tasks import (
    ExecutorTask,
    ExecutorTaskSpecData,
    Heartbeat,
    Run,
    Spec,
    Status,
    StepStatus,
)
from objectstorage.client.types import Cache, Log, Page, Result

__all__ = [
    "AsyncCaches",
    "AsyncClient",
    "AsyncExecutors",
    "AsyncLogs",
    "AsyncRuns",
    "AsyncStream",
    "Cache",
    "ExecutorTask",
    "ExecutorTaskSpecData",
    "Heartbeat",
    "Log",
    "Page",
    "Result",
    "Run",
    "Spec",
    "Status",
    "StepStatus",
]
