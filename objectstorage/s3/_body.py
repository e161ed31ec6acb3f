"""The bodies of replies, received by blocking."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from objectstorage.s3._http import MalformedReply, ReplyParser
from objectstorage.s3._sockets import RECEIVE, Connection
from objectstorage.s3.exchange import TransportError, failure

__all__ = ["Body"]


class Body:
    """A reply's body as it comes in; it lets its connection go at the end.

    `rest` is here and decoded; `left` bytes are still to come, None if unsaid.
    """

    __slots__ = ("_conn", "_deadline", "_parser", "_place", "left", "rest")

    def __init__(
        self, conn: Connection, parser: ReplyParser, deadline: float | None, place: str
    ) -> None:
        self._conn: Connection | None = conn
        self._parser = parser
        self._deadline = deadline
        self._place = place
        self.left = parser.length
        self.rest = memoryview(b"")

    def __del__(self) -> None:
        # A reply that was let go before its end must not keep its connection.
        self.abort()

    def abort(self) -> None:
        """Drop the connection, if there is one still."""
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.pool.drop(conn)

    def start(self, rest: bytes) -> None:
        """Take what came in behind the head."""
        self._guard(self._start, rest)

    def read(self, n: int) -> bytes:
        """At most `n` bytes; b"" at the end only."""
        if not self.rest and self.left != 0:
            if self.left is not None:
                return self._guard(self._some, min(n, self.left))
            self._guard(self._decode, None)
        piece = bytes(self.rest[:n])
        self.rest = self.rest[n:]
        return piece

    def read_into(self, view: memoryview) -> int:
        """Fill the view, or the front of it; 0 at the end only."""
        if not self.rest and self.left:
            return self._guard(self._into, view[: self.left])
        piece = self.read(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def read_all(self, into: memoryview | None, limit: int | None) -> bytes | memoryview:
        """The whole body, in a buffer if one is given; a longer one is an error."""
        if self.left is None:
            return self._read_unknown(into, limit)
        length = len(self.rest) + self.left
        most = limit if into is None else len(into)
        if most is not None and length > most:
            raise self._too_long(most)
        # a BytesIO hands its buffer over without copying it
        buffer = io.BytesIO(bytes(length if into is None else 0))
        with buffer.getbuffer() if into is None else into[:length] as view:
            at = 0
            while at < length:
                at += self.read_into(view[at:])
        return buffer.getvalue() if into is None else into[:length]

    def _read_unknown(self, into: memoryview | None, limit: int | None) -> bytes | memoryview:
        pieces, length = [], 0
        most = limit if into is None else len(into)
        while piece := self.read(RECEIVE):
            length += len(piece)
            if most is not None and length > most:
                raise self._too_long(most)
            pieces.append(piece)
        if into is None:
            return b"".join(pieces)
        into[:length] = b"".join(pieces)
        return into[:length]

    def read_front(self, most: int) -> bytes:
        """The body up to `most` bytes; the connection is dropped if there are more."""
        pieces = []
        while most and (piece := self.read(most)):
            most -= len(piece)
            pieces.append(piece)
        self.abort()
        return b"".join(pieces)

    def _too_long(self, limit: int) -> TransportError:
        self.abort()
        return TransportError(f"{self._place}: the body exceeds {limit} bytes", sent="all")

    def _guard(self, receive: Callable[[Connection, Any], Any], what: Any) -> Any:
        """Receive, then let the connection go if that was the end; drop it on any error."""
        conn = self._conn
        if conn is None:
            raise TransportError(f"{self._place}: the body was given up", sent="all")
        try:
            if self._deadline is not None:
                conn.limit(self._deadline)
            got = receive(conn, what)
        except BaseException as exc:
            self.abort()
            if isinstance(exc, OSError | MalformedReply):
                raise failure(exc, self._place, "all") from exc
            raise
        parser = self._parser
        if parser.complete:
            self.left = 0
        if self.left == 0:
            self._conn = None
            if parser.keep_alive and not parser.trailing:
                conn.pool.put_back(conn)
            else:
                conn.pool.drop(conn)
        return got

    def _start(self, conn: Connection, rest: bytes) -> None:
        if self._parser.chunked:
            self.rest = memoryview(b"".join(self._parser.chunks(rest)))
        elif self.left is None:
            self.rest = memoryview(rest)
        else:
            self.rest = memoryview(rest)[: self.left]
            self._parser.trailing = len(rest) > self.left
            self.left -= len(self.rest)

    def _some(self, conn: Connection, n: int) -> bytes:
        data = conn.recv_some(n)
        self._count(len(data))
        return data

    def _into(self, conn: Connection, view: memoryview) -> int:
        got = conn.recv_into(view)
        self._count(got)
        return got

    def _count(self, got: int) -> None:
        assert self.left is not None
        if not got:
            raise ConnectionError(f"the body was cut short, {self.left} bytes are missing")
        self.left -= got

    def _decode(self, conn: Connection, _: None) -> None:
        """Some bytes of a body whose length shows only in reading."""
        parser = self._parser
        while not self.rest and not parser.complete:
            data = conn.recv(RECEIVE)
            if parser.chunked:
                if not data:
                    raise ConnectionError("the body was cut short between its chunks")
                self.rest = memoryview(b"".join(parser.chunks(data)))
            elif data:
                self.rest = memoryview(data)
            else:
                parser.complete = True
