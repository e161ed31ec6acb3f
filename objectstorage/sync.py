"""Make a folder or a store hold what another one holds, moving only what differs.

>>> from objectstorage import open_storage
>>> a, b = open_storage("memory://"), open_storage("memory://")
>>> _ = a.put("x", b"1"), a.put("y", b"2"), b.put("z", b"3")
>>> sync(a, b, delete=True)
Summary(copied=2, size=2, same=0, deleted=1, kept=0, failed=0)
>>> [info.key for info in b.list()]
['x', 'y']
>>> sync(a, b, delete=True).copied
0
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal, NamedTuple, TypeAlias

from objectstorage._sync.names import Names
from objectstorage._sync.sides import FolderSide, Item, Listeners, Side, StoreSide
from objectstorage._sync.work import Work
from objectstorage.errors import (
    ErrBadRequest,
    ErrNotExist,
    StorageError,
    is_err_unauthorized,
    is_err_unavailable,
)
from objectstorage.storage import Storage
from objectstorage.wrappers import DryRunStorage

__all__ = ["Change", "DeletionRefused", "Summary", "Tree", "sync"]

Tree: TypeAlias = str | os.PathLike[str] | Storage | tuple[Storage, str]
"""A local folder, a store, or a store and the prefix below which the keys are."""

# What S3 deletes in one request.
_BATCH = 1000


class Change(NamedTuple):
    """One thing that was done, would be done in a dry run, or failed with `error`.

    `action` is "copy", "delete" or, only with an error, "list"; `size` in bytes.
    """

    action: Literal["copy", "delete", "list"]
    name: str
    size: int
    error: Exception | None = None


class Summary(NamedTuple):
    """How many were copied (and their bytes), were the same, were deleted, failed.

    `kept`: how many would have been deleted if nothing had failed.
    """

    copied: int
    size: int
    same: int
    deleted: int
    kept: int
    failed: int


class DeletionRefused(StorageError):
    """What is to be deleted is suspiciously much; nothing was deleted."""


def sync(
    source: Tree,
    target: Tree,
    *,
    delete: bool = False,
    max_delete: int | None = None,
    force: bool = False,
    checksum: bool = False,
    verify: bool = False,
    dry_run: bool = False,
    wanted: Callable[[str], bool] | None = None,
    jobs: int = 8,
    report: Callable[[Change], object] | None = None,
    skipped: Callable[[str, str], object] | None = None,
    moved: Callable[[int], object] | None = None,
    planned: Callable[[int, int], object] | None = None,
) -> Summary:
    """Copy to `target` what differs from `source`; a second call finds nothing to do.

    Two items of one name are the same if their sizes are equal, and their ETags
    or their times say so; where those are too close to tell, the contents are
    compared. A file is fetched with the object's time, and is the same while it
    bears that; an object is the same if it is younger than what it was copied
    from. Each item appears whole or not at all, so that a call that was
    interrupted is resumed by the next one.

    delete: also delete what `source` does not have, once both listings are
        complete; nothing is deleted if anything failed, `kept` tells how many.
    max_delete: `DeletionRefused` if there are more to delete.
    force: delete even though the source is empty, which is `DeletionRefused`
        else; and take a prefix with nothing below it for an empty source.
    checksum: never trust times; compare contents unless ETags are equal.
    verify: read back what was copied, and compare; `ErrIntegrity`, after which
        only `checksum` tells the copy from a good one.
    dry_run: change nothing; report what would be done.
    wanted: which names, relative to the folder or prefix, take part; others are
        neither copied nor deleted.
    jobs: how many at a time.
    report: called with each change, from the calling thread.
    skipped: called with path and kind of what is no regular file.
    moved: called with bytes as they are copied, from any thread; a negative
        number takes back what must be copied again.
    planned: called before the first is copied, with the bytes and the number of
        items that will be at most; for this everything is listed twice.

    One item's failure (a name that would lead out of the target is
    `ErrPermission`) is reported, and the others go on. Where a file took the
    place of a folder, or a folder that of a file, the copy fails and so nothing
    is deleted, until what is in the way is: by hand, or by a call whose
    `wanted` leaves that copy out. Raised are the errors of the listings, and the
    first one if the store can't be used at all; `ErrNotExist` (or the builtin)
    for a missing source, `ErrBadRequest` for a source and a target of which one
    lies in the other.
    """
    if jobs < 1:
        raise ErrBadRequest("jobs is at least 1", operation="sync")
    one, other = _side(source), _side(target, is_target=True, dry_run=dry_run)
    _check_apart(one, other)
    work = Work(
        one, other, checksum=checksum, verify=verify, dry_run=dry_run, moved=moved or _ignore
    )
    with ExitStack() as stack:
        listeners = Listeners(
            skipped=skipped or _ignore,
            failed=lambda exc: tell(Change("list", str(exc.filename), 0, exc)),
        )
        tally = _Tally()

        def tell(change: Change) -> None:
            tally.count(change)
            if report is not None:
                report(change)

        stack.callback(one.close)
        one.begin()
        items = _source_items(one, listeners, force=force)
        stack.callback(other.close)
        other.begin()
        extra = stack.enter_context(Names())
        wanted = wanted or (lambda name: True)
        if planned is not None:
            unheard = Listeners(_ignore, _ignore)
            planned(*_plan(_pairs(one.items(unheard), other.items(unheard), wanted), work))
        pairs = _pairs(items, other.items(listeners), wanted)
        found = _run(pairs, work, extra, tally, tell, jobs)
        if delete and len(extra):
            _delete(extra, other, tally, tell, found, max_delete, force, dry_run)
        return tally.summary(kept=len(extra) if delete and tally.failed else 0)


def _ignore(*args: object) -> None:
    """Nobody listens."""


def _side(tree: Tree, *, is_target: bool = False, dry_run: bool = False) -> Side:
    if isinstance(tree, str | os.PathLike):
        real = is_target and not dry_run
        return FolderSide(os.fspath(tree), make=real, missing_ok=is_target and dry_run)
    store, prefix = tree if isinstance(tree, tuple) else (tree, "")
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    return StoreSide(store, prefix, DryRunStorage(store) if dry_run and is_target else None)


def _check_apart(one: Side, other: Side) -> None:
    (server, path), (other_server, other_path) = one.location, other.location
    if server == other_server and (path.startswith(other_path) or other_path.startswith(path)):
        # the listing would meet what is being written
        raise ErrBadRequest(f"{path!r} and {other_path!r} lie one in the other", operation="sync")


def _source_items(side: Side, listeners: Listeners, *, force: bool) -> Iterator[Item]:
    items = side.items(listeners)
    first = next(items, None)
    if first is not None:
        return chain((first,), items)
    if isinstance(side, StoreSide) and side.prefix and not force:
        raise ErrNotExist(
            "nothing is below it", key=side.prefix, operation="sync", storage=side.store.url
        )
    return items


Pair: TypeAlias = tuple[Item | None, Item | None]


def _pairs(
    source: Iterator[Item], target: Iterator[Item], wanted: Callable[[str], bool]
) -> Iterator[Pair]:
    """Two listings in one order, merged: what is on the one side, the other, or both."""
    a, b = next(source, None), next(target, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a.name <= b.name):
            assert a is not None
            both = b is not None and a.name == b.name
            if wanted(a.name):
                yield a, b if both else None
            a = next(source, None)
            if both:
                b = next(target, None)
        else:
            if wanted(b.name):
                yield None, b
            b = next(target, None)


def _plan(pairs: Iterator[Pair], work: Work) -> tuple[int, int]:
    size = count = 0
    for a, b in pairs:
        if a is not None and not (b is not None and work.known_same(a, b)):
            size, count = size + a.size, count + 1
    return size, count


@dataclass
class _Tally:
    copied: int = 0
    size: int = 0
    same: int = 0
    deleted: int = 0
    failed: int = 0

    def count(self, change: Change) -> None:
        if change.error is not None:
            self.failed += 1
        elif change.action == "delete":
            self.deleted += 1
        else:
            self.copied += 1
            self.size += change.size

    def summary(self, *, kept: int) -> Summary:
        return Summary(self.copied, self.size, self.same, self.deleted, kept, self.failed)


def _run(
    pairs: Iterator[Pair],
    work: Work,
    extra: Names,
    tally: _Tally,
    tell: Callable[[Change], None],
    jobs: int,
) -> bool:
    """Work through the pairs, only a few of them ahead; whether the source had any."""
    waiting: dict[Future[bool], Item] = {}
    found = False

    def settle(done: set[Future[bool]]) -> None:
        # in the order they were taken up, which is the names' with one job
        for future in [each for each in waiting if each in done]:
            item = waiting.pop(future)
            try:
                copied = future.result()
            except (StorageError, OSError) as exc:
                if not tally.copied and (is_err_unavailable(exc) or is_err_unauthorized(exc)):
                    raise  # the store's trouble: every other item would have it too
                tell(Change("copy", item.name, item.size, _placed(exc, item, work)))
            else:
                if copied:
                    tell(Change("copy", item.name, item.size))
                else:
                    tally.same += 1

    with ThreadPoolExecutor(jobs, "objectstorage-sync") as pool:
        try:
            for a, b in pairs:
                if a is None:
                    # what stands for a folder stands for one that a folder has unseen
                    if b is not None and not (b.is_folder and isinstance(work.source, FolderSide)):
                        extra.add(b.name)
                    continue
                found = True
                if b is not None and work.known_same(a, b):
                    tally.same += 1
                    continue
                future = pool.submit(work, a, b)
                waiting[future] = a
                if a.is_folder and isinstance(work.target, FolderSide):
                    # before a file below it makes it: it counts if it was missing
                    settle(wait([future]).done)
                elif len(waiting) >= 2 * jobs:
                    settle(wait(waiting, return_when=FIRST_COMPLETED).done)
            while waiting:
                settle(wait(waiting, return_when=FIRST_COMPLETED).done)
        except BaseException:
            work.cancelled = True
            pool.shutdown(cancel_futures=True)
            raise
    return found


def _placed(exc: StorageError | OSError, item: Item, work: Work) -> StorageError | OSError:
    """The error, naming the item it is about."""
    if not isinstance(exc, StorageError):
        return exc  # it names a path
    storage = next(
        (side.store.url for side in (work.source, work.target) if isinstance(side, StoreSide)), None
    )
    return exc.at(key=item.name, operation="sync", storage=storage)


def _delete(
    extra: Names,
    target: Side,
    tally: _Tally,
    tell: Callable[[Change], None],
    found: bool,
    max_delete: int | None,
    force: bool,
    dry_run: bool,
) -> None:
    if tally.failed:
        return  # what failed may have been a listing of what is still there
    if not found and not force:
        raise DeletionRefused(
            f"the source is empty, and {len(extra)} would be deleted; force it if that is meant",
            operation="sync",
        )
    if max_delete is not None and len(extra) > max_delete:
        raise DeletionRefused(
            f"{len(extra)} would be deleted, and at most {max_delete} may be", operation="sync"
        )
    names = iter(extra)
    while batch := list(islice(names, _BATCH)):
        failed = {} if dry_run else target.delete(batch)
        for name in batch:
            tell(Change("delete", name, 0, failed.get(name)))
