"""Waiting in the blocking face; not generated, since the two differ in shape."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from objectstorage.bodies import as_source, pull
from objectstorage.errors import ErrTimeout
from objectstorage.storage import Data

__all__ = ["Bell", "Turn", "chunks"]

_CHUNK = 256 * 1024


def chunks(data: Data) -> Iterator[bytes]:
    """The bytes of data, some at a time."""
    source = as_source(data)
    while chunk := pull(source, _CHUNK):
        yield bytes(chunk)


class Turn:
    """One at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, seconds: float | None) -> Iterator[None]:
        """One's turn, for the block; `ErrTimeout` if it does not come in time."""
        if not self._lock.acquire(timeout=-1 if seconds is None else max(0, seconds)):
            raise ErrTimeout("others took too long")
        try:
            yield
        finally:
            self._lock.release()


class Bell:
    """Rung once; `wait` ends early then."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def rung(self) -> bool:
        """Whether it was."""
        return self._event.is_set()

    def ring(self) -> None:
        """End all waiting, now and from now on."""
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Wait so long, or until it is rung."""
        self._event.wait(seconds)
