"""What each wrapper adds, and that none forgets a method."""

from __future__ import annotations

import asyncio
import inspect
import multiprocessing
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import generate_sync
import pytest

from objectstorage import errors, wrappers
from objectstorage.aio.local import ThreadedStorage
from objectstorage.aio.storage import AsyncStorage
from objectstorage.memory import MemoryStorage
from objectstorage.posix import PosixStorage
from objectstorage.storage import Storage, Upload
from objectstorage.wrappers import (
    Action,
    CachingStorage,
    DryRunStorage,
    Event,
    ForwardingStorage,
    LimitedStorage,
    ObservedStorage,
    PrefixStorage,
    ReadOnlyStorage,
    aio,
)

SYNC = [getattr(wrappers, name) for name in wrappers.__all__ if name.endswith("Storage")]
ASYNC = [getattr(aio, name) for name in aio.__all__]

# Closing, entering and the like are the base class's own.
VERBS = sorted(
    name
    for name, member in vars(Storage).items()
    if (callable(member) or isinstance(member, property)) and not name.startswith("_")
)


def test_the_blocking_face_is_current() -> None:
    for path, text in generate_sync.generated():
        assert Path(path).read_text(encoding="utf-8") == text, "run python tests/generate_sync.py"


def test_both_faces_have_the_same_wrappers() -> None:
    assert [f"Async{cls.__name__}" for cls in SYNC] == [cls.__name__ for cls in ASYNC]


@pytest.mark.parametrize("cls", SYNC + ASYNC)
def test_no_method_is_left_to_the_base_class(cls: type) -> None:
    base = AsyncStorage if issubclass(cls, AsyncStorage) else Storage
    ours = cls.__mro__[: cls.__mro__.index(base)]
    for name in VERBS:
        owner = next((c for c in ours if name in vars(c)), None)
        assert owner is not None, f"{cls.__name__} inherits {name} from {base.__name__}"
        member, original = getattr(cls, name), getattr(base, name)
        if not isinstance(original, property):
            assert inspect.signature(member) == inspect.signature(original), name


class _Recorder:
    """Stands for a store of either face: every method tells how it was called."""

    url = "memory://"

    def __init__(self, *, asynchronous: bool) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._asynchronous = asynchronous

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            raise errors.ErrUnavailable("recorded")

        async def acall(*args: Any, **kwargs: Any) -> Any:
            call(*args, **kwargs)

        lists = name in ("list", "list_level", "list_uploads", "stream")
        return acall if self._asynchronous and not lists else call


def _samples(method: Callable[..., Any]) -> tuple[list[Any], dict[str, Any]]:
    """An argument of its own for every parameter."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        value: Any = f"<{parameter.name}>"
        if parameter.name == "upload":
            value = an_upload()
        if parameter.kind is parameter.KEYWORD_ONLY:
            kwargs[parameter.name] = value
        else:
            args.append(value)
    return args, kwargs


def an_upload() -> Upload:
    return Upload("<key>", "<id>", datetime(2024, 1, 1, tzinfo=UTC))


def _bound(method: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    return dict(inspect.signature(method).bind(None, *args, **kwargs).arguments)


METHODS = [name for name in VERBS if not isinstance(getattr(Storage, name), property)]


@pytest.mark.parametrize("name", METHODS)
def test_every_argument_is_forwarded(name: str) -> None:
    inner = _Recorder(asynchronous=False)
    store = ForwardingStorage(inner)  # type: ignore[arg-type]  # the stand-in
    args, kwargs = _samples(getattr(Storage, name))
    with pytest.raises(errors.ErrUnavailable):
        result = getattr(store, name)(*args, **kwargs)
        next(result)  # a stream begins with its first step
    [(called, *given)] = inner.calls
    method = getattr(Storage, name)
    assert called == name
    assert _bound(method, *given) == _bound(method, args, kwargs)


@pytest.mark.parametrize("name", METHODS)
def test_every_argument_is_forwarded_asynchronously(name: str) -> None:
    async def main() -> None:
        result = getattr(store, name)(*args, **kwargs)
        if inspect.isawaitable(result):
            await result
        else:
            await anext(result)

    inner = _Recorder(asynchronous=True)
    store = aio.AsyncForwardingStorage(inner)  # type: ignore[arg-type]  # the stand-in
    method = getattr(AsyncStorage, name)
    args, kwargs = _samples(method)
    with pytest.raises(errors.ErrUnavailable):
        asyncio.run(main())
    [(called, *given)] = inner.calls
    assert called == name
    assert _bound(method, *given) == _bound(method, args, kwargs)


# -- prefix --------------------------------------------------------------------


class TestPrefix:
    def test_what_has_no_name_below_it_is_left_out(self) -> None:
        inner = MemoryStorage()
        for key in ("p", "p/", "p//x", "p/a", "p/b/c", "pq"):
            inner.put(key, b"")
        store = PrefixStorage(inner, "p")
        assert [info.key for info in store.list()] == ["a", "b/c"]
        assert [entry.key for entry in store.list_level()] == ["a", "b/"]
        assert [info.key for info in store.list(start_after="a")] == ["b/c"]

    def test_errors_tell_the_callers_key(self) -> None:
        store = PrefixStorage(MemoryStorage(), "p/")
        for call in (store.get, store.stat, store.open, store._store.get):
            with pytest.raises(errors.ErrNotExist) as caught:
                call("p/x")
            assert caught.value.key == caught.value.filename == "p/x"
        with pytest.raises(errors.ErrInvalidKey) as invalid:
            store.put("k" * 1023, b"")
        assert invalid.value.key == "k" * 1023
        assert invalid.value.storage == store.url

    def test_errors_of_another_store_stay_theirs(self) -> None:
        other = MemoryStorage("other")

        def data() -> Any:
            yield other.get("missing")

        with pytest.raises(errors.ErrNotExist) as caught:
            PrefixStorage(MemoryStorage("mine"), "p/").put("k", data())
        assert (caught.value.key, caught.value.storage) == ("missing", "memory://other")

    def test_partial_failures(self) -> None:
        store = PrefixStorage(MemoryStorage(), "p/")
        store.put("a", b"")
        with pytest.raises(errors.ErrPartial) as caught:
            store.delete_many(["a", "", "/x"])
        assert set(caught.value.failed) == {"", "/x"}
        assert not store.exists("a")

    def test_reserved_names_are_the_callers_below_it(self, tmp_path: Path) -> None:
        store = PrefixStorage(PosixStorage(tmp_path), "p")
        store.put(".objectstorage/x", b"free")
        assert store.get(".objectstorage/x") == b"free"
        with pytest.raises(errors.ErrInvalidKey):
            PrefixStorage(PosixStorage(tmp_path), "../out")
        with pytest.raises(errors.ErrInvalidKey):
            PrefixStorage(PosixStorage(tmp_path), ".objectstorage")


# -- readonly and dry run ------------------------------------------------------

WRITES: list[tuple[str, Callable[[Storage], Any]]] = [
    ("put", lambda s: s.put("a", b"x")),
    ("writer", lambda s: s.writer("a")),
    ("upload", lambda s: s.upload("a", __file__)),
    ("copy", lambda s: s.copy("a", "b")),
    ("move", lambda s: s.move("a", "b")),
    ("update", lambda s: s.update("a", lambda old: b"x")),
    ("delete", lambda s: s.delete("a")),
    ("delete_many", lambda s: s.delete_many(["a"])),
    ("abort_upload", lambda s: s.abort_upload(an_upload())),
    ("presign", lambda s: s.presign("a", method="PUT")),
]


def content(store: Storage) -> list[tuple[str, bytes, str]]:
    return [(info.key, store.get(info.key), info.etag) for info in store.list()]


@pytest.fixture
def inner() -> MemoryStorage:
    store = MemoryStorage()
    store.put("a", b"one", metadata={"owner": "ci"})
    return store


@pytest.mark.parametrize(("name", "write"), WRITES, ids=[name for name, _ in WRITES])
def test_readonly_refuses_every_write(
    inner: MemoryStorage, name: str, write: Callable[[Storage], Any]
) -> None:
    before = content(inner)
    with pytest.raises(errors.ErrPermission) as caught:
        write(ReadOnlyStorage(inner))
    assert caught.value.operation == name
    assert content(inner) == before


def test_no_write_is_forgotten() -> None:
    reads = {
        *("get", "get_range", "get_ranges", "fetch", "stat", "exists", "open", "stream"),
        *("download", "list", "list_level", "list_uploads", "clock", "close", "probe"),
    }
    assert reads | {name for name, _ in WRITES} == set(METHODS)


@pytest.mark.parametrize(("name", "write"), WRITES[:-1], ids=[name for name, _ in WRITES[:-1]])
def test_dry_run_changes_nothing_and_says_what_it_would(
    inner: MemoryStorage, name: str, write: Callable[[Storage], Any]
) -> None:
    before = content(inner)
    store = DryRunStorage(inner)
    if (made := write(store)) is not None and name == "writer":
        with made as writer:
            writer.write(b"x")
    assert content(inner) == before == content(store)
    size = {"upload": Path(__file__).stat().st_size, "copy": 3, "move": 3}.get(name, 1)
    expected = {
        "upload": Action("put", "a", size),
        "update": Action("put", "a", 1),
        "copy": Action("copy", "b", 3, "a"),
        "move": Action("move", "b", 3, "a"),
        "delete": Action("delete", "a"),
        "delete_many": Action("delete", "a"),
        "abort_upload": Action("abort_upload", "<key>"),
    }.get(name, Action(name, "a", size))
    assert store.actions == [expected]


def test_dry_run_checks_what_the_store_would() -> None:
    inner = MemoryStorage()
    told: list[Action] = []
    store = DryRunStorage(inner, told.append)
    etag = inner.put("a", b"one").etag
    with pytest.raises(errors.ErrExist):
        store.put("a", b"", create=True)
    with pytest.raises(errors.ErrExist):
        store.copy("a", "a", create=True)
    with pytest.raises(errors.ErrPreconditionFailed):
        store.put("a", b"", if_match="stale")
    with pytest.raises(errors.ErrPreconditionFailed):
        store.delete("none", if_match="stale")
    with pytest.raises(errors.ErrNotExist):
        store.move("none", "b")
    with pytest.raises(errors.ErrNotExist):
        store.delete("none", must_exist=True)
    with pytest.raises(errors.ErrInvalidKey):
        store.put("/a", b"")
    with pytest.raises(errors.ErrIntegrity):
        store.put("b", [b"ab"], size=3)
    with pytest.raises(errors.ErrUnsupported):
        store.presign("a", method="PUT")
    store.delete("none")
    assert told == []
    store.put("a", [b"ab", b"c"], if_match=etag)
    assert told == [Action("put", "a", 3)]


# -- limit ---------------------------------------------------------------------


class _Crowded(ForwardingStorage):
    """Counts how many operations are in it at once, each of which waits for company."""

    def __init__(self, expected: int) -> None:
        super().__init__(MemoryStorage())
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0
        self._expected = expected
        self.full = threading.Event()

    def put(self, key: str, data: Any, **options: Any) -> Any:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
            if self._inside == self._expected:
                self.full.set()
        self.full.wait(20)
        result = super().put(key, data, **options)
        with self._lock:
            self._inside -= 1
        return result


def test_so_many_operations_at_once() -> None:
    crowded = _Crowded(expected=3)
    store = LimitedStorage(crowded, concurrency=3)
    threads = [threading.Thread(target=store.put, args=(f"{i}", b"")) for i in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert crowded.full.is_set(), "three at once were let in"
    assert crowded.most == 3
    assert len(list(store.list())) == 9


def test_data_read_from_the_store_it_goes_to_does_not_wait_for_itself() -> None:
    store = LimitedStorage(MemoryStorage(), concurrency=1)
    store.put("a", b"one")
    store.put("b", (store.get(key) for key in ["a", "a"]))
    assert store.get("b") == b"oneone"


def test_and_asynchronously() -> None:
    async def main() -> bytes:
        async with aio.AsyncLimitedStorage(
            ThreadedStorage(MemoryStorage()), concurrency=1
        ) as store:
            await store.put("a", b"one")

            async def data() -> Any:
                for key in ("a", "a"):
                    yield await store.get(key)

            await asyncio.wait_for(store.put("b", data()), 20)
            return await store.get("b")

    assert asyncio.run(main()) == b"oneone"


class _Paused(LimitedStorage):
    """Waits by writing down for how long."""

    waited = 0.0

    def _pause(self, seconds: float) -> None:
        self.waited = max(self.waited, seconds)


@pytest.mark.parametrize(
    "move",
    [
        lambda store: store.put("k", bytes(1 << 20)),
        lambda store: store.put("k", iter([bytes(1 << 19)] * 2)),
        lambda store: store.get("big"),
        lambda store: store.get_range("big", start=0),
        lambda store: store.get_ranges("big", starts=[0], ends=[1 << 20]),
        lambda store: list(store.stream("big")),
        lambda store: store.open("big").read(),
        lambda store: store.download("big", store.path),
        lambda store: store.upload("k", store.path),
    ],
    ids=[
        "put",
        "iterable",
        "get",
        "get_range",
        "get_ranges",
        "stream",
        "open",
        "download",
        "upload",
    ],
)
def test_bytes_are_paid_for(move: Callable[[Any], Any], tmp_path: Path) -> None:
    store = _Paused(MemoryStorage(), bytes_per_second=1024)
    store._store.put("big", bytes(1 << 20))
    store.path = tmp_path / "file"  # type: ignore[attr-defined]  # where the moves find it
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    move(store)
    # at 1 KiB/s a MiB takes 1024 s; what the test itself took is waited less
    assert 900 < store.waited <= 1024


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"bytes_per_second": -1}])
def test_limits_are_above_nothing(options: dict[str, Any]) -> None:
    with pytest.raises(errors.ErrBadRequest):
        LimitedStorage(MemoryStorage(), **options)


# -- observe -------------------------------------------------------------------


class TestObserve:
    @pytest.fixture
    def events(self) -> list[Event]:
        return []

    @pytest.fixture
    def store(self, events: list[Event]) -> ObservedStorage:
        return ObservedStorage(MemoryStorage("observed"), events.append)

    def test_operations_their_bytes_and_outcomes(
        self, store: ObservedStorage, events: list[Event]
    ) -> None:
        store.put("a", b"12345")
        store.get("a")
        store.get_range("a", start=1, length=2)
        with store.open("a") as reader:
            reader.read()
        with store.writer("b") as writer:
            writer.write(b"123")
        list(store.stream("b"))
        list(store.list("a"))
        with pytest.raises(errors.ErrNotExist) as caught:
            store.stat("none")
        assert [event[:3] for event in events] == [
            ("put", "a", 5),
            ("get", "a", 5),
            ("get_range", "a", 2),
            ("open", "a", 5),
            ("writer", "b", 3),
            ("stream", "b", 3),
            ("list", "a", 0),
            ("stat", "none", 0),
        ]
        assert {event.outcome for event in events[:-1]} == {"ok"}
        assert events[-1].outcome == "ErrNotExist"
        assert events[-1].error is caught.value
        assert {event.storage for event in events} == {"memory://observed"}
        assert all(event.seconds > 0 for event in events)

    def test_an_aborted_writer(self, store: ObservedStorage, events: list[Event]) -> None:
        with pytest.raises(ZeroDivisionError), store.writer("b") as writer:
            writer.write(b"123")
            raise ZeroDivisionError
        [event] = events
        assert (event.operation, event.outcome) == ("writer", "aborted")

    def test_a_listing_given_up(self, store: ObservedStorage, events: list[Event]) -> None:
        store.put("a", b"")
        listing = store.list()
        next(listing)
        listing.close()  # type: ignore[attr-defined]  # a generator's
        assert events[-1].operation == "list"

    def test_a_hook_that_fails_changes_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        def hook(event: Event) -> None:
            raise ZeroDivisionError

        store = ObservedStorage(MemoryStorage(), hook)
        store.put("a", b"x")
        assert store.get("a") == b"x"
        assert "hook" in caplog.text


# -- cache ---------------------------------------------------------------------


class TestCache:
    @pytest.fixture
    def events(self) -> list[Event]:
        return []

    @pytest.fixture
    def origin(self, events: list[Event]) -> ObservedStorage:
        return ObservedStorage(MemoryStorage("origin"), events.append)

    @pytest.fixture
    def cache(self, tmp_path: Path) -> PosixStorage:
        return PosixStorage(tmp_path)

    @pytest.fixture
    def store(self, origin: Storage, cache: Storage) -> CachingStorage:
        return CachingStorage(origin, cache, max_bytes=1 << 20)

    def test_reads_again_from_nearby(
        self, store: CachingStorage, origin: Storage, events: list[Event]
    ) -> None:
        origin.put("k", b"0123456789", content_type="text/plain", metadata={"owner": "ci"})
        assert store.get("k") == b"0123456789"
        events.clear()
        assert store.get("k") == b"0123456789"
        assert store.get_range("k", start=-3) == b"789"
        assert store.get_ranges("k", starts=[1, 5], lengths=[2, 2]) == [b"12", b"56"]
        assert b"".join(store.stream("k", chunk_size=4)) == b"0123456789"
        with store.open("k") as reader:
            assert reader.seek(-2, 2) == 8
            assert reader.read() == b"89"
            assert reader.info == origin.stat("k")
        assert store.fetch("k", start=2, end=4) == (b"23", origin.stat("k"))
        assert {event.operation for event in events} == {"stat"}
        with pytest.raises(errors.ErrInvalidRange):
            store.fetch("k", start=11)

    def test_nothing_stale_is_served(self, store: CachingStorage, origin: Storage) -> None:
        for data in (b"one", b"two", b"three"):
            origin.put("k", data)
            assert store.get("k") == store.get("k") == data
            with store.open("k") as reader:
                assert reader.read() == data
        origin.delete("k")
        for read in (store.get, store.open, store.stat):
            with pytest.raises(errors.ErrNotExist):
                read("k")

    def test_it_is_bounded_and_the_oldest_goes_first(
        self,
        store: CachingStorage,
        origin: Storage,
        cache: PosixStorage,
        events: list[Event],
    ) -> None:
        cache.put("somebody/else's", b"stays")
        store.put("often", bytes(20_000))
        store.get("often")
        for i in range(200):
            origin.put(f"{i}", bytes(20_000))
            store.get(f"{i}")
            store.get("often")
            assert sum(info.size for info in cache.list("cached/")) <= 1 << 20
        for key, operations in (("often", ["stat"]), ("0", ["fetch"])):
            events.clear()
            store.get(key)
            assert [event.operation for event in events] == operations
        assert cache.get("somebody/else's") == b"stays"

    def test_what_is_too_large_passes_by(
        self, store: CachingStorage, origin: Storage, cache: PosixStorage
    ) -> None:
        origin.put("big", bytes(1 << 20))
        assert len(store.get("big")) == 1 << 20
        with store.open("big") as reader:
            assert len(reader.read()) == 1 << 20
        assert list(cache.list("cached/")) == []

    @pytest.mark.parametrize("damage", [b"", b"\0", b"\xff" * 100, None])
    def test_a_damaged_entry_is_none(
        self, store: CachingStorage, origin: Storage, cache: PosixStorage, damage: bytes | None
    ) -> None:
        origin.put("k", b"right")
        store.get("k")
        [entry] = list(cache.list("cached/"))
        cache.put(entry.key, cache.get(entry.key)[:-1] if damage is None else damage)
        assert store.get("k") == b"right"
        assert len(cache.get(entry.key)) == entry.size, "and it was mended"

    def test_a_cache_that_fails_is_as_good_as_empty(
        self, store: CachingStorage, origin: Storage, cache: PosixStorage
    ) -> None:
        origin.put("k", b"right")
        store.get("k")
        cache.close()
        assert store.get("k") == b"right"
        with store.open("k") as reader:
            assert reader.read() == b"right"

    def test_only_where_an_etag_means_the_bytes(self) -> None:
        class Weak(ForwardingStorage):
            @property
            def capabilities(self) -> Any:
                return super().capabilities._replace(strong_etags=False)

        with pytest.raises(errors.ErrUnsupported):
            CachingStorage(Weak(MemoryStorage()), MemoryStorage(), max_bytes=1000)

    def test_processes_share_it(self, tmp_path: Path) -> None:
        roots = [tmp_path / "origin", tmp_path / "cache"]
        for root in roots:
            root.mkdir()
        with PosixStorage(roots[0]) as origin:
            for i in range(10):
                origin.put(f"{i}", bytes([i]) * 10_000)
        context = multiprocessing.get_context("spawn")
        with context.Pool(3) as pool:
            wrong = pool.starmap(_read_all, [(roots, seed) for seed in range(3)])
        assert wrong == [0, 0, 0]
        with PosixStorage(roots[1]) as cache:
            total = sum(info.size for info in cache.list("cached/"))
        assert 0 < total <= 60_000 * (1 + 2 / 16)


def _read_all(roots: list[Path], seed: int) -> int:
    """Read and rewrite beside other processes; the number of reads that were wrong."""
    rng = random.Random(seed)
    wrong = 0
    with PosixStorage(roots[0]) as origin, PosixStorage(roots[1]) as cache:
        store = CachingStorage(origin, cache, max_bytes=60_000, max_object=20_000)
        for _ in range(150):
            i = rng.randrange(10)
            if rng.random() < 0.2:
                store.put(f"{i}", bytes([rng.randrange(256)]) * 10_000, durable=False)
            data, info = store.fetch(f"{i}")
            wrong += len(data) != info.size or len(set(data)) != 1
    return wrong


def test_the_example_for_prometheus() -> None:
    from objectstorage.wrappers.examples import to_prometheus

    text = to_prometheus.main()
    assert 'objectstorage_bytes_total{operation="put",outcome="ok"} 5.0' in text
    assert 'objectstorage_operation_seconds_count{operation="exists",outcome="ok"} 1.0' in text


def test_the_example_for_opentelemetry() -> None:
    from objectstorage.wrappers.examples import to_opentelemetry

    assert to_opentelemetry.main() == [
        "objectstorage put: UNSET",
        "objectstorage get: ERROR",
    ]
