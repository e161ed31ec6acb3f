"""The data manager on a store in memory: what it promises, call by call."""

from __future__ import annotations

import asyncio
import inspect
import threading
from random import Random

import pytest

from objectstorage import aio
from objectstorage.datamanager import Action, DataManager, Delete, Limits, Put, Snapshot
from objectstorage.datamanager.aio import AsyncDataManager, AsyncSnapshot
from objectstorage.errors import (
    ErrBadRequest,
    ErrConcurrency,
    ErrNoDataStatus,
    ErrNotExist,
    ErrTimeout,
    is_err_commit_unknown,
)
from objectstorage.memory import MemoryStorage

IDS = ["a", "a-b", "a/b", "a0", "é", "\U0001f600", ".", "..", "a//b", " ", "\x00"]


@pytest.fixture
def store() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def data(store: MemoryStorage) -> DataManager:
    return DataManager(store)


def listed(data: DataManager | Snapshot, type: str = "t", **where: str) -> list[tuple[str, bytes]]:
    return [(entry.id, entry.data) for entry in data.list(type, **where)]


def test_what_is_written_is_read_by_others(store: MemoryStorage, data: DataManager) -> None:
    assert data.head() == 0
    assert data.store_id() is None
    first = data.write([Put("t", "a", b"1"), Put("t", "b", b"2"), Put("u", "a", b"3")])
    second = data.write([Put("t", "a", b"4"), Delete("t", "b"), Delete("t", "never")])
    assert (first.seq, second.seq) == (1, 2)
    for manager in (data, DataManager(store)):
        assert manager.head() == 2
        assert manager.read("t", "a") == ("t", "a", b"4", 2)
        assert manager.read("u", "a") == ("u", "a", b"3", 1)
        assert listed(manager) == [("a", b"4")]
        assert manager.types() == ["t", "u"]
        assert manager.store_id() is not None
        with pytest.raises(ErrNotExist) as caught:
            manager.read("t", "b")
        assert caught.value.key == "t/b"
        with pytest.raises(ErrNoDataStatus):
            manager.last_data_status()


def test_ids_and_types_of_every_kind(store: MemoryStorage, data: DataManager) -> None:
    data.write([Put(type, id, f"{type} {id}".encode()) for type in IDS for id in IDS])
    other = DataManager(store)
    assert other.types() == sorted(IDS)
    for type in IDS:
        expected = [(id, f"{type} {id}".encode()) for id in sorted(IDS)]
        assert listed(other, type) == expected
        assert [other.read(type, id).data for id in sorted(IDS)] == [data for _, data in expected]
    assert [id for id, _ in listed(other, prefix="a", type="a")] == [
        "a",
        "a-b",
        "a//b",
        "a/b",
        "a0",
    ]
    assert [id for id, _ in listed(other, prefix="a", start_after="a-c", type="a")] == [
        "a//b",
        "a/b",
        "a0",
    ]


def test_groups_decide_who_conflicts(store: MemoryStorage, data: DataManager) -> None:
    data.write([Put("t", "a", b"0")])
    other = DataManager(store)
    token = other.head()
    assert data.write([Put("t", "a", b"1")], groups=["a"], token=token).seq == 2
    assert other.write([Put("t", "b", b"1")], groups=["b"], token=token).seq == 3
    with pytest.raises(ErrConcurrency):
        other.write([Put("t", "a", b"2"), Put("t", "c", b"2")], groups=["c", "a"], token=token)
    assert other.write([Put("t", "a", b"3")], groups=["a"]).seq == 4  # no token, no question
    assert listed(data) == [("a", b"3"), ("b", b"1")]
    with pytest.raises(ErrBadRequest):
        data.write([Put("t", "a", b"")], groups=["a"], token=100)


@pytest.mark.parametrize(
    "actions",
    [
        [],
        [Put("", "a", b"")],
        [Put("t", "", b"")],
        [Put("t" * 81, "a", b"")],
        [Put("t", "a" * 4097, b"")],
        [Put("t", "\ud800", b"")],
        [Put("t", "a", bytes(16 * 1024 * 1024))],
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    store: MemoryStorage, data: DataManager, actions: list[Put]
) -> None:
    with pytest.raises(ErrBadRequest):
        data.write(actions)
    assert list(store.list()) == []


def test_what_is_no_action_is_a_type_error(data: DataManager) -> None:
    for actions in (["a"], [Put("t", "a", "text")], [Put("t", 1, b"")]):  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            data.write(actions)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        data.write([Put("t", "a", b"")], groups="ab")


def test_a_snapshot_stays_as_it_is(store: MemoryStorage, data: DataManager) -> None:
    data.write([Put("t", "a", b"1")])
    snapshot = data.snapshot()
    data.write([Put("t", "a", b"2"), Put("t", "b", b"2")])
    DataManager(store).write([Delete("t", "a")])
    assert listed(data) == [("b", b"2")]
    assert snapshot.seq == 1
    assert listed(snapshot) == [("a", b"1")]
    assert snapshot.read("t", "a").data == b"1"


def test_watch_sees_every_commit_in_order(store: MemoryStorage, data: DataManager) -> None:
    assert list(data.watch(after=0, follow=False)) == []
    for number in range(150):
        data.write([Put("t", str(number), bytes(number * 400))], groups=[str(number)])
    commits = list(DataManager(store).watch(after=3, follow=False))
    assert [commit.seq for commit in commits] == list(range(4, 151))
    assert [commit.actions[0].id for commit in commits] == [str(n) for n in range(3, 150)]
    assert all(commit.time is not None for commit in commits)
    with pytest.raises(ErrBadRequest):
        next(data.watch(after=151))
    waiting = data.watch(after=150, poll=0.001)
    thread = threading.Thread(target=lambda: DataManager(store).write([Delete("t", "0")]))
    thread.start()
    assert next(waiting).actions == (Delete("t", "0"),)
    thread.join()


def test_a_large_commit_is_an_object_of_its_own(store: MemoryStorage, data: DataManager) -> None:
    data.write([Put("t", "a", b"x" * 100_000)])
    (payload,) = store.list("waldata/")
    assert payload.size > 100_000
    assert DataManager(store).read("t", "a").data == b"x" * 100_000


def test_threads_share_commits(store: MemoryStorage, data: DataManager) -> None:
    def work(me: int) -> None:
        for number in range(20):
            data.write([Put("t", f"{me}-{number}", b"")], groups=[str(me)], token=data.head())

    threads = [threading.Thread(target=work, args=(me,)) for me in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(listed(DataManager(store))) == 160


def test_a_deadline_that_passed(data: DataManager) -> None:
    with pytest.raises(ErrTimeout) as caught:
        data.write([Put("t", "a", b"")], timeout=0)
    assert not is_err_commit_unknown(caught.value)
    assert data.head() == 0


def test_the_asynchronous_face() -> None:
    async def main() -> None:
        async with aio.open_storage("memory://") as store:
            data = AsyncDataManager(store)
            commits = await asyncio.gather(
                *[data.write([Put("t", str(n), b"")], groups=[str(n)]) for n in range(50)]
            )
            assert len({commit.seq for commit in commits}) < 50  # those who waited, together
            assert [e.id async for e in data.list("t")] == sorted(map(str, range(50)))
            watched = [c async for c in data.watch(after=0, follow=False)]
            assert sum(len(commit.actions) for commit in watched) == 50
            assert (await data.snapshot()).seq == await data.head()
            assert await data.committed(commits[7].id, commits[7].seq)
            assert not await data.committed("other", commits[7].seq)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("blocking", "asynchronous"), [(DataManager, AsyncDataManager), (Snapshot, AsyncSnapshot)]
)
def test_the_faces_have_the_same_names(blocking: type, asynchronous: type) -> None:
    names = {name for name in dir(blocking) if not name.startswith("_")}
    assert names == {name for name in dir(asynchronous) if not name.startswith("_")}
    for name in names:
        if inspect.isfunction(getattr(blocking, name)):
            shapes = [
                [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
                for f in (getattr(blocking, name), getattr(asynchronous, name))
            ]
            assert shapes[0] == shapes[1], name


SMALL = Limits(
    inline_bytes=40, file_bytes=600, block_bytes=100, checkpoint_bytes=1500, checkpoint_commits=20
)


def test_checkpoints_change_nothing_that_is_read(store: MemoryStorage) -> None:
    random = Random(7)
    model: dict[tuple[str, str], bytes] = {}
    for _ in range(60):
        data = DataManager(store, limits=SMALL)
        actions: list[Action] = []
        for _ in range(20):
            type, id = random.choice("tu"), f"{random.randrange(60):02}"
            if random.random() < 0.4:
                actions.append(Delete(type, id))
                model.pop((type, id), None)
            else:
                model[type, id] = bytes(random.randrange(60))
                actions.append(Put(type, id, model[type, id]))
        data.write(actions)
        if random.random() < 0.2:
            data.checkpoint()
        for reader in (data, data.snapshot(), DataManager(store)):
            for type in "tu":
                expected = sorted((i, d) for (t, i), d in model.items() if t == type)
                assert listed(reader, type) == expected
                after = f"{random.randrange(60):02}"
                some = listed(reader, type, prefix="3", start_after=after)
                assert some == [x for x in expected if x[0] > after and x[0][0] == "3"]
                for id, content in expected[::5]:
                    assert reader.read(type, id).data == content
    status = data.checkpoint()
    assert status.checkpoint > 8
    assert status.entries == len(model)
    assert data.last_data_status() == status


def test_an_entry_deleted_after_a_checkpoint_stays_deleted(
    store: MemoryStorage, data: DataManager
) -> None:
    data.write([Put("t", "a", b"1"), Put("t", "b", b"1")])
    assert data.checkpoint().entries == 2
    data.write([Delete("t", "a"), Delete("t", "b")])
    for _ in range(2):
        for reader in (data, DataManager(store)):
            assert listed(reader) == []
            assert reader.types() == []
            with pytest.raises(ErrNotExist):
                reader.read("t", "a")
        assert data.checkpoint().entries == 0


def test_files_without_changes_are_used_again(store: MemoryStorage) -> None:
    data = DataManager(store, limits=SMALL)
    data.write([Put("t", f"{n:03}", bytes(50)) for n in range(100)])
    data.checkpoint()
    before = {info.key for info in store.list("data/")}
    data.write([Put("t", "050", b"changed")])
    data.checkpoint()
    after = {info.key for info in store.list("data/")}
    assert len(before) > 15
    assert len(after - before) <= 4  # one file written anew, with its index, may be two
    assert DataManager(store).read("t", "050").data == b"changed"


def test_a_checkpoint_of_nothing(data: DataManager) -> None:
    with pytest.raises(ErrNoDataStatus):
        data.checkpoint()
    data.write([Put("t", "a", b"")])
    assert data.checkpoint() == data.checkpoint()
