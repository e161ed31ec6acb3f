"""How HTTP/1.1 replies are read: heads, framing and chunks; no I/O.

`httptools` judges the syntax (it refuses duplicate lengths, a length beside an
encoding, folded headers, bare line feeds); what it leaves open is decided here.
One parser a reply, so that nothing of one reply can leak into the next.

What takes several receives is a generator, run by blocking or on an event loop.
It yields what it needs: None for some bytes, a number for that many, a view to
be filled; it is sent the bytes, or how many. Of a number or a view fewer may
come; none is the end of the connection.
"""

from __future__ import annotations

import io
from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

import httptools

__all__ = [
    "FIRST",
    "RECEIVE",
    "Buffer",
    "MalformedReply",
    "ReplyBody",
    "ReplyParser",
    "Steps",
    "head_end",
    "is_interim",
    "read_head",
]

_T = TypeVar("_T")
Steps: TypeAlias = Generator[int | memoryview | None, Any, _T]
"""Receives that end in a `_T`."""

Buffer: TypeAlias = bytes | bytearray | memoryview
"""What is sent and received: contiguous bytes."""

FIRST = 16 * 1024
"""Bytes of a reply's first receive: its head and a small body at once.

More would be slower: the buffer is allocated anew, and cut to what came.
"""
RECEIVE = 64 * 1024
"""Bytes of any other receive of unknown length."""

_MAX_HEADERS = 256
_MAX_FRAMING = 64 * 1024  # bytes of chunk extensions and trailers in a row

# Header names recur; lower-casing each once is a third of the cost of a head.
_names: dict[bytes, str] = {}


class MalformedReply(ValueError):
    """Bytes that are no HTTP/1.1 reply, or one whose end can't be told."""


def head_end(data: bytes | bytearray, max_head: int, *, searched: int = 0) -> int:
    """Where the first head in `data` ends, blank line included; 0 if it goes on.

    `searched` bytes were looked at before. `MalformedReply` for what can't
    become a head of at most `max_head` bytes any more.
    """
    end = data.find(b"\r\n\r\n", max(0, searched - 3))
    if 0 <= end <= max_head - 4:
        return end + 4
    if end >= 0 or len(data) >= max_head:
        raise MalformedReply(f"the reply's head exceeds {max_head} bytes")
    if data[:7] != b"HTTP/1."[: len(data)] or data.count(b"\n") != data.count(b"\r\n"):
        raise MalformedReply("the reply is not HTTP/1.1")
    return 0


def is_interim(data: bytes) -> bool:
    """Whether this is one whole 1xx reply, which announces another one."""
    return data.startswith(b"HTTP/1.1 1") and data.endswith(b"\r\n\r\n")


class ReplyParser:
    """One reply: its head, then what its body's framing asks for.

    After `head`: `status`, `headers` (lower-case names; repeated ones joined by
    ", "), `keep_alive`, and `length`: the bytes of body that follow, None when
    that shows only in reading. `chunked` bodies go through `chunks`; the others
    of unknown length end with the connection.
    """

    __slots__ = (
        "_framing",
        "_parser",
        "_pieces",
        "_sink",
        "chunked",
        "complete",
        "headers",
        "keep_alive",
        "length",
        "on_header",
        "status",
        "trailing",
    )

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self._sink = self.headers
        self.complete = self.trailing = False

    def _fields(self, head: bytes) -> None:
        """Fill `headers`, with no call into Python for each where none is repeated."""
        raw: dict[bytes, bytes] = {}
        self.on_header: Any = raw.__setitem__
        self._parser = httptools.HttpResponseParser(self)
        self._parser.feed_data(head)
        if len(raw) != head.count(b"\r\n") - 2:
            # Some are repeated, and are to be joined.
            self.on_header = self._add_header
            self._parser = httptools.HttpResponseParser(self)
            self._parser.feed_data(head)
            return
        if len(raw) > _MAX_HEADERS:
            raise MalformedReply(f"the reply has more than {_MAX_HEADERS} headers")
        headers = self.headers
        for name, value in raw.items():
            headers[_names.get(name) or _lowered(name)] = value.decode("latin-1").strip(" \t")
        if len(headers) != len(raw):
            # The same name in two spellings.
            headers.clear()
            for name, value in raw.items():
                self._add_header(name, value)

    def head(self, head: Buffer, method: str) -> None:
        """Read a whole head, blank line included; `method` is the request's."""
        try:
            self._fields(head if isinstance(head, bytes) else bytes(head))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            raise MalformedReply(f"the reply's head is malformed: {exc}") from exc
        headers = self.headers
        self.status = status = self._parser.get_status_code()
        self.chunked = False
        connection = headers.get("connection")
        if head[:9] == b"HTTP/1.1 ":
            self.keep_alive = connection is None or "close" not in connection.lower()
        else:
            self.keep_alive = False
            if head[:9] != b"HTTP/1.0 ":
                raise MalformedReply("the reply is not HTTP/1.1")
        if method == "HEAD" or status == 204 or status == 304 or status < 200:
            self.length: int | None = 0
        elif "transfer-encoding" in headers:
            if headers["transfer-encoding"].lower() != "chunked":
                raise MalformedReply(
                    f"the reply's transfer encoding is {headers['transfer-encoding']!r}"
                )
            self.length = None
            self.chunked = True
            self._framing = 0
            # What comes behind the body must not pass for what came before it.
            self._sink = {}
        elif "content-length" in headers:
            self.length = int(headers["content-length"])
        else:
            self.length = None
            self.keep_alive = False

    def chunks(self, data: Buffer) -> list[bytes]:
        """The body bytes within `data`; `complete` afterwards when it has ended.

        Bytes beyond its end set `trailing` and are ignored.
        """
        pieces: list[bytes] = []
        self._pieces = pieces
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            if not self.complete:
                raise MalformedReply(f"the reply's chunks are malformed: {exc}") from exc
            self.trailing = True
        if pieces:
            self._framing = 0
        else:
            self._framing += len(data)
            if self._framing > _MAX_FRAMING:
                raise MalformedReply("the reply's chunks are all framing and no data")
        return pieces

    # Called by httptools.

    def on_message_begin(self) -> None:
        if self.complete:
            self.trailing = True

    def _add_header(self, name: bytes, value: bytes) -> None:
        lower = _names.get(name) or _lowered(name)
        headers = self._sink
        text = value.decode("latin-1").strip(" \t")
        if lower in headers:
            text = f"{headers[lower]}, {text}"
        elif len(headers) >= _MAX_HEADERS:
            raise MalformedReply(f"the reply has more than {_MAX_HEADERS} headers")
        headers[lower] = text

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        self.complete = True


def _lowered(name: bytes) -> str:
    lower = name.decode("latin-1").lower()
    if len(_names) < 1024:  # a server must not make it grow for ever
        _names[name] = lower
    return lower


def read_head(method: str, max_head: int, data: bytes) -> Steps[tuple[ReplyParser, bytes]]:
    """A reply's head, interim ones skipped, and the bytes that came in behind it.

    method: the request's. data: what came in already.
    """
    searched = skipped = 0
    while True:
        end = head_end(data, max_head - skipped, searched=searched) if data else 0
        if end:
            parser = ReplyParser()
            parser.head(data[:end], method)
            data = data[end:]
            if parser.status >= 200:
                return parser, data
            searched, skipped = 0, skipped + end
            continue
        searched = len(data)
        more = yield None
        if not more:
            raise ConnectionError(
                "the reply's head was cut short" if data else "closed without a reply"
            )
        data = data + more if data else more


class ReplyBody:
    """The body behind a reply's head.

    data: what came in with the head. `rest` has been received and decoded,
    `left` bytes are still to come (None if that shows only in reading).
    """

    __slots__ = ("_parser", "left", "rest")

    def __init__(self, parser: ReplyParser, data: bytes) -> None:
        self._parser = parser
        self.left = parser.length
        self.rest = memoryview(b"")
        if self.left is not None:
            self.rest = memoryview(data)[: self.left]
            parser.trailing = len(data) > self.left
            self.left -= len(self.rest)
        elif data:
            self._decode(data)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.left == 0

    @property
    def reusable(self) -> bool:
        """Whether this was the end, and the connection is in order behind it."""
        return self.left == 0 and self._parser.keep_alive and not self._parser.trailing

    def read(self, n: int) -> Steps[bytes]:
        """At most `n` bytes; b"" at the end only."""
        if not self.rest and self.left != 0:
            if self.left is not None:
                data: bytes = yield min(n, self.left)
                self._count(len(data))
                return data
            while not self.rest and not self.ended:
                self._decode((yield None))
        piece = bytes(self.rest[:n])
        self.rest = self.rest[n:]
        return piece

    def read_into(self, view: memoryview) -> Steps[int]:
        """Fill the view, or the front of it; 0 at the end only."""
        if not self.rest and self.left:
            with view[: self.left] as part:
                got: int = yield part
            self._count(got)
            return got
        piece = yield from self.read(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def read_all(self, into: memoryview | None, limit: int | None) -> Steps[bytes | memoryview]:
        """The whole body, in `into` if given; `MalformedReply` if it is too long."""
        most = limit if into is None else len(into)
        if self.left is None:
            return (yield from self._read_unknown(into, most))
        length = len(self.rest) + self.left
        if most is not None and length > most:
            raise MalformedReply(f"the body exceeds {most} bytes")
        # A BytesIO hands its buffer over without copying it, once no view of it is left.
        try:
            buffer = io.BytesIO(bytes(length if into is None else 0))
        except (MemoryError, OverflowError) as exc:
            raise MalformedReply(f"no memory holds the {length} bytes of the body") from exc
        with buffer.getbuffer() if into is None else into[:length] as view:
            at = 0
            while at < length:
                with view[at:] as part:
                    at += yield from self.read_into(part)
        return buffer.getvalue() if into is None else into[:length]

    def _read_unknown(self, into: memoryview | None, most: int | None) -> Steps[bytes | memoryview]:
        pieces, length = [], 0
        while piece := (yield from self.read(RECEIVE)):
            length += len(piece)
            if most is not None and length > most:
                raise MalformedReply(f"the body exceeds {most} bytes")
            pieces.append(piece)
        if into is None:
            return b"".join(pieces)
        into[:length] = b"".join(pieces)
        return into[:length]

    def read_front(self, most: int) -> Steps[bytes]:
        """The body, cut after `most` bytes."""
        pieces = []
        while most and (piece := (yield from self.read(most))):
            most -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def _count(self, got: int) -> None:
        if self.left is not None:
            if not got:
                raise ConnectionError(f"the body was cut short, {self.left} bytes are missing")
            self.left -= got

    def _decode(self, data: bytes) -> None:
        """Take bytes of a body of unknown length; b"" is the connection's end."""
        parser = self._parser
        if parser.chunked:
            if not data:
                raise ConnectionError("the body was cut short between its chunks")
            self.rest = memoryview(b"".join(parser.chunks(data)))
            if parser.complete:
                self.left = 0
        elif data:
            self.rest = memoryview(data)
        else:
            self.left = 0
