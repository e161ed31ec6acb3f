"""The half of a local store that only reads: no call here writes anything."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

from objectstorage import _fork
from objectstorage.errors import (
    ErrBadRequest,
    ErrClosed,
    ErrNotExist,
    ErrNotModified,
    ErrPreconditionFailed,
    ErrUnsupported,
    StorageError,
)
from objectstorage.keys import check_prefix, check_start_after
from objectstorage.local import meta, ops
from objectstorage.local.confine import FILE, open_beneath
from objectstorage.local.failures import no_object, read_error
from objectstorage.local.files import RawFile, read_exactly
from objectstorage.local.naming import Naming
from objectstorage.local.root import Root, open_root
from objectstorage.local.versions import LocalInfo, make_info, without_metadata
from objectstorage.local.walk import walk
from objectstorage.ranges import check_length, check_range, resolve_range
from objectstorage.storage import (
    UNSET,
    Fetched,
    ObjectInfo,
    Reader,
    Storage,
    Unset,
    check_condition,
)

__all__ = ["ReadingStorage"]

_KIND = 0o170000
_REGULAR = 0o100000


class ReadingStorage(Storage):
    """Objects as files below a directory, as far as reading goes."""

    def __init__(self, directory: str, naming: Naming) -> None:
        if sys.getfilesystemencoding().lower() != "utf-8":
            raise ErrUnsupported("file names are not UTF-8 here; run Python with PYTHONUTF8=1")
        self._directory = directory
        self._naming = naming
        self._root: Root | None = None
        self._lock = threading.Lock()
        _fork.register(self)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def close(self) -> None:
        """See `Storage.close`. What runs in other threads comes to its end."""
        with self._lock:
            super().close()
            self._root = None

    # -- the directory ---------------------------------------------------------

    def _enter(self, *, make: bool = False) -> Root:
        """The store's directory, opened on first use and held."""
        with self._lock:
            if self._closed:
                raise ErrClosed("the store is closed")  # the verb says where
            if self._root is None:
                self._root = open_root(
                    self._directory,
                    self._naming.layout,
                    make=make,
                    folds_case_safely=self._naming.folds_case_safely,
                )
            return self._root

    def _leave(self, root: Root) -> None:
        """The directory was removed: look for it anew."""
        with self._lock:
            if self._root is root:
                self._root = None

    def _open(self, path: bytes) -> int:
        root = self._root or self._enter()
        try:
            return open_beneath(root.fd, path, FILE)
        except FileNotFoundError:
            if not root.removed():
                raise
        self._leave(root)
        return open_beneath(self._enter().fd, path, FILE)

    # -- reading ---------------------------------------------------------------

    def get(self, key: str) -> bytes:
        """See `Storage.get`."""
        try:
            fd = self._open(self._naming.path(key))
            try:
                found = ops.fstat(fd)
                if found.st_mode & _KIND != _REGULAR:
                    raise no_object()
                return read_exactly(fd, found.st_size, 0)
            finally:
                ops.close(fd)
        except StorageError as exc:
            raise exc.at(key=key, operation="get", storage=self.url)
        except OSError as exc:
            raise read_error(exc).at(key=key, operation="get", storage=self.url) from exc

    def get_range(
        self, key: str, *, start: int, end: int | None = None, length: int | None = None
    ) -> bytes:
        """See `Storage.get_range`."""
        try:
            check_range(start, end)
            check_length(end, length)
            fd = self._open(self._naming.path(key))
            try:
                found = ops.fstat(fd)
                if found.st_mode & _KIND != _REGULAR:
                    raise no_object()
                first, stop = resolve_range(start, end, found.st_size)
                if length is not None:
                    stop = min(stop, first + length)
                return read_exactly(fd, stop - first, first)
            finally:
                ops.close(fd)
        except StorageError as exc:
            raise exc.at(key=key, operation="get_range", storage=self.url)
        except OSError as exc:
            raise read_error(exc).at(key=key, operation="get_range", storage=self.url) from exc

    def fetch(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        if_match: str | Unset = UNSET,
        if_none_match: str | Unset = UNSET,
    ) -> Fetched:
        """See `Storage.fetch`."""
        try:
            check_range(start, end)
            match, none_match = check_condition(if_match), check_condition(if_none_match)
            fd = self._open(self._naming.path(key))
            try:
                info = self._info(key, fd)
                if match is not None and info.etag != match:
                    raise ErrPreconditionFailed(f"the ETag is {info.etag!r}, not {match!r}")
                if none_match is not None and info.etag == none_match:
                    raise ErrNotModified(f"the ETag is still {info.etag!r}")
                first, stop = resolve_range(start, end, info.size)
                return Fetched(read_exactly(fd, stop - first, first), info)
            finally:
                ops.close(fd)
        except StorageError as exc:
            raise exc.at(key=key, operation="fetch", storage=self.url)
        except OSError as exc:
            raise read_error(exc).at(key=key, operation="fetch", storage=self.url) from exc

    def stat(self, key: str) -> ObjectInfo:
        """See `Storage.stat`."""
        try:
            fd = self._open(self._naming.path(key))
            try:
                return self._info(key, fd)
            finally:
                ops.close(fd)
        except StorageError as exc:
            raise exc.at(key=key, operation="stat", storage=self.url)
        except OSError as exc:
            raise read_error(exc).at(key=key, operation="stat", storage=self.url) from exc

    def exists(self, key: str) -> bool:
        """See `Storage.exists`."""
        try:
            self.stat(key)
        except ErrNotExist:
            return False
        return True

    def open(self, key: str) -> Reader:
        """See `Storage.open`: the version of the moment goes on being read."""
        try:
            fd = self._open(self._naming.path(key))
            try:
                info = self._info(key, fd)
                raw = RawFile(fd, lambda err: err.at(key=key, operation="open", storage=self.url))
            except BaseException:
                ops.close(fd)
                raise
            return Reader(raw, info)
        except StorageError as exc:
            raise exc.at(key=key, operation="open", storage=self.url)
        except OSError as exc:
            raise read_error(exc).at(key=key, operation="open", storage=self.url) from exc

    def stream(self, key: str, *, chunk_size: int = 1024 * 1024) -> Iterator[bytes]:
        """See `Storage.stream`."""
        try:
            if chunk_size < 1:
                raise ErrBadRequest("chunk_size is at least 1")
            fd = self._open(self._naming.path(key))
            try:
                left = self._info(key, fd).size
                offset = 0
                while left:
                    chunk = read_exactly(fd, min(left, chunk_size), offset)
                    offset += len(chunk)
                    left -= len(chunk)
                    yield chunk
            finally:
                ops.close(fd)
        except StorageError as exc:
            raise exc.at(key=key, operation="stream", storage=self.url)
        except OSError as exc:
            raise read_error(exc).at(key=key, operation="stream", storage=self.url) from exc

    def _info(self, key: str, fd: int) -> ObjectInfo:
        """What is known of the open file; `ErrNotExist` unless it is a plain one."""
        found = ops.fstat(fd)
        if found.st_mode & _KIND != _REGULAR:
            raise no_object()
        about = (None, {}) if without_metadata(found) else meta.read(fd)
        return make_info(LocalInfo, (key, found.st_size, found.st_mtime_ns, found.st_ino, *about))

    # -- listing ---------------------------------------------------------------

    def list(
        self, prefix: str = "", *, start_after: str | None = None, ordered: bool = True
    ) -> Iterator[ObjectInfo]:
        """See `Storage.list`."""
        try:
            self._check_open("list")
            check_prefix(prefix)
            after = check_start_after(start_after)
        except StorageError as exc:
            raise exc.at(key=prefix, operation="list", storage=self.url)
        return self._walk(prefix, after)

    def _walk(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        try:
            root = self._listed_root()
            if root is not None:
                yield from walk(root, self._naming, prefix, after)
        except StorageError as exc:
            raise exc.at(key=prefix, operation="list", storage=self.url)
        except OSError as exc:
            raise read_error(exc).at(key=prefix, operation="list", storage=self.url) from exc

    def _listed_root(self) -> Root | None:
        """The directory to list; None if there is none yet."""
        try:
            root = self._root or self._enter()
            if not root.removed():
                return root
            self._leave(root)
            return self._enter()
        except FileNotFoundError:
            return None
