"""The explicit list of commands: a name, and a line of help.

The module of a command bears its name and is imported only when it is run.
It has two functions:

    configure(parser)            add options and operands
    run(args, session, out)      do it; the exit code, or None for the output's own
"""

from __future__ import annotations

import importlib
from argparse import Namespace
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from objectstorage.cli._output import Output
    from objectstorage.cli._parser import Parser
    from objectstorage.cli._session import Session

__all__ = ["COMMANDS", "Command", "load"]

COMMANDS: dict[str, str] = {
    "demo": "store a folder, list it, read it back, compare every byte",
    "put": "store files, folders or standard input",
    "get": "fetch objects into files",
    "cat": "write objects to standard output",
    "ls": "list keys",
    "stat": "show what is known of objects",
    "cp": "copy objects within a store or between two",
    "mv": "move objects within a store or between two",
    "rm": "delete objects",
    "sync": "make a folder or a store hold what another holds",
    "bench": "measure a store",
    "compare": "compare two stores, or two measurements",
    "doctor": "try whether a store does what it says",
}
"""Name to a line of help, in the order of `--help`."""


class Command(Protocol):
    """What a command's module has."""

    def configure(self, parser: Parser) -> None:
        """Add options and operands."""

    def run(self, args: Namespace, session: Session, out: Output) -> int | None:
        """Do it; the exit code, or None for the output's own."""


def load(name: str) -> Command:
    """The module of a command in `COMMANDS`."""
    return cast(Command, importlib.import_module(f"objectstorage.cli.{name}"))
