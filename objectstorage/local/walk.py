"""Listing in key order: lazy, seeking, in the memory of one directory a level."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator

from objectstorage.local import locks, ops
from objectstorage.local.confine import DIRECTORY, open_beneath
from objectstorage.local.naming import Naming
from objectstorage.local.root import HIDDEN, Root
from objectstorage.local.versions import LocalInfo, make_info
from objectstorage.storage import ObjectInfo, Prefix

__all__ = ["level", "walk"]

_KIND = 0o170000
_REGULAR = 0o100000
# Beyond so many levels a directory is opened again instead of being held.
_HELD = 64
# The kernel's clock for directory times ticks every 1 to 10 ms.
_SETTLED = 20_000_000


def walk(root: Root, naming: Naming, prefix: str, after: str) -> Iterator[ObjectInfo]:
    """The objects whose key begins with `prefix` and is greater than `after`, in order."""
    place = naming.place(prefix)
    if place is None:
        return
    path, base, rest = place
    # What a text must exceed, from here on; None once nothing lies before it.
    limit = naming.text(after) if after else None
    if limit is not None:
        if limit.startswith(base):
            limit = limit[len(base) :]
        elif limit > base:
            return  # all that begins with the prefix lies before it
        else:
            limit = None
    fd = _enter(root.fd, path)
    if fd < 0:
        return
    # Levels above: directory, its path, its text, its entries still to come, its limit.
    stack: list[tuple[int, bytes, str, list[str], str | None]] = []
    stat, plain = ops.stat, naming.plain
    try:
        entries = _entries(root, fd, naming, base, rest, limit)
        while True:
            while entries:
                entry = entries.pop()
                if entry[-1:] != "/":
                    try:
                        found = stat(
                            entry if plain else naming.name(entry),
                            dir_fd=fd,
                            follow_symlinks=False,
                        )
                    except FileNotFoundError:
                        continue
                    key = base + entry if plain else naming.key(base + entry)
                    if found.st_mode & _KIND == _REGULAR and key is not None:
                        yield make_info(
                            LocalInfo,
                            (key, found.st_size, found.st_mtime_ns, found.st_ino, None, None),
                        )
                    continue
                name = naming.name(entry).encode()
                below = _enter(fd, name) if len(path) < naming.longest_path else -1
                if below < 0:
                    continue
                if len(stack) >= _HELD:
                    ops.close(fd)
                    fd = -1
                stack.append((fd, path, base, entries, limit))
                fd, path = below, path + b"/" + name if path else name
                added = naming.adds(entry)
                base += added
                if limit is not None:
                    limit = limit[len(added) :] if limit.startswith(added) else None
                entries = _entries(root, fd, naming, base, "", limit)
            if not stack:
                return
            ops.close(fd)
            fd = -1
            fd, path, base, entries, limit = stack.pop()
            if fd < 0:
                fd = _enter(root.fd, path)
                if fd < 0:
                    entries = []
    finally:
        if fd >= 0:
            ops.close(fd)
        for held, *_ in stack:
            if held >= 0:
                ops.close(held)


def level(root: Root, naming: Naming, prefix: str) -> Iterator[ObjectInfo | Prefix]:
    """One level of a plain layout: its directories are the keys' folders."""
    place = naming.place(prefix)
    if place is None:
        return
    path, base, rest = place
    fd = _enter(root.fd, path)
    if fd < 0:
        return
    try:
        entries = _entries(root, fd, naming, base, rest, None)
        while entries:
            entry = entries.pop()
            if entry[-1:] == "/":
                # An empty directory is nothing, however deep.
                if next(walk(root, naming, base + entry, ""), None) is not None:
                    yield Prefix(base + entry)
                continue
            try:
                found = ops.stat(entry, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if found.st_mode & _KIND == _REGULAR:
                yield make_info(
                    LocalInfo,
                    (base + entry, found.st_size, found.st_mtime_ns, found.st_ino, None, None),
                )
    finally:
        ops.close(fd)


def _enter(fd: int, path: bytes) -> int:
    """The directory's descriptor; -1 if it is gone, or is none."""
    try:
        return open_beneath(fd, path or b".", DIRECTORY)
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return -1
        raise


def _entries(
    root: Root, fd: int, naming: Naming, base: str, prefix: str, limit: str | None
) -> list[str]:
    """The entries of one directory that can lead to a key, last one first."""
    names = _names(root, fd)
    if not base:
        names = [name for name in names if name not in (HIDDEN, HIDDEN + "/")]
    entries = naming.entries(names, base)
    if prefix:
        entries = [entry for entry in entries if entry.startswith(prefix)]
    if limit is not None:
        adds = naming.adds
        entries = [
            entry
            for entry in entries
            if (text := adds(entry) if entry[-1:] == "/" else entry) > limit
            or (entry[-1:] == "/" and limit.startswith(text))
        ]
    entries.sort(reverse=True)  # to pop from the end
    return entries


def _names(root: Root, fd: int) -> list[str]:
    """The files and directories in a directory, each that is there all the while.

    On some file systems (btrfs, tmpfs) a scan misses a name while others are
    renamed over. There a scan counts only if nothing changed for a while, and
    is repeated without writers otherwise.
    """
    if root.steady_scans:
        return _scan(fd)
    before = ops.fstat(fd).st_mtime_ns
    names = _scan(fd)
    if ops.fstat(fd).st_mtime_ns == before < time.time_ns() - _SETTLED:
        return names
    try:
        locks.lock(fd, exclusive=True)
    except OSError as exc:
        if exc.errno in (errno.EBADF, errno.ENOLCK, errno.ENOTSUP):
            return names  # no locks here: what was seen is all that can be known
        raise
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        return _scan(fd)
    finally:
        locks.unlock(fd)


def _scan(fd: int) -> list[str]:
    names = []
    with ops.scandir(fd) as found:
        for entry in found:
            if entry.is_file(follow_symlinks=False):
                names.append(entry.name)
            elif entry.is_dir(follow_symlinks=False):
                names.append(entry.name + "/")
    return names
