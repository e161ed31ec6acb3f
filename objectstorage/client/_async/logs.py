"""Logs: read and followed."""

from __future__ import annotations

from objectstorage.client._async.calls import AsyncCalls, AsyncStream, parsed
from objectstorage.client.types import Log, Result

__all__ = ["AsyncLogs"]


class AsyncLogs:
    """The logs of a service."""

    def __init__(self, calls: AsyncCalls, path: str = "/logs") -> None:
        self._calls = calls
        self._path = path

    async def stat(self, name: str) -> Result[Log]:
        """What is known of a log."""
        response = await self._calls.call("HEAD", self._path, params={"name": name})
        return Result(parsed(response, Log.of, response.headers), response)

    async def read(
        self, name: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncStream[Log]:
        """What is there now, from `offset` on, at most `length` bytes."""
        params = {"name": name, "offset": offset, "length": length}
        return await self._calls.stream(self._path, Log.of, params=params, offset=offset)

    async def follow(self, name: str, *, offset: int = 0) -> AsyncStream[Log]:
        """What is there and what comes, until the log is finished.

        Given as soon as the service has found the log, before there is a byte.
        When the connection breaks: `ErrUnavailable`; follow again from the
        stream's `offset`.
        """
        params = {"name": name, "offset": offset, "follow": "true"}
        return await self._calls.stream(
            self._path, Log.of, params=params, offset=offset, patient=True
        )
