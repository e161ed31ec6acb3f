"""An application on a real server: uvicorn in a thread, on a port of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn

from objectstorage import aio
from objectstorage.caches.aio import AsyncCacheStore
from objectstorage.logs.aio import AsyncLogHub
from objectstorage.services.caches import caches_routes
from objectstorage.services.logs import logs_routes
from objectstorage.services.wire import application
from objectstorage.wrappers.aio import AsyncPrefixStorage


@contextmanager
def running(app: Any, http: str = "auto") -> Iterator[str]:
    """The URL it answers at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(512)  # clients may connect from now on
        config = uvicorn.Config(app, log_config=None, http=http, timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def serving(
    url: str,
    options: dict[str, Any],
    routes: Callable[[AsyncLogHub, AsyncCacheStore], list[Any]] | None = None,
    http: str = "auto",
) -> Iterator[str]:
    """Logs below `logs/` and caches below `caches/` of a store, over HTTP."""
    store = aio.open_storage(url, **options)
    hub = AsyncLogHub(AsyncPrefixStorage(store, "logs/"))
    caches = AsyncCacheStore(AsyncPrefixStorage(store, "caches/"))

    @asynccontextmanager
    async def lifespan(app: Any) -> Any:
        yield
        await hub.close()
        await store.close()

    served = [*logs_routes(hub), *caches_routes(caches)]
    if routes is not None:
        served += routes(hub, caches)
    with running(application(served, lifespan=lifespan), http) as address:
        yield address
