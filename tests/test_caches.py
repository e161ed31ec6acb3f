"""Caches: saved, restored, cleaned, on every kind of store, in both faces."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from both_faces import STORES, Face, fresh_place

from objectstorage.caches import CacheStore
from objectstorage.caches.aio import AsyncCacheStore
from objectstorage.errors import (
    ErrBackend,
    ErrBadRequest,
    ErrExist,
    ErrIntegrity,
    ErrInvalidKey,
    ErrIO,
    ErrNotExist,
    ErrOutcomeUnknown,
    ErrUnavailable,
    StorageError,
)
from objectstorage.memory import MemoryStorage
from objectstorage.storage import ObjectInfo, Storage
from objectstorage.wrappers import ObservedStorage


class Kit:
    def __init__(self, face: Face, place: tuple[str, dict[str, Any]]) -> None:
        self.face = face
        self.store = face.open_storage(place[0], **place[1])

    def caches(self, **options: Any) -> Any:
        kind = AsyncCacheStore if self.face.is_async else CacheStore
        return self.face.make(kind, self.store, **options)

    def keys(self) -> list[str]:
        return [info.key.partition("!")[0] for info in self.store.list()]

    def close(self) -> None:
        self.store.close()
        self.face.close()


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=STORES)
def kit(request: pytest.FixtureRequest, face: str) -> Iterator[Kit]:
    kit = Kit(Face(face), fresh_place(request.param, request))
    yield kit
    kit.close()


@pytest.fixture
def memory(request: pytest.FixtureRequest, face: str) -> Iterator[Kit]:
    kit = Kit(Face(face), fresh_place("memory", request))
    yield kit
    kit.close()


def read(restored: Any) -> bytes:
    with restored.reader as reader:
        return reader.read()


def test_saved_and_restored(kit: Kit) -> None:
    caches = kit.caches()
    before = datetime.now(UTC)
    info = caches.save("project/1", "npm-1", b"one")
    assert info[:3] == ("project/1", "npm-1", 3)
    assert before - timedelta(seconds=1) <= info.saved <= datetime.now(UTC)
    caches.save("project/1", "npm-2", iter([b"tw", b"o"]))
    caches.save("project/1", "pip-3", b"", size=0)
    assert caches.find("project/1", "npm-1") == info
    assert read(caches.restore("project/1", "npm-1")) == b"one"
    # the newest, though it was saved within the same tick of the store's clock
    info, reader = caches.restore("project/1", prefix="npm-")
    with reader:
        assert (info.key, info.size, reader.read()) == ("npm-2", 3, b"two")
    assert caches.find("project/1", prefix="").key == "pip-3"
    assert read(caches.restore("project/1", prefix="")) == b""
    assert [one.key for one in caches.list("project/1")] == ["npm-1", "npm-2", "pip-3"]
    assert [one.key for one in caches.list("project/1", "npm", start_after="npm-1")] == ["npm-2"]
    caches.delete("project/1", "npm-2")
    caches.delete("project/1", "npm-2")
    assert caches.find("project/1", prefix="npm-").key == "npm-1"
    assert kit.keys() == [
        f"{kind}/project%2F1/{key}" for kind in ("data", "entries") for key in ("npm-1", "pip-3")
    ]


def test_what_is_not_there(kit: Kit) -> None:
    caches = kit.caches()
    caches.save("g", "k", b"x")
    for call in (caches.find, caches.restore):
        for which in ({"key": "other"}, {"prefix": "other"}):
            with pytest.raises(ErrNotExist, match="^cache doesn't exist$") as caught:
                call("g", **which)
            assert caught.value.details == {"group": "g", **which}
        with pytest.raises(ErrNotExist):
            call("h", "k")


def test_a_key_once_saved_stays_as_it_is(kit: Kit) -> None:
    caches = kit.caches()
    caches.save("g", "k", b"first")
    with pytest.raises(ErrExist, match="^cache exists already$"):
        caches.save("g", "k", b"second")
    assert read(caches.restore("g", "k")) == b"first"
    assert kit.keys() == ["data/g/k", "entries/g/k"]


def test_of_several_at_once_one_wins(kit: Kit) -> None:
    caches = kit.caches()
    barrier = threading.Barrier(4)

    def save(i: int) -> bytes | None:
        data = f"from {i}".encode()

        def chunks() -> Iterator[bytes]:
            barrier.wait()  # all have seen that the key is free
            yield data

        try:
            caches.save("g", "k", chunks())
        except ErrExist:
            return None
        return data

    with ThreadPoolExecutor(4) as pool:
        (winner,) = filter(None, pool.map(save, range(4)))
    assert read(caches.restore("g", "k")) == winner
    assert kit.keys() == ["data/g/k", "entries/g/k"]  # the others' bytes are gone


def test_groups_and_keys_never_meet(kit: Kit) -> None:
    caches = kit.caches()
    places = [
        ("a", "b-c"), ("a-b", "c"), ("a/b", "c"), ("a", "b/c"), ("a", "b"), (".", ".."),
        ("a", "b!c"), ("é", "a b"), ("a%2Fb", "c"), ("a", "b=c"),
    ]  # fmt: skip
    for place in places:
        caches.save(*place, "|".join(place).encode())
    for place in places:
        assert read(caches.restore(*place)).decode() == "|".join(place)
        assert caches.find(place[0], prefix=place[1]).group == place[0]
    assert [one.key for one in caches.list("a", "b")] == ["b", "b!c", "b/c", "b=c", "b-c"]
    for place in places:
        caches.delete(*place)
    assert kit.keys() == []


def test_large_caches_stream_both_ways(memory: Kit) -> None:
    """More than a reader takes at once; in bounded memory as the store's own streams are."""
    caches = memory.caches()
    piece = bytes(range(256)) * 4096
    assert caches.save("g", "k", (piece for _ in range(5))).size == 5 * len(piece)
    with caches.restore("g", "k").reader as reader:
        assert all(reader.read(len(piece)) == piece for _ in range(5))
        assert reader.read(1) == b""


def test_a_stream_that_breaks_saves_nothing(kit: Kit) -> None:
    caches = kit.caches()

    def broken() -> Iterator[bytes]:
        yield b"some"
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError):
        caches.save("g", "k", broken())
    with pytest.raises(ErrIntegrity):
        caches.save("g", "k", iter([b"short"]), size=10)
    assert kit.keys() == []
    caches.save("g", "k", b"whole")
    assert read(caches.restore("g", "k")) == b"whole"


def test_cleaned(kit: Kit) -> None:
    caches = kit.caches(touch_every=timedelta(0))
    for key in ("a", "a-", "b"):
        caches.save("g", key, b"x")
    later(kit)
    read(caches.restore("g", "a"))
    assert kit.keys().count("used/g/a") == 1
    later(kit)
    assert caches.clean(unused_for=timedelta(hours=1)) == 0
    assert kit.caches().clean(unused_for=timedelta(0)) == 0  # uses may be six hours unwritten
    assert read(caches.restore("g", "a-")) == b"x"
    later(kit)
    assert caches.clean(unused_for=timedelta(0)) == 3
    assert kit.keys() == []


def later(kit: Kit) -> None:
    """Until the store's clock shows a later time than all it holds."""
    newest = max(info.last_modified for info in kit.store.list())
    while kit.store.clock() <= newest:
        threading.Event().wait(0.02)


def test_cleaned_by_the_age_of_the_last_use() -> None:
    store = Aged(MemoryStorage())
    caches = CacheStore(store, touch_every=timedelta(hours=1))
    for key in ("used", "unused", "used-not"):
        caches.save("g", key, b"x")
    store.now += timedelta(days=6)
    read(caches.restore("g", "used"))
    store.now += timedelta(days=1)
    assert caches.clean(unused_for=timedelta(days=7)) == 0  # and the hour
    store.now += timedelta(hours=1)
    assert caches.clean(unused_for=timedelta(days=7)) == 2
    assert [one.key for one in caches.list("g")] == ["used"]
    store.now += timedelta(days=6)
    assert caches.clean(unused_for=timedelta(days=7)) == 1
    assert list(store.list()) == []


def test_a_use_is_written_down_once_in_a_while() -> None:
    store = Aged(MemoryStorage())
    events: list[Any] = []
    caches = CacheStore(ObservedStorage(store, events.append), touch_every=timedelta(hours=6))
    caches.save("g", "k", b"x")

    def puts_of_a_restore(hours: int) -> int:
        store.now += timedelta(hours=hours)
        events.clear()
        read(caches.restore("g", "k"))
        return sum(event.operation == "put" for event in events)

    assert [puts_of_a_restore(hours) for hours in (1, 4, 2, 1, 4, 2)] == [0, 0, 1, 0, 0, 1]


class Aged(Storage):
    """A memory store whose clock is set by hand."""

    def __init__(self, inner: MemoryStorage) -> None:
        self.inner = inner
        self.start = self.now = inner.clock()
        self.times: dict[str, datetime] = {}

    url = property(lambda self: self.inner.url)
    capabilities = property(lambda self: self.inner.capabilities)

    def clock(self) -> datetime:
        return self.now

    def _aged(self, info: ObjectInfo) -> ObjectInfo:
        fields = list(info._fields())
        fields[2] = self.times[info.key]
        return ObjectInfo(*fields)

    def put(self, key: str, data: Any, **options: Any) -> Any:
        result = self.inner.put(key, data, **options)
        self.times[key] = self.now
        return result

    def fetch(self, key: str, **options: Any) -> Any:
        data, info = self.inner.fetch(key, **options)
        return type(self.inner.fetch(key))(data, self._aged(info))

    def stat(self, key: str) -> ObjectInfo:
        return self._aged(self.inner.stat(key))

    def list(self, prefix: str = "", **options: Any) -> Iterator[ObjectInfo]:
        return map(self._aged, self.inner.list(prefix, **options))

    def open(self, key: str) -> Any:
        return self.inner.open(key)

    def writer(self, key: str, **options: Any) -> Any:
        return self.inner.writer(key, **options)

    def delete(self, key: str, **options: Any) -> None:
        self.inner.delete(key, **options)

    def _copy_within(self, src: str, dst: str, *, create: bool) -> Any:
        return self.inner._copy_within(src, dst, create=create)


def test_what_dead_saves_left_goes_after_a_day() -> None:
    store = Aged(MemoryStorage())
    caches = CacheStore(store)
    caches.save("g", "k", b"kept")
    for key in ("g/k!0000000000000000", "g/k-1!0000000000000000", "a/b!0000000000000000"):
        store.put(f"data/{key}", b"left")
    store.put("used/g/gone", b"")
    store.now += timedelta(hours=23)
    store.put("data/g/young!0000000000000000", b"a save that is under way")
    assert caches.clean(unused_for=timedelta(days=30)) == 0
    assert len(list(store.list())) == 7
    store.now += timedelta(hours=2)
    assert caches.clean(unused_for=timedelta(days=30)) == 0
    assert read(caches.restore("g", "k")) == b"kept"
    left = [info.key.partition("!")[0] for info in store.list()]
    assert left == ["data/g/k", "data/g/young", "entries/g/k", "used/g/k"]


def test_used_while_it_is_cleaned() -> None:
    """Restored after the listing, before the deletion: it stays."""
    store = Aged(MemoryStorage())
    caches = CacheStore(store, touch_every=timedelta(0))
    caches.save("g", "k", b"x")
    store.now += timedelta(days=2)
    restoring = Interrupting(store, "used/", lambda: read(caches.restore("g", "k")))
    cleaning = CacheStore(restoring, touch_every=timedelta(0))
    assert cleaning.clean(unused_for=timedelta(days=1)) == 0
    assert read(caches.restore("g", "k")) == b"x"
    assert store.now  # the use that was written is current
    assert cleaning.clean(unused_for=timedelta(days=1)) == 0


class Interrupting(Aged):
    """Calls once, before the first stat below a prefix."""

    def __init__(self, store: Aged, prefix: str, call: Callable[[], Any]) -> None:
        self.__dict__ = store.__dict__
        self._hook = (prefix, call)

    def stat(self, key: str) -> ObjectInfo:
        prefix, call = self._hook
        if key.startswith(prefix):
            self._hook = ("\0", call)
            call()
        return super().stat(key)


class Failing(MemoryStorage):
    """Fails once at an entry's put."""

    error: Exception | None = None
    done = False

    def put(self, key: str, data: Any, **options: Any) -> Any:
        error = self.error
        if error is None or not key.startswith("entries/"):
            return super().put(key, data, **options)
        self.error = None
        if self.done:
            super().put(key, data, **options)
        raise error


def test_a_save_that_fails_leaves_nothing() -> None:
    store = Failing()
    store.error = ErrIO("full")
    with pytest.raises(ErrIO):
        CacheStore(store).save("g", "k", b"x")
    assert list(store.list()) == []


@pytest.mark.parametrize("kind", [ErrOutcomeUnknown, ErrUnavailable, ErrBackend])
def test_a_save_whose_outcome_is_unknown_leaves_the_data(kind: type[StorageError]) -> None:
    store = Failing()
    store.error, store.done = kind("lost"), True
    with pytest.raises(kind):
        CacheStore(store).save("g", "k", b"x")
    assert read(CacheStore(store).restore("g", "k")) == b"x"


def test_bad_arguments(memory: Kit) -> None:
    caches = memory.caches()
    for group, key in (("", "k"), ("g", ""), ("g", "k" * 221), ("g", "a\0"), ("\ud800", "k")):
        with pytest.raises(ErrInvalidKey):
            caches.save(group, key, b"x")
    for call in (
        lambda: caches.find("g"),
        lambda: caches.find("g", "k", prefix="p"),
        lambda: caches.clean(unused_for=timedelta(-1)),
        lambda: memory.caches(touch_every=timedelta(-1)),
    ):
        with pytest.raises(ErrBadRequest):
            call()
    with pytest.raises(TypeError):
        caches.save("g", 1, b"x")
    assert memory.keys() == []
