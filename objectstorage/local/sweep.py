"""Removing what dead writers left in the store's `tmp` directory.

A writer keeps its temporary locked from creation to publish, so a file whose
lock is free has no writer any more. Where locks may not reach other hosts, it
must be a day old as well.
"""

from __future__ import annotations

import os
import time

from objectstorage.local import ops
from objectstorage.local.atomic import regular, take_lock
from objectstorage.local.confine import FILE

__all__ = ["sweep"]

_OLD = 24 * 3600


def sweep(tmp: int, *, locks_reach_all: bool) -> int:
    """Remove leftovers; best effort. Returns how many went."""
    count = 0
    for entry in ops.listdir(tmp):
        name = os.fsencode(entry)
        try:
            fd = ops.open(name, FILE, dir_fd=tmp)
        except OSError:
            continue  # published or swept by another, or not ours to read
        try:
            found = ops.fstat(fd)
            old = locks_reach_all or time.time() - found.st_mtime > _OLD
            if old and regular(found) and take_lock(fd):
                ops.unlink(name, dir_fd=tmp)
                count += 1
        except OSError:
            continue
        finally:
            ops.close(fd)
    return count
