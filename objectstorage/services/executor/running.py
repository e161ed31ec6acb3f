"""One task, from its claim to its last report."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from objectstorage.aio.storage import AsyncStorage
from objectstorage.caches.aio import AsyncCacheStore
from objectstorage.client.aio import AsyncClient
from objectstorage.client.tasks import (
    CANCELLED,
    FAILED,
    MAX_ERROR,
    RUNNING,
    SETUP,
    SUCCESS,
    ExecutorTask,
    Status,
    StepStatus,
)
from objectstorage.errors import (
    ErrConcurrency,
    ErrConflict,
    ErrExist,
    ErrOutcomeUnknown,
    ErrUnavailable,
    StorageError,
)
from objectstorage.logs.aio import AsyncLogWriter, archive
from objectstorage.services.executor.processes import Lifeline
from objectstorage.services.executor.reports import Reports
from objectstorage.services.executor.steps import Place, Step, make

__all__ = ["RunningTask", "Shared"]

_log = logging.getLogger("objectstorage.services")

# Below, a log is a handful of objects, and archiving it costs more than it saves.
_ARCHIVED_BYTES = 1024 * 1024
_ARCHIVED_SECONDS = 10.0

Why = Literal["cancelled", "handed back", "lost"]


class Shared(NamedTuple):
    """What the tasks of an executor share."""

    client: AsyncClient
    logs: AsyncStorage
    caches: AsyncCacheStore
    folder: str
    lifeline: Lifeline


class RunningTask:
    """Runs the steps of one claimed task, their logs and reports.

    Whatever happens, it ends with one last report: success, failed or
    cancelled; or the task is handed back; or it was lost to another claim, and
    then nothing is said any more.
    """

    def __init__(self, shared: Shared, task: ExecutorTask) -> None:
        assert task.spec_data is not None  # as it was claimed
        self.spec = task.spec
        self._data = task.spec_data
        self._shared = shared
        self._reports = Reports(shared.client, task.spec, lambda: self.stop("lost"))
        steps = tuple(StepStatus() for _ in task.spec_data.steps)
        self._status = Status(RUNNING, started=_now(), steps=steps)
        self._why: Why | None = None
        self._stopping = asyncio.Event()

    def stop(self, why: Why) -> None:
        """End it soon; what was lost stays lost."""
        if self._why != "lost":
            self._why = why
        if why == "lost":
            self._reports.hopeless = True
        self._stopping.set()

    async def run(self) -> None:
        """Do it all."""
        folder = None
        try:
            folder = tempfile.mkdtemp(prefix="task-", dir=self._shared.folder)
            phase, error = await self._all_steps(folder)
        except (ErrConcurrency, ErrConflict, ErrExist) as exc:
            # Somebody finished our logs: we were taken for dead.
            _log.warning("task %s is lost: %s", self.spec.id, exc)
            self._why = self._why or "handed back"
            phase, error = FAILED, str(exc)
        except (StorageError, OSError) as exc:
            _log.warning("task %s failed", self.spec.id, exc_info=True)
            phase, error = FAILED, f"{type(exc).__name__}: {exc}"
        except Exception:
            # Unsaid, it would be given to us again, and again.
            _log.exception("task %s broke off", self.spec.id)
            phase, error = FAILED, "internal error of the executor"
        finally:
            if folder is not None:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        await self._conclude(phase, error)

    async def _conclude(self, phase: str, error: str) -> None:
        if self._why == "handed back" and phase != SUCCESS:
            await self._reports.hand_back()
        elif self._why != "lost":
            error = error[:MAX_ERROR]
            status = self._status._replace(phase=phase, error=error, ended=_now())
            await self._reports.last(status)

    async def _all_steps(self, folder: str) -> tuple[str, str]:
        """The task's phase and error."""
        place = Place(
            folder,
            {**_basic(folder), **self._data.environment},
            self._data.cache_group,
            self._shared.caches,
            self._shared.lifeline,
        )
        deadline = asyncio.get_running_loop().time() + self._data.timeout
        await self._set_up(place)
        for number, fields in enumerate(self._data.steps):
            if self._why is not None:
                return CANCELLED, ""
            error = await self._one_step(number, make(place, fields), fields, deadline)
            if error:
                return (CANCELLED, "") if self._why else (FAILED, f"step {number + 1}: {error}")
        return SUCCESS, ""

    async def _set_up(self, place: Place) -> None:
        self._status = self._status._replace(setup=StepStatus(RUNNING, _now()))
        self._reports.send(self._status)
        os.mkdir(place.work)
        os.mkdir(place.environment["HOME"])
        async with await self._opened(SETUP) as log:
            text = (
                f"executor {self.spec.executor}, claim {self.spec.claim}\n"
                f"folder {place.work}\n"
                f"cache group {place.cache_group}\n"
                f"steps {len(self._data.steps)}\n"
            )
            await self._patiently(lambda: log.write(text.encode()))
            await self._patiently(lambda: log.close(SUCCESS))
        setup = self._status.setup._replace(phase=SUCCESS, ended=_now(), exit_code=0)
        self._status = self._status._replace(setup=setup)

    async def _one_step(self, number: int, step: Step, fields: object, deadline: float) -> str:
        """Why it failed; "" if it didn't."""
        assert isinstance(fields, dict)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        limit = min(float(fields.get("timeout", self._data.timeout)), deadline - begin)
        self._set(number, StepStatus(RUNNING, _now()))
        code: int | None = None
        async with await self._opened(number + 1) as log:

            async def write(data: bytes) -> None:
                await self._patiently(lambda: log.write(data))

            body = asyncio.ensure_future(step.run(write))
            stopping = asyncio.ensure_future(self._stopping.wait())
            try:
                await asyncio.wait(
                    (body, stopping), timeout=max(limit, 0), return_when=asyncio.FIRST_COMPLETED
                )
                late = not body.done() and not stopping.done()
                if not body.done():
                    step.stop()
                code = await body
            finally:
                stopping.cancel()
                body.cancel()
            error = ""
            if late:
                error = f"took longer than {limit:g} seconds"
                await write(f"\nit {error}, and was stopped\n".encode())
            elif code:
                error = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
            phase = SUCCESS if not error else FAILED
            if self._why is not None and error:
                phase = CANCELLED
            await self._patiently(lambda: log.close(f"{phase}: {error}" if error else phase))
        if log.offset > _ARCHIVED_BYTES or loop.time() - begin > _ARCHIVED_SECONDS:
            await self._archive(log.name)
        status = self._status.steps[number]
        self._set(number, status._replace(phase=phase, ended=_now(), exit_code=code))
        return error

    def _set(self, number: int, step: StepStatus) -> None:
        steps = self._status.steps
        self._status = self._status._replace(steps=(*steps[:number], step, *steps[number + 1 :]))
        self._reports.send(self._status)

    async def _opened(self, step: str | int) -> AsyncLogWriter:
        log = AsyncLogWriter(self._shared.logs, self.spec.log(step))
        await self._patiently(log.open)
        return log

    async def _archive(self, name: str) -> None:
        try:
            await archive(self._shared.logs, name)
        except StorageError as exc:
            _log.warning("log %s stays as it is: %s", name, exc)

    async def _patiently(self, call: Callable[[], Awaitable[object]]) -> None:
        """Again while the store is away; the step waits for its log."""
        pause = 0.2
        while True:
            try:
                await call()
                return
            except (ErrUnavailable, ErrOutcomeUnknown) as exc:
                if self._why == "lost":
                    raise
                _log.warning("task %s: its log waits: %s", self.spec.id, exc)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)


def _basic(folder: str) -> dict[str, str]:
    """What every step's environment has; of the executor's own only where programs are."""
    return {
        "HOME": os.path.join(folder, "home"),
        "LANG": "C.UTF-8",
        "PATH": os.environ.get("PATH", os.defpath),
    }


def _now() -> datetime:
    return datetime.now(UTC)
