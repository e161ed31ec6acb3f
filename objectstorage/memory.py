"""`MemoryStorage`: the smallest complete store. Read this one first.

>>> with MemoryStorage() as store:
...     v1 = store.put("a", b"one")
...     v2 = store.put("a", b"two", if_match=v1.etag)
...     [info.key for info in store.list()]
['a']
"""

from __future__ import annotations

import io
import itertools
import threading
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from objectstorage import _cancel, _fork
from objectstorage.bodies import as_source
from objectstorage.errors import (
    ErrExist,
    ErrInvalidURL,
    ErrNotExist,
    ErrNotModified,
    ErrPreconditionFailed,
    ErrTimeout,
    StorageError,
)
from objectstorage.keys import (
    KeyRules,
    check_content_type,
    check_metadata,
    check_prefix,
    check_start_after,
)
from objectstorage.ranges import check_range, resolve_range
from objectstorage.storage import (
    ALL_CONDITIONS,
    UNSET,
    Capabilities,
    Data,
    Fetched,
    ObjectInfo,
    PutResult,
    Reader,
    Storage,
    Unset,
    Writer,
    check_condition,
)

__all__ = ["MemoryStorage"]

_CHUNK = 1024 * 1024

_RULES = KeyRules()
_CAPABILITIES = Capabilities(
    conditions=ALL_CONDITIONS,
    key_rules=_RULES,
    ordered_listing=True,
    etag_kind="version",
    metadata=True,
    server_side_copy=True,
    atomic_move=True,
    presign=False,
    strong_etags=True,
    durable_puts=False,
)


class _Object(NamedTuple):
    data: bytes
    info: ObjectInfo


class _Space:
    """The objects of one name: a dict, and its keys in order.

    Code points sort as UTF-8 bytes do, so plain `str` order is key order.
    """

    def __init__(self) -> None:
        self.objects: dict[str, _Object] = {}
        self.keys: list[str] = []
        self.lock = threading.Lock()
        self.versions = itertools.count(1)
        _fork.register(self)

    def _after_fork(self) -> None:
        self.lock = threading.Lock()

    def set(self, key: str, data: bytes, info: ObjectInfo) -> None:
        if key not in self.objects:
            insort(self.keys, key)
        self.objects[key] = _Object(data, info)

    def remove(self, key: str) -> None:
        del self.objects[key]
        del self.keys[bisect_left(self.keys, key)]


_spaces: dict[str, _Space] = {}
_spaces_lock = threading.Lock()


class MemoryStorage(Storage):
    """Objects in this process's memory, shared by name, gone with the process.

    `name=""` is a fresh, private space. Holds every key, flat.
    """

    OPTIONS: tuple[str, ...] = ()

    def __init__(self, name: str = "") -> None:
        self._name = name
        if name:
            with _spaces_lock:
                self._space = _spaces.setdefault(name, _Space())
        else:
            self._space = _Space()

    @classmethod
    def from_url(cls, netloc: str, path: str, options: dict[str, Any]) -> MemoryStorage:
        """The store of a `memory://` URL (see `objectstorage.urls`)."""
        if path.strip("/"):
            raise ErrInvalidURL("memory:// takes a name and no path: memory://name")
        return cls(netloc)

    def __reduce__(self) -> tuple[type[MemoryStorage], tuple[str]]:
        if not self._name:
            raise TypeError("an unnamed memory store can't be rebuilt elsewhere")
        return MemoryStorage, (self._name,)

    @property
    def url(self) -> str:
        """`memory://name`."""
        return f"memory://{self._name}"

    @property
    def capabilities(self) -> Capabilities:
        """All of the contract but durability."""
        return _CAPABILITIES

    # -- writing ---------------------------------------------------------------

    def put(
        self,
        key: str,
        data: Data,
        *,
        size: int | None = None,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        create: bool = False,
        if_match: str | Unset = UNSET,
        durable: bool | None = None,
        timeout: float | None = None,
    ) -> PutResult:
        """See `Storage.put`. `durable` is accepted: the process is all there is."""
        try:
            deadline = None if timeout is None else time.monotonic() + timeout
            self._start("put", key)
            etag = check_condition(if_match, create)
            content_type, metadata = check_content_type(content_type), check_metadata(metadata)
            source = as_source(data, size)
            pieces = []
            while piece := source.read(_CHUNK):
                pieces.append(piece)
                if deadline is not None and time.monotonic() > deadline:
                    raise ErrTimeout(f"the data took longer than {timeout} s")
            return self._publish(key, b"".join(pieces), content_type, metadata, create, etag)
        except StorageError as exc:
            raise exc.at(key=key, operation="put", storage=self.url)

    def writer(
        self,
        key: str,
        *,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        create: bool = False,
        if_match: str | Unset = UNSET,
        durable: bool | None = None,
    ) -> Writer:
        """See `Storage.writer`."""
        try:
            self._start("writer", key)
            return _MemoryWriter(
                self,
                key,
                check_content_type(content_type),
                check_metadata(metadata),
                create,
                check_condition(if_match, create),
            )
        except StorageError as exc:
            raise exc.at(key=key, operation="writer", storage=self.url)

    def _publish(
        self,
        key: str,
        data: bytes,
        content_type: str | None,
        metadata: dict[str, str],
        create: bool,
        if_match: str | None,
    ) -> PutResult:
        space = self._space
        with space.lock:
            self._check(key, create, if_match)
            _cancel.check()
            etag = f"{next(space.versions):x}"
            info = ObjectInfo(key, len(data), datetime.now(UTC), etag, content_type, metadata)
            space.set(key, data, info)
        return PutResult(key, len(data), etag)

    def _check(self, key: str, create: bool, if_match: str | None) -> None:
        """Whether the conditions hold; with the lock held."""
        current = self._space.objects.get(key)
        if create and current is not None:
            raise ErrExist("the key is taken", key=key)
        if if_match is not None and (current is None or current.info.etag != if_match):
            raise ErrPreconditionFailed(
                "there is no such object"
                if current is None
                else f"the ETag is {current.info.etag!r}, not {if_match!r}",
                key=key,
            )

    # -- reading ---------------------------------------------------------------

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
            data, info = self._object("fetch", key)
            if match is not None and info.etag != match:
                raise ErrPreconditionFailed(f"the ETag is {info.etag!r}, not {match!r}")
            if none_match is not None and info.etag == none_match:
                raise ErrNotModified(f"the ETag is still {info.etag!r}")
            first, stop = resolve_range(start, end, info.size)
            return Fetched(data[first:stop], info)
        except StorageError as exc:
            raise exc.at(key=key, operation="fetch", storage=self.url)

    def stat(self, key: str) -> ObjectInfo:
        """See `Storage.stat`."""
        try:
            return self._object("stat", key).info
        except StorageError as exc:
            raise exc.at(key=key, operation="stat", storage=self.url)

    def open(self, key: str) -> Reader:
        """See `Storage.open`: the bytes of the moment go on."""
        try:
            data, info = self._object("open", key)
            return Reader(_BytesRaw(data), info)
        except StorageError as exc:
            raise exc.at(key=key, operation="open", storage=self.url)

    def _object(self, operation: str, key: str) -> _Object:
        self._start(operation, key)
        found = self._space.objects.get(key)
        if found is None:
            raise ErrNotExist("no such object")
        return found

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
        # The place is a key, not an index: others may write between two steps.
        space = self._space
        exclusive = after >= prefix
        place = after if exclusive else prefix
        while True:
            with space.lock:
                find = bisect_right if exclusive else bisect_left
                at = find(space.keys, place)
                if at == len(space.keys):
                    return
                key = space.keys[at]
                if not key.startswith(prefix):
                    return
                info = space.objects[key].info
            place, exclusive = key, True
            yield info

    # -- deleting, copying, moving ---------------------------------------------

    def delete(self, key: str, *, if_match: str | Unset = UNSET, must_exist: bool = False) -> None:
        """See `Storage.delete`."""
        try:
            self._start("delete", key)
            etag = check_condition(if_match)
            with self._space.lock:
                self._check(key, False, etag)
                if key in self._space.objects:
                    self._space.remove(key)
                elif must_exist:
                    raise ErrNotExist("no such object")
        except StorageError as exc:
            raise exc.at(key=key, operation="delete", storage=self.url)

    def _copy_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        return self._transfer("copy", src, dst, create)

    def _move_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        return self._transfer("move", src, dst, create)

    def _transfer(self, operation: str, src: str, dst: str, create: bool) -> PutResult:
        try:
            self._check_open(operation)
            space = self._space
            with space.lock:
                found = space.objects.get(src)
                if found is None:
                    raise ErrNotExist("no such object")
                self._check(dst, create, None)
                etag = f"{next(space.versions):x}"
                old = found.info
                info = ObjectInfo(
                    dst, old.size, datetime.now(UTC), etag, old.content_type, old.metadata
                )
                space.set(dst, found.data, info)
                if operation == "move":
                    space.remove(src)
            return PutResult(dst, old.size, etag)
        except StorageError as exc:
            raise exc.at(key=src, operation=operation, storage=self.url)

    def _start(self, operation: str, key: str) -> None:
        self._check_open(operation)
        _RULES.check(key)


class _BytesRaw(io.RawIOBase):
    """Bytes as a raw stream, without a copy."""

    def __init__(self, data: bytes) -> None:
        self._view = memoryview(data)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        piece = self._view[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = (0, self._at, len(self._view))[whence]
        if base + offset < 0:
            raise ValueError("seek before the start")
        self._at = base + offset
        return self._at


class _MemoryWriter(Writer):
    def __init__(
        self,
        store: MemoryStorage,
        key: str,
        content_type: str | None,
        metadata: dict[str, str],
        create: bool,
        if_match: str | None,
    ) -> None:
        super().__init__()
        self._store = store
        self._args = (content_type, metadata, create, if_match)
        self._key = key
        self._pieces = io.BytesIO()

    def _append(self, data: memoryview) -> None:
        self._pieces.write(data)

    def _publish(self) -> PutResult:
        try:
            return self._store._publish(self._key, self._pieces.getvalue(), *self._args)
        except StorageError as exc:
            raise exc.at(key=self._key, operation="writer", storage=self._store.url)

    def _discard(self) -> None:
        self._pieces = io.BytesIO()
