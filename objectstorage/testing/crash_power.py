"""The power fails after any operation, and the file system loses what it may lose.

The operations of a scenario are recorded as they are done for real, except
that nothing is synced for real. Then every tree that the model of a disk
(`crash_disk`) allows after each of them is laid out in a fresh directory, and
the store there must be as expected.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from objectstorage.local import meta, ops
from objectstorage.testing.crash import (
    Expected,
    Machine,
    Open,
    Scenario,
    progress,
    unsynced,
    verify,
)
from objectstorage.testing.crash_disk import (
    Change,
    Content,
    Done,
    Edit,
    Id,
    Recording,
    Sync,
    Tree,
    Wrote,
)

__all__ = ["cut_power_everywhere", "record"]

_STORE = "store"
_CHANGING = (
    *("open", "write", "setxattr", "copy_range", "reflink"),
    *("mkdir", "rmdir", "link", "unlink", "rename", "rename_exclusive"),
)


def cut_power_everywhere(
    recording: Recording,
    scenario: Scenario,
    folder: Path,
    open_store: Open,
    *,
    atomic_renames: bool = True,
    limit: int = 400,
) -> int:
    """Check what may be on disk after each event; how many different trees that was."""
    seen: set[tuple[int, frozenset[tuple[bytes, Content | None]]]] = set()
    done = 0
    for count in range(len(recording.events) + 1):
        if count and isinstance(recording.events[count - 1], Done):
            done += 1
        for tree in recording.states(count, atomic_renames=atomic_renames, limit=limit):
            state = done, frozenset(tree.items())
            if state in seen:
                continue
            place = folder / str(len(seen))
            seen.add(state)
            try:
                _check(tree, place, open_store, _at(scenario, done, atomic_renames))
            except BaseException as exc:
                exc.add_note(
                    f"{scenario.name}: the power failed after {done} steps and {count} of "
                    f"{recording.events}, leaving {sorted(tree.items())}"
                )
                raise
    return len(seen)


def _check(tree: Tree, place: Path, open_store: Open, expected: Expected) -> None:
    _lay_out(tree, place)
    root = place / _STORE
    with unsynced(), open_store(root, False) as store:
        verify(store, expected, lambda: os.listdir(root / ".objectstorage/tmp"))


def _at(scenario: Scenario, done: int, atomic_renames: bool) -> Expected:
    expected = progress(scenario, done, power=True)
    step = expected.under_way
    if step is not None and not atomic_renames and None in step.changes.values():
        # A move on such a disk may leave both names; nothing but its end is certain.
        return expected._replace(under_way=step._replace(whole=False))
    return expected


def _lay_out(tree: Tree, place: Path) -> None:
    place.mkdir(parents=True)
    for path in sorted(tree):
        where = os.path.join(os.fsencode(place), path)
        content = tree[path]
        if content is None:
            os.mkdir(where)
            continue
        with open(where, "wb", buffering=0) as file:
            file.write(content.data)
            if content.attribute is not None:
                ops.setxattr(file.fileno(), meta.ATTRIBUTE, content.attribute)


def record(
    scenario: Scenario,
    folder: Path,
    open_store: Open,
    *,
    lose: Callable[[int, str], bool] = lambda number, path: False,
) -> Recording:
    """Run the scenario; what it did to the files in `folder`.

    `lose(number, path)`: whether the sync of that number, of that file or
    directory, is to be left out, to see that its want is noticed.
    """
    folder.mkdir(parents=True)
    recorder = _Recorder(lose)
    machine = Machine(folder / _STORE, open_store)
    try:
        with recorder.patched():
            for step in scenario.before:
                step.run(machine)
            recorder.start(folder)
            for step in scenario.steps:
                step.run(machine)
                recorder.recording.events.append(Done())
    finally:
        recorder.close()
        machine.close()
    return recorder.recording


class _Recorder:
    """Stands in for the operations on files, does them, and takes notes."""

    recording: Recording

    def __init__(self, lose: Callable[[int, str], bool]) -> None:
        self._lose = lose
        self._syncs = 0
        self._started = False
        # An open descriptor for each inode, so that none is used again.
        self._held: dict[Id, int] = {}
        self._paths: dict[Id, str] = {}

    def start(self, folder: Path) -> None:
        """From here on: all that is in the folder is taken to be on disk."""
        directories: dict[Id, dict[bytes, Id]] = {}
        files: dict[Id, Content] = {}
        top = self._hold(os.fsencode(folder), None, "")
        pending = [top]
        while pending:
            where = pending.pop()
            names = directories[where] = {}
            for name in map(os.fsencode, os.listdir(self._held[where])):
                found = names[name] = self._hold(name, self._held[where], self._below(where, name))
                if os.path.isdir(self._held[found]):
                    pending.append(found)
                else:
                    files[found] = self._content(found)
        self.recording = Recording(top, directories, files)
        self._started = True

    def close(self) -> None:
        """Let the descriptors go."""
        for fd in self._held.values():
            os.close(fd)

    @contextmanager
    def patched(self) -> Iterator[None]:
        """In place of the operations that change something."""
        real = {name: getattr(ops, name) for name in (*_CHANGING, "fsync")}
        try:
            for name in _CHANGING:
                setattr(ops, name, self._noting(real[name], getattr(self, f"_{name}")))
            setattr(ops, "fsync", self._fsync)  # noqa: B010  # not of the type mypy knows
            yield
        finally:
            for name, operation in real.items():
                setattr(ops, name, operation)

    def _noting(self, operation: Any, note: Any) -> Any:
        def noting(*args: Any, **options: Any) -> Any:
            if not self._started:
                return operation(*args, **options)
            return note(operation, *args, **options)

        return noting

    # -- one method an operation -----------------------------------------------

    def _open(
        self, real: Any, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        fd: int = real(path, flags, mode, dir_fd=dir_fd)
        if flags & os.O_CREAT:
            self._hold(path, dir_fd, "")
            self._wrote(fd)
            self._appears(path, dir_fd)
        return fd

    def _write(self, real: Any, fd: int, data: Any) -> int:
        count: int = real(fd, data)
        self._wrote(fd)
        return count

    def _setxattr(self, real: Any, fd: int, name: str, value: bytes) -> None:
        real(fd, name, value)
        self._wrote(fd)

    def _copy_range(self, real: Any, src: int, dst: int, count: int) -> int:
        done: int = real(src, dst, count)
        self._wrote(dst)
        return done

    def _reflink(self, real: Any, src: int, dst: int) -> None:
        real(src, dst)
        self._wrote(dst)

    def _fsync(self, fd: int) -> None:
        if self._started:
            what = _id(os.fstat(fd))
            if not self._lose(self._syncs, self._paths.get(what, "?")):
                self.recording.events.append(Sync(what))
            self._syncs += 1

    def _mkdir(self, real: Any, path: Any, mode: int, *, dir_fd: int | None = None) -> None:
        real(path, mode, dir_fd=dir_fd)
        self._appears(path, dir_fd)

    def _rmdir(self, real: Any, path: Any, *, dir_fd: int) -> None:
        real(path, dir_fd=dir_fd)
        self._note(Edit(_id(os.fstat(dir_fd)), path, None))

    def _unlink(self, real: Any, path: Any, *, dir_fd: int) -> None:
        real(path, dir_fd=dir_fd)
        self._note(Edit(_id(os.fstat(dir_fd)), path, None))

    def _link(
        self, real: Any, src: bytes, dst: bytes, *, src_dir_fd: int, dst_dir_fd: int, **options: Any
    ) -> None:
        real(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, **options)
        self._appears(dst, dst_dir_fd)

    def _rename(
        self, real: Any, src: bytes, dst: bytes, *, src_dir_fd: int, dst_dir_fd: int
    ) -> None:
        before = len(self.recording.events)
        real(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        if len(self.recording.events) > before:
            return  # done by a link and an unlink, which have been noted
        self._appears(dst, dst_dir_fd, Edit(_id(os.fstat(src_dir_fd)), src, None))

    _rename_exclusive = _rename

    # -- notes -----------------------------------------------------------------

    def _note(self, *edits: Edit) -> None:
        self.recording.events.append(Change(edits))

    def _appears(self, path: Any, dir_fd: int | None, *more: Edit) -> None:
        folder, name = os.path.split(os.fsencode(path))
        where = _id(
            os.stat(folder or b".", dir_fd=dir_fd) if dir_fd is None or folder else os.fstat(dir_fd)
        )
        target = self._hold(path, dir_fd, self._below(where, name))
        self._note(Edit(where, name, target), *more)

    def _wrote(self, fd: int) -> None:
        file = _id(os.fstat(fd))
        self.recording.events.append(Wrote(file, self._content(file)))

    def _below(self, where: Id, name: bytes) -> str:
        return f"{self._paths[where]}/{os.fsdecode(name)}".lstrip("/")

    def _hold(self, path: Any, dir_fd: int | None, known_as: str) -> Id:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
        found = _id(os.fstat(fd))
        if found in self._held:
            os.close(fd)
        else:
            self._held[found] = fd
        self._paths[found] = known_as
        return found

    def _content(self, file: Id) -> Content:
        fd = self._held[file]
        return Content(os.pread(fd, os.fstat(fd).st_size, 0), meta.read_raw(fd))


def _id(found: os.stat_result) -> Id:
    return found.st_dev, found.st_ino
