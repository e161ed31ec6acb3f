"""Deleting from a posix store: what is synced, and what each key is told."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from objectstorage import errors
from objectstorage.local import ops
from objectstorage.posix import PosixStorage


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes that were synced."""
    found: list[int] = []
    real = ops.fsync

    def fsync(fd: int) -> None:
        found.append(os.fstat(fd).st_ino)
        real(fd)

    monkeypatch.setattr(ops, "fsync", fsync)
    return found


def test_a_directory_is_synced_once(tmp_path: Path, synced: list[int]) -> None:
    store = PosixStorage(tmp_path)
    keys = [f"{folder}/{number}" for folder in ("a", "b") for number in range(20)]
    for key in [*keys, "a/kept", "b/kept"]:
        store.put(key, b"")
    synced.clear()
    store.delete_many(reversed(keys))
    assert sorted(synced) == sorted(os.stat(tmp_path / folder).st_ino for folder in ("a", "b"))
    assert [info.key for info in store.list()] == ["a/kept", "b/kept"]


def test_what_is_gone_is_synced_too(tmp_path: Path, synced: list[int]) -> None:
    PosixStorage(tmp_path, durable=False).put("kept", b"")
    PosixStorage(tmp_path).delete("a/b/none")
    assert os.stat(tmp_path).st_ino in synced


def test_more_keys_than_are_sorted_at_once(tmp_path: Path) -> None:
    store = PosixStorage(tmp_path, durable=False)
    keys = [f"d{number % 3}/{number}" for number in range(2500)]
    for key in keys:
        store.put(key, b"")
    assert store.delete_many(iter(keys), errors="return") == {}
    assert os.listdir(tmp_path) == [".objectstorage"]


def test_each_key_has_its_own_error(tmp_path: Path) -> None:
    store = PosixStorage(tmp_path)
    store.put("a/1", b"")
    store.put("a/2", b"")
    (tmp_path / "a/link").symlink_to("1")
    (tmp_path / "way").symlink_to("a")
    failed = store.delete_many(["a/1", "a/link", "/bad", "way/2", "way/3", "a/2"], errors="return")
    assert {key: type(err) for key, err in failed.items()} == {
        "a/link": errors.ErrPermission,
        "/bad": errors.ErrInvalidKey,
        "way/2": errors.ErrPermission,
        "way/3": errors.ErrPermission,
    }
    assert all(err.key == key and err.operation == "delete" for key, err in failed.items())
    assert isinstance(failed["way/2"].__cause__, OSError)
    assert list(store.list()) == []


def test_a_failed_sync_is_every_keys_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PosixStorage(tmp_path)
    for key in ("a/1", "a/2", "b/1"):
        store.put(key, b"")
    inode = os.stat(tmp_path / "a").st_ino
    real = ops.fsync

    def fsync(fd: int) -> None:
        if os.fstat(fd).st_ino == inode:
            raise OSError(errno.EIO, "bad disk")
        real(fd)

    with monkeypatch.context() as patch:
        patch.setattr(ops, "fsync", fsync)
        with pytest.raises(errors.ErrPartial) as caught:
            store.delete_many(["a/1", "a/2", "b/1"])
    told = {err.key: err for err in caught.value.exceptions if isinstance(err, OSError)}
    assert {key: (type(err), err.errno) for key, err in told.items()} == {
        "a/1": (errors.ErrDurabilityUnknown, errno.EIO),
        "a/2": (errors.ErrDurabilityUnknown, errno.EIO),
    }
    store.delete_many(["a/1", "a/2"])


def test_a_directory_made_anew_is_the_one_that_is_deleted_from(tmp_path: Path) -> None:
    root = tmp_path / "store"
    store = PosixStorage(root)
    store.put("k", b"")
    shutil.rmtree(root)
    PosixStorage(root).put("k", b"new")
    store.delete("k", must_exist=True)
    assert not PosixStorage(root).exists("k")
