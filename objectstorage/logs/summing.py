"""Which segments of a growing log are written once more, together.

A log that is flushed four times a second has 14,400 segments after an hour, and
a reader who starts then would ask for each. So what was flushed is summed up
now and then: the sum is an object beside the segments, which stay.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Sum", "Summing"]

SEGMENTS = 64
BYTES = 256 * 1024  # each of many readers may hold one
FEWEST = 8  # fewer are not worth it: they are large


class Sum(NamedTuple):
    """The bytes of some segments, one after the other, from `start` on."""

    start: int
    data: bytes


class Summing:
    """Collects what a writer flushes, at most `BYTES` of it.

    >>> summing = Summing()
    >>> sums = [summing.add(i, b"x") for i in range(100)]
    >>> [(i, one.start, len(one.data)) for i, one in enumerate(sums) if one]
    [(63, 0, 64)]
    """

    def __init__(self) -> None:
        self._start = 0
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, start: int, data: bytes) -> Sum | None:
        """One more segment; the sum of those before it, or with it, if that is worth writing."""
        done = None
        if self._size + len(data) > BYTES or (self._parts and start != self._start + self._size):
            done = self._take()
        if not self._parts:
            self._start = start
        self._parts.append(data)
        self._size += len(data)
        if len(self._parts) == SEGMENTS:
            done = self._take()
        return done

    def _take(self) -> Sum | None:
        parts, self._parts, self._size = self._parts, [], 0
        return Sum(self._start, b"".join(parts)) if len(parts) >= FEWEST else None
