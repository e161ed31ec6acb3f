"""The two kinds of what is synchronised: a local folder, and keys in a store."""

from __future__ import annotations

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import parse_qsl, unquote

from objectstorage._folders import UNFINISHED, Folder, walk
from objectstorage._sync.feed import Feed, Hole
from objectstorage.errors import ErrBackend, ErrConcurrency, ErrForbidden, StorageError
from objectstorage.storage import Storage
from objectstorage.wrappers import ForwardingStorage, PrefixStorage

__all__ = ["FolderSide", "Item", "Listeners", "Opened", "Side", "StoreSide"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MD5 = re.compile(r"[0-9a-f]{32}")


class Item(NamedTuple):
    """A file or an object: its name below the folder, its size in bytes, its time.

    `modified` in nanoseconds since 1970 by its own side's clock; `digest` what
    may be its MD5 in hexadecimal, None where the listing doesn't tell.
    """

    name: str
    size: int
    modified: int
    digest: str | None = None

    @property
    def is_folder(self) -> bool:
        """Whether it is an empty object that stands for a folder, as some tools make them."""
        return not self.size and (self.name.endswith("/") or not self.name)


class Opened(NamedTuple):
    """One version of an item, opened; `check` raises if what was read was a mix of two."""

    file: BinaryIO
    size: int
    modified: int
    content_type: str | None
    metadata: dict[str, str] | None
    check: Callable[[], None]


class Listeners(NamedTuple):
    """Who hears of what a listing leaves out, and of what it could not read."""

    skipped: Callable[[str, str], object]
    failed: Callable[[OSError], object]


class Side(ABC):
    """Named items below one place."""

    ahead = 0
    """Nanoseconds that this side's clock is ahead of ours."""
    keeps_times = False
    """Whether a copy here bears the time of what it is a copy of."""

    @property
    @abstractmethod
    def location(self) -> tuple[str | None, str]:
        """The server, and the whole path there, ending in `/`."""

    @abstractmethod
    def begin(self) -> None:
        """Look whether it is there, and what its clock says."""

    @abstractmethod
    def items(self, listeners: Listeners) -> Iterator[Item]:
        """What is there, in key order of the names."""

    @abstractmethod
    def open(self, item: Item) -> Any:
        """A context manager that gives an `Opened`."""

    @abstractmethod
    def write(self, name: str, source: Opened, feed: Feed, modified: int | None) -> None:
        """Put what is read from `feed`, whole or not at all.

        `modified`: the time it bears, in nanoseconds since 1970, None for now,
        where copies bear the time of their source.
        """

    @abstractmethod
    def rehearse(self, item: Item) -> None:
        """Refuse what `write` would refuse because of the name; changes nothing."""

    @abstractmethod
    def delete(self, names: list[str]) -> dict[str, StorageError | OSError]:
        """Delete each; those that failed, and why."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what `begin` opened."""


class StoreSide(Side):
    """The keys below a prefix; `rehearsal` is what is written to in a dry run."""

    def __init__(self, store: Storage, prefix: str, rehearsal: Storage | None = None) -> None:
        self.store = store
        self.prefix = prefix
        self._target = store if rehearsal is None else rehearsal
        self._content = store.capabilities.etag_kind == "content"

    @property
    def location(self) -> tuple[str | None, str]:
        """See `Side.location`."""
        store, prefix = self.store, self.prefix
        while isinstance(store, ForwardingStorage):
            if isinstance(store, PrefixStorage):
                prefix = store._prefix + prefix
            store = store._store
        url, _, query = store.url.partition("?")
        if url.endswith("://"):
            # the store has no name by which another one could reach it
            return str(id(store)), prefix
        place = unquote(url)
        if place.startswith("posix://"):
            place = "posix://" + os.path.realpath(place.removeprefix("posix://"))
        return dict(parse_qsl(query)).get("endpoint"), f"{place.rstrip('/')}/{prefix}"

    def begin(self) -> None:
        """See `Side.begin`."""
        before = time.time_ns()
        try:
            clock = self.store.clock()
        except ErrForbidden:
            return  # objects may be seen, the bucket not: the clocks are taken to agree
        self.ahead = _nanoseconds(clock) - (before + time.time_ns()) // 2

    def items(self, listeners: Listeners) -> Iterator[Item]:
        """See `Side.items`."""
        cut = len(self.prefix)
        before = None
        for info in self.store.list(self.prefix):
            name = info.key[cut:]
            if before is not None and name <= before:
                # what is merged by order, and deleted by it, must have one
                raise ErrBackend(
                    "the listing is not in key order",
                    key=info.key,
                    operation="list",
                    storage=self.store.url,
                )
            before = name
            digest = info.etag if self._content and _MD5.fullmatch(info.etag) else None
            yield Item(name, info.size, _nanoseconds(info.last_modified), digest)

    @contextmanager
    def open(self, item: Item) -> Iterator[Opened]:
        """See `Side.open`."""
        # it is read from its beginning to its end: one request, and a checksum
        with self.store._open_whole(self.prefix + item.name) as reader:
            info = reader.info
            modified = _nanoseconds(info.last_modified)
            yield Opened(
                reader, info.size, modified, info.content_type, info.metadata, lambda: None
            )

    def write(self, name: str, source: Opened, feed: Feed, modified: int | None) -> None:
        """See `Side.write`; content type and metadata are kept."""
        self.store.put(
            self.prefix + name,
            feed.as_file(),
            size=source.size,
            content_type=source.content_type,
            metadata=source.metadata or None,
        )

    def rehearse(self, item: Item) -> None:
        """See `Side.rehearse`."""
        self._target.put(self.prefix + item.name, Hole().as_file(), size=item.size)

    def delete(self, names: list[str]) -> dict[str, StorageError | OSError]:
        """See `Side.delete`."""
        cut = len(self.prefix)
        failed = self._target.delete_many([self.prefix + name for name in names], errors="return")
        return {key[cut:]: err for key, err in failed.items()}

    def close(self) -> None:
        """See `Side.close`: the store is the caller's."""


class FolderSide(Side):
    """The regular files below a folder, which as a target is made if need be."""

    keeps_times = True

    def __init__(self, path: str, *, make: bool, missing_ok: bool = False) -> None:
        self.path = path
        self._make = make
        self._missing_ok = missing_ok
        self._folder: Folder | None = None

    def begin(self) -> None:
        """See `Side.begin`."""
        try:
            self._folder = Folder(self.path, create=self._make)
        except FileNotFoundError:
            if not self._missing_ok:
                raise

    @property
    def location(self) -> tuple[str | None, str]:
        """See `Side.location`."""
        return None, f"posix://{os.path.realpath(self.path).rstrip('/')}/"

    @property
    def folder(self) -> Folder:
        """The folder; only a dry run does without one."""
        if self._folder is None:
            raise FileNotFoundError(2, os.strerror(2), self.path)
        return self._folder

    def items(self, listeners: Listeners) -> Iterator[Item]:
        """See `Side.items`; what dead transfers left in a target is swept."""
        cut = len(os.path.join(self.path, ""))

        def skipped(path: str, kind: str) -> None:
            if kind != UNFINISHED:
                listeners.skipped(path, kind)
            elif self._make:
                self.folder.sweep(path[cut:])

        if self._folder is not None:
            for file in walk(self.path, skipped=skipped, failed=listeners.failed):
                yield Item(file.name, file.size, file.modified)

    @contextmanager
    def open(self, item: Item) -> Iterator[Opened]:
        """See `Side.open`."""
        with open(self.folder.open(item.name), "rb") as file:
            before = os.fstat(file.fileno())

            def check() -> None:
                now = os.fstat(file.fileno())
                if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                    raise ErrConcurrency("the file was changed while it was read", key=item.name)

            yield Opened(file, before.st_size, before.st_mtime_ns, None, None, check)

    def write(self, name: str, source: Opened, feed: Feed, modified: int | None) -> None:
        """See `Side.write`."""
        self.folder.write(name, source.size, feed.chunks(), modified=modified)

    def has_folder(self, name: str) -> bool:
        """Whether there is such a folder below."""
        return self._folder is not None and self._folder.has_folder(name)

    def rehearse(self, item: Item) -> None:
        """See `Side.rehearse`."""
        if self._folder is not None:
            self._folder.check(item.name)

    def delete(self, names: list[str]) -> dict[str, StorageError | OSError]:
        """See `Side.delete`; folders that are empty then go too."""
        failed: dict[str, StorageError | OSError] = {}
        for name in names:
            try:
                self.folder.delete(name)
            except (StorageError, OSError) as exc:
                failed[name] = exc
        return failed

    def close(self) -> None:
        """See `Side.close`."""
        if self._folder is not None:
            self._folder.close()


def _nanoseconds(moment: datetime) -> int:
    # exact, unlike timestamp(): it is compared for equality with a file's time
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
