"""A file system over stores, its second layer: bytes of one object and of many."""

from __future__ import annotations

import os
from typing import Any

from objectstorage._filesystem.base import LookingFileSystem
from objectstorage._filesystem.bulk import each, ranges_of, slice_of
from objectstorage._plans import GAP
from objectstorage.errors import ErrInvalidRange
from objectstorage.storage import UNSET, Fetched, Storage, Unset

__all__ = ["ReadingFileSystem"]


class ReadingFileSystem(LookingFileSystem):
    """What the file systems share of reading without opening."""

    def cat_file(
        self, path: Any, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        """`data[start:end]` of the object's bytes, of one version."""
        store, key, _ = self._place(path)
        first = start or 0
        if end is None or (first >= 0 and end >= 0):
            if not first and end is None:
                return store.get(key)
            return _fetch(store, key, first, end).data
        # Of what counts from the end, only the open object knows where it is.
        with store.open(key) as reader:
            first, last = slice_of(start, end, reader.info.size)
            reader.seek(first)
            return reader.read(last - first)

    def cat(
        self, path: Any, recursive: bool = False, on_error: str = "raise", **kwargs: Any
    ) -> Any:
        """An object's bytes; of a list, a pattern or a tree, a dict of them by name.

        `on_error`: "raise", "omit", or "return" to have errors as values.
        """
        names = self.expand_path(path, recursive=recursive)
        if recursive:
            names = self._without_folders(names)
        if isinstance(path, str | os.PathLike) and names == [self._strip_protocol(path)]:
            return self.cat_file(names[0], **kwargs)
        found = self._each(lambda name: self.cat_file(name, **kwargs), names, on_error != "raise")
        return {
            name: value
            for name, value in zip(names, found, strict=True)
            if on_error != "omit" or not isinstance(value, Exception)
        }

    def cat_ranges(
        self,
        paths: list[Any],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        """`data[start:end]` of each path; ranges of one object are of one version.

        Ranges at most `max_gap` bytes (default 64 KiB) apart are read together.
        With `on_error="return"` errors stand in their ranges' places.
        """
        if not isinstance(paths, list):
            raise TypeError("paths is a list")
        starts = starts if isinstance(starts, list) else [starts] * len(paths)
        ends = ends if isinstance(ends, list) else [ends] * len(paths)
        if len(starts) != len(paths) or len(ends) != len(paths):
            raise ValueError("paths, starts and ends differ in number")
        wanted: dict[str, list[int]] = {}
        for at, path in enumerate(paths):
            wanted.setdefault(self._strip_protocol(path), []).append(at)
        gap = GAP if max_gap is None else max_gap

        def read(item: tuple[str, list[int]]) -> list[bytes]:
            name, places = item
            slices = [(starts[at], ends[at]) for at in places]
            return self._ranges_of_one(name, slices, gap, len(wanted))

        found = self._each(read, list(wanted.items()), on_error == "return")
        out: list[Any] = [None] * len(paths)
        for places, values in zip(wanted.values(), found, strict=True):
            for i, at in enumerate(places):
                out[at] = values if isinstance(values, Exception) else values[i]
        return out

    def _ranges_of_one(
        self, name: str, slices: list[tuple[int | None, int | None]], gap: int, beside: int
    ) -> list[bytes]:
        store, key, _ = self._locate(name)
        etag: str | Unset = UNSET
        if all((start or 0) >= 0 and end is not None and end >= 0 for start, end in slices):
            pairs = [(start or 0, end or 0) for start, end in slices]
        else:
            info = store.stat(key)
            etag = info.etag
            pairs = [slice_of(start, end, info.size) for start, end in slices]
        blocks, cut = ranges_of(pairs, gap)

        def fetch(block: tuple[int, int]) -> Fetched:
            return _fetch(store, key, *block, if_match=etag)

        # Even if all are empty, the object must be there.
        fetched = each(fetch, blocks or [(0, 0)], self._workers(store) // beside)
        if len({block.info.etag for block in fetched if block.info is not None}) > 1:
            raise self._replaced(name, "cat_ranges")
        return cut(fetched)


def _fetch(
    store: Storage, key: str, start: int, end: int | None, if_match: str | Unset = UNSET
) -> Fetched:
    """`Storage.fetch`, but a range beyond the end is empty, as a slice is."""
    if end is not None and end < start:
        start = end = 0
    try:
        return store.fetch(key, start=start, end=end, if_match=if_match)
    except ErrInvalidRange:
        return store.fetch(key, start=0, end=0, if_match=if_match)
