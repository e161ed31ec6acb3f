"""Responses that are streams: the head at once, each chunk when it is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from objectstorage.errors import ErrBadRequest

__all__ = ["StreamedResponse", "count_of", "flag_of", "head_response"]

# What a server may hold for one slow client, beyond what its sockets do: it copies
# what it is sent, and only then waits.
PIECE = 64 * 1024

# A proxy that collects or compresses would keep a follower waiting.
UNBUFFERED = {
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
    "x-content-type-options": "nosniff",
}


class StreamedResponse(Response):
    """Sends `chunks`; `close` is awaited in the end, also when the client went away."""

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        close: Callable[[], Awaitable[object]],
        headers: Mapping[str, str],
        media_type: str,
    ) -> None:
        super().__init__(None, headers={**UNBUFFERED, **headers}, media_type=media_type)
        _only_length_of(self, headers)
        self._chunks = chunks
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, or until the client is gone."""
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.wait((sending, leaving))
            await self._close()
        if not sending.cancelled():
            sending.result()

    async def _send(self, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        # Some servers hold the head back until there is a body.
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        async for chunk in self._chunks:
            for start in range(0, len(chunk), PIECE):
                piece = chunk[start : start + PIECE] if len(chunk) > PIECE else chunk
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def head_response(headers: Mapping[str, str], media_type: str) -> Response:
    """The same without the stream, for HEAD."""
    response = Response(None, headers={**UNBUFFERED, **headers}, media_type=media_type)
    _only_length_of(response, headers)
    return response


def _only_length_of(response: Response, headers: Mapping[str, str]) -> None:
    # Starlette takes "no body yet" for a body of no bytes.
    if "content-length" not in headers:
        del response.headers["content-length"]


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def count_of(params: Mapping[str, str], name: str) -> int | None:
    """A parameter that counts something; None if it isn't given, `ErrBadRequest` if it is none."""
    text = params.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ErrBadRequest(f"{name} is a number that is not negative", details={"parameter": name})
    return int(text)


def flag_of(params: Mapping[str, str], name: str) -> bool:
    """A parameter that is true or false; false if it isn't given."""
    text = params.get(name, "false")
    if text not in ("true", "false", "1", "0"):
        raise ErrBadRequest(f"{name} is true or false", details={"parameter": name})
    return text in ("true", "1")
