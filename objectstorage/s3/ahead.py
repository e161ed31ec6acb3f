"""Parts of one version read beside each other: in order for readers, all of them for ranges."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from objectstorage.s3.effects import Effects, Spawn, Task, WaitAny

__all__ = ["Ahead", "fetch_all", "settle_all"]

FetchPart = Callable[[int, int], Effects[bytes]]
"""Bytes from start to end (exclusive) of the version."""


class Ahead:
    """Bytes from `place` to `size`, given out in order, `most` parts of them in memory."""

    def __init__(self, fetch: FetchPart, place: int, size: int, part: int, most: int) -> None:
        self._fetch = fetch
        self._next = place
        self._size = size
        self._part = part
        self._most = most
        self._flying: deque[Task] = deque()
        self._block = memoryview(b"")

    def read(self, n: int) -> Effects[bytes]:
        """At most `n` bytes; b"" at the end only."""
        while not self._block:
            # One of `most` has just been read to its end.
            while len(self._flying) < self._most and self._next < self._size:
                stop = min(self._next + self._part, self._size)
                self._flying.append((yield Spawn(self._fetch(self._next, stop))))
                self._next = stop
            if not self._flying:
                return b""
            yield WaitAny([self._flying[0]])
            task = self._flying.popleft()
            error = task.settle()
            if error is not None:
                raise error
            self._block = memoryview(task.result())
        piece = bytes(self._block[:n])
        self._block = self._block[n:]
        return piece

    def close(self) -> Effects[None]:
        """Stop reading ahead."""
        flying, self._flying, self._next = [*self._flying], deque(), self._size
        self._block = memoryview(b"")
        yield from settle_all(flying)


def fetch_all(
    fetch: FetchPart, ranges: Sequence[tuple[int, int]], most: int
) -> Effects[list[bytes]]:
    """All the ranges, in their order, up to `most` of them in flight."""
    results = [b""] * len(ranges)
    flying: dict[Task, int] = {}
    waiting = deque(enumerate(ranges))
    try:
        while waiting or flying:
            while waiting and len(flying) < most:
                number, (start, stop) = waiting.popleft()
                flying[(yield Spawn(fetch(start, stop)))] = number
            done: list[Task] = yield WaitAny(list(flying))
            for task in done:
                number = flying.pop(task)
                error = task.settle()
                if error is not None:
                    raise error
                results[number] = task.result()
    except BaseException:
        yield from settle_all(list(flying))
        raise
    return results


def settle_all(tasks: list[Task]) -> Effects[None]:
    """Cancel tasks whose results nobody wants, and see them end."""
    for task in tasks:
        task.cancel()
    while tasks:
        done: list[Task] = yield WaitAny(tasks)
        tasks = [task for task in tasks if task not in done]
        for task in done:
            task.settle()
