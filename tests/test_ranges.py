"""What a byte range means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectstorage.errors import ErrInvalidRange
from objectstorage.ranges import check_length, check_range, coalesce, resolve_range

DATA = bytes(range(20))


@given(st.integers(-40, 40), st.none() | st.integers(0, 40), st.integers(0, 20))
def test_a_range_is_a_slice_that_starts_within(start: int, end: int | None, size: int) -> None:
    data = DATA[:size]
    if start > size:
        with pytest.raises(ErrInvalidRange):
            resolve_range(start, end, size)
        return
    first, stop = resolve_range(start, end, size)
    assert 0 <= first <= stop <= size
    whole = data[max(0, size + start) if start < 0 else start :]
    expected = whole if end is None else data[size - len(whole) : end]
    assert data[first:stop] == expected


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 30)), max_size=12), st.integers(0, 20)
)
def test_merged_ranges_cover_what_was_asked(asked: list[tuple[int, int]], gap: int) -> None:
    ranges = [(start, start + length) for start, length in asked]
    merged = coalesce(ranges, gap)
    for start, end in ranges:
        assert any(first <= start and end <= last for first, last in merged)
    for (_, end), (start, _) in zip(merged, merged[1:], strict=False):
        assert start - end > gap
    # nothing is read but what was asked for and the gaps in between
    covered = {place for start, end in ranges for place in range(start, end)}
    read = {place for start, end in merged for place in range(start, end)}
    assert len(read - covered) <= gap * max(0, len(ranges) - 1)


def test_what_is_no_range() -> None:
    check_range(-5, 3)
    check_range(0, None)
    with pytest.raises(ErrInvalidRange):
        check_range(0, -1)
    for start, end in (("0", None), (1.5, None), (True, None), (0, "1"), (0, False), (None, 1)):
        with pytest.raises(TypeError):
            check_range(start, end)  # type: ignore[arg-type]  # the point of it


def test_what_is_no_length() -> None:
    check_length(None, 0)
    check_length(5, None)
    with pytest.raises(ErrInvalidRange):
        check_length(5, 5)
    with pytest.raises(ErrInvalidRange):
        check_length(None, -1)
    for length in ("1", 1.0, True):
        with pytest.raises(TypeError):
            check_length(None, length)  # type: ignore[arg-type]  # the point of it
