"""Nothing outside the root is read, listed, written or deleted, whoever plants or swaps links."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from objectstorage import errors
from objectstorage.local import atomic, confine, durable, reading, root, store, tree, walk
from objectstorage.posix import PosixStorage

_USERS = [durable, reading, root, store, tree, walk, atomic]


@pytest.fixture(params=["openat2", "walk"])
def resolver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to resolve a path: the kernel's, and a component at a time."""
    for module in _USERS:
        monkeypatch.setattr(module, "open_beneath", getattr(confine, request.param))
    return request.param


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"secret")
    return folder


@pytest.fixture
def planted(tmp_path: Path, outside: Path, resolver: str) -> Iterator[PosixStorage]:
    """A store with links to a folder, to a file, up, to itself and to nothing."""
    folder = tmp_path / "store"
    with PosixStorage(folder, durable=False) as made:
        made.put("ok/a", b"fine")
        (folder / "folder").symlink_to(outside)
        (folder / "inner").symlink_to("ok")
        (folder / "file").symlink_to(outside / "secret")
        (folder / "up").symlink_to("..")
        (folder / "loop").symlink_to("loop")
        (folder / "dangling").symlink_to("nowhere")
        yield made


def test_the_kernel_confines_here() -> None:
    # else the tests with openat2 would test the walk twice
    assert confine.open_beneath is confine.openat2


def test_links_are_not_read(planted: PosixStorage) -> None:
    for key in ("folder/secret", "inner/a", "file", "up/outside/secret", "loop", "dangling"):
        for call in (planted.get, planted.stat, planted.open, planted.exists):
            with pytest.raises(errors.ErrPermission):
                call(key)
        with pytest.raises(errors.ErrPermission):
            planted.copy(key, "copied")
    assert planted.get("ok/a") == b"fine"


def test_links_are_not_listed(planted: PosixStorage) -> None:
    assert [info.key for info in planted.list()] == ["ok/a"]
    assert [entry.key for entry in planted.list_level()] == ["ok/"]
    for prefix in ("folder/", "inner/", "up/outside/", "folder/se", "loop/"):
        assert list(planted.list(prefix)) == []
        assert list(planted.list_level(prefix)) == []


def test_links_are_not_written_through(planted: PosixStorage, outside: Path) -> None:
    for key in ("folder/new", "folder/secret", "inner/b", "up/x", "loop/x", "folder/d/e"):
        for call in (
            lambda key=key: planted.put(key, b"evil"),
            lambda key=key: planted.put(key, b"evil", create=True),
            lambda key=key: planted.move("ok/a", key),
            lambda key=key: planted.delete(key),
        ):
            with pytest.raises(errors.ErrPermission):
                call()
    with pytest.raises(errors.ErrPermission):
        planted.delete("file")
    with pytest.raises(errors.ErrPermission):
        planted.put("file", b"evil", create=True)
    planted.put("file", b"a file in the link's place")
    assert (outside / "secret").read_bytes() == b"secret"
    assert os.listdir(outside) == ["secret"]
    assert [info.key for info in planted.list()] == ["file", "ok/a"]


def test_a_link_in_place_of_the_stores_own_folder(tmp_path: Path, outside: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / ".objectstorage").symlink_to(outside)
    with pytest.raises(errors.ErrPermission):
        PosixStorage(folder).put("a", b"")
    assert os.listdir(outside) == ["secret"]


def test_the_walk_tells_links_from_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("/")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        for resolve in (confine.walk, confine.openat2):
            for path, number in (
                (b"file/x", errno.ENOTDIR),
                (b"link/x", errno.ELOOP),
                (b"link", errno.ELOOP),
                (b"none/x", errno.ENOENT),
            ):
                with pytest.raises(OSError) as caught:
                    resolve(fd, path, confine.DIRECTORY)
                assert caught.value.errno == number, (resolve, path)
    finally:
        os.close(fd)


_ATTACKER = """
import os, sys
os.chdir(sys.argv[1])
while True:
    os.rename("d", "real"); os.rename("evil", "d")
    os.rename("d", "evil"); os.rename("real", "d")
"""


def test_a_swapping_attacker_gains_nothing(tmp_path: Path, outside: Path, resolver: str) -> None:
    folder = tmp_path / "store"
    with PosixStorage(folder, durable=False) as store:
        store.put("d/secret", b"public")
        (folder / "evil").symlink_to(outside)
        attacker = subprocess.Popen([sys.executable, "-c", _ATTACKER, str(folder)])
        reads, refused = 0, 0
        try:
            end = time.monotonic() + 2
            while time.monotonic() < end:
                try:
                    assert store.get("d/secret") == b"public"
                    reads += 1
                except (errors.ErrPermission, errors.ErrNotExist):
                    refused += 1
                for call in (
                    lambda: store.put("d/new", b"x"),
                    lambda: store.delete("d/new"),
                    lambda: [info.key for info in store.list("d/")],
                ):
                    try:
                        call()
                    except (errors.ErrPermission, errors.ErrConflict):
                        refused += 1
        finally:
            attacker.kill()
            attacker.wait()
    assert reads
    assert refused  # else the attacker never got in between
    assert os.listdir(outside) == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"
