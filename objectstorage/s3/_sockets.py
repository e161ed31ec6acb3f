"""Blocking connections and the pool that keeps them."""

from __future__ import annotations

import io
import select
import socket
import ssl
import struct
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence

from objectstorage.s3._http import RECEIVE

__all__ = ["Connection", "Pool", "TLSConnection"]

_IN, _OUT = select.POLLIN, select.POLLOUT


class Connection:
    """A blocking socket whose waits are bounded by the kernel."""

    __slots__ = (
        "__weakref__",
        "_poll",
        "idle_since",
        "longest",
        "pool",
        "recv",
        "send",
        "sock",
        "timeout",
    )

    def __init__(self, sock: socket.socket, pool: Pool, longest: float) -> None:
        self.sock = sock
        self.pool = pool
        self.longest = longest
        self.recv = sock.recv
        self.send = sock.send
        self._poll = select.poll()
        self._poll.register(sock.fileno(), _IN)
        self.idle_since = 0.0
        self.timeout = -1.0
        self.set_timeout(longest)

    def limit(self, deadline: float | None) -> None:
        """Let the next wait end at the deadline, at `longest` seconds without one."""
        if deadline is None:
            if self.timeout != self.longest:
                self.set_timeout(self.longest)
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline passed")
        self.set_timeout(min(left, self.longest))

    def set_timeout(self, seconds: float) -> None:
        """Let no single wait for the peer take longer; it ends in an `OSError`."""
        if seconds == self.timeout:
            return
        # A socket with a Python timeout is one that does not block, and
        # MSG_WAITALL does not wait on it; so the kernel keeps the time.
        self.sock.settimeout(None)
        whole = int(seconds)
        value = struct.pack("@ll", whole, max(1000, int((seconds - whole) * 1e6)))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
        self.timeout = seconds

    def quiet(self) -> bool:
        """Whether nothing came in, an end included, while nothing was asked."""
        return not self._poll.poll(0)

    def recv_some(self, n: int) -> bytes:
        """`n` bytes, fewer if they take too long, b"" at the end."""
        return self.sock.recv(n, socket.MSG_WAITALL)

    def recv_into(self, view: memoryview) -> int:
        """Fill the view, or less of it if that takes too long; 0 at the end."""
        return self.sock.recv_into(view, 0, socket.MSG_WAITALL)

    def wait(self) -> tuple[bool, bool]:
        """Wait until bytes came in or can be sent: whether which; `TimeoutError`."""
        poll, fd = self._poll, self.sock.fileno()
        poll.modify(fd, _IN | _OUT)
        try:
            events = poll.poll(self.timeout * 1000)
        finally:
            poll.modify(fd, _IN)
        if not events:
            raise TimeoutError("the peer takes no more bytes")
        event = events[0][1]
        # an error or a hang-up is for receiving to tell
        return bool(event & ~_OUT), bool(event & _OUT)

    def send_now(self, views: Sequence[memoryview]) -> int:
        """Send what can be sent without waiting, after `wait` saw room."""
        try:
            return self.sock.sendmsg(views, (), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def recv_now(self) -> bytes | None:
        """What has come in; None if that is nothing yet."""
        try:
            return self.sock.recv(RECEIVE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Close this process's descriptor; no shutdown, which others would see."""
        try:
            self.sock.close()
        except OSError:  # close() may be the first to hear of a reset
            pass


class TLSConnection(Connection):
    """The same over TLS, where Python keeps the time and records come one by one."""

    __slots__ = ()
    sock: ssl.SSLSocket

    def set_timeout(self, seconds: float) -> None:
        if seconds != self.timeout:
            self.timeout = seconds
            self.sock.settimeout(seconds)

    def quiet(self) -> bool:
        return not self.sock.pending() and not self._poll.poll(0)

    def recv_some(self, n: int) -> bytes:
        # a BytesIO hands its buffer over without copying it
        buffer = io.BytesIO(bytes(n))
        with buffer.getbuffer() as view:
            got = self.recv_into(view)
        buffer.truncate(got)
        return buffer.getvalue()

    def recv_into(self, view: memoryview) -> int:
        got = 0
        while got < len(view) and (count := self.sock.recv_into(view[got:])):
            got += count
        return got

    def send_now(self, views: Sequence[memoryview]) -> int:
        # one record at most, which has room when poll() says so
        return self.sock.send(views[0])

    def recv_now(self) -> bytes | None:
        # what is readable may be a session ticket, which is nothing to us
        self.sock.settimeout(0)
        try:
            return self.sock.recv(RECEIVE)
        except ssl.SSLWantReadError:
            return None
        finally:
            self.sock.settimeout(self.timeout)


class Pool:
    """At most `limit` connections; the one used last is taken first.

    A token is an idle connection, or None: leave to open one. Taking and
    giving back are single operations of a deque, so no lock is needed, and
    a garbage collection may give back at any point.
    """

    __slots__ = ("_connections", "_line", "closed", "limit", "tokens")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.closed = False
        self.tokens: deque[Connection | None] = deque([None] * limit)
        self._line: deque[threading.Lock] = deque()
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()

    def take(self, timeout: float) -> Connection | None:
        """A token; `TimeoutError` when none came free within `timeout` seconds."""
        try:
            return self.tokens.pop()
        except IndexError:
            return self._take_in_line(time.monotonic() + timeout)

    def _take_in_line(self, until: float) -> Connection | None:
        while True:
            turn = threading.Lock()
            turn.acquire()
            self._line.append(turn)
            try:
                # Again, now that whoever gives back sees us standing here.
                return self.tokens.pop()
            except IndexError:
                if not turn.acquire(timeout=max(0.0, until - time.monotonic())):
                    raise TimeoutError(f"all {self.limit} connections are in use") from None
            finally:
                self._leave(turn)

    def _leave(self, turn: threading.Lock) -> None:
        try:
            self._line.remove(turn)
        except ValueError:  # it was our turn; if we don't use it, it is the next one's
            if self.tokens:
                self._wake()

    def _wake(self) -> None:
        try:
            self._line.popleft().release()
        except IndexError:
            pass

    def add(self, conn: Connection) -> None:
        """Know a connection that was opened with a token."""
        self._connections.add(conn)

    def put_back(self, conn: Connection) -> None:
        """Give a connection back that can serve again."""
        conn.idle_since = time.monotonic()
        self.tokens.append(conn)
        if self._line:
            self._wake()
        if self.closed:
            self.close()

    def put_back_leave(self) -> None:
        """Give leave to open a connection back."""
        self.tokens.appendleft(None)
        if self._line:
            self._wake()

    def drop(self, conn: Connection) -> None:
        """Close a connection that can't serve again."""
        conn.close()
        self.put_back_leave()

    def close(self) -> None:
        """Close every connection that nobody uses, and each later as it comes back."""
        self.closed = True
        for _ in range(len(self.tokens)):
            try:
                conn = self.tokens.pop()
            except IndexError:
                return
            if conn is not None:
                conn.close()
            self.put_back_leave()

    def forget(self) -> None:
        """Close this process's descriptors of all connections, in use or not."""
        for conn in list(self._connections):
            conn.close()
