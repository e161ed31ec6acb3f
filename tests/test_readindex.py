"""The read index: current, one state at a time, and the same after any death as made anew."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from conftest import Tried
from lean import lean

from objectstorage import ErrBadRequest, ErrClosed, ErrTimeout, ErrUnavailable, aio
from objectstorage.datamanager import Action, DataManager, Delete, Put
from objectstorage.datamanager.aio import AsyncDataManager
from objectstorage.datamanager.db import Database
from objectstorage.datamanager.index import AsyncReadIndex, ReadIndex, Transaction
from objectstorage.memory import MemoryStorage
from objectstorage.posix import PosixStorage
from objectstorage.storage import Fetched
from objectstorage.wrappers.aio import AsyncForwardingStorage

TABLES = [
    "CREATE TABLE parents (id TEXT PRIMARY KEY, data TEXT NOT NULL)",
    "CREATE TABLE children (id TEXT PRIMARY KEY REFERENCES parents(id), length INTEGER)",
    "CREATE INDEX by_data ON parents (data)",
    "CREATE VIEW longest AS SELECT max(length) AS length FROM children",
]


def apply(tx: Transaction, action: Action) -> None:
    tx.execute("DELETE FROM children WHERE id = ?", [action.id])
    tx.execute("DELETE FROM parents WHERE id = ?", [action.id])
    if isinstance(action, Put):
        tx.execute("INSERT INTO parents VALUES (?, ?)", [action.id, action.data.decode()])
        tx.execute("INSERT INTO children VALUES (?, ?)", [action.id, len(action.data)])


@pytest.fixture
def store() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def data(store: MemoryStorage) -> DataManager:
    return DataManager(store)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.db"


@pytest.fixture
def index(data: DataManager, path: Path) -> Iterator[ReadIndex]:
    with ReadIndex(data, path, TABLES, apply) as index:
        yield index


def all_rows(tx: Transaction) -> list[tuple[str, str]]:
    return list(tx.query("SELECT id, data FROM parents NATURAL JOIN children ORDER BY id"))


def put(data: DataManager, name: str, text: str) -> int:
    return data.write([Put("t", name, text.encode())]).seq


def test_what_was_written_is_read_after_waiting_for_it(data: DataManager, index: ReadIndex) -> None:
    assert index.do(all_rows) == []
    index.wait_for(put(data, "a", "1"))
    assert index.do(all_rows) == [("a", "1")]
    data.write([Put("t", "b", b"2"), Put("t", "c", b"33")])
    assert index.do(all_rows) == [("a", "1")]
    seq = data.write([Delete("t", "a"), Put("t", "b", b"4")]).seq
    assert index.catch_up() == seq
    assert index.do(lambda tx: (index.seq(tx), all_rows(tx))) == (seq, [("b", "4"), ("c", "33")])
    assert index.do(lambda tx: tx.query_one("SELECT length FROM longest")) == (2,)


def test_nobody_writes_past_the_log(data: DataManager, index: ReadIndex) -> None:
    with pytest.raises(PermissionError):
        index.do(lambda tx: tx.execute("DELETE FROM parents"))


def test_a_commit_that_does_not_come_is_not_waited_for_too_long(
    data: DataManager, index: ReadIndex
) -> None:
    seq = put(data, "a", "1")
    with pytest.raises(ErrTimeout):
        index.wait_for(seq + 1, timeout=0.1, poll=0.01)


def test_a_file_of_before_goes_on_where_it_was(data: DataManager, path: Path) -> None:
    seen: list[Action] = []

    def watched(tx: Transaction, action: Action) -> None:
        seen.append(action)
        apply(tx, action)

    put(data, "a", "1")
    with ReadIndex(data, path, TABLES, watched) as index:
        index.catch_up()
    put(data, "b", "2")
    with ReadIndex(data, path, TABLES, watched) as index:
        assert index.do(all_rows) == [("a", "1")]  # no more than was asked for
        index.catch_up()
        assert index.do(all_rows) == [("a", "1"), ("b", "2")]
    assert [action.id for action in seen] == ["a", "b"]


@pytest.mark.parametrize("change", ["tables", "version", "store", "history"])
def test_tables_of_something_else_are_made_anew(
    change: str, store: MemoryStorage, data: DataManager, path: Path
) -> None:
    put(data, "a", "1")
    with ReadIndex(data, path, TABLES, apply) as index:
        index.catch_up()
    with Database(path) as db:
        db.do(lambda tx: tx.execute("CREATE TABLE more (id REFERENCES parents(id))"))
        db.do(lambda tx: tx.execute("INSERT INTO more VALUES ('a')"))
        db.do(lambda tx: tx.execute("CREATE VIRTUAL TABLE words USING fts5(word)"))
    tables, version = list(TABLES), 1
    if change == "tables":
        tables.append("CREATE INDEX by_length ON children (length)")
    elif change == "version":
        version = 2
    elif change == "store":
        data = DataManager(MemoryStorage())
        put(data, "z", "9")
    else:  # as from a backup: the same store, before the commit
        store.delete("wal/00000000000000000001.json")
        data = DataManager(store)
        put(data, "z", "9")
        put(data, "z", "99")
    with ReadIndex(data, path, tables, apply, version=version) as index:
        if change == "history":  # which `do` does not look into
            index.catch_up()
        assert index.do(all_rows) == [(e.id, e.data.decode()) for e in data.list("t")]
        left = index.do(lambda tx: list(tx.query("SELECT name FROM sqlite_schema")))
        assert ("more",) not in left
        assert ("words",) not in left


@pytest.mark.parametrize("how", ["collected", "imported"])
def test_what_the_log_does_not_tell_is_read_from_the_snapshot(
    how: str, data: DataManager, index: ReadIndex
) -> None:
    put(data, "a", "1")
    put(data, "b", "1")
    index.catch_up()
    if how == "collected":
        data.write([Delete("t", "a")])
        put(data, "c", "2")
        data.checkpoint()
        put(data, "d", "3")
        data.checkpoint()
        data.collect(0)
        assert data.boundary() > 2
    else:
        exported = b"".join(data.export())
        put(data, "c", "2")
        index.catch_up()
        data.import_(exported, replace=True)
    index.catch_up()
    assert index.do(all_rows) == [(e.id, e.data.decode()) for e in data.list("t")]
    index.wait_for(put(data, "e", "4"))
    assert index.do(all_rows)[-1] == ("e", "4")


def test_two_that_share_a_file_take_in_each_commit_once(data: DataManager, path: Path) -> None:
    tables = ["CREATE TABLE counts (n INTEGER)", "INSERT INTO counts VALUES (0)"]

    def count(tx: Transaction, action: Action) -> None:
        tx.execute("UPDATE counts SET n = n + 1")

    put(data, "a", "0")
    indexes = [ReadIndex(data, path, tables, count) for _ in range(3)]
    indexes[0].catch_up()
    followers = [threading.Thread(target=index.follow, kwargs={"poll": 0.001}) for index in indexes]
    for follower in followers:
        follower.start()
    for number in range(1, 100):
        put(data, "a", str(number))
    for index in indexes:
        index.wait_for(100)
        assert index.do(lambda tx: tx.query_one("SELECT n FROM counts")) == (100,)
    for index, follower in zip(indexes, followers, strict=True):
        index.close()
        follower.join()


def test_it_is_its_error_that_comes_out_of_apply(data: DataManager, path: Path) -> None:
    broken = True

    def fails(tx: Transaction, action: Action) -> None:
        apply(tx, action)
        if broken and action.id == "b":
            raise ValueError("cannot read b")

    with ReadIndex(data, path, TABLES, fails) as index:
        index.wait_for(put(data, "a", "1"))
        put(data, "b", "2")
        with pytest.raises(ValueError, match="cannot read b"):
            index.catch_up()
        assert index.do(all_rows) == [("a", "1")]
        broken = False
        index.catch_up()
        assert index.do(all_rows) == [("a", "1"), ("b", "2")]


def test_bad_arguments(data: DataManager, path: Path) -> None:
    with pytest.raises(TypeError):
        ReadIndex(data, path, "CREATE TABLE t (id)", apply)
    with ReadIndex(data, path, TABLES, apply) as index:
        for call in (index.catch_up, partial(index.do, all_rows), partial(index.wait_for, 1)):
            with pytest.raises(ErrBadRequest):
                call(timeout=-1)


def test_following_ends_when_it_is_closed(data: DataManager, path: Path) -> None:
    index = ReadIndex(data, path, TABLES, apply)
    follower = threading.Thread(target=index.follow, kwargs={"poll": 0.01})
    follower.start()
    for number in range(5):
        put(data, "a", str(number))
    with ReadIndex(data, path, TABLES, apply) as other:
        while other.do(all_rows) != [("a", "4")]:
            pass
    index.close()
    follower.join()
    with pytest.raises(ErrClosed):
        index.do(all_rows)


class Breaks(MemoryStorage):
    """Unavailable as often as it is told."""

    failures = 0

    def fetch(self, key: str, **options: Any) -> Any:
        if self.failures:
            self.failures -= 1
            raise ErrUnavailable("down")
        return super().fetch(key, **options)


def test_following_outlasts_a_store_that_is_down(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Breaks()
    data = DataManager(store)
    put(data, "a", "1")
    with ReadIndex(data, path, TABLES, apply) as index:
        index.catch_up()
        store.failures = 1
        follower = threading.Thread(target=index.follow, kwargs={"poll": 0.01})
        follower.start()
        while store.failures:
            pass
        put(data, "b", "2")
        while len(index.do(all_rows)) != 2:
            pass
    follower.join()
    assert "stands still" in caplog.text


# -- asynchronous ------------------------------------------------------------------


def test_the_asynchronous_face(path: Path) -> None:
    async def main() -> None:
        data = AsyncDataManager(aio.open_storage("memory://"))
        async with AsyncReadIndex(data, path, TABLES, apply) as index:
            task = asyncio.create_task(index.follow(poll=0.01))

            async def write(number: int) -> None:
                commit = await data.write([Put("t", f"{number:02}", b"1")])
                await index.wait_for(commit.seq)
                assert (f"{number:02}", "1") in await index.do(all_rows)

            await asyncio.gather(*(write(number) for number in range(30)))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(await index.do(all_rows)) == 30

    asyncio.run(main())


def test_a_filling_that_is_cancelled_leaves_the_tables_as_they_were(path: Path) -> None:
    async def main() -> None:
        data = AsyncDataManager(aio.open_storage("memory://"))
        await data.write([Put("t", str(number), b"1") for number in range(1000)])
        async with AsyncReadIndex(data, path, TABLES, apply) as index:
            await index.catch_up()
        loop = asyncio.get_running_loop()
        reached = asyncio.Event()
        count = 0

        def slow(tx: Transaction, action: Action) -> None:
            nonlocal count
            count += 1
            if count == 500:
                loop.call_soon_threadsafe(reached.set)
                tx.query_one(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                    "SELECT i FROM n WHERE i < 0"
                )

        async with AsyncReadIndex(data, path, TABLES, slow, version=2) as index:
            task = asyncio.create_task(index.catch_up())
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with AsyncReadIndex(data, path, TABLES, apply) as index:
            assert len(await index.do(all_rows)) == 1000

    asyncio.run(main())


class Stuck(AsyncForwardingStorage):
    """Once told to, never done with reading a data file."""

    def __init__(self, store: aio.AsyncStorage) -> None:
        super().__init__(store)
        self.reached: asyncio.Event | None = None

    async def fetch(self, key: str, **options: Any) -> Fetched:
        if self.reached is not None and key.startswith("data/"):
            self.reached.set()
            await asyncio.Event().wait()
        return await super().fetch(key, **options)


def test_a_filling_that_waits_for_the_store_is_cancelled_at_once(path: Path) -> None:
    async def main() -> None:
        store = Stuck(aio.open_storage("memory://"))
        data = AsyncDataManager(store)
        await data.write([Put("t", "a", b"1")])
        await data.checkpoint()
        store.reached = asyncio.Event()
        async with AsyncReadIndex(AsyncDataManager(store), path, TABLES, apply) as index:
            task = asyncio.create_task(index.catch_up())
            await store.reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            store.reached = None
            assert await index.do(all_rows) == [("a", "1")]

    asyncio.run(main())


# -- dying at every step -----------------------------------------------------------


_STEPS = {("c_call", "execute"), ("c_call", "commit"), ("c_return", "commit"), ("c_call", "close")}


def dies_at(step: int, work: Callable[[], object]) -> bool:
    """Whether a process that is killed at its `step`th call of SQLite dies before it is done."""
    pid = os.fork()
    if pid == 0:
        count = 0

        def profile(frame: FrameType, event: str, arg: Any) -> None:
            nonlocal count
            if event not in ("c_call", "c_return"):
                return
            if not isinstance(arg.__self__, sqlite3.Connection | sqlite3.Cursor):
                return
            # before each call that may touch the file; after it where something was made to last
            if (event, arg.__name__) in _STEPS:
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            sys.setprofile(profile)
            work()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


def state_of(path: Path) -> tuple[int, list[tuple[str, str]]] | None:
    """The sequence and the rows in the file as it is; None if it has none."""
    with Database(path) as db:
        return db.view(
            lambda tx: (
                None
                if tx.query_one("SELECT 1 FROM sqlite_schema WHERE name = 'parents'") is None
                else (tx.query_one("SELECT seq FROM objectstorage_index")[0], all_rows(tx))
            )
        )


def killed_at_every_step(start: str, folder: Path) -> tuple[int, set[int | None]]:
    """How many deaths there were, and the sequences that they left."""
    with PosixStorage(folder / "store", durable=False) as store:
        data = DataManager(store)
        states = {0: []}

        def write(*actions: Action) -> None:
            seq = data.write(actions).seq
            states[seq] = [(entry.id, entry.data.decode()) for entry in data.list("t")]

        write(Put("t", "a", b"1"), Put("t", "b", b"1"))
        before = folder / "before"
        before.mkdir()
        if start != "no file":
            with ReadIndex(data, before / "index.db", TABLES, apply) as index:
                index.catch_up()
        write(Put("t", "a", b"22"), Delete("t", "b"), Put("t", "c", b"1"))
        write(Put("t", "b", b"333"))
        write(Delete("t", "a"))
        version = 2 if start == "another version" else 1
        if start == "far behind":
            data.checkpoint()
            data.collect(0)
            assert data.boundary() > 1

        def work() -> None:
            with ReadIndex(
                DataManager(store), at / "index.db", TABLES, apply, version=version
            ) as i:
                i.catch_up()

        at = folder / "anew"
        at.mkdir()
        work()
        final = state_of(at / "index.db")
        assert final == (4, states[4])

        step = 0
        seqs = set()
        while True:
            step += 1
            at = folder / str(step)
            shutil.copytree(before, at)
            if not dies_at(step, work):
                break
            left = state_of(at / "index.db")
            if left is not None:
                assert left == (left[0], states[left[0]])
            seqs.add(left and left[0])
            work()
            assert state_of(at / "index.db") == final
            shutil.rmtree(at)
        return step - 1, seqs


@pytest.mark.faults
@pytest.mark.parametrize("start", ["no file", "behind", "far behind", "another version"])
def test_killed_at_every_step(start: str, tmp_path: Path, tried: Tried) -> None:
    deaths, seqs = lean(killed_at_every_step, start, tmp_path)
    tried("crashes", "deaths of a read index at a step", deaths)
    # between the first commit and the last there is only what takes in one by one
    expected = {"no file": {None, 4}, "behind": {1, 2, 3, 4}}
    assert seqs == expected.get(start, {1, 4})
