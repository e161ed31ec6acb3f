"""When a file that is written through fsspec is published, and when it is not."""

from __future__ import annotations

import gzip
import logging
import os
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest
from conftest import STORES, make_target

from objectstorage import ErrClosed, ErrExist, Storage
from objectstorage.filesystem import MemoryFileSystem, StorageFileSystem
from objectstorage.memory import MemoryStorage

MIB = 1024 * 1024
SIZES = {"10 bytes": 10, "12 MiB": 12 * MIB}


class Stop(Exception):
    """What interrupts a writer."""


@pytest.fixture(params=STORES)
def fs(request: pytest.FixtureRequest) -> Iterator[StorageFileSystem]:
    target = make_target(request.param, request)
    with target.open(target.fresh()) as store:
        yield StorageFileSystem(store)


@pytest.fixture
def memory() -> StorageFileSystem:
    return StorageFileSystem(MemoryStorage())


def chunk() -> bytes:
    """A MiB that no codec makes smaller."""
    return os.urandom(MIB)


def write(file: Any, size: int, text: bool) -> None:
    while size:
        data = chunk()[:size]
        file.write(data.hex()[: len(data)] if text else data)
        size -= len(data)


LAYERS: dict[str, dict[str, Any]] = {
    "plain": {"mode": "wb"},
    "text": {"mode": "w"},
    "gzip": {"mode": "wb", "compression": "gzip"},
    "text in gzip": {"mode": "wt", "compression": "infer", "encoding": "utf-8"},
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
def test_an_exception_publishes_nothing(
    fs: StorageFileSystem, layer: dict[str, Any], size: int
) -> None:
    fs.pipe_file("old.gz", b"old")
    for name in ("old.gz", "new.gz"):
        with pytest.raises(Stop):  # noqa: SIM117  # as users write it
            with fs.open(name, **layer) as file:
                write(file, size, "b" not in layer["mode"])
                raise Stop
    assert fs.cat("old.gz") == b"old"
    assert fs.find("") == ["old.gz"]
    assert list(fs.store.list_uploads()) == []


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
def test_a_clean_exit_publishes(fs: StorageFileSystem, layer: dict[str, Any]) -> None:
    text = "b" not in layer["mode"]
    with fs.open("a.gz", **layer) as file:
        file.write("hello\nworld\n" if text else b"hello\nworld\n")
        assert not fs.exists("a.gz")
    raw = fs.cat("a.gz")
    assert (gzip.decompress(raw) if "compression" in layer else raw) == b"hello\nworld\n"
    with fs.open("a.gz", **{**layer, "mode": layer["mode"].replace("w", "r")}) as file:
        assert [*file] == (["hello\n", "world\n"] if text else [b"hello\n", b"world\n"])


@pytest.mark.parametrize("layer", ["plain", "text", "gzip"])
def test_openers_of_fsspec_itself(layer: str) -> None:
    fs = MemoryFileSystem()
    url = f"objectstorage+memory://fs-openers/{layer}"
    options = dict(LAYERS[layer])
    with pytest.raises(Stop):  # noqa: SIM117  # as users write it
        with fsspec.open(url, **options) as file:
            file.write("x" if layer == "text" else b"x")
            raise Stop
    assert not fs.exists(url)
    with fsspec.open(url, **options) as file:
        file.write("x" if layer == "text" else b"x")
    with fsspec.open(url, **{**options, "mode": options["mode"].replace("w", "r")}) as file:
        assert file.read() == ("x" if layer == "text" else b"x")


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("parts", [1, 2])
def test_no_byte_is_lost_where_parts_meet(fs: StorageFileSystem, parts: int, over: int) -> None:
    size = parts * 8 * MIB + over
    data = chunk() * (size // MIB) + chunk()[: size % MIB]
    with fs.open("big", "wb") as file:
        for at in range(0, size, 3 * MIB):
            file.write(data[at : at + 3 * MIB])
    assert fs.size("big") == size
    assert fs.cat("big") == data


def test_within_a_handler(memory: StorageFileSystem, caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise Stop
    except Stop:
        # the exception was there before the file was: it is none of its
        with memory.open("report", "w") as file:
            file.write("it stopped")
    assert memory.cat("report") == b"it stopped"
    file = memory.open("late", "wb")
    try:
        raise Stop
    except Stop:
        file.close()
    assert not memory.exists("late")
    assert caplog.record_tuples == [
        ("objectstorage", logging.WARNING, "late was closed by Stop and not published")
    ]
    file = memory.open("meant", "wb")
    file.write(b"x")
    try:
        raise Stop
    except Stop:
        file.commit()
    file.close()
    assert memory.cat("meant") == b"x"


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
def test_nothing_is_published_by_a_finaliser(
    memory: StorageFileSystem, layer: dict[str, Any]
) -> None:
    file = memory.open("a.gz", **layer)
    file.write("x" if "b" not in layer["mode"] else b"x")
    with pytest.warns(ResourceWarning, match="never closed"):
        del file
    assert not memory.exists("a.gz")


def test_a_closed_file_takes_nothing(memory: StorageFileSystem) -> None:
    file = memory.open("a", "wb")
    assert (file.writable(), file.readable(), file.seekable()) == (True, False, False)
    file.write(memoryview(b"abc"))
    file.flush()
    assert file.tell() == 3
    assert file.full_name == "objectstorage://a"
    file.close()
    file.close()
    with pytest.raises(ErrClosed):
        file.write(b"x")
    assert memory.cat("a") == b"abc"


class FullDisk(MemoryStorage):
    """A store that fails when an object is published."""

    def _publish(self, key: str, *args: Any) -> Any:
        raise ErrExist("no", key=key)


def test_a_failed_publish_is_told(memory: StorageFileSystem) -> None:
    store: Storage = FullDisk()
    fs = StorageFileSystem(store)
    for layer in LAYERS.values():
        with pytest.raises(ErrExist), fs.open("a.gz", **layer):
            pass
    assert fs.find("") == []


# -- transactions --------------------------------------------------------------------


def test_a_transaction_publishes_at_its_end(fs: StorageFileSystem) -> None:
    with fs.transaction:
        with fs.open("a", "wb") as file:
            file.write(b"1")
        fs.pipe_file("b", b"2")
        with fs.open("c.gz", "wt", compression="gzip") as file:
            file.write("3")
        assert fs.find("") == []
    assert fs.cat(["a", "b"]) == {"a": b"1", "b": b"2"}
    assert gzip.decompress(fs.cat("c.gz")) == b"3"
    fs.pipe_file("d", b"4")
    assert fs.cat("d") == b"4", "it is over"


def test_a_transaction_that_fails_leaves_nothing(fs: StorageFileSystem, tmp_path: Any) -> None:
    fs.pipe_file("a", b"old")
    local = tmp_path / "local"
    local.write_bytes(chunk())
    with pytest.raises(Stop), fs.transaction:
        with fs.open("a", "wb") as file:
            write(file, 12 * MIB, text=False)
        fs.pipe_file("b", b"2")
        fs.put_file(str(local), "c")
        fs.touch("d")
        raise Stop
    assert fs.find("") == ["a"]
    assert fs.cat("a") == b"old"
    assert list(fs.store.list_uploads()) == []


def test_a_file_that_failed_in_a_transaction_is_left_out(memory: StorageFileSystem) -> None:
    with memory.transaction:
        memory.pipe_file("good", b"1")
        try:
            with memory.open("bad", "wb") as file:
                file.write(b"half")
                raise Stop
        except Stop:
            pass
    assert memory.find("") == ["good"]


def test_a_transaction_begun_and_ended_by_hand(memory: StorageFileSystem) -> None:
    memory.start_transaction()
    memory.pipe_file("a", b"1")
    assert not memory.exists("a")
    memory.end_transaction()
    assert memory.cat("a") == b"1"
