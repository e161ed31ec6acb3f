"""The short way of nearly all replies: a plain head and a whole body in one receive.

Plain is what one expression can tell to be well-formed and to mean one thing
only. Everything else, malformed heads above all, is left to `_http`, where
`httptools` judges; whatever is taken here it reads in the same way.

A server answers a verb with the same header names in the same order for ever.
Once an order has been seen often, an expression made of it finds all the
values at once, and a header is read only when it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from objectstorage.s3.exchange import Exchange, Reply

__all__ = ["Fields", "Heads", "named"]

# Possessive, so that a head is read once, from its first byte to its last. The
# values hold no control character but the tab; a folded line has no name.
_VALUE = rb"[\t -~\x80-\xff]*+"
_NAME = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_PLAIN = re.compile(
    rb"HTTP/1\.1 [2-5][0-9][0-9] [ -~]*+\r\n(?:" + _NAME + b":" + _VALUE + rb"\r\n){0,256}+\r\n"
)
_MAX_DIGITS = 18  # of a length that surely fits in 64 bits

_OFTEN = 32  # sights of an order before an expression is made of it, which takes a millisecond
_MAX_SEEN = 256
_MAX_KNOWN = 6  # orders a method; the one made last is tried first
_MAX_FIELDS = 64


class _Shape:
    """Heads of one status line and one order of names.

    match: finds the values, and the head's end. length: the group of the body's
    length, 0 where there is no body. places: a lower-case name's group.
    """

    __slots__ = ("_starting", "keep", "length", "match", "places", "status")

    def __init__(self, line: bytes, names: tuple[bytes, ...], *, bodiless: bool, keep: bool):
        self.places = {name.lower().decode(): at for at, name in enumerate(names, 1)}
        self.length = 0 if bodiless else self.places["content-length"]
        self.status = int(line[9:12])
        self.keep = keep
        pattern = re.escape(line) + b"\r\n"
        for name in names:
            value = b"(%b)" % _VALUE
            if name.lower() == b"content-length":
                value = b"([0-9]{1,%d}+)[\t ]*+" % _MAX_DIGITS
            elif name.lower() == b"connection":
                value = b"((?i:%b))[\t ]*+" % (b"keep-alive" if keep else b"close")
            pattern += b"%b:[\t ]*+%b\r\n" % (re.escape(name), value)
        self.match = re.compile(pattern + b"\r\n").match
        self._starting: dict[str, tuple[tuple[str, int], ...]] = {}

    def starting(self, start: str) -> tuple[tuple[str, int], ...]:
        """The rests of the names that begin so, and their groups."""
        found = self._starting.get(start)
        if found is None:
            found = self._starting[start] = tuple(
                (name[len(start) :], at)
                for name, at in self.places.items()
                if name.startswith(start)
            )
        return found


class Fields(Mapping[str, str]):
    """The headers of a head whose shape is known, by their lower-case names."""

    __slots__ = ("_match", "_shape")

    def __init__(self, shape: _Shape, match: re.Match[bytes]) -> None:
        self._shape = shape
        self._match = match

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a header, given its lower-case name."""
        place = self._shape.places.get(name)
        return default if place is None else self._match[place].strip(b" \t").decode("latin-1")

    def __getitem__(self, name: str) -> str:
        return self._match[self._shape.places[name]].strip(b" \t").decode("latin-1")

    def __contains__(self, name: object) -> bool:
        return name in self._shape.places

    def __iter__(self) -> Iterator[str]:
        return iter(self._shape.places)

    def __len__(self) -> int:
        return len(self._shape.places)


def named(headers: Mapping[str, str], start: str) -> dict[str, str]:
    """The headers whose names begin so, by what follows of the name."""
    if type(headers) is Fields:
        match = headers._match
        return {
            name: match[place].strip(b" \t").decode("latin-1")
            for name, place in headers._shape.starting(start)
        }
    return {name[len(start) :]: headers[name] for name in headers if name.startswith(start)}


class Heads:
    """The plain heads of one server, and the expressions made of those it sends often.

    Shared by threads: what changes is replaced as a whole, or is only a count.
    """

    __slots__ = ("_known", "_often", "_seen")

    def __init__(self, often: int = _OFTEN) -> None:
        self._often = often
        self._known: dict[str, tuple[_Shape, ...]] = {}
        self._seen: dict[tuple[str, bytes, tuple[bytes, ...]], int] = {}

    def plain_reply(self, exchange: Exchange, data: bytes) -> tuple[Reply, bool] | None:
        """The reply, and whether its connection may serve again; None to go the long way.

        data: what came in at once after the request was sent.
        """
        if exchange.stream or exchange.into is not None or exchange.sent != "all":
            return None
        for shape in self._known.get(exchange.method, ()):
            match = shape.match(data)
            if match is not None:
                body = data[match.end() :]
                length = int(match[shape.length]) if shape.length else 0
                if len(body) != length or length > exchange.max_body:
                    return None
                return Reply(shape.status, Fields(shape, match), body, length), shape.keep
        return self._first(exchange, data)

    def _first(self, exchange: Exchange, data: bytes) -> tuple[Reply, bool] | None:
        """The same for a head of a shape that is not known, or not yet."""
        found = _PLAIN.match(data)
        if found is None:
            return None
        end = found.end()
        line, *lines = data[: end - 4].split(b"\r\n")
        pairs = [text.partition(b":")[::2] for text in lines]
        headers: dict[str, str] = {}
        for name, raw in pairs:
            lower, value = name.lower().decode(), raw.strip(b" \t").decode("latin-1")
            headers[lower] = f"{headers[lower]}, {value}" if lower in headers else value
        status = int(line[9:12])
        bodiless = exchange.method == "HEAD" or status == 204 or status == 304
        said, kept = headers.get("content-length"), headers.get("connection", "keep-alive").lower()
        if (
            "transfer-encoding" in headers
            or "upgrade" in headers
            or kept not in ("close", "keep-alive")
            or (said is None and not bodiless)
            or not (said or "0").isdecimal()
            or len(said or "0") > _MAX_DIGITS
        ):
            return None
        length = 0 if bodiless else int(said or "")
        if len(data) != end + length or length > exchange.max_body:
            return None
        keep = kept == "keep-alive"
        if len(headers) == len(pairs) <= _MAX_FIELDS:
            names = tuple([name for name, _ in pairs])
            self._learn(exchange.method, line, names, bodiless=bodiless, keep=keep)
        return Reply(status, headers, data[end:], length), keep

    def _learn(
        self, method: str, line: bytes, names: tuple[bytes, ...], *, bodiless: bool, keep: bool
    ) -> None:
        """Count a shape, and know it when it has been seen often."""
        seen = self._seen
        sight = (method, line, names)
        count = seen.get(sight, 0) + 1
        if count < self._often:
            if len(seen) >= _MAX_SEEN:  # metadata may have any names
                seen.clear()
            seen[sight] = count
            return
        seen.pop(sight, None)
        known = self._known.get(method, ())
        if len(known) == _MAX_KNOWN:
            self._often *= 2  # of so many that come and go, few are worth an expression
        shape = _Shape(line, names, bodiless=bodiless, keep=keep)
        self._known[method] = (shape, *known[: _MAX_KNOWN - 1])
