"""An operation on files fails, for every operation: what the caller is told, and what is left.

The process lives on, so more is asked than after a death: the error is one of
the store's own and of the right kind; one that says that nothing happened means
it; no temporary and no descriptor is left; the same store works on.
"""

from __future__ import annotations

import errno
import gc
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from objectstorage.errors import (
    ErrDurabilityUnknown,
    ErrIO,
    ErrPartial,
    ErrPermission,
    StorageError,
)
from objectstorage.local import ops
from objectstorage.testing.crash import (
    Machine,
    Open,
    Scenario,
    Step,
    contents,
    progress,
    unsynced,
    verify,
)

__all__ = ["FAILURES", "fail_everywhere"]

_MAKING = ("write", "setxattr", "mkdir", "open", "rename", "rename_exclusive", "link")
_NAMING = ("open", "mkdir", "rename", "rename_exclusive", "unlink", "rmdir", "stat", "scandir")

FAILURES: dict[int, frozenset[str]] = {
    errno.EIO: frozenset(ops.__all__),
    errno.ENOSPC: frozenset((*_MAKING, "fsync", "close")),
    errno.EDQUOT: frozenset((*_MAKING, "fsync", "close")),
    errno.EFBIG: frozenset(("write", "copy_range")),
    errno.EMFILE: frozenset(("open", "dup", "scandir")),
    errno.EACCES: frozenset(_NAMING),
}
"""Errors, and the operations (names of `objectstorage.local.ops`) that may give them."""


class _Fault:
    """Makes the n-th of some operations fail."""

    def __init__(self, number: int, error: int) -> None:
        self._left = number
        self.error = error
        self.hit = ""

    @contextmanager
    def placed(self) -> Iterator[None]:
        """In place of the operations that may fail so."""
        real = {name: getattr(ops, name) for name in FAILURES[self.error]}
        try:
            for name, operation in real.items():
                setattr(ops, name, self._failing(name, operation))
            yield
        finally:
            for name, operation in real.items():
                setattr(ops, name, operation)

    def _failing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left != -1:
                return real(*args, **options)
            self.hit = name
            if name == "close":
                real(*args)  # the descriptor is gone all the same
            raise OSError(self.error, os.strerror(self.error))

        return operation


def fail_everywhere(scenario: Scenario, folder: Path, open_store: Open, error: int) -> int:
    """Run the scenario with each operation failing in turn; how many that were."""
    number = 0
    gc.collect()
    gc.freeze()  # so that to collect after each failure is quick
    try:
        while _fail(scenario, folder / f"fail-{error}-{number}", open_store, _Fault(number, error)):
            number += 1
    finally:
        gc.unfreeze()
    return number


def _fail(scenario: Scenario, root: Path, open_store: Open, fault: _Fault) -> bool:
    with unsynced(), warnings.catch_warnings():
        warnings.simplefilter("error")
        before = Machine(root, open_store)
        for step in scenario.before:
            step.run(before)
        before.close()
        gc.collect()  # what others left must not close its files among these operations
        opened = _descriptors()
        try:
            _run(scenario, root, open_store, fault)
            gc.collect()
            assert _descriptors() == opened, "descriptors were left open"
            with open_store(root, False) as store:
                verify(store, progress(scenario, len(scenario.steps), power=False), list)
        except BaseException as exc:
            exc.add_note(f"{scenario.name}: {fault.hit} failed with {errno.errorcode[fault.error]}")
            raise
    return bool(fault.hit)


def _run(scenario: Scenario, root: Path, open_store: Open, fault: _Fault) -> None:
    """All the steps; the one that failed is done again if it says that nothing happened."""
    machine = Machine(root, open_store)
    try:
        for done, step in enumerate(scenario.steps):
            try:
                with fault.placed():
                    step.run(machine)
                failed: BaseException | None = None
            except StorageError as exc:
                failed = exc
            if failed is None:
                continue
            _check_kind(failed, fault.error)
            expected = dict(progress(scenario, done, power=False).texts)
            happened = _happened(failed, step)
            for key in happened:
                expected.pop(key, None)
                if (text := step.changes[key]) is not None:
                    expected[key] = text
            _check_now(root, open_store, expected, fault)
            if len(happened) < len(step.changes):
                step.run(machine)
    finally:
        machine.close()


def _check_now(root: Path, open_store: Open, expected: dict[str, str], fault: _Fault) -> None:
    with open_store(root, False) as store:
        found = dict(contents(store))
    assert found == expected, f"found {found}, expected {expected}"
    # That the name of a temporary can't be removed is for the next sweep.
    tmp = root / ".objectstorage/tmp"
    left = os.listdir(tmp) if tmp.exists() else []
    assert left == [] or fault.hit == "unlink", f"temporaries were left: {left}"


def _check_kind(failed: BaseException, error: int) -> None:
    if isinstance(failed, ErrPartial):
        for one in failed.exceptions:
            _check_kind(one, error)
        return
    kind = ErrPermission if error == errno.EACCES else ErrIO
    assert isinstance(failed, kind | ErrDurabilityUnknown), f"told as {failed!r}"
    assert failed.errno == error, f"told as {failed.errno}"


def _happened(failed: BaseException, step: Step) -> list[str]:
    """The keys whose change is visible, if the error is to be believed."""
    if isinstance(failed, ErrPartial):
        return [
            key
            for key in step.changes
            if isinstance(failed.failed.get(key), ErrDurabilityUnknown | None)
        ]
    return list(step.changes) if isinstance(failed, ErrDurabilityUnknown) else []


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
