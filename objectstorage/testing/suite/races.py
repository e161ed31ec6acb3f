"""Races: many threads on one store (contract, sections 4 and 8)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from objectstorage.errors import ErrExist, ErrNotExist, ErrPreconditionFailed, ErrUnsupported
from objectstorage.storage import Conditions, PutResult, Storage
from objectstorage.testing.suite.base import SuiteBase, all_at_once, keys_of, refused

__all__ = ["Races"]

THREADS = 8


class Races(SuiteBase):
    """Exactly one wins; nobody sees half of anything."""

    def test_create_is_won_once(
        self, store: Storage, conditions: Conditions, reopen: Callable[[], Storage]
    ) -> None:
        if "put" not in conditions.create:
            with refused(store, ErrUnsupported, "k"):
                store.put("k", b"data", create=True)
            return
        stores = [store, reopen()]

        def create(number: int, key: str) -> Callable[[], PutResult]:
            return lambda: stores[number % 2].put(key, b"%d" % number, create=True)

        for turn in range(3):
            key = f"d{turn}/k"
            results = all_at_once([create(number, key) for number in range(THREADS)])
            won = [i for i, result in enumerate(results) if isinstance(result, PutResult)]
            assert len(won) == 1, results
            assert store.get(key) == b"%d" % won[0]
            assert store.stat(key).etag == results[won[0]].etag
            lost = [result for result in results if not isinstance(result, PutResult)]
            assert all(isinstance(error, ErrExist) for error in lost), lost

    def test_create_by_copy_is_won_once(self, store: Storage, conditions: Conditions) -> None:
        for number in range(THREADS):
            store.put(f"src/{number}", b"%d" % number)
        if "copy" not in conditions.create:
            with refused(store, ErrUnsupported):
                store.copy("src/0", "dst", create=True)
            assert not store.exists("dst")
            return
        for verb in (store.copy, store.move):
            results = all_at_once(
                [partial(verb, f"src/{number}", "dst", create=True) for number in range(THREADS)]
            )
            won = [i for i, result in enumerate(results) if isinstance(result, PutResult)]
            assert len(won) == 1, results
            assert store.get("dst") == b"%d" % won[0]
            assert store.exists(f"src/{won[0]}") == (verb == store.copy)
            store.delete("dst")

    def test_one_version_is_replaced_once(self, store: Storage, conditions: Conditions) -> None:
        etag = store.put("k", b"start").etag
        if "put" not in conditions.replace:
            with refused(store, ErrUnsupported, "k"):
                store.put("k", b"data", if_match=etag)
            return

        def replace(number: int, etag: str) -> Callable[[], PutResult]:
            return lambda: store.put("k", b"%d of %s" % (number, etag.encode()), if_match=etag)

        for _ in range(3):
            results = all_at_once([replace(number, etag) for number in range(THREADS)])
            won = [i for i, result in enumerate(results) if isinstance(result, PutResult)]
            assert len(won) == 1, results
            assert store.get("k") == b"%d of %s" % (won[0], etag.encode())
            etag = results[won[0]].etag
            lost = [result for result in results if not isinstance(result, PutResult)]
            assert all(type(error) is ErrPreconditionFailed for error in lost), lost

    def test_one_version_is_deleted_once(self, store: Storage, conditions: Conditions) -> None:
        etag = store.put("k", b"data").etag
        if not conditions.delete:
            with refused(store, ErrUnsupported, "k"):
                store.delete("k", if_match=etag)
            assert store.exists("k")
            return
        for turn in range(3):
            etag = store.put("k", b"%d" % turn).etag
            results = all_at_once([partial(store.delete, "k", if_match=etag)] * THREADS)
            assert not store.exists("k")
            errors = [result for result in results if result is not None]
            assert len(errors) == THREADS - 1, results
            assert all(isinstance(error, ErrPreconditionFailed) for error in errors), errors

    def test_counters_are_exact(
        self, store: Storage, conditions: Conditions, reopen: Callable[[], Storage]
    ) -> None:
        if not {"put"} <= conditions.create & conditions.replace:
            with refused(store, ErrUnsupported, "k"):
                store.update("k", lambda old: b"data")
            return
        stores = [store, reopen()]

        def count(number: int) -> Callable[[], None]:
            def run() -> None:
                for _ in range(25):
                    stores[number % 2].update("d/counter", lambda old: b"%d" % (int(old or 0) + 1))

            return run

        results = all_at_once([count(number) for number in range(4)])
        assert results == [None] * 4
        assert store.get("d/counter") == b"100"

    def test_readers_see_whole_objects(self, store: Storage) -> None:
        size = 300_000
        store.put("k", b"0" * size)
        stop = threading.Event()

        def write(number: int) -> Callable[[], None]:
            def run() -> None:
                try:
                    for turn in range(12):
                        store.put("k", b"%d" % ((number + 2 * turn) % 10) * size, durable=False)
                finally:
                    stop.set()

            return run

        def read() -> None:
            seen = 0
            while not seen or not stop.is_set():
                fetched = store.fetch("k")
                assert len(fetched.data) == fetched.info.size == size
                assert fetched.data == fetched.data[:1] * size, "a mix of two versions"
                seen += 1

        results = all_at_once([write(0), write(1), read, read])
        assert results == [None] * 4

    def test_a_put_survives_its_neighbours_deletes(self, store: Storage) -> None:
        # Tidying an empty directory away must not take a new object with it.
        def come_and_go(number: int) -> Callable[[], None]:
            def run() -> None:
                key = f"shared/deep/{number}"
                for turn in range(25):
                    store.put(key, b"%d" % turn, durable=False)
                    assert store.get(key) == b"%d" % turn
                    store.delete(key, must_exist=True)
                    assert not store.exists(key)

            return run

        results = all_at_once([come_and_go(number) for number in range(4)])
        assert results == [None] * 4
        assert keys_of(store.list()) == []

    def test_one_object_moves_once(self, store: Storage) -> None:
        if not store.probe().atomic_move:
            # Copy, then delete: both may copy, but no bytes are lost.
            store.put("src", b"data")
            results = all_at_once([lambda: store.move("src", "a"), lambda: store.move("src", "b")])
            assert any(isinstance(result, PutResult) for result in results)
            assert {store.get(info.key) for info in store.list()} == {b"data"}
            return
        for turn in range(3):
            store.put("src", b"data")
            results = all_at_once(
                [partial(store.move, "src", f"dst{turn}/{number}") for number in range(THREADS)]
            )
            won = [i for i, result in enumerate(results) if isinstance(result, PutResult)]
            assert len(won) == 1, results
            lost = [result for result in results if not isinstance(result, PutResult)]
            assert all(isinstance(error, ErrNotExist) for error in lost), lost
            assert keys_of(store.list(f"dst{turn}/")) == [f"dst{turn}/{won[0]}"]

    def test_many_verbs_at_once(self, store: Storage) -> None:
        def use(number: int) -> Callable[[], Any]:
            def run() -> None:
                for turn in range(5):
                    key = f"{number}/{turn}"
                    data = f"{key} ".encode() * 500
                    store.put(key, data, durable=False)
                    assert store.get(key) == data
                    assert store.get_range(key, start=-4) == data[-4:]
                    assert b"".join(store.stream(key, chunk_size=999)) == data
                    assert keys_of(store.list(f"{number}/")) == [
                        f"{number}/{i}" for i in range(turn + 1)
                    ]
                    store.copy(key, f"copies/{key}")

            return run

        results = all_at_once([use(number) for number in range(THREADS)])
        assert results == [None] * THREADS
        assert len(list(store.list("copies/"))) == THREADS * 5
