"""Work beside the caller's, as a thread (see `_aiowork`)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Worker", "pause"]


def pause(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


class Worker:
    """Runs one function beside its owner, until it is asked to stop.

    It is asked, never interrupted: a write under way ends as it ends.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._event = threading.Event()
        self._thread: threading.Thread | None = None
        self.stopped = False

    def start(self, function: Callable[[], None]) -> None:
        """Begin; `function` returns once `stopped` is true."""
        # A daemon: an owner that was never closed must not keep the process alive.
        self._thread = threading.Thread(target=function, name=self._name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """End its `wait`, or the next one."""
        self._event.set()

    def wait(self, seconds: float | None) -> None:
        """In the function: until woken, or for so long."""
        self._event.wait(seconds)
        self._event.clear()

    def stop(self) -> None:
        """Ask it to return, and wait until it has."""
        self.stopped = True
        self._event.set()
        if self._thread is not None:
            self._thread.join()
