"""What the operating system's errors mean to a store; the one table of it."""

from __future__ import annotations

import errno
import os

from objectstorage.errors import (
    ErrConflict,
    ErrIO,
    ErrNotExist,
    ErrPermission,
    ErrUnsupported,
    StorageError,
)

__all__ = ["no_object", "read_error", "write_error"]

_DENIED = (errno.EACCES, errno.EPERM)
_LEAVES = (errno.ELOOP, errno.EXDEV)
# ENXIO, ENODEV: a socket, or a device without a driver, is there but is no object.
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.ENODEV)


def no_object() -> ErrNotExist:
    """For what is not there, a directory and a special file included."""
    return ErrNotExist("no such object")


def read_error(exc: OSError) -> StorageError:
    """The error of an operation that looks for an object."""
    if exc.errno in _ABSENT:
        return no_object()
    return _common(exc)


def write_error(exc: OSError) -> StorageError:
    """The error of an operation that makes one."""
    if exc.errno in (errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY):
        return ErrConflict("one key is a folder of another, which files can't be")
    return _common(exc)


def _common(exc: OSError) -> StorageError:
    number = exc.errno if exc.errno is not None else errno.EIO
    if number in _LEAVES:
        return ErrPermission("the path leads through a symbolic link", errno=number)
    if number in _DENIED:
        return ErrPermission(os.strerror(number), errno=number)
    if number == errno.ENOTSUP:
        return ErrUnsupported("the file system can't do that")
    return ErrIO(os.strerror(number), errno=number)
