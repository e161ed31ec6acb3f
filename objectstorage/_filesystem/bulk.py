"""Many at once: what a bulk call is made of, done side by side, results in order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from objectstorage.ranges import coalesce
from objectstorage.storage import Fetched

__all__ = ["Planner", "each", "keeping_errors", "ranges_of", "slice_of"]

_A = TypeVar("_A")
_R = TypeVar("_R")


def each(fn: Callable[[_A], _R], items: Iterable[_A], workers: int) -> list[_R]:
    """`fn` of each item, in order, at most `workers` at once; the first error ends it.

    The threads live no longer than the call: there are none to lose in a fork.

    >>> each(len, ["a", "bc"], 2)
    [1, 2]
    """
    todo = list(items)
    if workers < 2 or len(todo) < 2:
        return [fn(item) for item in todo]
    with ThreadPoolExecutor(min(workers, len(todo)), "objectstorage-fs") as pool:
        try:
            return list(pool.map(fn, todo))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def keeping_errors(fn: Callable[[_A], _R]) -> Callable[[_A], _R | Exception]:
    """The same function, but an error is what it gives."""

    def kept(item: _A) -> _R | Exception:
        try:
            return fn(item)
        except Exception as exc:
            return exc

    return kept


class Planner:
    """A file system that writes down what it is asked to get, put or copy.

    fsspec's own rules of what goes where (globs, slashes, what exists) are
    long and are not repeated here: its methods run on this and give the pairs.
    """

    def __init__(self, fs: Any) -> None:
        self._fs = fs
        self.pairs: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)

    def _note(self, source: str, target: str, **kwargs: Any) -> None:
        self.pairs.append((source, target))

    get_file = put_file = cp_file = _note


def slice_of(start: int | None, end: int | None, size: int) -> tuple[int, int]:
    """The first byte and the exclusive end that `data[start:end]` means.

    >>> slice_of(-3, None, 10), slice_of(8, 4, 10), slice_of(5, 99, 10)
    ((7, 10), (8, 8), (5, 10))
    """
    first, last, _ = slice(start, end).indices(size)
    return first, max(first, last)


def ranges_of(
    pairs: Sequence[tuple[int, int]], gap: int
) -> tuple[list[tuple[int, int]], Callable[[Sequence[Fetched]], list[bytes]]]:
    """Which blocks to read for ranges (start, end), and how to cut the ranges out.

    >>> blocks, _ = ranges_of([(0, 2), (4, 6), (500, 501)], gap=10)
    >>> blocks
    [(0, 6), (500, 501)]
    """
    blocks = coalesce([(start, end) for start, end in pairs if start < end], gap)
    firsts = [first for first, _ in blocks]

    def cut(fetched: Sequence[Fetched]) -> list[bytes]:
        out = []
        for start, end in pairs:
            if start < end:
                at = bisect_right(firsts, start) - 1
                out.append(fetched[at].data[start - firsts[at] : end - firsts[at]])
            else:
                out.append(b"")
        return out

    return blocks, cut
