"""Write objects to standard output, one after the other."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError, Namespace

from objectstorage.cli._globs import objects
from objectstorage.cli._jobs import in_turn
from objectstorage.cli._output import Output
from objectstorage.cli._parser import Parser
from objectstorage.cli._session import Place, Session
from objectstorage.ranges import resolve_range
from objectstorage.storage import UNSET, Unset

_CHUNK = 8 * 1024 * 1024


def configure(parser: Parser) -> None:
    """The options of `cat`."""
    parser.operands("KEY...")
    parser.add_argument(
        "--range",
        metavar="A:B",
        type=_range,
        help="bytes A up to but not B, as in 0:100, 100: or =-100: for the last hundred",
    )
    parser.add_argument("--glob", action="store_true", help="KEY is a pattern: * ? stop at /, **")


def _range(text: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"(-?\d+)?:(\d+)?", text, re.ASCII)
    if match is None:
        raise ArgumentTypeError("it is A:B, A: or :B, in bytes")
    return int(match[1] or 0), None if match[2] is None else int(match[2])


def run(args: Namespace, session: Session, out: Output) -> None:
    """Write each object, or the range of it."""
    places = session.places(*args.operands)

    def work(place: Place) -> None:
        if args.range is None:
            for chunk in place.store.stream(place.key):
                out.raw(chunk)
        else:
            start, end = args.range
            _cat_range(place, start, end, out)

    in_turn(objects(places, out, glob=args.glob), work, out, several=args.glob or len(places) > 1)


def _cat_range(place: Place, start: int, end: int | None, out: Output) -> None:
    """A range of one version, in pieces."""
    store, key = place
    etag: str | Unset = UNSET
    if start < 0:
        info = store.stat(key)
        start, end = resolve_range(start, end, info.size)
        etag = info.etag
    while True:
        stop = start + _CHUNK
        data, info = store.fetch(
            key, start=start, end=stop if end is None else min(end, stop), if_match=etag
        )
        out.raw(data)
        start, end, etag = stop, info.size if end is None else min(end, info.size), info.etag
        if start >= end:
            return
