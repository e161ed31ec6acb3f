"""The short way of nearly all replies: a plain head and a whole body in one receive.

Plain is what one expression can tell to be well-formed and to mean one thing
only. Everything else, malformed heads above all, is left to `_http`, where
`httptools` judges; whatever is taken here it reads in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from objectstorage.s3.exchange import Exchange, Reply

__all__ = ["Fields", "named", "plain_reply"]

# Possessive, so that a head is read once, from its first byte to its last. The
# values hold no control character but the tab; a folded line has no name.
_PLAIN = re.compile(
    rb"HTTP/1\.1 [2-5][0-9][0-9] [ -~]*+\r\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t -~\x80-\xff]*+\r\n){0,256}+\r\n"
)
_LENGTH = b"\r\ncontent-length:"
_MAX_DIGITS = 18  # of a length that surely fits in 64 bits

# "\r\nname:" of the names that were looked up: this package's own, and metadata's.
_needles: dict[str, bytes] = {}


class Fields(Mapping[str, str]):
    """The headers of a plain head: lower-case names, repeated ones joined by ", ".

    Most of a reply's headers interest nobody: one is read when it is asked for.
    """

    __slots__ = ("_head", "_lower")

    def __init__(self, head: bytes, lower: bytes) -> None:
        self._head = head
        self._lower = lower

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a header, given its lower-case name."""
        needle = _needles.get(name) or _needle(name)
        lower = self._lower
        start = lower.find(needle)
        if start < 0:
            return default
        start += len(needle)
        end = lower.find(b"\r\n", start)
        value = self._head[start:end].strip(b" \t").decode("latin-1")
        if lower.find(needle, end) >= 0:
            value = ", ".join([value for key, value in self._lines() if key == name])
        return value

    def __getitem__(self, name: str) -> str:
        value: str | None = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (_needles.get(name) or _needle(name)) in self._lower

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._lines()))

    def __len__(self) -> int:
        return len(dict(self._lines()))

    def _lines(self) -> Iterator[tuple[str, str]]:
        for line in self._head.decode("latin-1").split("\r\n")[1:-2]:
            name, _, value = line.partition(":")
            yield name.lower(), value.strip(" \t")


def named(headers: Mapping[str, str], start: str) -> dict[str, str]:
    """The headers whose names begin so, by what follows of the name."""
    if type(headers) is Fields and b"\r\n" + start.encode("latin-1") not in headers._lower:
        return {}
    return {name[len(start) :]: headers[name] for name in headers if name.startswith(start)}


def _needle(name: str) -> bytes:
    needle = f"\r\n{name}:".encode("latin-1")
    if len(_needles) < 1024:
        _needles[name] = needle
    return needle


def plain_reply(exchange: Exchange, data: bytes) -> tuple[Reply, bool] | None:
    """The reply, and whether its connection may serve again; None to go the long way.

    data: what came in at once after the request was sent.
    """
    if exchange.stream or exchange.into is not None or exchange.sent != "all":
        return None
    match = _PLAIN.match(data)
    if match is None:
        return None
    end = match.end()
    head = data[:end]
    lower = head.lower()
    if b"\r\ntransfer-encoding:" in lower or b"\r\nupgrade:" in lower:
        return None
    status = int(data[9:12])
    bodiless = exchange.method == "HEAD" or status == 204 or status == 304
    at = lower.find(_LENGTH)
    if at >= 0:
        digits = lower[at + len(_LENGTH) : lower.find(b"\r\n", at + 2)].strip(b" \t")
        if not digits.isdigit() or len(digits) > _MAX_DIGITS or lower.find(_LENGTH, at + 2) >= 0:
            return None
        length = 0 if bodiless else int(digits)
    elif bodiless:
        length = 0
    else:
        return None
    if len(data) - end != length or (exchange.max_body is not None and length > exchange.max_body):
        return None
    fields = Fields(head, lower)
    keep = True
    if b"\r\nconnection:" in lower:
        said = fields["connection"].lower()
        if said != "close" and said != "keep-alive":
            return None
        keep = said == "keep-alive"
    return Reply(status, fields, data[end:], length), keep
