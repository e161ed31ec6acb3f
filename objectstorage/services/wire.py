"""Errors as replies: a status and `{"code", "message", "details"}` in JSON.

The kind decides the status and the code, the message is what the service
itself said. What was not meant for the user never leaves: a store's own error
shows its kind and a general sentence, any other exception a plain "internal
server error". What happened, with the chain of causes, is in the log.

>>> from objectstorage.errors import ErrNotExist
>>> encode(ErrNotExist("run doesn't exist", details={"run": "r1"}))
Reply(status=404, code='not_exist', message="run doesn't exist", details={'run': 'r1'})
>>> encode(ErrNotExist("no such object", key="state/r1", storage="s3://internal")).message
'not found'
>>> encode(RuntimeError("password=1234"))
Reply(status=500, code='internal', message='internal server error', details={})
"""

from __future__ import annotations

import http
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from objectstorage import errors
from objectstorage.client.replies import CODE_HEADER, code_of, error_of
from objectstorage.errors import ErrFromRemote, ErrInternal, StorageError

__all__ = ["ErrorMiddleware", "Reply", "application", "encode", "error_of", "error_response"]

_log = logging.getLogger("objectstorage.services")

HIDDEN = "internal server error"

# What is said in place of a store's own words.
_SENTENCES = {
    400: "bad request",
    401: "unauthorized",
    403: "forbidden",
    404: "not found",
    409: "conflict",
    410: "gone",
    412: "precondition failed",
    416: "invalid range",
    501: "not supported",
    503: "unavailable",
    504: "timeout",
}


class Reply(NamedTuple):
    """An error as it is sent."""

    status: int
    code: str
    message: str
    details: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        """The JSON; empty where the status forbids a body."""
        if self.status == http.HTTPStatus.NOT_MODIFIED:
            return b""
        fields = {"code": self.code, "message": self.message, "details": self.details}
        return json.dumps(fields, default=str).encode()


def encode(err: BaseException) -> Reply:
    """What the client is told of `err`.

    Its own kind decides. If it has none, but came from a remote service, what
    that one said decides, since that was meant for its client. Anything else
    is hidden.
    """
    if not _has_kind(err):
        remote = errors.as_(err, ErrFromRemote)
        cause = None if remote is None else remote.__cause__
        if cause is None or not _has_kind(cause):
            return Reply(500, "internal", HIDDEN, {})
        err = cause
    assert isinstance(err, StorageError)
    code = code_of(type(err)) or "internal"
    status = err.http_status
    if err.storage is None and (
        status != http.HTTPStatus.INTERNAL_SERVER_ERROR or err.is_(ErrInternal)
    ):
        return Reply(status, code, err.message or _sentence(status), err.details)
    return Reply(status, code, _sentence(status), {})


def _has_kind(err: BaseException) -> bool:
    return isinstance(err, StorageError) and code_of(type(err)) is not None


def _sentence(status: int) -> str:
    return _SENTENCES.get(status, HIDDEN)


def error_response(err: BaseException) -> Response:
    """`err` as a response, for who answers before the application: a middleware that guards it."""
    return _response(encode(err))


def _response(reply: Reply, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        reply.body,
        reply.status,
        {**(headers or {}), CODE_HEADER: reply.code, "cache-control": "no-store"},
        "application/json",
    )


def application(
    routes: Sequence[BaseRoute],
    *,
    middleware: Sequence[Middleware] = (),
    lifespan: Callable[[Starlette], Any] | None = None,
) -> Starlette:
    """A Starlette application whose errors are all of this form, its own 404 and 405 too."""
    return Starlette(
        routes=routes,
        middleware=[*middleware, Middleware(ErrorMiddleware)],
        exception_handlers={HTTPException: _on_http_exception},
        lifespan=lifespan,
    )


async def _on_http_exception(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    code = {404: "no_such_route", 405: "method_not_allowed"}.get(exc.status_code)
    if code is None:
        code = "bad_request" if exc.status_code < 500 else "internal"
    return _response(Reply(exc.status_code, code, exc.detail, {}), exc.headers)


class ErrorMiddleware:
    """Turns what the application raises into a reply, and logs it with its chain of causes.

    Once a response has begun nothing can be said any more: the exception goes
    on to the server, which breaks the connection off.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except ClientDisconnect:
            _log.info("%s %s: the client went away", scope["method"], scope["path"])
        except Exception as exc:
            reply = encode(exc)
            _log.log(
                logging.ERROR if reply.status >= 500 or started else logging.INFO,
                "%s %s: %s %s",
                scope["method"],
                scope["path"],
                "broken off" if started else reply.status,
                reply.code,
                exc_info=exc,
            )
            if started:
                raise
            await _response(reply)(scope, receive, send)
