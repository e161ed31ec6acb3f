"""Between two asynchronous stores: `copy` streams an object from one to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from objectstorage.aio.storage import AsyncStorage
    from objectstorage.storage import PutResult

__all__ = ["copy"]


async def copy(
    src_store: AsyncStorage, src: str, dst_store: AsyncStorage, dst: str, *, create: bool = False
) -> PutResult:
    """See `objectstorage.copy`."""
    async with await src_store.open(src) as reader:
        info = reader.info
        return await dst_store.put(
            dst,
            aiter(reader),
            size=info.size,
            content_type=info.content_type,
            metadata=info.metadata or None,
            create=create,
        )
