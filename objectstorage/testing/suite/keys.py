"""Keys: exact, whatever they are made of, or refused (contract, section 3)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from objectstorage.errors import ErrConflict, ErrInvalidKey, ErrUnsupported
from objectstorage.keys import MAX_KEY, KeyRules
from objectstorage.storage import Conditions, Storage
from objectstorage.testing import hostile
from objectstorage.testing.suite.base import SuiteBase, keys_of, refused
from objectstorage.testing.suite.listing import expected_list, fill

__all__ = ["Keys"]


def _write(store: Storage, key: str) -> None:
    with store.writer(key) as writer:
        writer.write(b"data")


VERBS: dict[str, Callable[[Storage, str], Any]] = {
    "put": lambda store, key: store.put(key, b"data"),
    "create": lambda store, key: store.put(key, b"data", create=True),
    "writer": _write,
    "get": lambda store, key: store.get(key),
    "fetch": lambda store, key: store.fetch(key, start=1),
    "get_range": lambda store, key: store.get_range(key, start=-2, length=1),
    "get_ranges": lambda store, key: store.get_ranges(key, starts=[0], lengths=[1]),
    "stat": lambda store, key: store.stat(key),
    "exists": lambda store, key: store.exists(key),
    "open": lambda store, key: store.open(key),
    "stream": lambda store, key: next(iter(store.stream(key))),
    "delete": lambda store, key: store.delete(key),
    "copy from": lambda store, key: store.copy(key, "dst"),
    "copy to": lambda store, key: store.copy("src", key),
    "copy onto itself": lambda store, key: store.copy(key, key),
    "move from": lambda store, key: store.move(key, "dst"),
    "move to": lambda store, key: store.move("src", key),
    "update": lambda store, key: store.update(key, lambda old: b"data"),
    "upload": lambda store, key: store.upload(key, __file__),
    "download": lambda store, key: store.download(key, "/nonexistent/target"),
}


class Keys(SuiteBase):
    """What is a key, what this store holds of it, and how exactly."""

    @pytest.mark.parametrize("verb", VERBS)
    def test_what_is_no_key(self, store: Storage, rules: KeyRules, verb: str) -> None:
        _, refusals = hostile.split([key for g in hostile.GROUPS.values() for key in g], rules)
        store.put("src", b"source")
        for key in [*hostile.NO_KEYS, *refusals]:
            with refused(store, ErrInvalidKey, key) as caught:
                VERBS[verb](store, key)
            assert isinstance(caught.value, ValueError)
        wrong: Any
        for wrong in (b"a", None, 1, Path("a")):
            with pytest.raises(TypeError):
                VERBS[verb](store, wrong)
        assert keys_of(store.list()) == ["src"]

    @pytest.mark.parametrize("group", hostile.GROUPS)
    def test_hostile_keys_side_by_side(
        self, store: Storage, rules: KeyRules, group: str, reopen: Callable[[], Storage]
    ) -> None:
        held, _ = hostile.split(hostile.GROUPS[group], rules)
        held = sorted(set(held))
        for number, key in enumerate(held):
            assert store.put(key, f"{number}".encode(), durable=False).key == key
        again = reopen()
        for number, key in enumerate(held):
            assert again.get(key) == f"{number}".encode(), repr(key)
            assert again.stat(key).key == key
        assert keys_of(again.list()) == expected_list(held)
        for key in held[:: max(1, len(held) // 20)]:
            assert keys_of(store.list(key)) == expected_list(held, key), repr(key)
            assert keys_of(store.list(start_after=key)) == expected_list(held, after=key), repr(key)
        for key in held[::2]:
            store.delete(key, must_exist=True)
        assert keys_of(store.list()) == expected_list(held[1::2])
        assert store.delete_many(held) == {}
        assert keys_of(store.list()) == []

    def test_every_verb_takes_hostile_keys(self, store: Storage, rules: KeyRules) -> None:
        names = ["x?y#z&a=b", "é%2F+ ", "\U0001f600'\"\\<>", "tab\t\x7f", "a..", "~[*]"]
        held, _ = hostile.split(names, rules)
        for key in held:
            with store.writer(key) as writer:
                writer.write(key.encode())
            assert store.get_range(key, start=0, length=3) == key.encode()[:3]
            assert b"".join(store.stream(key)) == key.encode()
            with store.open(key) as reader:
                assert reader.info.key == key
            assert store.copy(key, "c" + key).key == "c" + key
            assert store.get("c" + key) == key.encode()
            assert store.copy("c" + key, key).key == key
            assert store.move(key, "m" + key).key == "m" + key
            assert not store.exists(key)
            assert keys_of(store.list("m" + key)) == ["m" + key]
            assert keys_of(store.list_level("c" + key)) == ["c" + key]
            store.delete("m" + key)
            store.delete("c" + key)
        assert keys_of(store.list()) == []

    def test_the_longest_key(self, store: Storage, rules: KeyRules) -> None:
        assert rules.max_key <= MAX_KEY
        size = min(100, rules.max_segment or 100)
        key = ("/" + "k" * size) * (rules.max_key // (size + 1) + 1)
        key = "k" + key[1 : rules.max_key].removesuffix("/").ljust(rules.max_key - 1, "k")
        assert len(key) == rules.max_key
        store.put(key, b"data")
        assert store.get(key) == b"data"
        assert keys_of(store.list()) == [key]
        with refused(store, ErrInvalidKey):
            store.put(key + "k", b"data")
        store.copy(key, "short")
        store.move("short", key)
        store.delete(key, must_exist=True)
        assert keys_of(store.list()) == []

    # -- `a` beside `a/b` ------------------------------------------------------

    def test_an_object_and_one_below_it(self, store: Storage, rules: KeyRules) -> None:
        store.put("a/b", b"child")
        store.put("other", b"other")
        if rules.parent_child == "refused":
            calls: list[Callable[[], Any]] = [
                lambda: store.put("a", b"parent"),
                lambda: store.put("a", b"parent", create=True),
                lambda: _write(store, "a"),
                lambda: store.copy("other", "a"),
                lambda: store.move("other", "a"),
                lambda: store.put("other/b", b"child"),
                lambda: store.put("other/b/c", b"child", create=True),
                lambda: _write(store, "other/b"),
                lambda: store.copy("a/b", "other/b"),
                lambda: store.move("a/b", "other/b"),
                lambda: store.move("other", "other/b"),
            ]
            for call in calls:
                with refused(store, ErrConflict):
                    call()
                assert keys_of(store.list()) == ["a/b", "other"]
            assert (store.get("a/b"), store.get("other")) == (b"child", b"other")
            return
        store.put("a", b"parent")
        store.put("other/b", b"child")
        assert (store.get("a"), store.get("a/b")) == (b"parent", b"child")
        assert (store.get("other"), store.get("other/b")) == (b"other", b"child")
        if rules.parent_child == "both":
            assert keys_of(store.list()) == ["a", "a/b", "other", "other/b"]
            assert keys_of(store.list_level()) == ["a", "a/", "other", "other/"]
        store.delete("a")
        assert store.get("a/b") == b"child"
        store.delete("other/b")
        assert store.get("other") == b"other"

    def test_creating_beside_a_folder(
        self, store: Storage, rules: KeyRules, conditions: Conditions
    ) -> None:
        # A folder is no object: nothing there is taken, and no update may spin on it.
        store.put("a/b", b"child")
        store.put("gone/b", b"child")
        store.delete("gone/b")
        kind = ErrConflict if "put" in conditions.create else ErrUnsupported
        for key in ("a", "gone"):
            try:
                store.update(key, lambda old: b"updated", timeout=60)
            except kind:
                with refused(store, kind, key):
                    store.put(key, b"created", create=True)
                assert not store.exists(key)
            else:
                assert rules.parent_child != "refused" or key == "gone"
                assert store.get(key) == b"updated"
                store.delete(key)
                store.put(key, b"created", create=True)
                assert store.get(key) == b"created"
        assert store.get("a/b") == b"child"

    def test_what_is_empty_is_no_conflict(self, store: Storage) -> None:
        store.put("a/b/c/d", b"data")
        store.delete("a/b/c/d")
        store.put("a/b", b"data")
        store.move("a/b", "x/y")
        store.put("a", b"data")
        store.copy("a", "z")
        assert keys_of(store.list()) == ["a", "x/y", "z"]

    def test_reserved_names(self, store: Storage, rules: KeyRules) -> None:
        # Only the top segment itself is the store's own.
        fill(store, ["x/.objectstorage/y", ".objectstorage2", ".objectstorag/a"])
        assert len(keys_of(store.list())) == 3
        for name in rules.reserved:
            for key in (name, f"{name}/a"):
                with refused(store, ErrInvalidKey, key):
                    store.put(key, b"data")
            assert keys_of(store.list(name + "/")) == []
            assert keys_of(store.list_level(name + "/")) == []
