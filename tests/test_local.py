"""The parts that local stores share: listing, durable chains, locks, sweeping."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import time
import tracemalloc
from itertools import islice
from pathlib import Path

import pytest

from objectstorage import errors
from objectstorage.local import locks, meta, ops, tree
from objectstorage.local.durable import Chains
from objectstorage.local.versions import tick
from objectstorage.posix import PosixStorage
from objectstorage.posixflat import PosixFlatStorage


def descriptors() -> int:
    """How many are open, once those that earlier tests left to the collector are not."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def put_files(root: Path, keys: list[str]) -> None:
    """Objects as another program would put them, which is faster."""
    for key in keys:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


# -- listing -------------------------------------------------------------------


def test_every_prefix_and_start(tmp_path: Path) -> None:
    keys = [
        "t",
        "t-",
        "t!/x",
        "t0",
        "u/v/w",
        "u/v.x",
        "u/vw",
        "T",
        "é",
        "e\u0301",
        "a b",
        "\U0001f600",
    ]
    keys += ["a/b/c/d", "a/b/c-", "a/b0", "\uffff/x"]
    put_files(tmp_path, keys)
    store = PosixStorage(tmp_path)
    held = sorted(keys, key=str.encode)
    places = sorted({key[:end] for key in keys for end in range(len(key) + 1)})
    for prefix in places:
        for after in [*places, "t/", "t/x", "u//", "\U0010ffff", "a/b/c/d/e"]:
            expected = [k for k in held if k.startswith(prefix) and k.encode() > after.encode()]
            assert [i.key for i in store.list(prefix, start_after=after)] == expected
    for prefix in ("a//", "a/../", "./", "../", "/".join(["a"] * 600), "x" * 300 + "/"):
        assert list(store.list(prefix)) == []
        assert list(store.list_level(prefix)) == []


def test_what_lies_before_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_files(tmp_path, [f"d{i:02}/{j}" for i in range(30) for j in range(3)])
    scanned = []
    real = ops.scandir

    def scandir(fd: int) -> object:
        scanned.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        return real(fd)

    monkeypatch.setattr(ops, "scandir", scandir)
    store = PosixStorage(tmp_path)
    first = islice(store.list(start_after="d20/1"), 4)
    assert [info.key for info in first] == ["d20/2", "d21/0", "d21/1", "d21/2"]
    # once each, or twice where a scan is repeated
    assert list(dict.fromkeys(scanned)) == [tmp_path.name, "d20", "d21"]
    scanned.clear()
    assert [info.key for info in store.list("d07/")] == ["d07/0", "d07/1", "d07/2"]
    assert set(scanned) == {"d07"}
    scanned.clear()
    assert list(store.list("d07/", start_after="d08")) == []
    assert scanned == []


def test_memory_of_a_listing(tmp_path: Path) -> None:
    put_files(tmp_path, [f"{i:03}/{j:03}" for i in range(40) for j in range(100)])
    store = PosixStorage(tmp_path)
    sum(1 for _ in store.list())
    tracemalloc.start()
    try:
        assert sum(1 for _ in store.list()) == 4_000
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_a_deep_tree_needs_few_descriptors(tmp_path: Path) -> None:
    store = PosixStorage(tmp_path, durable=False)
    keys = ["a/" * depth + "x" for depth in range(0, 500, 50)] + [
        "a/" * 500 + "y",
        "a/" * 100 + "z",
    ]
    for key in keys:
        store.put(key, b"")
    before = descriptors()
    found, most = [], 0
    for info in store.list():
        found.append(info.key)
        most = max(most, descriptors() - before)
    assert found == sorted(keys)
    assert most < 80
    assert descriptors() == before


def test_a_directory_that_goes_while_it_is_listed(tmp_path: Path) -> None:
    store = PosixStorage(tmp_path, durable=False)
    for key in ("a/1", "a/2", "b/1", "c/1"):
        store.put(key, b"")
    listing = store.list()
    assert next(listing).key == "a/1"
    for key in ("a/2", "b/1"):
        store.delete(key)
    (tmp_path / "b").write_bytes(b"a file now")
    assert [info.key for info in listing] == ["c/1"]


def test_a_directory_that_may_not_be_read_is_no_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_files(tmp_path, ["a/b"])

    def refuse(fd: int) -> object:
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(ops, "scandir", refuse)
    for call in (PosixStorage(tmp_path).list, PosixStorage(tmp_path).list_level):
        with pytest.raises(errors.ErrPermission) as caught:
            list(call())
        assert caught.value.operation == call.__name__


# -- metadata ------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"x\x9c", b"null", b'{"meta":[1]}', b'{"type":1}']
)
def test_metadata_of_others_is_none(raw: bytes) -> None:
    assert meta.decode(raw) == (None, {})


def test_a_file_system_without_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> bytes:
        raise OSError(errno.ENOTSUP, "not supported")

    for name in ("setxattr", "getxattr", "listxattr"):
        monkeypatch.setattr(ops, name, refuse)
    store = PosixStorage(tmp_path, durable=False)
    store.put("a", b"1")
    assert store.stat("a").metadata == {}
    assert store.copy("a", "b").size == 1
    with pytest.raises(errors.ErrUnsupported):
        store.put("a", b"2", metadata={"m": "1"})
    assert store.get("a") == b"1"


def test_times_go_on_and_keep_to_the_clock() -> None:
    before = time.time_ns()
    times = [tick(metadata=bool(n % 3)) for n in range(1000)]
    after = time.time_ns()
    assert times == sorted(set(times))
    assert before <= times[0]
    # each is in its own microsecond at most, ahead of a clock that stood still
    assert times[-1] <= after + 1000 * 1000
    assert len({moment % 1000 for moment in times}) == 2


@pytest.mark.parametrize("name", ["open", "flock", "fstat", "write", "utime", "rename"])
def test_a_signal_at_any_moment_leaves_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """An exception of a handler comes right behind the call that was under way."""
    store = PosixStorage(tmp_path, durable=False)
    store.put("a", b"1")
    real = getattr(ops, name)

    def interrupted(*args: object, **kwargs: object) -> None:
        real(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(ops, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.put("a", b"2")
    monkeypatch.undo()
    assert list((tmp_path / ".objectstorage/tmp").iterdir()) == []
    assert store.get("a") in (b"1", b"2")


# -- durable chains ------------------------------------------------------------


def test_a_directory_made_again_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    root = os.open(tmp_path, os.O_RDONLY)
    synced: list[str] = []

    def sync(chains: Chains) -> int:
        before = len(synced)
        chains.sync(b"a/b", os.open(tmp_path / "a/b", os.O_RDONLY))
        return len(synced) - before

    real = ops.fsync
    ops.fsync = lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))[1]
    try:
        chains = Chains(root, cached=True)
        assert sync(chains) == 3
        assert sync(chains) == 1
        (tmp_path / "a/b").rmdir()
        (tmp_path / "a/b").mkdir()  # the inode is free to be used again but for the cache
        assert sync(chains) == 2  # `a` is known still
        (tmp_path / "a/b").rmdir()
        (tmp_path / "a").rmdir()
        (tmp_path / "a/b").mkdir(parents=True)
        assert sync(chains) == 3
        chains.close()
        assert sync(chains) == 3
        distrustful = Chains(root, cached=False)
        assert sync(distrustful) == 3
        assert sync(distrustful) == 3
        chains.close()
    finally:
        ops.fsync = real
        os.close(root)


def test_the_cache_of_directories_is_bounded(tmp_path: Path) -> None:
    with PosixStorage(tmp_path) as store:
        before = descriptors()
        for i in range(300):
            store.put(f"d{i}/x", b"")
        assert descriptors() - before < 140


# -- locks, trees --------------------------------------------------------------


def test_two_descriptors_of_one_directory_are_one_lock(tmp_path: Path) -> None:
    one, two = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    try:
        taken = locks.lock_both(one, two)
        assert len(taken) == 1
        for fd in taken:
            locks.unlock(fd)
        assert not locks._held
    finally:
        os.close(one)
        os.close(two)


def test_only_empty_trees_are_removed(tmp_path: Path) -> None:
    (tmp_path / "empty/a/b").mkdir(parents=True)
    (tmp_path / "empty/c").mkdir()
    (tmp_path / "full/a").mkdir(parents=True)
    (tmp_path / "full/link").symlink_to("/")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert tree.remove_empty(fd, b"empty")
        assert tree.remove_empty(fd, b"none")
        assert not tree.remove_empty(fd, b"full")
        assert os.listdir(tmp_path) == ["full"]
    finally:
        os.close(fd)


@pytest.mark.parametrize("cls", [PosixStorage, PosixFlatStorage])
def test_only_plain_files_are_swept(tmp_path: Path, cls: type[PosixStorage]) -> None:
    tmp = tmp_path / ".objectstorage/tmp"
    tmp.mkdir(parents=True)
    (tmp_path / "kept").write_bytes(b"kept")
    (tmp / "left").write_bytes(b"x")
    (tmp / "link").symlink_to("../../kept")
    os.mkfifo(tmp / "pipe")
    (tmp / "folder").mkdir()
    cls(tmp_path).put("a", b"")
    assert sorted(os.listdir(tmp)) == ["folder", "link", "pipe"]
    assert (tmp_path / "kept").read_bytes() == b"kept"


@pytest.mark.parametrize("system", ["win32", "freebsd14", "cygwin"])
def test_other_systems_are_refused(system: str) -> None:
    script = f"""
import sys
import objectstorage
sys.platform = {system!r}
objectstorage.open_storage("memory://").put("k", b"")
try:
    objectstorage.open_storage("posix:///tmp/none")
except objectstorage.ErrUnsupported as exc:
    print(exc)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True)
    assert done.stderr == b""
    assert done.stdout.decode().strip().endswith(f"need Linux or macOS, not {system}")
