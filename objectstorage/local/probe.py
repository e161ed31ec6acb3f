"""What only the file system can tell: whether it keeps metadata, and how fine its times are."""

from __future__ import annotations

import errno
import os

from objectstorage.local.meta import ATTRIBUTE

__all__ = ["probe"]

# Nothing may be written there, or a file without a name is nothing known.
_NO_FILE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT),
    *(errno.EISDIR, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS),
)

_TIME = 1_000_000_123_456_789


def probe(directory: str) -> tuple[bool, bool]:
    """Whether there are user attributes, and times finer than a second.

    Asks a nameless file, which leaves no trace. Where none can be made (nothing
    may be written, or the system has no such thing) both are taken to be so:
    a write that needs them still fails loudly. `OSError` if it can't be told now.
    """
    flags = getattr(os, "O_TMPFILE", 0)
    if not flags:
        return True, True
    try:
        fd = os.open(_existing(directory), flags | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        if exc.errno not in _NO_FILE:
            raise
        return True, True
    try:
        try:
            os.setxattr(fd, ATTRIBUTE, b"{}")
            metadata = True
        except OSError as exc:
            if exc.errno not in (errno.ENOTSUP, errno.ENOSYS):
                raise
            metadata = False
        os.utime(fd, ns=(_TIME, _TIME))
        return metadata, os.fstat(fd).st_mtime_ns % 1_000_000_000 != 0
    finally:
        os.close(fd)


def _existing(directory: str) -> str:
    """The directory, or the nearest above it that exists: the same file system, mostly."""
    while not os.path.isdir(directory) and directory != os.path.dirname(directory):
        directory = os.path.dirname(directory)
    return directory
