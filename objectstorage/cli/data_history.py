"""List the commits that are in the log, oldest first; what was collected is gone."""

from __future__ import annotations

from argparse import Namespace

from objectstorage.cli._data import add_data, commits, open_data
from objectstorage.cli._output import Output
from objectstorage.cli._parser import Parser, sequence
from objectstorage.cli._session import Session
from objectstorage.datamanager import Commit, Put


def configure(parser: Parser) -> None:
    """The options of `data history`."""
    add_data(parser)
    parser.add_argument("--after", metavar="SEQ", type=sequence, help="only later commits")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with those to come")
    parser.add_argument("-v", "--verbose", action="store_true", help="what each put and deleted")


def run(args: Namespace, session: Session, out: Output) -> None:
    """Print each commit as it comes."""
    data = open_data(args, session)
    after = data.boundary() if args.after is None else args.after
    for commit in commits(data, after, follow=args.follow):
        if out.as_json:
            out.record(_record(commit))
        else:
            out.line(_line(commit))
            if args.verbose:
                for action in commit.actions:
                    sign = "+" if isinstance(action, Put) else "-"
                    out.line(f"{'':>14}  {sign} {action.type} {action.id}")
        if args.follow:
            out.flush()


def _record(commit: Commit) -> dict[str, object]:
    return {
        "seq": commit.seq,
        "commit": commit.id,
        "time": commit.time,
        "kind": commit.kind,
        "epoch": commit.epoch,
        "groups": commit.groups,
        "actions": [
            {
                "action": "put" if isinstance(action, Put) else "delete",
                "type": action.type,
                "id": action.id,
            }
            for action in commit.actions
        ],
    }


def _line(commit: Commit) -> str:
    time = "-" if commit.time is None else f"{commit.time:%Y-%m-%dT%H:%M:%SZ}"
    puts = sum(isinstance(action, Put) for action in commit.actions)
    what = f"+{puts} -{len(commit.actions) - puts}" if commit.kind == "write" else commit.kind
    return f"{commit.seq:>14}  {time:20}  {what:<12}  {' '.join(commit.groups)}".rstrip()
