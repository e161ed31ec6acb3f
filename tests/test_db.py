"""Transactions on SQLite: all or nothing, in time, interrupted, retried; both faces."""

from __future__ import annotations

import asyncio
import errno
import inspect
import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import needs

from objectstorage import errors
from objectstorage.datamanager.db import AsyncDatabase, Database, Transaction

ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0"
)


class Blocking:
    """The asynchronous face, driven by a loop of its own."""

    def __init__(self, path: Path, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._database = AsyncDatabase(path, **options)

    def do(self, fn: Callable[[Transaction], Any], **options: Any) -> Any:
        return self._loop.run_until_complete(self._database.do(fn, **options))

    def view(self, fn: Callable[[Transaction], Any], **options: Any) -> Any:
        return self._loop.run_until_complete(self._database.view(fn, **options))

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self._loop.run_until_complete(self._database.close())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@pytest.fixture(params=[Database, Blocking])
def face(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def db(face: Any, tmp_path: Path) -> Iterator[Any]:
    database = face(tmp_path / "a.db")
    database.do(lambda tx: tx.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)"))
    yield database
    database.close()


def insert(tx: Transaction, number: int = 1) -> None:
    tx.execute("INSERT INTO t VALUES (?, 0)", [number])


def ids(db: Any) -> list[int]:
    return [row[0] for row in db.view(lambda tx: list(tx.query("SELECT id FROM t ORDER BY id")))]


def test_what_a_transaction_does_is_there_when_it_returns(db: Any) -> None:
    def fn(tx: Transaction) -> int:
        assert tx.execute("INSERT INTO t VALUES (:id, :n)", {"id": 1, "n": 2}) == 1
        assert tx.execute_many("INSERT INTO t VALUES (?, 0)", ((i,) for i in (2, 3))) == 2
        assert tx.query_one("SELECT n FROM t WHERE id = 9") is None
        assert list(tx.query("INSERT INTO t VALUES (4, 0) RETURNING id")) == [(4,)]
        assert tx.seconds_left is None
        return tx.execute("UPDATE t SET n = n + 1")

    assert db.do(fn) == 4
    assert ids(db) == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, errors.ErrNotExist, SystemExit])
def test_any_exception_undoes_it_and_is_passed_on(
    kind: type[BaseException], tmp_path: Path
) -> None:
    raised = kind("mine")

    def fn(tx: Transaction) -> None:
        insert(tx)
        raise raised

    with Database(tmp_path / "a.db") as db:
        db.do(lambda tx: tx.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)"))
        with pytest.raises(kind) as caught:
            db.do(fn)
        assert caught.value is raised
        assert str(raised) == "mine"  # nothing is said of a place it has nothing to do with
        assert ids(db) == []


def test_a_coroutine_is_refused(db: Any) -> None:
    async def fn(tx: Transaction) -> None:
        insert(tx)

    with pytest.raises(TypeError, match="plain function"):
        db.do(fn)
    assert ids(db) == []


def test_a_statement_is_interrupted_at_the_deadline(db: Any) -> None:
    def fn(tx: Transaction) -> None:
        insert(tx)
        assert 0 < (tx.seconds_left or 0) <= 0.2
        tx.query_one(ENDLESS)

    with pytest.raises(errors.ErrTimeout, match=r"do in sqlite:.*longer than 0.2 s"):
        db.do(fn, timeout=0.2)
    assert ids(db) == []
    with pytest.raises(errors.ErrTimeout):
        db.view(lambda tx: tx.query_one(ENDLESS), timeout=0.1)


def test_code_between_statements_meets_the_deadline_too(db: Any) -> None:
    def polite(tx: Transaction) -> None:
        while True:
            tx.check()

    def rude(tx: Transaction) -> None:
        insert(tx)
        while (tx.seconds_left or 0) > 0:
            pass

    def stubborn(tx: Transaction) -> None:
        insert(tx)
        try:
            tx.query_one(ENDLESS)
        except errors.StorageError:
            pass

    for fn in (polite, rude, stubborn):
        with pytest.raises(errors.ErrTimeout):
            db.do(fn, timeout=0.1)
    assert ids(db) == []


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_that_is_none_is_refused(db: Any, timeout: float) -> None:
    with pytest.raises(errors.ErrBadRequest):
        db.do(insert, timeout=timeout)


def test_an_exception_of_a_signal_comes_out_of_a_statement(tmp_path: Path) -> None:
    class Alarm(BaseException):
        pass

    def ring(number: int, frame: object) -> None:
        raise Alarm

    def fn(tx: Transaction) -> None:
        insert(tx)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        tx.query_one(ENDLESS)

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with Database(tmp_path / "a.db") as db:
            db.do(lambda tx: tx.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)"))
            with pytest.raises(Alarm):
                db.do(fn)
            assert ids(db) == []
    finally:
        signal.signal(signal.SIGALRM, before)


# -- cancelling ------------------------------------------------------------------


def with_table(path: Path) -> AsyncDatabase:
    with Database(path) as db:
        db.do(lambda tx: tx.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)"))
    return AsyncDatabase(path, readers=2)


async def ids_of(db: AsyncDatabase) -> list[int]:
    return await db.view(lambda tx: [row[0] for row in tx.query("SELECT id FROM t")])


def test_a_cancelled_task_interrupts_its_transaction_and_waits_for_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with with_table(tmp_path / "a.db") as db:
            loop = asyncio.get_running_loop()
            reached = asyncio.Event()
            after = threading.Event()

            def fn(tx: Transaction) -> None:
                insert(tx)
                loop.call_soon_threadsafe(reached.set)
                try:
                    tx.query_one(ENDLESS)
                finally:
                    after.set()

            task = asyncio.create_task(db.do(fn))
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert after.is_set()
            assert await ids_of(db) == []
            await db.do(insert)  # the connection is as good as new
            assert await ids_of(db) == [1]

    asyncio.run(main())


def test_what_waits_its_turn_is_cancelled_and_timed_out_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with with_table(tmp_path / "a.db") as db:
            go = threading.Event()
            first = asyncio.create_task(db.do(lambda tx: go.wait()))
            second = asyncio.create_task(db.do(insert))
            await asyncio.sleep(0)
            with pytest.raises(errors.ErrTimeout, match="of this process"):
                await db.do(insert, timeout=0.05)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            assert await ids_of(db) == []  # beside the one that writes
            go.set()
            await first
            assert await ids_of(db) == []

    asyncio.run(main())


def test_cancelled_after_the_commit_it_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with with_table(tmp_path / "a.db") as db:
            with Database(tmp_path / "a.db") as other:
                task = asyncio.create_task(db.do(insert))
                await asyncio.sleep(0)
                while not ids(other):  # the loop stands still, and learns of nothing
                    pass
                task.cancel()
                with pytest.raises(errors.ErrOutcomeUnknown, match="is done"):
                    await task

    asyncio.run(main())


# -- others ------------------------------------------------------------------------


def held(path: Path) -> sqlite3.Connection:
    """A connection that is in the way of any other that writes, until it is closed."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_others_are_waited_for(face: Any, tmp_path: Path) -> None:
    db = face(tmp_path / "a.db", patience=0.1)
    db.do(lambda tx: tx.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)"))
    other = held(tmp_path / "a.db")
    with pytest.raises(errors.ErrTimeout, match="others held it"):
        db.do(insert, timeout=0.1)
    with pytest.raises(errors.ErrUnavailable, match="others held it") as caught:
        db.do(insert)
    assert not errors.is_err_timeout(caught.value)
    assert ids(db) == []
    other.close()
    db.do(insert)
    assert ids(db) == [1]
    db.close()


def test_busy_in_the_middle_is_retried_whatever_fn_makes_of_it(db: Any, tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "b.db").execute("CREATE TABLE u (id)").connection.close()
    other = held(tmp_path / "b.db")
    tries = 0

    def fn(tx: Transaction) -> int:
        nonlocal tries
        tries += 1
        insert(tx)
        if tries == 1:
            tx.execute("ATTACH ? AS b", [str(tmp_path / "b.db")])
        if tries == 4:
            other.rollback()
        try:
            return tx.execute("INSERT INTO b.u VALUES (1)")
        except errors.ErrUnavailable as exc:
            if tries == 2:
                raise ValueError("wrapped") from exc
            if tries == 3:
                return 3
            raise

    assert db.do(fn) == 1
    assert tries == 4
    assert ids(db) == [1]
    other.close()


def add_up(path: str, times: int) -> None:
    with Database(path) as db:
        for _ in range(times):
            db.do(lambda tx: tx.execute("UPDATE t SET n = n + 1"), timeout=60)


def test_sums_of_processes_and_threads_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Database(path, readers=1) as db:
        db.do(lambda tx: tx.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)"))
        db.do(insert)
        context = multiprocessing.get_context("spawn")
        workers: list[Any] = [context.Process(target=add_up, args=(str(path), 25)) for _ in "123"]

        def count() -> None:
            for _ in range(25):
                db.do(lambda tx: tx.execute("UPDATE t SET n = n + 1"), timeout=60)
                db.view(lambda tx: tx.query_one("SELECT n FROM t"), timeout=60)

        threads = [threading.Thread(target=count) for _ in range(4)]
        for worker in workers + threads:
            worker.start()
        for worker in workers + threads:
            worker.join()
        assert db.view(lambda tx: tx.query_one("SELECT n FROM t")) == (175,)


# -- errors --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "sql", "parameters"),
    [
        (errors.ErrExist, "INSERT INTO t VALUES (1, 0)", ()),
        (errors.ErrExist, "INSERT INTO child VALUES ('a', NULL), ('a', NULL)", ()),
        (errors.ErrConflict, "INSERT INTO child VALUES ('a', 7)", ()),
        (errors.ErrConflict, "INSERT INTO child VALUES (NULL, NULL)", ()),
        (errors.ErrBackend, "SELEKT", ()),
        (errors.ErrBackend, "SELECT * FROM nowhere", ()),
        (errors.ErrBadRequest, "SELECT ?", ()),
        (errors.ErrBadRequest, "SELECT ?", (object(),)),
        (errors.ErrBadRequest, "SELECT ?", (1 << 70,)),
        (errors.ErrBadRequest, "SELECT ?", ("\ud800",)),
        (errors.ErrBadRequest, "COMMIT", ()),
        (errors.ErrBadRequest, " rollback transaction", ()),
        (errors.ErrBadRequest, "BEGIN", ()),
    ],
)
def test_errors_are_of_the_one_tree(
    db: Any, kind: type[errors.StorageError], sql: str, parameters: tuple[Any, ...]
) -> None:
    def fn(tx: Transaction) -> None:
        tx.execute("CREATE TABLE child (name TEXT NOT NULL UNIQUE, t REFERENCES t(id))")
        insert(tx)
        tx.execute(sql, parameters)

    with pytest.raises(kind) as caught:
        db.do(fn)
    assert type(caught.value) is kind
    assert caught.value.operation == "do"
    assert str(caught.value.storage).startswith("sqlite:/")
    assert ids(db) == []


def test_a_savepoint_is_the_transactions_own_affair(db: Any) -> None:
    def fn(tx: Transaction) -> None:
        insert(tx, 1)
        tx.execute("SAVEPOINT s")
        insert(tx, 2)
        tx.execute("ROLLBACK TO s")
        tx.execute("RELEASE s")

    db.do(fn)
    assert ids(db) == [1]


def test_a_full_disk_undoes_it_all(db: Any) -> None:
    def fills(tx: Transaction) -> None:
        insert(tx)
        tx.execute("PRAGMA max_page_count = 4")
        tx.execute("CREATE TABLE big AS SELECT zeroblob(1000000)")

    with pytest.raises(errors.ErrIO) as caught:
        db.do(fills)
    assert caught.value.errno == errno.ENOSPC
    assert ids(db) == []
    db.do(insert)
    assert ids(db) == [1]


def test_nothing_goes_on_alone_where_sqlite_has_undone_the_rest(db: Any) -> None:
    def fn(tx: Transaction) -> None:
        insert(tx)
        with pytest.raises(errors.ErrExist):
            tx.execute("INSERT OR ROLLBACK INTO t VALUES (1, 0)")
        insert(tx, 2)

    with pytest.raises(errors.ErrClosed, match="SQLite undid"):
        db.do(fn)
    assert ids(db) == []


def test_a_view_changes_nothing(db: Any) -> None:
    with pytest.raises(errors.ErrPermission):
        db.view(insert)
    assert ids(db) == []


def test_a_view_is_one_state_and_lets_go_of_it(db: Any, tmp_path: Path) -> None:
    db.do(insert)
    kept = []

    def fn(tx: Transaction) -> None:
        before = list(tx.query("SELECT id FROM t"))
        with Database(tmp_path / "a.db") as other:
            other.do(lambda tx: insert(tx, 2))
        assert list(tx.query("SELECT id FROM t")) == before
        rows = tx.query("SELECT id FROM t UNION SELECT 5")
        assert next(rows) == (1,)
        kept.append(rows)

    db.view(fn)
    with pytest.raises(errors.ErrClosed, match="has ended"):
        next(kept[0])
    raw = sqlite3.connect(tmp_path / "a.db")
    # nobody reads an old state any more, or this would be refused
    assert raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    raw.close()


def test_a_transaction_inside_another(tmp_path: Path) -> None:
    with Database(tmp_path / "a.db") as db:
        db.do(lambda tx: tx.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)"))

        def reads(tx: Transaction) -> list[int]:
            insert(tx)
            return ids(db)

        assert db.do(reads) == []  # what is committed
        with pytest.raises(errors.ErrBadRequest, match="under way in this thread"):
            db.do(lambda tx: db.do(insert))
        with pytest.raises(errors.ErrBadRequest, match="can't be closed"):
            db.do(lambda tx: db.close())
        assert ids(db) == [1]


def test_files_that_are_no_database(face: Any, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no database at all\n" * 100)
    missing = tmp_path / "nowhere" / "a.db"
    for path, kind in (
        (tmp_path / "text", errors.ErrIntegrity),
        (missing, errors.ErrNotExist),
        (tmp_path, errors.ErrIO),
    ):
        db = face(path)
        with pytest.raises(kind) as caught:
            db.do(lambda tx: None)
        assert caught.value.code is not None
        db.close()


def test_a_page_that_is_damaged_is_told(db: Any, tmp_path: Path) -> None:
    db.do(lambda tx: tx.execute("CREATE TABLE big AS SELECT hex(zeroblob(20000)) AS x"))
    db.close()
    with open(tmp_path / "a.db", "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with Database(tmp_path / "a.db") as damaged, pytest.raises(errors.ErrIntegrity):
        damaged.view(lambda tx: list(tx.query("SELECT * FROM t")))


def test_after_close(tmp_path: Path) -> None:
    db = Database(tmp_path / "a.db")
    db.close()
    db.close()
    with pytest.raises(errors.ErrClosed):
        db.do(insert)

    async def main() -> None:
        db = AsyncDatabase(tmp_path / "a.db")
        await db.close()
        await db.close()
        with pytest.raises(errors.ErrClosed):
            await db.view(insert)

    asyncio.run(main())


def test_close_waits_for_what_is_under_way(tmp_path: Path) -> None:
    db = Database(tmp_path / "a.db")
    db.do(lambda tx: tx.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)"))
    reached, go = threading.Event(), threading.Event()

    def fn(tx: Transaction) -> None:
        reached.set()
        go.wait()
        insert(tx)

    writer = threading.Thread(target=db.do, args=(fn,))
    writer.start()
    reached.wait()
    closer = threading.Thread(target=db.close)
    closer.start()
    with pytest.raises(errors.ErrClosed):
        while True:  # until the closing has begun
            db.view(lambda tx: None)
    assert closer.is_alive()
    go.set()
    writer.join()
    closer.join()
    with Database(tmp_path / "a.db") as db:
        assert ids(db) == [1]


def in_child(work: Callable[[], None]) -> int:
    """Run in a forked child; its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_forked_child_has_connections_of_its_own(tmp_path: Path) -> None:
    with Database(tmp_path / "a.db") as db:
        db.do(lambda tx: tx.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)"))
        ids(db)

        def works() -> None:
            db.do(insert)
            assert ids(db) == [1]
            db.close()

        assert in_child(works) == 0
        assert ids(db) == [1]

        def forks(tx: Transaction) -> None:
            def continues() -> None:
                with pytest.raises(errors.ErrClosed):
                    insert(tx, 3)
                with pytest.raises(errors.ErrTimeout):  # the parent is at it
                    db.do(lambda tx: insert(tx, 4), timeout=0.05)

            insert(tx, 2)
            assert in_child(continues) == 0

        db.do(forks)
        assert ids(db) == [1, 2]


def test_pickled_it_is_opened_anew(face: Any, tmp_path: Path) -> None:
    cls = Database if face is Database else AsyncDatabase
    copy = pickle.loads(pickle.dumps(cls(tmp_path / "a.db", readers=2, durable=False)))
    assert type(copy) is cls
    assert copy.url == f"sqlite:{tmp_path}/a.db"


def test_the_faces_take_the_same_arguments() -> None:
    for name in ("__init__", "do", "view", "close"):
        mine, other = (
            [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
            for f in (getattr(Database, name), getattr(AsyncDatabase, name))
        )
        assert mine == other


SYNC_FAILS = """
import sys
from objectstorage import errors
from objectstorage.datamanager.db import Database
with Database(sys.argv[1]) as db:
    try:
        db.do(lambda tx: tx.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)"))
    except errors.StorageError as exc:
        print(type(exc).__name__)
"""


def test_a_commit_that_could_not_be_synced_is_no_certain_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    command = [needs("strace", "strace"), "-f", "-qq", "-o", os.devnull, "-P", f"{path}-wal"]
    command += ["-e", "inject=fsync,fdatasync:error=EIO:when=2+"]
    command += [sys.executable, "-c", SYNC_FAILS, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "ErrOutcomeUnknown\n"
