"""Which transport reaches an origin: directly, or through a proxy."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from objectstorage.s3.options import Options
from objectstorage.s3.transport import Transport

__all__ = ["connect", "proxy_for"]


def proxy_for(options: Options, origin: str) -> str | None:
    """The proxy that the option or the environment names for an origin."""
    parts = urlsplit(origin)
    if options.proxy is not None:
        return options.proxy or None
    if proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


def connect(options: Options, origin: str, tls: ssl.SSLContext | None) -> Any:
    """A transport to `origin` (scheme://host[:port])."""
    parts = urlsplit(origin)
    secure = parts.scheme == "https"
    if secure and tls is None:
        raise ValueError("TLS is never dropped")
    proxy = proxy_for(options, origin)
    arguments: dict[str, Any] = {
        "connect_timeout": options.connect_timeout,
        "read_timeout": options.read_timeout,
        "max_connections": options.connections,
    }
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    if proxy is not None:
        from objectstorage.s3.proxied import ProxyTransport

        return ProxyTransport(host, port, tls, proxy=proxy, **arguments)
    return Transport(host, port, tls if secure else None, **arguments)
