"""Between two stores: `copy` streams an object from one to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, cast

from objectstorage._plans import Watched

if TYPE_CHECKING:
    from objectstorage.storage import Progress, PutResult, Storage

__all__ = ["copy"]


def copy(
    src_store: Storage,
    src: str,
    dst_store: Storage,
    dst: str,
    *,
    create: bool = False,
    progress: Progress | None = None,
) -> PutResult:
    """Copy one version of an object, its content type and metadata, in bounded memory.

    `ErrNotExist` if there is no `src`, `ErrUnsupported` if the target keeps no
    metadata and the source has some; `create` as `Storage.put`'s,
    `progress` as `Storage.upload`'s.

    >>> from objectstorage import open_storage
    >>> a, b = open_storage("memory://"), open_storage("memory://")
    >>> _ = a.put("k", b"data", metadata={"owner": "ci"})
    >>> copy(a, "k", b, "k").size, b.stat("k").metadata
    (4, {'owner': 'ci'})
    """
    with src_store.open(src) as reader:
        info = reader.info
        return dst_store.put(
            dst,
            reader if progress is None else cast(BinaryIO, Watched(reader, progress, info.size)),
            size=info.size,
            content_type=info.content_type,
            metadata=info.metadata or None,
            create=create,
        )
