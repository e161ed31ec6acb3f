"""The run service over HTTP.

POST /runs                                start a run of the configuration in JSON; 201
GET  /runs?project=P&limit=100&token=T    the newest first
GET  /runs/R                              POST /runs/R/cancel      DELETE /runs/R
GET  /runs/R/tasks?limit=100&token=T      GET /runs/R/tasks/T
GET  /logs?name=R/T/CLAIM/STEP            as of `objectstorage.services.logs`
...  /caches                              as of `objectstorage.services.caches`
GET  /store                               which store the runs are in
POST /executors/E/heartbeat | claim | report | hand_back
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from objectstorage.client.tasks import Status
from objectstorage.errors import ErrBadRequest
from objectstorage.services.caches import caches_routes
from objectstorage.services.logs import logs_routes
from objectstorage.services.runservice.service import RunService
from objectstorage.services.streams import count_of

__all__ = ["routes_of"]

_T = TypeVar("_T")
_MOST = 1000
_BODY = 4 * 1024 * 1024


def routes_of(service: RunService) -> list[BaseRoute]:
    """The routes above."""
    routes = _Routes(service)
    return [
        Route("/store", routes.store, methods=["GET"]),
        Route("/runs", routes.start, methods=["POST"]),
        Route("/runs", routes.runs, methods=["GET"]),
        Route("/runs/{run}", routes.run, methods=["GET"]),
        Route("/runs/{run}", routes.delete, methods=["DELETE"]),
        Route("/runs/{run}/cancel", routes.cancel, methods=["POST"]),
        Route("/runs/{run}/tasks", routes.tasks, methods=["GET"]),
        Route("/runs/{run}/tasks/{task}", routes.task, methods=["GET"]),
        Route("/executors/{executor}/heartbeat", routes.heartbeat, methods=["POST"]),
        Route("/executors/{executor}/claim", routes.claim, methods=["POST"]),
        Route("/executors/{executor}/report", routes.report, methods=["POST"]),
        Route("/executors/{executor}/hand_back", routes.hand_back, methods=["POST"]),
        *logs_routes(service.hub),
        *caches_routes(service.caches),
    ]


class _Routes:
    def __init__(self, service: RunService) -> None:
        self._service = service

    async def store(self, request: Request) -> Response:
        return JSONResponse({"id": self._service.store_id})

    async def start(self, request: Request) -> Response:
        run = await self._service.start(await _body(request))
        return JSONResponse(run.fields(), 201)

    async def runs(self, request: Request) -> Response:
        params = request.query_params
        project, token = params.get("project"), params.get("token")
        page, more = await self._service.runs(project, token, _limit(request))
        return _page("runs", page, page[-1].id if more else None)

    async def run(self, request: Request) -> Response:
        return JSONResponse((await self._service.run(request.path_params["run"])).fields())

    async def delete(self, request: Request) -> Response:
        await self._service.delete(request.path_params["run"])
        return Response(status_code=204)

    async def cancel(self, request: Request) -> Response:
        await _body(request)
        return JSONResponse((await self._service.cancel(request.path_params["run"])).fields())

    async def tasks(self, request: Request) -> Response:
        token = request.query_params.get("token", "")
        run = request.path_params["run"]
        page, more = await self._service.tasks(run, token, _limit(request))
        return _page("tasks", page, page[-1].spec.task if more else None)

    async def task(self, request: Request) -> Response:
        task = await self._service.task(**request.path_params)
        return JSONResponse(task.fields())

    async def heartbeat(self, request: Request) -> Response:
        await _body(request)
        dead_after, specs = await self._service.heartbeat(request.path_params["executor"])
        tasks = [spec._asdict() for spec in specs]
        return JSONResponse({"dead_after": dead_after, "tasks": tasks})

    async def claim(self, request: Request) -> Response:
        fields = await _body(request)
        most = _field(fields, "most", int)
        holding = _field(fields, "holding", lambda ids: frozenset(map(str, ids)))
        tasks = await self._service.claim(request.path_params["executor"], most, holding)
        return JSONResponse({"tasks": [task.fields() for task in tasks]})

    async def report(self, request: Request) -> Response:
        fields = await _body(request)
        status = _field(fields, "status", Status.parse)
        task = await self._service.report(*_which(request, fields), status)
        return JSONResponse(task.fields())

    async def hand_back(self, request: Request) -> Response:
        fields = await _body(request)
        task = await self._service.hand_back(*_which(request, fields))
        return JSONResponse(task.fields())


def _which(request: Request, fields: Any) -> tuple[str, str, int]:
    executor: str = request.path_params["executor"]
    return executor, _field(fields, "task", str), _field(fields, "claim", int)


async def _body(request: Request) -> Any:
    """The JSON that was sent."""
    # A page in a browser can send other types to any service without its consent.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ErrBadRequest("the content-type is application/json")
    body = bytearray()
    async for chunk in request.stream():
        if len(body) <= _BODY:
            body += chunk
    if len(body) > _BODY:
        raise ErrBadRequest(f"the body has more than {_BODY} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise ErrBadRequest("the body is not JSON") from exc


def _field(fields: Any, name: str, parse: Callable[[Any], _T]) -> _T:
    try:
        return parse(fields[name])
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as exc:
        raise ErrBadRequest(f"{name} is missing or wrong", details={"field": name}) from exc


def _limit(request: Request) -> int:
    limit = count_of(request.query_params, "limit")
    limit = 100 if limit is None else limit
    if not 1 <= limit <= _MOST:
        raise ErrBadRequest(f"limit is 1 to {_MOST}", details={"parameter": "limit"})
    return limit


def _page(name: str, items: Iterable[Any], token: str | None) -> Response:
    return JSONResponse({name: [item.fields() for item in items], "next_token": token})
