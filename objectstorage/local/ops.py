"""Every operation on files that a local store does, by one name each.

The other modules call `ops.rename(…)` and not `os.rename(…)`, so that a test
can replace one name here to record the operations, to make one fail, or to
stop at the n-th. It costs nothing: both are a look-up in a module.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys

__all__ = [
    "close",
    "copy_range",
    "dup",
    "flock",
    "fstat",
    "fsync",
    "getxattr",
    "link",
    "listdir",
    "listxattr",
    "mkdir",
    "open",
    "pread",
    "read",
    "reflink",
    "rename",
    "rename_exclusive",
    "rmdir",
    "scandir",
    "setxattr",
    "stat",
    "unlink",
    "utime",
    "write",
]

open = os.open  # noqa: A001  # the operation's own name
close = os.close
dup = os.dup
read = os.read
pread = os.pread
write = os.write
fstat = os.fstat
stat = os.stat
utime = os.utime
flock = fcntl.flock
rename = os.rename
link = os.link
unlink = os.unlink
mkdir = os.mkdir
rmdir = os.rmdir
scandir = os.scandir
listdir = os.listdir

if sys.platform == "darwin":

    def fsync(fd: int) -> None:
        """To the platter: macOS's own fsync stops at the drive's cache."""
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)

    def setxattr(fd: int, name: str, value: bytes) -> None:
        """Python has no extended attributes here."""
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    def listxattr(fd: int) -> list[str]:
        """Python has no extended attributes here."""
        return []

    def getxattr(fd: int, name: str) -> bytes:
        """Python has no extended attributes here."""
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    def copy_range(src: int, dst: int, count: int) -> int:
        """There is no in-kernel copy here."""
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

else:
    fsync = os.fsync
    setxattr = os.setxattr
    listxattr = os.listxattr
    getxattr = os.getxattr
    copy_range = os.copy_file_range


def let_go(fd: int) -> None:
    """Close a descriptor that nothing was written to, or whose bytes are on disk already.

    It is gone whatever the system says, and an error would say that something
    failed which has happened.
    """
    try:
        close(fd)
    except OSError:
        pass


_FICLONE = 0x40049409
_RENAME_NOREPLACE = 1
_libc = ctypes.CDLL(None, use_errno=True)
_renameat2 = getattr(_libc, "renameat2", None)


def reflink(src: int, dst: int) -> None:
    """Make `dst` share `src`'s blocks, copied on write; `OSError` where that can't be."""
    if sys.platform == "darwin":
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    fcntl.ioctl(dst, _FICLONE, src)


def rename_exclusive(src: bytes, dst: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
    """Rename, but only to a name that is free; else `FileExistsError`."""
    if _renameat2 is not None:
        if _renameat2(src_dir_fd, src, dst_dir_fd, dst, _RENAME_NOREPLACE) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise OSError(number, os.strerror(number))
    # A link fails on a taken name as well, on file systems that know no flags.
    link(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=False)
    unlink(src, dir_fd=src_dir_fd)
