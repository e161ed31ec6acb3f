"""Deleting files: of one directory together, their absence synced once.

Where there is nothing to delete, that is synced as well: another process may
have deleted it without, or this one may have failed to sync and tries again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from objectstorage import _cancel
from objectstorage.errors import ErrDurabilityUnknown, StorageError
from objectstorage.local import locks, ops
from objectstorage.local.atomic import check_etag, regular
from objectstorage.local.confine import DIRECTORY, open_beneath
from objectstorage.local.failures import read_error
from objectstorage.local.root import Root

__all__ = ["delete_in"]


def delete_in(
    root: Root, folder: bytes, names: Sequence[bytes], *, etag: str | None, durable: bool
) -> list[bool | StorageError]:
    """Delete files of one directory; for each whether it was there, or its error."""
    try:
        path, fd = _nearest(root, folder)
    except FileNotFoundError:
        return [False] * len(names)  # the root itself was removed
    except OSError as exc:
        return [_caused(read_error(exc), exc) for _ in names]
    found: list[bool | StorageError] = [False] * len(names)
    try:
        if path == folder:
            for number, name in enumerate(names):
                found[number] = _unlink(fd, name, etag)
        if durable and not all(isinstance(each, StorageError) for each in found):
            synced, fd = fd, -1
            root.sync(path, synced)
    except OSError as exc:
        text = "it is deleted, but its directory could not be synced"
        found = [
            each
            if isinstance(each, StorageError)
            else _caused(ErrDurabilityUnknown(text, errno=exc.errno), exc)
            for each in found
        ]
    finally:
        if fd >= 0:
            ops.let_go(fd)
    if True in found:
        root.prune(folder)
    return found


def _nearest(root: Root, path: bytes) -> tuple[bytes, int]:
    """The directory, or the nearest above it that is there: its path, open."""
    while True:
        try:
            return path, open_beneath(root.fd, path or b".", DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            if not path:
                raise
        path = path.rpartition(b"/")[0]


def _unlink(parent: int, name: bytes, etag: str | None) -> bool | StorageError:
    """Whether there was such a file; it is gone then. Or the error."""
    try:
        locks.lock(parent, exclusive=etag is not None)
        try:
            if etag is not None:
                check_etag(parent, name, etag)
            else:
                found = ops.stat(name, dir_fd=parent, follow_symlinks=False)
                if stat.S_ISLNK(found.st_mode):
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                if not regular(found):
                    return False
            _cancel.check()
            ops.unlink(name, dir_fd=parent)
        finally:
            locks.unlock(parent)
    except StorageError as exc:
        return exc
    except FileNotFoundError:
        return False
    except OSError as exc:
        return _caused(read_error(exc), exc)
    return True


def _caused(err: StorageError, cause: OSError) -> StorageError:
    """As `raise err from cause` would leave it."""
    err.__cause__ = cause
    return err
