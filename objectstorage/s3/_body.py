"""The bodies of replies, received by blocking."""

from __future__ import annotations

from typing import Any, TypeVar

from objectstorage.s3._http import RECEIVE, MalformedReply, ReplyBody, Steps
from objectstorage.s3._sockets import Connection
from objectstorage.s3.exchange import failure

__all__ = ["BlockingBody", "run_steps"]

_T = TypeVar("_T")


def run_steps(steps: Steps[_T], conn: Connection | None, deadline: float | None) -> _T:
    """Run a generator of receives; without a connection none can be had."""
    send = steps.send
    got: Any = None
    try:
        while True:
            want = send(got)
            if conn is None:
                raise ConnectionError("the body was given up")
            if deadline is not None:
                conn.limit(deadline)
            if want is None:
                got = conn.recv(RECEIVE)
            elif isinstance(want, int):
                got = conn.recv_some(want)
            else:
                got = conn.recv_into(want)
    except StopIteration as stop:
        return stop.value


class BlockingBody:
    """A reply's body and its connection, which it lets go at the end."""

    __slots__ = ("_conn", "_deadline", "_place", "incoming")

    def __init__(
        self, conn: Connection, incoming: ReplyBody, deadline: float | None, place: str
    ) -> None:
        self._conn: Connection | None = conn
        self._deadline = deadline
        self._place = place
        self.incoming = incoming
        self._settle()

    def __del__(self) -> None:
        # A reply that was let go before its end must not keep its connection.
        self.abort()

    def abort(self) -> None:
        """Drop the connection, if there is one still."""
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.pool.drop(conn)

    def _settle(self) -> None:
        conn = self._conn
        if conn is not None and self.incoming.ended:
            self._conn = None
            if self.incoming.reusable:
                conn.pool.put_back(conn)
            else:
                conn.pool.drop(conn)

    def run(self, steps: Steps[_T]) -> _T:
        """Run one of `incoming`'s methods; the connection is dropped if that fails."""
        try:
            result = run_steps(steps, self._conn, self._deadline)
        except BaseException as exc:
            self.abort()
            if isinstance(exc, OSError | MalformedReply):
                raise failure(exc, self._place, "all") from exc
            raise
        self._settle()
        return result
