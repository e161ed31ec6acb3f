"""How requests reach a server and replies come back, by blocking.

A transport belongs to one host, keeps connections alive, sends a request once
and never retries: what is worth another try is decided in one place, above.
"""

from __future__ import annotations

import socket
import ssl
import time

from objectstorage.bodies import pull
from objectstorage.errors import ErrClosed
from objectstorage.s3._body import BlockingBody, run_steps
from objectstorage.s3._http import FIRST, MalformedReply, ReplyBody, is_interim
from objectstorage.s3._plain import Heads
from objectstorage.s3._sockets import Connection, Pool, TLSConnection
from objectstorage.s3.exchange import (
    Exchange,
    Outgoing,
    Reply,
    StreamBody,
    TransportError,
    failure,
    receive,
)

__all__ = ["Exchange", "Reply", "Stats", "StreamBody", "Transport", "TransportError"]

_JOIN = 64 * 1024  # a body up to here is sent in one piece with the head


class Stats:
    """Counters of one transport; under threads they may miss a few.

    `opened` connections, requests that `reused` one, idle ones found dead and
    `replaced`.
    """

    __slots__ = ("_pool", "opened", "replaced", "reused")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.opened = self.reused = self.replaced = 0

    @property
    def in_use(self) -> int:
        """Connections that are serving a request or an unfinished body."""
        return self._pool.limit - len(self._pool.tokens)


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
        self._heads = Heads()
        self._pool = Pool(max_connections)
        self.stats = Stats(self._pool)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._place}>"

    def send(self, exchange: Exchange) -> Reply:
        """Send one request and read its reply; `TransportError` if there is none."""
        exchange.sent = "nothing"
        conn = self._take(exchange.deadline)
        try:
            came = self._send_request(conn, exchange) or conn.recv(FIRST)
            rest: ReplyBody | bool
            plain = self._heads.plain_reply(exchange, came)
            if plain is not None:
                reply, rest = plain
            else:
                steps = receive(exchange, came, self._max_head, self._max_error_body)
                reply, rest = run_steps(steps, conn, exchange.deadline)
        except BaseException as exc:
            conn.pool.drop(conn)
            if isinstance(exc, OSError | MalformedReply) and not exchange.pulling:
                raise failure(exc, self._place, exchange.sent) from exc
            raise
        if rest is True:
            conn.pool.put_back(conn)
        elif rest is False:
            conn.pool.drop(conn)
        else:
            reply._stream = BlockingBody(conn, rest, exchange.deadline, self._place)
        return reply

    def read(self, reply: Reply, n: int) -> bytes:
        """At most `n` bytes of a streamed body, b"" at its end only.

        `TransportError` if it was cut short.
        """
        body: BlockingBody | None = reply._stream
        return body.run(body.incoming.read(n)) if body is not None and n > 0 else b""

    def read_into(self, reply: Reply, view: memoryview) -> int:
        """Fill `view`, or the front of it, from a streamed body; 0 at its end only."""
        body: BlockingBody | None = reply._stream
        return body.run(body.incoming.read_into(view)) if body is not None and len(view) else 0

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
        try:
            conn = pool.tokens.pop()
        except IndexError:
            conn = self._wait(pool, deadline)
        try:
            if conn is not None and not pool.closed:
                if time.monotonic() - conn.idle_since < self._idle_timeout and conn.quiet():
                    if deadline is not None or conn.timeout != conn.longest:
                        conn.limit(deadline)
                    self.stats.reused += 1
                    return conn
                conn.close()
                self.stats.replaced += 1
            if pool.closed:
                raise ErrClosed("the store was closed")
            return self._connect(pool, deadline)
        except BaseException as exc:
            if conn is not None:
                conn.close()
            pool.put_back_leave()
            if isinstance(exc, OSError):
                raise failure(exc, self._place, "nothing") from exc
            raise

    def _wait(self, pool: Pool, deadline: float | None) -> Connection | None:
        """What `Pool.take` gives when somebody is done."""
        timeout = self._pool_timeout
        if deadline is not None:
            timeout = min(timeout, deadline - time.monotonic())
        try:
            return pool.take(timeout)
        except TimeoutError as exc:
            raise failure(exc, self._place, "nothing") from exc

    def _connect(self, pool: Pool, deadline: float | None) -> Connection:
        timeout = self._connect_timeout
        if deadline is not None:
            timeout = min(timeout, deadline - time.monotonic())
            if timeout <= 0:
                raise TimeoutError("the deadline passed")
        sock = self._open(timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                # An end without TLS's own goodbye may be somebody else's doing.
                sock = self._tls.wrap_socket(
                    sock, server_hostname=self._server_hostname, suppress_ragged_eofs=False
                )
            kind = TLSConnection if isinstance(sock, ssl.SSLSocket) else Connection
            conn = kind(sock, pool, self._read_timeout)
            conn.limit(deadline)
        except BaseException:
            sock.close()
            raise
        self.stats.opened += 1
        pool.add(conn)
        return conn

    def _open(self, timeout: float) -> socket.socket:
        """A connection towards the server, TLS not yet begun."""
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
        outgoing = Outgoing(body)
        while not outgoing.last:
            exchange.pulling = True
            views += outgoing.encode(pull(body.source, outgoing.want) if outgoing.want else b"")
            exchange.pulling = False
            if early := self._send_views(conn, exchange, views, last=outgoing.last):
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
