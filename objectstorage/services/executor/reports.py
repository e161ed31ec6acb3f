"""Reports of one task to the run service: the newest status, and in the end the last."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable

from objectstorage import errors
from objectstorage.client.aio import AsyncClient, Result
from objectstorage.client.tasks import ExecutorTask, Spec, Status
from objectstorage.errors import StorageError

__all__ = ["Reports", "refused"]

_log = logging.getLogger("objectstorage.services")
_LONGEST = 5.0
_PACE = 0.25
"""Seconds that a status waits for a newer one: each that is sent is a commit."""


def refused(exc: StorageError) -> bool:
    """Whether asking again would change nothing."""
    kinds = (
        errors.is_err_concurrency,
        errors.is_err_not_exist,
        errors.is_err_bad_request,
        errors.is_err_forbidden,
        errors.is_err_unauthorized,
    )
    return any(is_kind(exc) for is_kind in kinds)


class Reports:
    """Sends what is new, one after the other; what is overtaken meanwhile is left out."""

    def __init__(self, client: AsyncClient, spec: Spec, lost: Callable[[], object]) -> None:
        self._client = client
        self._spec = spec
        self._lost = lost
        self._new: Status | None = None
        self._sending: asyncio.Task[None] | None = None
        self._last = asyncio.Event()
        self.hopeless = False
        """Set when the task is another's for certain: then nothing is tried again."""

    def send(self, status: Status) -> None:
        """Report it soon; `lost` is called if the task is no longer this executor's."""
        self._new = status
        if self._sending is None or self._sending.done():
            self._sending = asyncio.ensure_future(self._send())

    async def _send(self) -> None:
        while self._new is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PACE):
                    await self._last.wait()
            if self._last.is_set():
                return
            status, self._new = self._new, None
            try:
                await self._client.executors.report(self._spec, status)
            except StorageError as exc:
                if errors.is_err_concurrency(exc):
                    self._lost()
                else:
                    _log.warning("task %s: a report failed: %s", self._spec.id, exc)

    async def last(self, status: Status) -> bool:
        """Report it until it is taken, or refused: then False."""
        return await self._insist(lambda: self._client.executors.report(self._spec, status))

    async def hand_back(self) -> bool:
        """Give the task back, unless that is refused: then False."""
        return await self._insist(lambda: self._client.executors.hand_back(self._spec))

    async def _insist(self, call: Callable[[], Awaitable[Result[ExecutorTask]]]) -> bool:
        self._last.set()
        if self._sending is not None:
            await self._sending
        pause = 0.1
        while not self.hopeless:
            try:
                await call()
                return True
            except StorageError as exc:
                if refused(exc):
                    _log.warning("task %s: the report was refused: %s", self._spec.id, exc)
                    return False
                _log.warning("task %s: the report is tried again: %s", self._spec.id, exc)
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, _LONGEST)
        return False
