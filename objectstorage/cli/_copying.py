"""What `cp` and `mv` share."""

from __future__ import annotations

from argparse import Namespace

from objectstorage import transfer
from objectstorage._sync.sides import StoreSide
from objectstorage.cli._globs import add_filters, filters
from objectstorage.cli._jobs import Record, add_jobs, run_jobs, run_one, summary
from objectstorage.cli._listing import below, totals
from objectstorage.cli._output import Output, Usage
from objectstorage.cli._parser import Parser
from objectstorage.cli._progress import Progress, Transfer
from objectstorage.cli._session import Place, Session
from objectstorage.errors import ErrConcurrency, ErrUnsupported
from objectstorage.storage import PutResult, Storage

__all__ = ["configure", "run"]


def configure(parser: Parser) -> None:
    """The options of both."""
    parser.operands("SRC", "DST")
    parser.add_argument("-r", "--recursive", action="store_true", help="all below SRC, a folder")
    parser.add_argument("--create", action="store_true", help="only if the key is free")
    add_jobs(parser)
    add_filters(parser)


def run(args: Namespace, session: Session, out: Output, *, move: bool) -> None:
    """Copy or move one object, or all below a folder to below another."""
    source, target = session.places(*args.operands)
    verb = "move" if move else "copy"

    def work(keys: tuple[str, str]) -> Record:
        src, dst = keys
        with progress.transfer() as report:
            result = _transfer(source.store, src, target.store, dst, args.create, move, report)
        return {
            "operation": verb,
            **result._asdict(),
            "storage": target.store.url,
            "source": src,
            "source_storage": source.store.url,
        }

    if not args.recursive:
        if not source.key:
            raise Usage("the store itself is copied with -r")
        key = target.target(source.key)
        if source.store is not target.store and _location(source, source.key) == _location(
            target, key
        ):
            # between two stores it would be written over itself, and then deleted
            raise Usage(f"{source.key!r} would be copied onto itself")
        with Progress(out, verb, count=1) as progress:
            run_one((source.key, key), work, out, progress)
        return
    server, one = _location(source, source.folder)
    other_server, other = _location(target, target.folder)
    if server == other_server and (one.startswith(other) or other.startswith(one)):
        # the listing would meet what is being written
        raise Usage(f"{one!r} and {other!r} lie one in the other")
    wanted = filters(args)
    size, count = totals(source, wanted, out)
    with Progress(out, verb, size=size, count=count) as progress:
        pairs = (
            (info.key, target.folder + info.key[len(source.folder) :])
            for info in below(source, wanted)
        )
        run_jobs(pairs, work, jobs=args.jobs, out=out, progress=progress)
    summary(out, "moved" if move else "copied", progress)


def _transfer(
    source: Storage,
    src: str,
    target: Storage,
    dst: str,
    create: bool,
    move: bool,
    progress: Transfer,
) -> PutResult:
    if source is target:
        verb = source.move if move else source.copy
        result = verb(src, dst, create=create)
        progress.more(result.size)
        return result
    if not move:
        return transfer.copy(source, src, target, dst, create=create, progress=progress)
    # Read before the copy: what is replaced since is not the version copied,
    # and stays.
    etag = source.stat(src).etag
    result = transfer.copy(source, src, target, dst, create=create, progress=progress)
    try:
        source.delete(src, if_match=etag)
    except ErrUnsupported:
        # A store without conditional deletes: as its own move, copy then delete.
        if source.stat(src).etag != etag:
            raise ErrConcurrency(
                "it was replaced while it was copied, so it stays",
                key=src,
                operation="move",
                storage=source.url,
            ) from None
        source.delete(src)
    return result


def _location(place: Place, key: str) -> tuple[str | None, str]:
    return StoreSide(place.store, key).location
