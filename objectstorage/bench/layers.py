"""This library's faces as targets, blocking, asyncio, fsspec, and what lies beneath.

The same store behind each, so that what a face adds can be measured.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from objectstorage.bench.raw import raw_target
from objectstorage.bench.targets import Target, filesystem_target, storage_target
from objectstorage.bench.tasks import TaskDriver
from objectstorage.errors import ErrBadRequest, ErrUnsupported

if TYPE_CHECKING:
    from objectstorage.aio import AsyncStorage
    from objectstorage.storage import Storage

__all__ = ["LAYERS", "async_target", "layer_target"]

LAYERS = ("raw", "sync", "async", "fsspec")
"""The names of the layers; `raw` is what lies beneath, see `raw_target`."""


def layer_target(
    store: Storage, face: str, *, layer: str | None = None, durable: bool | None = None
) -> Target:
    """One of `LAYERS` over the store, by another name if `layer` is given.

    `ErrBadRequest` for an unknown layer, `ErrUnsupported` if fsspec is missing or
    nothing known lies beneath the store.

    >>> from objectstorage import open_storage
    >>> layer_target(open_storage("memory://"), "fsspec").layer
    'fsspec'
    """
    if face == "raw":
        blocking = storage_target(store, durable=durable)
        timed = raw_target(store, durable=durable)
        tidy = timed.abandon or blocking.abandon
        return replace(blocking, layer=layer or face, timed=timed, abandon=tidy)
    if face == "sync":
        return storage_target(store, layer=layer or face, durable=durable)
    if face == "async":
        return async_target(store, layer=layer or face, durable=durable)
    if face == "fsspec":
        return _fsspec(store, layer or face, durable)
    raise ErrBadRequest(f"no layer {face!r}; there are {', '.join(LAYERS)}")


def async_target(
    store: Storage, *, layer: str = "async", durable: bool | None = None, chunk_size: int = 1 << 20
) -> Target:
    """The store's asyncio face, its workers tasks of one loop.

    What is not timed goes through the blocking face. `close` ends both.
    """
    blocking = storage_target(store, layer=layer, durable=durable)
    tasks, face = TaskDriver(), _asynchronous(store)
    put: Callable[..., Any] = face.put if durable is None else partial(face.put, durable=durable)

    def get_range(key: str, start: int, length: int) -> Any:
        return face.get_range(key, start=start, length=length)

    def put_stream(key: str, chunks: Iterable[bytes], size: int) -> Any:
        return put(key, chunks, size=size)

    def get_stream(key: str) -> AsyncIterable[bytes]:
        return face.stream(key, chunk_size=chunk_size)

    def close() -> None:
        tasks.run(face.close())
        tasks.close()
        blocking.close()

    timed = Target(
        layer=layer,
        url=store.url,
        put=put,
        get=face.get,
        get_range=get_range,
        stat=face.stat,
        list=face.list,
        list_level=face.list_level,
        delete=face.delete,
        delete_many=face.delete_many,
        copy=face.copy,
        put_stream=put_stream,
        get_stream=get_stream,
        update=face.update,
    )
    return replace(blocking, timed=timed, driver=tasks, close=close)


def _asynchronous(store: Storage) -> AsyncStorage:
    if store.url.startswith("s3:"):
        from objectstorage.aio.s3 import AsyncS3Storage
        from objectstorage.s3 import S3Storage

        assert isinstance(store, S3Storage)  # what the scheme stands for
        return AsyncS3Storage(store)
    from objectstorage.aio.local import ThreadedStorage

    return ThreadedStorage(store)


def _fsspec(store: Storage, layer: str, durable: bool | None) -> Target:
    try:
        from objectstorage.filesystem import StorageFileSystem
    except ImportError as exc:
        raise ErrUnsupported("the layer fsspec needs the package fsspec") from exc
    blocking = storage_target(store, durable=durable)
    options = {} if durable is None else {"durable": durable}
    through = filesystem_target(
        StorageFileSystem(store), layer=layer, url=store.url, options=options
    )
    # set up, and cleaned, by the store itself
    return replace(blocking, layer=layer, timed=through)
