"""What a workload runs against: the verbs of one layer, as plain callables.

This library and every peer are put behind the same few verbs, so that one
runner measures them all. A verb that a layer doesn't have is None, and the
workloads that need it are skipped there, with that reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from objectstorage.bench.driver import Driver
    from objectstorage.storage import Storage

__all__ = ["Target", "filesystem_target", "storage_target"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """One layer's verbs.

    The verbs are called within the timed part, so they are the layer's own
    functions wherever the signatures agree.
    """

    layer: str
    url: str
    put: Callable[[str, bytes], Any]
    """Store the bytes."""
    delete: Callable[[str], Any]
    """Delete; no error if there is no such object."""
    list: Callable[[str], Any]
    """Whatever stands for each object below the prefix, as an iterable."""
    get: Callable[[str], Any] | None = None
    """The bytes, as anything with a length."""
    get_range: Callable[[str, int, int], Any] | None = None
    """`length` bytes from `start`, as anything with a length."""
    stat: Callable[[str], Any] | None = None
    list_level: Callable[[str], Any] | None = None
    delete_many: Callable[[Sequence[str]], Any] | None = None
    copy: Callable[[str, str], Any] | None = None
    put_stream: Callable[[str, Iterable[bytes], int], Any] | None = None
    """Store chunks of known total size, in bounded memory."""
    get_stream: Callable[[str], Any] | None = None
    """The bytes in chunks, in bounded memory."""
    update: Callable[[str, Callable[[bytes | None], bytes]], Any] | None = None
    """Compare-and-swap, repeated until it succeeds."""
    abandon: Callable[[str], Any] | None = None
    """Throw away what the deleted objects left below the prefix: unfinished uploads, folders."""
    close: Callable[[], None] = lambda: None
    timed: Target | None = None
    """The verbs to measure, where they are other ones than those that set up and clean."""
    driver: Driver | None = None
    """What runs the timed verbs, which then are coroutine functions and give asynchronous
    iterables; None for the run's own driver, and blocking verbs."""


def storage_target(
    store: Storage, *, layer: str = "sync", durable: bool | None = None, chunk_size: int = 1 << 20
) -> Target:
    """This library's sync face; `durable` as `Storage.put`'s.

    >>> from objectstorage import open_storage
    >>> storage_target(open_storage("memory://")).layer
    'sync'
    """
    put: Callable[..., Any] = store.put if durable is None else partial(store.put, durable=durable)

    def get_range(key: str, start: int, length: int) -> bytes:
        return store.get_range(key, start=start, length=length)

    def put_stream(key: str, chunks: Iterable[bytes], size: int) -> Any:
        return put(key, chunks, size=size)

    def abandon(prefix: str) -> None:
        for upload in list(store.list_uploads(prefix)):
            store.abort_upload(upload)

    return Target(
        layer=layer,
        url=store.url,
        put=put,
        get=store.get,
        get_range=get_range,
        stat=store.stat,
        list=store.list,
        list_level=store.list_level,
        delete=store.delete,
        delete_many=store.delete_many,
        copy=store.copy,
        put_stream=put_stream,
        get_stream=partial(store.stream, chunk_size=chunk_size),
        update=store.update,
        abandon=abandon,
        close=store.close,
    )


def filesystem_target(
    filesystem: Any,
    *,
    layer: str,
    url: str,
    root: str = "",
    options: Mapping[str, Any] | None = None,
    chunk_size: int = 1 << 20,
) -> Target:
    """An fsspec file system's methods, for keys that are paths behind `root`.

    `options` go with every write.

    >>> from fsspec.implementations.memory import MemoryFileSystem
    >>> target = filesystem_target(MemoryFileSystem(), layer="fsspec", url="memory://", root="/r/")
    >>> target.put("a/b", b"data"), target.get("a/b"), len(list(target.list("a/")))
    (None, b'data', 1)
    """

    written = dict(options or {})

    def put_stream(key: str, chunks: Iterable[bytes], size: int) -> None:
        with filesystem.open(root + key, "wb", **written) as file:
            for chunk in chunks:
                file.write(chunk)

    def get_stream(key: str) -> Iterator[bytes]:
        with filesystem.open(root + key, "rb") as file:
            while data := file.read(chunk_size):
                yield data

    def find(prefix: str) -> Iterable[Any]:
        try:
            found: Iterable[Any] = filesystem.find(root + prefix, detail=True).values()
        except FileNotFoundError:
            return ()
        return found

    def delete(key: str) -> None:
        try:
            filesystem.rm_file(root + key)
        except FileNotFoundError:
            pass

    return Target(
        layer=layer,
        url=url,
        put=lambda key, data: filesystem.pipe_file(root + key, data, **written),
        get=lambda key: filesystem.cat_file(root + key),
        # by name: s3fs puts a version before them
        get_range=lambda key, start, length: filesystem.cat_file(
            root + key, start=start, end=start + length
        ),
        stat=lambda key: filesystem.info(root + key),
        list=find,
        list_level=lambda prefix: filesystem.ls(root + prefix, detail=True),
        delete=delete,
        copy=lambda src, dst: filesystem.cp_file(root + src, root + dst),
        put_stream=put_stream,
        get_stream=get_stream,
    )
