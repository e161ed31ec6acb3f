"""What names a version of a file: its time, its inode, its size.

The time is ours (`tick`), and its last three digits tell whether the version
was written with metadata, so that most files need not be asked for any.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from objectstorage import _fork
from objectstorage.storage import ObjectInfo

__all__ = ["LocalInfo", "etag_of", "make_info", "tick", "without_metadata"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The nanoseconds beyond the microsecond. Neither is a multiple of 100: a time cut
# to what a coarser file system keeps says nothing.
_WITHOUT = 377
_WITH = 733


def etag_of(mtime_ns: int, inode: int, size: int) -> str:
    """The ETag of a version.

    The time is set by us (`tick`), since the kernel's clock may stand still for
    milliseconds. The change time stays out of it: a rename moves that.

    >>> etag_of(16, 10, 255)
    '10-a-ff'
    """
    return f"{mtime_ns:x}-{inode:x}-{size:x}"


class LocalInfo(ObjectInfo):
    """An `ObjectInfo` over (key, size, mtime in ns, inode, content type, metadata).

    A listing makes millions of these and few are asked for all they know, so
    the ETag and the date are made when asked for.
    """

    __slots__ = ()

    @property
    def last_modified(self) -> datetime:
        """When this version was written; aware, UTC."""
        try:
            return _EPOCH + timedelta(microseconds=self[2] // 1000)
        except OverflowError:  # a foreign file can have any time
            return datetime.max.replace(tzinfo=UTC) if self[2] > 0 else _EPOCH

    @property
    def etag(self) -> str:
        """This version's opaque name."""
        return etag_of(self[2], self[3], self[1])


make_info: Callable[..., LocalInfo] = tuple.__new__
"""`make_info(LocalInfo, fields)`: without the cost of the constructor's arguments."""


def without_metadata(found: os.stat_result) -> bool:
    """Whether the file is a version that was written here, without metadata.

    False for what was written with some, and for any time that is not ours. A
    program that writes or touches a file has the kernel set both times at once.
    """
    written = found.st_mtime_ns
    return written % 1000 == _WITHOUT and written != found.st_ctime_ns


class _Clock:
    """Times that never repeat within the process, whatever the system's clock does."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()
        _fork.register(self)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, *, metadata: bool) -> int:
        with self._lock:
            now = max(self._last + 1, time.time_ns())
            now += ((_WITH if metadata else _WITHOUT) - now) % 1000
            self._last = now
        return now


tick = _Clock()
"""`tick(metadata=…)`: now, in ns since the epoch, and later than every time before.

It tells whether the version has metadata, and is less than 1 µs ahead for that.
"""
