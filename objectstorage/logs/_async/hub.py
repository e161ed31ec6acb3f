"""Many followers of one log, one who looks for more."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator
from typing import Self

from objectstorage.aio.storage import AsyncStorage
from objectstorage.errors import ErrClosed, ErrIntegrity, StorageError
from objectstorage.logs._aiowork import AsyncWorker
from objectstorage.logs._async.reader import AsyncLogCursor, AsyncLogReader
from objectstorage.logs.layout import LogInfo, beyond, check_offset
from objectstorage.logs.pace import Pace

__all__ = ["AsyncLogFollower", "AsyncLogHub"]


_JOINED = 64 * 1024  # bytes of small chunks that are given at once


class AsyncLogHub:
    """Follows logs for many at once: a log is looked at once, however many follow it.

    Of each log that is followed, the newest `recent_bytes` are held; a follower
    that is further behind, or slow, reads the store itself until it has caught up.
    """

    def __init__(self, store: AsyncStorage, *, recent_bytes: int = 1024 * 1024) -> None:
        self._store = store
        self._recent = recent_bytes
        self._lock = asyncio.Lock()
        self._feeds: dict[str, _Feed] = {}
        self._closed = False

    @property
    def store(self) -> AsyncStorage:
        """Where the logs lie."""
        return self._store

    async def open(self, name: str, offset: int = 0) -> AsyncLogFollower:
        """A follower of the log, at `offset`; `ErrNotExist` if there is no such log."""
        check_offset(offset)
        async with self._lock:
            if self._closed:
                raise ErrClosed("the hub is closed", operation="follow", key=name)
            feed = self._feeds.get(name)
            if feed is None or feed.over:
                feed = self._feeds[name] = _Feed(self._store, name, self._recent)
            feed.followers += 1
        try:
            info = await feed.begin()
            if info.finished and offset > info.size:
                raise beyond(offset, info.size)
        except BaseException:
            await self._leave(feed)
            raise
        return AsyncLogFollower(self, feed, offset)

    async def close(self) -> None:
        """End every follower, with `ErrClosed`."""
        async with self._lock:
            self._closed = True
            feeds = list(self._feeds.values())
            self._feeds.clear()
        for feed in feeds:
            await feed.end(ErrClosed("the hub was closed", operation="follow", key=feed.name))

    async def _leave(self, feed: _Feed) -> None:
        async with self._lock:
            feed.followers -= 1
            if feed.followers:
                return
            if self._feeds.get(feed.name) is feed:
                del self._feeds[feed.name]
        await feed.end(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


class AsyncLogFollower:
    """One follower; iterate, or `read`, and close it. `info` is the log as it was opened."""

    def __init__(self, hub: AsyncLogHub, feed: _Feed, offset: int) -> None:
        self._hub = hub
        self._feed: _Feed | None = feed
        self._cursor: AsyncLogCursor | None = None
        self.offset = offset
        self.info = feed.info

    async def read(self) -> bytes | None:
        """What comes next, at least a byte; waits for it. None at the end of the log."""
        feed = self._feed
        if feed is None:
            raise ErrClosed("the follower is closed", operation="follow")
        while True:
            if self._cursor is None:
                data = await feed.after(self.offset)
                if data is None or data:
                    break
                # further behind than what the feed holds
                self._cursor = AsyncLogCursor(feed.store, feed.name, self.offset)
            data = await self._cursor.read()
            if data == b"":
                raise ErrIntegrity(f"the log has lost what was at {self.offset}", key=feed.name)
            if data is None or feed.holds(self.offset + len(data)):
                await self._caught_up()
            break
        self.offset += len(data or b"")
        return data

    async def _caught_up(self) -> None:
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            await cursor.close()

    async def close(self) -> None:
        """Let go of it."""
        feed, self._feed = self._feed, None
        if feed is not None:
            await self._caught_up()
            await self._hub._leave(feed)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (data := await self.read()) is not None:
            yield data

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


class _Feed:
    """The newest bytes of one log, kept current while anybody follows it."""

    info: LogInfo

    def __init__(self, store: AsyncStorage, name: str, recent: int) -> None:
        self.store = store
        self.name = name
        self.followers = 0
        self.over = False  # nothing more comes: the end, an error
        self._recent = recent
        self._begun = False
        self._error: Exception | None = None
        self._chunks: list[bytes] = []
        self._starts: list[int] = []  # where each begins in the log
        self._start = self._end = 0
        self._lock = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._worker = AsyncWorker(f"objectstorage-feed {name}")

    async def begin(self) -> LogInfo:
        """Start to look, unless that was done; what the log was then."""
        async with self._lock:
            if not self._begun:
                info = self.info = await AsyncLogReader(self.store, self.name).stat()
                if info.finished or info.size > self._recent:
                    self._start = self._end = info.size
                self.over = info.finished
                self._begun = True
                if not info.finished:
                    self._worker.start(self._look)
            return self.info

    async def end(self, error: Exception | None) -> None:
        """Stop to look; followers get `error`."""
        await self._worker.stop()
        async with self._changed:
            if not self.over:
                self._error, self.over = error, True
            self._changed.notify_all()

    def holds(self, offset: int) -> bool:
        """Whether what comes at `offset` is here, or will be."""
        return offset >= self._start

    async def after(self, offset: int) -> bytes | None:
        """What comes at `offset`; waits for it. b"" if it is held no longer, None at the end."""
        async with self._changed:
            while offset >= self._end and not self.over:
                await self._changed.wait()
            if offset < self._start:
                return b""
            if offset < self._end:
                return self._piece(offset)
            if self._error is not None:
                # one error for each, since each adds its traceback
                raise StorageError("the log can't be followed further") from self._error
            if offset > self._end:
                raise beyond(offset, self._end)
            return None

    def _piece(self, offset: int) -> bytes:
        """What is held at `offset`: a chunk, as it is for who is up to date, or some joined."""
        index = bisect_right(self._starts, offset) - 1
        piece = self._chunks[index]
        if offset > self._starts[index]:
            piece = piece[offset - self._starts[index] :]
        if len(piece) >= _JOINED or index + 1 == len(self._chunks):
            return piece
        last = bisect_right(self._starts, offset + _JOINED)
        return b"".join([piece, *self._chunks[index + 1 : last]])

    async def _look(self) -> None:
        cursor = AsyncLogCursor(self.store, self.name, self._start)
        pace = Pace()
        try:
            try:
                while not self._worker.stopped:
                    data = await cursor.read()
                    if data is None:
                        break
                    if data:
                        await self._add(data)
                    await self._worker.wait(pace.after(data))
            finally:
                await cursor.close()
        except Exception as exc:  # it is the followers' to raise, whatever it is
            self._error = exc
        async with self._changed:
            self.over = self.over or not self._worker.stopped
            self._changed.notify_all()

    async def _add(self, data: bytes) -> None:
        async with self._changed:
            self._chunks.append(data)
            self._starts.append(self._end)
            self._end += len(data)
            while len(self._chunks) > 1 and self._end - self._start > self._recent:
                del self._chunks[0], self._starts[0]
                self._start = self._starts[0]
            self._changed.notify_all()
