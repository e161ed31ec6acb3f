"""Runs: started, listed, cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

from objectstorage.client._async.calls import AsyncCalls, parsed
from objectstorage.client.tasks import ExecutorTask, Run
from objectstorage.client.types import Page, Result

__all__ = ["AsyncRuns"]


class AsyncRuns:
    """The runs of a run service."""

    def __init__(self, calls: AsyncCalls, path: str = "/runs") -> None:
        self._calls = calls
        self._path = path

    async def start(self, configuration: Mapping[str, Any]) -> Result[Run]:
        """Start a run of a configuration; `ErrBadRequest`, with the field, if it is none."""
        response = await self._calls.call("POST", self._path, params={}, json=configuration)
        return Result(parsed(response, Run.parse, response.json), response)

    async def get(self, run: str) -> Result[Run]:
        """A run; `ErrNotExist`."""
        response = await self._calls.call("GET", self._of(run), params={})
        return Result(parsed(response, Run.parse, response.json), response)

    async def cancel(self, run: str) -> Result[Run]:
        """Cancel what of it is not finished: at once what waits, soon what is running."""
        response = await self._calls.call("POST", self._of(run) + "/cancel", params={}, json={})
        return Result(parsed(response, Run.parse, response.json), response)

    async def delete(self, run: str) -> Result[None]:
        """Delete a finished run with its logs; `ErrNotExist`, `ErrConflict` if it isn't."""
        return Result(None, await self._calls.call("DELETE", self._of(run), params={}))

    async def page(
        self, project: str | None = None, *, limit: int | None = None, token: str | None = None
    ) -> Result[Page[Run]]:
        """A part of the runs, of one project or of all, the newest first."""
        params = {"project": project, "limit": limit, "token": token}
        response = await self._calls.call("GET", self._path, params=params)
        return Result(parsed(response, _page_of_runs, response.json), response)

    async def list(self, project: str | None = None) -> AsyncIterator[Run]:
        """All of them, page by page."""
        token: str | None = None
        while True:
            page = (await self.page(project, token=token)).value
            for run in page.items:
                yield run
            token = page.token
            if token is None:
                return

    async def task(self, run: str, task: str) -> Result[ExecutorTask]:
        """A task, as it is now; `ErrNotExist`."""
        response = await self._calls.call("GET", self._of(run, task), params={})
        return Result(parsed(response, ExecutorTask.parse, response.json), response)

    async def tasks_page(
        self, run: str, *, limit: int | None = None, token: str | None = None
    ) -> Result[Page[ExecutorTask]]:
        """A part of a run's tasks, in the order of their names."""
        params = {"limit": limit, "token": token}
        response = await self._calls.call("GET", self._of(run) + "/tasks", params=params)
        return Result(parsed(response, _page_of_tasks, response.json), response)

    async def tasks(self, run: str) -> AsyncIterator[ExecutorTask]:
        """All of them, page by page."""
        token: str | None = None
        while True:
            page = (await self.tasks_page(run, token=token)).value
            for task in page.items:
                yield task
            token = page.token
            if token is None:
                return

    def _of(self, run: str, task: str | None = None) -> str:
        path = f"{self._path}/{quote(run, safe='')}"
        return path if task is None else f"{path}/tasks/{quote(task, safe='')}"


def _page_of_runs(fields: Any) -> Page[Run]:
    return Page([Run.parse(one) for one in fields["runs"]], fields["next_token"])


def _page_of_tasks(fields: Any) -> Page[ExecutorTask]:
    return Page([ExecutorTask.parse(one) for one in fields["tasks"]], fields["next_token"])
