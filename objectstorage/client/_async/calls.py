"""One call: a request, its reply, or the error that it says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Generic, Self, TypeVar

import httpx

from objectstorage.client.replies import CODE_HEADER, error_of
from objectstorage.client.urls import place_of
from objectstorage.errors import ErrFromRemote, ErrUnavailable

__all__ = ["AsyncCalls", "AsyncStream", "parsed"]

_T = TypeVar("_T")
_MOST = 1024 * 1024  # bytes of an error's body that are read


class AsyncCalls:
    """Sends requests below one URL, by the caller's httpx client."""

    def __init__(self, url: str, http: httpx.AsyncClient, headers: Mapping[str, str]) -> None:
        self.url, self._headers = place_of(url, headers)
        self._http = http

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The reply, read; `ErrFromRemote` for one that is no success."""
        response = await self.start(method, path, **options)
        try:
            await response.aread()
        except httpx.RequestError as exc:
            raise unavailable(exc) from exc
        finally:
            await response.aclose()
        return response

    async def start(
        self, method: str, path: str, *, params: Mapping[str, Any], **options: Any
    ) -> httpx.Response:
        """The reply's head; the body is the caller's to read and to close."""
        given = {name: value for name, value in params.items() if value is not None}
        request = self._http.build_request(
            method, self.url + path, params=given, headers=self._headers, **options
        )
        try:
            response = await self._http.send(request, stream=True)
        except httpx.RequestError as exc:
            raise unavailable(exc) from exc
        if response.is_success:
            return response
        body = bytearray()
        try:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _MOST:
                    break
        except httpx.RequestError as exc:
            raise unavailable(exc) from exc
        finally:
            await response.aclose()
        raise error_of(response.status_code, bytes(body), response.headers.get(CODE_HEADER))

    async def stream(
        self,
        path: str,
        parse: Callable[[httpx.Headers], _T],
        *,
        params: Mapping[str, Any],
        offset: int = 0,
        patient: bool = False,
    ) -> AsyncStream[_T]:
        """The body of a GET, and what `parse` makes of its headers.

        With `patient` it may be silent for as long as it likes.
        """
        limits = self._http.timeout
        if patient:
            limits = httpx.Timeout(
                connect=limits.connect, write=limits.write, pool=limits.pool, read=None
            )
        response = await self.start("GET", path, params=params, timeout=limits)
        try:
            return AsyncStream(parsed(response, parse, response.headers), response, offset)
        except BaseException:
            await response.aclose()
            raise


def parsed(response: httpx.Response, parse: Callable[[Any], _T], source: Any) -> _T:
    """What `parse` makes of `source`; `ErrFromRemote` if that is no service's reply."""
    try:
        return parse(source() if callable(source) else source)
    except (KeyError, ValueError, TypeError, AttributeError) as exc:
        status = response.status_code
        raise ErrFromRemote(f"unknown api reply ({status})", status=status) from exc


def unavailable(exc: httpx.RequestError) -> ErrUnavailable:
    """What is raised, from httpx's own, when there was no reply or only part of one."""
    return ErrUnavailable(f"no whole reply: {type(exc).__name__}")


class AsyncStream(Generic[_T]):
    """A body as it comes; iterate once, close it. `value` and `response` as of a `Result`."""

    def __init__(self, value: _T, response: httpx.Response, offset: int = 0) -> None:
        self.value = value
        self.response = response
        self.offset = offset
        """Where the next byte stands: to go on after the connection broke."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self.response.aiter_bytes():
                self.offset += len(chunk)
                yield chunk
        except httpx.RequestError as exc:
            raise unavailable(exc) from exc

    async def close(self) -> None:
        """Let go of the connection."""
        await self.response.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
