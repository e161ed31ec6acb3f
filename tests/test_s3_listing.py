"""Listings: exact key order from servers of both orders, lazily, in few requests.

The servers here are models of what was measured on real ones, SeaweedFS's traps
included; the last tests hold model and listing against the real server.
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
        self.segments = {key: segments(key) for key in self.keys}
        self.keys.sort(key=self.segments.__getitem__)
        self.folders = {
            key[: i + 1] for key in [*self.keys, *emptied] for i, c in enumerate(key) if c == "/"
        }

    def answer(self, prefix: str, delimiter: str | None, after: str, limit: int) -> ListPage:
        assert "//" not in prefix + after, "this server makes keys up when asked so"
        if after.rpartition("/")[2] in (".", ".."):
            after = ""  # cleaned away as if it were a path's
        if delimiter:
            return self._level(prefix, after.removesuffix("/"), limit)
        at = segments(after)
        found = [
            key
            for key in self.keys
            if key.startswith(prefix)
            and (not after or (self.segments[key] > at and not key.startswith(after + "/")))
        ]
        found, rest = found[:limit], found[limit:]
        # The trap: after a page that ends at the object `b` there is no folder `b/`.
        truncated = any(not key.startswith(found[-1] + "/") for key in rest)
        token = found[-1] if truncated else None
        return ListPage([info(key) for key in found], [], truncated, token, len(found))

    def _level(self, prefix: str, after: str, limit: int) -> ListPage:
        """Names after `after`, which is a name of the level; `b` brings `b/` with it."""
        base = prefix[: prefix.rfind("/") + 1]
        names: dict[str, set[str]] = {}
        for key in [*self.keys, *self.folders]:
            if key.startswith(prefix) and key != base:
                name, slash, _ = key[len(base) :].partition("/")
                if (base + name).encode() > after.encode():
                    names.setdefault(name, set()).add(base + name + slash)
        page: list[str] = []
        last = ""
        for last in sorted(names, key=str.encode):
            if len(page) >= limit:
                break
            page += sorted(names.pop(last))
        objects = [info(entry) for entry in page if not entry.endswith("/")]
        if prefix.endswith("/") and prefix in self.keys:
            objects.insert(0, info(prefix))  # a folder made as an object shows in itself
        prefixes = [entry for entry in page if entry.endswith("/")]
        token = page[-1].removesuffix("/") if names else None
        return ListPage(objects, prefixes, bool(names), token, len(objects) + len(prefixes))


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
    if start_after and not start_after.startswith(prefix):
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


@pytest.mark.parametrize("cap", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    ("keys", "prefix", "after"),
    [
        (["t-", "t/x", "t0"], "", ""),
        (["t", "t-/x", "t/x", "t/x-", "t0"], "", ""),
        (["b", "b/1", "b/2", "c"], "b", ""),
        (["a", "b", "b/1"], "", ""),  # a full page that ends at `b` is said to be the last
        (["a.\U0010ffff%/k", "a/0", "a/1", "b"], "", "a/0"),  # beyond where a seek begins
        (["2026/x", "2026-11/x", "2026-11-24", "2026-11-25"], "", "2026-11-24"),
        (["d/o/", "d/o/x", "d/p/"], "d/", ""),
        (["/".join("a" * 500), "/".join("a" * 499) + "-"], "", ""),
    ],
)
def test_neighbours_of_the_slash(keys: list[str], prefix: str, after: str, cap: int) -> None:
    server = ByFolders(keys, cap)
    real = [key for key in keys if not key.endswith("/")]  # the others are folders there
    expected = sorted(k for k in real if k.startswith(prefix) and k > after)
    assert listed(server, prefix, after) == expected
    assert [entry.key for entry in level(server, prefix)] == expected_level(real, prefix)


def test_entries_are_of_the_right_kind() -> None:
    for server in (ByBytes(["a/x", "a", "b"]), ByFolders(["a/x", "a", "b"])):
        assert level(server) == [info("a"), Prefix("a/"), info("b")]
        assert level(server, "a/") == [info("a/x")]


def test_a_prefix_that_no_key_can_have_asks_nothing() -> None:
    server = ByFolders(["a/b"])
    for prefix in ("a//", "a/./", "../", "a/../b"):
        assert listed(server, prefix) == []
        assert level(server, prefix) == []
    assert not server.asked


# -- requests ------------------------------------------------------------------


def test_small_listings_are_one_request() -> None:
    server = ByFolders([f"{i % 7}/{i % 3}/{i}" for i in range(999)])
    assert listed(server) == sorted(server.keys)
    assert len(server.asked) == 1


def test_many_small_folders_share_requests() -> None:
    keys = [f"top-{i % 3}/{i // 3:04}/{n}" for i in range(3000) for n in range(3)]
    server = ByFolders([*keys, "top"])
    assert len(server.folders) == 3003
    assert listed(server) == sorted(server.keys)
    assert len(server.asked) <= 30


def test_large_folders_cost_their_pages() -> None:
    keys = [f"{folder}/{i:05}" for folder in range(3) for i in range(4500)]
    server = ByFolders(keys)
    assert listed(server) == sorted(keys)
    # For each folder five pages and the window that found it large; and the top level.
    assert len(server.asked) <= 3 * 6 + 2


def first(server: ByBytes, prefix: str = "", after: str = "") -> tuple[str, int]:
    """The first key, and the requests it took."""
    folders = isinstance(server, ByFolders)
    effects = list_objects(server.page, prefix, after, folder_order=folders)
    key = next(effects).batch[0].key
    effects.close()
    return key, len(server.asked)


def test_seeking_reads_nothing_before() -> None:
    keys = [f"{a:02}/{b:02}/{c:02}" for a in range(20) for b in range(20) for c in range(20)]
    assert first(ByBytes(keys), after="15/07/03") == ("15/07/04", 1)
    assert first(ByFolders(keys), after="15/07/03") == ("15/07/04", 2)
    assert first(ByFolders(keys), after="15/07/99")[0] == "15/08/00"
    assert first(ByFolders(keys), after="15/07/99")[1] <= 5
    seeker = ByFolders(keys)
    assert listed(seeker, "19/", "19/18/18") == sorted(keys)[-21:]
    assert len(seeker.asked) <= 5
    # No answer held a key that comes before.
    assert all(start is None or start >= "19/18" for _, _, start, _ in seeker.asked)


def test_listing_is_lazy() -> None:
    flat = ByBytes([f"{i:05}" for i in range(5000)])
    assert first(flat) == ("00000", 1)
    nested = ByFolders([f"{i // 50:03}/{i:05}" for i in range(5000)])
    assert first(nested)[1] <= 2
    assert next(list_level(flat.page, "")).batch[0].key == "00000"


def test_telling_empty_folders_takes_few_requests() -> None:
    emptied = [f"gone-{i:04}/x" for i in range(300)]
    keys = [f"here-{i:04}/x" for i in range(300)]
    server = ByFolders(keys, emptied=emptied)
    assert [entry.key for entry in level(server)] == expected_level(keys, "")
    assert len(server.asked) <= 8
    large = ByFolders([f"{folder}/{i:04}" for folder in range(5) for i in range(1500)])
    assert len(level(large)) == 5
    assert len(large.asked) <= 6


# -- servers that don't keep to it -----------------------------------------------


class Scripted(ByBytes):
    """A server that answers with given pages, the last one again and again."""

    def __init__(self, *pages: ListPage) -> None:
        super().__init__([])
        self.pages = list(pages)

    def answer(self, prefix: str, delimiter: str | None, after: str, limit: int) -> ListPage:
        return self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]


def a_page(*keys: str, token: str | None = None, prefixes: Iterable[str] = ()) -> ListPage:
    names = list(prefixes)
    return ListPage(
        [info(key) for key in keys], names, token is not None, token, len(keys) + len(names)
    )


def test_folder_order_is_not_taken_for_key_order() -> None:
    server = ByFolders(["t/x", "t-", "t0"])
    with pytest.raises(ErrBackend, match=r"'t/x' came before 't-'.*dialect=seaweedfs"):
        collect(list_objects(server.page, ""))
    # also when a page is in order by itself
    server = ByFolders(["t/x", "t-", "t0"], cap=1)
    with pytest.raises(ErrBackend, match=r"'t/x' came before 't-'"):
        collect(list_objects(server.page, ""))
    with pytest.raises(ErrBackend, match="came before"):
        collect(list_level(ByFolders(["t/x", "t-"], cap=1).page, ""))
    assert len(collect(list_objects(server.page, "", check_order=False))) == 3


def test_key_order_is_not_taken_for_folder_order() -> None:
    keys = ["t-", "t-a", "t/x", "t0"]
    with pytest.raises(ErrBackend, match=r"folder by folder.*dialect=generic"):
        collect(folder_order.list_folders(ByBytes(keys, 2).page, "", page_size=2))


@pytest.mark.parametrize("folders", [False, True])
def test_listings_that_do_not_advance(folders: bool) -> None:
    for page in (a_page("a", token="T"), a_page(token="T")):
        with pytest.raises(ErrBackend, match="does not advance"):
            collect(list_objects(Scripted(page).page, "", folder_order=folders))
        with pytest.raises(ErrBackend, match="does not advance"):
            collect(list_level(Scripted(page).page, "", probe_folders=folders))
    # two empty pages that name each other
    there, back = a_page(token="T1"), a_page(token="T2")
    server = Scripted(there, back, there, back, there, back, there)
    with pytest.raises(ErrBackend, match="does not advance"):
        collect(list_objects(server.page, "", folder_order=folders))


def test_empty_pages_in_between_and_at_the_end() -> None:
    pages = [a_page("a", token="1"), a_page(token="2"), a_page("b", token="3"), a_page()]
    assert collect(list_objects(Scripted(*pages).page, "")) == [info("a"), info("b")]
    assert collect(list_level(Scripted(*pages).page, "")) == [info("a"), info("b")]


def test_start_after_is_exclusive_whatever_the_server_thinks() -> None:
    inclusive = Scripted(a_page("b", "c"))
    assert collect(list_objects(inclusive.page, "", "b")) == [info("c")]
    unaware = Scripted(a_page("a", "b", token="1"), a_page("c", "d"))
    assert collect(list_objects(unaware.page, "", "b")) == [info("c"), info("d")]
    assert collect(list_objects(Scripted(a_page("c", "a")).page, "", "b", check_order=False)) == [
        info("c")
    ]


@pytest.mark.parametrize("folders", [False, True])
def test_what_was_not_asked_for_is_refused(folders: bool) -> None:
    for page in (a_page("a/1", "b"), a_page("0", "a/1"), a_page("../a")):
        with pytest.raises(ErrBackend, match="asked for 'a/'"):
            collect(list_objects(Scripted(page).page, "a/", folder_order=folders))
    for prefixes in (["b/"], ["a"], ["/"]):
        page = a_page("a/1", prefixes=prefixes)
        with pytest.raises(ErrBackend, match="asked for 'a/'"):
            collect(list_level(Scripted(page).page, "a/", probe_folders=folders))


def test_a_server_without_delimiters_is_refused() -> None:
    for page in (a_page("a/b"), a_page(prefixes=["a/b/"])):
        with pytest.raises(ErrBackend, match="asked for"):
            collect(list_level(Scripted(page).page, "", probe_folders=True))
        with pytest.raises(ErrBackend, match="asked for"):
            collect(list_level(Scripted(page).page, ""))
