"""The write protocol: a temporary file that becomes the object whole or not at all.

The order is the point: create and lock, write, stamp, sync, close with its
error checked, publish by one rename, then sync the directories (`durable`).
"""

from __future__ import annotations

import errno
import itertools
import os
import secrets
import stat

from objectstorage import _cancel
from objectstorage.errors import (
    ErrConflict,
    ErrExist,
    ErrIO,
    ErrPermission,
    ErrPreconditionFailed,
    ErrUnsupported,
)
from objectstorage.local import locks, ops, tree
from objectstorage.local.confine import DIRECTORY, open_beneath
from objectstorage.local.failures import write_error
from objectstorage.local.meta import ATTRIBUTE
from objectstorage.local.versions import etag_of, tick

__all__ = [
    "Temporary",
    "Version",
    "check_etag",
    "make_way",
    "publish",
    "regular",
    "take_lock",
]

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PREFIX = secrets.token_hex(6)
_numbers = itertools.count()

Version = tuple[int, int, int]
"""mtime in ns, inode, size in bytes."""


def take_lock(fd: int) -> bool:
    """Lock an open file without waiting; False if another descriptor has it."""
    try:
        locks.try_lock(fd)
    except BlockingIOError:
        return False
    except OSError as exc:
        # No locks on this file system; a sweeper can't lock it either.
        if exc.errno not in (errno.ENOLCK, errno.ENOTSUP):
            raise
    return True


def regular(found: os.stat_result) -> bool:
    """Whether it is a plain file."""
    return stat.S_ISREG(found.st_mode)


class Temporary:
    """A file being written in the store's `tmp` directory, locked against sweepers."""

    __slots__ = ("_directory", "_pid", "fd", "name")

    def __init__(self, directory: int) -> None:
        self.fd = -1
        self._directory = directory
        self._pid = os.getpid()
        while True:
            # A process's prefix, its id (a fork shares the prefix), a number.
            self.name = f"{_PREFIX}-{self._pid:x}-{next(_numbers):x}".encode()
            try:
                self.fd = ops.open(self.name, _FLAGS, 0o666, dir_fd=directory)
                # A sweeper may have come between the two calls.
                if take_lock(self.fd) and ops.fstat(self.fd).st_nlink:
                    return
            except FileExistsError:
                continue
            except BaseException:
                # A signal's exception comes as soon as the file is there, before
                # its descriptor is known here.
                self._unlink()
                self.discard()
                raise
            swept, self.fd = self.fd, -1
            ops.let_go(swept)

    def write(self, data: memoryview | bytes | bytearray) -> None:
        """Append all of `data`; `ErrIO` and its kin."""
        try:
            written = ops.write(self.fd, data)
            if written < len(data):
                view = memoryview(data)
                while written < len(view):
                    written += ops.write(self.fd, view[written:])
        except OSError as exc:
            raise write_error(exc) from exc

    def seal(self, meta: bytes | None, *, durable: bool) -> Version:
        """Stamp the version, set the metadata, sync, close; the file is final then."""
        fd = self.fd
        if meta is not None:
            try:
                ops.setxattr(fd, ATTRIBUTE, meta)
            except OSError as exc:
                if exc.errno == errno.ENOTSUP:
                    raise ErrUnsupported(
                        "the file system keeps no metadata (no user attributes)"
                    ) from exc
                raise
        now = tick(metadata=meta is not None)
        ops.utime(fd, ns=(now, now))
        if durable:
            ops.fsync(fd)
        found = ops.fstat(fd)
        # The lock belongs to the open file, and lives on in the duplicate.
        self.fd = ops.dup(fd)
        ops.close(fd)
        return found.st_mtime_ns, found.st_ino, found.st_size

    def release(self) -> None:
        """Published: there is nothing to discard any more."""
        fd, self.fd = self.fd, -1
        ops.let_go(fd)

    def exists(self) -> bool:
        """Whether it still has its name."""
        try:
            ops.stat(self.name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def discard(self) -> None:
        """Leave no trace; nothing after `release`, and nothing in a forked child."""
        if self.fd >= 0:
            self._unlink()
            self.release()

    def _unlink(self) -> None:
        if os.getpid() == self._pid:
            try:
                ops.unlink(self.name, dir_fd=self._directory)
            except OSError:
                pass  # renamed already, or left to the sweeper

    def __del__(self) -> None:
        # Interrupted between its making and the care of whoever asked for it.
        self.discard()


def publish(
    root: int,
    tmp: int,
    temporary: Temporary,
    path: bytes,
    name: bytes,
    *,
    create: bool = False,
    etag: str | None = None,
    deadline: float | None = None,
) -> int:
    """Make the temporary the file `name` in the directory `path`, if conditions hold.

    Returns the directory's descriptor, unlocked, for the caller to sync and
    close. `ErrExist`, `ErrPreconditionFailed`, `ErrConflict`, `ErrTimeout`.
    """
    while True:
        parent = _parent(root, path, etag)
        try:
            locks.lock(parent, exclusive=etag is not None, deadline=deadline)
            try:
                if etag is not None:
                    check_etag(parent, name, etag)
                _cancel.check()
                if create:
                    ops.rename_exclusive(temporary.name, name, src_dir_fd=tmp, dst_dir_fd=parent)
                else:
                    ops.rename(temporary.name, name, src_dir_fd=tmp, dst_dir_fd=parent)
            finally:
                locks.unlock(parent)
            done, parent = parent, -1
            return done
        except FileNotFoundError as exc:
            # The directory was pruned: make it again.
            if not temporary.exists():
                raise ErrIO("the temporary file was removed by another program") from exc
        except (IsADirectoryError, FileExistsError) as exc:
            make_way(parent, name, exc)
        except OSError as exc:
            if exc.errno == errno.EXDEV:
                raise ErrUnsupported("there is a mount point inside the store") from exc
            raise
        finally:
            if parent >= 0:
                ops.let_go(parent)


def _parent(root: int, path: bytes, etag: str | None) -> int:
    if etag is None:
        return tree.make_directory(root, path)
    try:
        return open_beneath(root, path or b".", DIRECTORY)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise ErrPreconditionFailed("there is no such object") from exc


def check_etag(parent: int, name: bytes, etag: str) -> None:
    """`ErrPreconditionFailed` unless `name` is a file of that version; under the lock."""
    try:
        found = ops.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError as exc:
        raise ErrPreconditionFailed("there is no such object") from exc
    if not regular(found):
        raise ErrPreconditionFailed("there is no such object")
    current = etag_of(found.st_mtime_ns, found.st_ino, found.st_size)
    if current != etag:
        raise ErrPreconditionFailed(f"the ETag is {current!r}, not {etag!r}")


def make_way(parent: int, name: bytes, cause: OSError) -> None:
    """Clear the place of a new file if only empty directories take it; else the error.

    A crash between a mkdir and its rename leaves such directories behind.
    """
    try:
        found = ops.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        if not tree.remove_empty(parent, name):
            raise ErrConflict("the key is a folder of other keys") from cause
    elif regular(found):
        raise ErrExist("the key is taken") from cause
    else:
        raise ErrPermission("a symbolic link or special file is in the key's place") from cause
