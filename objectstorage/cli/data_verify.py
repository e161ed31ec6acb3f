"""Read everything, check every checksum and invariant, and name what is wrong.

The exit code is 1 if anything is. Writers may go on meanwhile. Orphans are what
nothing refers to; they are harmless, and 'data gc' deletes them.
"""

from __future__ import annotations

from argparse import Namespace

from objectstorage.cli._data import add_data, open_data
from objectstorage.cli._output import EXIT_FAILED, Output
from objectstorage.cli._parser import Parser
from objectstorage.cli._session import Session


def configure(parser: Parser) -> None:
    """The options of `data verify`."""
    add_data(parser)


def run(args: Namespace, session: Session, out: Output) -> int:
    """Print each problem, then what was seen."""
    report = open_data(args, session).verify()
    for problem in report.problems:
        if out.as_json:
            out.record(problem._asdict())
        else:
            out.line(f"{problem.key}: {problem.what}")
    if out.as_json:
        out.record({**report._asdict(), "problems": len(report.problems)})
    else:
        out.line(
            f"sequence {report.seq:,}: {report.entries:,} entries in the checkpoint, "
            f"{report.commits:,} commits in the log, {report.objects:,} objects, "
            f"{report.orphans:,} orphans, {len(report.problems):,} problems"
        )
    return EXIT_FAILED if report.problems else 0
