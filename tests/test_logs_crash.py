"""Logs when something dies: an archiving anywhere, a killed writer, a forked process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from objectstorage import logs
from objectstorage.errors import ErrClosed, ErrNotExist
from objectstorage.memory import MemoryStorage
from objectstorage.posix import PosixStorage

NEVER = 1e6  # seconds
FEW = [b"one ", b"two ", b"three"]
MANY = [b"%d," % i for i in range(67)]  # with a sum


class Died(Exception):
    """The process is gone; what comes after it is not reached."""


class Stepping(MemoryStorage):
    """Calls `hook` before and after everything that changes something."""

    hook: Callable[[], None]

    def put(self, key: str, data: Any, **options: Any) -> Any:
        self.hook()
        result = super().put(key, b"".join(data) if hasattr(data, "send") else data, **options)
        self.hook()
        return result

    def delete(self, key: str, **options: Any) -> None:
        self.hook()
        super().delete(key, **options)
        self.hook()


def written(name: str, pieces: list[bytes]) -> MemoryStorage:
    store = MemoryStorage(name)
    with logs.LogWriter(store, "a", flush_seconds=NEVER) as writer:
        for piece in pieces:
            writer.write(piece)
            writer.flush()
    return store


def steps_of(change: Callable[[Stepping], Any], pieces: list[bytes]) -> int:
    """How often the hook is called."""
    name = uuid.uuid4().hex
    count = 0

    def hook() -> None:
        nonlocal count
        count += 1

    written(name, pieces)
    store = Stepping(name)
    store.hook = hook
    change(store)
    return count


def change_and_die(
    change: Callable[[Stepping], Any], at: int, pieces: list[bytes]
) -> tuple[MemoryStorage, list[Any]]:
    """The store as it is after `change` died at its step `at`, and followers begun before it."""
    name = uuid.uuid4().hex
    plain = written(name, pieces)
    followers = []
    for count in range(3):  # each is so many steps on
        follower = logs.LogReader(plain, "a").follow()
        followers.append((b"".join(next(follower) for _ in range(count)), follower))
    left = at

    def hook() -> None:
        nonlocal left
        if left == 0:
            raise Died
        left -= 1

    store = Stepping(name)
    store.hook = hook
    with pytest.raises(Died):
        change(store)
    return plain, followers


def archive(store: Any) -> None:
    logs.archive(store, "a")


@pytest.mark.parametrize(("pieces", "segments"), [(FEW, 3), (MANY, 68)])
def test_an_archiving_that_dies_anywhere_loses_nothing(pieces: list[bytes], segments: int) -> None:
    whole = b"".join(pieces)
    steps = steps_of(archive, pieces)
    assert steps == 2 * (1 + 1 + segments + 1)  # the whole, the manifest, segments, the end
    # all of few; of many the first ones and some of the deletions, which are alike
    for at in [*range(8), *range(8, steps, 1 + segments // 8)]:
        store, followers = change_and_die(archive, at, pieces)
        for offset in (0, 1, len(whole) // 2, len(whole)):
            reader = logs.LogReader(store, "a")
            assert reader.read(offset) == whole[offset:]
            assert b"".join(reader.follow(offset)) == whole[offset:]
        assert logs.LogReader(store, "a").stat()[:3] == ("a", len(whole), True)
        for got, follower in followers:
            assert got + b"".join(follower) == whole
        logs.archive(store, "a")
        assert len(list(store.list())) == 2
        assert logs.LogReader(store, "a").read() == whole


def test_a_deletion_that_dies_anywhere_leaves_no_half_of_a_log() -> None:
    def delete(store: Any) -> None:
        logs.delete(store, "a")

    for at in range(steps_of(delete, FEW)):
        store, _ = change_and_die(delete, at, FEW)
        reader = logs.LogReader(store, "a")
        if at == 0:
            assert reader.read() == b"".join(FEW)
            continue
        with pytest.raises(ErrNotExist):
            reader.read()
        # a new log of the name doesn't meet what is left of the former
        with logs.LogWriter(store, "a") as writer:
            writer.write(b"new")
        assert b"".join(reader.follow()) == b"new"


WRITE = """
import sys
from objectstorage.logs import LogWriter, archive
from objectstorage.posix import PosixStorage

store = PosixStorage(sys.argv[1])
with LogWriter(store, "a", flush_bytes=500, flush_seconds=0.01) as writer:
    sys.stdin.readline()
    for i in range(2000):
        writer.write(b"line %d\\n" % i)
archive(store, "a")
"""


def test_a_log_of_another_process_is_followed_across_its_archiving(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITE, str(tmp_path)]
    store = PosixStorage(tmp_path)
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        while not store.exists("a/=log"):
            assert process.poll() is None
        follower = logs.LogReader(store, "a").follow()
        process.communicate(b"go\n")
        assert b"".join(follower) == b"".join(b"line %d\n" % i for i in range(2000))
    assert process.returncode == 0
    assert [key.partition("-")[2] for key in (info.key for info in store.list())] == ["all", ""]


WRITE_AND_DIE = """
import os, signal, sys
from objectstorage.logs import LogWriter
from objectstorage.posix import PosixStorage

writer = LogWriter(PosixStorage(sys.argv[1]), "a", flush_seconds=1e6)
writer.write(b"flushed")
writer.flush()
writer.write(b"lost")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("then", ["resumed", "finished"])
def test_a_writer_that_is_killed(tmp_path: Path, then: str) -> None:
    done = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    store = PosixStorage(tmp_path)
    reader = logs.LogReader(store, "a")
    assert reader.stat()[:3] == ("a", 7, False)
    follower = reader.follow()
    assert next(follower) == b"flushed"
    if then == "resumed":
        with logs.LogWriter(store, "a", resume=True) as writer:
            writer.write(b", and on")
    else:
        assert logs.finish(store, "a", "killed").status == "killed"
    logs.archive(store, "a")
    assert b"".join(follower) == (b", and on" if then == "resumed" else b"")
    assert reader.stat().finished


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_after_a_fork_the_log_is_the_parents(tmp_path: Path) -> None:
    store = PosixStorage(tmp_path)
    with logs.LogWriter(store, "a", flush_seconds=NEVER) as writer:
        writer.write(b"the parent's")
        pid = os.fork()
        if pid == 0:
            try:
                writer.write(b"x")
            except ErrClosed:
                writer.close()
                os._exit(0)
            os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        assert writer.flushed == 0
    assert logs.LogReader(store, "a").read() == b"the parent's"
