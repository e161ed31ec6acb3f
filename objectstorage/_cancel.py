"""How a cancelled task keeps its thread from publishing.

An asynchronous write to a local store runs in a thread, which can't be
interrupted. It looks at a flag just before it publishes; whoever cancelled
waits for the thread and knows then whether it was in time.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar

__all__ = ["Cancelled", "check", "flag"]


class Cancelled(BaseException):
    """Raised instead of publishing; never leaves the package."""


flag: ContextVar[threading.Event | None] = ContextVar("objectstorage-cancelled", default=None)
"""The flag of the task that this thread works for."""


def check() -> None:
    """Raise `Cancelled` if the task that this thread works for was cancelled."""
    event = flag.get()
    if event is not None and event.is_set():
        raise Cancelled
