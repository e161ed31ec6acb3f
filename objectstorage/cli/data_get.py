"""Write an entry's bytes to standard output, or to a file, which appears whole."""

from __future__ import annotations

from argparse import Namespace

from objectstorage.cli._data import add_data, open_data, write_output
from objectstorage.cli._output import Output
from objectstorage.cli._parser import Parser
from objectstorage.cli._session import Session


def configure(parser: Parser) -> None:
    """The options of `data get`."""
    add_data(parser, "TYPE", "ID", "[FILE]")


def run(args: Namespace, session: Session, out: Output) -> None:
    """Read one entry."""
    kind, name, *path = args.operands
    entry = open_data(args, session).read(kind, name)
    write_output(path[0] if path else "-", [entry.data], out)
