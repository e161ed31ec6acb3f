"""A file system over stores, its top layer: open files, writing, transfers."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.compression import compr
from fsspec.core import get_compression
from fsspec.spec import AbstractFileSystem
from fsspec.utils import isfilelike

from objectstorage._filesystem.bulk import Planner, each
from objectstorage._filesystem.files import CompressedFile, ReadFile, TextFile, WriteFile
from objectstorage._filesystem.moving import MovingFileSystem
from objectstorage.errors import ErrExist, ErrNotExist, ErrUnsupported
from objectstorage.storage import Storage

__all__ = ["WritingFileSystem"]

_CHUNK = 1024 * 1024
# What a write may be told; whatever else clients pass is for other stores.
_PUT_OPTIONS = frozenset(("content_type", "metadata", "if_match", "durable"))


class WritingFileSystem(MovingFileSystem):
    """What the file systems share of open files, of storing and of transfers.

    Writes take the store's own options: `content_type`, `metadata`,
    `if_match`, `durable`.
    """

    # -- open files ------------------------------------------------------------

    def open(
        self,
        path: Any,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Open a file: "r", "w", "x" or "a", text unless there is a "b".

        `block_size` is how many bytes are read ahead. "x" refuses a taken key
        at once, and again when it is published. "a" writes the object anew,
        and only if nobody else has changed it meanwhile. See `WriteFile` for
        when a file is published.
        """
        if "b" not in mode:
            text = {k: kwargs.pop(k) for k in ("encoding", "errors", "newline") if k in kwargs}
            file = self.open(
                path, mode.replace("t", "") + "b", block_size, cache_options, compression, **kwargs
            )
            return TextFile(file, **text)
        file = super().open(path, mode, block_size, cache_options, None, **kwargs)
        codec = get_compression(self._strip_protocol(path), compression)
        if codec is None:
            return file
        return CompressedFile(compr[codec](file, mode=mode[0]), file)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: Any = None,
        autocommit: bool = True,
        cache_options: Any = None,
        **kwargs: Any,
    ) -> Any:
        store, key, _ = self._locate(path)
        if mode == "rb":
            if not isinstance(block_size, int) or block_size < 1:
                block_size = 64 * 1024 if self._workers(store) == 1 else 256 * 1024
            return ReadFile(self, path, store.open(key), block_size)
        options = _put_options(kwargs)
        if mode == "ab":
            writer = _appender(store, key, options)
        elif mode == "wb":
            writer = store.writer(key, **options)
        elif mode == "xb":
            if store.exists(key):
                raise ErrExist("the key is taken", key=key, operation="open", storage=store.url)
            writer = store.writer(key, create=True, **options)
        else:
            raise ErrUnsupported(
                f"files are opened with r, w, x or a, not {mode!r}",
                key=key,
                operation="open",
                storage=store.url,
            )
        return WriteFile(self, path, mode, writer, autocommit=autocommit)

    def pipe_file(self, path: Any, value: Any, mode: str = "overwrite", **kwargs: Any) -> None:
        """Store bytes, atomically; `mode="create"` only if the name is free (`ErrExist`)."""
        create = mode == "create"
        if self._intrans:
            with self.open(path, "xb" if create else "wb", **kwargs) as file:
                file.write(value)
            return
        place = self._place(path)
        place.store.put(place.key, value, create=create, **_put_options(kwargs))

    def pipe(self, path: Any, value: Any = None, **kwargs: Any) -> None:
        """Store bytes under a name, or those of a dict under each."""
        if isinstance(path, dict):
            items = list(path.items())
            self._each(lambda item: self.pipe_file(*item, **kwargs), items, False)
        else:
            self.pipe_file(path, value, **kwargs)

    def touch(self, path: Any, truncate: bool = True, **kwargs: Any) -> None:
        """Make an empty file; what is there already is emptied, or refused if not `truncate`."""
        if not truncate and self.exists(path):
            raise ErrUnsupported("a file's time can't be set", key=self._strip_protocol(path))
        self.pipe_file(path, b"", mode="overwrite" if truncate else "create", **kwargs)

    # -- transfers -------------------------------------------------------------

    def get_file(
        self,
        rpath: Any,
        lpath: Any = None,
        callback: Any = DEFAULT_CALLBACK,
        outfile: Any = None,
        **kwargs: Any,
    ) -> None:
        """Write an object to a local file, which appears whole or not at all.

        To `outfile`, or a `lpath` that is an open file, it is streamed. Of a
        directory, a directory is made.
        """
        place = self._place(rpath)
        outfile = lpath if outfile is None and isfilelike(lpath) else outfile
        if outfile is not None:
            with place.store.open(place.key) as reader:
                callback.set_size(reader.info.size)
                while chunk := reader.read(_CHUNK):
                    outfile.write(chunk)
                    callback.relative_update(len(chunk))
            return
        if not place.key:
            os.makedirs(lpath, exist_ok=True)
            return
        os.makedirs(os.path.dirname(os.path.abspath(lpath)), exist_ok=True)
        try:
            place.store.download(place.key, lpath, progress=_progress(callback))
        except ErrNotExist:
            if not self.isdir(rpath):
                raise
            os.makedirs(lpath, exist_ok=True)

    def put_file(
        self,
        lpath: Any,
        rpath: Any,
        callback: Any = DEFAULT_CALLBACK,
        mode: str = "overwrite",
        **kwargs: Any,
    ) -> None:
        """Store a local file's bytes, atomically; of a directory, nothing is made."""
        if os.path.isdir(lpath):
            return
        if self._intrans:
            kind = "xb" if mode == "create" else "wb"
            with open(lpath, "rb") as source, self.open(rpath, kind, **kwargs) as file:
                while chunk := source.read(_CHUNK):
                    file.write(chunk)
                    callback.relative_update(len(chunk))
            return
        place = self._place(rpath)
        place.store.upload(
            place.key,
            lpath,
            create=mode == "create",
            progress=_progress(callback),
            **_put_options(kwargs),
        )

    def get(
        self,
        rpath: Any,
        lpath: Any,
        recursive: bool = False,
        callback: Any = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy files to local ones; names, patterns and trees go where fsspec says."""
        plan = Planner(self)
        AbstractFileSystem.get(plan, rpath, lpath, recursive, maxdepth=maxdepth)
        self._transfer(self.get_file, plan.pairs, callback, kwargs)

    def put(
        self,
        lpath: Any,
        rpath: Any,
        recursive: bool = False,
        callback: Any = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy local files here; names, patterns and trees go where fsspec says."""
        plan = Planner(self)
        AbstractFileSystem.put(plan, lpath, rpath, recursive, maxdepth=maxdepth)
        self._transfer(self.put_file, plan.pairs, callback, kwargs, here=1)

    def _transfer(
        self,
        fn: Callable[..., None],
        pairs: list[tuple[str, str]],
        callback: Any,
        kwargs: dict[str, Any],
        here: int = 0,
    ) -> None:
        """`fn` of every pair; `here` is which of the two is on this file system."""
        callback.set_size(len(pairs))
        lock = threading.Lock()  # callbacks were not made for threads

        def one(pair: tuple[str, str]) -> None:
            with lock:
                child = callback.branched(*pair)
            try:
                fn(*pair, callback=child, **kwargs)
            finally:
                with lock:
                    child.close()
            with lock:
                callback.relative_update()

        if pairs:
            each(one, pairs, self._workers(self._place(pairs[0][here]).store))


def _put_options(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name in _PUT_OPTIONS}


def _progress(callback: Any) -> Callable[[int, int | None], None] | None:
    """A callback of fsspec as the store's kind of progress; None if nobody listens."""
    if callback is DEFAULT_CALLBACK:
        return None

    def report(done: int, total: int | None) -> None:
        if callback.size is None and total is not None:
            callback.set_size(total)
        callback.absolute_update(done)

    return report


def _appender(store: Storage, key: str, options: dict[str, Any]) -> Any:
    """A writer that begins with what is there, and publishes only if that still is."""
    try:
        reader = store.open(key)
    except ErrNotExist:
        return store.writer(key, create=True, **options)
    with reader:
        info = reader.info
        kept = {"content_type": info.content_type, "metadata": info.metadata or None}
        writer = store.writer(key, **{**kept, "if_match": info.etag, **options})
        try:
            while chunk := reader.read(_CHUNK):
                writer.write(chunk)
        except BaseException:
            writer.abort()
            raise
    return writer
