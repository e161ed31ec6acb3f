"""Local folders: walked for what can be stored, filled without leaving them."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Self

from objectstorage.cli._output import Refused
from objectstorage.errors import ErrIntegrity, StorageError

__all__ = ["LocalFile", "Target", "walk"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class LocalFile(NamedTuple):
    """A regular file: where it is, its name below the folder walked, its size in bytes."""

    path: str
    name: str
    size: int


def walk(
    root: str,
    *,
    skipped: Callable[[str, str], None],
    failed: Callable[[OSError], None],
) -> Iterator[LocalFile]:
    """The regular files below `root`, in key order of their names.

    Symbolic links are not followed; they, devices, sockets and pipes go to
    `skipped` as path and kind. A folder that can't be read goes to `failed`;
    if it is `root` itself that is raised.
    """
    stack = [_entries(root, "")]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
            continue
        name, path, mode, size = entry
        if stat.S_ISDIR(mode):
            try:
                stack.append(_entries(path, name))
            except OSError as exc:
                failed(exc)
        elif stat.S_ISREG(mode):
            yield LocalFile(path, name, size)
        else:
            skipped(path, "symbolic link" if stat.S_ISLNK(mode) else "no regular file")


def _entries(path: str, prefix: str) -> Iterator[tuple[str, str, int, int]]:
    found = []
    with os.scandir(path) as entries:
        for entry in entries:
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # it vanished meanwhile
            # with the "/" the order is that of the whole names
            slash = "/" if stat.S_ISDIR(info.st_mode) else ""
            found.append((prefix + entry.name + slash, entry.path, info.st_mode, info.st_size))
    found.sort()
    return iter(found)


class Target:
    """A local folder to be filled from keys; nothing is written outside of it.

    Everything goes by descriptors from the folder down, so that neither a key
    nor a symbolic link, planted before or meanwhile, leads out.
    """

    def __init__(self, root: str) -> None:
        os.makedirs(root, exist_ok=True)
        self._root = root
        self._fd = os.open(root, _FOLDER)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._fd)

    def write(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """A file of exactly `size` bytes, whole and on disk or not at all.

        `Refused` for a name that leads outside or through a symbolic link,
        `ErrIntegrity` for another number of bytes.
        """
        *folders, leaf = self._split(name)
        parent = self._folder(folders, name)
        temporary = f".objectstorage-{secrets.token_hex(8)}.part"
        try:
            self._check_leaf(parent, leaf)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            fd = os.open(temporary, flags, 0o666, dir_fd=parent)
            try:
                with open(fd, "wb", buffering=0) as file:
                    for chunk in chunks:
                        _write_all(file.fileno(), chunk)
                    if file.tell() != size:
                        raise ErrIntegrity(f"{file.tell()} of {size} bytes came")
                    os.fsync(file.fileno())
                os.replace(temporary, leaf, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                os.unlink(temporary, dir_fd=parent)
                raise
        except StorageError:
            raise  # some are OSErrors too
        except OSError as exc:
            raise self._named(exc, name) from exc
        finally:
            os.close(parent)

    def make_folder(self, name: str) -> None:
        """A folder, for the empty object `name` that stands for one."""
        os.close(self._folder(self._split(name), name))

    def _split(self, name: str) -> list[str]:
        segments = name.split("/")
        for segment in segments:
            if segment in ("", ".", ".."):
                raise Refused(f"the segment {segment!r} names no file below {self._root!r}")
        return segments

    def _folder(self, segments: list[str], name: str) -> int:
        """A descriptor of the folder, which is made if need be."""
        fd = os.dup(self._fd)
        for segment in segments:
            try:
                below = self._open_folder(fd, segment)
            except OSError as exc:
                if _is_link(fd, segment):
                    raise self._through_link(segment) from exc
                raise self._named(exc, name) from exc
            finally:
                os.close(fd)
            fd = below
        return fd

    @staticmethod
    def _open_folder(fd: int, segment: str) -> int:
        try:
            return os.open(segment, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
        except FileNotFoundError:
            pass
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
            raise Refused(f"{leaf!r} is in {self._root!r} already, and is no regular file")

    def _through_link(self, segment: str) -> Refused:
        return Refused(f"{segment!r} in {self._root!r} is a symbolic link")

    def _named(self, exc: OSError, name: str) -> OSError:
        """The same error, naming the whole path instead of its last segment."""
        path = os.path.join(self._root, name)
        return OSError(exc.errno, exc.strerror or str(exc), path)


def _is_link(fd: int, segment: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(segment, dir_fd=fd, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _write_all(fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]
