"""Delete entries of a type in one commit: all of them, or none.

An entry that isn't there is an error, unless --missing-ok is given.
"""

from __future__ import annotations

from argparse import Namespace

from objectstorage.cli._data import add_conditions, add_data, committed, open_data
from objectstorage.cli._output import Output
from objectstorage.cli._parser import Parser
from objectstorage.cli._session import Session
from objectstorage.datamanager import Delete


def configure(parser: Parser) -> None:
    """The options of `data rm`."""
    add_data(parser, "TYPE", "ID...")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only print what would go")
    parser.add_argument("--missing-ok", action="store_true", help="no error for what isn't there")
    add_conditions(parser)


def run(args: Namespace, session: Session, out: Output) -> None:
    """Delete; see the module."""
    kind, *names = args.operands
    data = open_data(args, session)
    if not args.missing_ok:
        snapshot = data.snapshot()
        for name in names:
            snapshot.read(kind, name)
    if args.dry_run:
        for name in names:
            if out.as_json:
                out.record({"operation": "delete", "type": kind, "id": name, "dry_run": True})
            else:
                out.line(name)
        return
    actions = [Delete(kind, name) for name in names]
    committed(data.write(actions, groups=args.group, token=args.token), "delete", data, out)
