"""Many transfers at a time, in bounded memory, each failing for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeAlias, TypeVar

from objectstorage.cli._output import Output, Refused, bytes_text
from objectstorage.cli._parser import Parser, positive
from objectstorage.cli._progress import Progress
from objectstorage.errors import StorageError, is_err_unauthorized, is_err_unavailable

__all__ = ["ITEM_ERRORS", "Record", "add_jobs", "in_turn", "run_jobs", "run_one", "summary"]

_T = TypeVar("_T")
Record: TypeAlias = dict[str, Any]

ITEM_ERRORS = (StorageError, OSError, Refused)
"""What one item may fail with while the others go on."""


def add_jobs(parser: Parser) -> None:
    """The option for how many at a time."""
    parser.add_argument(
        "--jobs", metavar="N", type=positive, default=8, help="objects at a time (default 8)"
    )


def in_turn(items: Iterable[_T], work: Callable[[_T], None], out: Output, *, several: bool) -> None:
    """Call `work` on each item; of several one may fail while the others go on."""
    for item in items:
        try:
            work(item)
        except StorageError as exc:
            if not several:
                raise
            out.failed(exc)


def run_one(item: _T, work: Callable[[_T], Record], out: Output, progress: Progress) -> None:
    """The only item: its error is the command's."""
    try:
        record = work(item)
    except BaseException:
        progress.finished(failed=True)
        raise
    progress.finished()
    if out.as_json:
        out.record(record)


def run_jobs(
    items: Iterable[_T],
    work: Callable[[_T], Record | None],
    *,
    jobs: int,
    out: Output,
    progress: Progress,
) -> None:
    """Call `work` on each item, `jobs` at a time; print each one's record, if any, or error.

    Only a few items are taken ahead. An error of the items themselves, a
    listing that fails, ends it once those under way are done. So does one that
    tells that the store can't be used at all, before anything went well.
    """
    with ThreadPoolExecutor(jobs, "objectstorage-cli") as pool:
        waiting: list[Future[Record | None]] = []
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * jobs:
                    waiting = _settle_some(waiting, out, progress)
            while waiting:
                waiting = _settle_some(waiting, out, progress)
        except BaseException as exc:
            if isinstance(exc, StorageError) and not _is_hopeless(exc, progress):
                wait(waiting)
                _settle(waiting, out, progress)
                raise
            # the transfers under way notice at their next report
            progress.cancelled = True
            pool.shutdown(cancel_futures=True)
            raise


def _settle_some(
    waiting: list[Future[Record | None]], out: Output, progress: Progress
) -> list[Future[Record | None]]:
    """Wait for one at least; those that are not done yet. Told in the order they were taken up."""
    done, others = wait(waiting, return_when=FIRST_COMPLETED)
    _settle([future for future in waiting if future in done], out, progress)
    return [future for future in waiting if future in others]


def _settle(done: Iterable[Future[Record | None]], out: Output, progress: Progress) -> None:
    # successes first: whether an error is hopeless must not depend on what ended first
    for future in sorted(done, key=lambda future: future.exception() is not None):
        try:
            record = future.result()
        except ITEM_ERRORS as exc:
            if _is_hopeless(exc, progress):
                raise
            progress.finished(failed=True)
            out.failed(exc)
        else:
            progress.finished()
            if record is not None and out.as_json:
                out.record(record)


# Without these each of a million items would fail, and some only after retries.
_HOPELESS = ("NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch")


def _is_hopeless(err: Exception, progress: Progress) -> bool:
    """Whether the error is the store's, not the item's, and none went well before."""
    if progress.objects or not isinstance(err, StorageError):
        return False
    return err.code in _HOPELESS or is_err_unauthorized(err) or is_err_unavailable(err)


def summary(out: Output, verb: str, progress: Progress) -> None:
    """One line of what was done."""
    failed = f", {progress.failures} failed" if progress.failures else ""
    out.message(
        f"{verb} {progress.objects} objects, {bytes_text(progress.bytes)}"
        f" in {progress.seconds:.1f} s{failed}"
    )
