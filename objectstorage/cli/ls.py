"""List keys, in key order: one level, or with -r all.

PREFIX is the beginning of the keys, not a folder: 'lo' lists 'logs/', 'logs/'
what is in it.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

from objectstorage.cli._globs import expand
from objectstorage.cli._output import Output
from objectstorage.cli._parser import Parser
from objectstorage.cli._session import Session
from objectstorage.storage import ObjectInfo, Prefix


def configure(parser: Parser) -> None:
    """The options of `ls`."""
    parser.operands("[PREFIX]")
    parser.add_argument("-l", "--long", action="store_true", help="size in bytes and time, too")
    parser.add_argument("-r", "--recursive", action="store_true", help="all levels")
    parser.add_argument("-0", "--null", action="store_true", help="end each with NUL, exact keys")
    parser.add_argument(
        "--glob", action="store_true", help="PREFIX is a pattern: * ? stop at /, **"
    )


def run(args: Namespace, session: Session, out: Output) -> None:
    """Print each entry as it comes."""
    place = session.place(args.operands[0] if args.operands else "")
    entries: Iterator[ObjectInfo | Prefix]
    if args.glob:
        entries = expand(place)
    elif args.recursive:
        entries = place.store.list(place.key)
    else:
        entries = place.store.list_level(place.key)
    end = "\0" if args.null else "\n"
    for entry in entries:
        if out.as_json:
            out.record(_record(entry))
        elif args.long:
            out.line(_long(entry), end)
        else:
            out.line(entry.key, end)


def _record(entry: ObjectInfo | Prefix) -> dict[str, object]:
    if isinstance(entry, Prefix):
        return {"prefix": entry.key}
    return {
        "key": entry.key,
        "size": entry.size,
        "last_modified": entry.last_modified,
        "etag": entry.etag,
    }


def _long(entry: ObjectInfo | Prefix) -> str:
    if isinstance(entry, Prefix):
        return f"{'-':>14}  {'-':20}  {entry.key}"
    return f"{entry.size:>14}  {entry.last_modified:%Y-%m-%dT%H:%M:%SZ}  {entry.key}"
