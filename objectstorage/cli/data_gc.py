"""Delete the log that the last checkpoint holds, older checkpoints, and what dead writers left.

Nothing that became superfluous less than --min-age seconds ago is touched, so
that readers and writers of that age are not disturbed.
"""

from __future__ import annotations

from argparse import Namespace

from objectstorage.cli._data import add_data, open_data
from objectstorage.cli._output import Output
from objectstorage.cli._parser import Parser, sequence
from objectstorage.cli._session import Session


def configure(parser: Parser) -> None:
    """The options of `data gc`."""
    add_data(parser)
    parser.add_argument(
        "--min-age", metavar="SECONDS", type=sequence, default=3600, help="an hour unless given"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say what would go")


def run(args: Namespace, session: Session, out: Output) -> None:
    """Collect, then sweep."""
    data = open_data(args, session)
    collected = data.collect(args.min_age, dry_run=args.dry_run)
    orphans = data.sweep(args.min_age, dry_run=args.dry_run)
    if out.as_json:
        out.record(
            {
                "operation": "gc",
                **collected._asdict(),
                "orphans": orphans,
                "dry_run": args.dry_run,
                "storage": data.url,
            }
        )
        return
    text = (
        f"{'would delete' if args.dry_run else 'deleted'} {collected.slots:,} commits of the log, "
        f"{collected.statuses:,} checkpoints, {collected.files:,} data files, {orphans:,} orphans"
    )
    if args.dry_run:
        out.line(text)
    else:
        out.message(text)
