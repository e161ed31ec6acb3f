"""Fetch an object into a file, or with -r what is below a folder into a folder.

A file appears whole or not at all. With -r nothing is written outside of DST:
a key whose name would lead there, or through a symbolic link, is refused and
named; the others are fetched, and the exit code is 1.
"""

from __future__ import annotations

import os
import shutil
from argparse import Namespace
from collections.abc import Iterator
from typing import BinaryIO

from objectstorage._folders import Folder
from objectstorage.cli._globs import add_filters, filters
from objectstorage.cli._jobs import Record, add_jobs, run_jobs, run_one, summary
from objectstorage.cli._listing import below, totals
from objectstorage.cli._output import Output, Refused, Usage
from objectstorage.cli._parser import Parser
from objectstorage.cli._progress import Progress, Transfer
from objectstorage.cli._session import Place, Session, is_address
from objectstorage.errors import ErrPermission
from objectstorage.storage import ObjectInfo

_CHUNK = 1024 * 1024


def configure(parser: Parser) -> None:
    """The options of `get`."""
    parser.operands("SRC", "DST")
    parser.add_argument("-r", "--recursive", action="store_true", help="all below a folder")
    add_jobs(parser)
    add_filters(parser)


def run(args: Namespace, session: Session, out: Output) -> None:
    """Fetch; see the module."""
    source, target = args.operands
    if is_address(target):
        raise Usage(f"get writes files; 'objectstorage cp' copies to {target!r}")
    place = session.place(source)
    if args.recursive:
        if target == "-":
            raise Usage("-r needs a folder to write to, not '-'")
        _get_folder(args, place, target, out)
    else:
        _get_one(place, target, out)


def _get_one(place: Place, target: str, out: Output) -> None:
    if target == "-":
        for chunk in place.store.stream(place.key):
            out.raw(chunk)
        return
    path = _local_path(place, target)

    def work(key: str) -> Record:
        if os.path.exists(path) and not os.path.isfile(path):
            # a device or a pipe: a rename would replace it
            with open(path, "wb") as file, place.store.open(key) as reader:
                shutil.copyfileobj(reader, file, _CHUNK)
                return _record(reader.info, place)
        with progress.transfer() as transfer:
            real = os.path.realpath(path)  # a link stays one: what it points to is written
            return _record(place.store.download(key, real, progress=transfer), place)

    with Progress(out, "get", count=1) as progress:
        run_one(place.key, work, out, progress)


def _local_path(place: Place, target: str) -> str:
    """The file to write: below a folder it has the key's last segment as its name."""
    key = place.key
    if not (target.endswith("/") or os.path.isdir(target)):
        return target
    name = key.rpartition("/")[2]
    if name in ("", ".", ".."):
        raise Refused(f"{key!r} ends in no file name; give one instead of {target!r}")
    if not os.path.isdir(target):
        place.store.stat(key)  # what isn't there leaves no folder behind
        os.makedirs(target)
    return os.path.join(target, name)


def _get_folder(args: Namespace, place: Place, target: str, out: Output) -> None:
    wanted = filters(args)
    prefix = place.folder
    size, count = totals(place, wanted, out)

    def work(info: ObjectInfo) -> Record:
        try:
            return fetch(info)
        except ErrPermission as exc:
            if exc.key is not None:
                raise  # the store's
            raise Refused(f"{info.key!r} is not fetched: {exc}") from exc

    def fetch(info: ObjectInfo) -> Record:
        name = info.key[len(prefix) :]
        if info.size == 0 and (name.endswith("/") or not name):
            # an empty object that stands for a folder, as some tools make them
            if name:
                folder.make_folder(name[:-1])
            return _record(info, place)
        with place.store.open(info.key) as reader, progress.transfer() as transfer:
            folder.write(name, reader.info.size, _chunks(reader, transfer))
            return _record(reader.info, place)

    with Folder(target) as folder, Progress(out, "get", size=size, count=count) as progress:
        items = below(place, wanted)
        run_jobs(items, work, jobs=args.jobs, out=out, progress=progress)
    summary(out, "fetched", progress)


def _chunks(reader: BinaryIO, transfer: Transfer) -> Iterator[bytes]:
    while chunk := reader.read(_CHUNK):
        yield chunk
        transfer.more(len(chunk))


def _record(info: ObjectInfo, place: Place) -> Record:
    return {
        "operation": "get",
        "key": info.key,
        "size": info.size,
        "etag": info.etag,
        "storage": place.store.url,
    }
