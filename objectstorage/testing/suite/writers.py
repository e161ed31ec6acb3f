"""`writer`, `upload` and `download`: files on both ends (contract, section 4)."""

from __future__ import annotations

import gc
import gzip
import io
import shutil
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from objectstorage.errors import ErrClosed, ErrNotExist
from objectstorage.storage import Storage
from objectstorage.testing.suite.base import SuiteBase, keys_of, refused

__all__ = ["Writers"]


class Boom(Exception):
    """What may happen in the caller's own block."""


class Writers(SuiteBase):
    """Objects written and read as files."""

    def test_visible_only_after_close(self, store: Storage) -> None:
        store.put("k", b"old")
        writer = store.writer("k")
        assert writer.writable()
        assert writer.write(b"new") == 3
        assert writer.write(bytearray(b" content")) == 8
        assert writer.tell() == 11
        writer.flush()
        assert writer.result is None
        assert store.get("k") == b"old"
        writer.close()
        assert writer.closed
        assert store.get("k") == b"new content"
        assert writer.result is not None
        assert writer.result == ("k", 11, store.stat("k").etag)
        writer.close()
        writer.abort()
        assert store.get("k") == b"new content"

    @pytest.mark.parametrize("parts", [0, 1, 3])
    def test_leaving_by_an_exception(self, store: Storage, parts: int) -> None:
        store.put("old", b"old")
        for key in ("old", "new"):
            with pytest.raises(Boom), store.writer(key) as writer:
                for _ in range(parts):
                    writer.write(bytes(self.part_size))
                writer.write(b"partial")
                raise Boom
            assert writer.closed
            assert writer.result is None
        assert store.get("old") == b"old"
        assert keys_of(store.list()) == ["old"]
        assert list(store.list_uploads()) == []

    def test_abort(self, store: Storage) -> None:
        with store.writer("k") as writer:
            writer.write(b"data")
            writer.abort()
        assert writer.closed
        assert writer.result is None
        assert not store.exists("k")

    def test_an_unclosed_writer_is_discarded(self, store: Storage) -> None:
        def forget() -> None:
            store.writer("k").write(b"data")
            gc.collect()

        with pytest.warns(ResourceWarning):
            forget()
        assert not store.exists("k")
        assert keys_of(store.list()) == []

    def test_a_closed_writer(self, store: Storage) -> None:
        for end in ("close", "abort"):
            writer = store.writer("k")
            getattr(writer, end)()
            with pytest.raises(ErrClosed):
                writer.write(b"data")
        assert store.get("k") == b""

    def test_what_a_writer_does_not_take(self, store: Storage) -> None:
        writer = store.writer("k")
        for data in ("text", None, 5, ["a"]):
            with pytest.raises(TypeError):
                writer.write(data)
        writer.abort()
        assert not store.exists("k")

    @pytest.mark.parametrize("extra", [-1, 0, 1])
    def test_a_writer_at_the_boundaries_of_parts(self, store: Storage, extra: int) -> None:
        size = 2 * self.part_size + extra
        data = (b"0123456789abcdef!" * (size // 17 + 1))[:size]
        with store.writer("k") as writer:
            for i in range(0, size, 99_991):
                writer.write(data[i : i + 99_991])
        assert writer.tell() == size
        assert store.get("k") == data
        with store.writer("whole") as writer:
            writer.write(memoryview(data))
        assert store.get("whole") == data

    def test_a_writer_is_a_file(self, store: Storage) -> None:
        with store.writer("text") as writer:
            text = io.TextIOWrapper(cast("BinaryIO", writer), "utf-8")
            text.write("één\n" * 1000)
            text.flush()
            text.detach()
        assert store.get("text") == "één\n".encode() * 1000
        with store.writer("gz") as writer, gzip.open(writer, "wb") as file:
            file.write(b"data" * 1000)
        with store.open("gz") as reader, gzip.open(reader) as unzipped:
            assert unzipped.read() == b"data" * 1000
        with store.open("text") as source, store.writer("copy") as writer:
            shutil.copyfileobj(source, writer)
        assert store.get("copy") == store.get("text")

    # -- local files -----------------------------------------------------------

    def test_upload_and_download(self, store: Storage, tmp_path: Path) -> None:
        data = bytes(range(256)) * (self.part_size // 100)
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(data)
        sent: list[tuple[int, int | None]] = []
        got: list[tuple[int, int | None]] = []
        result = store.upload("k", source, progress=lambda *seen: sent.append(seen))
        info = store.download("k", target, progress=lambda *seen: got.append(seen))
        assert target.read_bytes() == data
        assert (info.size, info.etag) == (len(data), result.etag)
        for seen in (sent, got):
            assert seen[-1] == (len(data), len(data))
            assert seen == sorted(seen)
        store.upload("plain", str(source))
        store.download("plain", str(target))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]

    def test_upload_of_no_file(self, store: Storage, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            store.upload("k", tmp_path / "none")
        with pytest.raises(IsADirectoryError):
            store.upload("k", tmp_path)
        assert not store.exists("k")

    def test_download_of_no_object(self, store: Storage, tmp_path: Path) -> None:
        target = tmp_path / "target"
        target.write_bytes(b"old")
        with refused(store, ErrNotExist, "k"):
            store.download("k", target)
        assert target.read_bytes() == b"old"
        assert [path.name for path in tmp_path.iterdir()] == ["target"]

    def test_a_download_that_is_broken_off(self, store: Storage, tmp_path: Path) -> None:
        def stop(done: int, total: int | None) -> None:
            raise Boom

        store.put("k", b"data")
        with pytest.raises(Boom):
            store.download("k", tmp_path / "target", progress=stop)
        assert list(tmp_path.iterdir()) == []
