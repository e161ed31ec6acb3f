"""A store behind the fault proxy, in both faces, for tests of what goes wrong."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

from objectstorage import aio, open_storage
from objectstorage.testing.proxy import FaultProxy
from objectstorage.testing.servers import S3Server

KEY = "key"


class AsyncFace:
    """An asynchronous store, called from blocking tests."""

    def __init__(self, url: str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._store = aio.open_storage(url, **options)

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._loop.run_until_complete(getattr(self._store, name)(*args, **kwargs))

        return call

    def stream(self, key: str) -> bytes:
        async def gather() -> bytes:
            return b"".join([chunk async for chunk in self._store.stream(key)])

        return self._loop.run_until_complete(gather())

    def list(self, prefix: str = "") -> list[str]:
        async def gather() -> list[str]:
            return [info.key async for info in self._store.list(prefix)]

        return self._loop.run_until_complete(gather())

    def close(self) -> None:
        self._loop.run_until_complete(self._store.close())
        self._loop.close()


class SyncFace:
    """A blocking store with the few differences levelled."""

    def __init__(self, url: str, **options: Any) -> None:
        self._store = open_storage(url, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def stream(self, key: str) -> bytes:
        return b"".join(self._store.stream(key))

    def list(self, prefix: str = "") -> list[str]:
        return [info.key for info in self._store.list(prefix)]


class Bench:
    """A store behind the proxy, and one that goes straight to the server."""

    def __init__(self, server: S3Server, proxy: FaultProxy, face: type) -> None:
        self.proxy = proxy
        self._server = server
        self._face = face
        self.url = server.fresh_url()
        self._opened: list[Any] = []
        self.direct = self.open(endpoint=server.endpoint, face=SyncFace)
        self.direct.probe()
        self.store = self.open()

    def open(self, *, face: type | None = None, **options: Any) -> Any:
        given = {
            **self._server.options(),
            "create_bucket": False,
            "dialect": "seaweedfs",
            "endpoint": self.proxy.endpoint,
            "retry_time": 10,
            **options,
        }
        store = (face or self._face)(self.url, **given)
        self._opened.append(store)
        return store

    def close(self) -> None:
        for store in self._opened:
            store.close()


# What a store found out about races it remembers by origin, and SeaweedFS takes
# seconds to be found out about: each bench of a server listens at the same port.
_ports: dict[str, int] = {}


@contextmanager
def benches(server: S3Server, face: type) -> Iterator[Bench]:
    """A bench before a running server."""
    with ExitStack() as stack:
        try:
            proxy = stack.enter_context(_proxy(server, _ports.get(server.endpoint, 0)))
        except OSError:  # somebody else's by now
            proxy = stack.enter_context(_proxy(server, 0))
        _ports[server.endpoint] = proxy.port
        made = Bench(server, proxy, face)
        yield made
        made.close()


def _proxy(server: S3Server, listen: int) -> FaultProxy:
    parts = urlsplit(server.endpoint)
    return FaultProxy(parts.hostname or "", parts.port or 0, listen=listen)


def data(n: int) -> bytes:
    return os.urandom(n)
