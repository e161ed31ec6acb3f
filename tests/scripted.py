"""Servers for tests that say exactly what they are told to, byte by byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable

HEAD = b"GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Handler = Callable[[socket.socket], object]


class Server:
    """Accepts connections; the n-th is served by the n-th handler, later ones by the last."""

    def __init__(self, *handlers: Handler, tls: ssl.SSLContext | None = None) -> None:
        self.handlers = handlers
        self.tls = tls
        self.accepted = 0
        self.failures: list[BaseException] = []
        self.finished = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Server:
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        return self

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            handler = self.handlers[min(self.accepted, len(self.handlers) - 1)]
            self.accepted += 1
            thread = threading.Thread(target=self._serve, args=(conn, handler))
            self._threads.append(thread)
            thread.start()

    def _serve(self, conn: socket.socket, handler: Handler) -> None:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self.tls is not None:
                conn = self.tls.wrap_socket(conn, server_side=True)
            self._sockets.append(conn)
            handler(conn)
        except OSError:
            pass  # clients leave at any time here
        except BaseException as exc:
            self.failures.append(exc)
        finally:
            conn.close()

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.finished.set()
        for conn in self._sockets:
            with contextlib.suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        assert not self.failures


def request(conn: socket.socket) -> tuple[bytes, bytes]:
    """One request off the wire: head and body; empty at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = conn.recv(65536)
        if not more:
            return b"", data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    pieces, have = [body], len(body)
    while have < length:
        more = conn.recv(1 << 20)
        if not more:
            break
        pieces.append(more)
        have += len(more)
    return head, b"".join(pieces)


def replies(*raw: bytes) -> Handler:
    """Answer request after request with these bytes, the last one over and over."""

    def handler(conn: socket.socket) -> None:
        count = 0
        while request(conn)[0]:
            conn.sendall(raw[min(count, len(raw) - 1)])
            count += 1

    return handler


def once(raw: bytes) -> Handler:
    """Answer one request, then close."""

    def handler(conn: socket.socket) -> None:
        request(conn)
        conn.sendall(raw)

    return handler


def put_head(length: int) -> bytes:
    return b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % length
