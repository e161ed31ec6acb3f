"""List the types there are, or the ids of the entries of one, in the order of their bytes."""

from __future__ import annotations

from argparse import Namespace

from objectstorage.cli._data import add_data, open_data
from objectstorage.cli._output import Output, Usage
from objectstorage.cli._parser import Parser
from objectstorage.cli._session import Session


def configure(parser: Parser) -> None:
    """The options of `data ls`."""
    add_data(parser, "[TYPE]")
    parser.add_argument("--prefix", default="", help="only ids that begin so")
    parser.add_argument("--start-after", metavar="ID", help="only ids after this one")
    parser.add_argument("-l", "--long", action="store_true", help="size in bytes and sequence, too")
    parser.add_argument("-0", "--null", action="store_true", help="end each with NUL, exact ids")


def run(args: Namespace, session: Session, out: Output) -> None:
    """Print each as it comes."""
    data = open_data(args, session)
    end = "\0" if args.null else "\n"
    if not args.operands:
        if args.prefix or args.start_after is not None:
            raise Usage("--prefix and --start-after are about the ids of a TYPE")
        for name in data.types():
            if out.as_json:
                out.record({"type": name})
            else:
                out.line(name, end)
        return
    for entry in data.list(args.operands[0], prefix=args.prefix, start_after=args.start_after):
        size = len(entry.data)
        if out.as_json:
            out.record({"type": entry.type, "id": entry.id, "size": size, "seq": entry.seq})
        elif args.long:
            out.line(f"{size:>14}  {entry.seq:>14}  {entry.id}", end)
        else:
            out.line(entry.id, end)
