"""Deleting, one and many (contract, section 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from objectstorage.errors import (
    ErrBadRequest,
    ErrInvalidKey,
    ErrNotExist,
    ErrPartial,
    is_err_invalid_key,
    is_err_partial,
)
from objectstorage.keys import KeyRules
from objectstorage.storage import Storage
from objectstorage.testing import hostile
from objectstorage.testing.suite.base import SuiteBase, keys_of, refused

__all__ = ["Deleting"]


class Deleting(SuiteBase):
    """`delete` and `delete_many`."""

    def test_delete(self, store: Storage) -> None:
        store.put("a/b", b"data")
        store.put("a/c", b"data")
        store.delete("a/b")
        assert not store.exists("a/b")
        assert keys_of(store.list()) == ["a/c"]
        store.delete("a/c")
        assert keys_of(store.list()) == []
        assert keys_of(store.list_level()) == []

    def test_delete_is_idempotent(self, store: Storage) -> None:
        store.put("d/x", b"data")
        # nothing, nothing below nothing, and what looks like a directory
        for key in ("none", "n/o/n/e", "d"):
            store.delete(key)
            with refused(store, ErrNotExist, key):
                store.delete(key, must_exist=True)
        assert store.get("d/x") == b"data"
        store.delete("d/x", must_exist=True)
        with refused(store, ErrNotExist, "d/x"):
            store.delete("d/x", must_exist=True)

    def test_a_name_is_free_again(self, store: Storage) -> None:
        # a folder's name serves as an object's, and the other way round
        store.put("a/b/c", b"data")
        store.delete("a/b/c")
        store.put("a/b", b"data")
        store.delete("a/b")
        store.put("a", b"data")
        assert keys_of(store.list()) == ["a"]
        store.delete("a")
        store.put("a/b/c", b"again")
        assert store.get("a/b/c") == b"again"

    def test_delete_many(self, store: Storage) -> None:
        keys = [f"d/{i % 3}/{i}" for i in range(25)]
        for key in [*keys, "other"]:
            store.put(key, b"data")
        assert store.delete_many(iter(keys)) == {}
        assert keys_of(store.list()) == ["other"]
        assert store.delete_many([]) == {}
        assert store.delete_many(["none", "none", "other", "other"]) == {}
        assert keys_of(store.list()) == []

    def test_delete_many_tries_every_key(self, store: Storage) -> None:
        good = ["a", "b/c", "z"]
        bad = ["/a", "", "b\0c"]
        for key in good:
            store.put(key, b"data")
        with refused(store, ErrPartial) as caught:
            store.delete_many([bad[0], good[0], bad[1], good[1], bad[2], good[2]])
        error = caught.value
        assert is_err_partial(error)
        assert is_err_invalid_key(error)
        assert isinstance(error, ErrPartial)
        failed = error.failed
        assert isinstance(error, ExceptionGroup)
        assert sorted(failed) == sorted(bad)
        for key, inner in failed.items():
            assert inner.key == key
            assert isinstance(inner, ErrInvalidKey)
        assert keys_of(store.list()) == []

    def test_delete_many_gives_errors_when_asked(self, store: Storage) -> None:
        store.put("a", b"data")
        failed = store.delete_many(["/x", "a"], errors="return")
        assert list(failed) == ["/x"]
        assert isinstance(failed["/x"], ErrInvalidKey)
        assert not store.exists("a")

    def test_what_delete_many_refuses(self, store: Storage) -> None:
        for key in "key":
            store.put(key, b"data")
        calls: list[Callable[[], Any]] = [
            # one string would be taken for its characters
            lambda: store.delete_many("key"),
            lambda: store.delete_many(5),  # type: ignore[arg-type]  # the point of it
        ]
        for call in calls:
            with pytest.raises(TypeError):
                call()
        with pytest.raises(ErrBadRequest):
            store.delete_many(["k"], errors="ignore")  # type: ignore[arg-type]  # the point of it
        assert keys_of(store.list()) == ["e", "k", "y"]

    def test_delete_many_of_hostile_keys(self, store: Storage, rules: KeyRules) -> None:
        # A batch in XML turns "\r" into "\n", and then deletes another's object.
        pairs = [("x\ny", "x\ry"), ("a&amp;b", "a&b"), ("a%20b", "a b"), ("p+q", "p q")]
        keys = [key for pair in pairs for key in pair]
        held, _ = hostile.split(keys, rules)
        for key in held:
            store.put(key, b"data")
        for kept, deleted in pairs:
            if kept in held and deleted in held:
                assert store.delete_many([deleted]) == {}
                assert store.exists(kept)
                assert not store.exists(deleted)
        assert store.delete_many(held) == {}
        assert keys_of(store.list()) == []
