"""Many processes on one posix store: nobody loses, nobody sees half, nobody waits for the dead."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Tried
from filesystems import btrfs, needs_root

from objectstorage.posix import PosixStorage

pytestmark = pytest.mark.faults

_HEAD = """
import os, sys, time
from objectstorage import errors
from objectstorage.posix import PosixStorage
store = PosixStorage(sys.argv[1], durable=False)
me = int(sys.argv[2])
"""


@pytest.fixture(params=["disk", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A store's directory on the disk's file system, and one on tmpfs; on request on btrfs."""
    if request.param == "disk":
        yield tmp_path / "store"
        return
    if request.param == "btrfs":
        with btrfs(tmp_path / "mounted") as mounted:
            yield mounted / "store"
        return
    folder = Path("/dev/shm") / f"objectstorage-{os.getpid()}-{tmp_path.name}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


on_btrfs_too = pytest.mark.parametrize(
    "root", ["disk", "memory", pytest.param("btrfs", marks=needs_root)], indirect=True
)


def start(root: Path, script: str, count: int) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _HEAD + script, str(root), str(i)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(count)
    ]


def outputs(processes: list[subprocess.Popen[str]]) -> list[str]:
    found = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return found


def test_one_creator_wins(root: Path) -> None:
    script = """
won = 0
for i in range(200):
    try:
        store.put(f"d{i % 5}/{i}", b"%d" % me, create=True)
        won += 1
    except errors.ErrExist:
        pass
print(won)
"""
    assert sum(map(int, outputs(start(root, script, 8)))) == 200
    assert len(list(PosixStorage(root).list())) == 200


def test_compare_and_swap_loses_nothing(root: Path) -> None:
    script = """
for _ in range(500):
    store.update("d/n", lambda old: b"%d" % (int(old or b"0") + 1))
"""
    outputs(start(root, script, 8))
    assert PosixStorage(root).get("d/n") == b"4000"


def test_an_unconditional_put_is_never_overwritten_unseen(root: Path) -> None:
    """Who swaps appends to what it read, so the last plain put always stands at the head."""
    script = """
if me == 0:
    try:
        for i in range(2000):
            store.put("log", b"%d\\n" % i)
            head = store.get("log").split(b"\\n")[0]
            assert int(head) == i, (head, i)
    finally:
        store.put("done", b"")
else:
    while not store.exists("done"):
        try:
            old = store.fetch("log")
            store.put("log", old.data[:2000] + b"x", if_match=old.info.etag)
        except (errors.ErrNotExist, errors.ErrPreconditionFailed):
            continue
"""
    outputs(start(root, script, 4))


@on_btrfs_too
def test_put_against_pruning(root: Path) -> None:
    script = """
end = time.monotonic() + 2
i = 0
while time.monotonic() < end:
    i += 1
    key = f"a/b/c/{me}-{i}"
    store.put(key, b"x")
    assert store.get(key) == b"x", key
    store.delete(key, must_exist=True)
    if i % 3 == 0:
        store.put(f"a/b/{me}", b"y", create=True)
        store.move(f"a/b/{me}", f"a/z/{me}")
        store.delete(f"a/z/{me}", must_exist=True)
print(i)
"""
    writers = start(root, script, 6)
    store = PosixStorage(root)
    while any(process.poll() is None for process in writers):
        keys = [info.key for info in store.list()]
        assert keys == sorted(set(keys))
    assert sum(map(int, outputs(writers))) > 6
    assert list(store.list()) == []


def test_readers_see_whole_versions(root: Path) -> None:
    script = """
end = time.monotonic() + 1.5
if me < 2:
    while time.monotonic() < end:
        store.put("k", bytes([me + 65]) * (50_000 * (me + 1)))
else:
    kinds = set()
    while time.monotonic() < end:
        try:
            data, info = store.fetch("k")
        except errors.ErrNotExist:
            continue
        assert len(set(data)) == 1 and len(data) == info.size == 50_000 * (data[0] - 64)
        with store.open("k") as reader:
            assert len(set(reader.read())) == 1
"""
    outputs(start(root, script, 4))


@on_btrfs_too
def test_no_key_is_missed_whatever_others_do(root: Path, tried: Tried) -> None:
    store = PosixStorage(root, durable=False)
    keys = sorted(f"d{i % 3}/{i:05}" for i in range(2400))
    for key in keys:
        store.put(key, b"")
    script = """
import random
end = time.monotonic() + 3
i = 0
while time.monotonic() < end:
    i += 1
    n = random.randrange(2400)
    if me == 0:
        store.put(f"d{n % 3}/{n:05}", b"")
    else:
        # beside those that stay, and in folders that come and go among them
        key, other = f"d{n % 3}/{n:05}-{i}", f"d{i % 3}/{n:05}x/y/{me}"
        store.put(key, b"", create=True)
        store.move(key, other)
        store.copy(other, key)
        store.delete_many([key, other])
"""
    writers = start(root, script, 3)
    scans = 0
    while any(process.poll() is None for process in writers):
        for prefix in ("", "d1/"):
            found = [info.key for info in store.list(prefix)]
            assert found == sorted(set(found))
            stay = [key for key in found if len(key) == 8]
            assert stay == [key for key in keys if key.startswith(prefix)]
            scans += 1
    outputs(writers)
    assert scans > 1
    assert [info.key for info in store.list()] == keys
    tried("races", "listings of a directory tree against everything", scans)


def test_a_killed_writer_leaves_nothing_for_long(root: Path) -> None:
    store = PosixStorage(root, durable=False)
    store.put("k", b"old")
    script = """
with store.writer("k") as writer:
    writer.write(b"x" * 100_000)
    print("written", flush=True)
    time.sleep(600)
"""
    (victim,) = start(root, script, 1)
    assert victim.stdout is not None
    assert victim.stdout.readline() == "written\n"
    tmp = root / ".objectstorage/tmp"
    # its lock keeps others from sweeping it while it lives
    PosixStorage(root, durable=False).put("other", b"")
    assert len(os.listdir(tmp)) == 1
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert len(os.listdir(tmp)) == 1
    fresh = PosixStorage(root, durable=False)
    assert fresh.get("k") == b"old"
    assert len(os.listdir(tmp)) == 1  # reading writes nothing
    fresh.put("other", b"")
    assert os.listdir(tmp) == []


def test_killed_at_any_moment(root: Path) -> None:
    """What was acknowledged is there; what is there is whole."""
    script = """
i = 0
while True:
    i += 1
    store.put("d/n", b"%d" % i * 1000)
    os.write(1, b"%d\\n" % i)
"""
    for pause in (0.3, 0.35, 0.4, 0.5):
        shutil.rmtree(root, ignore_errors=True)
        (victim,) = start(root, script, 1)
        time.sleep(pause)  # no synchronisation: any moment is as good
        victim.send_signal(signal.SIGKILL)
        lines = victim.communicate()[0].splitlines()
        acknowledged = int(lines[-1]) if lines else 0
        store = PosixStorage(root, durable=False)
        if acknowledged:
            data = store.get("d/n")
            found = int(data[: len(data) // 1000])
            assert data == b"%d" % found * 1000
            assert found in (acknowledged, acknowledged + 1)
        store.put("x", b"")
        assert os.listdir(root / ".objectstorage/tmp") == []
