"""The data manager's upkeep: collecting, sweeping, fencing, export and import, verifying."""

from __future__ import annotations

import asyncio
import io
import logging
import threading

import pytest

from objectstorage import aio
from objectstorage.datamanager import DataManager, Delete, Limits, Put
from objectstorage.datamanager.aio import AsyncDataManager
from objectstorage.datamanager.records import pack, pack_slot, slot_key, unpack_slot
from objectstorage.errors import (
    ErrBadRequest,
    ErrCompacted,
    ErrConcurrency,
    ErrIntegrity,
    ErrNotExist,
    ErrUnavailable,
    ErrUnsupported,
)
from objectstorage.memory import MemoryStorage
from objectstorage.storage import Capabilities, Conditions
from objectstorage.wrappers import ForwardingStorage

SMALL = Limits(inline_bytes=40, file_bytes=600, block_bytes=100)


@pytest.fixture
def store() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def data(store: MemoryStorage) -> DataManager:
    return DataManager(store, limits=SMALL)


def content(data: DataManager) -> list[tuple[str, str, bytes]]:
    return [entry[:3] for type in data.types() for entry in data.list(type)]


def fill(data: DataManager, count: int = 30) -> None:
    for number in range(count):
        data.write([Put("t", f"{number:03}", bytes(number))], groups=[f"{number:03}"])


def clean(data: DataManager) -> bool:
    report = data.verify()
    assert report.problems == ()
    return True


# -- collecting ----------------------------------------------------------------


def test_collecting_leaves_what_is_needed(store: MemoryStorage, data: DataManager) -> None:
    fill(data)
    everything = content(data)
    assert data.collect(0).slots == 0  # no checkpoint, nothing superfluous
    for number in range(3):
        data.write([Put("t", "000", b"%d" % number)])
        data.checkpoint()
    everything[0] = ("t", "000", b"2")
    assert data.collect().slots == 0  # nothing is old enough
    told = data.collect(0, dry_run=True)
    assert clean(data)
    assert data.collect(0) == told
    assert told[:3] == (33, 33, 2)
    assert told.files > 0
    assert [info.key for info in store.list("wal/")] == []
    assert len(list(store.list("status/"))) == 1
    for reader in (data, DataManager(store)):
        assert content(reader) == everything
        assert reader.head() == reader.boundary() == 33
    assert data.write([Put("t", "x", b"")]).seq == 34
    assert clean(data)
    report = data.verify()
    assert report[1:5] == (34, 3, 30, 1)
    assert report.orphans == 0


def test_what_is_older_than_the_log_is_told(store: MemoryStorage, data: DataManager) -> None:
    fill(data, 10)
    behind = DataManager(store)
    assert behind.head() == 10
    old = data.snapshot()
    watching = data.watch(after=2, follow=False)
    next(watching)
    fill(data, 10)
    data.checkpoint()
    fill(data, 10)
    data.checkpoint()
    data.collect(0)
    with pytest.raises(ErrCompacted):
        list(watching)
    with pytest.raises(ErrCompacted):
        next(data.watch(after=0))
    with pytest.raises(ErrCompacted):
        data.write([Put("t", "000", b"")], groups=["000"], token=9)
    assert behind.write([Put("t", "a", b"")], token=30, groups=["a"]).seq == 31
    assert content(behind) == content(data) == content(DataManager(store))
    assert not DataManager(store).committed("x", 3)
    assert old.seq == 10
    assert list(data.watch(after=30, follow=False))[0].seq == 31


def test_whether_a_commit_stands_is_known_for_long(store: MemoryStorage, data: DataManager) -> None:
    commit = data.write([Put("t", "a", b"")])
    data.checkpoint()
    data.collect(0)
    assert data.committed(commit.id, 1)
    assert not data.committed("other", 1)
    fill(data, 600)
    data.checkpoint()
    data.collect(0)
    with pytest.raises(ErrCompacted):
        data.committed(commit.id, 1)


def test_a_snapshot_whose_files_went_says_so(store: MemoryStorage, data: DataManager) -> None:
    fill(data)
    data.checkpoint()
    data = DataManager(store, limits=SMALL)
    snapshot = data.snapshot()
    other = DataManager(store, limits=SMALL)
    other.write([Put("t", f"{n:03}", b"new") for n in range(30)])
    other.checkpoint()
    other.collect(0)
    with pytest.raises(ErrCompacted):
        snapshot.read("t", "001")
    with pytest.raises(ErrCompacted):
        list(snapshot.list("t"))
    assert data.read("t", "001").data == b"new"


def test_leftovers_behind_the_boundary_go(store: MemoryStorage, data: DataManager) -> None:
    fill(data, 5)
    leftover = store.get(slot_key(3))
    data.checkpoint()
    data.collect(0)
    store.put(slot_key(3), leftover)
    assert content(DataManager(store)) == content(data)
    assert clean(data)
    data.write([Put("t", "x", b"")])
    data.collect(0)
    assert [info.key for info in store.list("wal/")] == [slot_key(6)]


def test_a_leftover_does_not_take_the_payload_of_another_commit(
    store: MemoryStorage, data: DataManager
) -> None:
    """A late request for a slot another had; its payload was used for a later one."""
    fill(data, 5)
    data.checkpoint()
    data.collect(0)
    data.write([Put("t", "x", bytes(500))])
    slot = unpack_slot(store.get(slot_key(6)), 6, store.clock())
    assert slot.payload is not None
    assert slot.payload.key is not None
    store.put(slot_key(3), pack_slot(slot._replace(seq=3)))
    data.collect(0)
    assert not store.exists(slot_key(3))
    assert DataManager(store).read("t", "x").data == bytes(500)
    assert data.verify().orphans == 0
    assert clean(data)


# -- orphans -------------------------------------------------------------------


def test_the_sweep_takes_orphans_only(store: MemoryStorage, data: DataManager) -> None:
    fill(data)
    for tag in (0, 7):
        store.put(f"waldata/{tag:020d}-orphan", b"x")
        store.put(f"data/t/i{tag:020d}-orphan.data", b"x")
    assert data.sweep() == 0  # not old enough
    assert data.verify().orphans == 4
    assert data.sweep(0, dry_run=True) == 4
    assert data.sweep(0) == 4
    assert data.verify().orphans == 0
    assert clean(data)
    assert data.head() == 31
    assert [commit.kind for commit in data.watch(after=30, follow=False)] == ["sweep"]
    assert data.sweep(0) == 0
    assert data.head() == 31  # nothing to do, no commit
    store.put(f"waldata/{0:020d}-orphan", b"x")
    assert data.sweep(0) == 1
    assert data.head() == 31  # of before the last sweep: no new one is needed


def test_files_of_a_checkpoint_that_lost_are_collected(
    store: MemoryStorage, data: DataManager
) -> None:
    fill(data)
    store.put(f"data/t/c{1:020d}-lost.data", b"x")
    store.put(f"data/t/c{2:020d}-running.data", b"x")
    data.checkpoint()
    assert data.collect(0).files == 1
    assert store.exists(f"data/t/c{2:020d}-running.data")


# -- fencing and maintenance ---------------------------------------------------


def test_a_fence_shuts_earlier_epochs_out(store: MemoryStorage, data: DataManager) -> None:
    other = DataManager(store)
    first = other.fence()
    assert other.write([Put("t", "a", b"1")], epoch=first).epoch == first
    assert data.fence() == first + 1
    with pytest.raises(ErrConcurrency):
        other.write([Put("t", "a", b"2")], epoch=first)
    assert other.write([Put("t", "a", b"3")]).epoch == data.epoch() == first + 1
    data.checkpoint()
    data.collect(0)
    assert DataManager(store).epoch() == first + 1


def test_maintenance_keeps_writers_away(store: MemoryStorage, data: DataManager) -> None:
    other = DataManager(store)
    other.write([Put("t", "a", b"1")])
    data.maintenance("moving house")
    assert other.in_maintenance() == "moving house"
    with pytest.raises(ErrUnavailable, match="moving house"):
        other.write([Put("t", "a", b"2")])
    data.checkpoint()
    data.collect(0)
    with pytest.raises(ErrUnavailable, match="moving house"):
        DataManager(store).write([Put("t", "a", b"2")])
    data.maintenance(None)
    other.write([Put("t", "a", b"3")])
    assert data.read("t", "a").data == b"3"
    with pytest.raises(ErrBadRequest):
        data.maintenance("")


# -- export and import ---------------------------------------------------------


def test_export_and_import(store: MemoryStorage, data: DataManager) -> None:
    fill(data, 50)
    data.checkpoint()
    data.write([Put("a/b", "\U0001f600", b"\0"), Delete("t", "007")])
    lines = b"".join(data.export())
    for source in (lines, io.BytesIO(lines), [lines[:100], lines[100:]]):
        target = MemoryStorage()
        other = DataManager(target, limits=SMALL)
        commit = other.import_(source)
        assert (commit.seq, commit.kind) == (1, "import")
        for reader in (other, DataManager(target)):
            assert content(reader) == content(data)
        other.write([Put("t", "008", b"later")])
        other.checkpoint()
        other.collect(0)
        assert other.sweep(0) > 0  # the file whose entry 008 was, no longer named
        assert clean(other)
        assert DataManager(target).read("t", "008").data == b"later"
        assert len(content(other)) == len(content(data))


def test_an_import_from_a_stores_own_reader(data: DataManager) -> None:
    fill(data)
    lines = b"".join(data.export())

    async def imported() -> int:
        async with aio.open_storage("memory://") as store:
            await store.put("export", lines)
            other = AsyncDataManager(aio.open_storage("memory://"))
            async with await store.open("export") as reader:
                return (await other.import_(reader)).seq

    assert asyncio.run(imported()) == 1


def test_an_import_of_a_file_leaves_the_event_loop_free(data: DataManager) -> None:
    fill(data)
    readers = set()

    class File(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            readers.add(threading.get_ident())
            return super().read(size)

    async def imported() -> int:
        other = AsyncDataManager(aio.open_storage("memory://"))
        return (await other.import_(File(b"".join(data.export())))).seq

    assert asyncio.run(imported()) == 1
    assert readers
    assert threading.get_ident() not in readers


def test_an_import_replaces_everything_or_nothing(store: MemoryStorage, data: DataManager) -> None:
    fill(data)
    data.checkpoint()
    token = data.head()
    other = DataManager(MemoryStorage())
    other.write([Put("u", "1", b"1")])
    lines = b"".join(other.export())
    with pytest.raises(ErrBadRequest, match="already"):
        data.import_(lines)
    watching = data.watch(after=token)
    data.import_(lines, replace=True)
    assert content(data) == content(DataManager(store)) == [("u", "1", b"1")]
    with pytest.raises(ErrConcurrency, match="replaced"):
        data.write([Put("t", "1", b"")], groups=["1"], token=token)
    with pytest.raises(ErrCompacted):
        next(watching)
    assert clean(data)
    data.checkpoint()
    data.collect(0)
    data.sweep(0)
    assert content(DataManager(store)) == [("u", "1", b"1")]
    assert data.verify().orphans == 0


def test_a_commit_meanwhile_refuses_an_import(store: MemoryStorage) -> None:
    data = DataManager(store)
    fill(data, 3)
    lines = b"".join(data.export())

    def source() -> list[bytes]:
        DataManager(store).write([Put("t", "between", b"")])
        return [lines]

    class Late(list[bytes]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            return iter(source())

    with pytest.raises(ErrConcurrency):
        data.import_(Late(), replace=True)
    assert len(content(data)) == 4
    assert data.verify().orphans == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: lines[:-1],
        lambda lines: lines[:1],
        lambda lines: [],
        lambda lines: [*lines[:-1], lines[-1][:-1]],
        lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
        lambda lines: [lines[0], lines[1], *lines[1:]],
        lambda lines: [*lines[:2], *lines[3:]],
        lambda lines: [*lines, lines[1]],
        lambda lines: [b"{}\n", *lines[1:]],
        lambda lines: [lines[0], b"no JSON\n", *lines[2:]],
        lambda lines: [lines[0], b"[]\n", *lines[2:]],
        lambda lines: [lines[0], b'{"type":"t","id":"","data":""}\n', *lines[2:]],
        lambda lines: [lines[0], b'{"type":"t","id":"0","data":"?"}\n', *lines[2:]],
        lambda lines: [lines[0], '{"type":"t","id":"0","data":"é"}\n'.encode(), *lines[2:]],
        lambda lines: [line.replace(b"AAAA", b"AAAB", 1) for line in lines],
    ],
)
def test_a_damaged_import_is_refused_whole(data: DataManager, damage) -> None:  # type: ignore[no-untyped-def]
    fill(data)
    lines = b"".join(data.export()).splitlines(keepends=True)
    target = MemoryStorage()
    other = DataManager(target, limits=SMALL)
    with pytest.raises(ErrBadRequest):
        other.import_(b"".join(damage(lines)))
    assert other.head() == 0
    assert [info.key for info in target.list()] == ["FORMAT.json"]


# -- verifying -----------------------------------------------------------------


@pytest.mark.parametrize("folder", ["data/", "status/", "wal/", "waldata/", "gc/", "FORMAT"])
@pytest.mark.parametrize("how", ["cut", "flipped", "missing"])
def test_every_torn_object_is_named(
    store: MemoryStorage, data: DataManager, folder: str, how: str
) -> None:
    fill(data, 45)
    data.checkpoint()
    data.collect(0)
    fill(data, 60)
    data.checkpoint()
    fill(data, 42)
    assert clean(data)
    harmless = {info.key for info in store.list("status/")} - {
        max(i.key for i in store.list("status/"))
    }
    named = {ref.name for refs in data.snapshot()._state.base.values() for ref in refs}
    for info in list(store.list(folder)):
        name = info.key.removesuffix(".data").removesuffix(".index")
        if info.key in harmless or (folder == "data/" and name not in named):
            continue
        whole = store.get(info.key)
        last = info.key == max(i.key for i in store.list(folder))
        if how == "missing" and (folder in ("gc/", "status/") or (folder == "wal/" and last)):
            continue  # what is left may be whole; see the next test
        if how == "missing":
            store.delete(info.key)
        else:
            middle = len(whole) // 2
            torn = whole[:middle]
            if how == "flipped":
                torn += bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
            store.put(info.key, torn)
        problems = DataManager(store).verify().problems
        assert info.key in {problem.key for problem in problems}
        store.put(info.key, whole)
    assert clean(data)


def test_what_is_missing_shows_in_what_needs_it(store: MemoryStorage, data: DataManager) -> None:
    fill(data, 5)
    status = data.checkpoint()
    data.collect(0)
    fill(data, 5)
    keys = ["gc/boundary.json", f"status/{status.checkpoint:020d}.json"]
    wholes = [store.get(key) for key in keys]
    store.delete(keys[0])
    assert [problem.key for problem in data.verify().problems] == [slot_key(1)]
    store.put(keys[0], wholes[0])
    store.delete(keys[1])
    assert [problem.key for problem in data.verify().problems] == [keys[0]]
    store.put(keys[1], wholes[1])
    assert clean(data)


def test_torn_data_is_never_read_as_if_whole(store: MemoryStorage, data: DataManager) -> None:
    fill(data)
    data.checkpoint()
    key = next(i.key for i in store.list("data/") if i.key.endswith(".data"))
    whole = store.get(key)
    for torn in (whole[:-1], whole[:50], b"", whole[:40] + b"?" + whole[41:]):
        store.put(key, torn)
        with pytest.raises(ErrIntegrity) as caught:
            list(DataManager(store).list("t"))
        assert caught.value.key == key
    store.delete(key)
    with pytest.raises(ErrIntegrity, match="missing") as caught:
        list(DataManager(store).list("t"))
    assert caught.value.key == key


def test_a_lost_status_is_named(store: MemoryStorage, data: DataManager) -> None:
    fill(data)
    data.checkpoint()
    assert data.collect(min_age=0).slots
    for info in list(store.list("status/")):
        store.delete(info.key)
    with pytest.raises(ErrIntegrity, match="no status holds it"):
        DataManager(store, limits=SMALL).head()


def test_a_log_that_does_not_chain_is_refused(store: MemoryStorage, data: DataManager) -> None:
    fill(data, 3)
    other = MemoryStorage()
    fill(DataManager(other), 3)
    store.put(slot_key(2), other.get(slot_key(2)))
    with pytest.raises(ErrIntegrity) as caught:
        DataManager(store).head()
    assert caught.value.key == slot_key(2)
    assert slot_key(2) in {problem.key for problem in data.verify().problems}


# -- what the store must be ------------------------------------------------------


class Unproven(ForwardingStorage):
    """A store whose server ignores conditions."""

    def __init__(self, conditions: Conditions | None) -> None:
        super().__init__(MemoryStorage())
        self._conditions = conditions

    @property
    def capabilities(self) -> Capabilities:
        return super().capabilities._replace(conditions=self._conditions)

    def probe(self) -> Capabilities:
        return self.capabilities

    def put(self, key, data, **options):  # type: ignore[no-untyped-def]
        assert not options.get("create")
        assert "if_match" not in options
        return super().put(key, data, **options)


@pytest.mark.parametrize("conditions", [None, Conditions(), Conditions(create=frozenset({"put"}))])
def test_a_store_without_proven_conditions(conditions: Conditions | None) -> None:
    store = Unproven(conditions)
    with pytest.raises(ErrUnsupported, match="single_writer"):
        DataManager(store).write([Put("t", "a", b"")])
    assert list(store.list()) == []
    with pytest.raises(ErrNotExist):
        DataManager(store).read("t", "a")
    data = DataManager(store, single_writer=True)
    fill(data)
    data.checkpoint()
    data.collect(0)
    data.sweep(0)
    assert len(content(data)) == 30
    assert clean(data)


def test_data_of_another_format_is_refused(store: MemoryStorage, data: DataManager) -> None:
    store.put("FORMAT.json", pack({"version": 2, "store_id": "x"}))
    with pytest.raises(ErrUnsupported, match="format 2"):
        data.write([Put("t", "a", b"")])
    with pytest.raises(ErrUnsupported, match="format 2"):
        data.head()


def test_a_log_without_a_format_is_not_written_to(store: MemoryStorage, data: DataManager) -> None:
    fill(data, 1)
    store.delete("FORMAT.json")
    with pytest.raises(ErrIntegrity):
        DataManager(store).write([Put("t", "a", b"")])


def test_a_checkpoint_that_fails_fails_no_write(
    store: MemoryStorage, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(ForwardingStorage):
        def put(self, key, data, **options):  # type: ignore[no-untyped-def]
            if key.startswith("data/"):
                raise ErrUnavailable("full", key=key)
            return super().put(key, data, **options)

    limits = SMALL._replace(checkpoint_commits=5, log_bytes=3000, checkpoint_bytes=1000)
    data = DataManager(Full(store), limits=limits)
    with caplog.at_level(logging.WARNING, "objectstorage"):
        for number in range(6):
            data.write([Put("t", str(number), b"")])
    assert "checkpoint" in caplog.text
    with pytest.raises(ErrUnavailable):  # at last there is no room
        for number in range(6, 1000):
            data.write([Put("t", str(number), b"")])
    assert 10 < data.head() < 200
    assert DataManager(store, limits=limits).write([Put("t", "x", b"")]).seq == data.head()
    assert data.last_data_status().checkpoint == 1
