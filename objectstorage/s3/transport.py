"""How requests reach a server and replies come back: the seam, and the one that blocks.

Above it everything is generators and bytes; below it are sockets. A transport
belongs to one host, keeps connections alive, sends a request once and never
retries: what is worth another try is decided in one place, above.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

from objectstorage.bodies import Source
from objectstorage.errors import ErrClosed, ErrIntegrity
from objectstorage.s3._http import Buffer, MalformedReply, ReplyParser, head_end, is_interim
from objectstorage.s3._sockets import RECEIVE, Connection, Pool, TLSConnection
from objectstorage.s3.effects import pull

__all__ = ["Exchange", "Reply", "Sent", "Stats", "StreamBody", "Transport", "TransportError"]

Sent: TypeAlias = Literal["nothing", "some", "all"]
"""How much of a request may have reached the server."""

_JOIN = 64 * 1024  # a body up to here is sent in one piece with the head


class TransportError(OSError):
    """No usable reply: refused, reset, cut short, malformed, timed out.

    `sent`: "nothing" if no byte of the request was taken, "some" if the server
    can't have the whole request, "all" if it may. `timeout`: time ran out.
    """

    def __init__(self, message: str, *, sent: Sent, timeout: bool = False) -> None:
        super().__init__(message)
        self.sent: Sent = sent
        self.timeout = timeout

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_error, (str(self), self.sent, self.timeout)


def failure(exc: BaseException, place: str, sent: Sent) -> TransportError:
    """What went wrong at `place`, from what the system or the parser said."""
    # on a blocking socket the kernel's timeout is EAGAIN
    timeout = isinstance(exc, TimeoutError | BlockingIOError)
    text = "timed out" if isinstance(exc, BlockingIOError) else str(exc) or type(exc).__name__
    return TransportError(f"{place}: {text}", sent=sent, timeout=timeout)


def _restore_error(message: str, sent: Sent, timeout: bool) -> TransportError:
    return TransportError(message, sent=sent, timeout=timeout)


class StreamBody:
    """A request body of known length that is made while it is sent; here: the source's bytes.

    `length`: bytes on the wire. The transport reads `want()` bytes from
    `source`, fewer only at its end, sends what `feed` makes of them, until
    `want()` is 0 or the source ends, then sends what `finish` gives.
    """

    def __init__(self, source: Source, length: int) -> None:
        self.source = source
        self.length = length
        self._left = length

    def want(self) -> int:
        """Bytes of the source wanted next; 0 when there are enough."""
        return min(self._left, 256 * 1024)

    def feed(self, data: Buffer) -> Sequence[Buffer]:
        """What to send for the next bytes of the source."""
        self._left -= len(data)
        return [data]

    def finish(self) -> Sequence[Buffer]:
        """What to send after the last of them."""
        return []


class Exchange:
    """One request as bytes, and how to read its reply.

    method, head: the request's; `head` is complete, its blank line included.
    body: sent after it, without a copy when it is large.
    stream: give the reply after its head if it is a success; the body is read
    piece by piece. An error's body is always read, up to a cap.
    deadline: for the whole exchange, on the monotonic clock.
    into: receives a success's body; `Reply.body` is then a view of it.
    max_body: a longer body is an error, unless it is streamed.

    `sent` tells how far the request has got, also after an interrupt.
    """

    __slots__ = (
        "body",
        "deadline",
        "head",
        "into",
        "max_body",
        "method",
        "pulling",
        "sent",
        "stream",
    )

    def __init__(
        self,
        method: str,
        head: bytes,
        body: Buffer | StreamBody | None = None,
        *,
        stream: bool = False,
        deadline: float | None = None,
        into: memoryview | None = None,
        max_body: int | None = None,
    ) -> None:
        self.method = method
        self.head = head
        self.body = body
        self.stream = stream
        self.deadline = deadline
        self.into = into
        self.max_body = max_body
        self.sent: Sent = "nothing"
        # while the caller's data is read, whose errors are not the network's
        self.pulling = False

    def __repr__(self) -> str:
        return f"<Exchange {self.method}>"  # the head holds a signature


class Reply:
    """What came back.

    `status`; `headers`, lower-case names, repeated ones joined by ", ";
    `body`: bytes, a view of the caller's buffer, or b"" while it is streamed;
    `length`: bytes of body behind the head (0 after HEAD), None if unsaid.
    """

    __slots__ = ("_stream", "body", "headers", "length", "status")

    def __init__(
        self,
        status: int,
        headers: dict[str, str],
        body: bytes | memoryview,
        length: int | None,
        stream: Any = None,  # what the transport that made it keeps for a streamed body
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.length = length
        self._stream = stream

    def __repr__(self) -> str:
        return f"<Reply {self.status}>"


class Stats:
    """Counters of one transport; under threads they may miss a few.

    `opened` connections, requests that `reused` one, idle ones found dead and
    `replaced`. `retried` is for whoever retries to count.
    """

    __slots__ = ("_pool", "opened", "replaced", "retried", "reused")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.opened = self.reused = self.replaced = self.retried = 0

    @property
    def in_use(self) -> int:
        """Connections that are serving a request or an unfinished body."""
        return self._pool.limit - len(self._pool.tokens)


class _Body:
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
        if limit is not None and length > limit:
            raise self._too_long(limit)
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


class Transport:
    """Blocking, over a pool of kept-alive connections to one host. Safe across threads.

    tls: None for plain TCP. Times in seconds: `connect_timeout` for TCP and for
    TLS, `read_timeout` for any single wait for the peer, `pool_timeout` for one
    of `max_connections` to come free, `idle_timeout` after which a connection
    is not used again. Sizes in bytes.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
        *,
        connect_timeout: float = 5.0,
        read_timeout: float = 30.0,
        max_connections: int = 64,
        max_head: int = 64 * 1024,
        max_error_body: int = 1024 * 1024,
        server_hostname: str | None = None,
        pool_timeout: float = 300.0,
        idle_timeout: float = 60.0,
    ) -> None:
        self.host = host
        self.port = port
        self._place = f"{host}:{port}"
        self._tls = tls
        self._server_hostname = server_hostname or host
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._pool_timeout = pool_timeout
        self._idle_timeout = idle_timeout
        self._max_head = max_head
        self._max_error_body = max_error_body
        self._pool = Pool(max_connections)
        self.stats = Stats(self._pool)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._place}>"

    def send(self, exchange: Exchange) -> Reply:
        """Send one request and read its reply; `TransportError` if there is none."""
        exchange.sent = "nothing"
        conn = self._take(exchange.deadline)
        try:
            early = self._send_request(conn, exchange)
            parser, rest = self._read_head(conn, exchange, early)
        except BaseException as exc:
            conn.pool.drop(conn)
            if isinstance(exc, OSError | MalformedReply) and not exchange.pulling:
                raise failure(exc, self._place, exchange.sent) from exc
            raise
        status, length = parser.status, parser.length
        if (
            len(rest) == length
            and parser.keep_alive
            and exchange.into is None
            and not exchange.stream
        ):
            # the short way of nearly all replies
            conn.pool.put_back(conn)
            return Reply(status, parser.headers, rest, length)
        body = _Body(conn, parser, exchange.deadline, self._place)
        body.start(rest)
        if status >= 300:
            return Reply(status, parser.headers, body.read_front(self._max_error_body), length)
        if exchange.stream:
            return Reply(status, parser.headers, b"", length, body)
        data = body.read_all(exchange.into, exchange.max_body)
        return Reply(status, parser.headers, data, length)

    def read(self, reply: Reply, n: int) -> bytes:
        """At most `n` bytes of a streamed body, b"" at its end only.

        `TransportError` if it was cut short.
        """
        return reply._stream.read(n) if reply._stream is not None and n > 0 else b""

    def read_into(self, reply: Reply, view: memoryview) -> int:
        """Fill `view`, or the front of it, from a streamed body; 0 at its end only."""
        return reply._stream.read_into(view) if reply._stream is not None and len(view) else 0

    def abort(self, reply: Reply) -> None:
        """Give up a streamed body; its connection is closed unless that was at its end."""
        if reply._stream is not None:
            reply._stream.abort()

    def close(self) -> None:
        """Close idle connections now, the others when they have served."""
        self._pool.close()

    def after_fork(self) -> None:
        """In a forked child: start with no connections; the parent's stay untouched."""
        self._pool.forget()
        closed, self._pool = self._pool.closed, Pool(self._pool.limit)
        self._pool.closed = closed
        self.stats = Stats(self._pool)

    # -- connections -----------------------------------------------------------

    def _take(self, deadline: float | None) -> Connection:
        """A connection that is good for one request."""
        pool = self._pool
        timeout = self._pool_timeout
        if deadline is not None:
            timeout = min(timeout, deadline - time.monotonic())
        try:
            conn = pool.take(timeout)
        except TimeoutError as exc:
            raise failure(exc, self._place, "nothing") from exc
        try:
            if pool.closed:
                raise ErrClosed("the store was closed")
            if conn is not None:
                idle = time.monotonic() - conn.idle_since
                if idle < self._idle_timeout and conn.quiet():
                    conn.limit(deadline)
                    self.stats.reused += 1
                    return conn
                conn.close()
                self.stats.replaced += 1
            return self._connect(pool, deadline)
        except BaseException as exc:
            if conn is not None:
                conn.close()
            pool.put_back_leave()
            if isinstance(exc, OSError):
                raise failure(exc, self._place, "nothing") from exc
            raise

    def _connect(self, pool: Pool, deadline: float | None) -> Connection:
        timeout = self._connect_timeout
        if deadline is not None:
            timeout = min(timeout, deadline - time.monotonic())
            if timeout <= 0:
                raise TimeoutError("the deadline passed")
        sock = self._open(timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is None:
                conn = Connection(sock, pool, self._read_timeout)
            else:
                # An end without TLS's own goodbye may be somebody else's doing.
                tls = sock = self._tls.wrap_socket(
                    sock, server_hostname=self._server_hostname, suppress_ragged_eofs=False
                )
                conn = TLSConnection(tls, pool, self._read_timeout)
            conn.limit(deadline)
        except BaseException:
            sock.close()
            raise
        self.stats.opened += 1
        pool.add(conn)
        return conn

    def _open(self, timeout: float) -> socket.socket:
        """A TCP connection towards the server."""
        return socket.create_connection((self.host, self.port), timeout)

    # -- one request -----------------------------------------------------------

    def _send_request(self, conn: Connection, exchange: Exchange) -> bytes:
        """Send all of it -> b""; or the reply's first bytes, if it came before that."""
        head, body = exchange.head, exchange.body
        if body is None:
            data = head
        elif isinstance(body, StreamBody):
            return self._send_stream(conn, exchange, body)
        elif len(body) <= _JOIN:
            data = head + body
        else:
            return self._send_views(conn, exchange, [memoryview(head), memoryview(body)], last=True)
        # Set first: an interrupt may strike when the kernel has taken it all.
        exchange.sent = "all"
        try:
            count = conn.send(data)
        except OSError:
            exchange.sent = "nothing"
            raise
        if count == len(data):
            return b""
        exchange.sent = "some"
        return self._send_views(conn, exchange, [memoryview(data)[count:]], last=True)

    def _send_stream(self, conn: Connection, exchange: Exchange, body: StreamBody) -> bytes:
        """The same for a body that is made meanwhile; never a byte more than it declared."""
        views = [memoryview(exchange.head)]
        left = body.length
        more = True
        while more:
            exchange.pulling = True
            want = body.want()
            data = pull(body.source, want) if want else b""
            pieces = list(body.feed(data)) if data else []
            more = bool(data) and body.want() > 0
            if not more:
                pieces += body.finish()
            left -= sum([len(piece) for piece in pieces])
            if left < 0 or (left and not more):
                raise ErrIntegrity(f"the data is not the {body.length} bytes that were declared")
            exchange.pulling = False
            views += [memoryview(piece) for piece in pieces]
            if early := self._send_views(conn, exchange, views, last=not more):
                return early
            views = []
        return b""

    def _send_views(
        self, conn: Connection, exchange: Exchange, views: list[memoryview], *, last: bool
    ) -> bytes:
        """Send buffers without a copy, `last` if they complete the request."""
        while views:
            readable, writable = conn.wait()
            if readable and (early := conn.recv_now()) is not None:
                if not early:
                    raise ConnectionError("closed while the request was sent")
                if not is_interim(early):
                    return early
            if not writable:
                continue
            before, exchange.sent = exchange.sent, "all" if last else "some"
            try:
                count = conn.send_now(views)
            except OSError:
                exchange.sent = before
                raise
            while views and count >= len(views[0]):
                count -= len(views.pop(0))
            if views:
                views[0] = views[0][count:]
                exchange.sent = "some"
            if exchange.deadline is not None:
                conn.limit(exchange.deadline)
        return b""

    def _read_head(
        self, conn: Connection, exchange: Exchange, data: bytes
    ) -> tuple[ReplyParser, bytes]:
        """The reply's head, interim ones skipped, and what came in behind it."""
        if not data:
            data = conn.recv(RECEIVE)
        searched = skipped = 0
        while True:
            end = head_end(data, self._max_head - skipped, searched=searched) if data else 0
            if end:
                parser = ReplyParser()
                parser.head(data[:end], exchange.method)
                data = data[end:]
                if parser.status >= 200:
                    break
                searched, skipped = 0, skipped + end
                continue
            searched = len(data)
            if exchange.deadline is not None:
                conn.limit(exchange.deadline)
            more = conn.recv(RECEIVE)
            if not more:
                raise ConnectionError(
                    "the reply's head was cut short" if data else "closed without a reply"
                )
            data += more
        if exchange.sent != "all":
            # The rest of the request can't follow on this connection.
            parser.keep_alive = False
            if parser.status < 300:
                raise MalformedReply("success was reported before the request was sent")
        return parser, data
