"""The client of a service."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from objectstorage.client._async.caches import AsyncCaches
from objectstorage.client._async.calls import AsyncCalls
from objectstorage.client._async.executors import AsyncExecutors
from objectstorage.client._async.logs import AsyncLogs
from objectstorage.client._async.runs import AsyncRuns

__all__ = ["AsyncClient"]


class AsyncClient:
    """Calls the service at `url` by the caller's httpx client, which stays the caller's.

    `headers` are sent with every request. Credentials in the URL are sent as one
    of them (Basic, unless there is another `Authorization`), so that no log of
    URLs has them. `ErrBadRequest` for what is no service's URL. Errors are the
    package's: a reply that is no success is `ErrFromRemote`, whose cause is what
    the service said (`is_err_not_exist(err)`), with `status`, `code`, `details`
    and `response`; no reply is `ErrUnavailable`. Nothing is tried again.
    """

    def __init__(
        self, url: str, http: httpx.AsyncClient, *, headers: Mapping[str, str] | None = None
    ) -> None:
        self.calls = AsyncCalls(url, http, headers or {})
        self.logs = AsyncLogs(self.calls)
        self.caches = AsyncCaches(self.calls)
        self.runs = AsyncRuns(self.calls)
        self.executors = AsyncExecutors(self.calls)
