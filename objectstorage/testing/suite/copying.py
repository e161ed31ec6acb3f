"""Copying and moving, within a store and between two (contract, section 7)."""

from __future__ import annotations

import pytest

import objectstorage
from objectstorage.errors import ErrNotExist
from objectstorage.memory import MemoryStorage
from objectstorage.storage import Storage
from objectstorage.testing.suite.base import SuiteBase, keys_of, refused

__all__ = ["Copying"]


class Copying(SuiteBase):
    """`copy`, `move`, `objectstorage.copy`."""

    @pytest.mark.parametrize("size", [0, 5, 3_000_000])
    @pytest.mark.parametrize("verb", ["copy", "move"])
    def test_bytes_and_metadata_go_along(self, store: Storage, verb: str, size: int) -> None:
        kept = store.probe().metadata
        options = {"content_type": "x/y", "metadata": {"owner": "ci"}} if kept else {}
        data = (b"0123456789" * (size // 10 + 1))[:size]
        store.put("a/src", data, **options)  # type: ignore[arg-type]  # mypy can't split the dict
        result = getattr(store, verb)("a/src", "b/c/dst")
        assert (result.key, result.size) == ("b/c/dst", size)
        info = store.stat("b/c/dst")
        assert (info.size, info.etag) == (size, result.etag)
        assert store.get("b/c/dst") == data
        if kept:
            assert (info.content_type, info.metadata) == ("x/y", {"owner": "ci"})
        assert keys_of(store.list()) == (["a/src"] if verb == "copy" else []) + ["b/c/dst"]

    @pytest.mark.parametrize("verb", ["copy", "move"])
    def test_the_target_is_replaced(self, store: Storage, verb: str) -> None:
        store.put("a", b"new")
        store.put("b", b"a longer old one")
        getattr(store, verb)("a", "b")
        assert store.get("b") == b"new"

    def test_copies_are_independent(self, store: Storage) -> None:
        store.put("a", b"one")
        store.copy("a", "b")
        store.put("a", b"two")
        assert store.get("b") == b"one"
        store.put("b", b"three")
        assert store.get("a") == b"two"
        store.delete("a")
        assert store.get("b") == b"three"

    @pytest.mark.parametrize("verb", ["copy", "move"])
    def test_onto_itself(self, store: Storage, verb: str) -> None:
        first = store.put("k", b"data")
        result = getattr(store, verb)("k", "k")
        assert result == first
        assert store.stat("k").etag == first.etag
        assert store.get("k") == b"data"

    @pytest.mark.parametrize("verb", ["copy", "move"])
    def test_of_what_is_not_there(self, store: Storage, verb: str) -> None:
        store.put("d/x", b"data")
        store.put("dst", b"old")
        for src in ("none", "d", "n/o"):
            with refused(store, ErrNotExist, src):
                getattr(store, verb)(src, "dst")
            with refused(store, ErrNotExist, src):
                getattr(store, verb)(src, "new/dst")
        assert store.get("dst") == b"old"
        assert keys_of(store.list()) == ["d/x", "dst"]

    def test_between_stores(self, store: Storage) -> None:
        other = MemoryStorage()
        kept = store.probe().metadata
        data = bytes(range(256)) * (self.part_size // 100)
        other.put("k", data, content_type="x/y" if kept else None)
        result = objectstorage.copy(other, "k", store, "here")
        assert result.size == len(data)
        assert store.get("here") == data
        objectstorage.copy(store, "here", other, "back")
        assert other.get("back") == data
        if kept:
            assert other.stat("back").content_type == "x/y"
        with refused(store, ErrNotExist, "none"):
            objectstorage.copy(store, "none", other, "x")
        assert not other.exists("x")
        other.close()
