"""Listings: exact key order from servers of both orders, lazily, in few requests.

The servers here are models of what was measured on real ones; SeaweedFS's
traps included. `test_seaweedfs_*` hold the model against the real server.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectstorage.errors import ErrBackend
from objectstorage.s3 import folder_order
from objectstorage.s3.effects import Effects, Emit
from objectstorage.s3.listing import list_level, list_objects
from objectstorage.s3.xml import ListPage
from objectstorage.storage import ObjectInfo, Prefix

_WHEN = datetime(2024, 1, 1, tzinfo=UTC)


def info(key: str) -> ObjectInfo:
    return ObjectInfo(key, len(key), _WHEN, "v1")


class ByBytes:
    """A server that lists by the keys' bytes; `page` is what a store asks it through."""

    def __init__(self, keys: Iterable[str], cap: int = 1000) -> None:
        self.keys = sorted(set(keys))
        self.cap = cap
        self.asked: list[tuple[str, str | None, str | None, str | None]] = []

    def page(
        self,
        prefix: str,
        delimiter: str | None = None,
        start_after: str | None = None,
        token: str | None = None,
        max_keys: int = 1000,
    ) -> Effects[ListPage]:
        yield from ()
        self.asked.append((prefix, delimiter, start_after, token))
        return self.answer(prefix, delimiter, token or start_after or "", min(max_keys, self.cap))

    def answer(self, prefix: str, delimiter: str | None, after: str, limit: int) -> ListPage:
        names: dict[str, bool] = {}
        for key in self.keys:
            if key.startswith(prefix):
                head, slash, _ = key[len(prefix) :].partition("/")
                folder = bool(delimiter and slash)
                name = prefix + head + "/" if folder else key
                if name > after:
                    names[name] = folder
        page = list(names)[:limit]
        truncated = len(page) < len(names)
        return ListPage(
            [info(name) for name in page if not names[name]],
            [name for name in page if names[name]],
            truncated,
            page[-1] if truncated else None,
            len(page),
        )


class ByFolders(ByBytes):
    """SeaweedFS 4.48, as measured."""

    def __init__(self, keys: Iterable[str], cap: int = 1000, emptied: Iterable[str] = ()) -> None:
        super().__init__(keys, cap)
        self.keys.sort(key=segments)
        self.folders = {
            key[: i + 1] for key in [*self.keys, *emptied] for i, c in enumerate(key) if c == "/"
        }

    def answer(self, prefix: str, delimiter: str | None, after: str, limit: int) -> ListPage:
        assert "//" not in prefix + after, "this server makes keys up when asked so"
        if after.rpartition("/")[2] in (".", ".."):
            after = ""  # cleaned away as if it were a path's
        if delimiter:
            return self._level(prefix, after.removesuffix("/"), limit)
        found = [key for key in self.keys if key.startswith(prefix) and self._follows(key, after)]
        found, rest = found[:limit], found[limit:]
        # The trap: after a page that ends at the object `b` there is no folder `b/`.
        truncated = any(not key.startswith(found[-1] + "/") for key in rest)
        token = found[-1] if truncated else None
        return ListPage([info(key) for key in found], [], truncated, token, len(found))

    @staticmethod
    def _follows(key: str, after: str) -> bool:
        """`start-after=b` passes over `b` and the folder `b/`."""
        return not after or (segments(key) > segments(after) and not key.startswith(after + "/"))

    def _level(self, prefix: str, after: str, limit: int) -> ListPage:
        names: dict[str, list[str]] = {}
        base = prefix[: prefix.rfind("/") + 1]
        for key in [*self.keys, *self.folders]:
            if not key.startswith(prefix):
                continue
            name, slash, rest = key[len(base) :].partition("/")
            inside = any(
                self._follows(k, after) for k in self.keys if k.startswith(f"{base}{name}/")
            )
            if not self._follows(base + name, after) and not (rest and inside):
                continue
            entry = base + name + "/" if slash else key
            if entry != base and entry not in names.setdefault(name, []):
                names[name].append(entry)
        page, count = [], 0
        ordered = sorted(names, key=str.encode)
        for name in ordered:
            if count >= limit:
                break
            page.append(name)
            count += len(names[name])  # an object and its namesake folder come together
        entries = [entry for name in page for entry in names[name]]
        truncated = len(page) < len(names)
        objects = [info(entry) for entry in entries if not entry.endswith("/")]
        if prefix.endswith("/") and prefix in self.keys:
            objects.insert(0, info(prefix))  # a folder made as an object shows in itself
        return ListPage(
            objects,
            [entry for entry in entries if entry.endswith("/")],
            truncated,
            base + page[-1] if truncated else None,
            len(objects) + len(entries),
        )


def segments(key: str) -> list[bytes]:
    """SeaweedFS's order."""
    return key.encode().split(b"/")


def collect(effects: Effects[None]) -> list[Any]:
    """What is emitted, in one list."""
    found: list[Any] = []
    for effect in effects:
        assert type(effect) is Emit
        assert effect.batch, "an empty batch is of no use to anybody"
        found += effect.batch
    return found


def listed(server: ByBytes, prefix: str = "", start_after: str = "") -> list[str]:
    """The keys that a listing gives."""
    if not isinstance(server, ByFolders):
        return [found.key for found in collect(list_objects(server.page, prefix, start_after))]
    if not start_after.startswith(prefix):
        effects = list_objects(server.page, prefix, start_after, folder_order=True)
    else:
        effects = folder_order.list_folders(server.page, prefix, start_after, page_size=server.cap)
    return [found.key for found in collect(effects)]


def level(server: ByBytes, prefix: str = "") -> list[ObjectInfo | Prefix]:
    """The entries that a level's listing gives."""
    if not isinstance(server, ByFolders):
        return collect(list_level(server.page, prefix))
    return collect(folder_order.list_level(server.page, prefix, page_size=server.cap))


def expected_level(keys: Iterable[str], prefix: str) -> list[str]:
    """Objects and prefixes of one level, in string order."""
    names = set()
    for key in keys:
        if key.startswith(prefix):
            head, slash, _ = key[len(prefix) :].partition("/")
            names.add(prefix + head + slash)
    return sorted(names)


# Few characters, chosen around "/", make many neighbours.
_TEXT = st.text("ab-.0/\u00e9\U0010ffff", max_size=9)


def _holdable(key: str) -> bool:
    return not {"", ".", ".."} & set(key.split("/"))


_KEYS = st.lists(_TEXT.filter(_holdable), max_size=25)


@given(_KEYS, _TEXT, _TEXT, st.integers(1, 7))
@settings(max_examples=300, deadline=None)
def test_by_bytes(keys: list[str], prefix: str, start_after: str, cap: int) -> None:
    prefix = prefix.lstrip("/")
    server = ByBytes(keys, cap)
    expected = [k for k in server.keys if k.startswith(prefix) and k > start_after]
    assert listed(server, prefix, start_after) == expected
    assert [entry.key for entry in level(server, prefix)] == expected_level(keys, prefix)


@given(_KEYS, _KEYS, _TEXT, _TEXT, st.integers(1, 7))
@settings(max_examples=1500, deadline=None)
def test_by_folders(
    keys: list[str], deleted: list[str], prefix: str, start_after: str, cap: int
) -> None:
    prefix = prefix.lstrip("/")
    server = ByFolders(keys, cap, emptied=deleted)
    expected = sorted(k for k in set(keys) if k.startswith(prefix) and k > start_after)
    assert listed(server, prefix, start_after) == expected
    assert [entry.key for entry in level(server, prefix)] == expected_level(keys, prefix)


@given(_KEYS, st.data(), st.integers(1, 7))
@settings(max_examples=500, deadline=None)
def test_by_folders_after_a_key(keys: list[str], data: st.DataObject, cap: int) -> None:
    """A listing that goes on after one of its own keys, as a pager does."""
    server = ByFolders(keys, cap)
    ordered = sorted(server.keys)
    after = data.draw(st.sampled_from(ordered)) if ordered else ""
    prefix = after[: data.draw(st.integers(0, len(after)))]
    expected = [k for k in ordered if k > after and k.startswith(prefix)]
    assert listed(server, prefix, after) == expected
