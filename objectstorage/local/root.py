"""One store's directory: held open, recognised by its marker, prepared on first write.

root/.objectstorage/format     what the store is, one line
root/.objectstorage/tmp/       objects being written
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import threading

from objectstorage import _fork
from objectstorage.errors import ErrIO, ErrUnsupported
from objectstorage.local import ops, tree
from objectstorage.local.atomic import Temporary
from objectstorage.local.confine import FILE, open_beneath
from objectstorage.local.durable import Chains
from objectstorage.local.sweep import sweep

__all__ = ["HIDDEN", "Root", "open_root"]

HIDDEN = ".objectstorage"
"""The one entry of a store's directory that is the store's own."""

_TMP = b".objectstorage/tmp"
_FORMAT = b".objectstorage/format"
_VERSION = 1

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CASE_SENSITIVE = 11  # macOS's _PC_CASE_SENSITIVE, which os has no name for

_EXT4 = 0xEF53
# File systems of this host alone: locks and inodes are seen by all who write.
_LOCAL = {
    _EXT4,
    0x58465342,  # xfs
    0x9123683E,  # btrfs
    0x01021994,  # tmpfs
    0x794C7630,  # overlayfs
    0xF2F52010,  # f2fs
    0x2FC12FC1,  # zfs
    0xCA451A4E,  # bcachefs
}


def _magic(fd: int) -> int:
    """The file system's kind, 0 if unknown."""
    if sys.platform != "linux":
        return 0
    buffer = ctypes.create_string_buffer(256)
    if ctypes.CDLL(None, use_errno=True).fstatfs(fd, buffer) != 0:
        return 0
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF


class Root:
    """An open store directory. Its descriptors are closed with the last reference.

    Operations hold a reference while they run, so `close` in another thread
    can't have a descriptor's number pass to another file under their hands.
    """

    def __init__(self, path: str, fd: int, made: list[str], layout: str) -> None:
        self._path = path
        self.fd = fd
        self.tmp = -1
        magic = _magic(fd)
        self._local = magic in _LOCAL or sys.platform == "darwin"
        self.steady_scans = magic == _EXT4
        self.chains = Chains(fd, cached=self._local)
        self._made = made
        self._anchored = False
        self._layout = f"objectstorage {layout} {_VERSION}\n".encode()
        self._marked = False
        self._lock = threading.Lock()
        _fork.register(self)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def __del__(self) -> None:
        self.chains.close()
        if self.tmp >= 0:
            ops.close(self.tmp)
        ops.close(self.fd)

    def removed(self) -> bool:
        """Whether the directory was removed since it was opened."""
        return ops.fstat(self.fd).st_nlink == 0

    def check_format(self) -> None:
        """`ErrUnsupported` if the marker is another layout's or a later version's."""
        try:
            fd = open_beneath(self.fd, _FORMAT, FILE)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            text = ops.read(fd, 256)
        finally:
            ops.close(fd)
        # Empty: the power failed before its bytes were on disk.
        if text and text != self._layout:
            found = text.decode("ascii", "replace").strip()
            raise ErrUnsupported(
                f"the directory says that it is {found!r}, not {self._layout.decode().strip()!r}"
            )
        self._marked = bool(text)

    def prepare(self) -> None:
        """Before the first write: the directories, the marker, a sweep of leftovers."""
        with self._lock:
            if self.tmp >= 0:
                return
            tmp = tree.make_directory(self.fd, _TMP)
            try:
                if not self._marked:
                    self._mark(tmp)
                    self._marked = True
                sweep(tmp, locks_reach_all=self._local)
            except BaseException:
                ops.close(tmp)
                raise
            self.tmp = tmp

    def _mark(self, tmp: int) -> None:
        # Synced even if the write at hand is not: torn, it would refuse the store.
        temporary = Temporary(tmp)
        try:
            temporary.write(self._layout)
            temporary.seal(None, durable=True)
            ops.rename(temporary.name, _FORMAT, src_dir_fd=tmp, dst_dir_fd=self.fd)
        except BaseException:
            temporary.discard()
            raise
        temporary.release()

    def sync(self, path: bytes, fd: int) -> None:
        """Put a new entry of the directory `path`, open as `fd`, on disk; closes `fd`."""
        self.chains.sync(path, fd)
        if not self._anchored:
            self._anchor()
            self._anchored = True

    def _anchor(self) -> None:
        """Sync the root's entry and those above it, up to the mount point.

        Whoever made them, perhaps just now and without a sync.
        """
        path, device = os.path.realpath(self._path), ops.fstat(self.fd).st_dev
        while path != (above := os.path.dirname(path)):
            path = above
            try:
                fd = ops.open(path, _OPEN)
            except PermissionError:
                # Whoever gave us a directory in there answers for it; not if it was us.
                if path in self._made:
                    raise
                continue
            try:
                if ops.fstat(fd).st_dev != device:
                    return
                ops.fsync(fd)
            finally:
                ops.close(fd)

    def holds(self, path: bytes, fd: int) -> bool:
        """Whether the directory `path`, open as `fd`, is known to be on disk."""
        return not path or self.chains.known(path, fd)

    def prune(self, path: bytes) -> None:
        """Remove `path` and the directories above it as long as they are empty."""
        for gone in tree.prune(self.fd, path):
            self.chains.forget(gone)


def open_root(path: str, layout: str, *, make: bool, folds_case_safely: bool) -> Root:
    """The store's directory; `FileNotFoundError` if it isn't there and `make` is false."""
    made: list[str] = []
    try:
        if make:
            made = _make(os.path.realpath(path))
        fd = ops.open(path, _OPEN)
    except (NotADirectoryError, FileExistsError) as exc:
        # Not "no such object": the store itself is misconfigured.
        raise ErrIO("the store's directory is not a directory", errno=errno.ENOTDIR) from exc
    root = Root(path, fd, made, layout)
    root.check_format()
    if sys.platform == "darwin" and not folds_case_safely:
        if os.fpathconf(fd, _CASE_SENSITIVE) == 0:
            raise ErrUnsupported("the volume folds case, so 'a' and 'A' would be one key")
    return root


def _make(path: str) -> list[str]:
    """mkdir -p; the directories that got a new entry."""
    try:
        os.stat(path)
        return []
    except FileNotFoundError:
        pass
    above = os.path.dirname(path)
    made = _make(above) if above != path else []
    try:
        ops.mkdir(path, 0o777)
    except FileExistsError:
        pass
    return [*made, above]
