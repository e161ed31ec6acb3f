"""A hook that is told of every operation: for metrics, traces, logs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

from objectstorage.aio.storage import AsyncStorage
from objectstorage.wrappers._async.forwarding import AsyncCall, AsyncForwardingStorage
from objectstorage.wrappers.event import Event

__all__ = ["AsyncObservedStorage"]

_log = logging.getLogger("objectstorage")


class AsyncObservedStorage(AsyncForwardingStorage):
    """`store`, with `hook(event)` called after every operation (see `Event`).

    The hook is a plain function, called where the operation ran, and should be
    quick; what it raises is logged and changes nothing. A reader, a writer and
    a listing are one operation each, told of when they end.
    """

    def __init__(self, store: AsyncStorage, hook: Callable[[Event], object]) -> None:
        super().__init__(store)
        self._hook = hook

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return partial(type(self), hook=self._hook), (self._store,)

    def _call(self, operation: str, key: str | None, several: bool = False) -> AsyncCall:
        return _ObservedCall(self, operation, key, several)

    def _tell(self, event: Event) -> None:
        try:
            self._hook(event)
        except Exception:
            _log.exception("the hook of an observed store failed")


class _ObservedCall(AsyncCall):
    def __init__(
        self, store: AsyncObservedStorage, operation: str, key: str | None, several: bool
    ) -> None:
        super().__init__(store._error)
        self._store = store
        self._place = (operation, key)
        self._several = several
        self._seconds = 0.0
        self._bytes = 0
        self._over = False

    async def __aenter__(self) -> Self:
        self._since = time.perf_counter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._seconds += time.perf_counter() - self._since
        if exc is not None:
            self._end(type(exc).__name__, exc)
        elif not self._several:
            self._end("ok", None)

    def sent(self, count: int) -> None:
        self._bytes += count

    async def received(self, count: int) -> None:
        self._bytes += count

    def end(self, outcome: str = "ok") -> None:
        self._end(outcome, None)

    def _end(self, outcome: str, error: BaseException | None) -> None:
        if self._over:
            return
        self._over = True
        operation, key = self._place
        self._store._tell(
            Event(operation, key, self._bytes, self._seconds, outcome, error, self._store.url)
        )
