"""Reading a log, while it is written and after."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator

from objectstorage.aio.storage import AsyncReader, AsyncStorage
from objectstorage.errors import ErrNotExist
from objectstorage.logs._aiowork import pause
from objectstorage.logs._async.state import load, load_manifest, load_segments, load_sums
from objectstorage.logs.layout import (
    LogInfo,
    archive_key,
    beyond,
    check_offset,
    decode_segment,
    folder_of,
    missing,
    segment_key,
    sum_key,
)
from objectstorage.logs.pace import Pace

__all__ = ["AsyncLogCursor", "AsyncLogReader"]

_CHUNK = 256 * 1024


class AsyncLogCursor:
    """Goes through a log from `offset` on, a segment a step, into the archive if need be.

    A step costs one request. Every second one that finds nothing asks the
    manifest too: the segment that isn't there may have gone into the archive.
    """

    def __init__(self, store: AsyncStorage, name: str, offset: int = 0) -> None:
        check_offset(offset)
        self._store = store
        self._name = name
        self._folder = folder_of(name)
        self.offset = offset
        self._id: str | None = None
        self._segment = 0  # where the next segment begins
        self._sums: deque[tuple[int, int]] = deque()  # ahead of it
        self._misses = 0
        self._archive: AsyncReader | None = None

    async def read(self) -> bytes | None:
        """What comes next: bytes, b"" if nothing is there yet, None at the end.

        `ErrNotExist` if there is no log, or no longer; `ErrInvalidRange` at the
        end of one that is shorter than the offset.
        """
        if self._id is None:
            await self._begin()
        while True:
            if self._archive is not None:
                return await self._read_archive(self._archive)
            data = await self._read_sum()
            if data is None:
                key = segment_key(self._folder, self._id or "", self._segment)
                try:
                    fetched = await self._store.fetch(key)
                except ErrNotExist as exc:
                    self._misses += 1
                    if self._misses % 2 and await self._archived(exc):
                        continue
                    return b""
                self._misses = 0
                segment = decode_segment(fetched.data, key)
                if segment.end:
                    if self.offset > self._segment:
                        raise beyond(self.offset, self._segment)
                    return None
                data = segment.data
            skipped = self.offset - self._segment
            self._segment += len(data)
            if skipped < len(data):
                self.offset = self._segment
                return data[skipped:] if skipped else data

    async def _read_sum(self) -> bytes | None:
        """The sum that stands where the next segment does; None if there is none."""
        while self._sums and self._sums[0][1] <= self._segment:
            self._sums.popleft()
        if not self._sums or self._sums[0][0] != self._segment:
            return None
        try:
            fetched = await self._store.fetch(sum_key(self._folder, self._id or "", self._segment))
        except ErrNotExist:
            self._sums.clear()  # archived meanwhile
            return None
        return fetched.data

    async def _read_archive(self, archive: AsyncReader) -> bytes | None:
        data = await archive.read(_CHUNK)
        self.offset += len(data)
        return data or None

    async def close(self) -> None:
        """Let go of what is open."""
        archive, self._archive = self._archive, None
        if archive is not None:
            await archive.close()

    @property
    def found(self) -> int:
        """Where the segments that were read end."""
        return self._segment

    async def _begin(self) -> None:
        manifest, _ = await load_manifest(self._store, self._name, self._folder)
        self._id = manifest.id
        if manifest.size is not None:
            await self._open_archive(manifest.size)
        else:
            await self._locate(manifest.id)

    async def _locate(self, id_: str) -> None:
        """Find the sum or the segment that the offset is in."""
        for start, end in await load_sums(self._store, self._folder, id_):
            if end <= self.offset:
                self._segment = end
            else:
                self._sums.append((start, end))
        if self._sums and self._sums[0][0] <= self.offset:
            self._segment = self._sums[0][0]
        elif self.offset > self._segment:
            async for start, _ in load_segments(self._store, self._folder, id_, self._segment):
                if start > self.offset:
                    break
                self._segment = start

    async def _archived(self, cause: ErrNotExist) -> bool:
        manifest, _ = await load_manifest(self._store, self._name, self._folder)
        if manifest.id != self._id:
            raise missing(self._name) from cause
        if manifest.size is None:
            return False
        await self._open_archive(manifest.size)
        return True

    async def _open_archive(self, size: int) -> None:
        if self.offset > size:
            raise beyond(self.offset, size)
        key = archive_key(self._folder, self._id or "")
        try:
            self._archive = await self._store.open(key)
        except ErrNotExist as exc:
            raise missing(self._name) from exc
        await self._archive.seek(self.offset)


class AsyncLogReader:
    """Reads the log `name`, from any machine that sees the store.

    Offsets are bytes from the log's start. `ErrNotExist`, "log doesn't exist",
    wrapping the storage's own, if there is none.
    """

    def __init__(self, store: AsyncStorage, name: str) -> None:
        self._store = store
        self._name = name
        self._folder = folder_of(name)

    async def stat(self) -> LogInfo:
        """Its size so far, and whether it is finished."""
        return (await load(self._store, self._name, self._folder)).info(self._name)

    async def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes from `offset` on, at most `length`, of what is there now."""
        data = bytearray()
        async for chunk in self.stream(offset, length):
            data += chunk
        return bytes(data)

    async def stream(self, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The same in chunks; `ErrInvalidRange` for an offset past the end."""
        check_offset(offset, length)
        left = length
        cursor = AsyncLogCursor(self._store, self._name, offset)
        try:
            while left is None or left > 0:
                data = await cursor.read()
                if not data:
                    if data is not None and cursor.found < offset:
                        raise beyond(offset, cursor.found)
                    return
                if left is not None:
                    data = data[:left]
                    left -= len(data)
                yield data
        finally:
            await cursor.close()

    async def follow(self, offset: int = 0) -> AsyncIterator[bytes]:
        """Bytes from `offset` on as they are flushed, until the log is finished.

        Each byte comes once, also across the moment the log is archived. What
        is read is there within half a second of its flush.
        """
        cursor = AsyncLogCursor(self._store, self._name, offset)
        pace = Pace()
        try:
            while (data := await cursor.read()) is not None:
                if data:
                    yield data
                await pause(pace.after(data))
        finally:
            await cursor.close()
