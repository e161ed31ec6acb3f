"""Data files, read: one entry by a range, many by a scan."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence

from objectstorage.aio.storage import AsyncStorage
from objectstorage.datamanager.frames import entries_of
from objectstorage.datamanager.merging import Block, Changes, check_order, overlaid, upto
from objectstorage.datamanager.model import Entry
from objectstorage.datamanager.records import FileRef, unpack
from objectstorage.errors import ErrIntegrity, ErrInvalidRange

__all__ = ["AsyncFiles", "merged"]

_RUN = 1024 * 1024
_KEPT = 64


class AsyncFiles:
    """Reads data files in `store`, keeping the indexes of those read last.

    A file that is gone is `ErrNotExist`; one that differs from what its status
    says is `ErrIntegrity` naming it.
    """

    def __init__(self, store: AsyncStorage) -> None:
        self._store = store
        self._indexes: OrderedDict[str, list[Block]] = OrderedDict()

    async def index(self, ref: FileRef) -> list[Block]:
        """The blocks of a file."""
        found = self._indexes.pop(ref.name, None)
        if found is None:
            key = ref.name + ".index"
            data = (await self._store.fetch(key)).data
            if hashlib.sha256(data).hexdigest() != ref.index_sha256:
                raise ErrIntegrity("the index differs from what the status says", key=key)
            found = [Block(*row) for row in unpack(data, key)["blocks"]]
        self._indexes[ref.name] = found
        if len(self._indexes) > _KEPT:
            try:
                self._indexes.popitem(last=False)
            except KeyError:
                pass  # other threads took them
        return found

    async def read(self, files: Sequence[FileRef], type: str, id: str) -> Entry | None:
        """The entry of a type's files, None if there is none."""
        at = bisect_right(files, id, key=lambda ref: ref.first) - 1
        if at < 0 or files[at].last < id:
            return None
        ref = files[at]
        blocks = await self.index(ref)
        block = bisect_right(blocks, id, key=lambda block: block.first) - 1
        for entry in await self._entries(ref, type, blocks[block : block + 1]):
            if entry.id == id:
                return entry
        return None

    async def _entries(self, ref: FileRef, type: str, blocks: Sequence[Block]) -> list[Entry]:
        """The entries of neighbouring blocks."""
        key = ref.name + ".data"
        start = blocks[0].start
        end = blocks[-1].start + blocks[-1].length
        try:
            data = (await self._store.fetch(key, start=start, end=end)).data
        except ErrInvalidRange as exc:
            raise ErrIntegrity(f"there is no byte {start}", key=key) from exc
        entries = list(entries_of(data, type, key))
        if len(data) != end - start or len(entries) != sum(block.entries for block in blocks):
            raise ErrIntegrity(f"bytes {start} to {end} are not whole", key=key)
        check_order("", entries, key)
        if entries[0].id != blocks[0].first:
            raise ErrIntegrity(f"another entry than the index says is at byte {start}", key=key)
        return entries

    async def scan(
        self, files: Sequence[FileRef], type: str, prefix: str = "", start_after: str = ""
    ) -> AsyncIterator[list[Entry]]:
        """The entries of a type's files in id order, in chunks that are never empty."""
        lower = max(prefix, start_after)
        first = bisect_left(files, lower, key=lambda ref: ref.last)
        for ref in files[first:]:
            if ref.first > lower and not ref.first.startswith(prefix):
                return
            blocks = await self.index(ref)
            at = max(0, bisect_right(blocks, lower, key=lambda block: block.first) - 1)
            while at < len(blocks):
                if blocks[at].first > lower and not blocks[at].first.startswith(prefix):
                    return
                end = at + 1
                while end < len(blocks) and blocks[end].start - blocks[at].start < _RUN:
                    end += 1
                entries = await self._entries(ref, type, blocks[at:end])
                at = end
                if entries[0].id <= start_after or not entries[-1].id.startswith(prefix):
                    entries = [
                        entry
                        for entry in entries
                        if entry.id > start_after and entry.id.startswith(prefix)
                    ]
                elif not entries[0].id.startswith(prefix):
                    entries = [entry for entry in entries if entry.id.startswith(prefix)]
                if entries:
                    yield entries


async def merged(
    chunks: AsyncIterator[list[Entry]], changes: Changes
) -> AsyncIterator[list[Entry]]:
    """Chunks of entries in id order, with the changes laid over them."""
    at = 0
    async for chunk in chunks:
        end = upto(changes, at, chunk[-1].id)
        found = overlaid(chunk, changes[at:end])
        at = end
        if found:
            yield found
    rest = [entry for _, entry in changes[at:] if entry is not None]
    if rest:
        yield rest
