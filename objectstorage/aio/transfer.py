"""Between two asynchronous stores: `copy` streams an object from one to another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from objectstorage.aio.storage import AsyncReader, AsyncStorage
    from objectstorage.storage import Progress, PutResult

__all__ = ["copy"]


async def copy(
    src_store: AsyncStorage,
    src: str,
    dst_store: AsyncStorage,
    dst: str,
    *,
    create: bool = False,
    progress: Progress | None = None,
) -> PutResult:
    """See `objectstorage.copy`."""
    async with await src_store.open(src) as reader:
        info = reader.info
        return await dst_store.put(
            dst,
            aiter(reader) if progress is None else _watched(reader, progress),
            size=info.size,
            content_type=info.content_type,
            metadata=info.metadata or None,
            create=create,
        )


async def _watched(reader: AsyncReader, progress: Progress) -> AsyncIterator[bytes]:
    done = 0
    async for chunk in reader:
        done += len(chunk)
        progress(done, reader.info.size)
        yield chunk
