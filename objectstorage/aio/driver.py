"""The driver that runs S3's effects on an event loop, and asynchronous sources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any, TypeVar

from objectstorage.bodies import ChunkSource, Gatherer, Source, check_size, pull
from objectstorage.errors import StorageError
from objectstorage.s3.effects import (
    Block,
    Close,
    Connect,
    Effects,
    Emit,
    Pull,
    ReadBody,
    Sleep,
    Spawn,
    Task,
    WaitAny,
)
from objectstorage.s3.exchange import Exchange
from objectstorage.s3.shortcut import MORE, Shortcut

__all__ = ["AsyncDriver", "AsyncSource", "read_source"]

_T = TypeVar("_T")


class AsyncSource(ChunkSource):
    """Bytes of an asynchronous iterable, taken piece by piece."""

    def __init__(self, chunks: AsyncIterable[Any], size: int | None) -> None:
        check_size(size)
        super().__init__(size)
        self._chunks: AsyncIterator[Any] = aiter(chunks)

    async def aread(self, n: int) -> memoryview:
        """Up to `n` bytes; empty at the end, `ErrIntegrity` before a promised one."""
        while self._wanting and self._accept(await anext(self._chunks, None)):
            pass
        return self._cut(n)


async def read_source(source: Source, n: int) -> bytes | bytearray | memoryview:
    """`n` bytes of a source, fewer only at its end; files are read in a thread."""
    if isinstance(source, AsyncSource):
        first = await source.aread(n)
        if len(first) == n or not first:
            return first
        gathered = Gatherer(first, n)
        while gathered.missing and gathered.add(await source.aread(gathered.missing)):
            pass
        return gathered.result()
    if source.in_memory:
        return pull(source, n)
    return await asyncio.get_running_loop().run_in_executor(None, pull, source, n)


class AsyncDriver:
    """Runs effects by awaiting; tasks beside each other are tasks of the loop."""

    def __init__(self, connect: Callable[[str], Any], origin: str, storage: str) -> None:
        self._storage = storage
        self._connect = connect
        self._transport = connect(origin)
        self._former: list[Any] = []

    async def run(
        self,
        steps: Effects[_T] | Shortcut[_T],
        operation: str | None = None,
        key: str | None = None,
    ) -> _T:
        """Run to the end and give the result; an error says what failed, and where."""
        try:
            if isinstance(steps, Shortcut):
                try:
                    steps.outcome = reply = await self._transport.send(steps.exchange)
                except BaseException as exc:
                    steps.outcome = exc
                else:
                    result = steps.finish(reply)
                    if result is not MORE:
                        return result
                steps = steps.resume()
            send, throw = steps.send, steps.throw
            effect = send(None)
            while True:
                try:
                    value = (
                        await self._transport.send(effect)
                        if type(effect) is Exchange
                        else await self._perform(effect)
                    )
                except BaseException as exc:
                    effect = throw(exc)
                else:
                    effect = send(value)
        except StopIteration as stop:
            return stop.value
        except StorageError as exc:
            raise exc.at(key=key, operation=operation, storage=self._storage)

    async def iterate(self, generator: Effects[Any]) -> AsyncIterator[Any]:
        """Run, yielding each `Emit`'s batch; closing the iterator closes the generator."""
        try:
            try:
                effect = generator.send(None)
                while True:
                    if type(effect) is Emit:
                        yield effect.batch
                        effect = generator.send(None)
                        continue
                    try:
                        value = await self._perform(effect)
                    except BaseException as exc:
                        effect = generator.throw(exc)
                    else:
                        effect = generator.send(value)
            except StopIteration:
                return
        finally:
            generator.close()

    async def _perform(self, effect: Any) -> Any:
        kind = type(effect)
        if kind is Exchange:
            return await self._transport.send(effect)
        if kind is ReadBody:
            return await self._transport.read(effect.reply, effect.n)
        if kind is Pull:
            return await read_source(effect.source, effect.n)
        if kind is Spawn:
            return Task(asyncio.ensure_future(self.run(effect.generator)))
        if kind is WaitAny:
            done, _ = await asyncio.wait(
                [task.future for task in effect.tasks], return_when=asyncio.FIRST_COMPLETED
            )
            return [task for task in effect.tasks if task.future in done]
        if kind is Sleep:
            return await asyncio.sleep(effect.seconds)
        if kind is Close:
            return await self._transport.abort(effect.reply)
        if kind is Block:
            return await asyncio.get_running_loop().run_in_executor(None, effect.function)
        if kind is Connect:
            self._former.append(self._transport)
            self._transport = self._connect(effect.origin)
            return None
        raise TypeError(f"no effect: {effect!r}")

    def after_fork(self) -> None:
        """In a child: nothing here is to be used, nor let go."""
        for transport in (self._transport, *self._former):
            transport.after_fork()

    async def close(self) -> None:
        """Let the connections go."""
        for transport in (self._transport, *self._former):
            await transport.close()
