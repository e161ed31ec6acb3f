"""Make DST hold what SRC holds, copying only what differs.

One is a local folder and the other a folder of a store, or both are in stores.
What is there already is told by size, ETag and time, and by its contents where
those don't tell, so that an interrupted sync goes on where it was. With
--delete what SRC lacks is deleted from DST, once both listings are complete and
if nothing failed. A name that would lead out of DST is refused and named; the
others are copied, and the exit code is 1. Where a file took the place of a
folder, or a folder that of a file, nothing is deleted until a run with --exclude
leaves that copy out.
"""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace

from objectstorage.cli._globs import add_filters, filters
from objectstorage.cli._jobs import add_jobs
from objectstorage.cli._output import Output, Refused, Usage, bytes_text
from objectstorage.cli._parser import Parser
from objectstorage.cli._progress import Progress
from objectstorage.cli._session import Place, Session, is_address
from objectstorage.storage import Storage
from objectstorage.sync import Change, DeletionRefused, Summary, Tree, sync


def configure(parser: Parser) -> None:
    """The options of `sync`."""
    parser.operands("SRC", "DST")
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="only print what would be done"
    )
    parser.add_argument("--delete", action="store_true", help="delete from DST what SRC lacks")
    parser.add_argument(
        "--max-delete", metavar="N", type=_count, help="delete nothing if it were more than N"
    )
    parser.add_argument("--force", action="store_true", help="let an empty SRC delete all of DST")
    parser.add_argument(
        "--checksum", action="store_true", help="compare contents, whatever the times are"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read back what was copied; if that fails, run again with --checksum",
    )
    add_jobs(parser)
    add_filters(parser)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError("it is a whole number")
    return int(text)


def run(args: Namespace, session: Session, out: Output) -> None:
    """Synchronise; see the module."""
    source, target = _trees(args.operands, session)

    def report(change: Change) -> None:
        if change.error is not None:
            out.failed(change.error)
        elif out.as_json:
            out.record(
                {
                    "operation": "sync",
                    "action": change.action,
                    "name": change.name,
                    "size": change.size,
                    "dry_run": args.dry_run,
                    "source": args.operands[0],
                    "target": args.operands[1],
                }
            )
        elif args.dry_run:
            out.line(f"{change.action} {change.name}")
        if change.action != "delete" or change.error is not None:
            progress.finished(failed=change.error is not None)

    def planned(size: int, count: int) -> None:
        progress.size, progress.count = size, count

    with Progress(out, "sync") as progress:
        try:
            result = sync(
                source,
                target,
                delete=args.delete,
                max_delete=args.max_delete,
                force=args.force,
                checksum=args.checksum,
                verify=args.verify,
                dry_run=args.dry_run,
                wanted=filters(args),
                jobs=args.jobs,
                report=report,
                skipped=lambda path, kind: out.message(f"{path!r} is left out: {kind}"),
                moved=progress.add,
                planned=planned if out.interactive and not args.dry_run else None,
            )
        except DeletionRefused as exc:
            raise Refused(exc.message) from exc
    _conclude(result, args, out)


def _conclude(result: Summary, args: Namespace, out: Output) -> None:
    if out.as_json:
        out.record({"operation": "sync", "dry_run": args.dry_run, **result._asdict()})
        return
    would = "would have " if args.dry_run else ""
    parts = [
        f"{would}copied {result.copied} objects, {bytes_text(result.size)}",
        f"{result.same} were the same",
    ]
    if args.delete:
        parts.append(f"{would}deleted {result.deleted}")
    if result.failed:
        parts.append(f"{result.failed} failed")
    out.message("; ".join(parts))
    if result.kept:
        out.message(f"because of that {result.kept} that SRC lacks were not deleted")


def _trees(operands: list[str], session: Session) -> tuple[Tree, Tree]:
    """Each is an address, a path or, with a store given otherwise, a key."""
    addresses = [is_address(text) for text in operands]
    if any(addresses):
        # beside an address a bare word is a folder, as for put and get
        folders = [not address for address in addresses]
    else:
        folders = [text.startswith("/") or text.split("/")[0] in (".", "..") for text in operands]
        if all(folders):
            raise Usage("two folders: one of the two is to be in a store, as s3://bucket/key")
        if not any(folders):
            raise Usage(
                f"{operands[0]!r} and {operands[1]!r}: write a folder as ./folder, "
                "or the store's address in full"
            )
    words = list(zip(operands, folders, strict=True))
    places = iter(session.places(*(text for text, folder in words if not folder)))
    one, other = (text if folder else _tree(next(places)) for text, folder in words)
    return one, other


def _tree(place: Place) -> tuple[Storage, str]:
    return place.store, place.folder
