"""What ends a transaction before its time: its deadline, a cancelled task, a signal."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator

from objectstorage import _cancel
from objectstorage.errors import ErrBadRequest, ErrTimeout, StorageError

__all__ = ["Control", "deadline_of", "left_until"]


def deadline_of(timeout: float | None) -> float | None:
    """The moment that is `timeout` seconds from now; None for none."""
    if timeout is None:
        return None
    if not timeout >= 0:
        raise ErrBadRequest(f"timeout is {timeout}; it is at least 0")
    return time.monotonic() + timeout


def left_until(deadline: float | None) -> float | None:
    """Seconds until then, below 0 if it has passed; None for no deadline."""
    return None if deadline is None else deadline - time.monotonic()


class Control:
    """Goes with one transaction from the call to its end. Times in seconds.

    `operation` and `url` are what its errors say of where they happened.
    """

    def __init__(self, timeout: float | None, operation: str, url: str) -> None:
        self.operation = operation
        self.url = url
        self._timeout = timeout
        try:
            self._deadline = deadline_of(timeout)
        except StorageError as exc:
            raise self.place(exc)
        # of the task that this thread works for, if it works for one
        self._stopped = _cancel.flag.get() or threading.Event()
        self._raised: BaseException | None = None
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def place(self, error: StorageError) -> StorageError:
        """The error, which says where it happened."""
        return error.at(operation=self.operation, storage=self.url)

    @property
    def left(self) -> float | None:
        """How long until the deadline; None if there is none."""
        return left_until(self._deadline)

    @property
    def ended(self) -> bool:
        """Whether it is to go no further."""
        left = self.left
        return self._stopped.is_set() or self._raised is not None or (left is not None and left < 0)

    def check(self) -> None:
        """Raise what ends the transaction, if something does."""
        if self._raised is not None:
            raise self._raised
        if self._stopped.is_set():
            raise _cancel.Cancelled
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise self.place(ErrTimeout(f"the transaction took longer than {self._timeout} s"))

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        left = self.left
        self._stopped.wait(seconds if left is None else max(0.0, min(seconds, left)))

    def stop(self) -> None:
        """End it, from another thread: also in the middle of a statement."""
        self._stopped.set()
        with self._lock:
            if self._connection is not None:
                self._connection.interrupt()

    def works_on(self, connection: sqlite3.Connection | None) -> None:
        """Which connection `stop` interrupts."""
        with self._lock:
            self._connection = connection

    def watch(self) -> Iterator[bool]:
        """What SQLite asks now and then in the middle of a statement: whether to stop.

        `Connection.interrupt` alone could come just before a statement begins,
        when it does nothing. A signal's handler runs here, too: its exception is
        kept, since SQLite swallows what a callback raises. A generator, because
        the exception of a handler comes up where Python code goes on: here
        that is inside the `try`, in a function it would be before it.
        """
        stop = False
        while True:
            try:
                yield stop
                stop = self.ended
            except GeneratorExit:
                return
            except BaseException as exc:
                self._raised = exc
                stop = True
