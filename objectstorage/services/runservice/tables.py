"""The run service's tables in the read index, and what is asked of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from objectstorage.client.tasks import PENDING, RUNNING, ExecutorTask, Run, Spec
from objectstorage.datamanager import Action, Put
from objectstorage.datamanager.db import Transaction

__all__ = [
    "RUN",
    "TABLES",
    "TASK",
    "apply",
    "pending",
    "run_of",
    "running",
    "running_of",
    "runs_page",
    "task_ids",
    "task_of",
    "tasks_page",
    "unfinished",
]

RUN, TASK = "run", "executortask"
"""The types of the entries; a task's id is `<run>/<task>`."""

TABLES = [
    "CREATE TABLE run (id TEXT PRIMARY KEY, project TEXT, data BLOB) WITHOUT ROWID",
    "CREATE INDEX run_project ON run (project, id)",
    "CREATE TABLE task (id TEXT PRIMARY KEY, run TEXT, phase TEXT, executor TEXT, data BLOB)"
    " WITHOUT ROWID",
    "CREATE INDEX task_run ON task (run, phase)",
    "CREATE INDEX task_phase ON task (phase, executor, id)",
]

_DELETE = {RUN: "DELETE FROM run WHERE id = ?", TASK: "DELETE FROM task WHERE id = ?"}
_LAST = "~"  # after every run's id


def apply(tx: Transaction, action: Action) -> None:
    """Take a `Put` or `Delete` into the tables; what is of no type of theirs is passed over."""
    if not isinstance(action, Put):
        if action.type in _DELETE:
            tx.execute(_DELETE[action.type], [action.id])
    elif action.type == RUN:
        project = json.loads(action.data)["project"]
        tx.execute("INSERT OR REPLACE INTO run VALUES (?, ?, ?)", [action.id, project, action.data])
    elif action.type == TASK:
        task = decode(action.data)
        row = (action.id, task.spec.run, task.status.phase, task.spec.executor, action.data)
        tx.execute("INSERT OR REPLACE INTO task VALUES (?, ?, ?, ?, ?)", row)


def decode(data: bytes) -> ExecutorTask:
    """A task as it is stored."""
    return ExecutorTask.parse(json.loads(data))


class Rows(NamedTuple):
    """A page: what was asked for, and whether there is more."""

    items: list[Any]
    more: bool


def run_of(tx: Transaction, id_: str) -> Run | None:
    """A run; None if there is none."""
    row = tx.query_one("SELECT data FROM run WHERE id = ?", [id_])
    return None if row is None else next(_runs(tx, [row[0]]))


def runs_page(tx: Transaction, project: str | None, before: str | None, limit: int) -> Rows:
    """Runs, of a project or all, the newest first, those after `before`."""
    parameters = (before or _LAST, limit + 1)
    if project is None:
        found = tx.query("SELECT data FROM run WHERE id < ? ORDER BY id DESC LIMIT ?", parameters)
    else:
        sql = "SELECT data FROM run WHERE project = ? AND id < ? ORDER BY id DESC LIMIT ?"
        found = tx.query(sql, (project, *parameters))
    rows = [row[0] for row in found]
    return Rows(list(_runs(tx, rows[:limit])), len(rows) > limit)


def _runs(tx: Transaction, rows: Iterable[bytes]) -> Iterator[Run]:
    for data in rows:
        fields = json.loads(data)
        sql = "SELECT phase, count(*) FROM task WHERE run = ? GROUP BY phase"
        yield Run.parse({**fields, "tasks": dict(tx.query(sql, [fields["id"]]))})


def task_of(tx: Transaction, id_: str) -> ExecutorTask | None:
    """A task; None if there is none."""
    row = tx.query_one("SELECT data FROM task WHERE id = ?", [id_])
    return None if row is None else decode(row[0])


def tasks_page(tx: Transaction, run: str, after: str, limit: int) -> Rows:
    """A run's tasks after the one of that name."""
    sql = "SELECT data FROM task WHERE id > ? AND id < ? ORDER BY id LIMIT ?"
    # "0" is what follows "/"
    rows = [decode(row[0]) for row in tx.query(sql, [f"{run}/{after}", f"{run}0", limit + 1])]
    return Rows(rows[:limit], len(rows) > limit)


def pending(tx: Transaction, limit: int, without: Collection[str]) -> list[ExecutorTask]:
    """The oldest pending tasks, but for some."""
    sql = "SELECT id, data FROM task WHERE phase = ? ORDER BY id LIMIT ?"
    rows = tx.query(sql, [PENDING, limit + len(without)])
    return [decode(data) for id_, data in rows if id_ not in without][:limit]


def running_of(tx: Transaction, executor: str) -> list[ExecutorTask]:
    """The running tasks of an executor."""
    sql = "SELECT data FROM task WHERE phase = ? AND executor = ? ORDER BY id"
    return [decode(row[0]) for row in tx.query(sql, [RUNNING, executor])]


def running(tx: Transaction) -> dict[str, list[Spec]]:
    """The running tasks by executor."""
    found: dict[str, list[Spec]] = {}
    for (data,) in tx.query("SELECT data FROM task WHERE phase = ?", [RUNNING]):
        spec = decode(data).spec
        found.setdefault(spec.executor, []).append(spec)
    return found


def task_ids(tx: Transaction, run: str) -> list[str]:
    """The ids of a run's tasks."""
    return [row[0] for row in tx.query("SELECT id FROM task WHERE run = ?", [run])]


def unfinished(tx: Transaction, run: str) -> list[ExecutorTask]:
    """The tasks of a run that are not finished."""
    sql = "SELECT data FROM task WHERE run = ? AND phase IN (?, ?)"
    return [decode(row[0]) for row in tx.query(sql, [run, PENDING, RUNNING])]
