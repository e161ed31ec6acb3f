"""Locks between processes and threads: `flock` on a directory's own descriptor.

Every descriptor is opened for one operation, so that threads exclude each other
too. Publishing holds the lock shared; comparing and publishing exclusively.
After the death of a holder the next one gets the lock at once.
"""

from __future__ import annotations

import fcntl
import os
import time

from objectstorage.errors import ErrTimeout
from objectstorage.local import ops
from objectstorage.local.confine import DIRECTORY

__all__ = ["lock", "lock_both", "try_lock", "unlock"]

_held: set[int] = set()
_LONGEST_PAUSE = 0.005


def lock(fd: int, *, exclusive: bool, deadline: float | None = None) -> None:
    """Take the lock; `ErrTimeout` once `time.monotonic()` is past `deadline`."""
    operation = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    # Before the call: a fork in another thread may come at any moment of it.
    _held.add(fd)
    try:
        if deadline is None:
            ops.flock(fd, operation)
            return
        pause = 0.0001
        while True:
            try:
                ops.flock(fd, operation | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise ErrTimeout("others hold the lock of the key's directory") from None
                time.sleep(min(pause, left))
                pause = min(pause * 2, _LONGEST_PAUSE)
    except BaseException:
        _held.discard(fd)
        raise


def try_lock(fd: int) -> None:
    """Lock a file of one's own until it is closed; `BlockingIOError` if it is locked."""
    ops.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def unlock(fd: int) -> None:
    """Give a directory's lock back; always before `close`, since a forked child may share it."""
    _held.discard(fd)
    try:
        ops.flock(fd, fcntl.LOCK_UN)
    except OSError:
        # What it was held for has happened, and must not seem to have failed.
        # To close gives it back too: another open file takes the descriptor's place.
        fresh = ops.open(b".", DIRECTORY, dir_fd=fd)
        os.dup2(fresh, fd, inheritable=False)
        ops.let_go(fresh)


def lock_both(one: int, two: int) -> list[int]:
    """Take two directories' locks exclusively, without deadlock; what to unlock.

    Two descriptors of one directory are one lock.
    """
    order = []
    for fd in (one, two):
        found = ops.fstat(fd)
        order.append(((found.st_dev, found.st_ino), fd))
    order.sort()
    if order[0][0] == order[1][0]:
        del order[1]
    taken: list[int] = []
    try:
        for _, fd in order:
            lock(fd, exclusive=True)
            taken.append(fd)
    except BaseException:
        for fd in taken:
            unlock(fd)
        raise
    return taken


def _in_child() -> None:
    # The child shares the lock, and would hold it on if the parent died. To
    # close is enough; to unlock would unlock the parent.
    for fd in _held:
        try:
            os.close(fd)
        except OSError:
            pass
    _held.clear()


os.register_at_fork(after_in_child=_in_child)
