"""A file system over stores, its lowest layer: names, looking, listing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from glob import has_magic
from hashlib import sha256
from typing import Any, NamedTuple

from fsspec.spec import AbstractFileSystem

from objectstorage._filesystem.bulk import each, keeping_errors
from objectstorage.errors import (
    ErrInvalidKey,
    ErrNotExist,
    ErrPreconditionFailed,
    StorageError,
)
from objectstorage.storage import ObjectInfo, Prefix, Storage

__all__ = ["LookingFileSystem", "Place"]

# What fsspec's clients pass to any file system; none of it means anything here:
# there is no loop, and no listing is ever kept.
_FSSPEC_OPTIONS = frozenset(
    ("asynchronous", "loop", "use_listings_cache", "listings_expiry_time", "max_paths")
)
_REMOTE_WORKERS = 16


class Place(NamedTuple):
    """Where a path leads: a store, a key in it ("" for its root), what names begin with."""

    store: Storage
    key: str
    base: str

    @property
    def folder(self) -> str:
        """What the keys below this place begin with."""
        return self.key and self.key + "/"


class LookingFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """What the file systems share of names and listings.

    `batch_size` is how many objects a bulk call works on at once (default: 16
    on a remote store, 1 on a local one).
    """

    protocol: str = "objectstorage"
    root_marker = ""

    def __init__(self, *, batch_size: int | None = None, **options: Any) -> None:
        super().__init__(use_listings_cache=False)
        self.batch_size = batch_size
        self._options = {k: v for k, v in options.items() if k not in _FSSPEC_OPTIONS}

    # -- names -----------------------------------------------------------------

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each_) for each_ in path]
        name = os.fspath(path) if isinstance(path, os.PathLike) else str(path)
        for mark in ("://", "::"):
            name = name.removeprefix(cls.protocol + mark)
        # Keys are exact, so nothing within is touched; but no key begins with
        # "/", and a name that ends in "/" is the folder's.
        return cls.root_marker + name.strip("/")

    @classmethod
    def _parent(cls, path: Any) -> str:
        name = str(cls._strip_protocol(path))
        return cls.root_marker + name.rpartition("/")[0].lstrip("/")

    def _locate(self, name: str) -> Place:
        """The store and key of a stripped path; `ErrNotExist` if it is in no store."""
        raise NotImplementedError

    def _place(self, path: Any) -> Place:
        return self._locate(self._strip_protocol(path))

    def _is_above_stores(self, name: str) -> bool:
        """Whether the path is the root of all stores, which is in none."""
        return False

    def _workers(self, store: Storage) -> int:
        if self.batch_size is not None:
            return self.batch_size
        return _REMOTE_WORKERS if store.url.startswith("s3:") else 1

    # -- looking ---------------------------------------------------------------

    def _entry(self, name: str, info: ObjectInfo) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "name": name,
            "size": info.size,
            "type": "file",
            "mtime": info.last_modified.timestamp(),
            "LastModified": info.last_modified,
            "ETag": info.etag,
        }
        if info.content_type is not None:
            entry["content_type"] = info.content_type
        if info.metadata is not None:
            entry["metadata"] = info.metadata
        return entry

    @staticmethod
    def _folder(name: str) -> dict[str, Any]:
        return {"name": name, "size": 0, "type": "directory"}

    def info(self, path: Any, **kwargs: Any) -> dict[str, Any]:
        """`name`, `size` (bytes), `type`, `mtime` (Unix time), `LastModified`, `ETag`.

        A directory is what has an object below it, and a store's root.
        `content_type` and `metadata` stand there if known.
        """
        name = self._strip_protocol(path)
        if self._is_above_stores(name):
            return self._folder(name)
        place = self._locate(name)
        if not place.key:
            _first(place)  # a missing bucket shows here
            return self._folder(name)
        try:
            return self._entry(name, place.store.stat(place.key))
        except ErrNotExist as exc:
            if exc.code != "NoSuchBucket" and _first(place) is not None:
                return self._folder(name)
            raise

    def exists(self, path: Any, **kwargs: Any) -> bool:
        """Whether there is such an object or directory; false only if the store said so."""
        return self._type(path) is not None

    def isdir(self, path: Any) -> bool:
        """Whether there are objects below it and none of its name; errors are raised."""
        return self._type(path) == "directory"

    def isfile(self, path: Any) -> bool:
        """Whether there is such an object; errors are raised."""
        return self._type(path) == "file"

    def _type(self, path: Any) -> str | None:
        try:
            return str(self.info(path)["type"])
        except (ErrNotExist, ErrInvalidKey):  # what can't be held isn't there
            return None

    def sizes(self, paths: list[Any]) -> list[Any]:
        """Bytes of each file."""
        return self._each(self.size, paths, False)

    def modified(self, path: Any) -> datetime:
        """When the object was written; aware, UTC."""
        return self._stat(path).last_modified

    def created(self, path: Any) -> datetime:
        """When this version was made, which is when it was written."""
        return self.modified(path)

    def checksum(self, path: Any) -> int:
        """A number that changes when the object does."""
        return int(self.ukey(path), 16)

    def ukey(self, path: Any) -> str:
        """A string that changes when the object does."""
        info = self._stat(path)
        text = f"{self._strip_protocol(path)}\0{info.etag}\0{info.size}"
        return sha256(text.encode()).hexdigest()

    def sign(self, path: Any, expiration: int = 100, **kwargs: Any) -> str:
        """A URL that reads the object for `expiration` seconds; `method="PUT"` writes it."""
        place = self._place(path)
        method = str(kwargs.get("method", "GET"))
        return place.store.presign(place.key, method=method, expires=int(expiration))

    def _stat(self, path: Any) -> ObjectInfo:
        place = self._place(path)
        return place.store.stat(place.key)

    # -- listing ---------------------------------------------------------------

    def ls(self, path: Any, detail: bool = True, **kwargs: Any) -> list[Any]:
        """One level, in key order: as `info` tells of each, or names only.

        Always asked of the store: nothing is remembered. Of a file, the file.
        Objects whose key ends in `/` are taken for marks of directories.
        """
        name = self._strip_protocol(path)
        place = self._locate(name)
        entries: list[dict[str, Any]] = []
        is_folder = not place.key
        for item in place.store.list_level(place.folder):
            is_folder = True
            if isinstance(item, Prefix):
                if not item.key.endswith("//"):  # no path leads there
                    entries.append(self._folder(place.base + item.key[:-1]))
            elif item.key != place.folder:
                entries.append(self._entry(place.base + item.key, item))
        if not is_folder:
            entries.append(self._entry(name, place.store.stat(place.key)))
        return entries if detail else [entry["name"] for entry in entries]

    def walk(
        self,
        path: Any,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: str | Callable[[OSError], Any] = "omit",
        **kwargs: Any,
    ) -> Iterator[Any]:
        """As `os.walk`. "omit" leaves out what isn't there; any other error is raised."""
        if on_error == "omit":
            on_error = _missing_only
        yield from super().walk(path, maxdepth, topdown, on_error, **kwargs)

    def find(
        self,
        path: Any,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Names of all files below `path` (or itself), sorted; a dict of their `info` by name.

        Without `maxdepth` it is one listing, not one for each directory.
        """
        name = self._strip_protocol(path)
        out: dict[str, dict[str, Any]] = {}
        try:
            if maxdepth is None:
                self._find_all(self._locate(name), out, withdirs)
            else:
                for _, folders, files in self.walk(name, maxdepth, detail=True):
                    found = [*folders.values(), *files.values()] if withdirs else files.values()
                    out.update((entry["name"], entry) for entry in found)
            if out and withdirs and name != self.root_marker:
                out.setdefault(name, self._folder(name))
            elif not out:
                entry = self.info(name)
                if entry["type"] == "file" or (withdirs and name != self.root_marker):
                    out[name] = entry
        except (ErrNotExist, ErrInvalidKey):
            pass
        names = sorted(out)
        return {name: out[name] for name in names} if detail else names

    def _find_all(self, place: Place, out: dict[str, dict[str, Any]], withdirs: bool) -> None:
        done = ""  # the folders of the last key are there already
        for info in place.store.list(place.folder):
            if withdirs:
                folder = info.key.rpartition("/")[0]
                if folder != done:
                    done = folder
                    while len(folder) > len(place.key):
                        out.setdefault(place.base + folder, self._folder(place.base + folder))
                        folder = folder.rpartition("/")[0]
            if not info.key.endswith("/"):
                out[place.base + info.key] = self._entry(place.base + info.key, info)

    def expand_path(
        self,
        path: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        assume_literal: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """Names of what patterns and trees stand for, sorted.

        A pattern that is also the very key of an object means that object.
        """
        paths = [path] if isinstance(path, str | os.PathLike) else path
        names = [self._strip_protocol(one) for one in paths]
        literal = [] if assume_literal else [n for n in names if has_magic(n) and self._holds(n)]
        rest = [name for name in names if name not in literal]
        if literal and not rest:
            return sorted(set(literal))
        if assume_literal:
            kwargs["assume_literal"] = True  # only fsspec's newer versions say or know it
        found = super().expand_path(rest, recursive, maxdepth, **kwargs)
        return sorted({*literal, *found})

    def _holds(self, name: str) -> bool:
        try:
            self._stat(name)
        except (ErrNotExist, ErrInvalidKey):
            return False
        return True

    # -- for the layers above ----------------------------------------------------

    def _without_folders(self, names: list[str]) -> list[str]:
        parents = {name.rpartition("/")[0] for name in names}
        return [name for name in names if name not in parents or self.isfile(name)]

    def _each(self, fn: Callable[[Any], Any], items: list[Any], keep_errors: bool) -> list[Any]:
        workers = 1
        if items:
            first = items[0][0] if isinstance(items[0], tuple) else items[0]
            workers = self._workers(self._place(first).store)
        return each(keeping_errors(fn) if keep_errors else fn, items, workers)

    def _replaced(self, name: str, operation: str) -> StorageError:
        store, key, _ = self._locate(name)
        return ErrPreconditionFailed(
            "the object was replaced meanwhile", key=key, operation=operation, storage=store.url
        )


def _first(place: Place) -> object:
    """Something below a place, None if there is nothing."""
    found = place.store.list_level(place.folder)
    try:
        return next(found, None)
    finally:
        close = getattr(found, "close", None)  # a generator's; it may hold descriptors
        if close is not None:
            close()


def _missing_only(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
