"""Logs over HTTP: read, and followed while they are written.

    GET  /logs?name=N                       what is there now, with its length
    GET  /logs?name=N&offset=5&length=10    a part of it
    GET  /logs?name=N&follow=true           what is there and what comes, to the end
    HEAD /logs?name=N

The status and the head are sent at once, before there is anything to send. A
client whose connection broke follows again from the offset it has reached.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from objectstorage.aio.storage import AsyncStorage
from objectstorage.errors import ErrBadRequest
from objectstorage.logs.aio import AsyncLogHub, AsyncLogReader, LogInfo
from objectstorage.logs.layout import beyond
from objectstorage.services.streams import StreamedResponse, count_of, flag_of, head_response

__all__ = ["log_response", "logs_routes"]

_TEXT = "text/plain; charset=utf-8"


def logs_routes(logs: AsyncStorage | AsyncLogHub, path: str = "/logs") -> list[BaseRoute]:
    """The routes above, for every log of a store; followers of one log share one reader."""
    hub = logs if isinstance(logs, AsyncLogHub) else AsyncLogHub(logs)

    async def endpoint(request: Request) -> Response:
        name = request.query_params.get("name")
        if not name:
            raise ErrBadRequest("name is the log's", details={"parameter": "name"})
        return await log_response(hub, name, request)

    return [Route(path, endpoint, methods=["GET", "HEAD"])]


async def log_response(hub: AsyncLogHub, name: str, request: Request) -> Response:
    """The response for one log, by the request's parameters `follow`, `offset`, `length`.

    For services with paths of their own. `ErrNotExist`, "log doesn't exist";
    `ErrBadRequest` for bad parameters; `ErrInvalidRange` past the end.
    """
    params = request.query_params
    follow = flag_of(params, "follow")
    offset = count_of(params, "offset") or 0
    length = count_of(params, "length")
    if follow and length is not None:
        raise ErrBadRequest("follow goes to the end: no length", details={"parameter": "length"})
    if follow and request.method != "HEAD":
        follower = await hub.open(name, offset)
        return StreamedResponse(aiter(follower), follower.close, _head(follower.info), _TEXT)
    reader = AsyncLogReader(hub.store, name)
    info = await reader.stat()
    if offset > info.size:
        raise beyond(offset, info.size)
    left = info.size - offset
    length = left if length is None else min(length, left)
    headers = _head(info)
    if not follow:
        headers["content-length"] = str(length)
    if request.method == "HEAD":
        return head_response(headers, _TEXT)
    chunks: Any = reader.stream(offset, length)
    return StreamedResponse(chunks, chunks.aclose, headers, _TEXT)


def _head(info: LogInfo) -> dict[str, str]:
    return {
        "log-size": str(info.size),
        "log-finished": "true" if info.finished else "false",
        "log-archived": "true" if info.archived else "false",
        "log-status": quote(info.status),
        "log-created": info.created.isoformat(),
    }
