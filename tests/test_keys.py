"""What a key is, and metadata, without any store."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectstorage.errors import ErrInvalidKey, ErrInvalidMetadata
from objectstorage.keys import (
    MAX_KEY,
    MAX_METADATA,
    KeyRules,
    check_content_type,
    check_key,
    check_metadata,
    check_prefix,
    check_start_after,
)
from objectstorage.testing import hostile

STRICT = KeyRules(
    dot_segments=False,
    empty_segments=False,
    trailing_slash=False,
    max_segment=255,
    reserved=(".own",),
)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_any_text_that_utf8_holds_is_a_key(key: str) -> None:
    if key.startswith("/") or len(key.encode()) > MAX_KEY:
        with pytest.raises(ErrInvalidKey) as caught:
            check_key(key)
        assert caught.value.key == key
    else:
        assert check_key(key) == key.encode()


@given(st.text(max_size=30), st.text(max_size=30))
def test_code_points_sort_as_bytes(one: str, two: str) -> None:
    # what the listings of the local stores rely on
    try:
        raw_one, raw_two = one.encode(), two.encode()
    except UnicodeEncodeError:
        return
    assert (one < two) == (raw_one < raw_two)


@pytest.mark.parametrize("key", hostile.NO_KEYS, ids=ascii)
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(ErrInvalidKey) as caught:
        check_key(key)
    assert caught.value.key == key
    str(caught.value).encode()  # a surrogate must not break who prints it


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_limit_is_in_bytes(size: int) -> None:
    char = {1: "a", 2: "é", 3: "日", 4: "\U0001f600"}[size]
    longest = char * (MAX_KEY // size) + "a" * (MAX_KEY % size)
    assert len(check_key(longest)) == MAX_KEY
    with pytest.raises(ErrInvalidKey, match="1025"):
        check_key(longest + "a")


@pytest.mark.parametrize("key", [b"a", None, 1, ["a"]])
def test_keys_are_text(key: Any) -> None:
    for check in (check_key, check_prefix, KeyRules().check):
        with pytest.raises(TypeError):
            check(key)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("a//b", "empty segment"),
        ("a//", "ends in '/'"),
        ("a/", "ends in '/'"),
        (".", "'.'"),
        ("a/..", "'..'"),
        ("../b", "'..'"),
        ("a/./b", "'.'"),
        ("x" * 256, "256 bytes"),
        ("a/" + "é" * 128 + "/b", "256 bytes"),
        (".own", "'.own'"),
        (".own/a", "'.own'"),
    ],
)
def test_a_refusal_names_the_segment(key: str, says: str) -> None:
    with pytest.raises(ErrInvalidKey) as caught:
        STRICT.check(key)
    assert says in str(caught.value)
    assert caught.value.key == key
    assert KeyRules().check(key) == key.encode()


@pytest.mark.parametrize(
    "key", ["...", "..a", "a..", ".a/.b", "x" * 255, "a/.own", ".ownx", "a b", "é" * 127]
)
def test_what_looks_like_it_is_held(key: str) -> None:
    assert STRICT.check(key) == key.encode()


def test_rules_apply_one_by_one() -> None:
    with pytest.raises(ErrInvalidKey):
        KeyRules(trailing_slash=False).check("a/")
    KeyRules(trailing_slash=False).check("a//b")
    with pytest.raises(ErrInvalidKey):
        KeyRules(empty_segments=False).check("a//b")
    with pytest.raises(ErrInvalidKey):
        KeyRules(empty_segments=False).check("a//")
    KeyRules(empty_segments=False).check("a/")
    with pytest.raises(ErrInvalidKey):
        KeyRules(max_key=3).check("abcd")
    KeyRules(max_key=3).check("abc")
    with pytest.raises(ErrInvalidKey, match=r"\\\\"):
        KeyRules(refused=frozenset("\\")).check("a\\b")


def test_prefixes_and_starts() -> None:
    assert check_prefix("") == b""
    assert check_prefix("a//../") == b"a//../"
    for prefix in ("/", "/a", "a\0", "\ud800"):
        with pytest.raises(ErrInvalidKey):
            check_prefix(prefix)
    assert check_start_after(None) == ""
    assert check_start_after("/a") == "/a"
    for start in ("a\0", "\udfff"):
        with pytest.raises(ErrInvalidKey):
            check_start_after(start)
    with pytest.raises(TypeError):
        check_start_after(b"a")  # type: ignore[arg-type]  # the point of it


def test_metadata() -> None:
    given = {"a": "b", "a-1": " ".join("xy"), "0": "~!@#"}
    checked = check_metadata(given)
    assert checked == given
    assert checked is not given
    assert check_metadata(None) == check_metadata({}) == {}
    full = {"k": "v" * (MAX_METADATA - 1)}
    assert check_metadata(full) == full
    with pytest.raises(ErrInvalidMetadata, match="2049"):
        check_metadata({"k": "v" * MAX_METADATA})


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a b", "é", "a\n", "a:", "x-Amz"])
def test_what_is_no_metadata_name(name: str) -> None:
    with pytest.raises(ErrInvalidMetadata):
        check_metadata({name: "v"})


@pytest.mark.parametrize("value", ["", " a", "a ", "\t", "é", "a\nb", "a\r", "\x00", "\x7f"])
def test_what_is_no_metadata_value(value: str) -> None:
    with pytest.raises(ErrInvalidMetadata):
        check_metadata({"n": value})


def test_a_bad_value_is_not_shown() -> None:
    for value in ("s3cret\n", " s3cret", "s3cret" * 1000):
        with pytest.raises(ErrInvalidMetadata) as caught:
            check_metadata({"token": value})
        assert "s3cret" not in str(caught.value)
        assert "s3cret" not in repr(caught.value)


def test_content_types() -> None:
    assert check_content_type(None) is None
    assert check_content_type("text/plain; charset=utf-8") == "text/plain; charset=utf-8"
    assert check_content_type("x" * 255) == "x" * 255
    bad: Any
    for bad in ("", "x" * 256, "é", " a", "a\r\nb", 5, b"a"):
        with pytest.raises(ErrInvalidMetadata):
            check_content_type(bad)
