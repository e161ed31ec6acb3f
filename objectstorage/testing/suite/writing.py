"""Writing: what goes in comes out, whole or not at all (contract, section 4)."""

from __future__ import annotations

import io
import itertools
import time
from array import array
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from objectstorage.errors import (
    ErrBadRequest,
    ErrIntegrity,
    ErrInvalidMetadata,
    ErrTimeout,
    ErrUnsupported,
    as_,
)
from objectstorage.storage import PutResult, Storage
from objectstorage.testing.suite.base import SuiteBase, keys_of, refused

__all__ = ["Writing"]


class Boom(Exception):
    """What a caller's own source may raise."""


class Trickle(io.RawIOBase):
    """A binary file that can't seek and gives a few bytes at a time, as a pipe does."""

    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        count = min(7, len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


DATA = bytes(range(256)) * 5

KINDS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "view of numbers": lambda data: memoryview(array("I", data)),
    "view with gaps": lambda data: memoryview(b"".join(bytes([b, 0]) for b in data))[::2],
    "array": lambda data: array("B", data),
    "binary file": io.BytesIO,
    "buffered file": lambda data: io.BufferedReader(Trickle(data)),
    "raw file": Trickle,
    "list": lambda data: [data[:100], data[100:]],
    "generator": lambda data: (data[i : i + 1] for i in range(len(data))),
    "empty chunks": lambda data: [b"", data[:9], b"", b"", data[9:], b""],
    "chunks of views": lambda data: iter([memoryview(data)[:50], bytearray(data[50:])]),
}

NO_DATA: dict[str, Callable[[Path], Any]] = {
    "str": lambda path: "text",
    "text in memory": lambda path: io.StringIO("text"),
    "text file": lambda path: io.TextIOWrapper(io.BytesIO(b"text")),
    "path": lambda path: path,
    "None": lambda path: None,
    "int": lambda path: 5,
    "chunks of str": lambda path: ["text"],
    "chunks of int": lambda path: [1, 2, 3],
    "object": lambda path: object(),
}

BAD_METADATA: list[Any] = [
    {"Upper": "x"},
    {"under_score": "x"},
    {"": "x"},
    {"-a": "x"},
    {"a b": "x"},
    {"é": "x"},
    {"a": "é"},
    {"a": ""},
    {"a": "line\nbreak"},
    {"a": " outer"},
    {"a": "outer "},
    {"a": "\x7f"},
    {"a": 1},
    {"a": "x" * 2048},
]


class Writing(SuiteBase):
    """`put`: sources, sizes, atomicity, ETags, metadata."""

    def test_put_says_what_it_made(self, store: Storage) -> None:
        result = store.put("logs/1", b"hello")
        assert isinstance(result, PutResult)
        assert (result.key, result.size) == ("logs/1", 5)
        assert store.get("logs/1") == b"hello"
        info = store.stat("logs/1")
        assert (info.key, info.size, info.etag) == ("logs/1", 5, result.etag)

    def test_put_replaces_the_whole_object(self, store: Storage) -> None:
        store.put("k", b"long old content")
        store.put("k", b"new")
        assert store.get("k") == b"new"
        assert keys_of(store.list()) == ["k"]

    def test_empty_object(self, store: Storage) -> None:
        assert store.put("k", b"").size == 0
        assert store.get("k") == b""
        assert store.stat("k").size == 0
        assert store.put("k", iter([])).size == 0
        assert keys_of(store.list()) == ["k"]

    @pytest.mark.parametrize("kind", KINDS)
    def test_data_of_every_kind(self, store: Storage, kind: str) -> None:
        data = KINDS[kind](DATA)
        expected = data.tobytes() if kind == "view of numbers" else DATA
        assert store.put("k", data).size == len(expected)
        assert store.get("k") == expected

    def test_data_that_changes_later(self, store: Storage) -> None:
        data = bytearray(b"before")
        store.put("k", data)
        data[:] = b"after!"
        assert store.get("k") == b"before"

    def test_a_file_is_taken_from_where_it_stands(self, store: Storage, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(DATA)
        with path.open("rb") as file:
            file.seek(100)
            assert store.put("k", file).size == len(DATA) - 100
        assert store.get("k") == DATA[100:]

    @pytest.mark.parametrize("kind", NO_DATA)
    def test_what_is_no_data(self, store: Storage, tmp_path: Path, kind: str) -> None:
        store.put("k", b"old")
        with pytest.raises(TypeError):
            store.put("k", NO_DATA[kind](tmp_path))
        assert store.get("k") == b"old"
        assert keys_of(store.list()) == ["k"]

    # -- size ------------------------------------------------------------------

    def test_size_leaves_the_rest_unread(self, store: Storage) -> None:
        file = io.BytesIO(DATA)
        assert store.put("file", file, size=10).size == 10
        assert store.get("file") == DATA[:10]
        assert file.tell() == 10
        assert store.put("trickle", Trickle(DATA), size=100).size == 100
        assert store.get("trickle") == DATA[:100]
        chunks = iter([b"ab", b"cd", b"ef"])
        assert store.put("chunks", chunks, size=4).size == 4
        assert list(chunks) == [b"ef"]
        assert store.put("bytes", DATA, size=10).size == 10
        assert store.get("bytes") == DATA[:10]
        assert store.put("none", iter([b"a"]), size=0).size == 0
        assert store.get("none") == b""

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "view of numbers"])
    def test_too_few_bytes(self, store: Storage, kind: str) -> None:
        store.put("old", b"old")
        for key in ("old", "new"):
            with refused(store, ErrIntegrity, key):
                store.put(key, KINDS[kind](DATA), size=len(DATA) + 1)
        assert store.get("old") == b"old"
        assert keys_of(store.list()) == ["old"]

    def test_sizes_that_mean_nothing(self, store: Storage) -> None:
        with refused(store, ErrBadRequest, "k"):
            store.put("k", b"data", size=-1)
        for size in ("4", 4.0, True):
            with pytest.raises(TypeError):
                store.put("k", b"data", size=size)  # type: ignore[arg-type]  # the point of it
        assert not store.exists("k")

    # -- atomicity -------------------------------------------------------------

    @pytest.mark.parametrize("parts", [0, 1, 3])
    def test_a_source_that_fails_midway(self, store: Storage, parts: int) -> None:
        def chunks() -> Iterator[bytes]:
            for _ in range(parts):
                yield bytes(self.part_size)
            yield b"a little more"
            raise Boom

        class Failing(io.RawIOBase):
            source = chunks()

            def readable(self) -> bool:
                return True

            def read(self, n: int = -1, /) -> bytes:
                # at most what was asked for, in pieces of any size
                return next(self.source)[: n if n >= 0 else None]

        store.put("old", b"old")
        for key in ("old", "new"):
            for source in (chunks(), Failing()):
                with pytest.raises(Exception) as caught:
                    store.put(key, source)
                assert as_(caught.value, Boom) is not None
            Failing.source = chunks()
        assert store.get("old") == b"old"
        assert keys_of(store.list()) == ["old"]
        assert list(store.list_uploads()) == []

    @pytest.mark.parametrize("extra", [-1, 0, 1])
    @pytest.mark.parametrize("parts", [1, 2])
    def test_streams_at_the_boundaries_of_parts(
        self, store: Storage, parts: int, extra: int
    ) -> None:
        size = parts * self.part_size + extra
        data = (b"0123456789abcdef!" * (size // 17 + 1))[:size]
        step = 100_003

        def chunks() -> Iterator[bytes]:
            for i in range(0, size, step):
                yield data[i : i + step]

        assert store.put("unknown", chunks()).size == size
        assert store.get("unknown") == data
        assert store.put("known", chunks(), size=size).size == size
        assert store.get("known") == data
        assert store.put("file", io.BytesIO(data)).size == size
        assert store.get("file") == data
        assert [info.size for info in store.list()] == [size] * 3
        with refused(store, ErrIntegrity, "short"):
            store.put("short", chunks(), size=size + 1)
        assert not store.exists("short")

    def test_a_source_slower_than_the_deadline(self, store: Storage) -> None:
        def endless() -> Iterator[bytes]:
            # Ends by itself, so that a store which forgets its deadline fails
            # the test instead of filling the memory.
            end = time.monotonic() + 20
            while time.monotonic() < end:
                yield b"x" * 100

        store.put("k", b"old")
        with refused(store, ErrTimeout, "k"):
            store.put("k", endless(), timeout=0.05)
        assert store.get("k") == b"old"
        assert store.put("k", b"new", timeout=60).size == 3

    @pytest.mark.parametrize("durable", [True, False, None])
    def test_durable_is_taken(self, store: Storage, durable: bool | None) -> None:
        store.put("k", b"data", durable=durable)
        assert store.get("k") == b"data"
        with store.writer("w", durable=durable) as writer:
            writer.write(b"data")
        assert store.get("w") == b"data"

    # -- ETags and times -------------------------------------------------------

    def test_one_etag_everywhere(self, store: Storage) -> None:
        etag = store.put("k", b"data").etag
        assert etag
        assert isinstance(etag, str)
        assert not etag.startswith(('"', "W/"))
        assert store.stat("k").etag == etag
        assert store.fetch("k").info.etag == etag
        assert next(iter(store.list())).etag == etag
        with store.open("k") as reader:
            assert reader.info.etag == etag
        big = store.put("big", itertools.repeat(b"x" * 1000, self.part_size // 500))
        assert store.stat("big").etag == big.etag

    def test_etags_tell_versions_apart(self, store: Storage) -> None:
        first = store.put("k", b"one")
        second = store.put("k", b"two")
        assert first.etag != second.etag
        if store.probe().etag_kind == "version":
            etags = [store.put("k", b"same").etag for _ in range(50)]
            assert len({first.etag, second.etag, *etags}) == 52
            assert store.stat("k").etag == etags[-1]

    def test_last_modified_is_the_stores_time(self, store: Storage) -> None:
        before = store.clock()
        assert before.utcoffset() == timedelta(0)
        store.put("k", b"data")
        modified = store.stat("k").last_modified
        assert modified.utcoffset() == timedelta(0)
        # two seconds: servers tell whole ones, and their clocks have several hands
        slack = timedelta(seconds=2)
        assert before - slack <= modified <= store.clock() + slack

    # -- metadata --------------------------------------------------------------

    def test_metadata(self, store: Storage) -> None:
        metadata = {"owner": "ci", "a-b-1": "=?; \"quoted\" 'text', %20"}
        if not store.probe().metadata:
            with refused(store, ErrUnsupported, "k"):
                store.put("k", b"data", metadata=metadata)
            with refused(store, ErrUnsupported, "k"):
                store.put("k", b"data", content_type="text/plain")
            assert not store.exists("k")
            return
        given = dict(metadata)
        store.put("k", b"data", content_type="text/plain; charset=utf-8", metadata=given)
        given["owner"] = "changed"
        for info in (store.stat("k"), store.fetch("k").info):
            assert info.metadata == metadata
            assert info.content_type == "text/plain; charset=utf-8"
        with store.open("k") as reader:
            assert reader.info.metadata == metadata
        store.put("k", b"data", metadata={"x": "y"})
        assert store.stat("k").metadata == {"x": "y"}
        store.put("k", b"data")
        assert store.stat("k").metadata == {}
        assert store.stat("k").content_type is None

    def test_metadata_with_parts(self, store: Storage) -> None:
        if not store.probe().metadata:
            with refused(store, ErrUnsupported, "k"):
                store.writer("k", metadata={"a": "b"})
            return
        chunks = itertools.repeat(bytes(100_000), 2 * self.part_size // 100_000 + 1)
        store.put("k", chunks, content_type="x/y", metadata={"owner": "ci"})
        info = store.stat("k")
        assert (info.content_type, info.metadata) == ("x/y", {"owner": "ci"})
        with store.writer("w", content_type="x/z", metadata={"owner": "me"}) as writer:
            writer.write(b"data")
        info = store.stat("w")
        assert (info.content_type, info.metadata) == ("x/z", {"owner": "me"})

    def test_as_much_metadata_as_may_be(self, store: Storage) -> None:
        metadata = {"a": "x" * 2047}
        if store.probe().metadata:
            store.put("k", b"data", metadata=metadata)
            assert store.stat("k").metadata == metadata
        else:
            with refused(store, ErrUnsupported, "k"):
                store.put("k", b"data", metadata=metadata)

    @pytest.mark.parametrize("metadata", BAD_METADATA, ids=repr)
    def test_what_is_no_metadata(self, store: Storage, metadata: Any) -> None:
        with refused(store, ErrInvalidMetadata, "k"):
            store.put("k", b"data", metadata=metadata)
        with refused(store, ErrInvalidMetadata, "k"):
            store.writer("k", metadata=metadata)
        assert not store.exists("k")

    @pytest.mark.parametrize("content_type", ["", "é", "a\nb", " a", "a" * 256])
    def test_what_is_no_content_type(self, store: Storage, content_type: str) -> None:
        with refused(store, ErrInvalidMetadata, "k"):
            store.put("k", b"data", content_type=content_type)
        assert not store.exists("k")
