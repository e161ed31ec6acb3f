"""Put an entry, from a file or standard input, in a commit of its own."""

from __future__ import annotations

from argparse import Namespace

from objectstorage.cli._data import add_conditions, add_data, committed, open_data, opened_input
from objectstorage.cli._output import Output
from objectstorage.cli._parser import Parser
from objectstorage.cli._session import Session
from objectstorage.datamanager import Put
from objectstorage.datamanager.model import MAX_COMMIT


def configure(parser: Parser) -> None:
    """The options of `data put`."""
    add_data(parser, "TYPE", "ID", "[FILE]")
    add_conditions(parser)


def run(args: Namespace, session: Session, out: Output) -> None:
    """Commit one entry."""
    kind, name, *path = args.operands
    data = open_data(args, session)
    with opened_input(path[0] if path else "-") as file:
        action = Put(kind, name, file.read(MAX_COMMIT + 1))
    committed(data.write([action], groups=args.group, token=args.token), "put", data, out)
