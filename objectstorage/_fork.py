"""Fresh locks and connections in a forked child; the parent's stay untouched."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class ForkAware(Protocol):
    """Something that holds locks or connections."""

    def _after_fork(self) -> None:
        """In the child: replace locks, forget connections without closing them cleanly."""


_objects: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def register(obj: ForkAware) -> None:
    """Call `obj._after_fork()` in every child forked while `obj` lives."""
    _objects.add(obj)


def _in_child() -> None:
    for obj in list(_objects):
        obj._after_fork()


os.register_at_fork(after_in_child=_in_child)
