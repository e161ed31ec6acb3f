"""What a workload runs against: the verbs of one layer, as plain callables.

This library and every peer are put behind the same few verbs, so that one
runner measures them all. A verb that a layer doesn't have is None, and the
workloads that need it are skipped there, with that reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from objectstorage.storage import Storage

__all__ = ["Target", "storage_target"]


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
    list: Callable[[str], Iterator[Any]]
    """Whatever stands for each object below the prefix."""
    get: Callable[[str], Any] | None = None
    """The bytes, as anything with a length."""
    get_range: Callable[[str, int, int], Any] | None = None
    """`length` bytes from `start`, as anything with a length."""
    stat: Callable[[str], Any] | None = None
    list_level: Callable[[str], Iterator[Any]] | None = None
    delete_many: Callable[[Sequence[str]], Any] | None = None
    copy: Callable[[str, str], Any] | None = None
    put_stream: Callable[[str, Iterable[bytes], int], Any] | None = None
    """Store chunks of known total size, in bounded memory."""
    get_stream: Callable[[str], Iterator[Any]] | None = None
    """The bytes in chunks, in bounded memory."""
    update: Callable[[str, Callable[[bytes | None], bytes]], Any] | None = None
    """Compare-and-swap, repeated until it succeeds."""
    abandon: Callable[[str], Any] | None = None
    """Throw unfinished uploads below the prefix away."""
    close: Callable[[], None] = lambda: None


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
