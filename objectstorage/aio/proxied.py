"""A blocking transport behind the asyncio seam: the one that goes by way of a proxy."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["ThreadedTransport"]


class ThreadedTransport:
    """Each exchange in a thread of a bounded pool."""

    def __init__(self, transport: Any, threads: int) -> None:
        self._transport = transport
        self._pool = ThreadPoolExecutor(threads, "objectstorage-proxy")

    async def _hop(self, function: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    async def send(self, exchange: Any) -> Any:
        """See `Transport.send`."""
        return await self._hop(self._transport.send, exchange)

    async def read(self, reply: Any, n: int) -> bytes:
        """See `Transport.read`."""
        data: bytes = await self._hop(self._transport.read, reply, n)
        return data

    async def abort(self, reply: Any) -> None:
        """See `Transport.abort`."""
        await self._hop(self._transport.abort, reply)

    def after_fork(self) -> None:
        """See `AsyncTransport.after_fork`."""
        self._transport.after_fork()

    async def close(self) -> None:
        """See `Transport.close`."""
        await self._hop(self._transport.close)
        self._pool.shutdown(wait=False)
