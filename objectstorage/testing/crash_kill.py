"""Real writers in processes of their own, killed at any moment, and what they left.

Each writer owns some keys and shares none. It does one thing after another to
them, by every kind of write, and says so in a log: what it found at its start,
what it is about to do, that it was acknowledged. When it is dead, the last line
of each key says what must be there, and what may be. Another writer then takes
its keys over while the others go on, so that its first write, which sweeps what
the dead have left, meets the temporaries of the living.

The kernel goes on after the death of a process, so this says nothing about
power; that is `crash_power`'s.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from objectstorage.errors import ErrNotExist
from objectstorage.storage import Storage
from objectstorage.testing.crash import Open

__all__ = ["kill_writers"]

# Writers meet in these folders, which come and go with what is in them.
_KEYS = ("shared/{}", "shared/deep/{}", "{}/own/folder")
_NONE = "-"
_Texts = dict[str, str]


class _Writer(NamedTuple):
    number: int
    process: int
    log: Path


def kill_writers(
    open_store: Open, folder: Path, *, writers: int, kills: int, chance: random.Random
) -> int:
    """Let writers be killed and replaced, `kills` in all; how many writes were acknowledged.

    `AssertionError` for a write that was acknowledged and lost, an object that
    is no whole version, or leftovers after the next open's first write. Goes on
    with what an earlier call left in `folder`.
    """
    folder.mkdir(exist_ok=True)
    root = folder / "store"
    with open_store(root, False) as reader:
        known = {number: _of(_contents(reader), number) for number in range(writers)}
        lives = [_start(open_store, root, folder, number, 0) for number in range(writers)]
        acknowledged = 0
        try:
            for life in range(1, kills - writers + 1):
                # Not to wait for anything: any moment is as good as another.
                time.sleep(chance.uniform(0, 0.04))
                number = chance.randrange(writers)
                acknowledged += _bury(lives[number], known)
                lives[number] = _start(open_store, root, folder, number, life)
                _contents(reader)
        finally:
            for writer in lives:
                os.kill(writer.process, signal.SIGKILL)
        for writer in lives:
            acknowledged += _bury(writer, known, killed=True)
    _check_the_end(open_store, root, known)
    return acknowledged


def _check_the_end(open_store: Open, root: Path, known: dict[int, _Texts]) -> None:
    with open_store(root, False) as store:
        found = _contents(store)
        for number, texts in known.items():
            _explain(_of(found, number), texts)
        store.put("after", b"")
        assert os.listdir(root / ".objectstorage/tmp") == [], "temporaries of the dead"
        store.delete("after")
        for number in known:
            known[number] = _of(found, number)


# What is known of a writer's keys: the text of each, or those it may have.


def _explain(found: _Texts, known: _Texts) -> None:
    """`AssertionError` unless each key has a text it may have, and a move is whole."""
    choices = [{key: texts.split("|")[0] for key, texts in known.items()}]
    if any("|" in texts for texts in known.values()):
        choices.append({key: texts.split("|")[-1] for key, texts in known.items()})
    assert found in choices, f"found {found}, expected one of {choices}"


def _bury(writer: _Writer, known: dict[int, _Texts], *, killed: bool = False) -> int:
    """Kill a writer and read its log; how many of its writes were acknowledged."""
    if not killed:
        os.kill(writer.process, signal.SIGKILL)
    _, status = os.waitpid(writer.process, 0)
    assert os.WIFSIGNALED(status), "a writer failed before it was killed"
    lines = writer.log.read_text().splitlines(keepends=True)
    writer.log.unlink()
    texts, about = known[writer.number], dict[str, str]()
    acknowledged = 0
    for line in lines:
        if not line.endswith("\n"):
            break  # a line that was cut short was never said
        verb, *changes = line.split()
        if verb == "found":
            found = dict(change.split("=") for change in changes)
            _explain(found, texts)
            texts = found
        elif verb == "done":
            texts, about = texts | about, {}
            acknowledged += 1
        else:
            about = dict(change.split("=") for change in changes)
    known[writer.number] = texts | {key: f"{texts[key]}|{text}" for key, text in about.items()}
    return acknowledged


def _contents(store: Storage) -> _Texts:
    """The text of every object; each is whole."""
    found = {}
    for info in store.list():
        try:
            data = store.get(info.key)
        except ErrNotExist:
            continue  # writers are at work
        words = set(data.split())
        assert len(words) == 1, f"{info.key} is no whole version: {sorted(words)[:3]}"
        found[info.key] = words.pop().decode()
    return found


def _of(found: _Texts, number: int) -> _Texts:
    return {key: found.get(key, _NONE) for key in (key.format(number) for key in _KEYS)}


# -- what a writer does, until it is killed ------------------------------------


def _start(open_store: Open, root: Path, folder: Path, number: int, life: int) -> _Writer:
    log = folder / f"log-{number}-{life}"
    with warnings.catch_warnings():
        # The child uses nothing that another thread might have held.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            with open_store(root, False) as store:
                _write(store, number, lambda line: os.write(fd, line.encode() + b"\n"))
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(1)
    # A log that isn't there yet must not look like a writer that said nothing.
    log.touch()
    return _Writer(number, child, log)


def _write(store: Storage, number: int, say: Callable[[str], object]) -> None:
    chance = random.Random(os.getpid())
    # Not by listing all: others' objects come and go.
    here = _of({}, number)
    for key in here:
        if store.exists(key):
            here[key] = store.get(key).split()[0].decode()
    say(_line("found", here))
    count = 0
    while True:
        count += 1
        key, other = chance.sample(sorted(here), 2)
        verb = chance.choice(["put", "put", "write", "match", "delete", "copy", "move"])
        text = f"{os.getpid()}.{count}"
        data = f"{text} ".encode() * chance.choice([1, 100, 10_000])
        if here[key] == _NONE and verb not in ("put", "write"):
            continue
        changes = {
            "delete": {key: _NONE},
            "copy": {other: here[key]},
            "move": {key: _NONE, other: here[key]},
        }.get(verb, {key: text})
        say(_line(verb, changes))
        if verb == "put":
            store.put(key, data, create=here[key] == _NONE)
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
        here.update(changes)


def _line(verb: str, texts: _Texts) -> str:
    return " ".join([verb, *(f"{key}={text}" for key, text in texts.items())])
