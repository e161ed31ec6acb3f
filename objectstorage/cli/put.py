"""Store files, folders or standard input.

One file: DST is its key, or a folder if it ends in '/' or is the store itself.
With -r the names below a folder go below DST; of several folders each goes
below its own name there. Symbolic links are not followed.
"""

from __future__ import annotations

import os
import stat
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator
from typing import Any, NamedTuple

from objectstorage._folders import walk
from objectstorage.cli._globs import add_filters, filters
from objectstorage.cli._jobs import Record, add_jobs, run_jobs, run_one, summary
from objectstorage.cli._output import Output, Usage, standard_input
from objectstorage.cli._parser import Parser, name_value
from objectstorage.cli._progress import Progress
from objectstorage.cli._session import Place, Session, is_address
from objectstorage.storage import UNSET


class _Item(NamedTuple):
    path: str
    key: str
    size: int | None
    """Bytes; None for what is no regular file."""


def configure(parser: Parser) -> None:
    """The options of `put`."""
    parser.operands("SRC...", "DST")
    parser.add_argument("-r", "--recursive", action="store_true", help="folders, too")
    parser.add_argument("--create", action="store_true", help="only if the key is free")
    parser.add_argument("--if-match", metavar="ETAG", help="only if that is the current version")
    parser.add_argument("--content-type", metavar="TYPE", help="such as text/plain")
    parser.add_argument(
        "--metadata",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=_metadata,
        help="kept with the object; may be repeated",
    )
    parser.add_argument(
        "--no-durable", action="store_true", help="don't wait until it is on the disk"
    )
    add_jobs(parser)
    add_filters(parser)


def _metadata(text: str) -> tuple[str, str]:
    name, value = name_value(text)
    if not name.strip():
        raise ArgumentTypeError("it is NAME=VALUE")
    return name, value


def run(args: Namespace, session: Session, out: Output) -> None:
    """Store each file; see the module."""
    *sources, target = args.operands
    for source in sources:
        if is_address(source):
            raise Usage(f"put stores files; 'objectstorage cp' copies {source!r} between stores")
    if args.if_match is not None and (args.recursive or len(sources) > 1):
        raise Usage("--if-match is about one object")
    place = session.place(target)
    into_folder = not place.key or place.key.endswith("/")
    if len(sources) > 1 and not (args.recursive or into_folder):
        raise Usage(f"{target!r} is to hold several files: end it in '/'")
    names: set[str] = set()
    for name in (os.path.basename(os.path.abspath(source)) for source in sources):
        if name in names:
            raise Usage(f"two sources are named {name!r}: one would replace the other")
        names.add(name)
    options = _options(args)

    def work(item: _Item) -> Record:
        if item.path == "-":
            # raw: a signal is noticed between two reads, not when a buffer is full
            stdin = standard_input()
            result = place.store.put(item.key, getattr(stdin, "raw", stdin), **options)
        else:
            with progress.transfer() as transfer:
                # what is no regular file can't tell how far it is
                report = transfer if item.size is not None else None
                result = place.store.upload(item.key, item.path, progress=report, **options)
        return {"operation": "put", **result._asdict(), "storage": place.store.url}

    if len(sources) == 1 and not args.recursive:
        item = _single(sources[0], place)
        with Progress(out, "put", size=item.size, count=1) as progress:
            run_one(item, work, out, progress)
        return
    size = count = None
    if out.interactive:
        sizes = [item.size or 0 for item in _items(args, sources, place, None)]
        size, count = sum(sizes), len(sizes)
    with Progress(out, "put", size=size, count=count) as progress:
        items = _items(args, sources, place, out)
        run_jobs(items, work, jobs=args.jobs, out=out, progress=progress)
    summary(out, "stored", progress)


def _options(args: Namespace) -> dict[str, Any]:
    return {
        "create": args.create,
        "if_match": UNSET if args.if_match is None else args.if_match,
        "content_type": args.content_type,
        "metadata": dict(args.metadata) or None,
        "durable": False if args.no_durable else None,
    }


def _single(source: str, place: Place) -> _Item:
    if source == "-":
        if not place.key or place.key.endswith("/"):
            raise Usage("standard input has no name: give a key that doesn't end in '/'")
        return _Item(source, place.key, None)
    info = os.stat(source)
    if stat.S_ISDIR(info.st_mode):
        raise Usage(f"{source!r} is a folder; add -r to store what is in it")
    size = info.st_size if stat.S_ISREG(info.st_mode) else None
    return _Item(source, place.target(os.path.abspath(source)), size)


def _items(
    args: Namespace, sources: list[str], place: Place, out: Output | None
) -> Iterator[_Item]:
    """What to store; says what is left out, unless `out` is None."""
    wanted = filters(args)

    def skipped(path: str, kind: str) -> None:
        if out is not None:
            out.message(f"{path!r} is left out: {kind}")

    def failed(err: OSError) -> None:
        if out is not None:
            out.failed(err)

    for source in sources:
        try:
            if args.recursive and source != "-" and os.path.isdir(source):
                prefix = place.folder
                if len(sources) > 1:
                    prefix += os.path.basename(os.path.abspath(source)) + "/"
                for file in walk(source, skipped=skipped, failed=failed):
                    if wanted(file.name):
                        yield _Item(file.path, prefix + file.name, file.size)
            else:
                yield _single(source, Place(place.store, place.folder))
        except OSError as exc:
            if len(sources) == 1:
                raise
            failed(exc)
