"""The client for `httpx.AsyncClient`; see `objectstorage.client`."""

from objectstorage.client._async.caches import AsyncCaches
from objectstorage.client._async.calls import AsyncStream
from objectstorage.client._async.client import AsyncClient
from objectstorage.client._async.logs import AsyncLogs
from objectstorage.client.types import Cache, Log, Page, Result

__all__ = [
    "AsyncCaches",
    "AsyncClient",
    "AsyncLogs",
    "AsyncStream",
    "Cache",
    "Log",
    "Page",
    "Result",
]
