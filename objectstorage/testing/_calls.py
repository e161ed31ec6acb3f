"""One request on its way through the fault proxy."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import NamedTuple

from objectstorage.s3._http import ReplyParser, head_end

__all__ = ["LIMIT", "Answer", "Call", "Request"]

LIMIT = 1024 * 1024
"""Bytes of a head."""


class Request(NamedTuple):
    """What a client asked: `path` with its query, as sent; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]


class Answer(NamedTuple):
    """A reply: status, headers (without framing), and the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def encode(self, method: str) -> bytes:
        """The bytes on the wire, framed by Content-Length."""
        headers = dict(self.headers)
        if method != "HEAD":
            headers["content-length"] = str(len(self.body))
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"HTTP/1.1 {self.status} Status\r\n{lines}\r\n".encode("latin-1")
        return head if method == "HEAD" else head + self.body


class Call:
    """One request on its way, as a fault gets it into its hands."""

    def __init__(
        self,
        upstream: tuple[str, int],
        forwarded: list[Request],
        request: Request,
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._upstream = upstream
        self._forwarded = forwarded
        self.request = request
        self.writer = writer
        self.going = True  # whether the connection serves another request
        self._reader = reader
        self._head = head
        self._left = int(request.headers.get("content-length", 0))
        self._body = b""

    async def read(self, n: int | None = None) -> None:
        """Receive `n` more bytes of the request's body, or the rest of it."""
        piece = await self._reader.readexactly(min(self._left, self._left if n is None else n))
        self._body += piece
        self._left -= len(piece)

    async def silence(self) -> None:
        """Say nothing for as long as the client waits."""
        await self._reader.read(1)
        self.going = False

    async def forward(self, *, whole: bool = True) -> Answer:
        """Pass the request on and receive the server's reply; in part: then reset, no reply."""
        if whole:
            await self.read()
        self._forwarded.append(self.request)
        reader, writer = await asyncio.open_connection(*self._upstream, limit=LIMIT)
        try:
            writer.write(self._head + self._body)
            await writer.drain()
            if not whole:
                _reset(writer)
                return Answer(0, {}, b"")
            return await read_answer(reader, self.request.method)
        finally:
            writer.close()

    async def reply(self, answer: Answer) -> None:
        """Give the client a reply."""
        await self.send(answer.encode(self.request.method))
        # what was not received of the request would be taken for the next one
        if self._left or answer.headers.get("connection", "").lower() == "close":
            self.going = False

    async def send(self, data: bytes) -> None:
        """Give the client bytes."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Break the client's connection with a TCP reset."""
        _reset(self.writer)
        self.going = False


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def read_answer(reader: asyncio.StreamReader, method: str) -> Answer:
    """A whole reply off the wire, its framing undone."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        parser = ReplyParser()
        parser.head(head[: head_end(head, LIMIT)], method)
        if parser.status >= 200:
            break
    headers = dict(parser.headers)
    if parser.length is not None:
        body = await reader.readexactly(parser.length)
    else:
        pieces: list[bytes] = []
        while not parser.complete:
            data = await reader.read(65536)
            if not data:
                break
            pieces += parser.chunks(data) if parser.chunked else [data]
        body = b"".join(pieces)
        headers.pop("transfer-encoding", None)
    headers.pop("connection", None)
    return Answer(parser.status, headers, body)
