"""The data manager's calls on every kind of store, and SQLite's, by pytest-benchmark.

    pytest benchmarks --benchmark-only

`python -m benchmarks.datamanager` measures what several writers and many entries do.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from benchmarks.test_workloads import server, store
from objectstorage import Storage
from objectstorage.datamanager import DataManager, Put
from objectstorage.datamanager.db import Database

__all__ = ["server", "store"]  # fixtures

_VALUE = b"x" * 1000


@pytest.fixture
def data(store: Storage) -> DataManager:
    """With a thousand entries, in a checkpoint."""
    manager = DataManager(store)
    manager.write([Put("entry", f"{number:04}", _VALUE) for number in range(1000)])
    manager.checkpoint()
    return manager


def _measure(benchmark: Any, name: str, store: Storage, call: Any) -> None:
    kind = store.url.partition(":")[0]
    benchmark.group = f"data manager: {name} on {kind}"
    benchmark.pedantic(call, rounds=50 if kind == "s3" else 200, warmup_rounds=3)


@pytest.mark.parametrize("size", [1, 100])
def test_commit(benchmark: Any, store: Storage, data: DataManager, size: int) -> None:
    """A commit with a token and a group."""
    numbers = count()

    def commit() -> None:
        actions = [Put("entry", f"{next(numbers) % 1000:04}", _VALUE) for _ in range(size)]
        data.write(actions, groups=["group"], token=data.head())

    _measure(benchmark, f"commit of {size}", store, commit)


def test_read(benchmark: Any, store: Storage, data: DataManager) -> None:
    """An entry as of now, by a manager that has read before."""
    _measure(benchmark, "read", store, lambda: data.read("entry", "0500"))


def test_first_read(benchmark: Any, store: Storage, data: DataManager) -> None:
    """An entry as of now, by a manager that knows nothing yet."""
    _measure(benchmark, "first read", store, lambda: DataManager(store).read("entry", "0500"))


def test_list(benchmark: Any, store: Storage, data: DataManager) -> None:
    """All of a thousand entries."""
    _measure(benchmark, "list of 1,000", store, lambda: list(data.list("entry")))


@pytest.fixture
def database(tmp_path: Any) -> Iterator[Database]:
    """With one table."""
    with Database(tmp_path / "a.db") as db:
        db.do(lambda tx: tx.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB)"))
        yield db


def test_database_do(benchmark: Any, database: Database) -> None:
    """A row in a durable transaction of its own."""
    numbers = count()
    benchmark.group = "database: do"
    benchmark(
        lambda: database.do(
            lambda tx: tx.execute("REPLACE INTO t VALUES (?, ?)", [next(numbers) % 1000, _VALUE])
        )
    )


def test_database_view(benchmark: Any, database: Database) -> None:
    """A row read in a transaction of its own."""
    database.do(lambda tx: tx.execute("INSERT INTO t VALUES (1, ?)", [_VALUE]))
    benchmark.group = "database: view"
    benchmark(
        lambda: database.view(lambda tx: tx.query_one("SELECT data FROM t WHERE id = ?", [1]))
    )
