"""Caches: saved, restored, listed."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any, BinaryIO

from objectstorage.client._async.calls import AsyncCalls, AsyncStream, parsed
from objectstorage.client.types import Cache, Page, Result

__all__ = ["AsyncCaches"]


class AsyncCaches:
    """The caches of a service."""

    def __init__(self, calls: AsyncCalls, path: str = "/caches") -> None:
        self._calls = calls
        self._path = path

    async def save(
        self,
        group: str,
        key: str,
        data: bytes | BinaryIO | Iterable[bytes] | AsyncIterable[bytes],
    ) -> Result[Cache]:
        """Save what `data` gives, as httpx's `content` takes it; `ErrExist` if the key is taken."""
        params = {"group": group, "key": key}
        response = await self._calls.call("PUT", self._path, params=params, content=data)
        return Result(parsed(response, Cache.parse, response.json), response)

    async def find(
        self, group: str, key: str | None = None, *, prefix: str | None = None
    ) -> Result[Cache]:
        """The cache of that key, or the newest whose key begins with `prefix`."""
        params = {"group": group, "key": key, "prefix": prefix}
        response = await self._calls.call("HEAD", self._path, params=params)
        return Result(parsed(response, Cache.of, response.headers), response)

    async def restore(
        self, group: str, key: str | None = None, *, prefix: str | None = None
    ) -> AsyncStream[Cache]:
        """Its bytes."""
        params = {"group": group, "key": key, "prefix": prefix}
        return await self._calls.stream(self._path, Cache.of, params=params)

    async def delete(self, group: str, key: str) -> Result[None]:
        """Delete it; no error if there is none."""
        params = {"group": group, "key": key}
        return Result(None, await self._calls.call("DELETE", self._path, params=params))

    async def page(
        self, group: str, prefix: str = "", *, limit: int | None = None, token: str | None = None
    ) -> Result[Page[Cache]]:
        """A part of the group's caches; the first without a `token`."""
        params = {"group": group, "prefix": prefix, "limit": limit, "token": token}
        response = await self._calls.call("GET", f"{self._path}/list", params=params)
        return Result(parsed(response, _page, response.json), response)

    async def list(self, group: str, prefix: str = "") -> AsyncIterator[Cache]:
        """All of them, page by page."""
        token: str | None = None
        while True:
            page = (await self.page(group, prefix, token=token)).value
            for cache in page.items:
                yield cache
            token = page.token
            if token is None:
                return


def _page(fields: Any) -> Page[Cache]:
    return Page([Cache.parse(one) for one in fields["caches"]], fields["next_token"])
