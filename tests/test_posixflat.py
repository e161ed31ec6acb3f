"""PosixFlatStorage's names: one file a key, one key a file, in order, inside the root."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectstorage import errors, open_storage
from objectstorage.posix import PosixStorage
from objectstorage.posixflat import PosixFlatStorage, _Escaped, key_of, path_of

_PARTS = st.sampled_from(
    [
        "a",
        "A",
        "/",
        "//",
        ".",
        "..",
        "-",
        "0",
        "é",
        "e\u0301",
        "\U0001f600",
        "%2F",
        " ",
        "\r\n",
        "\x01",
    ]
    + [
        "x" * 79,
        "y" * 80,
        "z" * 81,
        "é" * 40,
        "~",
        "`",
        "_",
        "!",
        ".o",
        ".d",
        ".c",
        ".objectstorage",
    ]
)


def _valid(key: str) -> bool:
    return 0 < len(key.encode()) <= 1024 and key[0] != "/"


keys = st.one_of(
    st.lists(_PARTS, max_size=12).map("".join),
    st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=120),
).filter(_valid)


@given(keys)
def test_round_trip_inside_the_root(key: str) -> None:
    path = path_of(key)
    assert key_of(path) == key
    names = path.split(b"/")
    for name in names:
        assert re.fullmatch(rb"[-0-9a-z!.=_`~]*\.[cdo]", name)
        assert len(name) <= 242
    assert len(path) <= 3200
    assert not path.startswith(b".objectstorage")


@given(keys, keys)
def test_order_and_injectivity(one: str, two: str) -> None:
    naming = _Escaped()
    a, b = naming.text(one), naming.text(two)
    assert (a < b) == (one.encode() < two.encode())
    assert (path_of(one) == path_of(two)) == (one == two)


@given(st.lists(st.text("ab01!.=~_-`/cdo4efA", max_size=12), min_size=1, max_size=4))
def test_only_canonical_names_have_a_key(names: list[str]) -> None:
    path = "/".join(names).encode()
    key = key_of(path)
    assert key is None or path_of(key) == path


@pytest.mark.parametrize(
    "path",
    [b"a", b"A.o", b".o", b"a.c/b.o", b"a.d", b".d/a.o", b"=61.o", b"!00.o", b".2f.o", b"a.o/b.o"]
    + [b"~80.o", b"~c3.o", b"x" * 80 + b".o", b"x" * 80 + b".d/a.o", b"=4C.o", b"a..o", b"a.d/b"],
)
def test_foreign_names_have_none(path: bytes) -> None:
    assert key_of(path) is None


def test_the_longest_and_the_deepest(tmp_path: Path) -> None:
    store = PosixFlatStorage(tmp_path, durable=False)
    wide = ["\U0001f600" * 256, "é" * 512, "\x01" * 1024, "/".join(["É" * 40] * 12)]
    deep = "a" + "/" * 1023
    for key in [*wide, deep]:
        store.put(key, key.encode())
    found = [info.key for info in store.list()]
    assert found == sorted([*wide, deep])
    for key in found:
        assert store.get(key) == key.encode()
        assert [info.key for info in store.list(key)] == [key]
        assert list(store.list(start_after=found[-1])) == []
        store.delete(key)
    assert os.listdir(tmp_path) == [".objectstorage"]


def test_listing_seeks_by_every_prefix_and_start(tmp_path: Path) -> None:
    store = PosixFlatStorage(tmp_path, durable=False)
    held = sorted(
        ["a", "a/", "a//b", "a/b", ".", "..", "A", "a-", "a0", "é", "x" * 79, "x" * 80, "x" * 81]
        + [
            "x" * 80 + "/",
            "x" * 80 + "/y",
            "x" * 160,
            "x" * 79 + "/",
            "x" * 79 + "é",
            ".objectstorage/tmp",
        ]
    )
    for key in held:
        store.put(key, b"")
    places = {key[:end] for key in held for end in range(len(key) + 1) if not 3 < end < 78}
    for prefix in sorted(places):
        for after in [*sorted(places), "\U0010ffff", "x" * 81 + "/"]:
            expected = [key for key in held if key.startswith(prefix) and key > after]
            assert [i.key for i in store.list(prefix, start_after=after)] == expected


def test_foreign_files_do_not_show(tmp_path: Path) -> None:
    store = PosixFlatStorage(tmp_path, durable=False)
    store.put("b/c", b"")
    (tmp_path / "README.md").write_bytes(b"")
    (tmp_path / "Dir.d").mkdir()
    (tmp_path / "Dir.d/a.o").write_bytes(b"")
    (tmp_path / "a.o").symlink_to("README.md")
    assert [info.key for info in store.list()] == ["b/c"]
    assert [entry.key for entry in store.list_level()] == ["b/"]
    assert [info.key for info in store.list(".object")] == []


def test_it_is_reached_by_import_only(tmp_path: Path) -> None:
    store = PosixFlatStorage(tmp_path)
    assert store.url == f"posixflat://{tmp_path}"
    with pytest.raises(errors.ErrInvalidURL, match="memory, posix, s3"):
        open_storage(store.url)
    again = pickle.loads(pickle.dumps(store))
    again.put("a/..", b"x")
    assert store.get("a/..") == b"x"
    with pytest.raises(errors.ErrUnsupported, match="posixflat 1"):
        PosixStorage(tmp_path).get("a")
