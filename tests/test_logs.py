"""Logs: written, followed, taken over, archived, on every kind of store, in both faces."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from both_faces import STORES, Face, fresh_place

from objectstorage import logs
from objectstorage.errors import (
    ErrBadRequest,
    ErrClosed,
    ErrConcurrency,
    ErrConflict,
    ErrExist,
    ErrInvalidKey,
    ErrInvalidRange,
    ErrIO,
    ErrNotExist,
    ErrOutcomeUnknown,
    StorageError,
)
from objectstorage.logs import aio as async_logs
from objectstorage.logs._sync.reader import LogCursor
from objectstorage.logs.summing import Summing
from objectstorage.memory import MemoryStorage
from objectstorage.wrappers import ObservedStorage

NEVER = 1e6  # seconds


class Kit:
    """The names of one face, over handles of one place."""

    def __init__(self, face: Face, url: str, options: dict[str, Any]) -> None:
        self.face = face
        self.url = url
        self._open = partial(face.open_storage, url, **options)
        self._handles: list[Any] = []
        self.store = self.handle()

    def handle(self) -> Any:
        """Another handle of the same place, as another process would have."""
        self._handles.append(self._open())
        return self._handles[-1]

    def make(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if name[0].isupper():
            name = "Async" + name if self.face.is_async else name
        module = async_logs if self.face.is_async else logs
        return self.face.make(getattr(module, name), *args, **kwargs)

    def writer(self, name: str = "a", store: Any = None, **options: Any) -> Any:
        options = {"flush_seconds": NEVER, **options}
        return self.make("LogWriter", store or self.store, name, **options)

    def reader(self, name: str = "a", store: Any = None) -> Any:
        return self.make("LogReader", store or self.store, name)

    def archive(self, name: str = "a") -> Any:
        return self.make("archive", self.store, name)

    def write(self, name: str, *pieces: bytes, finish: bool = True) -> None:
        """A log of these segments."""
        writer = self.writer(name)
        writer.open()
        for piece in pieces:
            writer.write(piece)
            writer.flush()
        writer.close() if finish else writer.abandon()

    def all_keys(self) -> list[str]:
        return [info.key for info in self.store.list()]

    def close(self) -> None:
        for handle in self._handles:
            handle.close()
        self.face.close()


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=STORES)
def kit(request: pytest.FixtureRequest, face: str) -> Iterator[Kit]:
    """A fresh place on every kind of store."""
    kit = Kit(Face(face), *fresh_place(request.param, request))
    yield kit
    kit.close()


@pytest.fixture
def memory(face: str) -> Iterator[Kit]:
    """For what does not depend on the store."""
    kit = Kit(Face(face), f"memory://{uuid.uuid4().hex}", {})
    yield kit
    kit.close()


def collect(chunks: Any, into: bytearray, seen: Callable[[], None] = lambda: None) -> bytes:
    for chunk in chunks:
        into += chunk
        seen()
    return bytes(into)


def test_a_log_is_read_while_it_is_written(kit: Kit) -> None:
    with kit.writer("run/1/step 2") as writer:
        reader = kit.reader("run/1/step 2", kit.handle())
        assert reader.stat()[:5] == ("run/1/step 2", 0, False, "", False)
        assert reader.read() == b""
        assert writer.write(b"hello ") == 6
        assert (writer.offset, writer.flushed) == (6, 0)
        assert reader.read() == b""
        writer.flush()
        writer.write(bytearray(b"world"))
        writer.flush()
        assert (writer.offset, writer.flushed) == (11, 11)
        assert reader.read() == b"hello world"
        assert reader.read(3, 5) == b"lo wo"
        assert reader.read(6) == b"world"
        assert reader.read(11) == reader.read(0, 0) == b""
        with pytest.raises(ErrInvalidRange, match="11 bytes"):
            reader.read(12)
        assert reader.stat()[:5] == ("run/1/step 2", 11, False, "", False)
        writer.close("success")
    assert reader.stat()[:5] == ("run/1/step 2", 11, True, "success", False)
    assert b"".join(reader.follow()) == b"hello world"
    with pytest.raises(ErrInvalidRange):
        list(reader.follow(12))


def test_what_is_not_there(kit: Kit) -> None:
    reader = kit.reader("none")
    for call in (
        reader.stat,
        reader.read,
        lambda: list(reader.follow()),
        lambda: kit.archive("none"),
        lambda: kit.make("finish", kit.store, "none"),
        lambda: kit.make("LogHub", kit.store).open("none"),
    ):
        with pytest.raises(ErrNotExist, match="^log doesn't exist$") as caught:
            call()
        assert isinstance(caught.value.__cause__, ErrNotExist)
        assert caught.value.__cause__.key == "none/=log"
        assert caught.value.details == {"log": "none"}
    kit.make("delete", kit.store, "none")


def test_an_archived_log(kit: Kit) -> None:
    kit.write("a", b"one", b"two", b"three")
    kit.write("a/b", b"below")
    kit.write("empty")
    before = kit.reader("a").stat()
    assert kit.archive("a") == before._replace(archived=True)
    assert kit.archive("a") == kit.reader("a").stat() == before._replace(archived=True)
    assert kit.archive("empty").size == 0
    assert len([key for key in kit.all_keys() if key.startswith("a/=")]) == 2
    reader = kit.reader("a")
    assert b"".join(reader.follow()) == b"onetwothree"
    assert b"".join(reader.follow(4)) == reader.read(4) == b"wothree"
    assert list(reader.follow(11)) == []
    for call in (lambda: reader.read(12), lambda: list(reader.follow(12))):
        with pytest.raises(ErrInvalidRange):
            call()
    assert list(kit.reader("empty").follow()) == []
    assert kit.reader("a/b").read() == b"below"
    kit.make("delete", kit.store, "a")
    with pytest.raises(ErrNotExist):
        reader.read()
    assert kit.reader("a/b").read() == b"below"
    kit.make("delete", kit.store, "a/b")
    kit.make("delete", kit.store, "empty")
    assert kit.all_keys() == []


def test_only_a_finished_log_is_archived(memory: Kit) -> None:
    with memory.writer() as writer:
        writer.write(b"x")
        writer.flush()
        with pytest.raises(ErrConflict, match="isn't finished"):
            memory.archive()
    assert memory.archive().finished


def test_a_follower_sees_each_flush_and_the_end_across_the_archiving(kit: Kit) -> None:
    """Followers at every place while the log is written, finished, archived, and gone."""
    lines = [f"line {i}\n".encode() for i in range(20)]
    whole = b"".join(lines)
    writer = kit.writer()
    writer.open()
    reader = kit.reader("a", kit.handle())
    hub = kit.make("LogHub", kit.handle(), recent_bytes=32)
    slow = kit.reader("a", kit.handle()).follow()
    first = threading.Semaphore(0)
    with ThreadPoolExecutor(4) as pool:
        results = [
            pool.submit(collect, reader.follow(), bytearray(), first.release),
            pool.submit(collect, reader.follow(10), bytearray()),
            pool.submit(collect, hub.open("a"), bytearray()),
            pool.submit(collect, hub.open("a", 7), bytearray()),
        ]
        got = bytearray()
        for line in lines:
            writer.write(line)
            writer.flush()
            first.acquire()  # each flush is seen before the next
            if len(got) < 30:
                got += next(slow)
        writer.close()
        kit.archive()
        assert [result.result() for result in results] == [whole, whole[10:], whole, whole[7:]]
    # it stood in a segment that is gone now
    assert bytes(got) + b"".join(slow) == whole
    hub.close()


def test_a_follower_waits_beyond_the_end(memory: Kit) -> None:
    with memory.writer() as writer, ThreadPoolExecutor(2) as pool:
        hub = memory.make("LogHub", memory.store)
        writer.write(b"abc")
        writer.flush()
        late = pool.submit(collect, memory.reader().follow(5), bytearray())
        hubs = pool.submit(collect, hub.open("a", 5), bytearray())
        writer.write(b"defg")
        writer.close()
        assert late.result() == hubs.result() == b"fg"
        hub.close()


def test_flushed_by_time(memory: Kit) -> None:
    with memory.writer(flush_seconds=0.01) as writer:
        chunks = memory.reader().follow()
        for line in (b"one\n", b"two\n"):
            writer.write(line)
            assert next(chunks) == line
        chunks.close()


def test_flushed_by_size(memory: Kit) -> None:
    with memory.writer(flush_bytes=10) as writer:
        writer.write(b"123456789")
        assert writer.flushed == 0
        writer.write(b"abcdefghijklmnop")
        assert writer.flushed == 25
        assert memory.reader().read() == b"123456789abcdefghijklmnop"
    sizes = [len(memory.store.get(key)) - 36 for key in memory.all_keys() if "-" in key]
    assert sizes == [10, 10, 5, 0]


def test_one_writer(kit: Kit) -> None:
    with kit.writer() as writer:
        with pytest.raises(ErrExist, match="log exists already") as caught:
            kit.writer(store=kit.handle()).open()
        assert isinstance(caught.value.__cause__, ErrExist)
        writer.write(b"mine")
    with pytest.raises(ErrConflict, match="log is finished"):
        kit.writer(resume=True).open()
    assert kit.reader().read() == b"mine"


def test_a_writer_that_took_over_fences_the_former(kit: Kit) -> None:
    former = kit.writer()
    former.write(b"one ")
    former.flush()
    former.write(b"lost")
    with kit.writer(store=kit.handle(), resume=True) as writer:
        assert writer.offset == 4
        writer.write(b"two")
        writer.flush()
        with pytest.raises(ErrConcurrency, match="another writer took the log over") as caught:
            former.flush()
        assert isinstance(caught.value.__cause__, ErrExist)
        for call in (former.close, former.flush, lambda: former.write(b"x")):
            with pytest.raises(ErrConcurrency):
                call()
    former.abandon()
    assert b"".join(kit.reader().follow()) == b"one two"


def test_a_former_writers_last_segment_is_passed(memory: Kit) -> None:
    former = memory.writer()
    former.write(b"one ")
    former.flush()
    writer = memory.writer(resume=True)
    writer.open()
    former.write(b"late ")
    former.flush()
    writer.write(b"two")
    writer.close()
    with pytest.raises(ErrConcurrency, match="finished by another|took the log over"):
        former.close()
    former.abandon()
    assert memory.reader().read() == b"one late two"


def test_two_that_take_over_at_once(memory: Kit) -> None:
    memory.write("a", b"x", finish=False)
    writers = [memory.writer(resume=True) for _ in range(2)]
    for writer in writers:
        writer.open()
    writers[0].write(b"first")
    writers[0].flush()
    writers[1].write(b"second")
    with pytest.raises(ErrConcurrency):
        writers[1].close()
    writers[1].abandon()
    writers[0].close()
    assert memory.reader().read() == b"xfirst"


def test_finished_by_somebody_else(kit: Kit) -> None:
    writer = kit.writer()
    writer.write(b"flushed")
    writer.flush()
    info = kit.make("finish", kit.handle(), "a", "executor died")
    assert info[:4] == ("a", 7, True, "executor died")
    assert kit.make("finish", kit.store, "a", "again") == info
    assert b"".join(kit.reader().follow()) == b"flushed"
    writer.write(b"lost")
    with pytest.raises(ErrConcurrency, match="finished by another"):
        writer.close()
    writer.abandon()


@pytest.mark.parametrize("what", ["archived", "deleted", "deleted and made again"])
def test_a_stalled_writer_learns_at_its_close_that_the_log_is_gone(memory: Kit, what: str) -> None:
    writer = memory.writer()
    writer.write(b"a")
    writer.flush()
    with memory.writer(resume=True) as other:
        other.write(b"b")
    if what == "archived":
        memory.archive()
    else:
        memory.make("delete", memory.store, "a")
        if what != "deleted":
            memory.write("a", b"new")
    # where the other's segment was there is none now
    writer.write(b"stalled")
    writer.flush()
    with pytest.raises(ErrConcurrency):
        writer.close()
    writer.abandon()
    if what == "archived":
        assert memory.reader().read() == b"ab"
    elif what != "deleted":
        assert memory.reader().read() == b"new"


def test_an_exception_leaves_the_log_unfinished_and_flushed(memory: Kit) -> None:
    with pytest.raises(RuntimeError), memory.writer() as writer:
        writer.write(b"so far")
        raise RuntimeError
    assert memory.reader().stat()[:3] == ("a", 6, False)
    with pytest.raises(ErrClosed):
        writer.write(b"x")
    with memory.writer(resume=True) as writer:
        writer.write(b", and on")
    writer.close()  # the second time: nothing
    assert memory.reader().read() == b"so far, and on"


def test_deleted_while_followed(memory: Kit) -> None:
    memory.write("a", b"x", finish=False)
    chunks = memory.reader().follow()
    hub = memory.make("LogHub", memory.store)
    follower = hub.open("a")
    assert next(chunks) == follower.read() == b"x"
    memory.make("delete", memory.store, "a")
    memory.write("a", b"another", finish=False)
    with pytest.raises(ErrNotExist, match="log doesn't exist"):
        next(chunks)
    with pytest.raises(StorageError) as caught:
        follower.read()
    assert isinstance(caught.value.__cause__, ErrNotExist)
    follower.close()
    assert hub.open("a").read() == b"another"
    hub.close()


def test_followers_of_a_hub_at_every_place(memory: Kit) -> None:
    """Behind what it holds, within it, at its end: the same bytes, small chunks joined."""
    pieces = [b"%d," % i for i in range(300)]
    whole = b"".join(pieces)
    hub = memory.make("LogHub", memory.store, recent_bytes=400)
    with memory.writer() as writer:
        first = hub.open("a")
        got = b""
        for piece in pieces:
            writer.write(piece)
            writer.flush()
            got += first.read()  # it is up to date, so the hub is
        places = [0, 1, 64, 700, len(whole) - 400, len(whole) - 399, len(whole) - 1, len(whole)]
        followers = [hub.open("a", place) for place in places]
        with hub.open("a", len(whole) - 399) as within:
            assert within.read() == whole[-399:]
        writer.write(b"end")
    assert got + b"".join(first) == whole + b"end"
    for place, follower in zip(places, followers, strict=True):
        assert b"".join(follower) == (whole + b"end")[place:]
        follower.close()
    hub.close()


def test_hub_closed(memory: Kit) -> None:
    with memory.writer():
        hub = memory.make("LogHub", memory.store)
        follower = hub.open("a")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(follower.read)
            hub.close()
            with pytest.raises(StorageError) as caught:
                waiting.result()
            assert isinstance(caught.value.__cause__, ErrClosed)
        follower.close()
        with pytest.raises(ErrClosed):
            follower.read()
        with pytest.raises(ErrClosed):
            hub.open("a")


def test_clean(kit: Kit) -> None:
    kit.write("old", b"x")
    kit.write("old/archived", b"x")
    kit.archive("old/archived")
    kit.write("old/open", b"x", finish=False)
    assert kit.make("clean", kit.store, older_than=timedelta(hours=1)) == 0
    assert len(kit.all_keys()) == 3 + 2 + 2
    kit.store.put("keep/other", b"no log")
    # what a deletion left that was interrupted
    kit.store.put(f"left/={'0' * 16}-{'0' * 20}", b"")
    wait_for_a_later_clock(kit)
    assert kit.make("clean", kit.store, older_than=timedelta(0)) == 4
    assert kit.all_keys() == ["keep/other"]
    with pytest.raises(ErrBadRequest):
        kit.make("clean", kit.store, older_than=timedelta(-1))


def wait_for_a_later_clock(kit: Kit) -> None:
    newest = max(info.last_modified for info in kit.store.list())
    while kit.store.clock() <= newest + timedelta(seconds=0):
        threading.Event().wait(0.02)


def test_an_archiving_that_died_is_done_again(memory: Kit) -> None:
    memory.write("a", b"one", b"two")
    segments = {key: memory.store.get(key) for key in memory.all_keys()}
    memory.archive()
    done = memory.all_keys()
    manifest = memory.store.get("a/=log")
    for died_with in ({}, {"a/=log": manifest}):  # before and after the manifest
        for key, data in {**segments, **died_with}.items():
            memory.store.put(key, data)
        assert memory.reader().read() == b"onetwo"
        assert memory.archive().size == 6
        assert memory.all_keys() == done
        assert memory.reader().read() == b"onetwo"


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "x" * 221, "a\0"])
def test_names_that_are_none(memory: Kit, name: str) -> None:
    for what in ("LogReader", "LogWriter"):
        with pytest.raises(ErrInvalidKey):
            memory.make(what, memory.store, name)


def test_names_never_meet(kit: Kit) -> None:
    names = ["a", "a/b", "a-", "a=", "a/=log", "..", "./a", "a b", "é", "a%2Fb"]
    for name in names:
        kit.write(name, name.encode())
    assert [kit.reader(name).read().decode() for name in names] == names
    for name in names:
        kit.make("delete", kit.store, name)
    assert kit.all_keys() == []


def test_bad_arguments(memory: Kit) -> None:
    memory.write("a", b"x", finish=False)
    reader = memory.reader()
    for call in (
        lambda: reader.read(-1),
        lambda: reader.read(0, -1),
        lambda: list(reader.follow(-1)),
        lambda: memory.writer(flush_bytes=0),
        lambda: memory.writer(flush_seconds=0),
        lambda: memory.writer("b").close("x" * 1025),
    ):
        with pytest.raises(ErrBadRequest):
            call()
    with pytest.raises(TypeError):
        reader.read(True)


# -- stores that fail: the blocking face, whose logic is the other's too ---------


class Failing(MemoryStorage):
    """Its segments' puts fail as told, before or after they are done."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[tuple[bool, StorageError]] = []

    def put(self, key: str, data: Any, **options: Any) -> Any:
        if self.failures and "-" in key:
            done, error = self.failures.pop(0)
            if done:
                super().put(key, data, **options)
            raise error
        return super().put(key, data, **options)


@pytest.mark.parametrize("done", [True, False])
def test_a_flush_whose_reply_was_lost_is_settled(done: bool) -> None:
    store = Failing()
    with logs.LogWriter(store, "a", flush_seconds=NEVER) as writer:
        writer.write(b"one ")
        store.failures = [(done, ErrOutcomeUnknown("lost"))]
        if done:
            writer.flush()
        else:
            with pytest.raises(ErrOutcomeUnknown):
                writer.flush()
        writer.write(b"two")
        assert writer.offset == 7
        writer.flush()
        store.failures = [(True, ErrOutcomeUnknown("lost"))]
    assert b"".join(logs.LogReader(store, "a").follow()) == b"one two"


def test_a_flush_that_failed_is_tried_again_and_memory_is_bounded() -> None:
    store = Failing()
    with logs.LogWriter(store, "a", flush_bytes=10, flush_seconds=NEVER) as writer:
        store.failures = [(False, ErrIO("full"))] * 3
        writer.write(b"0123456789")  # kept: it will be tried again
        for _ in range(2):
            with pytest.raises(ErrIO):
                writer.write(b"refused")
        assert writer.offset == 10
        writer.write(b"taken")
    assert logs.LogReader(store, "a").read() == b"0123456789taken"


def test_a_reply_that_was_lost_before_more_was_written() -> None:
    """The retry finds a segment shorter than what the buffer holds by then."""
    store = Failing()
    with logs.LogWriter(store, "a", flush_seconds=NEVER) as writer:
        writer.write(b"one ")
        store.failures = [(True, ErrIO("it seemed to fail"))]
        with pytest.raises(ErrIO):
            writer.flush()
        writer.write(b"two")
    assert logs.LogReader(store, "a").read() == b"one two"


def test_nothing_is_written_after_a_close_whose_reply_was_lost() -> None:
    store = Failing()
    writer = logs.LogWriter(store, "a", flush_seconds=NEVER)
    writer.write(b"one")
    writer.flush()
    store.failures = [(True, ErrIO("it seemed to fail"))]
    with pytest.raises(ErrIO):
        writer.close()
    writer.write(b"two")
    with pytest.raises(ErrConcurrency, match="seemed to fail"):
        writer.flush()
    writer.abandon()
    assert b"".join(logs.LogReader(store, "a").follow()) == b"one"


def requests_of(inner: MemoryStorage, looks: int) -> tuple[bytes, list[str]]:
    """What so many looks at the log bring, and which requests they cost."""
    events: list[Any] = []
    cursor = LogCursor(ObservedStorage(inner, events.append), "a")
    data = b"".join(cursor.read() or b"" for _ in range(looks))
    kinds = {"a/=log": "manifest"}
    return data, [
        kinds.get(e.key, "sum" if "-sum-" in e.key else "segment") + f" {e.operation}"
        for e in events
    ]


def test_a_follower_costs_little() -> None:
    """One request a look, and the manifest's at every second one that finds nothing."""
    inner = MemoryStorage()
    with logs.LogWriter(inner, "a", flush_seconds=NEVER) as writer:
        writer.write(b"x")
        writer.flush()
        data, requests = requests_of(inner, 5)
    assert data == b"x"
    found, looked = "segment fetch", "manifest fetch"
    assert requests == [looked, "sum list", found, *([found, looked, found] * 2)]


def test_a_long_log_is_read_in_few_requests(memory: Kit) -> None:
    """Of 200 segments, 192 are read by the sums of 64."""
    pieces = [b"%d " % i for i in range(200)]
    whole = b"".join(pieces)
    memory.write("a", *pieces, finish=False)
    data, requests = requests_of(MemoryStorage(memory.url.removeprefix("memory://")), 11)
    assert data == whole
    assert requests == ["manifest fetch", "sum list", *["sum fetch"] * 3, *["segment fetch"] * 8]
    for offset in range(0, len(whole), 53):
        assert memory.reader().read(offset) == whole[offset:]
    assert memory.reader().stat()[:3] == ("a", len(whole), False)
    # and on, by another writer
    writer = memory.writer(resume=True)
    writer.open()
    assert writer.offset == len(whole)
    for piece in pieces[:70]:
        writer.write(piece)
        writer.flush()
        whole += piece
    writer.abandon()
    data, requests = requests_of(MemoryStorage(memory.url.removeprefix("memory://")), 18)
    assert data == whole
    assert requests[2:] == [
        *["sum fetch"] * 3, *["segment fetch"] * 8, "sum fetch", *["segment fetch"] * 6
    ]  # fmt: skip
    memory.make("finish", memory.store, "a")
    assert b"".join(memory.reader().follow(5)) == whole[5:]
    memory.archive()
    assert len(memory.all_keys()) == 2
    assert memory.reader().read() == whole


def test_sums_on_every_store(kit: Kit) -> None:
    pieces = [b"%d," % i for i in range(66)]
    whole = b"".join(pieces)
    kit.write("a", *pieces, finish=False)
    assert sum("-sum-" in key for key in kit.all_keys()) == 1
    for offset in (0, 1, len(whole) - 7, len(whole) - 1, len(whole)):
        assert kit.reader().read(offset) == whole[offset:]
    with kit.writer(store=kit.handle(), resume=True) as writer:
        assert writer.offset == len(whole)
        writer.write(b"end")
    chunks = kit.reader().follow()
    got = next(chunks)
    assert got == whole[: len(got)] == b"".join(pieces[:64])
    kit.archive()
    assert got + b"".join(chunks) == whole + b"end"


def test_a_log_that_ends_with_a_sum_is_taken_over(memory: Kit) -> None:
    former = memory.writer()
    for _ in range(64):
        former.write(b"x")
        former.flush()
    with memory.writer(resume=True) as writer:
        assert writer.offset == 64
        writer.write(b"y")
        writer.flush()
        former.write(b"lost")
        with pytest.raises(ErrConcurrency, match="took the log over"):
            former.flush()
        former.abandon()
    assert memory.reader().read() == b"x" * 64 + b"y"


def test_what_is_summed_up_is_bounded() -> None:
    summing = Summing()
    # large segments are worth no sum, and are not held
    assert [summing.add(i * 300_000, b"x" * 300_000) for i in range(20)] == [None] * 20
    at, sums = 6_000_000, []
    for _ in range(30):
        sums.append(summing.add(at, b"y" * 30_000))
        at += 30_000
        assert summing._size <= 256 * 1024
    assert {len(one.data) for one in sums if one} == {240_000}
    # a gap: another writer's segment lies between
    assert summing.add(at + 1, b"z") is not None or summing._start == at + 1
