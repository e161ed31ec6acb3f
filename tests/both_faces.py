"""One test for both faces: what is asynchronous, run on an event loop in a thread.

`Face("sync")` gives objects as they are; `Face("async")` gives stand-ins whose
coroutines are waited for and whose asynchronous iterators are plain ones.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from objectstorage import aio, open_storage

STORES = ["memory", "posix", "s3-seaweedfs"]


def fresh_place(store: str, request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """URL and options of a fresh place on one of `STORES`."""
    if store == "s3-seaweedfs":
        server = request.getfixturevalue("seaweedfs")
        return server.fresh_url(), server.options()
    if store == "posix":
        return f"posix://{request.getfixturevalue('tmp_path')}/{uuid.uuid4().hex}", {}
    return f"memory://{uuid.uuid4().hex}", {}


class Face:
    def __init__(self, name: str) -> None:
        self.name = name
        self.is_async = name == "async"
        if self.is_async:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
            self._thread.start()

    def open_storage(self, url: str, **options: Any) -> Any:
        return self.make(aio.open_storage if self.is_async else open_storage, url, **options)

    def make(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a class or function of the face; arguments that are stand-ins are unwrapped."""
        if not self.is_async:
            return function(*args, **kwargs)
        plain = [arg._inner if isinstance(arg, _StandIn) else arg for arg in args]

        async def call() -> Any:
            result = function(*plain, **kwargs)
            return await result if inspect.isawaitable(result) else result

        return self._wrap(asyncio.run_coroutine_threadsafe(call(), self._loop).result())

    def close(self) -> None:
        if self.is_async:
            self.make(self._end)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _end(self) -> None:
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()

    def _wrap(self, value: Any) -> Any:
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*(self._wrap(field) for field in value))
        if hasattr(value, "__anext__"):
            return self._steps(value)
        if hasattr(value, "__aenter__") or type(value).__name__.startswith("Async"):
            return _StandIn(self, value)
        return value

    def _steps(self, iterator: Any) -> Iterator[Any]:
        end = object()
        try:
            while (item := self.make(anext, iterator, end)) is not end:
                yield item
        finally:
            self.make(iterator.aclose)


class _StandIn:
    def __init__(self, face: Face, inner: Any) -> None:
        self._face = face
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if callable(value):
            return lambda *args, **kwargs: self._face.make(value, *args, **kwargs)
        return self._face._wrap(value)

    def __enter__(self) -> Any:
        self._face.make(self._inner.__aenter__)
        return self

    def __exit__(self, *exc: Any) -> None:
        self._face.make(self._inner.__aexit__, *exc)

    def __iter__(self) -> Iterator[Any]:
        return self._face._wrap(self._inner.__aiter__())
