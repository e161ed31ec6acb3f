"""Directories: made when first needed, pruned when empty, without losing a put.

A put that finds its directory pruned makes it again; a prune that finds a
directory in use stops. No lock is needed for that: `rmdir` refuses what is not
empty, and nothing can be made in a directory that is gone.
"""

from __future__ import annotations

import errno
import os
import stat

from objectstorage.local import ops
from objectstorage.local.confine import DIRECTORY, open_beneath

__all__ = ["make_directory", "prune", "remove_empty"]


def make_directory(root: int, path: bytes) -> int:
    """A descriptor of the directory `path` below `root`, made if it isn't there.

    `NotADirectoryError` if a file is in the way, ELOOP for a symlink,
    `FileNotFoundError` if the root itself was removed.
    """
    while True:
        try:
            return open_beneath(root, path or b".", DIRECTORY)
        except FileNotFoundError:
            if not ops.fstat(root).st_nlink:
                raise
        _make(root, path)


def _make(root: int, path: bytes) -> None:
    here = root
    try:
        for name in path.split(b"/"):
            try:
                below = open_beneath(here, name, DIRECTORY)
            except FileNotFoundError:
                try:
                    ops.mkdir(name, 0o777, dir_fd=here)
                except FileExistsError:
                    pass
                below = open_beneath(here, name, DIRECTORY)
            if here != root:
                ops.let_go(here)
            here = below
    except FileNotFoundError:
        return  # pruned under our feet: the caller looks again
    finally:
        if here != root:
            ops.let_go(here)


def prune(root: int, path: bytes) -> list[bytes]:
    """Remove `path` and the directories above it as long as they are empty.

    Best effort: what it was called after has happened already. Returns the
    paths that are gone.
    """
    gone = []
    while path:
        above = path.rpartition(b"/")[0]
        try:
            if not _rmdir(root, path):
                break
        except OSError:
            break
        gone.append(path)
        path = above
    return gone


def remove_empty(parent: int, name: bytes) -> bool:
    """Remove the directory `name` if nothing but directories is in it, at any depth.

    False if something is; true also if there is no such directory any more.
    """
    pending = [name]
    while pending:
        path = pending[-1]
        if _rmdir(parent, path):
            pending.pop()
            continue
        try:
            fd = open_beneath(parent, path, DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            for entry in ops.listdir(fd):
                raw = os.fsencode(entry)
                try:
                    found = ops.stat(raw, dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if not stat.S_ISDIR(found.st_mode):
                    return False
                pending.append(path + b"/" + raw)
        finally:
            ops.let_go(fd)
    return True


def _rmdir(root: int, path: bytes) -> bool:
    """Whether the directory is gone; false if it isn't empty."""
    above, _, name = path.rpartition(b"/")
    try:
        fd = open_beneath(root, above or b".", DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return True
    try:
        ops.rmdir(name, dir_fd=fd)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    finally:
        ops.let_go(fd)
    return True
