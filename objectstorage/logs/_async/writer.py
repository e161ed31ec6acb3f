"""Writing a log: what is written is flushed by size and by time, each flush a segment."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn, Self

from objectstorage import _fork
from objectstorage.aio.storage import AsyncStorage
from objectstorage.errors import (
    ErrBadRequest,
    ErrClosed,
    ErrConcurrency,
    ErrConflict,
    ErrDurabilityUnknown,
    ErrExist,
    ErrNotExist,
    ErrOutcomeUnknown,
    StorageError,
)
from objectstorage.logs._aiowork import AsyncWorker
from objectstorage.logs._async.state import load, load_manifest
from objectstorage.logs.layout import (
    LogInfo,
    Manifest,
    Segment,
    check_status,
    decode_segment,
    encode_segment,
    folder_of,
    manifest_key,
    segment_key,
    sum_key,
)
from objectstorage.logs.summing import Sum, Summing

__all__ = ["AsyncLogWriter", "finish"]

_log = logging.getLogger("objectstorage")


class AsyncLogWriter:
    """Writes the log `name`; readers anywhere see what was flushed.

    Entered or opened, it creates the log (`ErrExist` if there is one), or with
    `resume` goes on where another writer left off. A clean exit finishes the
    log; an exception flushes and leaves it unfinished, for another writer to
    resume or for `finish`.

    What is written is flushed once it is `flush_bytes` long (a segment is no
    longer) or `flush_seconds` old. `durable` is `Storage.put`'s. When a flush
    fails the bytes are kept and it is tried again; nothing is held beyond one
    `write`, `flush_bytes`, and 256 KiB of what was flushed. After another
    writer took over, or somebody finished the log, every call is `ErrConcurrency`;
    after it was archived or deleted as well, at the latest `close` is.
    """

    def __init__(
        self,
        store: AsyncStorage,
        name: str,
        *,
        resume: bool = False,
        flush_bytes: int = 128 * 1024,
        flush_seconds: float = 0.25,
        durable: bool | None = None,
    ) -> None:
        if isinstance(flush_bytes, bool) or not isinstance(flush_bytes, int) or flush_bytes < 1:
            raise ErrBadRequest("flush_bytes is an int of at least 1")
        if not flush_seconds > 0:
            raise ErrBadRequest("flush_seconds is more than 0")
        self._store = store
        self._name = name
        self._folder = folder_of(name)
        self._resume = resume
        self._flush_bytes = flush_bytes
        self._flush_seconds = flush_seconds
        self._durable = durable
        self._id = ""
        self._epoch = 1
        self._writer = os.urandom(8).hex()
        self._flushed = 0
        self._buffer = bytearray()
        self._summing = Summing()
        self._due = 0.0  # when what is in the buffer is to be flushed, by the monotonic clock
        self._state: Literal["new", "open", "closed"] = "new"
        self._fenced: ErrConcurrency | None = None
        self._lock = asyncio.Lock()
        self._worker = AsyncWorker(f"objectstorage-log {name}")
        _fork.register(self)

    def _after_fork(self) -> None:
        # The log stays the parent's: both would write the same segments.
        self._lock = asyncio.Lock()
        self._state = "closed"
        self._buffer.clear()

    @property
    def name(self) -> str:
        """The log's name."""
        return self._name

    @property
    def offset(self) -> int:
        """Bytes in the log, with those that wait to be flushed: where the next one goes."""
        return self._flushed + len(self._buffer)

    @property
    def flushed(self) -> int:
        """Bytes in the log that readers see."""
        return self._flushed

    async def open(self) -> None:
        """Create the log, or take it over; does nothing the second time.

        `ErrExist` if there is one (without `resume`), `ErrConflict` if the one
        to resume is finished.
        """
        async with self._lock:
            await self._opened()

    async def write(self, data: Any, /) -> int:
        """Add a bytes-like object; returns its length in bytes.

        An error means that none of it was taken.
        """
        view = memoryview(data).cast("B")
        async with self._lock:
            await self._opened()
            if len(self._buffer) >= self._flush_bytes:
                await self._flush()
            was_empty = not self._buffer
            self._buffer += view
            if len(self._buffer) >= self._flush_bytes:
                await self._try_to_flush()
            elif was_empty and self._buffer:
                self._due = time.monotonic() + self._flush_seconds
                self._worker.wake()
        return len(view)

    async def flush(self) -> None:
        """Make what was written seen by readers."""
        async with self._lock:
            await self._opened()
            await self._flush()

    async def close(self, status: str = "") -> None:
        """Flush and finish the log, with a status of at most 1,024 bytes for its readers.

        Does nothing the second time. After an error it can be tried again.
        """
        raw = check_status(status)
        if self._state == "closed":
            return
        async with self._lock:
            await self._opened()
            await self._flush()
            await self._append(raw, end=True)
            await self._check_ours()
            self._state = "closed"
        await self._worker.stop()

    async def abandon(self) -> None:
        """Flush what can be and let the log go, unfinished; does nothing after `close`."""
        async with self._lock:
            if self._state == "open" and self._fenced is None:
                await self._try_to_flush()
            self._state = "closed"
        await self._worker.stop()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, exc_type: object, *args: object) -> None:
        try:
            if exc_type is None:
                await self.close()
        finally:
            await self.abandon()

    # -- with the lock held ----------------------------------------------------

    async def _opened(self) -> None:
        if self._fenced is not None:
            raise ErrConcurrency(self._fenced.message) from self._fenced
        if self._state == "closed":
            raise ErrClosed("the log's writer is closed", operation="write", key=self._name)
        if self._state == "open":
            return
        manifest = Manifest(os.urandom(8).hex(), datetime.now(UTC))
        self._id = manifest.id
        key = manifest_key(self._folder)
        try:
            await self._store.put(key, manifest.encode(), create=True, durable=self._durable)
        except ErrExist as exc:
            if not self._resume:
                raise ErrExist("log exists already", details={"log": self._name}) from exc
            await self._take_over()
        self._state = "open"
        self._worker.start(self._flush_by_time)

    async def _take_over(self) -> None:
        state = await load(self._store, self._name, self._folder)
        if state.finished:
            raise ErrConflict("log is finished", details={"log": self._name})
        self._id, self._flushed, self._epoch = state.manifest.id, state.size, state.epoch + 1

    async def _flush_by_time(self) -> None:
        while not self._worker.stopped and self._fenced is None:
            if not self._buffer:
                await self._worker.wait(None)
            elif (left := self._due - time.monotonic()) > 0:
                await self._worker.wait(left)
            else:
                async with self._lock:
                    if self._state == "open":
                        await self._try_to_flush()
                    self._due = time.monotonic() + self._flush_seconds

    async def _try_to_flush(self) -> None:
        # What fails is tried again by the next write or flush, which raises.
        try:
            await self._flush()
        except StorageError as exc:
            _log.warning("log %s: not flushed: %s", self._name, exc)

    async def _flush(self) -> None:
        while self._buffer:
            start, data = self._flushed, bytes(self._buffer[: self._flush_bytes])
            await self._append(data)
            if self._flushed - start == len(data):  # as one segment, ours
                await self._sum_up(self._summing.add(start, data))

    async def _sum_up(self, sum_: Sum | None) -> None:
        if sum_ is not None:
            key = sum_key(self._folder, self._id, sum_.start)
            try:
                await self._store.put(key, sum_.data, durable=self._durable)
            except StorageError as exc:
                # readers take the segments then
                _log.warning("log %s: not summed up: %s", self._name, exc)

    async def _append(self, data: bytes, *, end: bool = False) -> None:
        """One segment, of what the buffer begins with, or the log's end."""
        stored = False
        while not stored:
            key = segment_key(self._folder, self._id, self._flushed)
            raw = encode_segment(Segment(end, self._epoch, self._writer, data))
            try:
                await self._store.put(key, raw, create=True, durable=self._durable)
            except (ErrExist, ErrOutcomeUnknown) as exc:
                stored = await self._settle(key, end, exc)
            else:
                stored = True
                if not end:
                    self._advance(len(data))

    async def _check_ours(self) -> None:
        # A log that was finished, archived or deleted behind a stalled writer has left
        # no segment to collide with; only the manifest still tells.
        try:
            manifest, _ = await load_manifest(self._store, self._name, self._folder)
        except ErrNotExist as exc:
            self._fence("log was deleted", exc)
        if manifest.id != self._id or manifest.size not in (None, self._flushed):
            self._fence("log was finished by another", None)

    def _advance(self, count: int) -> None:
        self._flushed += count
        del self._buffer[:count]

    async def _settle(self, key: str, end: bool, error: StorageError) -> bool:
        """Whether the segment at our offset is ours; else it is passed, or we are fenced off."""
        try:
            fetched = await self._store.fetch(key)
        except ErrNotExist as exc:
            if isinstance(error, ErrExist):
                self._fence("log was archived or deleted", exc)
            raise error
        segment = decode_segment(fetched.data, key)
        if segment.writer == self._writer:
            # An earlier try, whose reply was lost; more may have been written since.
            if not segment.end:
                self._advance(len(segment.data))
            elif not end:
                self._fence("log was finished by a close that seemed to fail", error)
            if isinstance(error, ErrDurabilityUnknown):
                raise error
            return segment.end or not end
        if segment.end:
            self._fence("log was finished by another", error)
        if segment.epoch >= self._epoch:
            self._fence("another writer took the log over", error)
        self._flushed += len(segment.data)  # the former writer's last
        return False

    def _fence(self, message: str, cause: BaseException | None) -> NoReturn:
        self._fenced = ErrConcurrency(message, details={"log": self._name})
        self._worker.wake()
        raise self._fenced from cause


async def finish(store: AsyncStorage, name: str, status: str = "") -> LogInfo:
    """Finish a log whose writer is gone; a writer that is not is `ErrConcurrency` from then on.

    Finished already, it stays as it is. `ErrNotExist` if there is none.
    """
    raw = check_status(status)
    folder = folder_of(name)
    writer = os.urandom(8).hex()
    while True:
        state = await load(store, name, folder)
        if state.finished:
            return state.info(name)
        key = segment_key(folder, state.manifest.id, state.size)
        segment = encode_segment(Segment(True, state.epoch, writer, raw))
        try:
            await store.put(key, segment, create=True)
        except ErrExist:
            continue  # the writer wrote on
