"""The process dies at operation N, for every N.

A forked child runs the scenario and ends without a word at the N-th operation
on files, a write half done; its kernel closes the descriptors and gives the
locks back, as that of any dead process. The parent then looks at what is left.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from objectstorage.local import ops
from objectstorage.testing.crash import Machine, Open, Scenario, progress, unsynced, verify

__all__ = ["stop_everywhere"]

_DIED, _BROKE = 9, 1
# To die before an operation that only reads is to die before the next that doesn't.
_READING = {"fstat", "getxattr", "listdir", "listxattr", "pread", "read", "scandir", "stat"}


def stop_everywhere(scenario: Scenario, folder: Path, open_store: Open) -> int:
    """Run the scenario to its death at every operation; how many deaths there were."""
    number = 0
    while _stop(scenario, folder / f"stop-{number}", open_store, number):
        number += 1
    return number


def _stop(scenario: Scenario, root: Path, open_store: Open, number: int) -> bool:
    """Whether there is an operation of that number to die at; checks what is left."""
    with unsynced():
        before = Machine(root, open_store)
        for step in scenario.before:
            step.run(before)
        before.close()
        died, done = _run(scenario, root, open_store, number)
        try:
            with open_store(root, False) as store:
                verify(
                    store,
                    progress(scenario, done, power=False),
                    lambda: os.listdir(root / ".objectstorage/tmp"),
                )
        except BaseException as exc:
            exc.add_note(f"{scenario.name}: died at operation {number}, {done} steps done")
            raise
    assert died or done == len(scenario.steps)
    return died


def _run(scenario: Scenario, root: Path, open_store: Open, number: int) -> tuple[bool, int]:
    """Whether the child died at that operation, and how many steps it acknowledged."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # The child uses nothing that another thread might have held.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _child(scenario, root, open_store, number, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as lines:
        done = len(lines.read())
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, _DIED), f"{scenario.name} broke before operation {number}"
    return code == _DIED, done


def _child(scenario: Scenario, root: Path, open_store: Open, number: int, writer: int) -> None:
    left = number

    def dying(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any, **options: Any) -> Any:
            nonlocal left
            if left == 0:
                if name == "write":
                    os.write(args[0], args[1][: len(args[1]) // 2])
                os._exit(_DIED)
            left -= 1
            return real(*args, **options)

        return operation

    try:
        for name in set(ops.__all__) - _READING:
            setattr(ops, name, dying(name, getattr(ops, name)))
        machine = Machine(root, open_store)
        for step in scenario.steps:
            step.run(machine)
            os.write(writer, b".")
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(_BROKE)
    os._exit(0)
