"""Which directories are on disk: syncing a new entry's directory and all above it.

An ancestor that "already existed" may be another writer's unsynced mkdir, so it
is synced too, unless this process has synced it and can tell that it is still
the same directory: it keeps a descriptor of it, so the inode can't be used again.
"""

from __future__ import annotations

import errno
import threading
from collections import OrderedDict

from objectstorage import _fork
from objectstorage.local import ops
from objectstorage.local.confine import DIRECTORY, open_beneath

__all__ = ["Chains"]

_MOST = 128
_LEVELS = 8


class Chains:
    """The directories below `root` whose entry, and every entry above, is on disk."""

    def __init__(self, root: int, *, cached: bool) -> None:
        self._root = root
        # Not on network file systems: another host may have replaced the directory.
        self._most = _MOST if cached else 0
        self._held: OrderedDict[bytes, tuple[int, tuple[int, int]]] = OrderedDict()
        self._lock = threading.Lock()
        _fork.register(self)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self.close()

    def sync(self, path: bytes, fd: int) -> None:
        """Put the directory `path`, open as `fd`, and its chain on disk; closes `fd`.

        `OSError` if that failed; then nothing is taken for granted any more.
        """
        synced: list[tuple[bytes, int]] = []
        whole = False
        try:
            while True:
                ops.fsync(fd)
                if not path or self.known(path, fd):
                    whole = True
                    return
                # The nearest levels are the ones that will be met again; a deep
                # tree must not cost a descriptor a level.
                if len(synced) < _LEVELS:
                    synced.append((path, fd))
                else:
                    ops.let_go(fd)
                fd = -1
                path = path.rpartition(b"/")[0]
                try:
                    fd = self._above(path, synced)
                except FileNotFoundError:
                    return  # what was written is deleted again, its directories pruned
        except OSError:
            self.close()
            raise
        finally:
            if fd >= 0:
                ops.let_go(fd)
            for path, fd in synced:
                if whole:
                    self._remember(path, fd)
                else:
                    ops.let_go(fd)

    def _above(self, path: bytes, synced: list[tuple[bytes, int]]) -> int:
        try:
            return open_beneath(self._root, path or b".", DIRECTORY)
        except OSError as exc:
            if exc.errno not in (errno.EMFILE, errno.ENFILE) or not synced:
                raise
        # Better to sync more often than to leave a put in doubt for want of descriptors.
        self.close()
        while synced:
            ops.let_go(synced.pop()[1])
        return open_beneath(self._root, path or b".", DIRECTORY)

    def known(self, path: bytes, fd: int) -> bool:
        """Whether the directory `path`, open as `fd`, and its chain have been synced."""
        if path not in self._held:
            return False
        found = ops.fstat(fd)
        with self._lock:
            held = self._held.get(path)
            if held is None or held[1] != (found.st_dev, found.st_ino):
                return False
            self._held.move_to_end(path)
        return True

    def _remember(self, path: bytes, fd: int) -> None:
        """Hold `fd`, so that its inode names this directory and no later one."""
        try:
            found = ops.fstat(fd)
        except OSError:
            ops.let_go(fd)  # it is on disk all the same, only not known to be
            return
        with self._lock:
            old = self._held.pop(path, None)
            self._held[path] = (fd, (found.st_dev, found.st_ino))
            if old is None and len(self._held) > self._most:
                _, old = self._held.popitem(last=False)
        if old is not None:
            ops.let_go(old[0])

    def forget(self, path: bytes) -> None:
        """The directory was pruned: let its inode go."""
        if path in self._held:
            with self._lock:
                old = self._held.pop(path, None)
            if old is not None:
                ops.let_go(old[0])

    def close(self) -> None:
        """Take nothing for granted, and let all descriptors go."""
        with self._lock:
            held = list(self._held.values())
            self._held.clear()
        for fd, _ in held:
            ops.let_go(fd)
