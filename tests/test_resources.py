"""Every write where something runs out: room, inodes, quota, descriptors, permission, the disk.

Some need root, to mount a file system or to become another user, and say so
where they are skipped; CI is root. Those of the kernel are injected by strace.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import writes
from conftest import Tried
from filesystems import btrfs, needs_root, tmpfs
from programs import needs

from objectstorage.aio.local import ThreadedStorage
from objectstorage.storage import Storage
from objectstorage.testing.blocking import BlockingStorage

pytestmark = pytest.mark.faults

every_kind = pytest.mark.parametrize("kind", writes.STORES)


def _sync(kind: str, root: Path) -> Storage:
    return writes.STORES[kind](root)


def _aio(kind: str, root: Path) -> Storage:
    return BlockingStorage(lambda: ThreadedStorage(writes.STORES[kind](root)))


every_face = pytest.mark.parametrize("open_store", [_sync, _aio], ids=["sync", "async"])
OpenKind = Callable[[str, Path], Storage]


def use_up(folder: Path) -> None:
    """Leave no byte."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (100_000, 4096, 1):
            with pytest.raises(OSError, match=r"No space|quota exceeded"):
                while True:
                    file.write(b"x" * size)


@needs_root
@every_kind
@every_face
def test_no_room(tmp_path: Path, kind: str, open_store: OpenKind, tried: Tried) -> None:
    with tmpfs(tmp_path / "disk", "size=4m") as disk, open_store(kind, disk / "store") as store:
        writes.fill(store)
        use_up(disk)
        for name in writes.WRITES:
            assert writes.attempt(store, name, disk / "store") == "ErrIO ENOSPC", name
        # these need none, and are how one makes room
        for name in (*writes.MOVES, *writes.DELETES):
            assert writes.attempt(store, name, disk / "store") == "ok", name
        (disk / "filler").unlink()
        for name in writes.WRITES:
            if name != "put over":
                assert writes.attempt(store, name, disk / "store") == "ok", name
    tried("resources", "writes on a full file system (ENOSPC)", len(writes.ALL))


@needs_root
@every_kind
def test_no_inodes(tmp_path: Path, kind: str, tried: Tried) -> None:
    small = tmpfs(tmp_path / "disk", "size=9m,nr_inodes=100")
    with small as disk, _sync(kind, disk / "store") as store:
        writes.fill(store)
        with pytest.raises(OSError, match="No space"):
            for number in range(100):
                (disk / f"filler-{number}").touch()
        for name in writes.WRITES:
            assert writes.attempt(store, name, disk / "store") == "ErrIO ENOSPC", name
        for name in (*writes.MOVES, *writes.DELETES):
            assert writes.attempt(store, name, disk / "store") == "ok", name
    tried("resources", "writes on a full file system (ENOSPC)", len(writes.ALL))


@needs_root
@every_kind
def test_no_quota(tmp_path: Path, kind: str, tried: Tried) -> None:
    with btrfs(tmp_path / "disk", quota="8m") as disk, _sync(kind, disk / "store") as store:
        writes.fill(store)
        use_up(disk)
        said = {name: writes.attempt(store, name, disk / "store") for name in writes.WRITES}
        # a copy by reference takes no room, and little fits in beside the data
        assert {"ErrIO EDQUOT"} <= set(said.values()) <= {"ErrIO EDQUOT", "ok"}
        assert [name for name, how in said.items() if how == "ok"] in ([], ["copy", "copy create"])
        (disk / "filler").unlink()
        os.sync()
        assert writes.attempt(store, "delete", disk / "store") == "ok"
    tried("resources", "writes over a quota (EDQUOT)", len(said))


# -- limits of the process, and what it may do ---------------------------------


def attempts(root: Path, kind: str, limit: str, prefix: list[str] | None = None) -> dict[str, str]:
    """How each write goes in a process of its own."""
    program = [sys.executable, "-B", "-W", "error", writes.__file__, str(root), kind, limit]
    done = subprocess.run([*(prefix or []), *program], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    said: dict[str, str] = json.loads(done.stdout)
    assert set(said) == set(writes.ALL)
    return said


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory that another user can reach."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder / "store"
    shutil.rmtree(folder)


def filled(root: Path, kind: str) -> Path:
    with _sync(kind, root) as store:
        writes.fill(store)
    return root


@every_kind
def test_a_limit_of_file_size(root: Path, kind: str, tried: Tried) -> None:
    said = attempts(filled(root, kind), kind, "EFBIG")
    assert {said[name] for name in writes.WRITES} == {"ErrIO EFBIG"}
    assert {said[name] for name in (*writes.MOVES, *writes.DELETES)} == {"ok"}
    tried("resources", "writes over a limit of file size (EFBIG)", len(said))


@every_kind
def test_no_descriptors(root: Path, kind: str, tried: Tried) -> None:
    said = attempts(filled(root, kind), kind, "EMFILE")
    assert said == {
        name: "ErrIO EMFILE" + (", the source's own" if name == "upload" else "") for name in said
    }
    tried("resources", "writes without descriptors (EMFILE)", len(said))


@needs_root
@every_kind
def test_another_users_store(root: Path, kind: str, tried: Tried) -> None:
    said = attempts(filled(root, kind), kind, "EACCES")
    assert set(said.values()) == {"ErrPermission EACCES"}
    tried("resources", "writes to another user's store (EACCES)", len(said))


# -- the disk fails ------------------------------------------------------------


def injected(root: Path, kind: str, fault: str, *, path: Path | None = None) -> dict[str, str]:
    calls = fault.partition(":")[0]
    where = [] if path is None else ["-P", str(path)]
    options = ["-f", "-qq", "-o", "/dev/null", *where, "-e", f"trace={calls}"]
    return attempts(
        root, kind, "none", [needs("strace", "strace"), *options, "-e", f"inject={fault}"]
    )


RENAMES = "rename,renameat,renameat2"


@every_kind
def test_the_disk_fails_on_fsync(root: Path, kind: str, tried: Tried) -> None:
    said = injected(filled(root, kind), kind, "fsync:error=EIO")
    # to delete is to sync a directory, and the file of a move has been published before
    late = dict.fromkeys(writes.DELETES, "ErrDurabilityUnknown EIO")
    early = dict.fromkeys((*writes.WRITES, *writes.MOVES), "ErrIO EIO")
    assert said == early | late
    tried("resources", "writes whose system calls failed (EIO)", len(said))


@every_kind
def test_the_disk_fails_on_a_directorys_fsync(root: Path, kind: str, tried: Tried) -> None:
    name = {"posix": "d", "posixflat": "d.d"}[kind]
    said = injected(filled(root, kind), kind, "fsync:error=EIO", path=root / name)
    elsewhere = {"put", "create", "writer create", "copy create", "update none"}
    for write, how in said.items():
        # moved to where it can't be synced: refused before, as the target must be on disk
        expected = "ok" if write in elsewhere else "ErrDurabilityUnknown EIO"
        if write in writes.MOVES:
            expected = "ErrIO EIO"
        assert how == expected, write
    tried("resources", "writes whose system calls failed (EIO)", len(said))


@every_kind
@pytest.mark.parametrize("calls", ["write,copy_file_range", "utimensat", RENAMES])
def test_the_disk_fails_on_a_call(root: Path, kind: str, calls: str, tried: Tried) -> None:
    said = injected(filled(root, kind), kind, f"{calls}:error=EIO")
    touched = writes.WRITES | (writes.MOVES if calls == RENAMES else {})
    if calls == "utimensat":  # whether times are fine enough for a condition can't be told
        touched = {**touched, "delete if match": writes.DELETES["delete if match"]}
    assert said == {name: "ErrIO EIO" if name in touched else "ok" for name in writes.ALL}
    tried("resources", "writes whose system calls failed (EIO)", len(touched))
