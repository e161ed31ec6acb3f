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

__all__ = ["COMMANDS", "GROUPS", "Command", "load"]

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
    "data": "transactional documents in a store: status, ls, get, put, verify and others",
    "runservice": "serve runs and their tasks, logs and caches over HTTP",
    "executor": "run tasks of a run service",
    "logs": "write or follow the logs of a task",
}
"""Name to a line of help, in the order of `--help`."""

GROUPS: dict[str, dict[str, str]] = {
    "data": {
        "status": "where the data stands: sequence, checkpoint, log",
        "ls": "list the types, or the ids of one",
        "get": "write an entry's bytes to standard output or a file",
        "put": "put an entry, from standard input or a file",
        "rm": "delete entries, all or none",
        "history": "list the commits that are in the log",
        "checkpoint": "write the state out, so that the log can be collected",
        "gc": "delete what no reader or writer needs any more",
        "export": "write all entries to standard output or a file",
        "import": "replace all entries by those of an export",
        "verify": "read everything, check every checksum and invariant",
        "maintenance": "refuse writes, or take them again",
    },
}
"""The commands that are groups of commands: name to a line of help."""


class Command(Protocol):
    """What a command's module has."""

    def configure(self, parser: Parser) -> None:
        """Add options and operands."""

    def run(self, args: Namespace, session: Session, out: Output) -> int | None:
        """Do it; the exit code, or None for the output's own."""


def load(name: str) -> Command:
    """The module of a command: that of `data ls` is `data_ls`."""
    module = name.replace(" ", "_")
    return cast(Command, importlib.import_module(f"objectstorage.cli.{module}"))
