"""Make what 'data export' wrote the whole state, in one commit.

An input that is cut short, unsorted or damaged changes nothing. Where there are
entries already, --replace is needed: they are gone afterwards.
"""

from __future__ import annotations

from argparse import Namespace

from objectstorage.cli._data import add_data, committed, open_data, opened_input
from objectstorage.cli._output import Output, Refused
from objectstorage.cli._parser import Parser
from objectstorage.cli._session import Session


def configure(parser: Parser) -> None:
    """The options of `data import`."""
    add_data(parser, "[FILE]")
    parser.add_argument("--replace", action="store_true", help="also if there are entries")
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="only check the input and count its entries"
    )


def run(args: Namespace, session: Session, out: Output) -> None:
    """Read it piece by piece; see the module."""
    data = open_data(args, session)
    if not args.replace and data.types():
        raise Refused(f"{data.url} has entries; say --replace if they are to go")
    with opened_input(args.operands[0] if args.operands else "-") as source:
        if not args.dry_run:
            committed(data.import_(source, replace=args.replace), "import", data, out)
            return
        entries = data.check_import(source)
    if out.as_json:
        out.record({"operation": "import", "entries": entries, "dry_run": True})
    else:
        out.line(f"would import {entries:,} entries")
