"""The seam between S3's logic and the network: what is sent, what comes back.

Above it everything is generators and bytes; below it are sockets, blocking ones
or an event loop's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from objectstorage.bodies import Source
from objectstorage.errors import ErrIntegrity
from objectstorage.s3._http import Buffer, MalformedReply, ReplyBody, Steps, read_head

__all__ = [
    "NO_LIMIT",
    "Exchange",
    "Outgoing",
    "Reply",
    "Sent",
    "StreamBody",
    "TransportError",
    "failure",
    "receive",
]

NO_LIMIT = sys.maxsize
"""Of a body in bytes."""

Sent: TypeAlias = Literal["nothing", "some", "all"]
"""How much of a request may have reached the server."""


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


class Outgoing:
    """A `StreamBody` on its way: never a byte more than it declared, nor one less.

    Until `last`, send what `encode` makes of the next `want` bytes of the source.
    """

    __slots__ = ("_body", "_left", "last", "want")

    def __init__(self, body: StreamBody) -> None:
        self._body = body
        self._left = body.length
        self.want = body.want()
        self.last = False

    def encode(self, data: Buffer) -> list[memoryview]:
        """What to send next; `ErrIntegrity` before anything wrong is sent.

        data: `want` bytes, fewer only at the source's end.
        """
        body = self._body
        pieces = list(body.feed(data)) if data else []
        self.want = body.want() if data else 0
        if not self.want:
            self.last = True
            pieces += body.finish()
        views = [memoryview(piece) for piece in pieces]
        self._left -= sum([len(view) for view in views])
        if self._left < 0 or (self.last and self._left):
            raise ErrIntegrity(f"the data is not the {body.length} bytes that were declared")
        return views


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
        stream: bool = False,
        deadline: float | None = None,
        into: memoryview | None = None,
        max_body: int = NO_LIMIT,
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
        headers: Mapping[str, str],
        body: bytes | memoryview,
        length: int | None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.length = length
        self._stream: Any = None  # what its transport keeps of a streamed body

    def __repr__(self) -> str:
        return f"<Reply {self.status}>"


def receive(
    exchange: Exchange, early: bytes, max_head: int, max_error_body: int
) -> Steps[tuple[Reply, ReplyBody | bool]]:
    """The reply, and what becomes of its connection.

    That is: whether it can serve again, or the body that is to be streamed.
    early: bytes that came in before the request was out.
    """
    parser, rest = yield from read_head(exchange.method, max_head, early)
    status, headers, length = parser.status, parser.headers, parser.length
    if exchange.sent != "all":
        # The rest of the request can't follow on this connection.
        parser.keep_alive = False
        if status < 300:
            raise MalformedReply("success was reported before the request was sent")
    if (
        len(rest) == length
        and exchange.into is None
        and not exchange.stream
        and length <= exchange.max_body
    ):
        # the short way of nearly all replies
        return Reply(status, headers, rest, length), parser.keep_alive
    incoming = ReplyBody(parser, rest)
    body: bytes | memoryview
    if status >= 300:
        body = yield from incoming.read_front(max_error_body)
    elif exchange.stream:
        return Reply(status, headers, b"", length), incoming
    else:
        body = yield from incoming.read_all(exchange.into, exchange.max_body)
    return Reply(status, headers, body, length), incoming.reusable
