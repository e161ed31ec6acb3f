"""How requests reach a server and replies come back, on an event loop.

The same promises as `objectstorage.s3.transport`, kept by awaiting.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from time import monotonic
from typing import TypeVar

from objectstorage.aio._connection import Connection, run_steps
from objectstorage.aio.driver import read_source
from objectstorage.errors import ErrClosed
from objectstorage.s3._http import MalformedReply, ReplyBody, Steps
from objectstorage.s3._plain import Heads
from objectstorage.s3.exchange import Exchange, Outgoing, Reply, StreamBody, failure, receive

__all__ = ["AsyncStats", "AsyncTransport"]

_T = TypeVar("_T")

_JOIN = 64 * 1024  # a body up to here is sent in one piece with the head
_SLICE = 256 * 1024  # what the kernel doesn't take of one is copied


class AsyncStats:
    """Counters of one transport; see `objectstorage.s3.transport.Stats`."""

    __slots__ = ("in_use", "opened", "replaced", "reused")

    def __init__(self) -> None:
        self.in_use = self.opened = self.replaced = self.reused = 0


class _Body:
    """A reply's body and its connection, which it lets go at the end."""

    __slots__ = ("_conn", "_transport", "incoming")

    def __init__(self, transport: AsyncTransport, conn: Connection, incoming: ReplyBody) -> None:
        self._transport = transport
        self._conn: Connection | None = conn
        self.incoming = incoming
        self._settle()

    def __del__(self) -> None:
        # A reply that was let go before its end must not keep its connection.
        # Garbage is collected in any thread; the loop's things are the loop's.
        conn, self._conn = self._conn, None
        if conn is not None:
            self._transport._drop_soon(conn)

    def abort(self) -> None:
        """Drop the connection, if there is one still."""
        conn, self._conn = self._conn, None
        if conn is not None:
            self._transport._give_back(conn, reusable=False)

    def _settle(self) -> None:
        conn = self._conn
        if conn is not None and self.incoming.ended:
            self._conn = None
            self._transport._give_back(conn, reusable=self.incoming.reusable)

    async def run(self, steps: Steps[_T]) -> _T:
        """Run one of `incoming`'s methods; the connection is dropped if that fails."""
        try:
            result = await run_steps(steps, self._conn)
        except BaseException as exc:
            self.abort()
            if isinstance(exc, OSError | MalformedReply):
                raise failure(exc, self._transport.place, "all") from exc
            raise
        self._settle()
        return result


class AsyncTransport:
    """`objectstorage.s3.transport.Transport` for one event loop, that of its first request.

    Cancelling a request aborts its connection.
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
        self.place = f"{host}:{port}"
        self._tls = tls
        self._server_hostname = server_hostname or host
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._pool_timeout = pool_timeout
        self._idle_timeout = idle_timeout
        self._max_connections = max_connections
        self._max_head = max_head
        self._max_error_body = max_error_body
        self._heads = Heads()
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._line: deque[asyncio.Future[None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False
        self.stats = AsyncStats()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.place}>"

    async def send(self, exchange: Exchange) -> Reply:
        """Send one request and read its reply; `TransportError` if there is none."""
        conn = (self._at_hand() if exchange.deadline is None else None) or await self._take(
            exchange.deadline
        )
        try:
            body = exchange.body
            if body is None or (not isinstance(body, StreamBody) and len(body) <= _JOIN):
                conn.send(exchange.head if body is None else exchange.head + body)
                exchange.sent = "all"
            else:
                await self._send_large(conn, exchange, body)
            came = conn.pending() or await conn.receive()
            rest: ReplyBody | bool
            plain = self._heads.plain_reply(exchange, came)
            if plain is not None:
                reply, rest = plain
            else:
                steps = receive(exchange, came, self._max_head, self._max_error_body)
                reply, rest = await run_steps(steps, conn)
        except BaseException as exc:
            self._give_back(conn, reusable=False)
            if isinstance(exc, OSError | MalformedReply) and not exchange.pulling:
                raise failure(exc, self.place, exchange.sent) from exc
            raise
        if isinstance(rest, ReplyBody):
            reply._stream = _Body(self, conn, rest)
        else:
            self._give_back(conn, reusable=rest)
        return reply

    async def read(self, reply: Reply, n: int) -> bytes:
        """At most `n` bytes of a streamed body, b"" at its end only.

        `TransportError` if it was cut short.
        """
        body: _Body | None = reply._stream
        return await body.run(body.incoming.read(n)) if body is not None and n > 0 else b""

    async def read_into(self, reply: Reply, view: memoryview) -> int:
        """Fill `view`, or the front of it, from a streamed body; 0 at its end only."""
        body: _Body | None = reply._stream
        if body is None or not len(view):
            return 0
        return await body.run(body.incoming.read_into(view))

    async def abort(self, reply: Reply) -> None:
        """Give up a streamed body; its connection is closed unless that was at its end."""
        if reply._stream is not None:
            reply._stream.abort()

    async def close(self) -> None:
        """Close idle connections now, the others when they have served."""
        self._closed = True
        closing, self._idle = self._idle, []
        for conn in closing:
            conn.abort()
        for waiting in self._line:
            if not waiting.done():
                waiting.set_exception(ErrClosed("the store was closed"))
        self._line.clear()
        for conn in closing:
            await conn.closed

    def after_fork(self) -> None:
        """In a child: the loop, its selector and the connections are the parent's."""
        self._loop = None  # so that no forgotten body reaches for it

    # -- sending ---------------------------------------------------------------

    async def _send_large(
        self,
        conn: Connection,
        exchange: Exchange,
        body: StreamBody | bytes | bytearray | memoryview,
    ) -> None:
        """Send in slices, as there is room; stop when a reply comes before the end."""
        views = [memoryview(exchange.head)]
        if not isinstance(body, StreamBody):
            await self._send_views(conn, exchange, [*views, memoryview(body)], last=True)
            return
        outgoing = Outgoing(body)
        while not outgoing.last:
            exchange.pulling = True
            data = await read_source(body.source, outgoing.want) if outgoing.want else b""
            views += outgoing.encode(data)
            exchange.pulling = False
            if not await self._send_views(conn, exchange, views, last=outgoing.last):
                return
            views = []

    async def _send_views(
        self, conn: Connection, exchange: Exchange, views: list[memoryview], *, last: bool
    ) -> bool:
        """Send the views, `last` if they complete the request; False if a reply came first."""
        slices = [
            view[start : start + _SLICE] for view in views for start in range(0, len(view), _SLICE)
        ]
        for number, piece in enumerate(slices, 1):
            if not await conn.room():
                return False
            conn.send(piece)
            exchange.sent = "all" if last and number == len(slices) else "some"
            await asyncio.sleep(0)  # others want to run, and a reply may have come
        return True

    # -- connections -----------------------------------------------------------

    def _at_hand(self) -> Connection | None:
        """The connection used last, if it is good: what nearly all requests get."""
        stats = self.stats
        if not self._idle or self._closed or stats.in_use >= self._max_connections:
            return None
        conn = self._idle[-1]
        if monotonic() - conn.idle_since >= self._idle_timeout or not conn.quiet():
            return None
        self._idle.pop()
        stats.reused += 1
        stats.in_use += 1
        self._busy.add(conn)
        if self._watch is None:
            self._begin(conn)
        return conn

    async def _take(self, deadline: float | None) -> Connection:
        """A connection that is good for one request."""
        if self._closed:
            raise ErrClosed("the store was closed")
        left = None
        try:
            if deadline is not None and (left := deadline - monotonic()) <= 0:
                raise TimeoutError("the deadline passed")
            if self.stats.in_use < self._max_connections:
                self.stats.in_use += 1
            else:
                await self._stand_in_line(left)
            try:
                conn = self._reuse() or await self._connect(left)
            except BaseException:
                self._next()
                raise
        except OSError as exc:
            raise failure(exc, self.place, "nothing") from exc
        self._begin(conn)
        if deadline is not None:
            conn.set_deadline(deadline - monotonic())
        return conn

    def _begin(self, conn: Connection) -> None:
        self._busy.add(conn)
        if self._watch is None:
            self._watch = conn.loop.call_later(self._read_timeout, self._look)

    def _reuse(self) -> Connection | None:
        """The connection used last, unless it has died or aged."""
        while self._idle:
            conn = self._idle.pop()
            if monotonic() - conn.idle_since < self._idle_timeout and conn.quiet():
                self.stats.reused += 1
                return conn
            self.stats.replaced += 1
            conn.abort()
        return None

    async def _connect(self, left: float | None) -> Connection:
        loop = self._loop = asyncio.get_running_loop()
        timeout = self._connect_timeout if left is None else min(left, self._connect_timeout)
        try:
            async with asyncio.timeout(timeout):
                _, conn = await loop.create_connection(
                    lambda: Connection(loop, self._read_timeout, secure=self._tls is not None),
                    self.host,
                    self.port,
                    ssl=self._tls,
                    server_hostname=None if self._tls is None else self._server_hostname,
                )
        except TimeoutError as exc:
            raise TimeoutError("timed out while connecting") from exc
        self.stats.opened += 1
        return conn

    async def _stand_in_line(self, left: float | None) -> None:
        """Wait until somebody hands over his place among `max_connections`."""
        timeout = self._pool_timeout if left is None else min(left, self._pool_timeout)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            async with asyncio.timeout(timeout):
                await turn
        except BaseException as exc:
            if turn in self._line:
                self._line.remove(turn)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._next()  # it was our turn just now
            if isinstance(exc, TimeoutError):
                raise TimeoutError(f"all {self._max_connections} connections are in use") from exc
            raise

    def _next(self) -> None:
        """Hand a place over to the next in line."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.stats.in_use -= 1

    def _give_back(self, conn: Connection, *, reusable: bool) -> None:
        """Keep a connection for the next request, or close it."""
        self._busy.discard(conn)
        if reusable and not self._closed:
            conn.rest()
            self._idle.append(conn)
        else:
            conn.abort()
        self._next()

    def _drop_soon(self, conn: Connection) -> None:
        """Close a connection, from any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(lambda: self._give_back(conn, reusable=False))

    def _look(self) -> None:
        """Fail whoever has waited in vain for too long; one timer serves all connections."""
        assert self._loop is not None
        now = monotonic()
        soonest = now + self._read_timeout
        for conn in list(self._busy):
            due = conn.due()
            if due is not None and due <= now:
                conn.give_up()
            elif due is not None:
                soonest = min(soonest, due)
        self._watch = self._loop.call_later(soonest - now, self._look) if self._busy else None
