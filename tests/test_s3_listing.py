"""Listings: exact key order from servers of both orders, lazily, in few requests.

The servers here are models of what was measured on real ones, SeaweedFS's traps
included; the last tests hold model and listing against the real server.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from copy import copy
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from long import much
from minio import Minio

from objectstorage.errors import ErrBackend
from objectstorage.s3 import folder_order
from objectstorage.s3.effects import Effects, Emit
from objectstorage.s3.listing import list_level, list_objects
from objectstorage.s3.pages import MAX_KEYS
from objectstorage.s3.xml import ListPage
from objectstorage.storage import ObjectInfo, Prefix
from objectstorage.testing.servers import S3Server, seaweedfs

_WHEN = datetime(2024, 1, 1, tzinfo=UTC)


def info(key: str) -> ObjectInfo:
    return ObjectInfo(key, len(key), _WHEN, "v1")


class ByBytes:
    """A server that lists by the keys' bytes; `page` is what a store asks it through."""

    def __init__(self, keys: Iterable[str], cap: int = 1000) -> None:
        self.cap = cap
        self.asked: list[tuple[str, str | None, str | None, str | None]] = []
        self.hold(keys)

    def hold(self, keys: Iterable[str]) -> None:
        """Have these keys, and no others, from now on."""
        self.keys = sorted(set(keys))

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
        self.emptied = list(emptied)
        super().__init__(keys, cap)

    def hold(self, keys: Iterable[str]) -> None:
        self.segments = {key: segments(key) for key in keys}
        self.keys = sorted(self.segments, key=self.segments.__getitem__)
        every = [*self.keys, *self.emptied]
        self.folders = {key[: i + 1] for key in every for i, c in enumerate(key) if c == "/"}

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
        # asks for pages as large as S3 has them: a server that gives fewer is not its affair
        generous = copy(server)
        generous.cap = MAX_KEYS
        effects = list_objects(generous.page, prefix, start_after, folder_order=True)
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
@settings(max_examples=much(100, 3000), deadline=None)
def test_by_bytes(keys: list[str], prefix: str, start_after: str, cap: int) -> None:
    prefix = prefix.lstrip("/")
    server = ByBytes(keys, cap)
    expected = [k for k in server.keys if k.startswith(prefix) and k > start_after]
    assert listed(server, prefix, start_after) == expected
    assert [entry.key for entry in level(server, prefix)] == expected_level(keys, prefix)


@given(_KEYS, _KEYS, _TEXT, _TEXT, st.integers(1, 7))
@example(["b", "b/0"], [], "b", "0", 1)
@settings(max_examples=much(200, 6000), deadline=None)
def test_by_folders(
    keys: list[str], deleted: list[str], prefix: str, start_after: str, cap: int
) -> None:
    prefix = prefix.lstrip("/")
    server = ByFolders(keys, cap, emptied=deleted)
    expected = sorted(k for k in set(keys) if k.startswith(prefix) and k > start_after)
    assert listed(server, prefix, start_after) == expected
    assert [entry.key for entry in level(server, prefix)] == expected_level(keys, prefix)


@given(_KEYS, st.data(), st.integers(1, 7))
@settings(max_examples=much(100, 3000), deadline=None)
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


@given(_KEYS, _KEYS, st.randoms(use_true_random=False), st.integers(1, 5), st.booleans())
@settings(max_examples=much(100, 3000), deadline=None)
def test_what_stays_is_listed_once_whatever_comes_and_goes(
    staying: list[str], others: list[str], random: Random, cap: int, folders: bool
) -> None:
    server: ByBytes = ByFolders([], cap) if folders else ByBytes([], cap)

    def change_between_requests(*arguments: Any) -> Effects[ListPage]:
        server.hold([*staying, *random.sample(others, len(others) // 2)])
        return (yield from ByBytes.page(server, *arguments))

    server.page = change_between_requests
    found = listed(server)
    assert found == sorted(set(found))
    assert set(staying) <= set(found) <= {*staying, *others}
    entries = [entry.key for entry in level(server)]
    assert entries == sorted(set(entries))
    assert set(expected_level(staying, "")) <= set(entries)


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


def test_seeking_passes_over_names_between_a_folder_and_its_slash() -> None:
    keys = [*(f"a-{i:04}" for i in range(5000)), "a/1", "a/2", "b"]
    server = ByFolders(keys)
    assert listed(server, "", "a/1") == ["a/2", "b"]
    assert len(server.asked) <= 3


def test_namesakes_share_requests() -> None:
    keys = [key for i in range(700) for key in (f"{i:03}", f"{i:03}/x")]
    server = ByFolders(keys)
    assert listed(server) == sorted(keys)
    assert len(server.asked) <= 5


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


class Deaf(ByFolders):
    """A server that knows no `start-after`."""

    def page(
        self,
        prefix: str,
        delimiter: str | None = None,
        start_after: str | None = None,
        token: str | None = None,
        max_keys: int = 1000,
    ) -> Effects[ListPage]:
        return super().page(prefix, delimiter, None, token, max_keys)


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
    server = Scripted(*[there, back] * 50, a_page())
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


def test_a_folder_ordered_server_without_start_after() -> None:
    keys = ["t", "t-x", "t-x/1", "t-x/2", "t-y/1", "t/1", "t/2", "u"]
    for cap in (1, 3, 1000):
        for after in (*keys, "t-", "t-x/", "t/", "s", "v"):
            assert listed(Deaf(keys, cap), "", after) == [
                key for key in sorted(keys) if key > after
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


# -- the real one ------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with seaweedfs() as server:
        yield server


@pytest.fixture
def bucket(server: S3Server) -> Minio:
    """minio's client, which puts and deletes without our code."""
    client = Minio(
        server.endpoint.removeprefix("http://"),
        server.access_key,
        server.secret_key,
        secure=False,
        region=server.region,
    )
    if not client.bucket_exists(server.bucket):
        client.make_bucket(server.bucket)
    return client


def put(client: Minio, server: S3Server, keys: Iterable[str]) -> None:
    for key in keys:
        client.put_object(server.bucket, key, io.BytesIO(b"x"), 1)


class Asked:
    """A real store's pages, and what runs their effects."""

    def __init__(self, store: Any) -> None:
        self.page = store._core._page
        self.run = store._driver.run
        self._iterate = store._driver.iterate

    def collect(self, effects: Effects[None]) -> list[str]:
        return [found.key for batch in self._iterate(effects) for found in batch]


@pytest.mark.parametrize("seed", range(8))
def test_seaweedfs(server: S3Server, bucket: Minio, seed: int) -> None:
    """Random neighbours of "/", some deleted again, against `sorted`."""
    random = Random(seed)

    def a_key() -> str:
        while True:
            key = "".join(random.choices("ab-.0/\u00e9\U0010ffff+ %\n\r&", k=random.randint(1, 7)))
            if _holdable(key):
                return key

    keys: list[str] = []
    for key in [a_key() for _ in range(30)]:
        # there, an object is not put where a folder is, though a folder is where an object is
        if not any(other.startswith(key + "/") for other in keys):
            keys.append(key)
    name = f"random-{seed}/"
    put(bucket, server, [name + key for key in keys])
    deleted = set(random.sample(keys, len(keys) // 5))
    for key in deleted:
        bucket.remove_object(server.bucket, name + key)
    keys = sorted(set(keys) - deleted)
    with server.open(f"s3://{server.bucket}/{name}") as store:
        asked = Asked(store)
        for cap in (1, 2, 3, 5, 1000) * 6:
            prefix = random.choice(["", random.choice(keys)[: random.randint(0, 4)]])
            entries = folder_order.list_level(asked.page, prefix, page_size=cap)
            assert asked.collect(entries) == expected_level(keys, prefix)
            after = random.choice([a_key(), random.choice(keys), random.choice(keys) + "/-"])
            if not after.startswith(prefix):
                after = prefix
            objects = folder_order.list_folders(asked.page, prefix, after, page_size=cap)
            expected = [key for key in keys if key.startswith(prefix) and key > after]
            assert asked.collect(objects) == expected


def test_the_model_is_like_seaweedfs(server: S3Server, bucket: Minio) -> None:
    keys = ["a", "b", "b-", "b/1", "b/2/x", "b0", "c/x/1", "c/x/2", "d", "d/1", "e/f", "g", "g/h"]
    emptied = ["m/n", "z/y/x"]
    put(bucket, server, [f"model/{key}" for key in [*keys, *emptied]])
    for key in emptied:
        bucket.remove_object(server.bucket, f"model/{key}")
    model = ByFolders(keys, emptied=emptied)
    starts = [*keys, "b/", "b.\U0010ffff", "c", "c/", "c.\U0010ffff", "d.", "zz"]
    queries = [
        (prefix, delimiter, start, cap)
        for prefix in ("", "b", "b/", "c", "c/", "c/x", "m/", "q")
        for delimiter in (None, "/")
        for start in (prefix, *starts)
        for cap in (1, 2, 3, 1000)
        # a level is never asked for from within a folder
        if start.startswith(prefix) and not (delimiter and "/" in start[len(prefix) :])
    ]
    with server.open(f"s3://{server.bucket}/model") as store:
        asked = Asked(store)
        for prefix, delimiter, start, cap in queries:
            answer = asked.run(asked.page(prefix, delimiter, start, None, cap))
            told = model.answer(prefix, delimiter, start, cap)
            where = f"{prefix=} {delimiter=} {start=} {cap=}"
            assert [o.key for o in answer.objects] == [o.key for o in told.objects], where
            assert sorted(answer.prefixes) == sorted(told.prefixes), where
            assert answer.truncated or not told.truncated, where


def test_seaweedfs_by_the_store(server: S3Server, bucket: Minio) -> None:
    """All the way through, with more than a page."""
    keys = [f"{i % 3}-/{i:04}" for i in range(600)] + [f"{i:04}" for i in range(600)]
    keys += ["0", "1/2/3", "1/2-", "x y+%"]
    put(bucket, server, [f"whole/{key}" for key in keys])
    with server.open(f"s3://{server.bucket}/whole") as store:
        assert [found.key for found in store.list()] == sorted(keys)
        assert [found.key for found in store.list(start_after="1-/0100")] == [
            key for key in sorted(keys) if key > "1-/0100"
        ]
        assert [found.key for found in store.list(ordered=False)] == sorted(keys)
        assert [entry.key for entry in store.list_level("1")] == expected_level(keys, "1")
        one, stat = next(iter(store.list("x"))), store.stat("x y+%")
        assert (one.key, one.size, one.etag) == (stat.key, stat.size, stat.etag)
        assert one.last_modified == stat.last_modified
