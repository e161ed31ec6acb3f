"""The run service as an application, and as a server's process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware

from objectstorage.services.runservice.guard import Guard
from objectstorage.services.runservice.routes import routes_of
from objectstorage.services.runservice.service import RunService
from objectstorage.services.wire import application

__all__ = ["application_of"]


def application_of(service: RunService, token: str | None = None) -> Starlette:
    """The service over HTTP; enters it when the server starts.

    token: what every request has to bring; without one only programs of this
        machine are served.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with service:
            yield

    return application(routes_of(service), middleware=[Middleware(Guard, token)], lifespan=lifespan)
