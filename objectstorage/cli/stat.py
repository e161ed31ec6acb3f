"""Show what is known of objects: size, time, ETag, content type, metadata."""

from __future__ import annotations

from argparse import Namespace

from objectstorage.cli._globs import objects
from objectstorage.cli._jobs import in_turn
from objectstorage.cli._output import Output
from objectstorage.cli._parser import Parser
from objectstorage.cli._session import Place, Session
from objectstorage.storage import ObjectInfo


def configure(parser: Parser) -> None:
    """The options of `stat`."""
    parser.operands("KEY...")
    parser.add_argument("--glob", action="store_true", help="KEY is a pattern: * ? stop at /, **")


def run(args: Namespace, session: Session, out: Output) -> None:
    """Print each object's facts."""
    places = session.places(*args.operands)
    shown = 0

    def work(place: Place) -> None:
        nonlocal shown
        info = place.store.stat(place.key)
        if out.as_json:
            out.record(_record(info, place))
            return
        if shown:
            out.line("")
        shown += 1
        for line in _lines(info, place):
            out.line(line)

    in_turn(objects(places, out, glob=args.glob), work, out, several=args.glob or len(places) > 1)


def _record(info: ObjectInfo, place: Place) -> dict[str, object]:
    return {
        "key": info.key,
        "size": info.size,
        "last_modified": info.last_modified,
        "etag": info.etag,
        "content_type": info.content_type,
        "metadata": info.metadata,
        "storage": place.store.url,
    }


def _lines(info: ObjectInfo, place: Place) -> list[str]:
    lines = [
        f"key            {info.key}",
        f"store          {place.store.url}",
        f"size           {info.size}",
        f"last modified  {info.last_modified.isoformat()}",
        f"etag           {info.etag}",
    ]
    if info.content_type is not None:
        lines.append(f"content type   {info.content_type}")
    lines += [f"metadata       {name}={value}" for name, value in (info.metadata or {}).items()]
    return lines
