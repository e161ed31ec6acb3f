"""Caches over HTTP, streamed both ways.

PUT    /caches?group=G&key=K        201 and the cache in JSON; 412 if the key is taken
GET    /caches?group=G&key=K        its bytes
GET    /caches?group=G&prefix=P     those of the newest one
HEAD   /caches?…                    which one that would be
DELETE /caches?group=G&key=K        204
GET    /caches/list?group=G&prefix=P&limit=100&token=T
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from objectstorage.aio.storage import AsyncStorage
from objectstorage.caches.aio import AsyncCacheStore, CacheInfo
from objectstorage.errors import ErrBadRequest
from objectstorage.services.streams import StreamedResponse, count_of, head_response

__all__ = ["caches_routes"]

_BYTES = "application/octet-stream"
_MOST = 1000
# Bytes read of what is refused; who sends more finds the connection closed.
_DRAINED = 64 * 1024 * 1024


def caches_routes(caches: AsyncStorage | AsyncCacheStore, path: str = "/caches") -> list[BaseRoute]:
    """The routes above, over a store that holds nothing but caches."""
    store = caches if isinstance(caches, AsyncCacheStore) else AsyncCacheStore(caches)

    async def one(request: Request) -> Response:
        return await _METHODS[request.method](store, request)

    async def several(request: Request) -> Response:
        return await _list(store, request)

    return [
        Route(path, one, methods=list(_METHODS)),
        Route(f"{path}/list", several, methods=["GET"]),
    ]


async def _get(store: AsyncCacheStore, request: Request) -> Response:
    group, key, prefix = _which(request)
    info, reader = await store.restore(group, key, prefix=prefix)
    chunks: Any = aiter(reader)

    async def close() -> None:
        await chunks.aclose()
        await reader.close()

    return StreamedResponse(chunks, close, _head(info), _BYTES)


async def _head_of(store: AsyncCacheStore, request: Request) -> Response:
    group, key, prefix = _which(request)
    return head_response(_head(await store.find(group, key, prefix=prefix)), _BYTES)


async def _put(store: AsyncCacheStore, request: Request) -> Response:
    length = request.headers.get("content-length")
    body = request.stream()
    try:
        info = await store.save(
            _param(request, "group"),
            _param(request, "key"),
            body,
            size=None if length is None else int(length),
        )
    except Exception:
        await _drain(body)
        raise
    return JSONResponse(_json(info), 201)


async def _drain(body: AsyncIterator[bytes]) -> None:
    # A client that is still sending would find the connection broken, not the reply.
    left = _DRAINED
    try:
        async for chunk in body:
            left -= len(chunk)
            if left < 0:
                break
    except (ClientDisconnect, RuntimeError):
        pass  # it went away; or the store stopped in the middle of a read


async def _delete(store: AsyncCacheStore, request: Request) -> Response:
    await store.delete(_param(request, "group"), _param(request, "key"))
    return Response(status_code=204)


async def _list(store: AsyncCacheStore, request: Request) -> Response:
    params = request.query_params
    limit = count_of(params, "limit")
    limit = 100 if limit is None else limit
    if not 1 <= limit <= _MOST:
        raise ErrBadRequest(f"limit is 1 to {_MOST}", details={"parameter": "limit"})
    infos: Any = store.list(
        _param(request, "group"), params.get("prefix", ""), start_after=_start_after(request)
    )
    page: list[CacheInfo] = []
    more = False
    try:
        async for info in infos:
            more = len(page) == limit
            if more:
                break
            page.append(info)
    finally:
        await infos.aclose()
    token = base64.urlsafe_b64encode(page[-1].key.encode()).decode() if more else None
    return JSONResponse({"caches": [_json(info) for info in page], "next_token": token})


_METHODS = {"GET": _get, "HEAD": _head_of, "PUT": _put, "DELETE": _delete}


def _start_after(request: Request) -> str | None:
    token = request.query_params.get("token")
    if token is None:
        return None
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as exc:
        raise ErrBadRequest("this is no token", details={"parameter": "token"}) from exc


def _param(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise ErrBadRequest(f"{name} is missing", details={"parameter": name})
    return value


def _which(request: Request) -> tuple[str, str | None, str | None]:
    group, params = _param(request, "group"), request.query_params
    key, prefix = params.get("key"), params.get("prefix")
    if (key is None) == (prefix is None):
        raise ErrBadRequest("give a key or a prefix", details={"parameter": "key"})
    return group, key, prefix


def _head(info: CacheInfo) -> dict[str, str]:
    return {
        "content-length": str(info.size),
        "cache-group": quote(info.group),
        "cache-key": quote(info.key),
        "cache-saved": info.saved.isoformat(),
    }


def _json(info: CacheInfo) -> dict[str, Any]:
    return {**info._asdict(), "saved": info.saved.isoformat()}
