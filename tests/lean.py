"""Calls in a small process of its own, for what forks or collects garbage all the time.

In the tests' process, with all that they import and all that was collected, a
fork takes five times as long.
"""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from functools import cache
from multiprocessing.connection import Connection
from typing import Any, TypeVar

__all__ = ["lean"]

_T = TypeVar("_T")


def lean(function: Callable[..., _T], *args: Any) -> _T:
    """`function(*args)`, called in the small process; a function that modules have by name.

    `AssertionError` with the traceback, if it raises.
    """
    calls = _process()
    calls.send((function, args))
    well, result = calls.recv()
    assert well, result
    value: _T = result
    return value


@cache
def _process() -> Connection[Any, Any]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    context.Process(target=_serve, args=(there,), daemon=True).start()
    there.close()
    return here


def _serve(calls: Connection[Any, Any]) -> None:
    while True:
        try:
            function, args = calls.recv()
        except EOFError:
            return  # the tests are done
        try:
            reply = (True, function(*args))
        except BaseException:
            reply = (False, traceback.format_exc())
        calls.send(reply)
