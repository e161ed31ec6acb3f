"""Where a download gathers, beside its target, and how the next one finds it again."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from functools import cache
from typing import Any

__all__ = ["PartFile"]

_VERSION = "user.objectstorage.version"


@cache
def _boot() -> str:
    """This run of the system; "" where that can't be told."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


class PartFile:
    """The bytes of one version that came so far; `publish` makes them the target.

    Kept when a download breaks, and taken up by the next one of the same object
    and version. Its version stands in an extended attribute: where there are
    none, and after the system was started anew (what was not synced may be
    lost), nothing is taken up. Others that download to the same target at the
    same time gather in files of their own.
    """

    def __init__(self, target: str, place: str) -> None:
        self._target = target
        name = hashlib.sha256(place.encode()).hexdigest()[:8]
        self._path = f"{target}.{name}.part"
        self._fd: int | None = None
        self._kept = False
        self.done = 0

    def open(self, version: str, size: int) -> None:
        """Begin, or go on: `size` bytes are to come in all, `done` of them are here then."""
        self._version = hashlib.sha256(f"{_boot()}\0{version}".encode()).digest()
        self._fd = self._take_up(size)
        self._kept = self._fd is not None
        if self._fd is None:
            self._path = f"{self._target}.{secrets.token_hex(4)}.part"
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)

    def _take_up(self, size: int) -> int | None:
        """The one file of this name, if nobody else uses it and it can hold its version."""
        if not _boot() or not hasattr(os, "setxattr"):
            return None
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(fd), os.stat(self._path, follow_symlinks=False)):
                raise FileNotFoundError("somebody has just published it")
            have = os.fstat(fd).st_size
            if have <= size and self._known(fd) == self._version:
                self.done = os.lseek(fd, 0, os.SEEK_END)
            else:
                os.ftruncate(fd, 0)
                os.setxattr(fd, _VERSION, self._version)
        except OSError:  # in use, gone, or on a file system without such attributes
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        return fd

    @staticmethod
    def _known(fd: int) -> bytes | None:
        try:
            return os.getxattr(fd, _VERSION)
        except OSError:
            return None

    def write(self, data: Any) -> None:
        """Append; all of it."""
        view = memoryview(data)
        while view and self._fd is not None:
            view = view[os.write(self._fd, view) :]
        self.done += len(data)

    def publish(self) -> None:
        """Make it the target, durably."""
        fd, self._fd = self._fd, None
        if fd is None:
            return
        try:
            if self._kept:
                os.removexattr(fd, _VERSION)
            os.fsync(fd)
            os.replace(self._path, self._target)
        except BaseException:
            os.unlink(self._path)
            raise
        finally:
            os.close(fd)

    def leave(self, *, keep: bool) -> None:
        """Stop; `keep` what came for the next download."""
        fd, self._fd = self._fd, None
        if fd is None:
            return
        try:
            if not keep or not self._kept or not self.done:
                os.unlink(self._path)
        except FileNotFoundError:
            pass
        finally:
            os.close(fd)
