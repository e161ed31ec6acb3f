"""What may become of a task: from one `ExecutorTask` to the next, or `ErrConcurrency`.

The one place where a task's phase changes. Nothing leaves a final phase, so a
task finishes once; and only the newest claim may say anything.
"""

from __future__ import annotations

from datetime import datetime

from objectstorage.client.tasks import (
    CANCELLED,
    FAILED,
    PENDING,
    RUNNING,
    ExecutorTask,
    Spec,
    Status,
)
from objectstorage.errors import ErrBadRequest, ErrConcurrency

__all__ = ["MAX_LOST", "cancelled", "claimed", "handed_back", "lost", "reported"]

MAX_LOST = 3
"""So many executors died on a task, and it has failed."""


def claimed(task: ExecutorTask, executor: str) -> ExecutorTask:
    """A pending task, given to an executor."""
    spec = task.spec._replace(executor=executor, claim=task.spec.claim + 1)
    return ExecutorTask(spec, Status(RUNNING))


def reported(task: ExecutorTask, executor: str, claim: int, status: Status) -> ExecutorTask:
    """With the status that its executor reports; as it is, if that was reported already."""
    if status.phase == PENDING:
        raise ErrBadRequest("a task that was claimed isn't pending", details={"task": task.spec.id})
    _check_claim(task, executor, claim)
    if task.status == status:
        return task
    if task.status.final:
        raise _stale(task, "task is finished")
    return task._replace(status=status)


def handed_back(task: ExecutorTask, executor: str, claim: int) -> ExecutorTask:
    """Pending again, for another executor."""
    _check_claim(task, executor, claim)
    if task.status.final:
        raise _stale(task, "task is finished")
    return _pending(task, task.spec)


def lost(task: ExecutorTask, now: datetime) -> ExecutorTask:
    """After its executor died: pending again, unless that happened too often."""
    spec = task.spec._replace(lost=task.spec.lost + 1)
    if spec.lost < MAX_LOST or spec.stop:
        return _pending(task, spec)
    error = f"{spec.lost} executors died on it"
    return ExecutorTask(spec, task.status._replace(phase=FAILED, error=error, ended=now))


def cancelled(task: ExecutorTask) -> ExecutorTask:
    """To be stopped: at once if nobody runs it, else by its executor. As it is if finished."""
    if task.status.final:
        return task
    spec = task.spec._replace(stop=True)
    if task.status.phase == PENDING:
        return ExecutorTask(spec, Status(CANCELLED))
    return task._replace(spec=spec)


def _pending(task: ExecutorTask, spec: Spec) -> ExecutorTask:
    task = ExecutorTask(spec._replace(executor=""), Status())
    return cancelled(task) if spec.stop else task


def _check_claim(task: ExecutorTask, executor: str, claim: int) -> None:
    if (task.spec.executor, task.spec.claim) != (executor, claim):
        raise _stale(task, "task is another claim's")


def _stale(task: ExecutorTask, message: str) -> ErrConcurrency:
    return ErrConcurrency(message, details={"task": task.spec.id})
