"""AWS Signature Version 4, with the signing key derived once a day.

Source: "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API
Reference. A request's head is built as bytes in the pass that signs it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Sequence
from math import inf
from operator import itemgetter
from typing import Any, NamedTuple
from urllib.parse import quote

__all__ = [
    "EMPTY_SHA256",
    "REGION",
    "UNSIGNED",
    "Credentials",
    "Signer",
    "query_of",
    "quote_key",
    "quoted",
]

_sha256 = hashlib.sha256
EMPTY_SHA256 = _sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
"""What a region is called; anything else could name another host."""
_UNRESERVED = re.compile(r"[A-Za-z0-9/_.~-]*", re.ASCII)
_BLANKS = re.compile(" {2,}")
_BLOCK = 64  # bytes of SHA-256's blocks
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
_MAX_FORMS = 256
_MAX_FILLED = 32
_CHECKSUM = "x-amz-checksum-crc32"
_HOLE = "\n\0\n"  # where the checksum goes; no header's value holds it

Headers = Sequence[tuple[str, str]]
"""Lower-case names and values, without CR or LF; a tuple where they are the same each time."""


class Credentials(NamedTuple):
    """An access key and what goes with it; `expires` is seconds since the epoch."""

    access_key: str
    secret_key: str
    session_token: str | None = None
    expires: float | None = None

    def __repr__(self) -> str:
        return "Credentials(…)"


def quote_key(key: str) -> str:
    """A key as S3 wants it in a path and signs it.

    >>> quote_key("a b/ü~%")
    'a%20b/%C3%BC~%25'
    """
    return key if _UNRESERVED.fullmatch(key) else quote(key, safe="/-_.~")


def quoted(etag: str) -> str:
    """An ETag as a header holds it; a weak one brings its own quotes."""
    return etag if etag.startswith('W/"') else f'"{etag}"'


def query_of(pairs: Sequence[tuple[str, str]]) -> str:
    """The canonical query string: percent-encoded and sorted by encoded name."""
    encoded = [(quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in pairs]
    return "&".join([f"{name}={value}" for name, value in sorted(encoded)])


class _Moment(NamedTuple):
    """What all signatures of one second share.

    `inner` and `outer` are HMAC's two hashes (RFC 2104), keyed, and `inner` fed
    with all of the string to sign that is known: copying both is quicker than
    keying them for each request. `start`: the text before the signed names.
    `filled`: what `Signer._fill` made of headers that are the same each time.
    """

    second: int
    stamp: str
    inner: Any
    outer: Any
    start: str
    filled: dict[tuple[Headers, str, bool], tuple[str, str, str]]


class _Form(NamedTuple):
    """Headers of certain names, as `%` fills in their values, the payload's hash and the time.

    `order` sorts those; `canonical` is what is signed, `lines` what is sent.
    """

    order: Callable[[tuple[str, ...]], tuple[str, ...]]
    canonical: str
    lines: str
    names: str


class Signer:
    """Builds signed request heads for one host, region and set of credentials.

    `credentials=None` is anonymous: nothing is signed. `skew` is how many
    seconds the server's clock is ahead of this one.
    """

    def __init__(
        self, credentials: Credentials | None, region: str, host: str, skew: float = 0.0
    ) -> None:
        self.credentials = credentials
        self.region = region
        self.host = host
        self.skew = skew
        self.refused = False  # by the server, whatever `expires` says
        # Each replaced as a whole, so that threads never see half of it.
        self._moment = _Moment(-1, "", None, None, "", {})
        self._key = ("", b"")
        self._forms: dict[tuple[str, ...], _Form] = {}

    def __repr__(self) -> str:
        return f"<Signer {self.host} {self.region}>"

    @property
    def good_until(self) -> float:
        """When the credentials end, in seconds since the epoch."""
        credentials = self.credentials
        return inf if credentials is None or credentials.expires is None else credentials.expires

    def head(
        self,
        method: str,
        path: str,
        query: str,
        headers: Headers,
        payload: str,
        length: int | None,
        checksum: str | None = None,
    ) -> bytes:
        """The request's head, blank line included.

        path and query are encoded and canonical; headers lower-case; payload is
        the body's SHA-256 or what stands for it; length in bytes, None for a
        request that can have no body; checksum: its CRC-32, as S3 writes it.
        """
        target = f"{path}?{query}" if query else path
        tail = "" if length is None else f"Content-Length: {length}\r\n"
        if checksum is not None:
            tail = f"{tail}{_CHECKSUM}: {checksum}\r\n"
        credentials = self.credentials
        if credentials is None:
            lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
            return (f"{method} {target} HTTP/1.1\r\nHost: {self.host}\r\n{lines}{tail}\r\n").encode(
                "latin-1"
            )
        second = int(time.time() + self.skew)
        moment = self._moment
        if moment.second != second:
            moment = self._moment = self._at(second, credentials)
        summed = checksum is not None
        filled = moment.filled.get((headers, payload, summed)) if type(headers) is tuple else None
        before, after, lines = filled or self._fill(headers, payload, summed, moment, credentials)
        request = f"{method}\n{path}\n{query}\n{before}{checksum or ''}{after}"
        inner, outer = moment.inner.copy(), moment.outer.copy()
        inner.update(_sha256(request.encode("latin-1")).hexdigest().encode())
        outer.update(inner.digest())
        return (f"{method} {target} HTTP/1.1\r\n{tail}{lines}{outer.hexdigest()}\r\n\r\n").encode(
            "latin-1"
        )

    def _fill(
        self,
        headers: Headers,
        payload: str,
        summed: bool,
        moment: _Moment,
        credentials: Credentials,
    ) -> tuple[str, str, str]:
        """What is signed behind the query, before and after the checksum if that is `summed`.

        The third is what is sent between the checksum and the signature.
        """
        given = [*headers, (_CHECKSUM, _HOLE)] if summed else headers
        names: tuple[str, ...] = ()
        values: tuple[str, ...] = ()
        if given:
            names, values = zip(*given, strict=True)
        form = self._forms.get(names) or self._form(names, credentials)
        values = form.order((*values, payload, moment.stamp))
        canonical = form.canonical % values
        if "  " in canonical:  # signed with runs of blanks folded, sent as they are
            canonical = _BLANKS.sub(" ", canonical)
        before, _, after = canonical.rpartition(_HOLE)
        lines = form.lines % values
        if summed:
            lines = lines.replace(f"{_CHECKSUM}: {_HOLE}\r\n", "")
        filled = (before, after + payload, f"{lines}{moment.start}{form.names}, Signature=")
        if type(headers) is tuple and len(moment.filled) < _MAX_FILLED:
            moment.filled[headers, payload, summed] = filled
        return filled

    def _at(self, second: int, credentials: Credentials) -> _Moment:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        day = stamp[:8]
        known, key = self._key
        if known != day:
            key = b"AWS4" + credentials.secret_key.encode()
            for part in (day, self.region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key = (day, key)
        block = key.ljust(_BLOCK, b"\0")
        scope = f"{day}/{self.region}/s3/aws4_request"
        inner, outer = _sha256(block.translate(_INNER)), _sha256(block.translate(_OUTER))
        inner.update(f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n".encode())
        start = (
            f"Authorization: AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            "SignedHeaders="
        )
        return _Moment(second, stamp, inner, outer, start, {})

    def _form(self, names: tuple[str, ...], credentials: Credentials) -> _Form:
        # The given values in their order, then the payload's hash and the time.
        places = [*names, "x-amz-content-sha256", "x-amz-date"]
        order = sorted(range(len(places)), key=places.__getitem__)
        every = [(places[place], "%s") for place in order]
        every.append(("host", self.host.replace("%", "%%")))
        if credentials.session_token:
            every.append(("x-amz-security-token", credentials.session_token.replace("%", "%%")))
        every.sort(key=itemgetter(0))
        joined = ";".join([name for name, _ in every])
        form = _Form(
            itemgetter(*order),
            "".join([f"{name}:{value}\n" for name, value in every]) + f"\n{joined}\n",
            "".join([f"{name}: {value}\r\n" for name, value in every]),
            joined,
        )
        if len(self._forms) >= _MAX_FORMS:  # metadata may have any names
            self._forms = {}
        self._forms[names] = form
        return form
