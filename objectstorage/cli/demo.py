"""Store a folder, list it, read it back and compare every byte.

Without --store it all happens in a fresh folder store in a temporary directory,
which is removed at the end. With --store it happens under a fresh prefix of its
own, and only what was written there is deleted. DIR is the source code of this
package unless given. The exit code is 0 only if everything was verified.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import quote

import objectstorage
from objectstorage._folders import LocalFile, walk
from objectstorage.cli._jobs import add_jobs, run_jobs
from objectstorage.cli._output import EXIT_FAILED, Output, Usage, bytes_text
from objectstorage.cli._parser import Parser
from objectstorage.cli._progress import Progress
from objectstorage.cli._session import Session
from objectstorage.cli._tables import print_table
from objectstorage.errors import (
    ErrExist,
    ErrIntegrity,
    ErrNotExist,
    ErrOutcomeUnknown,
    ErrPreconditionFailed,
    StorageError,
    is_err_not_exist,
)
from objectstorage.storage import PutResult, Storage

_CHUNK = 1024 * 1024


def configure(parser: Parser) -> None:
    """The options of `demo`."""
    parser.operands("[DIR]")
    parser.add_argument("--keep", action="store_true", help="leave what was stored")
    add_jobs(parser)


def run(args: Namespace, session: Session, out: Output) -> int:
    """Show it; 0 if everything was verified."""
    folder = args.operands[0] if args.operands else None
    files = _files(folder, out)
    if session.chosen is not None:
        store = session.open(session.chosen)
        session.check_options()
        return _show(store, files, args, out)
    temporary = tempfile.mkdtemp(prefix="objectstorage-demo-")
    try:
        store = session.open(f"posix://{quote(temporary)}/store")
        session.check_options()
        return _show(store, files, args, out)
    finally:
        if not args.keep:
            shutil.rmtree(temporary)
            out.message(f"The store was in {temporary}, which is removed.")


def _files(folder: str | None, out: Output) -> list[LocalFile]:
    """What to store; nothing but the sources of our own package, which may compile meanwhile."""
    root = folder or os.path.dirname(os.path.abspath(objectstorage.__file__))
    if not os.path.isdir(root) and os.path.exists(root):
        raise Usage(f"{root!r} is no folder")
    left_out: Counter[str] = Counter()
    files = [
        file
        for file in walk(
            root,
            skipped=lambda path, kind: left_out.update((kind,)),
            failed=out.failed,
        )
        if folder or "__pycache__/" not in file.name
    ]
    if not files:
        raise Usage(f"{root!r} has no files to store")
    without = "".join(f", left out: {count} × {kind}" for kind, count in left_out.items())
    out.message(f"{len(files)} files of {os.path.abspath(root)}{without}")
    return files


def _show(store: Storage, files: list[LocalFile], args: Namespace, out: Output) -> int:
    demo = _Demo(store, files, args.jobs, out)
    out.message(f"in {store.url} under {demo.prefix}")
    try:
        demo.run()
        finished = True
    except BaseException:
        finished = False
        raise
    finally:
        # also after Ctrl-C, but then without a word on what was not shown
        if not args.keep:
            demo.remove(quiet=not finished)
        elif demo.written:
            out.message(f"Kept: objectstorage ls -r --store {store.url} {demo.prefix}")
    demo.table()
    return out.code if demo.verified else EXIT_FAILED


class _Step(NamedTuple):
    name: str
    objects: int
    bytes: int
    seconds: float
    verified: bool


class _NotShown(Exception):
    """A check whose promise did not hold, or could not be tried; says what was seen."""


class _Demo:
    """One run, under a fresh prefix; `written` are the keys to clean up."""

    def __init__(self, store: Storage, files: list[LocalFile], jobs: int, out: Output) -> None:
        self._store = store
        self._files = files
        self._jobs = jobs
        self._out = out
        self._started = time.time()
        self._steps: list[_Step] = []
        self._first: PutResult
        self.prefix = f"objectstorage-demo-{secrets.token_hex(6)}/"
        self.written: list[str] = []
        self.verified = True

    def run(self) -> None:
        """All checks but the removal; raises if nothing can be stored at all."""
        # so that a store that isn't there is told once, by its own exit code
        key = self._own_key("compare-and-swap")
        try:
            self._first = self._store.put(key, b"first")
        except ErrOutcomeUnknown:
            raise
        except StorageError:
            self.written.clear()  # it was not stored
            raise
        self._check("store", self._put_all)
        self._check("list", self._list_all)
        self._check("read", self._read_all)
        self._check("range", self._range)
        self._check("create", self._create_only)
        self._check("replace", self._compare_and_swap)
        self._check("missing", self._missing)

    def remove(self, *, quiet: bool) -> None:
        """Delete what was written and nothing else."""
        if quiet:
            failed = self._store.delete_many(self.written, errors="return")
            if failed:
                self._out.failed(next(iter(failed.values())))
                self._out.message(f"{len(failed)} objects may be left under {self.prefix}")
        else:
            self._check("remove", self._remove_all)

    def table(self) -> None:
        """The steps in figures."""
        out = self._out
        if out.as_json:
            for step in self._steps:
                out.record({"step": step.name, **step._asdict()})
            out.record({"verified": self.verified})
            return
        out.line("")
        rows = [
            (
                step.name,
                str(step.objects),
                bytes_text(step.bytes) if step.bytes else "-",
                f"{step.seconds:.2f}",
                f"{step.bytes / 2**20 / max(step.seconds, 1e-6):.1f}" if step.bytes else "-",
                "yes" if step.verified else "NO",
            )
            for step in self._steps
        ]
        print_table(out, ("step", "objects", "bytes", "seconds", "MiB/s", "verified"), rows)
        out.line("Everything was verified." if self.verified else "NOT everything was verified.")

    # -- the checks: each returns what it showed, or raises what it ran into -----------

    def _put_all(self) -> str:
        def put(file: LocalFile, progress: Progress) -> None:
            key = self._key(file)
            # before the attempt: it may be stored even if that fails
            self.written.append(key)
            with progress.transfer() as transfer:
                self._store.upload(key, file.path, progress=transfer)

        progress = self._each("store", put)
        durable = ", and durable once put returned" * self._store.capabilities.durable_puts
        return f"stored {progress.objects} files, {bytes_text(progress.bytes)}: each whole{durable}"

    def _list_all(self) -> str:
        started = time.monotonic()
        # code points sort as their UTF-8 bytes do
        expected = sorted(self._key(file) for file in self._files)
        sizes = {self._key(file): file.size for file in self._files}
        listed = []
        with Progress(self._out, "list", count=len(expected)) as progress:
            for info in self._store.list(f"{self.prefix}files/"):
                listed.append(info.key)
                progress.finished()
                if sizes.get(info.key, info.size) != info.size:
                    raise _NotShown(f"{info.key!r} has {info.size} bytes, not its file's")
        if listed != expected:
            wrong = next(
                ((a, b) for a, b in zip(listed, expected, strict=False) if a != b),
                (len(listed), len(expected)),
            )
            raise _NotShown(f"the listing has {wrong[0]!r} where {wrong[1]!r} belongs")
        self._steps.append(_Step("list", len(listed), 0, time.monotonic() - started, True))
        return f"listed {len(listed)} keys, each once, in the order of their UTF-8 bytes"

    def _read_all(self) -> str:
        def read(file: LocalFile, progress: Progress) -> None:
            key = self._key(file)
            with open(file.path, "rb") as original, progress.transfer() as transfer:
                for chunk in self._store.stream(key, chunk_size=_CHUNK):
                    if original.read(len(chunk)) != chunk:
                        raise self._differs(file)
                    transfer.more(len(chunk))
                if original.read(1):
                    raise self._differs(file)

        progress = self._each("read", read)
        return f"read {progress.objects} objects back: every byte is as in its file"

    def _range(self) -> str:
        file = max(self._files, key=lambda file: file.size)
        start, length = file.size // 3, min(100, file.size - file.size // 3)
        with open(file.path, "rb") as original:
            original.seek(start)
            middle = original.read(length)
            original.seek(file.size - length)
            end = original.read()
        key = self._key(file)
        if self._store.get_range(key, start=start, length=length) != middle:
            raise _NotShown(f"bytes {start} to {start + length} of {key!r} are not its file's")
        if length and self._store.get_range(key, start=-length) != end:
            raise _NotShown(f"the last {length} bytes of {key!r} are not its file's")
        return f"read {length} bytes of {file.name!r} from {start} on, and its last {length}"

    def _create_only(self) -> str:
        key = self._own_key("create-only")
        self._store.put(key, b"first", create=True)
        try:
            self._store.put(key, b"second", create=True)
        except ErrExist:
            pass
        else:
            raise _NotShown(f"a second put(create=True) of {key!r} went through")
        if self._store.get(key) != b"first":
            raise _NotShown(f"{key!r} was changed by a put(create=True) that was refused")
        return "put(create=True) on a taken key raised ErrExist and changed nothing"

    def _compare_and_swap(self) -> str:
        key, old = self._first.key, self._first.etag
        new = self._store.put(key, b"second", if_match=old).etag
        try:
            self._store.put(key, b"third", if_match=old)
        except ErrPreconditionFailed:
            pass
        else:
            raise _NotShown(f"a put of {key!r} with a stale if_match went through")
        found = self._store.fetch(key)
        if (found.data, found.info.etag) != (b"second", new):
            raise _NotShown(f"{key!r} was changed by a put(if_match=…) that was refused")
        return "put(if_match=etag) replaced; with a stale ETag: ErrPreconditionFailed"

    def _missing(self) -> str:
        key = self.prefix + "not-there"
        try:
            self._store.get(key)
        except ErrNotExist as err:
            if not (is_err_not_exist(err) and err.key == key):
                raise _NotShown(f"the error of a missing object is {err!r}") from err
            return "get of a missing object raised ErrNotExist; is_err_not_exist(err) tells"
        raise _NotShown(f"{key!r} was never stored, and yet was read")

    def _remove_all(self) -> str:
        started = time.monotonic()
        with Progress(self._out, "remove", count=len(self.written)) as progress:

            def keys() -> Iterator[str]:
                for key in self.written:
                    yield key
                    progress.finished()

            self._store.delete_many(keys())
        left = next(self._store.list(self.prefix), None)
        if left is not None:
            raise _NotShown(f"{left.key!r} is still listed")
        count = len(self.written)
        self._steps.append(_Step("remove", count, 0, time.monotonic() - started, True))
        return f"deleted the {count} objects written; nothing is left of them"

    # -- helpers -----------------------------------------------------------------------

    def _check(self, name: str, show: Callable[[], str]) -> None:
        ok = False
        try:
            text = show()
            ok = True
        except (StorageError, OSError, _NotShown) as exc:
            text = str(exc)
            self.verified = False
            if not any(step.name == name for step in self._steps):
                self._steps.append(_Step(name, 0, 0, 0.0, False))
        if self._out.as_json:
            self._out.record({"check": name, "verified": ok, "text": text})
        else:
            self._out.line(f"{'ok' if ok else 'NO'}  {text}")

    def _each(self, name: str, work: Callable[[LocalFile, Progress], None]) -> Progress:
        size = sum(file.size for file in self._files)
        with Progress(self._out, name, size=size, count=len(self._files)) as progress:
            run_jobs(
                self._files,
                lambda file: work(file, progress),
                jobs=self._jobs,
                out=self._out,
                progress=progress,
            )
        ok = progress.objects == len(self._files)
        self._steps.append(_Step(name, progress.objects, progress.bytes, progress.seconds, ok))
        if not ok:
            raise _NotShown(f"{progress.objects} of {len(self._files)} files: {name} failed")
        return progress

    def _differs(self, file: LocalFile) -> ErrIntegrity:
        changed = os.stat(file.path).st_mtime >= self._started
        return ErrIntegrity(
            f"the bytes differ from {file.path!r}" + (", which changed meanwhile" * changed),
            key=self._key(file),
            operation="stream",
            storage=self._store.url,
        )

    def _key(self, file: LocalFile) -> str:
        return f"{self.prefix}files/{file.name}"

    def _own_key(self, name: str) -> str:
        key = f"{self.prefix}checks/{name}"
        self.written.append(key)
        return key
