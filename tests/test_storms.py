"""Storms on every store: threads, tasks, processes; with the network failing; all judged."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import STORES, Tried, make_target
from long import much

from objectstorage import (
    ErrExist,
    ErrNotExist,
    ErrOutcomeUnknown,
    StorageError,
    aio,
    open_storage,
)
from objectstorage.aio.local import ThreadedStorage
from objectstorage.memory import MemoryStorage
from objectstorage.posix import PosixStorage
from objectstorage.posixflat import PosixFlatStorage
from objectstorage.storage import Storage
from objectstorage.testing.blocking import BlockingStorage
from objectstorage.testing.linear import NotLinearizable
from objectstorage.testing.proxy import FaultProxy, Request
from objectstorage.testing.servers import S3Server
from objectstorage.testing.storms import Histories, judge, last_look, use
from objectstorage.testing.suite.base import all_at_once

pytestmark = pytest.mark.faults

Open = Callable[[], Storage]
# In a folder of their own, which comes and goes with them.
KEYS = ["d/e/a", "d/e/b", "d/c"]
S3 = [name for name in STORES if name.startswith("s3-")]
FILES = ["posix", "posixflat"]


def seed() -> int:
    chosen = random.randrange(1 << 32)
    print(f"seed {chosen}")
    return chosen


def opener(name: str, place: Any, request: pytest.FixtureRequest, **options: Any) -> Open:
    """How to open the store at a place; in a form that another process understands."""
    if name == "memory":
        return partial(MemoryStorage, place)
    if name == "posix":
        return partial(PosixStorage, place, durable=False)
    if name == "posixflat":
        return partial(PosixFlatStorage, place, durable=False)
    server: S3Server = request.getfixturevalue(
        {"s3-external": "external_s3"}.get(name, name.removeprefix("s3-"))
    )
    return partial(open_storage, place, **{**server.options(), "create_bucket": False, **options})


def asynchronous(name: str, sync: Any) -> Storage:
    """One asynchronous store; what its clients do are tasks of one event loop."""
    if name.startswith("s3-"):
        return BlockingStorage(lambda: aio.open_storage(*sync.args, **sync.keywords))
    return BlockingStorage(lambda: ThreadedStorage(sync()))


def storm(stores: list[Storage], clients: int, steps: int, **options: Any) -> list[Histories]:
    """Threads, taking the stores in turn."""
    start = seed()
    calls = []
    for number in range(clients):
        store = stores[number % len(stores)]
        calls.append(partial(use, store, KEYS, f"c{number}", steps, start + number, **options))
    return all_at_once(calls)


def how_many(name: str) -> int:
    return much(50 if name.startswith("s3-") else 120, 1000)


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("face", ["threads", "tasks"])
def test_a_storm_has_an_order(
    name: str, face: str, request: pytest.FixtureRequest, tried: Tried
) -> None:
    target = make_target(name, request)
    open_store = opener(name, target.fresh(), request)
    with closing(open_store()) as store, closing(open_store()) as other:
        if face == "threads":
            parts = storm([store, other], 6, how_many(name))
        else:
            with closing(asynchronous(name, open_store)) as shared:
                parts = storm([shared], 6, how_many(name))
        tally = judge([*parts, last_look(store, KEYS)])
    assert tally.unknown == 0
    tried("races", f"histories judged, {face}", tally.histories)
    tried("races", f"operations in them, {face}", tally.operations)


_ready: Any = None


def _join(ready: Any) -> None:
    global _ready
    _ready = ready


def _use_in_process(open_store: Open, number: int, steps: int, start: int) -> Histories:
    with closing(open_store()) as store:
        store.probe()
        _ready.wait()
        return use(store, KEYS, f"p{number}", steps, start + number)


@pytest.mark.parametrize("name", [*FILES, *S3])
def test_a_storm_of_processes_has_an_order(
    name: str, request: pytest.FixtureRequest, tried: Tried
) -> None:
    target = make_target(name, request)
    open_store = opener(name, target.fresh(), request)
    context = multiprocessing.get_context("spawn")
    count, start = 4, seed()
    with ProcessPoolExecutor(
        count, context, initializer=_join, initargs=(context.Barrier(count),)
    ) as pool:
        calls = [
            pool.submit(_use_in_process, open_store, number, how_many(name), start)
            for number in range(count)
        ]
        parts = [call.result() for call in calls]
    with closing(open_store()) as store:
        tally = judge([*parts, last_look(store, KEYS)])
    assert tally.unknown == 0
    tried("races", "histories judged, processes", tally.histories)
    tried("races", "operations in them, processes", tally.operations)


@pytest.mark.parametrize("name", S3)
@pytest.mark.parametrize("face", ["threads", "tasks"])
def test_a_storm_in_bad_weather_has_an_order(
    name: str, face: str, request: pytest.FixtureRequest, tried: Tried
) -> None:
    """A tenth of the requests, or their replies, is lost.

    Of reads and of conditional writes: what is sent again without a condition, or
    creates again what another one has deleted, is done twice, and no store can tell.
    """
    target = make_target(name, request)
    place = target.fresh()
    chance = random.Random(seed())

    def struck(share: float) -> Callable[[Request], bool]:
        return lambda request: (
            (
                request.method in ("GET", "HEAD")
                or {"if-match", "if-none-match"} & set(request.headers)
            )
            and chance.random() < share
        )

    with closing(opener(name, place, request)()) as direct:
        parts = urlsplit(direct._options.endpoint)  # type: ignore[attr-defined]
        with FaultProxy(parts.hostname or "", parts.port or 0) as proxy:
            options = {"endpoint": proxy.endpoint, "attempts": 3}
            open_store = opener(name, place, request, **options)
            with closing(
                open_store() if face == "threads" else asynchronous(name, open_store)
            ) as store:
                store.probe()
                proxy.on(where=struck(0.03), nth=None).reset_before()
                proxy.on(where=struck(0.04), nth=None).swallow_reply()
                proxy.on(where=struck(0.02), nth=None).replace(status=502, body="")
                proxy.on(where=struck(0.01), nth=None).slow_down(0)
                deletes = ("delete", "delete version")
                found = storm([store], 6, much(40, 500), without=deletes)
        tally = judge([*found, last_look(direct, KEYS)])
    tried("races", "histories judged, on a network that loses", tally.histories)
    tried("races", "operations in them, on a network that loses", tally.operations)
    tried("races", "of these unknown to whoever asked for them", tally.unknown)


def test_a_store_that_forgets_does_not_pass() -> None:
    class Forgetful(MemoryStorage):
        """Loses a put now and then."""

        count = 0

        def put(self, key: str, data: Any, **options: Any) -> Any:
            self.count += 1
            if self.count % 10 or options.get("create") or "if_match" in options:
                return super().put(key, data, **options)
            with closing(MemoryStorage()) as nowhere:
                return nowhere.put(key, data)

    with closing(Forgetful()) as store:
        parts = storm([store], 6, 200)
        with pytest.raises(NotLinearizable):
            judge([*parts, last_look(store, KEYS)])


# -- listings ------------------------------------------------------------------


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[Storage]:
    """A store, in either face."""
    face, name = request.param
    target = make_target(name, request)
    open_store = opener(name, target.fresh(), request)
    with closing(open_store() if face == "sync" else asynchronous(name, open_store)) as store:
        yield store


every_store = pytest.mark.parametrize(
    "store",
    [(face, name) for face in ("sync", "async") for name in STORES],
    ids=lambda param: "-".join(param),
    indirect=True,
)


@every_store
def test_a_listing_beside_everything_else(store: Storage, tried: Tried) -> None:
    """What is there from start to end is listed once and in order; nothing is listed twice."""
    stays = [
        f"{folder}{name}"
        for folder in ("", "d/", "d/e/", "f/", "g-")
        for name in ("kb", "kd", "kf")
    ]
    comes = [
        f"{folder}{name}"
        for folder in ("", "d/", "d/e/", "f/", "h/i/")
        for name in ("ka", "kc", "ke")
    ]
    for key in stays:
        store.put(key, b"stays", durable=False)
    turns = much(12, 200)

    def churn(number: int) -> int:
        chance = random.Random(number)
        for _ in range(turns):
            key = chance.choice(comes[number::3])
            store.put(key, b"comes", durable=False)
            if chance.random() < 0.5:
                other = f"{key}-moved"
                store.move(key, other)
                store.delete(other)
            store.delete(key)
        return 0

    def look() -> int:
        for _ in range(turns):
            listed = [info.key for info in store.list()]
            assert listed == sorted(set(listed), key=str.encode)
            assert set(stays) <= set(listed), set(stays) - set(listed)
            assert set(listed) <= {*stays, *comes, *(f"{key}-moved" for key in comes)}
            top = [entry.key for entry in store.list_level("d/")]
            assert top == sorted(set(top), key=str.encode)
            assert {"d/kb", "d/kd", "d/e/", "d/kf"} <= set(top)
        return turns

    results = all_at_once([partial(churn, n) for n in range(3)] + [look, look])
    assert results == [0, 0, 0, turns, turns]
    tried("races", "listings beside writes, moves and deletes", 2 * turns)


# -- moving, parts, sweeping ---------------------------------------------------


@every_store
def test_what_is_moved_by_many_is_never_lost(store: Storage, tried: Tried) -> None:
    tokens, turns = ["x", "y", "z"], much(12, 200)
    for token in tokens:
        store.put(f"{token}/0", token.encode(), durable=False)
    unknown: list[str | None] = []

    def mover(number: int) -> int:
        moved = 0
        for turn in range(turns):
            token = tokens[(number + turn) % len(tokens)]
            found = [info.key for info in store.list(f"{token}/")]
            if not found:
                continue  # it is on its way
            try:
                store.move(found[-1], f"{token}/{number}.{turn}")
                moved += 1
            except ErrNotExist:
                pass  # another one was faster
            except ErrOutcomeUnknown as exc:
                # a server error for a copy whose source goes, then a source that is gone
                unknown.append(exc.key)
        return moved

    results = all_at_once([partial(mover, number) for number in range(4)])
    assert all(isinstance(moved, int) for moved in results), results
    assert not (unknown and store.capabilities.atomic_move), unknown
    for token in tokens:
        left = [store.get(info.key) for info in store.list(f"{token}/")]
        assert set(left) == {token.encode()}
        assert len(left) == 1 or not store.capabilities.atomic_move
    tried("races", "moves of what others move, too", sum(results) + len(unknown))
    tried("races", "moves among them whose outcome was unknown", len(unknown))


PART = 64 * 1024


@pytest.mark.parametrize("name", S3)
@pytest.mark.parametrize("face", ["sync", "async"])
def test_uploads_by_parts_beside_a_sweep(
    name: str, face: str, request: pytest.FixtureRequest, tried: Tried
) -> None:
    """Whoever sweeps all uploads away makes others fail; nothing else happens to them."""
    target = make_target(name, request)
    sync = opener(name, target.fresh(), request, part_size=PART)
    turns = much(8, 100)
    with closing(sync() if face == "sync" else asynchronous(name, sync)) as store:

        def write(number: int) -> tuple[int, int]:
            swept, wrote = 0, b""
            for turn in range(turns):
                value = b"%d.%d " % (number, turn) * PART
                try:
                    store.put(f"k{number}", iter([value[:PART]]))
                    wrote = value[:PART]
                except ErrOutcomeUnknown:
                    wrote = b""
                    swept += 1
                except StorageError:
                    swept += 1
                if wrote:
                    assert store.get(f"k{number}") == wrote
                else:
                    store.delete(f"k{number}")
            return turns, swept

        def sweep() -> tuple[int, int]:
            found = 0
            for _ in range(2 * turns):
                for upload in store.list_uploads():
                    try:
                        store.abort_upload(upload)
                        found += 1
                    except ErrNotExist:
                        pass  # completed, or its writer was faster
            return 0, found

        results = all_at_once([partial(write, number) for number in range(4)] + [sweep])
        assert all(isinstance(result, tuple) for result in results), results
        assert list(store.list_uploads()) == []
    tried("races", "uploads by parts beside a sweep", sum(count for count, _ in results))


@pytest.mark.parametrize("name", ["memory", *FILES, *S3])
def test_create_by_parts_is_won_once(
    name: str, request: pytest.FixtureRequest, tried: Tried
) -> None:
    target = make_target(name, request)
    sync = opener(name, target.fresh(), request, part_size=PART)
    with closing(sync()) as store, closing(asynchronous(name, sync)) as other:
        conditions = store.probe().conditions
        if conditions is not None and "multipart" not in conditions.create:
            return  # that it is refused then is the suite's to say
        for turn in range(much(4, 50)):
            key = f"k{turn}"

            def create(number: int, key: str = key) -> Any:
                where = (store, other)[number % 2]
                return where.put(key, iter([b"%d" % number * PART]), create=True)

            results = all_at_once([partial(create, number) for number in range(6)])
            won = [i for i, result in enumerate(results) if not isinstance(result, Exception)]
            assert len(won) == 1, results
            assert store.get(key) == b"%d" % won[0] * PART
            lost = [result for result in results if isinstance(result, Exception)]
            assert all(isinstance(error, ErrExist) for error in lost), lost
            tried("races", "create-only writes by parts", 6)
        assert list(store.list()) != []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("face", ["sync", "async"])
def test_temporaries_in_use_are_not_swept(
    name: str, face: str, request: pytest.FixtureRequest, tried: Tried
) -> None:
    """The first write of every new store sweeps; what others are writing stays."""
    target = make_target(name, request)
    sync = opener(name, target.fresh(), request)
    turns = much(40, 1000)

    def write(number: int) -> int:
        with closing(sync() if face == "sync" else asynchronous(name, sync)) as store:
            for turn in range(turns):
                with store.writer(f"d{turn % 3}/{number}") as file:
                    for _ in range(3):
                        file.write(b"%d.%d " % (number, turn))
                assert store.get(f"d{turn % 3}/{number}") == b"%d.%d " % (number, turn) * 3
                store.delete(f"d{turn % 3}/{number}")
        return turns

    def sweep() -> int:
        for turn in range(turns):
            with closing(sync()) as store:
                store.put("swept/by", b"%d" % turn)
        return turns

    results = all_at_once([partial(write, number) for number in range(3)] + [sweep])
    assert results == [turns] * 4
    tried("races", "writes beside sweeps of temporaries", 3 * turns)
