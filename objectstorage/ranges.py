"""What a byte range means, the same on every store."""

from __future__ import annotations

from collections.abc import Sequence

from objectstorage.errors import ErrInvalidRange

__all__ = ["check_length", "check_range", "coalesce", "resolve_range"]


def check_range(start: int, end: int | None) -> None:
    """Refuse what can be no range of any object, before any I/O."""
    if isinstance(start, bool) or not isinstance(start, int):
        raise TypeError(f"start is an int, not {type(start).__name__}")
    if end is not None:
        if isinstance(end, bool) or not isinstance(end, int):
            raise TypeError(f"end is an int or None, not {type(end).__name__}")
        if end < 0:
            raise ErrInvalidRange("end counts from the start of the object and is not negative")


def check_length(end: int | None, length: int | None) -> None:
    """Refuse a length that is none, or one given beside `end`."""
    if length is None:
        return
    if end is not None:
        raise ErrInvalidRange("give end or length, not both")
    if isinstance(length, bool) or not isinstance(length, int):
        raise TypeError(f"length is an int, not {type(length).__name__}")
    if length < 0:
        raise ErrInvalidRange("length is not negative")


def resolve_range(start: int, end: int | None, size: int) -> tuple[int, int]:
    """First byte and exclusive end within an object of `size` bytes.

    A range past the end is cut; one that starts beyond it is `ErrInvalidRange`.

    >>> resolve_range(-3, None, 10), resolve_range(4, 99, 10), resolve_range(10, None, 10)
    ((7, 10), (4, 10), (10, 10))
    """
    if start < 0:
        start = max(0, size + start)
    elif start > size:
        raise ErrInvalidRange(f"the range starts at {start}; the object has {size} bytes")
    stop = size if end is None or end > size else end
    return start, max(start, stop)


def coalesce(ranges: Sequence[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """Ranges (start, end) merged where at most `gap` bytes lie between them.

    >>> coalesce([(0, 2), (3, 5), (100, 110)], gap=4)
    [(0, 5), (100, 110)]
    """
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged
