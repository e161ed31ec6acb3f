"""Listing in key order, page by page, trusting no server to keep it.

A page is asked for through a function the store gives (`Page`), so that what
stands here knows neither requests nor the store's own prefix. Servers that
list folder by folder are walked by `objectstorage.s3.folder_order`.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from operator import ge
from typing import NoReturn, Protocol

from objectstorage.errors import ErrBackend
from objectstorage.s3.effects import Effects, Emit
from objectstorage.s3.xml import ListPage
from objectstorage.storage import ObjectInfo, Prefix

__all__ = ["Page", "list_level", "list_objects"]


class Page(Protocol):
    """Asks for one page of a listing."""

    def __call__(
        self,
        prefix: str,
        delimiter: str | None = None,
        start_after: str | None = None,
        token: str | None = None,
        max_keys: int = 1000,
    ) -> Effects[ListPage]:
        """Keys with `prefix`; with a delimiter, common prefixes apart.

        `start_after` begins a listing, `token` goes on with one.
        """


def list_objects(
    page: Page,
    prefix: str,
    start_after: str = "",
    *,
    folder_order: bool = False,
    check_order: bool = True,
) -> Effects[None]:
    """Emit batches of `ObjectInfo` in key order, all after `start_after`.

    folder_order: the server lists folder by folder. check_order: raise
    `ErrBackend` as soon as a page is not in key order; without it any order
    goes.
    """
    if start_after and not start_after.startswith(prefix):
        if start_after > prefix:
            return  # what has the prefix stands before it
        start_after = ""
    token: str | None = None
    last = ""
    seen: set[str] = set()  # tokens since a listing last advanced
    while True:
        found = yield from page(prefix, None, start_after or None, token)
        batch = found.objects
        if batch:
            keys = [info[0] for info in batch]
            if check_order:
                _check_order(keys, last)
                last = keys[-1]
                seen.clear()
                outside = None
                if not (keys[0].startswith(prefix) and last.startswith(prefix)):
                    outside = keys
                # some servers give `start_after` itself, or know no such thing
                batch = batch[bisect_right(keys, start_after) :]
            else:
                outside = [key for key in keys if not key.startswith(prefix)]
                batch = [info for info in batch if info[0] > start_after]
            if outside:
                raise ErrBackend(f"asked for {prefix!r}, the server listed {outside[0]!r}")
            if batch:
                yield Emit(batch)
        token = found.token
        if token is None:
            return
        if token in seen:
            raise ErrBackend("the server's listing does not advance: a token came twice")
        seen.add(token)


def _check_order(keys: list[str], last: str) -> None:
    """`ErrBackend` unless `keys` rise strictly, beginning after `last`."""
    if keys[0] <= last:
        _out_of_order(last, keys[0])
    if any(map(ge, keys, islice(keys, 1, None))):
        at = next(i for i in range(1, len(keys)) if keys[i - 1] >= keys[i])
        _out_of_order(keys[at - 1], keys[at])


def _out_of_order(first: str, second: str) -> NoReturn:
    raise ErrBackend(
        f"the server does not list in key order: {first!r} came before {second!r}; "
        "if it lists folder by folder, say so by the option dialect=seaweedfs",
        key=second,
    )


def list_level(page: Page, prefix: str, *, probe_folders: bool = False) -> Effects[None]:
    """Emit batches of `ObjectInfo` and `Prefix`: one level, in string order."""
    token: str | None = None
    seen: set[str] = set()
    while True:
        found = yield from page(prefix, "/", None, token)
        batch: list[ObjectInfo | Prefix] = [*found.objects, *map(Prefix, found.prefixes)]
        batch.sort(key=lambda entry: entry[0])
        if batch:
            yield Emit(batch)
        token = found.token
        if token is None:
            return
        if token in seen:
            raise ErrBackend("the server's listing does not advance: a token came twice")
        seen.add(token)
