"""Listing: key order, prefixes, seeking, laziness (contract, section 6)."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pytest

from objectstorage.errors import ErrInvalidKey
from objectstorage.keys import KeyRules
from objectstorage.storage import ObjectInfo, Prefix, Storage
from objectstorage.testing.hostile import ORDER, independent
from objectstorage.testing.suite.base import SuiteBase, keys_of, refused

__all__ = ["Listing", "expected_level", "expected_list", "fill"]

TREE = [
    *("a", "a-b", "a.b", "a/", "a/1", "a/b", "a/b/c", "a/b-c", "a0", "aa/x/y/z", "ab", "b/1"),
    *("b/1-", "b/1/2", "b/10", "b/2", "logs-old/1", "logs.txt", "logs/1", "logs/2/x", "logs0"),
]

PREFIXES = ["", "a", "a/", "a/b", "a/b/", "b/1", "l", "lo", "logs", "logs/", "logs/2/", "x", "a//"]
STARTS = ["", "a", "a.", "a/", "a/0", "a/b", "a/b/", "a/b0", "a0", "aa", "b/1/", "logs/", "logs~"]


def expected_list(keys: Iterable[str], prefix: str = "", after: str | None = None) -> list[str]:
    """What `list` gives, the slow and obvious way."""
    return sorted(
        (
            k
            for k in keys
            if k.startswith(prefix) and (after is None or k.encode() > after.encode())
        ),
        key=str.encode,
    )


def expected_level(keys: Iterable[str], prefix: str = "") -> list[str]:
    """What `list_level` gives, the slow and obvious way."""
    names = set()
    for key in expected_list(keys, prefix):
        head, slash, _ = key[len(prefix) :].partition("/")
        names.add(prefix + head + slash)
    return sorted(names, key=str.encode)


def fill(store: Storage, keys: Iterable[str]) -> None:
    """Put an object under every key, several at once.

    But not a key and one below it: of `a` and `a/b`, both new, put at the same
    moment, SeaweedFS acknowledges both and may lose one.
    """
    by_depth: dict[int, list[str]] = {}
    for key in keys:
        by_depth.setdefault(key.count("/"), []).append(key)
    with ThreadPoolExecutor(8) as pool:
        for depth in sorted(by_depth):
            list(
                pool.map(
                    lambda key: store.put(key, key.encode()[:9], durable=False), by_depth[depth]
                )
            )


def holdable(keys: list[str], rules: KeyRules) -> list[str]:
    """The keys that this store can hold beside each other."""
    if not rules.trailing_slash:
        keys = [key for key in keys if not key.endswith("/")]
    return keys if rules.parent_child == "both" else independent(keys)


class Listing(SuiteBase):
    """`list` and `list_level`."""

    def test_an_empty_store(self, store: Storage) -> None:
        assert list(store.list()) == []
        assert list(store.list("a/", start_after="a/b")) == []
        assert list(store.list_level()) == []
        assert list(store.list_level("a/")) == []

    def test_order_is_that_of_bytes(self, store: Storage, rules: KeyRules) -> None:
        keys = holdable(ORDER, rules)
        fill(store, keys)
        assert keys_of(store.list()) == expected_list(keys)
        assert keys_of(store.list("t")) == expected_list(keys, "t")
        for key in keys:
            assert keys_of(store.list(start_after=key)) == expected_list(keys, after=key)

    def test_prefixes_and_starts(self, store: Storage, rules: KeyRules) -> None:
        keys = holdable(TREE, rules)
        fill(store, keys)
        for prefix in sorted({*PREFIXES, *keys}):
            assert keys_of(store.list(prefix)) == expected_list(keys, prefix), prefix
        for after in sorted({*STARTS, *keys, *(key + "!" for key in keys)}):
            assert keys_of(store.list(start_after=after)) == expected_list(keys, after=after), after

    def test_prefixes_with_starts(self, store: Storage, rules: KeyRules) -> None:
        keys = holdable(TREE, rules)
        fill(store, keys)
        for prefix in PREFIXES:
            for after in STARTS:
                got = keys_of(store.list(prefix, start_after=after))
                assert got == expected_list(keys, prefix, after), (prefix, after)

    def test_levels(self, store: Storage, rules: KeyRules) -> None:
        keys = holdable(TREE, rules)
        fill(store, keys)
        for prefix in [*PREFIXES, "aa/", "aa/x", "b/1/", "logs-"]:
            entries = list(store.list_level(prefix))
            assert keys_of(entries) == expected_level(keys, prefix), prefix
            for entry in entries:
                if "/" not in entry.key[len(prefix) :]:
                    assert isinstance(entry, ObjectInfo)
                    assert entry.size == len(entry.key.encode()[:9])
                else:
                    assert isinstance(entry, Prefix)
                    assert entry.key.endswith("/")

    def test_a_listing_says_what_stat_says(self, store: Storage) -> None:
        store.put("a/b", b"data")
        store.put("c", b"")
        for entries in (store.list(), (e for p in ("a/", "c") for e in store.list_level(p))):
            for listed in entries:
                assert isinstance(listed, ObjectInfo)
                info = store.stat(listed.key)
                assert (listed.key, listed.size, listed.etag) == (info.key, info.size, info.etag)
                assert abs((listed.last_modified - info.last_modified).total_seconds()) < 1
                assert listed.last_modified.utcoffset() == info.last_modified.utcoffset()
                assert listed.content_type in (None, info.content_type)
                assert listed.metadata in (None, info.metadata)

    def test_any_order(self, store: Storage) -> None:
        keys = ["b", "a/b", "a-", "c"]
        fill(store, keys)
        assert sorted(keys_of(store.list(ordered=False))) == sorted(keys)

    def test_prefixes_that_are_no_keys(self, store: Storage) -> None:
        store.put("a/..b", b"data")
        store.put("a/.c", b"data")
        assert keys_of(store.list("a/.")) == ["a/..b", "a/.c"]
        assert keys_of(store.list("a/..")) == ["a/..b"]
        for prefix in ("..", "../", "a/../", "./", "a/./", "a/../a/", "a//", "a/..b/"):
            assert keys_of(store.list(prefix)) == [], prefix
            assert keys_of(store.list_level(prefix)) == [], prefix
        for after in ("..", "a/..", "/", "/a", "a//", "a/./"):
            got = keys_of(store.list(start_after=after))
            assert got == expected_list(["a/..b", "a/.c"], after=after), after

    def test_what_is_no_prefix(self, store: Storage) -> None:
        for prefix in ("/", "/a", "a\0", "\ud800"):
            with refused(store, ErrInvalidKey):
                list(store.list(prefix))
            with refused(store, ErrInvalidKey):
                list(store.list_level(prefix))
        for after in ("a\0", "\ud800"):
            with refused(store, ErrInvalidKey):
                list(store.list(start_after=after))
        wrong: Any
        for wrong in (b"a", 1, None):
            with pytest.raises(TypeError):
                list(store.list(wrong))
        for wrong in (b"a", 1):
            with pytest.raises(TypeError):
                list(store.list(start_after=wrong))

    # -- more than a page ------------------------------------------------------

    def test_many_objects(self, store: Storage) -> None:
        # folders whose names sort around the separator, objects beside them
        keys = [f"{i % 7}{'-./0'[i % 4]}{i:05}" for i in range(1100)]
        keys += [f"{i}" for i in range(10, 20)]
        fill(store, keys)
        expected = expected_list(keys)
        assert keys_of(store.list()) == expected
        for place in (1, 500, 999, 1000, 1001):
            after = expected[place]
            assert keys_of(islice(store.list(start_after=after), 3)) == expected[place + 1 :][:3]
        assert keys_of(store.list("3/")) == expected_list(keys, "3/")
        assert keys_of(store.list_level()) == expected_level(keys)
        failed = store.delete_many(keys, errors="return")
        assert failed == {}
        assert list(store.list()) == []

    def test_an_iterator_left_early(self, store: Storage) -> None:
        fill(store, [f"{i:02}" for i in range(20)])
        for _ in range(3):
            listing: Any = store.list()
            assert next(listing).key == "00"
            listing.close() if hasattr(listing, "close") else None
        assert len(list(store.list())) == 20

    def test_two_listings_at_once(self, store: Storage) -> None:
        keys = [f"{i % 3}/{i:02}" for i in range(20)]
        fill(store, keys)
        pairs = list(zip(store.list(), store.list(), strict=True))
        assert [first.key for first, _ in pairs] == expected_list(keys)
        assert all(first == second for first, second in pairs)

    # -- while others write ----------------------------------------------------

    def test_deleting_while_listing(self, store: Storage) -> None:
        keys = [f"{i % 5}/{i:03}" for i in range(60)]
        fill(store, keys)
        seen = []
        for info in store.list():
            seen.append(info.key)
            store.delete(info.key)
        assert seen == expected_list(keys)
        assert list(store.list()) == []

    def test_what_stays_is_listed_once(self, store: Storage) -> None:
        stable = [f"{i % 6}/{'stable'}{i:03}" for i in range(120)]
        fill(store, stable)
        stop = threading.Event()

        def disturb(number: int) -> int:
            rounds = 0
            while not stop.is_set():
                name = f"{rounds % 7}/{number}-{rounds % 11}"
                store.put(name, b"passing", durable=False)
                store.put(stable[rounds * 7 % 120], b"again", durable=False)
                store.delete(name)
                rounds += 1
            return rounds

        def listings() -> Iterator[list[str]]:
            for _ in range(15):
                yield keys_of(store.list())

        with ThreadPoolExecutor(2) as pool:
            workers = [pool.submit(disturb, number) for number in range(2)]
            try:
                for seen in listings():
                    assert seen == expected_list(set(seen)), "in order, none twice"
                    assert [k for k in seen if "stable" in k] == expected_list(stable)
            finally:
                stop.set()
            assert all(worker.result() > 0 for worker in workers)
