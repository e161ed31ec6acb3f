"""Which asyncio transport reaches an origin: lean sockets, or threads through a proxy."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import urlsplit

from objectstorage.aio.transport import AsyncTransport
from objectstorage.s3.connecting import proxy_for
from objectstorage.s3.options import Options

__all__ = ["connect"]


def connect(options: Options, origin: str, tls: ssl.SSLContext | None) -> Any:
    """A transport to `origin` (scheme://host[:port])."""
    parts = urlsplit(origin)
    secure = parts.scheme == "https"
    if secure and tls is None:
        raise ValueError("TLS is never dropped")
    if proxy_for(options, origin) is not None:
        from objectstorage.aio.proxied import ThreadedTransport
        from objectstorage.s3.connecting import connect as connect_blocking

        return ThreadedTransport(connect_blocking(options, origin, tls), options.connections)
    return AsyncTransport(
        parts.hostname or "",
        parts.port or (443 if secure else 80),
        tls if secure else None,
        connect_timeout=options.connect_timeout,
        read_timeout=options.read_timeout,
        max_connections=options.connections,
    )
