"""What an executor says to its run service."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import httpx

from objectstorage.client._async.calls import AsyncCalls, parsed
from objectstorage.client.tasks import ExecutorTask, Heartbeat, Spec, Status
from objectstorage.client.types import Result

__all__ = ["AsyncExecutors"]


class AsyncExecutors:
    """The executors of a run service, each by an id of its own choice."""

    def __init__(self, calls: AsyncCalls, path: str = "/executors") -> None:
        self._calls = calls
        self._path = path

    async def store_id(self) -> Result[str]:
        """The id of the store that the service keeps its runs in: logs and caches belong there."""
        response = await self._calls.call("GET", "/store", params={})
        return Result(parsed(response, lambda fields: fields["id"], response.json), response)

    async def heartbeat(self, executor: str) -> Result[Heartbeat]:
        """Say that it lives; needed before the first claim, and then again and again."""
        response = await self._post(executor, "heartbeat", {})
        return Result(parsed(response, Heartbeat.parse, response.json), response)

    async def claim(
        self, executor: str, most: int, holding: Iterable[str] = ()
    ) -> Result[list[ExecutorTask]]:
        """Claim at most so many tasks, the oldest first; with their spec data.

        `holding` are the ids of those it has: one that it was given by a reply
        that never came is given again. Only one claim at a time.
        """
        fields = {"most": most, "holding": list(holding)}
        response = await self._post(executor, "claim", fields)
        return Result(parsed(response, _tasks, response.json), response)

    async def report(self, spec: Spec, status: Status) -> Result[ExecutorTask]:
        """Report a task's status; the same twice is no error.

        `ErrConcurrency` if the task is no longer this claim's, or finished.
        """
        fields = {"task": spec.id, "claim": spec.claim, "status": status.fields()}
        response = await self._post(spec.executor, "report", fields)
        return Result(parsed(response, ExecutorTask.parse, response.json), response)

    async def hand_back(self, spec: Spec) -> Result[ExecutorTask]:
        """Give a task back unfinished, for another executor to begin anew."""
        fields = {"task": spec.id, "claim": spec.claim}
        response = await self._post(spec.executor, "hand_back", fields)
        return Result(parsed(response, ExecutorTask.parse, response.json), response)

    async def _post(self, executor: str, verb: str, fields: dict[str, Any]) -> httpx.Response:
        path = f"{self._path}/{quote(executor, safe='')}/{verb}"
        return await self._calls.call("POST", path, params={}, json=fields)


def _tasks(fields: Any) -> list[ExecutorTask]:
    return [ExecutorTask.parse(one) for one in fields["tasks"]]
