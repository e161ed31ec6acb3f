"""How long to wait so that bytes don't go faster than they may."""

from __future__ import annotations

import threading
import time

from objectstorage.errors import ErrBadRequest

__all__ = ["Pace", "check_limit"]

BURST = 0.1
"""Seconds' worth of bytes that may go at once after a rest."""


class Pace:
    """A rate that several threads share; `spend` never blocks, it tells how long to wait."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._due = 0.0  # when everything spent so far has had its time
        self._lock = threading.Lock()

    def spend(self, count: int, now: float | None = None) -> float:
        """The seconds to wait for `count` bytes, behind those of everybody before.

        >>> pace = Pace(1000)
        >>> pace.spend(100, now=50), pace.spend(500, now=50), pace.spend(500, now=50)
        (0.0, 0.5, 1.0)
        """
        if now is None:
            now = time.monotonic()
        with self._lock:
            self._due = max(self._due, now - BURST) + count / self._rate
            return max(0.0, self._due - now)


def check_limit(name: str, value: float | None) -> None:
    """A limit is a number above 0, or None for no limit."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number or None, not {type(value).__name__}")
    if not value > 0:
        raise ErrBadRequest(f"{name} is {value}; it is above 0")
