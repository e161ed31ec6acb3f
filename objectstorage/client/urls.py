"""Where a service is."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

import httpx

from objectstorage.errors import ErrBadRequest

__all__ = ["place_of"]


def place_of(url: str, headers: Mapping[str, str]) -> tuple[str, httpx.Headers]:
    """The URL to ask, without the credentials in it, and the headers that have them instead.

    HTTP clients log the URLs they ask for, and a password must not be in a log.
    `ErrBadRequest` for what is no service's URL, which is not shown, either.

    >>> url, headers = place_of("https://me:secret@host:8470/runs/", {})
    >>> url, headers["authorization"]
    ('https://host:8470/runs', 'Basic bWU6c2VjcmV0')
    """
    given = httpx.Headers(headers)
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL()  # its message shows the URL
    if parts.scheme not in ("http", "https") or not parts.host or {"?", "#"} & set(url):
        raise ErrBadRequest("a service's URL is http(s)://host[:port][/path]")
    if parts.userinfo:
        pair = f"{parts.username}:{parts.password}".encode()
        given.setdefault("authorization", f"Basic {b64encode(pair).decode()}")
    return str(parts.copy_with(userinfo=b"")).rstrip("/"), given
