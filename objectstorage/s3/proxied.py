"""The blocking transport by way of an HTTP proxy.

To an https endpoint it opens a tunnel, in which the proxy sees only bytes; to
an http one it asks the proxy to forward. Everything else is `Transport`'s.
"""

from __future__ import annotations

import base64
import socket
import ssl
from typing import Any
from urllib.parse import unquote, urlsplit

from objectstorage.errors import ErrInvalidURL, ErrUnsupported
from objectstorage.s3._http import MalformedReply, ReplyParser, head_end
from objectstorage.s3._sockets import Connection
from objectstorage.s3.exchange import Exchange
from objectstorage.s3.transport import Transport

__all__ = ["ProxyTransport"]

_MAX_HEAD = 64 * 1024


class ProxyTransport(Transport):
    """`Transport` by way of `proxy`: http://[user:password@]host[:port], or https://.

    An https proxy can't carry TLS again: `ErrUnsupported` for an https
    endpoint. What the proxy gets to know: its own user and password, and an
    http endpoint's requests, which anybody on the way could read as well.
    """

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None = None, *, proxy: str, **options: Any
    ) -> None:
        super().__init__(host, port, tls, **options)
        try:
            parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
            proxy_host = parts.hostname
            proxy_port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            proxy_host = None
        if not proxy_host or parts.scheme not in ("http", "https"):
            # the URL is left out: it may hold a password
            raise ErrInvalidURL("a proxy is http://host:port or https://host:port")
        self._proxy_tls = ssl.create_default_context() if parts.scheme == "https" else None
        if tls is not None and self._proxy_tls is not None:
            raise ErrUnsupported("an https:// proxy can't be used for an https:// endpoint")
        self._proxy = (proxy_host, proxy_port)
        self._place = f"{host}:{port} by proxy {proxy_host}:{proxy_port}"
        self._login = b""
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._login = b"Proxy-Authorization: Basic " + base64.b64encode(login) + b"\r\n"
        bare = f"[{host}]" if ":" in host else host
        self._authority = f"{bare}:{port}".encode()
        # as the Host header has it, which is signed and which a proxy makes from this
        self._origin = bare.encode() if port == 80 else self._authority

    def _open(self, timeout: float) -> socket.socket:
        sock = socket.create_connection(self._proxy, timeout)
        try:
            if self._proxy_tls is not None:
                return self._proxy_tls.wrap_socket(
                    sock, server_hostname=self._proxy[0], suppress_ragged_eofs=False
                )
            if self._tls is not None:
                self._tunnel(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def _tunnel(self, sock: socket.socket) -> None:
        """Ask for a connection to the endpoint; `ConnectionError` if there is none."""
        target = self._authority
        sock.sendall(b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (target, target, self._login))
        data = b""
        try:
            # byte by byte would be needed if a server could speak first; TLS's doesn't
            while not (end := head_end(data, _MAX_HEAD)):
                more = sock.recv(4096)
                if not more:
                    raise ConnectionError("the proxy closed the connection")
                data += more
            parser = ReplyParser()
            parser.head(data[:end], "HEAD")
        except MalformedReply as exc:
            raise ConnectionError(f"from the proxy: {exc}") from exc
        if not 200 <= parser.status < 300:
            raise ConnectionError(f"the proxy refused the connection with status {parser.status}")
        if len(data) > end:
            raise ConnectionError("the proxy sent more than its reply")

    def _send_request(self, conn: Connection, exchange: Exchange) -> bytes:
        if self._tls is None:
            method, _, rest = exchange.head.partition(b" ")
            if rest.startswith(b"/"):
                target, end, headers = rest.partition(b"\r\n")
                exchange.head = b"%s http://%s%s%s%s%s" % (
                    method,
                    self._origin,
                    target,
                    end,
                    self._login,
                    headers,
                )
        return super()._send_request(conn, exchange)
