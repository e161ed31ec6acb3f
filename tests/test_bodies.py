"""One way to take bytes from anything: sources, buffers, sizes."""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectstorage.bodies import Source, as_buffer, as_source
from objectstorage.errors import ErrBadRequest, ErrIntegrity


def drain(source: Source, step: int = 3) -> bytes:
    pieces = []
    while piece := source.read(step):
        assert len(piece) <= step
        pieces.append(bytes(piece))
    assert not source.read(step), "the end is the end"
    return b"".join(pieces)


class Pipe(io.RawIOBase):
    """A file that can't seek."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        piece = self.rest[: len(buffer)]
        buffer[: len(piece)] = piece
        self.rest = self.rest[len(piece) :]
        return len(piece)


@given(st.lists(st.binary(max_size=9), max_size=9), st.integers(1, 10))
def test_all_kinds_give_the_same_bytes(chunks: list[bytes], step: int) -> None:
    data = b"".join(chunks)
    for given_data in (data, bytearray(data), io.BytesIO(data), Pipe(data), chunks, iter(chunks)):
        assert drain(as_source(given_data), step) == data
    for again in (data, io.BytesIO(data), Pipe(data), chunks):
        assert drain(as_source(again, len(data)), step) == data


def test_sizes() -> None:
    assert as_source(b"abc").size == 3
    assert as_source(io.BytesIO(b"abc")).size == 3
    assert as_source(Pipe(b"abc")).size is None
    assert as_source([b"abc"]).size is None
    assert as_source([b"abc"], 3).size == 3
    file = io.BytesIO(b"abcdef")
    file.seek(2)
    source = as_source(file)
    assert source.size == 4
    assert file.tell() == 2
    assert drain(source) == b"cdef"
    file.seek(100)
    assert as_source(file).size == 0


@pytest.mark.parametrize("make", [bytes, io.BytesIO, Pipe, lambda data: iter([data[:2], data[2:]])])
def test_a_promise_that_is_not_kept(make: Any) -> None:
    with pytest.raises(ErrIntegrity):
        drain(as_source(make(b"abcd"), 5))


def test_the_rest_stays_unread() -> None:
    file = io.BytesIO(b"abcdef")
    assert drain(as_source(file, 4)) == b"abcd"
    assert file.read() == b"ef"
    pipe = Pipe(b"abcdef")
    assert drain(as_source(pipe, 4)) == b"abcd"
    assert pipe.rest == b"ef"
    chunks = iter([b"ab", b"cd", b"ef"])
    assert drain(as_source(chunks, 4)) == b"abcd"
    assert next(chunks) == b"ef"
    assert drain(as_source(b"abcdef", 4)) == b"abcd"
    # a chunk can't be cut without losing its rest
    with pytest.raises(ErrIntegrity):
        drain(as_source(iter([b"abc", b"def"]), 4))


def test_rewinding() -> None:
    def file() -> io.BytesIO:
        opened = io.BytesIO(b"abcdef")
        opened.seek(1)
        return opened

    for source in (as_source(b"bcdef"), as_source(file()), as_source(file(), 5)):
        assert source.rewindable
        assert source.read(2) == b"bc"
        source.rewind()
        assert drain(source) == b"bcdef"
        source.rewind()
        assert drain(source) == b"bcdef"
    for once in (as_source(Pipe(b"abc")), as_source([b"abc"])):
        assert not once.rewindable
        with pytest.raises(ErrBadRequest):
            once.rewind()


def test_buffers_are_not_copied() -> None:
    data = bytearray(b"abcdef")
    view = as_buffer(data, None)
    assert view is not None
    data[0] = ord("x")
    assert bytes(view) == b"xbcdef"
    cut = as_buffer(data, 2)
    assert cut is not None
    assert bytes(cut) == b"xb"
    assert as_source(b"abc").in_memory
    assert not as_source([b"abc"]).in_memory


def test_buffers_of_other_shapes() -> None:
    numbers = array("I", [1, 2])
    assert as_buffer(numbers, None) == numbers.tobytes()
    gaps = memoryview(b"a-b-c-")[::2]
    assert as_buffer(gaps, None) == b"abc"
    assert as_buffer(memoryview(b"abcd").cast("B", (2, 2)), None) == b"abcd"
    assert as_buffer([b"a"], None) is None
    assert as_buffer(io.BytesIO(), None) is None


@pytest.mark.parametrize("size", [-1, True, 4.0, "4"])
@pytest.mark.parametrize("data", [b"data", [b"data"]])
def test_what_is_no_size(data: Any, size: Any) -> None:
    kind = ErrBadRequest if size == -1 else TypeError
    with pytest.raises(kind):
        as_source(data, size)
    if data == b"data":
        with pytest.raises(kind):
            as_buffer(data, size)


def test_what_is_no_data(tmp_path: Any) -> None:
    for data in ("text", tmp_path, io.StringIO("text"), None, 5, object()):
        with pytest.raises(TypeError):
            as_source(data)

    class TextFile:
        def read(self, n: int) -> str:
            return "text"

    class NotReady:
        def read(self, n: int) -> None:
            return None

    late: list[Any] = [TextFile(), NotReady(), ["text"], [5], iter([b"ok", "text"])]
    for data in late:
        with pytest.raises(TypeError):
            drain(as_source(data), 100)


def test_files_that_misbehave() -> None:
    class TooMuch:
        def read(self, n: int) -> bytes:
            return b"x" * (n + 1)

    class OtherBytes:
        given = False

        def read(self, n: int) -> bytearray:
            first, self.given = not self.given, True
            return bytearray(b"ab") if first else bytearray()

    with pytest.raises(ErrIntegrity):
        drain(as_source(TooMuch(), 5))
    assert drain(as_source(OtherBytes())) == b"ab"


def test_an_iterable_is_not_asked_for_more_than_needed() -> None:
    pulled = []

    def chunks() -> Iterator[bytes]:
        for number in range(10):
            pulled.append(number)
            yield b"abcd"

    source = as_source(chunks())
    assert source.read(2) == b"ab"
    assert source.read(2) == b"cd"
    assert pulled == [0]


def test_an_error_of_the_source_passes() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"a"
        raise KeyError("mine")

    with pytest.raises(KeyError):
        drain(as_source(chunks()))
