"""Refuse every write from now on ('on REASON'), or take them again ('off').

Without an argument, say which. Checkpoints, gc and imports go on meanwhile.
"""

from __future__ import annotations

from argparse import Namespace

from objectstorage.cli._data import add_data, open_data
from objectstorage.cli._output import Output, Usage
from objectstorage.cli._parser import Parser
from objectstorage.cli._session import Session


def configure(parser: Parser) -> None:
    """The options of `data maintenance`."""
    add_data(parser, "[on|off]", "[REASON]")


def run(args: Namespace, session: Session, out: Output) -> None:
    """Switch, and tell."""
    data = open_data(args, session)
    match args.operands:
        case []:
            pass
        case ["on", *reason]:
            data.maintenance(reason[0] if reason else "maintenance")
        case ["off"]:
            data.maintenance(None)
        case _:
            raise Usage("it is 'on REASON', 'off', or nothing")
    reason_now = data.in_maintenance()
    if out.as_json:
        out.record({"maintenance": reason_now, "storage": data.url})
    else:
        out.line("off" if reason_now is None else f"on: {reason_now}")
