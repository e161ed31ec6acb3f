"""The kinds of steps: each runs, writing to a log, and can be stopped."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from objectstorage.caches.aio import AsyncCacheStore
from objectstorage.errors import ErrExist, ErrNotExist
from objectstorage.services.executor.processes import Lifeline, Process

__all__ = ["Place", "Step", "make"]

_T = TypeVar("_T")
_CHUNK = 1024 * 1024

Write = Callable[[bytes], Awaitable[object]]


class Place(NamedTuple):
    """What a task's steps share; `folder` is the task's own, `work` where they run."""

    folder: str
    environment: Mapping[str, str]
    cache_group: str
    caches: AsyncCacheStore
    lifeline: Lifeline

    @property
    def work(self) -> str:
        """Where the steps run."""
        return os.path.join(self.folder, "work")

    @property
    def archive(self) -> str:
        """A cache on its way."""
        return os.path.join(self.folder, "cache.tar")


class _Stopped(Exception):
    """A transfer was stopped."""


class Step:
    """One step of a task."""

    def __init__(self, place: Place, fields: Mapping[str, Any]) -> None:
        self._place = place
        self._fields = fields
        self._process: Process | None = None
        self._transfer: asyncio.Future[Any] | None = None
        self._stopped = False

    async def run(self, write: Write) -> int:
        """Do it; the exit code, 0 if all went well."""
        raise NotImplementedError

    def stop(self) -> None:
        """Let it end soon."""
        self._stopped = True
        if self._transfer is not None:
            self._transfer.cancel()
        if self._process is not None:
            self._process.stop()

    async def _transferred(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What becomes of a transfer, unless it is stopped: then `_Stopped`."""
        self._transfer = asyncio.ensure_future(work)
        if self._stopped:
            self._transfer.cancel()
        await asyncio.wait((self._transfer,))
        if self._transfer.cancelled():
            raise _Stopped
        result: _T = self._transfer.result()
        return result

    async def _execute(self, write: Write, words: Sequence[str], **environment: str) -> int:
        self._process = await Process.start(
            words,
            self._place.work,
            {**self._place.environment, **environment},
            self._place.lifeline,
        )
        if self._stopped:
            self._process.stop()
        output = self._process.output()
        try:
            async for data in output:
                await write(data)
        except BaseException:
            self._process.stop()
            raise
        finally:
            await output.aclose()
        return await self._process.end()


class RunStep(Step):
    """A command."""

    async def run(self, write: Write) -> int:
        """See `Step.run`."""
        command = self._fields["run"]
        words = command if isinstance(command, list) else ["/bin/sh", "-ec", command]
        return await self._execute(write, words, **self._fields.get("environment", {}))


class SaveCacheStep(Step):
    """A path of the working folder, saved as an archive; a key that is taken stays as it is."""

    async def run(self, write: Write) -> int:
        """See `Step.run`."""
        key, path = _one(self._fields["save_cache"]), self._fields["path"]
        caches, group = self._place.caches, self._place.cache_group
        try:
            await caches.find(group, key)
        except ErrNotExist:
            pass
        else:
            await write(f"cache {key} is there already\n".encode())
            return 0
        code = await self._execute(write, ["tar", "-cf", self._place.archive, "--", path])
        if code == 0 and not self._stopped:
            try:
                with open(self._place.archive, "rb") as file:  # noqa: ASYNC230 - opened, not read
                    info = await self._transferred(caches.save(group, key, file))
            except _Stopped:
                return -signal.SIGTERM
            except ErrExist:
                await write(f"cache {key} was saved by another\n".encode())
            else:
                await write(f"cache {key} saved, {info.size} bytes\n".encode())
        return code


class RestoreCacheStep(Step):
    """The first of some keys, or newest cache that begins so; none is no failure."""

    async def run(self, write: Write) -> int:
        """See `Step.run`."""
        keys = self._fields["restore_cache"]
        for key in keys if isinstance(keys, list) else [keys]:
            try:
                found = await self._transferred(self._fetch(key))
            except _Stopped:
                return -signal.SIGTERM
            if found is not None:
                await write(f"cache {found} restored\n".encode())
                return await self._execute(write, ["tar", "-xf", self._place.archive])
        await write(b"there is no such cache\n")
        return 0

    async def _fetch(self, key: str) -> str | None:
        """The key of the cache that was brought; None if there is none."""
        for which in ({"key": key}, {"prefix": key}):
            try:
                info, reader = await self._place.caches.restore(self._place.cache_group, **which)
            except ErrNotExist:
                continue
            try:
                with open(self._place.archive, "wb") as file:  # noqa: ASYNC230 - written in threads
                    while data := await reader.read(_CHUNK):
                        await asyncio.to_thread(file.write, data)
            finally:
                await reader.close()
            return info.key
        return None


_KINDS: dict[str, type[Step]] = {
    "run": RunStep,
    "save_cache": SaveCacheStep,
    "restore_cache": RestoreCacheStep,
}


def make(place: Place, fields: Mapping[str, Any]) -> Step:
    """The step of its fields in the configuration."""
    kind = next(kind for name, kind in _KINDS.items() if name in fields)
    return kind(place, fields)


def _one(value: Any) -> str:
    return str(value[0] if isinstance(value, list) else value)
