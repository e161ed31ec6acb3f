"""Write all entries, of one state, to standard output or a file: lines of JSON.

'data import' takes them. The file appears whole.
"""

from __future__ import annotations

from argparse import Namespace

from objectstorage.cli._data import add_data, open_data, write_output
from objectstorage.cli._output import Output
from objectstorage.cli._parser import Parser
from objectstorage.cli._session import Session


def configure(parser: Parser) -> None:
    """The options of `data export`."""
    add_data(parser, "[FILE]")


def run(args: Namespace, session: Session, out: Output) -> None:
    """Write it piece by piece."""
    data = open_data(args, session)
    write_output(args.operands[0] if args.operands else "-", data.export(), out)
