"""Delete objects; with -r all below a folder.

What isn't there is an error, unless --missing-ok is given.
"""

from __future__ import annotations

from argparse import Namespace
from itertools import islice

from objectstorage.cli._globs import add_filters, filters, objects
from objectstorage.cli._jobs import in_turn, summary
from objectstorage.cli._listing import below, totals
from objectstorage.cli._output import Output, Refused, Usage
from objectstorage.cli._parser import Parser
from objectstorage.cli._progress import Progress
from objectstorage.cli._session import Place, Session
from objectstorage.errors import ErrNotExist, StorageError
from objectstorage.storage import ObjectInfo

# What S3 takes in one request.
_BATCH = 1000


def configure(parser: Parser) -> None:
    """The options of `rm`."""
    parser.operands("KEY...")
    parser.add_argument("-r", "--recursive", action="store_true", help="all below KEY, a folder")
    parser.add_argument("--glob", action="store_true", help="KEY is a pattern: * ? stop at /, **")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only print what would go")
    parser.add_argument("--missing-ok", action="store_true", help="no error for what isn't there")
    parser.add_argument("--force", action="store_true", help="let -r empty a whole store")
    add_filters(parser)


def run(args: Namespace, session: Session, out: Output) -> None:
    """Delete; see the module."""
    places = session.places(*args.operands)
    if args.glob and args.recursive:
        raise Usage("--glob with ** deletes on all levels; leave -r out")
    for place in places:
        if args.recursive and not place.key and not args.force:
            raise Refused(f"this would delete all of {place.store.url}; say --force if it is meant")

    def single(place: Place) -> None:
        if args.dry_run:
            if not args.missing_ok:
                place.store.stat(place.key)
        else:
            place.store.delete(place.key, must_exist=not args.missing_ok)
        _deleted(place, args, out)

    def folder(place: Place) -> None:
        _delete_folder(place, args, out)

    if args.recursive:
        in_turn(places, folder, out, several=len(places) > 1)
    else:
        several = args.glob or len(places) > 1
        found = objects(places, out, glob=args.glob, missing_ok=args.missing_ok)
        in_turn(found, single, out, several=several)


def _delete_folder(place: Place, args: Namespace, out: Output) -> None:
    wanted = filters(args)
    try:
        size, count = totals(place, wanted, out)
        with Progress(out, "rm", size=size, count=count) as progress:
            objects = below(place, wanted)
            while batch := list(islice(objects, _BATCH)):
                _delete_batch(batch, place, args, out, progress)
    except ErrNotExist:
        if not args.missing_ok:
            raise
        return
    summary(out, "would delete" if args.dry_run else "deleted", progress)


def _delete_batch(
    batch: list[ObjectInfo], place: Place, args: Namespace, out: Output, progress: Progress
) -> None:
    failed: dict[str, StorageError] = {}
    if not args.dry_run:
        failed = place.store.delete_many([info.key for info in batch], errors="return")
    for info in batch:
        err = failed.get(info.key)
        if err is None:
            progress.add(info.size)
            _deleted(Place(place.store, info.key), args, out)
        else:
            out.failed(err)
        progress.finished(failed=err is not None)


def _deleted(place: Place, args: Namespace, out: Output) -> None:
    if out.as_json:
        out.record({"operation": "delete", "key": place.key, "dry_run": args.dry_run})
    elif args.dry_run:
        out.line(place.key)
