"""Opening below a directory, whatever an attacker does to the tree meanwhile.

`openat2` lets the kernel refuse symlinks and escapes in one call. Where there
is no such call (old kernels, some sandboxes), each component is opened by
itself without following. Paths never contain `..`: keys with such a segment
are refused before they come here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Callable

from objectstorage.local import ops

__all__ = ["DIRECTORY", "FILE", "open_beneath"]

FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
"""To read what may turn out to be a pipe or a terminal, without waiting for it."""

DIRECTORY = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY
"""To list, to lock, to sync and to work in; an O_PATH descriptor can't be synced."""

_NR_OPENAT2 = 437  # the same on every architecture
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_O_NOFOLLOW_ANY = 0x20000000  # macOS
_RETRIED = (errno.EINTR, errno.EAGAIN)


class _OpenHow(ctypes.Structure):
    _fields_ = [
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    ]


# Kept alive beside the addresses that are passed to the kernel. Without
# O_NOFOLLOW, which with O_DIRECTORY would call a symlink "not a directory".
_STRUCTS = {
    flags: _OpenHow(flags & ~os.O_NOFOLLOW, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS)
    for flags in (FILE, DIRECTORY)
}
_HOW = {flags: ctypes.c_void_p(ctypes.addressof(how)) for flags, how in _STRUCTS.items()}
_SIZE = ctypes.sizeof(_OpenHow)
# CDLL, not PyDLL: an open that blocks must not hold the interpreter's lock.
_syscall = ctypes.CDLL(None, use_errno=True).syscall


def openat2(fd: int, path: bytes, flags: int) -> int:
    """`path` below `fd` by the kernel's own confinement."""
    while True:
        opened: int = _syscall(_NR_OPENAT2, fd, path, _HOW[flags], _SIZE)
        if opened >= 0:
            return opened
        number = ctypes.get_errno()
        # EAGAIN: a rename elsewhere, the kernel could not be sure
        if number not in _RETRIED:
            raise OSError(number, os.strerror(number))


def walk(fd: int, path: bytes, flags: int) -> int:
    """`path` below `fd`, a component at a time."""
    *above, last = path.split(b"/")
    here = fd
    try:
        for name in above:
            below = _step(here, name, DIRECTORY)
            if here != fd:
                ops.close(here)
            here = below
        return _step(here, last, flags)
    finally:
        if here != fd:
            ops.close(here)


def _step(fd: int, name: bytes, flags: int) -> int:
    try:
        return ops.open(name, flags, dir_fd=fd)
    except NotADirectoryError:
        # O_DIRECTORY hides that it was a symlink, which is another matter.
        if stat.S_ISLNK(ops.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
        raise


def nofollow_any(fd: int, path: bytes, flags: int) -> int:
    """`path` below `fd` on macOS, whose kernel refuses every symlink on request."""
    return ops.open(path, flags & ~os.O_NOFOLLOW | _O_NOFOLLOW_ANY, dir_fd=fd)


def _choose() -> Callable[[int, bytes, int], int]:
    if sys.platform == "darwin":
        return nofollow_any
    try:
        fd = ops.open("/", DIRECTORY)
        try:
            ops.close(openat2(fd, b".", DIRECTORY))
        finally:
            ops.close(fd)
    except OSError:
        return walk
    return openat2


open_beneath = _choose()
"""`open_beneath(fd, path, flags)`: a descriptor of `path` below the directory `fd`.

`path` is relative, `b"."` the directory itself; `flags` is `FILE` or
`DIRECTORY`. `OSError` as `open`'s; a symlink anywhere in it is ELOOP.
"""
