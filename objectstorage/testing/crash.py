"""What a local store must look like after a crash, at whatever moment it came.

A *scenario* is a few steps on a store; each says what it changes. `crash_stop`
lets the process die at every operation of a scenario, `crash_power` cuts the
power and lets the file system keep or lose what was not synced, `crash_kill`
kills real writers. After each, `verify` opens the store anew and checks: every
step that was acknowledged is there, the one under way is there as a whole or
not at all, nothing else has changed, and the next write sweeps the leftovers.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from objectstorage.local import ops
from objectstorage.local.store import LocalStorage
from objectstorage.storage import UNSET, Storage

__all__ = [
    "SCENARIOS",
    "Expected",
    "Machine",
    "Open",
    "Scenario",
    "Step",
    "contents",
    "progress",
    "unsynced",
    "verify",
]

Open = Callable[[Path, bool], LocalStorage]
"""Opens the store at a path, durable or not."""


class Machine:
    """The stores of a scenario: all on one directory, as in several processes."""

    def __init__(self, root: Path, open_store: Open) -> None:
        self.store = open_store(root, True)
        self.other = open_store(root, True)
        self.careless = open_store(root, False)

    def close(self) -> None:
        """Close them all."""
        for store in (self.store, self.other, self.careless):
            store.close()


class Step(NamedTuple):
    """One call on a store and what it changes: texts by key, None for none."""

    run: Callable[[Machine], object]
    changes: Mapping[str, str | None]
    durable: bool = True
    whole: bool = True
    """Whether all changes happen at once."""


class Scenario(NamedTuple):
    """Steps to crash in, after steps that are on disk and beyond any doubt."""

    name: str
    before: tuple[Step, ...]
    steps: tuple[Step, ...]


class Expected(NamedTuple):
    """What may be found after a crash."""

    texts: Mapping[str, str]
    """What was acknowledged."""

    vague: frozenset[str]
    """Keys whose last step was not durable: anything may be there."""

    under_way: Step | None


def progress(scenario: Scenario, done: int, *, power: bool) -> Expected:
    """What to expect when `done` of the steps were acknowledged.

    Without `power` a process died, and what was not durable counts as well.
    """
    texts: dict[str, str] = {}
    vague: set[str] = set()
    for step in (*scenario.before, *scenario.steps[:done]):
        for key, text in step.changes.items():
            texts.pop(key, None)
            vague.discard(key)
            if power and not step.durable:
                vague.add(key)
            elif text is not None:
                texts[key] = text
    under_way = scenario.steps[done] if done < len(scenario.steps) else None
    if power and under_way is not None and not under_way.durable:
        vague.update(under_way.changes)
    return Expected(texts, frozenset(vague), under_way)


@contextmanager
def unsynced() -> Iterator[None]:
    """Nothing is synced for real: what is crashed here is not the disk."""
    real = ops.fsync
    setattr(ops, "fsync", lambda fd: None)  # noqa: B010  # not of the type mypy knows
    try:
        yield
    finally:
        ops.fsync = real


def verify(store: Storage, expected: Expected, leftovers: Callable[[], list[str]]) -> None:
    """`AssertionError` unless the store, just opened, is as expected."""
    found = dict(contents(store, expected.vague))
    outcomes = [dict(expected.texts)]
    if expected.under_way is not None:
        outcomes.extend(_outcomes(expected.texts, expected.under_way))
    wanted = [_without(outcome, expected.vague) for outcome in outcomes]
    if expected.under_way is not None and expected.under_way.durable:
        # What it has made is no longer vague, if it has come that far.
        certain = expected.vague - set(expected.under_way.changes)
        wanted += [_without(outcome, certain) for outcome in outcomes[1:]]
    loose = _without(found, expected.vague)
    assert loose in wanted or found in wanted, f"found {found}, expected one of {wanted}"
    # What a crash left in the way of a key must not stay there.
    touched = expected.under_way.changes if expected.under_way is not None else ()
    for folder in {key.partition("/")[0] for key in touched if "/" in key}:
        if not any(key.startswith(folder) for key in found):
            store.put(folder, b"")
            store.delete(folder)
    store.put("after", b"fine")
    assert store.get("after") == b"fine"
    assert leftovers() == [], "the first write left temporaries of the dead"
    left = {info.key for info in store.list()}
    assert left == {*found, "after"}, f"the first write made {set(found)} {left}"


def contents(store: Storage, vague: frozenset[str] = frozenset()) -> Iterator[tuple[str, str]]:
    """Every key and its text; `AssertionError` if an object is no whole version."""
    for info in store.list():
        data, about = store.fetch(info.key)
        text = data[: len(data) // _REPEATS].decode("latin-1")
        if info.key not in vague:
            assert data == _bytes(text), f"{info.key} is torn: {data[:50]!r}…"
            kept = {} if text.startswith(_UPDATED) else {"text": text}
            assert about.metadata == kept, f"{info.key} lost its metadata"
        yield info.key, text


def _outcomes(texts: Mapping[str, str], step: Step) -> Iterator[dict[str, str]]:
    """With the step's changes; with any of them, if they don't come as one."""
    changes = list(step.changes.items())
    for choice in [2 ** len(changes) - 1] if step.whole else range(1, 2 ** len(changes)):
        outcome = dict(texts)
        for number, (key, text) in enumerate(changes):
            if choice >> number & 1:
                outcome.pop(key, None)
                if text is not None:
                    outcome[key] = text
        yield outcome


def _without(texts: Mapping[str, str], keys: frozenset[str] | set[str]) -> dict[str, str]:
    return {key: text for key, text in texts.items() if key not in keys}


# -- scenarios -----------------------------------------------------------------

_REPEATS = 40
_UPDATED = "updated"


def _bytes(text: str) -> bytes:
    return text.encode("latin-1") * _REPEATS


def _step(
    run: Callable[[Storage], object],
    changes: Mapping[str, str | None],
    *,
    by: str = "store",
    whole: bool = True,
) -> Step:
    """A step that one of the machine's stores does."""
    return Step(
        lambda machine: run(getattr(machine, by)), changes, durable=by != "careless", whole=whole
    )


def _put(key: str, text: str, *, by: str = "store", create: bool = False) -> Step:
    def run(store: Storage) -> object:
        return store.put(key, _bytes(text), metadata={"text": text}, create=create)

    return _step(run, {key: text}, by=by)


def _put_file(key: str, text: str) -> Step:
    def run(store: Storage) -> object:
        source = io.BytesIO(_bytes(text) + b"of the next")
        return store.put(key, source, size=len(_bytes(text)), metadata={"text": text})

    return _step(run, {key: text})


def _put_pieces(key: str, text: str) -> Step:
    def run(store: Storage) -> object:
        pieces = (text.encode("latin-1") for _ in range(_REPEATS))
        return store.put(key, pieces, metadata={"text": text})

    return _step(run, {key: text})


def _upload(key: str, text: str, *, by: str = "store") -> Step:
    def run(store: Storage) -> object:
        with tempfile.NamedTemporaryFile() as file:
            file.write(_bytes(text))
            file.flush()
            return store.upload(key, file.name, metadata={"text": text})

    return _step(run, {key: text}, by=by)


def _replace(key: str, text: str, *, by: str = "store") -> Step:
    def run(store: Storage) -> object:
        etag = store.stat(key).etag
        return store.put(key, _bytes(text), metadata={"text": text}, if_match=etag)

    return _step(run, {key: text}, by=by)


def _update(key: str, number: int, *, by: str = "store") -> Step:
    # An update leaves metadata as they are, so there are none to go with the text.
    text = f"{_UPDATED} {number}"
    return _step(lambda store: store.update(key, lambda old: _bytes(text)), {key: text}, by=by)


def _write(
    key: str, text: str, *, by: str = "store", create: bool = False, replace: bool = False
) -> Step:
    def run(store: Storage) -> None:
        etag = store.stat(key).etag if replace else UNSET
        with store.writer(key, metadata={"text": text}, create=create, if_match=etag) as writer:
            for _ in range(_REPEATS):
                writer.write(text.encode("latin-1"))

    return _step(run, {key: text}, by=by)


def _delete(key: str, *, by: str = "store") -> Step:
    return _step(lambda store: store.delete(key), {key: None}, by=by)


def _delete_version(key: str, *, by: str = "store") -> Step:
    return _step(lambda store: store.delete(key, if_match=store.stat(key).etag), {key: None}, by=by)


def _delete_many(*keys: str, by: str = "store") -> Step:
    return _step(lambda store: store.delete_many(keys), dict.fromkeys(keys), by=by, whole=False)


def _copy(src: str, dst: str, text: str, *, by: str = "store", create: bool = False) -> Step:
    return _step(lambda store: store.copy(src, dst, create=create), {dst: text}, by=by)


def _move(src: str, dst: str, text: str, *, by: str = "store", create: bool = False) -> Step:
    return _step(lambda store: store.move(src, dst, create=create), {src: None, dst: text}, by=by)


_OLD = (_put("a/b/k", "old"), _put("top", "other"))

SCENARIOS: tuple[Scenario, ...] = (
    Scenario("put into a new store", (), (_put("new/deep/k", "one"),)),
    Scenario("put over", _OLD, (_put("a/b/k", "new"), _put("a/b/k", "newer"))),
    Scenario("put into new folders", _OLD, (_put("new/deep/k", "one"), _put("new/deep/l", "two"))),
    Scenario("create", _OLD, (_put("new/k", "one", create=True),)),
    Scenario("put if match", _OLD, (_replace("a/b/k", "new"), _replace("a/b/k", "newer"))),
    Scenario("put without durability", _OLD, (_put("a/b/k", "new", by="careless"),)),
    Scenario(
        "a new store without durability, then with",
        (),
        (_put("new/k", "one", by="careless"), _put("new/l", "two"), _put("new/k", "three")),
    ),
    Scenario(
        "folders made without durability, then used with",
        _OLD,
        (_put("new/deep/k", "one", by="careless"), _put("new/deep/l", "two")),
    ),
    Scenario("write", _OLD, (_write("a/b/k", "new"), _write("new/k", "one"))),
    Scenario(
        "write on conditions",
        _OLD,
        (_write("a/b/k", "new", replace=True), _write("new/k", "one", create=True)),
    ),
    Scenario(
        "put from a file, from pieces, from a path",
        _OLD,
        (_put_file("a/b/k", "new"), _put_pieces("new/k", "one"), _upload("top", "up")),
    ),
    Scenario("update", _OLD, (_update("a/n", 1), _update("a/n", 2))),
    Scenario("delete", _OLD, (_delete("a/b/k"), _put("a/b/l", "after"))),
    Scenario(
        "delete what is gone, but not for certain",
        _OLD,
        (_delete("a/b/k", by="careless"), _delete("a/b/k")),
    ),
    Scenario(
        "folders pruned by another and made again",
        _OLD,
        (
            _put("a/b/k", "known"),
            _delete("a/b/k", by="other"),
            _put("a/b/k", "unsynced", by="careless"),
            _put("a/b/l", "last"),
        ),
    ),
    Scenario("delete if match", _OLD, (_delete_version("a/b/k"), _put("a/b/l", "after"))),
    Scenario(
        "delete many",
        (*_OLD, _put("a/b/l", "l"), _put("a/m", "m")),
        (_delete_many("a/b/k", "a/b/l", "a/m", "none/there"),),
    ),
    Scenario("copy", _OLD, (_copy("a/b/k", "new/copy", "old"), _copy("top", "a/b/k", "other"))),
    Scenario("copy to a free key", _OLD, (_copy("a/b/k", "new/copy", "old", create=True),)),
    Scenario("move", _OLD, (_move("a/b/k", "new/moved", "old"),)),
    Scenario("move over", _OLD, (_move("a/b/k", "top", "old"), _put("a/b/k", "again"))),
    Scenario("move within a folder", _OLD, (_move("a/b/k", "a/b/l", "old", create=True),)),
    Scenario(
        "move what was put without durability",
        _OLD,
        (_put("a/k", "soft", by="careless"), _move("a/k", "new/k", "soft")),
    ),
    Scenario(
        "write without durability",
        _OLD,
        (
            _put("new/k", "one", by="careless", create=True),
            _replace("new/k", "two", by="careless"),
            _write("a/b/k", "new", by="careless"),
            _upload("top", "up", by="careless"),
            _update("a/n", 1, by="careless"),
        ),
    ),
    Scenario(
        "copy, move and delete without durability",
        (*_OLD, _put("c/d", "d"), _put("c/e", "e")),
        (
            _copy("a/b/k", "new/copy", "old", by="careless"),
            _move("a/b/k", "new/moved", "old", by="careless"),
            _delete_version("top", by="careless"),
            _delete_many("c/d", "c/e", by="careless"),
        ),
    ),
)
"""Every operation that writes, alone and in the company that makes it hard."""
