"""From URLs and options to stores, with nothing secret shown."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from objectstorage import ErrInvalidURL, open_storage
from objectstorage.memory import MemoryStorage
from objectstorage.urls import SCHEMES, parse_bool, parse_number, split_url


def test_the_stores_that_can_be_chosen(tmp_path: Any) -> None:
    assert isinstance(open_storage("memory://"), MemoryStorage)
    assert type(open_storage(f"posix://{tmp_path}")).__name__ == "PosixStorage"
    store = open_storage("s3://bucket/p", access_key="a", secret_key="b")
    assert type(store).__name__ == "S3Storage"
    assert set(SCHEMES) == {"memory", "posix", "s3"}


def test_nothing_happens_when_a_store_is_opened(tmp_path: Any) -> None:
    # an address that never answers, and a directory that is not there
    open_storage("s3://bucket/p?endpoint=http://192.0.2.1:9", access_key="a", secret_key="b")
    open_storage(f"posix://{tmp_path}/none")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "posixflat:///tmp",
        "posixflat:/tmp",
        "file:///tmp",
        "http://x",
        "objectstorage.posixflat:///x",
        "S4://b",
    ],
)
def test_other_schemes_name_what_there_is(url: str) -> None:
    with pytest.raises(ErrInvalidURL) as caught:
        open_storage(url)
    for scheme in ("memory", "posix", "s3"):
        assert scheme in str(caught.value)
    assert "posixflat" not in str(caught.value).replace(repr(url.partition(":")[0]), "").replace(
        "objectstorage.posixflat", ""
    )


@pytest.mark.parametrize("url", ["", "memory", "/tmp", "://x", "a/b:c", "C", "tmp/x"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ErrInvalidURL, match="begins with one of memory:"):
        open_storage(url)


@pytest.mark.parametrize("url", [b"memory://", None, 5])
def test_a_url_is_text(url: Any) -> None:
    with pytest.raises(TypeError):
        open_storage(url)


def test_parts_of_a_url() -> None:
    assert split_url("s3://b/p/q?region=x&durable=false") == (
        "s3",
        "b",
        "/p/q",
        {"region": "x", "durable": "false"},
    )
    assert split_url("posix:///a%20b/%3F%23%25", {"x": 1}) == ("posix", "", "/a b/?#%", {"x": 1})
    assert split_url("posix:rel/path") == ("posix", "", "rel/path", {})
    assert split_url("MEMORY://Name") == ("memory", "Name", "", {})
    assert split_url("s3://b/a@b") == ("s3", "b", "/a@b", {})
    assert split_url("s3://b/p?endpoint=http://h:1/&region=") == (
        "s3",
        "b",
        "/p",
        {"endpoint": "http://h:1/", "region": ""},
    )


@pytest.mark.parametrize(
    "url",
    [
        "s3://b/p#f",
        "s3://b/p?region=x#f",
        "s3://b/p?region",
        "s3://b/p?=x&&",
        "s3://b/%ff",
        "posix:///a%00b",
        "s3://b%00/x",
        "s3://b/p?region=a&region=b",
        "memory://name/path",
    ],
)
def test_urls_that_mean_nothing(url: str) -> None:
    with pytest.raises(ErrInvalidURL):
        open_storage(url)


def test_unknown_options_are_refused_by_name() -> None:
    with pytest.raises(ErrInvalidURL, match="'colour'"):
        open_storage("memory://?colour=red")
    with pytest.raises(ErrInvalidURL, match="'size'.*durable"):
        open_storage("posix:///tmp", size=5)
    with pytest.raises(ErrInvalidURL, match="twice"):
        open_storage("s3://bucket/?region=a", region="b")


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:s3cret@bucket/p",
        "s3://s3cret@bucket",
        "s3://bucket/p?secret_key=s3cret",
        "s3://bucket/p?access_key=s3cret",
        "s3://bucket/p?Session_Token=s3cret",
        "s3://bucket/p?SECRET_KEY=s3cret&region=x",
        "s3://bucket/p?endpoint=http://u:s3cret@host",
        "posix://u:s3cret@h/p",
    ],
)
def test_secrets_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ErrInvalidURL) as caught:
        open_storage(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in str(error)
        assert "s3cret" not in repr(error)
        error = error.__cause__ or error.__context__


def test_a_store_shows_no_secret() -> None:
    store = open_storage(
        "s3://bucket/p?region=eu-west-1", access_key="AKIDvisible", secret_key="s3cret"
    )
    for text in (store.url, repr(store), str(store)):
        assert "s3cret" not in text
        assert "AKIDvisible" not in text
        assert "bucket" in text


def test_one_prefix_with_and_without_its_slash() -> None:
    stores = [
        open_storage(url, access_key="a", secret_key="b") for url in ("s3://bkt/p", "s3://bkt/p/")
    ]
    assert stores[0].url == stores[1].url


def test_booleans() -> None:
    for value in (True, "true", "TRUE", "yes", "1", "on", 1):
        assert parse_bool("x", value) is True
    for value in (False, "false", "No", "0", "off", 0):
        assert parse_bool("x", value) is False
    for value in ("", "2", None, "maybe", 1.5):
        with pytest.raises(ErrInvalidURL, match="'x'"):
            parse_bool("x", value)


def test_numbers() -> None:
    assert parse_number("x", "1.5") == 1.5
    assert parse_number("x", "3", int) == 3
    for value in ("", "a", None, "nan", "-1", "1e400x"):
        with pytest.raises(ErrInvalidURL, match="'x'"):
            parse_number("x", value)
    for value in ("0", 11, "2.5"):
        with pytest.raises(ErrInvalidURL):
            parse_number("x", value, int, least=1, most=10)


def test_nothing_is_imported_until_used() -> None:
    code = (
        "import sys, objectstorage; objectstorage.open_storage('memory://').put('a', b'b'); "
        "print([m for m in ('minio', 'httptools', 'asyncio', 'ssl', 'rich') if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stdout.strip() == "[]"
