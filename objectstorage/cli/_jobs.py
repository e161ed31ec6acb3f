"""Many transfers at a time, in bounded memory, each failing for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeAlias, TypeVar

from objectstorage.cli._output import Output, Refused, bytes_text
from objectstorage.cli._parser import Parser, positive
from objectstorage.cli._progress import Progress
from objectstorage.errors import StorageError

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
    listing that fails, ends it once those under way are done.
    """
    with ThreadPoolExecutor(jobs, "objectstorage-cli") as pool:
        waiting: set[Future[Record | None]] = set()
        try:
            for item in items:
                waiting.add(pool.submit(work, item))
                if len(waiting) >= 2 * jobs:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    _settle(done, out, progress)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                _settle(done, out, progress)
        except StorageError:
            _settle(wait(waiting).done, out, progress)
            raise
        except BaseException:
            # the transfers under way notice at their next report
            progress.cancelled = True
            pool.shutdown(cancel_futures=True)
            raise


def _settle(done: Iterable[Future[Record | None]], out: Output, progress: Progress) -> None:
    for future in done:
        try:
            record = future.result()
        except ITEM_ERRORS as exc:
            progress.finished(failed=True)
            out.failed(exc)
        else:
            progress.finished()
            if record is not None and out.as_json:
                out.record(record)


def summary(out: Output, verb: str, progress: Progress) -> None:
    """One line of what was done."""
    failed = f", {progress.failures} failed" if progress.failures else ""
    out.message(
        f"{verb} {progress.objects} objects, {bytes_text(progress.bytes)}"
        f" in {progress.seconds:.1f} s{failed}"
    )
