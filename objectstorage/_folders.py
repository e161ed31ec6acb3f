"""Local folders: walked for what can be stored, read and filled without leaving them."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Self

from objectstorage.errors import ErrIntegrity, ErrPermission, StorageError
from objectstorage.local.confine import FILE, open_beneath

__all__ = ["UNFINISHED", "Folder", "LocalFile", "walk"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_TEMPORARY = re.compile(r"\.objectstorage-[0-9a-f]{16}\.part")

UNFINISHED = "unfinished file"
"""The kind of what a transfer that died left, or one that is under way has so far."""


class LocalFile(NamedTuple):
    """A regular file: where it is, its name below the folder walked, its size in bytes.

    `modified` in nanoseconds since 1970.
    """

    path: str
    name: str
    size: int
    modified: int


def walk(
    root: str,
    *,
    skipped: Callable[[str, str], object],
    failed: Callable[[OSError], object],
) -> Iterator[LocalFile]:
    """The regular files below `root`, in key order of their names.

    Symbolic links are not followed; they, devices, sockets, pipes and what
    transfers left unfinished go to `skipped` as path and kind. A folder that
    can't be read goes to `failed`; if it is `root` itself that is raised.
    """
    stack = [_entries(root, "")]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
            continue
        name, path, info = entry
        mode = info.st_mode
        if stat.S_ISDIR(mode):
            try:
                stack.append(_entries(path, name))
            except OSError as exc:
                failed(exc)
        elif stat.S_ISREG(mode):
            if _TEMPORARY.fullmatch(name.rpartition("/")[2]):
                skipped(path, UNFINISHED)
            else:
                yield LocalFile(path, name, info.st_size, info.st_mtime_ns)
        else:
            skipped(path, "symbolic link" if stat.S_ISLNK(mode) else "no regular file")


def _entries(path: str, prefix: str) -> Iterator[tuple[str, str, os.stat_result]]:
    found = []
    with os.scandir(path) as entries:
        for entry in entries:
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # it vanished meanwhile
            # with the "/" the order is that of the whole names
            slash = "/" if stat.S_ISDIR(info.st_mode) else ""
            found.append((prefix + entry.name + slash, entry.path, info))
    found.sort()
    return iter(found)


class Folder:
    """A local folder and what is below it; nothing outside is read or written.

    Everything goes by descriptors from the folder down, so that neither a key
    nor a symbolic link, planted before or meanwhile, leads out: `ErrPermission`.
    """

    def __init__(self, root: str, *, create: bool = True) -> None:
        if create:
            os.makedirs(root, exist_ok=True)
        self._root = root
        self._fd = os.open(root, _FOLDER)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._fd)

    def open(self, name: str) -> int:
        """A descriptor of a regular file, to read it."""
        try:
            fd = open_beneath(self._fd, os.fsencode(name), FILE)
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                raise self._through_link(name) from exc
            raise self._named(exc, name) from exc
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise self._irregular(name)
        return fd

    def write(
        self, name: str, size: int | None, chunks: Iterable[bytes], *, modified: int | None = None
    ) -> None:
        """A file of exactly `size` bytes, unless that is None; whole and on disk or not at all.

        `modified` is the time it bears, in nanoseconds since 1970, if that is
        not now. `ErrPermission` for a name that leads outside or through a
        symbolic link, `ErrIntegrity` for another number of bytes.
        """
        *folders, leaf = self._split(name)
        parent = self._folder(folders, name)
        try:
            self._check_leaf(parent, leaf)
            temporary, fd = _temporary(parent)
            try:
                with open(fd, "wb", buffering=0) as file:
                    for chunk in chunks:
                        _write_all(fd, chunk)
                    if size is not None and file.tell() != size:
                        raise ErrIntegrity(f"{file.tell()} of {size} bytes came")
                    if modified is not None:
                        os.utime(fd, ns=(modified, modified))
                    os.fsync(fd)
                    # while it is locked, so that no sweep takes it
                    os.replace(temporary, leaf, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                _unlink(parent, temporary)
                raise
        except StorageError:
            raise  # some are OSErrors too
        except OSError as exc:
            raise self._named(exc, name) from exc
        finally:
            os.close(parent)

    def date(self, name: str, was: int, modified: int) -> None:
        """Let a file bear the time `modified`, if `was` is the one it has, and it may be set.

        Both in nanoseconds since 1970.
        """
        try:
            fd = self.open(name)
            try:
                if os.fstat(fd).st_mtime_ns == was:
                    os.utime(fd, ns=(modified, modified))
            finally:
                os.close(fd)
        except OSError:
            pass  # it is somebody else's, is gone, or can't be changed

    def make_folder(self, name: str) -> None:
        """A folder, for the empty object `name` that stands for one."""
        os.close(self._folder(self._split(name), name))

    def has_folder(self, name: str) -> bool:
        """Whether there is such a folder."""
        try:
            os.close(self._folder(self._split(name), name, make=False))
        except FileNotFoundError:
            return False
        return True

    def check(self, name: str) -> None:
        """Refuse what `write` would refuse because of the name; changes nothing."""
        *folders, leaf = self._split(name)
        try:
            parent = self._folder(folders, name, make=False)
        except FileNotFoundError:
            return
        try:
            self._check_leaf(parent, leaf)
        except StorageError:
            raise
        except OSError as exc:
            raise self._named(exc, name) from exc
        finally:
            os.close(parent)

    def delete(self, name: str) -> None:
        """Delete a file, and the folders above it that are empty then; it may be gone."""
        *folders, leaf = self._split(name)
        try:
            parent = self._folder(folders, name, make=False)
        except FileNotFoundError:
            return
        try:
            _unlink(parent, leaf)
        except OSError as exc:
            raise self._named(exc, name) from exc
        finally:
            os.close(parent)
        while folders:
            *folders, last = folders
            try:
                above = self._folder(folders, name, make=False)
                try:
                    os.rmdir(last, dir_fd=above)
                finally:
                    os.close(above)
            except OSError:
                return  # not empty, or somebody else's matter

    def sweep(self, name: str) -> None:
        """Delete an unfinished file, unless the transfer that writes it lives."""
        *folders, leaf = self._split(name)
        try:
            parent = self._folder(folders, name, make=False)
            try:
                fd = os.open(leaf, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=parent)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _unlink(parent, leaf)
                finally:
                    os.close(fd)
            finally:
                os.close(parent)
        except OSError:
            pass  # it is being written, is gone, or stays; it is in nobody's way

    def _split(self, name: str) -> list[str]:
        segments = name.split("/")
        for segment in segments:
            if segment in ("", ".", ".."):
                raise ErrPermission(f"the segment {segment!r} names no file below {self._root!r}")
        return segments

    def _folder(self, segments: list[str], name: str, *, make: bool = True) -> int:
        """A descriptor of the folder, which is made if need be."""
        fd = os.dup(self._fd)
        for segment in segments:
            try:
                below = self._open_folder(fd, segment, make)
            except OSError as exc:
                if _is_link(fd, segment):
                    raise self._through_link(segment) from exc
                raise self._named(exc, name) from exc
            finally:
                os.close(fd)
            fd = below
        return fd

    @staticmethod
    def _open_folder(fd: int, segment: str, make: bool) -> int:
        try:
            return os.open(segment, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
        except FileNotFoundError:
            if not make:
                raise
        try:
            os.mkdir(segment, dir_fd=fd)
        except FileExistsError:
            pass  # another thread was first
        return os.open(segment, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)

    def _check_leaf(self, parent: int, leaf: str) -> None:
        try:
            mode = os.stat(leaf, dir_fd=parent, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISLNK(mode):
            raise self._through_link(leaf)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise self._irregular(leaf)

    def _irregular(self, segment: str) -> ErrPermission:
        return ErrPermission(f"{segment!r} is in {self._root!r} already, and is no regular file")

    def _through_link(self, segment: str) -> ErrPermission:
        return ErrPermission(f"{segment!r} in {self._root!r} is a symbolic link")

    def _named(self, exc: OSError, name: str) -> OSError:
        """The same error, naming the whole path instead of its last segment."""
        path = os.path.join(self._root, name)
        return OSError(exc.errno, exc.strerror or str(exc), path)


def _temporary(parent: int) -> tuple[str, int]:
    """A fresh file's name and descriptor, which holds its lock."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    while True:
        name = f".objectstorage-{secrets.token_hex(8)}.part"
        fd = os.open(name, flags, 0o666, dir_fd=parent)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                return name, fd
        except BaseException:
            os.close(fd)
            _unlink(parent, name)
            raise
        os.close(fd)  # swept before it was locked


def _unlink(parent: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass


def _is_link(fd: int, segment: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(segment, dir_fd=fd, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _write_all(fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]
