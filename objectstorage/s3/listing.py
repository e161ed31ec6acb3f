"""Listing in key order, page by page, trusting no server to keep it.

A page is asked for through a function that the store gives, so that nothing
here knows requests or the store's own prefix. Servers that list folder by
folder are left to `objectstorage.s3.folder_order`.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from operator import ge, itemgetter

from objectstorage.errors import ErrBackend
from objectstorage.s3 import folder_order as by_folders
from objectstorage.s3.effects import Effects, Emit
from objectstorage.s3.pages import Page, Tokens, check_asked
from objectstorage.storage import ObjectInfo, Prefix

__all__ = ["list_level", "list_objects"]


def list_objects(
    page: Page,
    prefix: str,
    start_after: str = "",
    *,
    folder_order: bool = False,
    check_order: bool = True,
) -> Effects[None]:
    """Emit batches of `ObjectInfo` in key order: what has `prefix` and follows `start_after`.

    folder_order: the server lists folder by folder. check_order: `ErrBackend`
    as soon as a page is not in key order; without it any order goes.
    """
    if start_after and not start_after.startswith(prefix):
        if start_after > prefix:
            return  # all that has the prefix comes before it
        start_after = ""
    if folder_order:
        yield from by_folders.list_folders(page, prefix, start_after)
        return
    tokens = Tokens()
    token: str | None = None
    last = ""
    while True:
        found = yield from page(prefix, None, start_after or None, token)
        token = tokens.following(found)
        check_asked(found, prefix, None)
        batch = found.objects
        if check_order and batch:
            keys = [info[0] for info in batch]
            _check_rising(last, keys)
            last = keys[-1]
            if keys[0] <= start_after:
                # Some servers give the key itself, some know no `start-after`.
                batch = batch[bisect_right(keys, start_after) :]
        elif start_after:
            batch = [info for info in batch if info[0] > start_after]
        if batch:
            yield Emit(batch)
        if token is None:
            return


def list_level(page: Page, prefix: str, *, probe_folders: bool = False) -> Effects[None]:
    """Emit batches of `ObjectInfo` and `Prefix`: one level, in the order of their strings.

    probe_folders: the server lists folder by folder, and keeps emptied ones.
    """
    if probe_folders:
        yield from by_folders.list_level(page, prefix)
        return
    tokens = Tokens()
    token: str | None = None
    last = ""
    while True:
        found = yield from page(prefix, "/", None, token)
        token = tokens.following(found)
        check_asked(found, prefix, "/")
        batch: list[ObjectInfo | Prefix] = [*found.objects, *map(Prefix, found.prefixes)]
        if batch:
            batch.sort(key=itemgetter(0))
            names = [entry[0] for entry in batch]
            _check_rising(last, names)
            last = names[-1]
            yield Emit(batch)
        if token is None:
            return


def _check_rising(last: str, keys: list[str]) -> None:
    """`ErrBackend` unless the keys rise strictly, beginning after `last`."""
    if keys[0] > last and not any(map(ge, keys, islice(keys, 1, None))):
        return
    keys = [last, *keys]
    at = next(i for i in range(1, len(keys)) if keys[i - 1] >= keys[i])
    raise ErrBackend(
        f"the server does not list in key order: {keys[at - 1]!r} came before {keys[at]!r}; "
        "if it lists folder by folder, say so by the option dialect=seaweedfs",
        key=keys[at],
    )
