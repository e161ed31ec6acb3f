"""How HTTP/1.1 replies are read: heads, framing and chunks; no I/O.

`httptools` judges the syntax (it refuses duplicate lengths, a length beside an
encoding, folded headers, bare line feeds); what it leaves open is decided here.
One parser a reply, so that nothing of one reply can leak into the next.
"""

from __future__ import annotations

from typing import TypeAlias

import httptools

__all__ = ["Buffer", "MalformedReply", "ReplyParser", "head_end", "is_interim"]

Buffer: TypeAlias = bytes | bytearray | memoryview
"""What is sent and received: contiguous bytes."""

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
        "status",
        "trailing",
    )

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self._sink = self.headers
        self.complete = self.trailing = False
        self._parser = httptools.HttpResponseParser(self)

    def head(self, head: Buffer, method: str) -> None:
        """Read a whole head, blank line included; `method` is the request's."""
        parser = self._parser
        try:
            parser.feed_data(head)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            raise MalformedReply(f"the reply's head is malformed: {exc}") from exc
        headers = self.headers
        self.status = status = parser.get_status_code()
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

    def on_header(self, name: bytes, value: bytes) -> None:
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
