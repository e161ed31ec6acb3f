"""Reading: ranges, files, one version from first byte to last (contract, section 5)."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from objectstorage.errors import (
    ErrBadRequest,
    ErrInvalidRange,
    ErrNotExist,
    ErrNotModified,
    ErrPreconditionFailed,
)
from objectstorage.storage import Storage
from objectstorage.testing.suite.base import SuiteBase, refused

__all__ = ["Reading"]

DIGITS = b"0123456789"
STARTS = [-11, -10, -9, -1, 0, 1, 9, 10]
ENDS = [None, 0, 1, 9, 10, 11, 10**12]

ABSENT: dict[str, Callable[[Storage, str], Any]] = {
    "get": lambda store, key: store.get(key),
    "fetch": lambda store, key: store.fetch(key),
    "fetch a range": lambda store, key: store.fetch(key, start=1, end=2),
    "fetch a version": lambda store, key: store.fetch(key, if_match="x"),
    "get_range": lambda store, key: store.get_range(key, start=-2, length=1),
    "get_ranges": lambda store, key: store.get_ranges(key, starts=[0], lengths=[1]),
    "stat": lambda store, key: store.stat(key),
    "open": lambda store, key: store.open(key),
    "stream": lambda store, key: next(iter(store.stream(key))),
    "copy": lambda store, key: store.copy(key, "copied"),
    "move": lambda store, key: store.move(key, "moved"),
    "copy onto itself": lambda store, key: store.copy(key, key),
    "delete": lambda store, key: store.delete(key, must_exist=True),
}


class Reading(SuiteBase):
    """`get`, `fetch`, ranges, `open`, `stream`, `stat`."""

    @pytest.mark.parametrize("verb", ABSENT)
    def test_what_is_not_there(self, store: Storage, verb: str) -> None:
        store.put("d/x", b"data")
        # neither nothing at all nor what looks like a directory is an object
        for key in ("none", "d", "d/none", "n/o/n/e"):
            with refused(store, ErrNotExist, key) as caught:
                ABSENT[verb](store, key)
            assert isinstance(caught.value, FileNotFoundError)
            assert not store.exists(key)
        assert [info.key for info in store.list()] == ["d/x"]

    def test_below_an_object(self, store: Storage) -> None:
        store.put("a", b"data")
        assert not store.exists("a/b")
        with refused(store, ErrNotExist, "a/b/c"):
            store.get("a/b/c")
        store.delete("a/b")
        assert store.get("a") == b"data"

    def test_exists(self, store: Storage) -> None:
        assert store.exists("k") is False
        store.put("k", b"")
        assert store.exists("k") is True

    def test_fetch_gives_bytes_and_version(self, store: Storage) -> None:
        result = store.put("k", DIGITS)
        fetched = store.fetch("k", start=2, end=4)
        assert fetched.data == b"23"
        assert type(fetched.data) is bytes
        assert fetched.info.key == "k"
        assert (fetched.info.size, fetched.info.etag) == (10, result.etag)
        assert fetched.info == store.stat("k")

    # -- ranges ----------------------------------------------------------------

    def test_ranges(self, store: Storage) -> None:
        store.put("k", DIGITS)
        for start in STARTS:
            for end in ENDS:
                first = max(0, start + 10) if start < 0 else start
                expected = DIGITS[first : 10 if end is None else end]
                assert store.fetch("k", start=start, end=end).data == expected, (start, end)
                assert store.get_range("k", start=start, end=end) == expected, (start, end)

    @pytest.mark.parametrize("start", [11, 12, 10**12])
    def test_ranges_that_start_beyond_the_end(self, store: Storage, start: int) -> None:
        store.put("k", DIGITS)
        for end in (None, start, start + 1):
            with refused(store, ErrInvalidRange, "k"):
                store.fetch("k", start=start, end=end)
        with refused(store, ErrInvalidRange, "k"):
            store.get_range("k", start=start, length=0)

    @pytest.mark.parametrize("child", [False, True])
    def test_ranges_of_an_empty_object(self, store: Storage, child: bool) -> None:
        store.put("k", b"")
        if child and store.probe().key_rules.parent_child != "refused":
            store.put("k/child", b"data")
        for start in (0, -1, -5):
            assert store.fetch("k", start=start).data == b""
            assert store.fetch("k", start=start, end=3).data == b""
        with refused(store, ErrInvalidRange, "k"):
            store.fetch("k", start=1)

    def test_lengths(self, store: Storage) -> None:
        store.put("k", DIGITS)
        for start in STARTS:
            for length in (0, 1, 3, 10, 11, 10**12):
                first = max(0, start + 10) if start < 0 else start
                # "the last eleven bytes" begin before the object does
                expected = DIGITS[first : first + length]
                assert store.get_range("k", start=start, length=length) == expected

    def test_what_is_no_range(self, store: Storage) -> None:
        store.put("k", DIGITS)
        with refused(store, ErrInvalidRange, "k"):
            store.fetch("k", start=0, end=-1)
        with refused(store, ErrInvalidRange, "k"):
            store.get_range("k", start=0, length=-1)
        with refused(store, ErrInvalidRange, "k"):
            store.get_range("k", start=0, end=1, length=1)
        wrong: Any
        for wrong in ("1", 1.0, None):
            with pytest.raises(TypeError):
                store.fetch("k", start=wrong)
        for wrong in ("1", 1.0):
            with pytest.raises(TypeError):
                store.fetch("k", end=wrong)
            with pytest.raises(TypeError):
                store.get_range("k", start=0, length=wrong)

    def test_get_ranges(self, store: Storage) -> None:
        data = bytes(range(256)) * 2048
        size = len(data)
        store.put("k", data)
        # in the order asked for: far apart, overlapping, repeated, empty, cut
        starts = [size - 5, 0, 3, 1, 300_000, 0, size, 10, size - 2]
        lengths = [5, 4, 4, 10, 70_000, 4, 7, 0, 100]
        ends = [start + length for start, length in zip(starts, lengths, strict=True)]
        expected = [data[start:end] for start, end in zip(starts, ends, strict=True)]
        assert store.get_ranges("k", starts=starts, lengths=lengths) == expected
        assert store.get_ranges("k", starts=starts, ends=ends) == expected
        assert store.get_ranges("k", starts=[], ends=[]) == []

    def test_what_get_ranges_refuses(self, store: Storage) -> None:
        store.put("k", DIGITS)
        with refused(store, ErrInvalidRange, "k"):
            store.get_ranges("k", starts=[0, 11], lengths=[1, 1])
        with refused(store, ErrInvalidRange, "k"):
            store.get_ranges("k", starts=[-1], lengths=[1])
        with refused(store, ErrInvalidRange, "k"):
            store.get_ranges("k", starts=[5], ends=[4])
        with refused(store, ErrBadRequest, "k"):
            store.get_ranges("k", starts=[0])
        with refused(store, ErrBadRequest, "k"):
            store.get_ranges("k", starts=[0], ends=[1], lengths=[1])
        with refused(store, ErrBadRequest, "k"):
            store.get_ranges("k", starts=[0, 1], lengths=[1])

    # -- conditional reading ---------------------------------------------------

    def test_conditional_fetch(self, store: Storage) -> None:
        old = store.put("k", b"old").etag
        assert store.fetch("k", if_match=old).data == b"old"
        with refused(store, ErrNotModified, "k"):
            store.fetch("k", if_none_match=old)
        new = store.put("k", b"new").etag
        assert store.fetch("k", if_none_match=old).data == b"new"
        assert store.fetch("k", if_match=new, start=1).data == b"ew"
        with refused(store, ErrPreconditionFailed, "k"):
            store.fetch("k", if_match=old)
        for etag in ("*", '"', "é", "a\nb"):
            with refused(store, ErrPreconditionFailed, "k"):
                store.fetch("k", if_match=etag)
            assert store.fetch("k", if_none_match=etag).data == b"new"

    def test_conditions_that_are_none(self, store: Storage) -> None:
        store.put("k", b"data")
        none: Any = None
        for name in ("if_match", "if_none_match"):
            with pytest.raises(TypeError):
                store.fetch("k", **{name: none})
            with refused(store, ErrBadRequest, "k"):
                store.fetch("k", **{name: ""})  # type: ignore[arg-type]  # mypy sees start, end

    # -- files -----------------------------------------------------------------

    def test_open(self, store: Storage) -> None:
        result = store.put("k", b"line one\nline two\n")
        with store.open("k") as reader:
            assert reader.readable()
            assert reader.seekable()
            assert not reader.writable()
            assert (reader.info.key, reader.info.etag) == ("k", result.etag)
            assert reader.read(4) == b"line"
            assert reader.tell() == 4
            assert reader.seek(-4, io.SEEK_END) == 14
            buffer = bytearray(10)
            assert reader.readinto(buffer) == 4
            assert bytes(buffer[:4]) == b"two\n"
            assert reader.read() == b""
            assert reader.seek(5) == 5
            assert reader.seek(1, io.SEEK_CUR) == 6
            assert reader.read(2) == b"ne"
            reader.seek(0)
            assert list(reader) == [b"line one\n", b"line two\n"]
            assert reader.seek(1000) == 1000
            assert reader.read(1) == b""
            with pytest.raises((ValueError, OSError)):
                reader.seek(-1)
        assert reader.closed
        with pytest.raises(ValueError):
            reader.read(1)

    def test_an_empty_object_as_a_file(self, store: Storage) -> None:
        store.put("k", b"")
        with store.open("k") as reader:
            assert reader.read() == b""
            assert reader.seek(0, io.SEEK_END) == 0
        assert list(store.stream("k")) == []

    def test_a_large_object_as_a_file(self, store: Storage) -> None:
        data = bytes(range(251)) * 12_000
        store.put("k", data)
        with store.open("k") as reader:
            for start, count in [(0, 10), (2_999_000, 5000), (5, 1_000_000), (1_500_000, 1)]:
                reader.seek(start)
                assert reader.read(count) == data[start : start + count]
            reader.seek(0)
            assert reader.read() == data

    @pytest.mark.parametrize("chunk_size", [1, 7, 1000, 10**9])
    def test_stream(self, store: Storage, chunk_size: int) -> None:
        data = bytes(range(100))
        store.put("k", data)
        chunks = list(store.stream("k", chunk_size=chunk_size))
        assert b"".join(chunks) == data
        assert all(0 < len(chunk) <= chunk_size for chunk in chunks)

    def test_what_is_no_chunk_size(self, store: Storage) -> None:
        store.put("k", b"data")
        for chunk_size in (0, -1):
            with pytest.raises(ErrBadRequest):
                list(store.stream("k", chunk_size=chunk_size))

    def test_a_stream_left_early(self, store: Storage) -> None:
        data = bytes(3_000_000)
        store.put("k", data)
        for _ in range(3):
            stream: Any = store.stream("k", chunk_size=1000)
            assert len(next(stream)) == 1000
            stream.close()
        assert store.get("k") == data

    # -- one version -----------------------------------------------------------

    @pytest.mark.parametrize("change", ["replaced", "deleted"])
    @pytest.mark.parametrize("verb", ["open", "stream", "download"])
    def test_one_version_to_the_end(
        self, store: Storage, tmp_path: Path, verb: str, change: str
    ) -> None:
        old = b"o" * 6_000_000
        store.put("k", old)
        changed = False

        def disturb(*_: Any) -> None:
            nonlocal changed
            if not changed:
                changed = True
                if change == "replaced":
                    store.put("k", b"n" * 6_000_000)
                else:
                    store.delete("k")

        def read() -> bytes:
            if verb == "open":
                with store.open("k") as reader:
                    first = reader.read(10)
                    disturb()
                    return first + reader.read()
            if verb == "stream":
                pieces = []
                for chunk in store.stream("k", chunk_size=1000):
                    disturb()
                    pieces.append(chunk)
                return b"".join(pieces)
            store.download("k", tmp_path / "target", progress=disturb)
            return (tmp_path / "target").read_bytes()

        # The old bytes go on, or the store says that it can't: never a mix.
        stopped = (ErrPreconditionFailed,) if change == "replaced" else (ErrNotExist,)
        try:
            data = read()
        except (ErrPreconditionFailed, *stopped):
            data = None
        assert data in (None, old)
        assert (tmp_path / "target").exists() == (verb == "download" and data is not None)
        assert changed
        assert store.exists("k") == (change == "replaced")
