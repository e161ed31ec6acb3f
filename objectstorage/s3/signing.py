"""AWS Signature Version 4, with the signing key derived once a day.

Source: "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API
Reference. A request's head is built as bytes in the pass that signs it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Sequence
from typing import NamedTuple
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

Headers = Sequence[tuple[str, str]]
"""Lower-case names and values, without CR or LF."""


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
        # (second, timestamp text, signing key, scope, text before the signed header names):
        # replaced as a whole, so that threads never see half of it
        self._cached: tuple[int, str, bytes, str, str] = (-1, "", b"", "", "")

    def __repr__(self) -> str:
        return f"<Signer {self.host} {self.region}>"

    def _now(self, credentials: Credentials) -> tuple[int, str, bytes, str, str]:
        second = int(time.time() + self.skew)
        cached = self._cached
        if cached[0] == second:
            return cached
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        if cached[1][:8] == stamp[:8]:
            cached = (second, stamp, *cached[2:])
        else:
            key = b"AWS4" + credentials.secret_key.encode()
            for part in (stamp[:8], self.region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
            start = (
                f"Authorization: AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
                "SignedHeaders="
            )
            cached = (second, stamp, key, scope, start)
        self._cached = cached
        return cached

    def head(
        self,
        method: str,
        path: str,
        query: str,
        headers: Headers,
        payload: str,
        length: int | None,
    ) -> bytes:
        """The request's head, blank line included.

        path and query are encoded and canonical; headers lower-case; payload is
        the body's SHA-256 or what stands for it; length in bytes, None for a
        request that can have no body.
        """
        target = f"{path}?{query}" if query else path
        tail = "" if length is None else f"Content-Length: {length}\r\n"
        credentials = self.credentials
        if credentials is None:
            lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
            return (f"{method} {target} HTTP/1.1\r\nHost: {self.host}\r\n{lines}{tail}\r\n").encode(
                "latin-1"
            )
        _, stamp, key, scope, start = self._now(credentials)
        if headers or credentials.session_token:
            every = [
                ("host", self.host),
                ("x-amz-content-sha256", payload),
                ("x-amz-date", stamp),
                *headers,
            ]
            if credentials.session_token:
                every.append(("x-amz-security-token", credentials.session_token))
            every.sort()
            canonical = "".join([f"{name}:{value}\n" for name, value in every])
            if "  " in canonical:  # signed with runs of blanks folded, sent as they are
                canonical = _BLANKS.sub(" ", canonical)
            names = ";".join([name for name, _ in every])
            lines = "".join([f"{name}: {value}\r\n" for name, value in every])
        else:
            canonical = f"host:{self.host}\nx-amz-content-sha256:{payload}\nx-amz-date:{stamp}\n"
            names = "host;x-amz-content-sha256;x-amz-date"
            lines = (
                f"Host: {self.host}\r\nx-amz-content-sha256: {payload}\r\nx-amz-date: {stamp}\r\n"
            )
        request = f"{method}\n{path}\n{query}\n{canonical}\n{names}\n{payload}"
        to_sign = (
            f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{_sha256(request.encode('latin-1')).hexdigest()}"
        )
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        return (
            f"{method} {target} HTTP/1.1\r\n{lines}{tail}{start}{names}, "
            f"Signature={signature}\r\n\r\n"
        ).encode("latin-1")
