"""The HTTP client of the services: exported, for programs that know nothing of their inside.

    import httpx
    from objectstorage.client import Client

    with httpx.Client() as http:
        client = Client("http://127.0.0.1:8000", http)
        with client.logs.follow("run/1/step/2") as log:
            for chunk in log: ...
        cache, response = client.caches.find("project/1", prefix="npm-")
        run, response = client.runs.start({"tasks": {"test": {"steps": [{"run": "make"}]}}})

It needs httpx, and of this package the error tree alone. Calls give the parsed
value beside the reply; lists come in pages, by token. `objectstorage.client.aio`
has the same for `httpx.AsyncClient`.
"""

from objectstorage.client._sync.caches import Caches
from objectstorage.client._sync.calls import Stream
from objectstorage.client._sync.client import Client
from objectstorage.client._sync.executors import Executors
from objectstorage.client._sync.logs import Logs
from objectstorage.client._sync.runs import Runs
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
    "Cache",
    "Caches",
    "Client",
    "ExecutorTask",
    "ExecutorTaskSpecData",
    "Executors",
    "Heartbeat",
    "Log",
    "Logs",
    "Page",
    "Result",
    "Run",
    "Runs",
    "Spec",
    "Status",
    "StepStatus",
    "Stream",
]
