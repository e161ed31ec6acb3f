"""What the commands of `data` share: where the data lies, what goes in and out."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO

from objectstorage._folders import Folder
from objectstorage.cli._output import Output, standard_input
from objectstorage.cli._parser import Parser, sequence
from objectstorage.cli._session import Session
from objectstorage.datamanager import Commit, DataManager
from objectstorage.errors import ErrCompacted
from objectstorage.wrappers import PrefixStorage

__all__ = [
    "add_conditions",
    "add_data",
    "commits",
    "committed",
    "open_data",
    "opened_input",
    "write_output",
]


def add_data(parser: Parser, *operands: str) -> None:
    """Operands, and the options every command of `data` has."""
    parser.operands(*operands)
    parser.add_argument(
        "--at",
        metavar="PLACE",
        help="where the data lies: an address, or a folder of the store (the whole store)",
    )
    parser.add_argument(
        "--single-writer",
        action="store_true",
        help="nobody else writes: for a store without conditional writes",
    )


def add_conditions(parser: Parser) -> None:
    """The options of a commit."""
    parser.add_argument(
        "--group",
        metavar="NAME",
        action="append",
        default=[],
        help="a change group of the commit; may be repeated",
    )
    parser.add_argument(
        "--token",
        metavar="SEQ",
        type=sequence,
        help="only if no commit after SEQ has one of the groups",
    )


def open_data(args: Namespace, session: Session) -> DataManager:
    """The data that the options name."""
    place = session.place(args.at or "")
    store = PrefixStorage(place.store, place.folder) if place.folder else place.store
    return DataManager(store, single_writer=args.single_writer)


def opened_input(path: str) -> AbstractContextManager[BinaryIO]:
    """A file, or standard input for `-`, which stays open."""
    return nullcontext(standard_input()) if path == "-" else open(path, "rb")


def write_output(path: str, chunks: Iterable[bytes], out: Output) -> None:
    """Write to a file, which appears whole, or to standard output for `-`."""
    if path == "-":
        for chunk in chunks:
            out.raw(chunk)
    elif os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as file:  # a device or a pipe
            file.writelines(chunks)
    else:
        real = os.path.realpath(path)  # a link stays one: what it points to is written
        with Folder(os.path.dirname(real)) as folder:
            folder.write(os.path.basename(real), None, chunks)


def commits(data: DataManager, after: int, *, follow: bool) -> Iterator[Commit]:
    """Every commit after `after`; past imports, at which `watch` ends."""
    while True:
        try:
            for commit in data.watch(after=after, follow=follow):
                after = commit.seq
                yield commit
            return
        except ErrCompacted:
            if data.boundary() > after:
                raise
            after += 1
            yield Commit(after, "", (), (), "import")


def committed(commit: Commit, operation: str, data: DataManager, out: Output) -> None:
    """Say that a commit stands."""
    if out.as_json:
        out.record(
            {"operation": operation, "seq": commit.seq, "commit": commit.id, "storage": data.url}
        )
    else:
        out.message(f"commit {commit.seq}")
