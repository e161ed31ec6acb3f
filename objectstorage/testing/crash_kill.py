"""Real writers in processes of their own, killed at any moment, and what they left.

Each writer owns some keys and shares none. It does one thing after another to
them, by every kind of write, and says so on a pipe: first what it is about to
do, then that it was acknowledged. When all are dead, the last line of each key
says what must be there, and what may be.

The kernel goes on after the death of a process, so this says nothing about
power; that is `crash_power`'s.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from objectstorage.local.store import LocalStorage
from objectstorage.posix import PosixStorage
from objectstorage.posixflat import PosixFlatStorage

__all__ = ["STORES", "kill_writers"]

STORES: dict[str, type[PosixStorage] | type[PosixFlatStorage]] = {
    "posix": PosixStorage,
    "posixflat": PosixFlatStorage,
}

# Writers meet in these folders, which come and go with what is in them.
_KEYS = ("shared/{}", "shared/deep/{}", "{}/own/folder")


def kill_writers(kind: str, root: Path, *, writers: int, chance: random.Random) -> int:
    """Start writers, kill them after a moment, check; how many writes were acknowledged.

    Goes on with what an earlier call left in `root`.
    """
    with STORES[kind](root, durable=False) as store:
        before = _contents(store)
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-m", __name__, kind, str(root), str(number)],
            stdout=subprocess.PIPE,
        )
        for number in range(writers)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        # Not to wait for anything: any moment is as good as another.
        time.sleep(chance.uniform(0.01, 0.3))
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
        outputs = [process.communicate()[0].decode() for process in processes]
    with STORES[kind](root, durable=False) as store:
        found = _contents(store)
        acknowledged = 0
        for number, output in enumerate(outputs):
            acknowledged += _check(found, before, _keys(number), output)
        store.put("after", b"")
        assert os.listdir(root / ".objectstorage/tmp") == []
        store.delete("after")
    return acknowledged


def _contents(store: LocalStorage) -> dict[str, str]:
    found = {}
    for info in store.list():
        data = store.get(info.key)
        words = set(data.split())
        assert len(words) == 1, f"{info.key} is no whole version: {sorted(words)[:3]}"
        found[info.key] = words.pop().decode()
    return found


def _check(found: dict[str, str], before: dict[str, str], keys: list[str], output: str) -> int:
    """Compare one writer's keys with what it said; how often it was acknowledged."""
    known = {key: before.get(key, "-") for key in keys}
    about: dict[str, str] = {}
    acknowledged = 0
    # A line that was cut short was never said.
    for line in output.splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        verb, *changes = line.split()
        if verb == "done":
            known.update(about)
            about = {}
            acknowledged += 1
        else:
            about = dict(change.split("=") for change in changes)
    now = {key: found.get(key, "-") for key in keys}
    assert now in (known, known | about), f"found {now}, expected {known} or with {about}"
    return acknowledged


def _keys(number: int) -> list[str]:
    return [key.format(number) for key in _KEYS]


def _write(kind: str, root: str, number: int) -> None:
    """What a writer does, until it is killed."""
    chance = random.Random(os.getpid())
    store = STORES[kind](root, durable=False)
    keys = _keys(number)
    here = {info.key: store.get(info.key).split()[0].decode() for info in store.list()}
    count = 0

    def say(line: str) -> None:
        os.write(1, line.encode() + b"\n")

    say("ready")
    while True:
        count += 1
        key, other = chance.sample(keys, 2)
        verb = chance.choice(["put", "put", "write", "match", "delete", "copy", "move"])
        text = f"{os.getpid()}.{count}"
        data = f"{text} ".encode() * chance.choice([1, 100, 10_000])
        changes = {key: text}
        if key not in here and verb not in ("put", "write"):
            continue
        if verb == "delete":
            changes = {key: "-"}
        elif verb == "copy":
            changes = {other: here[key]}
        elif verb == "move":
            changes = {key: "-", other: here[key]}
        say(" ".join([verb, *(f"{name}={value}" for name, value in changes.items())]))
        if verb == "put":
            store.put(key, data, create=key not in here)
        elif verb == "write":
            with store.writer(key) as writer:
                for start in range(0, len(data), 50_000):
                    writer.write(data[start : start + 50_000])
        elif verb == "match":
            store.put(key, data, if_match=store.stat(key).etag)
        elif verb == "delete":
            store.delete(key)
        elif verb == "copy":
            store.copy(key, other)
        else:
            store.move(key, other)
        say("done")
        for name, value in changes.items():
            here.pop(name, None)
            if value != "-":
                here[name] = value


if __name__ == "__main__":
    _write(sys.argv[1], sys.argv[2], int(sys.argv[3]))
