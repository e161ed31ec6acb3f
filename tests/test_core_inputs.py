"""What goes in: URLs, keys, metadata, bodies, ranges; and what an import costs."""

from __future__ import annotations

import io
import pathlib
import pickle
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectstorage import (
    ErrBadRequest,
    ErrIntegrity,
    ErrInvalidKey,
    ErrInvalidMetadata,
    ErrInvalidRange,
    ErrInvalidURL,
    open_storage,
)
from objectstorage.bodies import as_buffer, as_source
from objectstorage.keys import KeyRules, check_key, check_metadata
from objectstorage.memory import MemoryStorage
from objectstorage.ranges import coalesce, resolve_range
from objectstorage.urls import parse_bool, parse_number, split_url

CANARY = "CANARYsecretCANARY"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "begins with"),
        ("/var/lib", "begins with"),
        ("posixflat:///d", "there are memory, posix, s3"),
        ("ftp://host/d", "there are memory, posix, s3"),
        ("posix://host/d", "three slashes|posix:///"),
        ("posix:///d?durabel=false", "durabel.*durable"),
        ("posix:///d?durable=maybe", "durable"),
        ("posix:///d?durable=true&durable=false", "twice"),
        ("posix:///d?x", "name=value"),
        ("posix:///d#x", "%23"),
        ("posix:///a%00b", "NUL"),
        ("posix:///a%ff", "UTF-8"),
        ("memory://name/path", "no path"),
        ("memory://?size=3", "no option"),
        (f"posix://user:{CANARY}@host/d", "credentials"),
        (f"memory://?secret_key={CANARY}", "does not belong"),
    ],
)
def test_urls_that_mean_nothing(url: str, says: str) -> None:
    with pytest.raises(ErrInvalidURL, match=says) as caught:
        open_storage(url)
    assert CANARY not in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_urls_are_percent_encoded() -> None:
    assert split_url("posix:///a%20b%3Fc%23d?durable=false") == (
        "posix",
        "",
        "/a b?c#d",
        {"durable": "false"},
    )
    assert open_storage("posix:///var/lib/a%20b").url.startswith("posix:///var/lib/a")


def test_no_io_in_opening() -> None:
    for url in ("posix:///no/such/place", "s3://bucket/p?endpoint=http://127.0.0.1:1"):
        with open_storage(url) as store:
            assert store.url.startswith(url.partition("?")[0])


def test_memory_is_shared_by_name_only() -> None:
    one, two, other = (open_storage(f"memory://{name}") for name in ("inputs", "inputs", ""))
    one.put("a", b"1")
    assert two.get("a") == b"1"
    assert not other.exists("a")
    assert pickle.loads(pickle.dumps(one)).get("a") == b"1"
    with pytest.raises(TypeError, match="unnamed"):
        pickle.dumps(MemoryStorage())
    one.close()
    assert two.get("a") == b"1", "closing one handle closes one handle"


@pytest.mark.parametrize("text", ["true", "YES", "1", "on", True])
def test_words_for_true(text: Any) -> None:
    assert parse_bool("x", text) is True
    with pytest.raises(ErrInvalidURL):
        parse_bool("x", f"{text}?")


@pytest.mark.parametrize("text", ["", "x", "nan", "-1", "11", "inf"])
def test_numbers_out_of_bounds(text: str) -> None:
    with pytest.raises(ErrInvalidURL, match="'n'"):
        parse_number("n", text, least=0, most=10)


@given(st.text())
def test_a_key_is_refused_or_kept_as_it_is(key: str) -> None:
    try:
        raw = check_key(key)
    except ErrInvalidKey as exc:
        assert exc.key == key
        assert (
            not key
            or key[0] == "/"
            or "\0" in key
            or any(0xD800 <= ord(c) < 0xE000 for c in key)
            or len(key.encode(errors="replace")) > 1024
        )
    else:
        assert raw.decode() == key


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("a/./b", "'.'"),
        ("a/..", "'..'"),
        ("a//b", "'//'"),
        ("a/", "ends in '/'"),
        ("a/" + "x" * 256, "256"),
        ("own/x", "own"),
        ("a\\b", r"\\"),
    ],
)
def test_refusals_name_the_segment(key: str, names: str) -> None:
    rules = KeyRules(False, False, False, 255, "refused", ("own",), 1024, frozenset("\\"))
    with pytest.raises(ErrInvalidKey, match=names.replace("..", r"\.\.")):
        rules.check(key)
    assert rules.check("own-not/x..y") == b"own-not/x..y"


@pytest.mark.parametrize(
    "metadata",
    [
        {"Owner": "x"},
        {"-a": "x"},
        {"": "x"},
        {"a_b": "x"},
        {"é": "x"},
        {"a": "é"},
        {"a": "x\r\nb: c"},
        {"a": " x"},
        {"a": "x "},
        {"a": ""},
        {"a": "\x7f"},
        {"a": 1},
        {"a": "x" * 2048},
    ],
)
def test_metadata_that_no_store_could_keep(metadata: Any) -> None:
    with pytest.raises(ErrInvalidMetadata):
        check_metadata(metadata)


@pytest.mark.parametrize("data", ["text", io.StringIO("x"), pathlib.Path("x"), 3, None, [1], ["x"]])
def test_what_is_no_data(data: Any) -> None:
    with pytest.raises(TypeError):
        as_source(data).read(10)


def test_bytes_like_data_is_not_copied() -> None:
    data = bytearray(b"hello")
    view = as_buffer(data, None)
    assert view is not None
    data[0] = ord("j")
    assert view.tobytes() == b"jello"
    gaps = as_buffer(memoryview(b"h-e-l-")[::2], None)
    assert gaps is not None
    assert gaps.tobytes() == b"hel"


def test_exactly_so_many_bytes_are_taken() -> None:
    file = io.BytesIO(b"hello, world")
    assert bytes(as_source(file, 5).read(100)) == b"hello"
    assert file.read() == b", world"
    with pytest.raises(ErrIntegrity, match="missing"):
        source = as_source(io.BytesIO(b"abc"), 5)
        while source.read(2):
            pass
    with pytest.raises(ErrIntegrity):
        as_source(b"abc", 5)
    with pytest.raises(ErrIntegrity, match="more"):
        as_source([b"abc", b"def"], 5).read(3) and as_source([b"abcdef"], 5).read(1)
    for size in (-1, 2.5, True, "3"):
        with pytest.raises((ErrBadRequest, TypeError)):
            as_source(b"abc", size)  # type: ignore[arg-type]  # the point of it


@given(st.lists(st.binary(max_size=5)), st.integers(1, 7))
def test_pieces_are_the_whole(chunks: list[bytes], n: int) -> None:
    source = as_source(iter(chunks))
    out = b""
    while piece := source.read(n):
        assert len(piece) <= n
        out += piece
    assert out == b"".join(chunks)


@given(st.integers(-20, 20), st.none() | st.integers(0, 20), st.integers(0, 10))
def test_ranges_cut_as_slices_do(start: int, end: int | None, size: int) -> None:
    data = bytes(range(size))
    try:
        first, stop = resolve_range(start, end, size)
    except ErrInvalidRange:
        assert start > size
    else:
        assert data[first:stop] == data[start:end]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9))), st.integers(0, 5))
def test_merged_ranges_cover_what_was_asked(pairs: list[tuple[int, int]], gap: int) -> None:
    ranges = [(start, start + length) for start, length in pairs]
    merged = coalesce(ranges, gap)
    assert merged == sorted(merged)
    assert all(a[1] + gap < b[0] for a, b in zip(merged, merged[1:], strict=False))
    for start, end in ranges:
        assert any(first <= start and end <= stop for first, stop in merged)


def test_the_base_package_imports_nothing_but_the_standard_library() -> None:
    script = (
        "import sys; from objectstorage import ErrNotExist, is_err_not_exist, open_storage;"
        "store = open_storage('memory://'); store.put('a', b'');"
        "print([m for m in ('minio', 'httptools', 'urllib3', 'fsspec', 'aiofiles', 'rich',"
        "'certifi', 'logging') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
