"""Stores as fsspec file systems, for pandas, pyarrow, zarr, duckdb and the others.

    objectstorage+s3://bucket/key            options of the S3 store, as storage_options
    objectstorage+posix:///dir/key           the store is found by its mark on the way up,
                                             or named: storage_options={"store_root": "/dir"}
    objectstorage+memory://name/key          this process's memory
    objectstorage://key                      storage_options={"store_url": "s3://bucket/prefix"},
                                             or the environment's OBJECTSTORAGE_URL

>>> import fsspec
>>> fsspec.register_implementation("objectstorage+memory", MemoryFileSystem, clobber=True)
>>> with fsspec.open("objectstorage+memory://docs/a/hello.txt", "w") as file:
...     _ = file.write("hello")
>>> fs = fsspec.filesystem("objectstorage+memory")
>>> fs.ls("docs", detail=False), fs.cat("docs/a/hello.txt", start=-2)
(['docs/a'], b'lo')

Paths are literal: nothing in them is an escape or a query, and keys keep their
`//`, `#`, `?` and `%`. Only a leading or trailing `/` is no part of a key. A
directory is there as long as an object is below it; `mkdir` does nothing. No
listing is remembered. Bulk calls on a remote store work on many objects at
once; on a local one each call goes straight to the store. An instance may be
used by many threads, and in a forked child.

Errors are the store's, so also the builtins that fsspec's clients look for.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote

from objectstorage import urls
from objectstorage._filesystem.base import Place
from objectstorage._filesystem.writing import WritingFileSystem
from objectstorage.errors import ErrInvalidURL, ErrNotExist, ErrUnsupported
from objectstorage.storage import Storage

__all__ = [
    "MemoryFileSystem",
    "ObjectStorageFileSystem",
    "PosixFileSystem",
    "S3FileSystem",
    "StorageFileSystem",
]

_MARK = ".objectstorage"


class _UrlFileSystem(WritingFileSystem):
    """Over stores that are opened by URL when a path first leads to them."""

    def __init__(self, *, batch_size: int | None = None, **options: Any) -> None:
        super().__init__(batch_size=batch_size, **options)
        self._stores: dict[str, Storage] = {}

    def _store(self, url: str) -> Storage:
        store = self._stores.get(url)
        if store is None:
            # No I/O, so two threads may both do it; one of them wins.
            made = urls.open_storage(url, **self._options)
            store = self._stores.setdefault(url, made)
            if store is not made:
                made.close()
        return store

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        """The instance as plain data; without secrets if not `include_password`."""
        found: dict[str, Any] = super().to_dict(include_password=include_password)
        if not include_password:
            found = {k: v for k, v in found.items() if k not in urls.SECRET_OPTIONS}
        return found


class ObjectStorageFileSystem(_UrlFileSystem):
    """One store, named by URL; paths are its keys.

    `store_url` is as `objectstorage.open_storage`'s, by default the
    environment's `OBJECTSTORAGE_URL`; further options are the store's.

    >>> fs = ObjectStorageFileSystem(store_url="memory://docs-of-fs")
    >>> fs.pipe_file("a/b", b"data")
    >>> fs.info("a")["type"], fs.cat_file("objectstorage://a/b", -2)
    ('directory', b'ta')
    """

    protocol = "objectstorage"

    def __init__(
        self, store_url: str | None = None, *, batch_size: int | None = None, **options: Any
    ) -> None:
        super().__init__(batch_size=batch_size, **options)
        url = store_url or os.environ.get("OBJECTSTORAGE_URL")
        if not url:
            raise ErrInvalidURL(
                "objectstorage:// is a store of your choice: name it by the option store_url, "
                "or by OBJECTSTORAGE_URL in the environment"
            )
        self._url = url

    def _locate(self, name: str) -> Place:
        return Place(self._store(self._url), name, "")


class StorageFileSystem(WritingFileSystem):
    """A store that is already open; paths are its keys. Never cached by fsspec.

    >>> import objectstorage
    >>> with objectstorage.open_storage("memory://") as store:
    ...     fs = StorageFileSystem(store)
    ...     fs.pipe_file("a", b"data")
    ...     store.get("a")
    b'data'
    """

    protocol = "objectstorage"
    cachable = False

    def __init__(self, store: Storage, *, batch_size: int | None = None, **options: Any) -> None:
        super().__init__(batch_size=batch_size, **options)
        self.store = store

    @property
    def _fs_token(self) -> str:
        return f"{id(self.store):x}"

    def _locate(self, name: str) -> Place:
        return Place(self.store, name, "")


class S3FileSystem(_UrlFileSystem):
    """Buckets on one S3 server; paths begin with the bucket.

    Options are the S3 store's: `endpoint`, `region`, `profile`, `anonymous`,
    `create_bucket` and the others. Credentials are best left to the
    environment: what is given as an option is in `to_json` and in pickles.
    """

    protocol = "objectstorage+s3"

    def _is_above_stores(self, name: str) -> bool:
        return not name

    def _locate(self, name: str) -> Place:
        bucket, _, key = name.partition("/")
        if not bucket:
            raise ErrUnsupported("name a bucket: a list of buckets is not offered")
        return Place(self._store(f"s3://{quote(bucket)}"), key, bucket + "/")


class MemoryFileSystem(_UrlFileSystem):
    """This process's memory; paths begin with the name of a `memory://` store."""

    protocol = "objectstorage+memory"

    def _is_above_stores(self, name: str) -> bool:
        return not name

    def _locate(self, name: str) -> Place:
        space, _, key = name.partition("/")
        if not space:
            raise ErrUnsupported("name a store: a list of stores is not offered")
        return Place(self._store(f"memory://{quote(space)}"), key, space + "/")


class PosixFileSystem(_UrlFileSystem):
    """Directories that are stores; paths are absolute.

    Which directory is the store is told by its `.objectstorage` mark, searched
    from the path upwards, or by the option `store_root`, which also makes a
    new store. Further options are the posix store's (`durable`).
    """

    protocol = "objectstorage+posix"
    root_marker = "/"

    def __init__(
        self, *, store_root: str | None = None, batch_size: int | None = None, **options: Any
    ) -> None:
        super().__init__(batch_size=batch_size, **options)
        self._root = None if store_root is None else os.path.abspath(store_root)

    def _is_above_stores(self, name: str) -> bool:
        return name == "/" and self._root != "/"

    def _locate(self, name: str) -> Place:
        root = self._root if self._root is not None else _marked_root(name)
        base = root.rstrip("/") + "/"
        if name != root and not name.startswith(base):
            raise ErrNotExist(f"{name!r} is not in the store at {root!r}", operation="open")
        return Place(self._store("posix://" + quote(root)), name[len(base) :], base)


def _marked_root(name: str) -> str:
    """The store that a path lies in: the one directory on the way up with a mark."""
    roots = []
    path = name
    while path:
        if os.path.isdir(f"{path}/{_MARK}"):
            roots.append(path)
        path = path.rpartition("/")[0]
    if len(roots) == 1:
        return roots[0]
    if not roots:
        raise ErrNotExist(
            f"{name!r} is in no store: no directory above it has a {_MARK} mark; "
            "name the store's directory by the option store_root",
            operation="open",
        )
    raise ErrInvalidURL(
        f"{name!r} is in more than one store ({', '.join(roots)}); "
        "say which by the option store_root"
    )
