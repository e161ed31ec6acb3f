"""Each operation on files fails, in each write of a local store; and the order of a write."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Tried
from lean import lean
from long import LONG

from objectstorage.errors import ErrExist
from objectstorage.local import ops
from objectstorage.local.atomic import Temporary
from objectstorage.posix import PosixStorage
from objectstorage.posixflat import PosixFlatStorage
from objectstorage.storage import Storage
from objectstorage.testing.crash import SCENARIOS, Machine, Open, Scenario, Step
from objectstorage.testing.crash_fail import FAILURES, fail_everywhere

pytestmark = pytest.mark.faults


def posix(root: Path, durable: bool) -> PosixStorage:
    return PosixStorage(root, durable=durable)


def flat(root: Path, durable: bool) -> PosixFlatStorage:
    return PosixFlatStorage(root, durable=durable)


def named(name: str) -> Scenario:
    return next(scenario for scenario in SCENARIOS if scenario.name == name)


# Every write, and every way to fail, at least once; all with all in the long form.
_SOME = (
    "put into a new store",
    "put from a file, from pieces, from a path",
    "write on conditions",
    "delete if match",
    "delete many",
    "copy",
    "move",
)
_CASES = [
    pytest.param(
        scenario.name, open_store, error, id=f"{scenario.name}-{open_store.__name__}-{code}"
    )
    for scenario in SCENARIOS
    for open_store in (posix, flat)
    for error, code in ((error, errno.errorcode[error]) for error in FAILURES)
    if LONG
    or (open_store is posix and error == errno.EIO)
    or (scenario.name in _SOME and error != errno.EDQUOT)
    or scenario.name == _SOME[0]
]


def failures_in(name: str, folder: Path, open_store: Open, error: int) -> int:
    return fail_everywhere(named(name), folder, open_store, error)


@pytest.mark.parametrize(("name", "open_store", "error"), _CASES)
def test_each_operation_fails(
    tmp_path: Path, name: str, open_store: Open, error: int, tried: Tried
) -> None:
    failures = lean(failures_in, name, tmp_path, open_store, error)
    # what writes nothing meets no limit of what is written
    assert failures or error == errno.EFBIG
    tried("resources", f"operations on files that failed with {errno.errorcode[error]}", failures)


@pytest.mark.parametrize("open_store", [posix, flat])
@pytest.mark.parametrize("error", [errno.EIO, errno.EACCES])
def test_each_operation_fails_of_a_create_that_is_refused(
    tmp_path: Path, open_store: Open, error: int
) -> None:
    def refused(machine: Machine) -> None:
        for call in (
            lambda: machine.store.put("top", b"new", create=True),
            lambda: machine.store.copy("a/b/k", "top", create=True),
        ):
            with pytest.raises(ErrExist):
                call()

    scenario = named("create")._replace(steps=(Step(refused, {}),))
    assert fail_everywhere(scenario, tmp_path, open_store, error)


# -- a store that fails badly must be noticed ----------------------------------


def test_a_temporary_left_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Temporary, "discard", lambda self: self.release())
    with pytest.raises(AssertionError, match="temporaries were left"):
        fail_everywhere(named("put over"), tmp_path, posix, errno.ENOSPC)


def test_a_descriptor_left_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "let_go", lambda fd: None)
    with pytest.raises(AssertionError, match="descriptors were left"):
        fail_everywhere(named("put over"), tmp_path, posix, errno.EIO)


def test_a_lie_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def settle(self: Any, root: Any, path: bytes, parent: int, durable: bool) -> None:
        root.sync(path, parent)  # an error here would say that nothing was written

    monkeypatch.setattr(PosixStorage, "_settle", settle)
    with pytest.raises((AssertionError, OSError)):
        fail_everywhere(named("put over"), tmp_path, posix, errno.EIO)


# -- the order of a write, in every form ---------------------------------------


class Notes:
    """What is done to files from now on, in words."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.said: list[str] = []
        self._root = root
        for name in ("open", "write", "setxattr", "utime", "fsync", "dup", "close", "flock"):
            monkeypatch.setattr(ops, name, self._noting(name, getattr(ops, name)))
        for name in ("rename", "rename_exclusive", "mkdir", "unlink"):
            monkeypatch.setattr(ops, name, self._noting(name, getattr(ops, name)))

    def _noting(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any, **options: Any) -> Any:
            about = self._about(args[0]) if isinstance(args[0], int) else ""
            if name == "open" and args[1] & os.O_CREAT:
                about = "temporary" if args[1] & os.O_EXCL else "a file that may be there"
            self.said.append(f"{name} {about}".strip())
            return real(*args, **options)

        return operation

    def _about(self, fd: int) -> str:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        if path.is_relative_to(self._root / ".objectstorage/tmp"):
            return "temporary" if path != self._root / ".objectstorage/tmp" else "tmp"
        return "published" if path.is_file() else str(path.relative_to(self._root))


_DATA = b"x" * 100

WRITES: dict[str, Callable[[Storage, Path], object]] = {
    "put": lambda store, _: store.put("a/b/k", _DATA, metadata={"m": "1"}),
    "put pieces": lambda store, _: store.put("a/b/k", iter([_DATA]), metadata={"m": "1"}),
    "put a file": lambda store, _: store.put(
        "a/b/k", io.BytesIO(_DATA), size=100, metadata={"m": "1"}
    ),
    "create": lambda store, _: store.put("a/b/k", _DATA, metadata={"m": "1"}, create=True),
    "if match": lambda store, _: store.put(
        "a/b/k", _DATA, metadata={"m": "1"}, if_match=store.stat("a/b/k").etag
    ),
    "upload": lambda store, path: store.upload("a/b/k", path, metadata={"m": "1"}),
    "copy": lambda store, _: store.copy("source", "a/b/k"),
    "update": lambda store, _: store.update("a/b/k", lambda old: _DATA),
}


@pytest.mark.parametrize("name", WRITES)
def test_the_order_of_every_write(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, path = tmp_path / "store", tmp_path / "file"
    path.write_bytes(_DATA)
    store = PosixStorage(root)
    store.put("source", _DATA, metadata={"m": "1"})
    if name in ("if match", "update"):
        PosixStorage(root).put("a/b/k", b"old", metadata={"m": "1"})
    notes = Notes(monkeypatch, root)
    WRITES[name](store, path)
    said = notes.said
    publish = "rename_exclusive" if name == "create" else "rename"
    order = [
        "open temporary",
        "flock temporary",
        *([] if name == "copy" else ["write temporary"]),  # the kernel copies
        "setxattr temporary",
        "utime temporary",
        "fsync temporary",
        "dup temporary",
        "close temporary",
        "flock a/b",
        publish,
        "flock a/b",
        "close published",  # and with it the lock against sweepers
        "fsync a/b",
        "fsync a",
        "fsync .",
    ]
    at = -1
    for step in order:
        assert step in said[at + 1 :], f"{step!r} is missing in its place: {said}"
        at = said.index(step, at + 1)
    # nothing is synced, published or thrown away beyond that
    synced = [step for step in said if step.startswith("fsync")]
    assert synced == [step for step in order if step.startswith("fsync")]
    assert [step for step in said if "rename" in step or "unlink" in step] == [publish]
    assert said.count("open temporary") == said.count("fsync temporary") == 1
    assert "a file that may be there" not in " ".join(said)


def test_a_failed_sync_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PosixStorage(tmp_path / "store")
    store.put("k", b"old")
    notes = Notes(monkeypatch, tmp_path / "store")

    def failing(fd: int) -> None:
        notes.said.append(f"fsync {notes._about(fd)}")
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(ops, "fsync", failing)
    with contextlib.suppress(OSError):
        store.put("k", b"new")
    assert [step for step in notes.said if "fsync" in step] == ["fsync temporary"]
    assert "rename" not in notes.said
    assert store.get("k") == b"old"
