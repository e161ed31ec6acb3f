"""The S3 transports against scripted servers on loopback sockets."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gc
import ipaddress
import os
import pickle
import signal
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import HEAD, OK, Handler, Server, once, put_head, replies, request

from objectstorage.aio.transport import AsyncTransport
from objectstorage.bodies import Source, as_source
from objectstorage.errors import ErrClosed, ErrIntegrity, ErrInvalidURL, ErrUnsupported
from objectstorage.s3._http import MalformedReply, ReplyBody, ReplyParser, head_end
from objectstorage.s3.proxied import ProxyTransport
from objectstorage.s3.transport import Exchange, Reply, StreamBody, Transport, TransportError


class OnALoop:
    """The asyncio transport behind blocking calls, its loop in a thread."""

    def __init__(self, *args: object, **options: object) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._transport = AsyncTransport(*args, **options)
        self.stats = self._transport.stats

    def _call(self, coroutine: Coroutine[object, object, object]) -> object:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def send(self, exchange: Exchange) -> object:
        return self._call(self._transport.send(exchange))

    def read(self, reply: Reply, n: int) -> object:
        return self._call(self._transport.read(reply, n))

    def read_into(self, reply: Reply, view: memoryview) -> object:
        return self._call(self._transport.read_into(reply, view))

    def abort(self, reply: Reply) -> None:
        self._call(self._transport.abort(reply))

    def close(self) -> None:
        self._call(self._transport.close())
        self._call(asyncio.sleep(0))  # connections that were dropped close in the loop

    def settle(self) -> None:
        """Let the loop do what it was asked to do from elsewhere."""
        self._call(asyncio.sleep(0))

    def stop(self) -> None:
        self._call(self._transport.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


KINDS = {"blocking": Transport, "asyncio": OnALoop}


@contextlib.contextmanager
def using(kind: str, *args: object, **options: object) -> Iterator[Transport]:
    transport = KINDS[kind](*args, **options)
    try:
        yield transport
    finally:
        transport.close()
        try:
            assert transport.stats.in_use == 0
        finally:
            if kind == "asyncio":
                transport.stop()


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


Talk = Callable[..., contextlib.AbstractContextManager[tuple[Transport, Server]]]


@pytest.fixture
def talk(kind: str) -> Talk:
    """A server with these handlers, and a transport of either kind to it."""

    @contextlib.contextmanager
    def context(*handlers: Handler, **options: object) -> Iterator[tuple[Transport, Server]]:
        with (
            Server(*handlers) as server,
            using(kind, "127.0.0.1", server.port, **options) as transport,
        ):
            yield transport, server

    return context


def get(transport: Transport, **options: object) -> Reply:
    return transport.send(Exchange("GET", HEAD, **options))


# -- reading replies ---------------------------------------------------------------


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (OK, 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, b""),
        (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", 200, b"ok"),
        (CHUNKED + b"1;x=y\r\no\r\n1\r\nk\r\n0\r\nServer: forged\r\n\r\n", 200, b"ok"),
        (CHUNKED + b"0\r\n\r\n", 200, b""),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b""),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nerr", 404, b"err"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 P\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    ],
)
def test_whole_replies_keep_the_connection(
    raw: bytes, status: int, body: bytes, talk: Talk
) -> None:
    with talk(replies(raw)) as (transport, server):
        for _ in range(3):
            reply = transport.send(Exchange("GET", HEAD))
            assert (reply.status, bytes(reply.body)) == (status, body)
            assert "server" not in reply.headers
        assert server.accepted == 1
        assert (transport.stats.opened, transport.stats.reused) == (1, 2)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: foo, Close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        OK + b"x",
        CHUNKED + b"2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        CHUNKED + b"2\r\nok\r\n0\r\n\r\nx",
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_replies_after_which_a_connection_is_not_used_again(
    raw: bytes, stream: bool, talk: Talk
) -> None:
    with talk(replies(raw)) as (transport, server):
        for count in (1, 2):
            reply = transport.send(Exchange("GET", HEAD, stream=stream))
            body = transport.read(reply, 100) if stream else reply.body
            assert body == b"ok"
            assert transport.read(reply, 100) == b""
            assert transport.stats.in_use == 0
            assert server.accepted == count


@pytest.mark.parametrize("stream", [False, True])
def test_a_body_may_end_with_the_connection(stream: bool, talk: Talk) -> None:
    with talk(once(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000)) as (transport, _):
        reply = transport.send(Exchange("GET", HEAD, stream=stream))
        assert reply.length is None
        body = reply.body
        if stream:
            body = b"".join(iter(lambda: transport.read(reply, 1000), b""))
        assert body == b"x" * 200_000
        assert transport.stats.in_use == 0


def test_head_has_no_body_whatever_it_declares(talk: Talk) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: e\r\nX-A: 1\r\nx-a: 2\r\n\r\n"
    with talk(replies(raw)) as (transport, server):
        for _ in range(2):
            reply = transport.send(Exchange("HEAD", HEAD))
            assert reply.headers == {"content-length": "1000", "etag": "e", "x-a": "1, 2"}
            assert (reply.body, reply.length) == (b"", 0)
        assert server.accepted == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n0123456789",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nA: b\x00c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"RTSP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"A%d: b\r\n" % i for i in range(500)) + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000 + OK,
        CHUNKED + b"xyz\r\n",
        CHUNKED + b"ffffffffffffffffffff\r\n",
        CHUNKED + b"2\r\nokX\r\n0\r\n\r\n",
        CHUNKED + b"0\r\n" + b"A: b\r\n" * 30_000 + b"\r\n",
    ],
)
def test_malformed_replies_are_refused(raw: bytes, talk: Talk) -> None:
    # the connection stays open: nothing but the bytes can tell
    def handler(conn: socket.socket) -> None:
        request(conn)
        conn.sendall(raw)
        conn.recv(1)

    with talk(handler) as (transport, _):
        with pytest.raises(TransportError) as caught:
            get(transport)
        assert caught.value.sent == "all"
        assert not caught.value.timeout


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 2",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 2_999_999,
        CHUNKED + b"2\r\nok\r\n",
        CHUNKED + b"5\r\nok",
        CHUNKED + b"2\r\nok\r\n0\r\n",
    ],
)
@pytest.mark.parametrize("how", ["whole", "stream", "into"])
def test_a_reply_cut_short_is_an_error(raw: bytes, how: str, talk: Talk) -> None:
    with talk(once(raw)) as (transport, _):
        into = memoryview(bytearray(4_000_000)) if how == "into" else None
        with pytest.raises(TransportError) as caught:  # noqa: PT012 - either may raise
            reply = transport.send(Exchange("GET", HEAD, stream=how == "stream", into=into))
            while transport.read(reply, 65536):
                pass
        assert caught.value.sent == "all"
        assert not caught.value.timeout
        if how == "stream" and raw.endswith(b"x"):
            # and stays one, however often it is asked
            with pytest.raises(TransportError):
                transport.read(reply, 1)


@given(
    chunks=st.lists(st.binary(max_size=40), max_size=6),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_chunks_however_they_are_split(chunks: list[bytes], cuts: list[int]) -> None:
    raw = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks if chunk)
    raw += b"0\r\n\r\n"
    parser = ReplyParser()
    parser.head(CHUNKED, "GET")
    edges = sorted({0, len(raw), *[cut for cut in cuts if cut < len(raw)]})
    got = b""
    for start, end in zip(edges, edges[1:], strict=False):
        assert not parser.complete
        got += b"".join(parser.chunks(raw[start:end]))
    assert parser.complete
    assert not parser.trailing
    assert got == b"".join(chunks)


@given(
    st.lists(
        st.sampled_from(
            [b"HTTP/1.1 ", b"200", b" OK", b"\r\n", b"\n", b"\r", b"a: b", b"x", b":", b" ", b"\0"]
        ),
        max_size=12,
    )
)
def test_no_head_is_taken_for_another(parts: list[bytes]) -> None:
    data = b"".join(parts)
    try:
        end = head_end(data, 100)
    except MalformedReply:
        return
    if not end:
        return
    parser = ReplyParser()
    try:
        parser.head(data[:end], "GET")
    except MalformedReply:
        return
    lines = data[:end].split(b"\r\n")
    assert lines[-2:] == [b"", b""]
    assert len(parser.headers) <= len(lines) - 3
    assert all(b"\n" not in line and b"\r" not in line for line in lines)


# -- bodies ------------------------------------------------------------------------

BIG = os.urandom(1 << 20) * 6


def echo(conn: socket.socket) -> None:
    """Send each request's body back."""
    while (got := request(conn))[0]:
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(got[1]))
        conn.sendall(got[1])


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for a server at 127.0.0.1 and for clients that trust it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    cert = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder: Path = tmp_path_factory.mktemp("tls")
    (folder / "cert").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    (folder / "key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert", folder / "key")
    return server, ssl.create_default_context(cafile=str(folder / "cert"))


@pytest.fixture(params=["tcp", "tls"])
def echoing(
    request: pytest.FixtureRequest, kind: str, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> Iterator[Transport]:
    tls = contexts if request.param == "tls" else (None, None)
    with (
        Server(echo, tls=tls[0]) as server,
        using(kind, "127.0.0.1", server.port, tls[1]) as transport,
    ):
        yield transport
        assert server.accepted == 1


@pytest.mark.parametrize("size", [0, 1, 1000, 65_535, 65_536, 65_537, 300_000, len(BIG)])
def test_bodies_of_every_size_both_ways(echoing: Transport, size: int) -> None:
    data = memoryview(BIG)[:size]
    head = put_head(size)
    assert echoing.send(Exchange("PUT", head, data)).body == data
    reply = echoing.send(Exchange("PUT", head, bytearray(data)))
    assert type(reply.body) is bytes
    assert reply.body == data
    buffer = bytearray(size + 5)
    reply = echoing.send(Exchange("PUT", head, data, into=memoryview(buffer)))
    assert reply.body == data == buffer[:size]
    assert len(reply.body) == size
    reply = echoing.send(Exchange("PUT", head, data, stream=True))
    assert reply.length == size
    assert b"".join(iter(lambda: echoing.read(reply, 70_000), b"")) == data
    reply = echoing.send(Exchange("PUT", head, StreamBody(as_source(data), size), stream=True))
    view, at = memoryview(bytearray(size)), 0
    while at < size:
        at += echoing.read_into(reply, view[at : at + 100_000])
    assert echoing.read_into(reply, memoryview(bytearray(1))) == 0
    assert view == data


def test_a_large_body_is_in_memory_once() -> None:
    size = 8 << 20
    parser = ReplyParser()
    parser.head(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, "GET")
    steps = ReplyBody(parser, b"first").read_all(None, None)
    tracemalloc.start()
    try:
        want = steps.send(None)
        while True:
            got = min(len(want), 3 << 20)
            want[0] = 1
            want = steps.send(got)
    except StopIteration as stop:
        body = stop.value
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(body) is bytes
    assert (len(body), body[:6]) == (size, b"first\x01")
    assert peak < 1.1 * size


def test_a_body_that_does_not_fit_its_buffer_is_an_error(talk: Talk) -> None:
    with talk(replies(OK), replies(CHUNKED + b"2\r\nok\r\n0\r\n\r\n")) as (transport, _):
        for _ in range(2):
            with pytest.raises(TransportError, match="exceeds 1 bytes"):
                get(transport, into=memoryview(bytearray(1)))
            assert transport.stats.in_use == 0


def test_a_body_beyond_the_limit_is_an_error(talk: Talk) -> None:
    with talk(replies(OK), replies(CHUNKED + b"2\r\nok\r\n" * 9)) as (transport, _):
        for _ in range(2):
            with pytest.raises(TransportError, match="exceeds 1 bytes"):
                get(transport, max_body=1)


def test_errors_are_read_up_to_a_cap_also_when_streamed(talk: Talk) -> None:
    head = b"HTTP/1.1 500 Oh\r\nContent-Length: 500000\r\n\r\n"
    with talk(replies(head + b"x" * 500_000), max_error_body=100_000) as (transport, server):
        for stream in (False, True):
            reply = transport.send(Exchange("GET", HEAD, stream=stream))
            assert (reply.status, reply.body) == (500, b"x" * 100_000)
        assert server.accepted == 2


def test_an_error_without_an_end_is_cut_at_the_cap(talk: Talk) -> None:
    def handler(conn: socket.socket) -> None:
        request(conn)
        conn.sendall(b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            conn.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")

    with talk(handler) as (transport, _):
        assert len(transport.send(Exchange("GET", HEAD)).body) == 1024 * 1024


def test_giving_a_stream_up_closes_its_connection(talk: Talk) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
    with talk(replies(raw)) as (transport, server):
        reply = transport.send(Exchange("GET", HEAD, stream=True))
        assert transport.read(reply, 10) == b"x" * 10
        assert transport.stats.in_use == 1
        transport.abort(reply)
        assert transport.stats.in_use == 0
        with pytest.raises(TransportError, match="given up"):
            while transport.read(reply, 1 << 20):
                pass
        reply = transport.send(Exchange("GET", HEAD, stream=True))
        assert transport.stats.in_use == 1
        del reply
        gc.collect()
        assert transport.stats.in_use == 0
        assert server.accepted == 2


# -- sending -----------------------------------------------------------------------


class Stop(BaseException):
    """Like an interrupt, but event loops let it pass."""


class Pieces(Source):
    """Data from a list; an exception in it is raised when its turn comes."""

    def __init__(self, *pieces: bytes | BaseException) -> None:
        self._pieces = list(pieces)

    def read(self, n: int) -> bytes:
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if isinstance(piece, BaseException):
            raise piece
        assert len(piece) <= n
        return piece


@pytest.mark.parametrize("size", [3, 300_000])
@pytest.mark.parametrize("declared", [-1, 1])
def test_a_stream_that_is_not_what_it_declared_is_never_completed(
    size: int, declared: int, talk: Talk
) -> None:
    bodies: list[bytes] = []
    done = threading.Event()

    def handler(conn: socket.socket) -> None:
        bodies.append(request(conn)[1])
        done.set()

    class Encoder(StreamBody):
        def want(self) -> int:
            return 100_000

    with talk(handler) as (transport, _):
        data = [BIG[:100_000]] * (size // 100_000) + [b"x" * (size % 100_000)]
        source = Pieces(*[piece for piece in data if piece])
        exchange = Exchange("PUT", put_head(size + declared), Encoder(source, size + declared))
        with pytest.raises(ErrIntegrity):
            transport.send(exchange)
        assert exchange.sent != "all"
        assert done.wait(10)
        assert len(bodies[0]) < size + declared


@pytest.mark.parametrize("error", [ValueError("mine"), OSError("my disk"), Stop()])
def test_errors_of_the_source_are_the_callers_own(error: BaseException, talk: Talk) -> None:
    with talk(replies(OK)) as (transport, _):
        exchange = Exchange("PUT", put_head(200), StreamBody(Pieces(b"x" * 100, error), 200))
        with pytest.raises(type(error)) as caught:
            transport.send(exchange)
        assert caught.value is error
        assert exchange.sent != "all"
        assert transport.stats.in_use == 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("close", [False, True])
def test_an_early_refusal_is_read_while_a_large_body_is_sent(
    stream: bool, close: bool, talk: Talk
) -> None:
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
    over = threading.Event()

    def handler(conn: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += conn.recv(1000)
        conn.sendall(refusal)
        if close:
            conn.shutdown(socket.SHUT_WR)
        over.wait(30)  # and never reads on

    with talk(handler, replies(OK)) as (transport, server):
        size = 64 << 20
        data = bytes(size)
        body = StreamBody(as_source(data), size) if stream else data
        exchange = Exchange("PUT", put_head(size), body)
        reply = transport.send(exchange)
        over.set()
        assert (reply.status, reply.body) == (403, b"no")
        assert exchange.sent == "some"
        assert transport.send(Exchange("GET", HEAD)).status == 200
        assert server.accepted == 2


def test_an_early_success_is_no_success(talk: Talk) -> None:
    def handler(conn: socket.socket) -> None:
        conn.recv(1000)
        conn.sendall(OK)
        conn.recv(1000)
        server.finished.wait(30)

    with talk(handler) as (transport, server):
        try:
            with pytest.raises(TransportError, match="before the request") as caught:
                transport.send(Exchange("PUT", put_head(64 << 20), bytes(64 << 20)))
            assert caught.value.sent == "some"
        finally:
            server.finished.set()


def test_an_interim_reply_does_not_stop_a_large_body(talk: Talk) -> None:
    sent = threading.Event()

    def handler(conn: socket.socket) -> None:
        conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        sent.set()
        got = request(conn)[1]
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n%8d" % len(got))

    class Waiting(StreamBody):
        def want(self) -> int:
            assert sent.wait(10)
            return super().want()

    with talk(handler) as (transport, _):
        body = Waiting(as_source(BIG), len(BIG))
        reply = transport.send(Exchange("PUT", put_head(len(BIG)), body))
        assert int(reply.body) == len(BIG)


# -- connections -------------------------------------------------------------------


def test_a_connection_found_dead_is_replaced_unseen(talk: Talk) -> None:
    closed = threading.Event()

    def first(conn: socket.socket) -> None:
        request(conn)
        conn.sendall(OK)
        conn.close()
        closed.set()

    with talk(first, replies(OK)) as (transport, server):
        assert get(transport).status == 200
        assert closed.wait(10)
        exchange = Exchange("PUT", put_head(1), b"x")
        assert transport.send(exchange).status == 200
        assert server.accepted == 2
        assert transport.stats.replaced == 1


def test_a_connection_with_unasked_bytes_is_replaced(talk: Talk) -> None:
    more = threading.Event()
    sent = threading.Event()

    def first(conn: socket.socket) -> None:
        request(conn)
        conn.sendall(OK)
        more.wait(10)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        sent.set()
        conn.recv(1)

    with talk(first, replies(OK)) as (transport, _):
        get(transport)
        more.set()
        assert sent.wait(10)
        assert get(transport).body == b"ok"
        assert transport.stats.replaced == 1


def test_a_connection_idle_for_long_is_not_used_again(talk: Talk) -> None:
    with talk(replies(OK), idle_timeout=0) as (transport, server):
        get(transport)
        get(transport)
        assert server.accepted == 2


def test_a_close_without_a_reply_is_not_retried_here(talk: Talk) -> None:
    seen: list[bytes] = []

    def handler(conn: socket.socket) -> None:
        seen.append(request(conn)[0])
        conn.sendall(OK)
        seen.append(request(conn)[0])

    with talk(handler) as (transport, server):
        get(transport)
        with pytest.raises(TransportError) as caught:
            get(transport)
        assert caught.value.sent == "all"
        assert len(seen) == 2
        assert server.accepted == 1


def test_nothing_is_sent_when_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    transport = Transport("127.0.0.1", port)
    exchange = Exchange("GET", HEAD)
    with pytest.raises(TransportError) as caught:
        transport.send(exchange)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert caught.value.sent == exchange.sent == "nothing"
    assert transport.stats.in_use == 0


def test_a_silent_server_times_out(talk: Talk) -> None:
    def handler(conn: socket.socket) -> None:
        conn.recv(100)
        over.wait(30)

    over = threading.Event()
    with talk(handler, read_timeout=0.05) as (transport, _):
        with pytest.raises(TransportError) as caught:
            get(transport)
        assert caught.value.timeout
        assert caught.value.sent == "all"
        with pytest.raises(TransportError) as caught:
            transport.send(Exchange("PUT", put_head(64 << 20), bytes(64 << 20)))
        over.set()
        assert caught.value.timeout
        assert caught.value.sent == "some"


@pytest.mark.parametrize("stream", [False, True])
def test_a_dripping_server_meets_the_deadline(stream: bool, talk: Talk) -> None:
    def handler(conn: socket.socket) -> None:
        request(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not server.finished.wait(0.01):
            conn.sendall(b"x")

    with talk(handler) as (transport, server):
        with pytest.raises(TransportError) as caught:  # noqa: PT012 - either may raise
            deadline = time.monotonic() + 0.1
            reply = transport.send(Exchange("GET", HEAD, stream=stream, deadline=deadline))
            while transport.read(reply, 1000):
                pass
        assert caught.value.timeout


def test_a_deadline_that_has_passed_sends_nothing(talk: Talk) -> None:
    with talk(replies(OK)) as (transport, _):
        get(transport)
        with pytest.raises(TransportError) as caught:
            get(transport, deadline=time.monotonic() - 1)
        assert caught.value.timeout
        assert caught.value.sent == "nothing"
        # the connection that was used with a deadline has no memory of it
        get(transport, deadline=time.monotonic() + 5)
        assert get(transport).status == 200


def test_waiting_for_a_connection_ends(talk: Talk) -> None:
    with talk(replies(OK + b""), max_connections=1, pool_timeout=0.05) as (transport, _):
        raw = Exchange("GET", HEAD, stream=True)
        reply = transport.send(raw)
        assert transport.read(reply, 1) == b"o"  # all of it came in: not kept
        assert transport.stats.in_use == 0
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    with talk(replies(head), max_connections=1, pool_timeout=0.05) as (transport, _):
        reply = transport.send(Exchange("GET", HEAD, stream=True))
        with pytest.raises(TransportError, match="all 1 connections") as caught:
            get(transport)
        assert caught.value.timeout
        assert caught.value.sent == "nothing"
        transport.abort(reply)


def test_many_threads_share_few_connections(talk: Talk) -> None:
    with talk(replies(OK), max_connections=3) as (transport, server):
        statuses: list[int] = []

        def work() -> None:
            statuses.extend([get(transport).status for _ in range(20)])

        threads = [threading.Thread(target=work) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 2000
        assert server.accepted <= 3


def test_after_close_nothing_is_sent_and_nothing_stays_open(talk: Talk) -> None:
    with talk(replies(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")) as (transport, _):
        reply = transport.send(Exchange("GET", HEAD, stream=True))
        transport.close()
        with pytest.raises(ErrClosed):
            get(transport)
        transport.abort(reply)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_no_failure_leaks_a_descriptor() -> None:
    before = descriptors()
    with Server(
        once(b""),
        once(OK[:-1]),
        once(b"junk\r\n\r\n"),
        once(OK + b"x"),
        once(CHUNKED + b"5\r\no"),
        replies(OK),
    ) as server:
        transport = Transport("127.0.0.1", server.port)
        for _ in range(12):
            with contextlib.suppress(TransportError):
                get(transport)
            with contextlib.suppress(TransportError):
                transport.read(transport.send(Exchange("GET", HEAD, stream=True)), 1)
        transport.close()
    gc.collect()
    assert descriptors() == before


@pytest.mark.parametrize("kind", ["blocking"])
def test_an_interrupt_drops_the_connection(talk: Talk) -> None:
    class Interrupt(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupt

    me = threading.get_ident()

    def handler(conn: socket.socket) -> None:
        request(conn)
        signal.pthread_kill(me, signal.SIGUSR1)
        conn.recv(1)

    former = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with talk(handler, replies(OK)) as (transport, server):
            exchange = Exchange("PUT", put_head(1), b"x")
            with pytest.raises(Interrupt):
                transport.send(exchange)
            assert exchange.sent == "all"
            assert transport.stats.in_use == 0
            assert get(transport).status == 200
            assert server.accepted == 2
    finally:
        signal.signal(signal.SIGUSR1, former)


@pytest.mark.parametrize("kind", ["blocking"])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork beside threads
def test_a_forked_child_starts_afresh_and_leaves_the_parents_alone(talk: Talk) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"

    def first(conn: socket.socket) -> None:
        request(conn)
        conn.sendall(head + b"abc")
        more.wait(30)
        conn.sendall(b"def")
        replies(OK)(conn)

    more = threading.Event()
    with talk(first, replies(OK)) as (transport, server):
        stream = transport.send(Exchange("GET", HEAD, stream=True))
        child = os.fork()
        if child == 0:
            status = 1
            try:
                transport.after_fork()
                with contextlib.suppress(TransportError):
                    while transport.read(stream, 6):
                        pass
                if transport.stats.in_use == 0 and get(transport).body == b"ok":
                    status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        more.set()
        assert b"".join(iter(lambda: transport.read(stream, 6), b"")) == b"abcdef"
        assert get(transport).body == b"ok"
        assert server.accepted == 2


# -- TLS ---------------------------------------------------------------------------


def test_a_certificate_that_is_not_trusted_is_refused(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    with Server(replies(OK), tls=contexts[0]) as server:
        for context, name in (
            (ssl.create_default_context(), None),
            (contexts[1], "other.example"),
        ):
            transport = Transport("127.0.0.1", server.port, context, server_hostname=name)
            with pytest.raises(TransportError) as caught:
                get(transport)
            assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
            assert caught.value.sent == "nothing"


def test_an_end_that_tls_did_not_announce_is_no_end(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    def handler(conn: socket.socket) -> None:
        request(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        # closes below TLS, as somebody on the way could

    with Server(handler, tls=contexts[0]) as server:
        transport = Transport("127.0.0.1", server.port, contexts[1])
        with pytest.raises(TransportError):
            get(transport)


def test_tls_timeouts(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    def handler(conn: socket.socket) -> None:
        request(conn)
        conn.recv(1)

    with Server(handler, tls=contexts[0]) as server:
        transport = Transport("127.0.0.1", server.port, contexts[1], read_timeout=0.05)
        with pytest.raises(TransportError) as caught:
            get(transport)
        assert caught.value.timeout


def test_errors_and_exchanges_show_no_secret() -> None:
    exchange = Exchange("GET", b"GET / HTTP/1.1\r\nAuthorization: canary\r\n\r\n", b"canary")
    assert "canary" not in repr(exchange)
    error = pickle.loads(pickle.dumps(TransportError("m", sent="some", timeout=True)))
    assert (str(error), error.sent, error.timeout) == ("m", "some", True)


# -- by way of a proxy -------------------------------------------------------------


class Relay:
    """A CONNECT proxy: a handler that records what it was asked and joins the two ends."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> None:
        self.answer = answer
        self.asked: list[bytes] = []

    def __call__(self, conn: socket.socket) -> None:
        head, _ = request(conn)
        self.asked.append(head)
        conn.sendall(self.answer)
        if b" 200 " not in self.answer:
            return
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        with socket.create_connection((host, int(port))) as upstream:
            back = threading.Thread(target=self.pump, args=(upstream, conn))
            back.start()
            self.pump(conn, upstream)
            back.join()

    @staticmethod
    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def test_a_tunnel_carries_tls_to_the_endpoint(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    relay = Relay()
    with Server(echo, tls=contexts[0]) as server, Server(relay) as proxy:
        transport = ProxyTransport(
            "127.0.0.1", server.port, contexts[1], proxy=f"http://u%40:p@127.0.0.1:{proxy.port}"
        )
        for _ in range(2):
            assert transport.send(Exchange("PUT", put_head(len(BIG)), BIG)).body == BIG
        transport.close()
        assert relay.asked == [
            b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
            b"Proxy-Authorization: Basic dUA6cA==" % (server.port, server.port)
        ]
        assert server.accepted == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 O",
        b"junk",
    ],
)
def test_a_proxy_that_opens_no_tunnel(
    answer: bytes, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    with Server(once(answer)) as proxy:
        transport = ProxyTransport(
            "127.0.0.1", 9, contexts[1], proxy=f"http://u:canary@127.0.0.1:{proxy.port}"
        )
        with pytest.raises(TransportError, match="proxy") as caught:
            get(transport)
        assert caught.value.sent == "nothing"
        assert "canary" not in f"{caught.value!r} {transport!r}"


def test_a_proxy_forwards_plain_http() -> None:
    asked: list[bytes] = []

    def handler(conn: socket.socket) -> None:
        while (got := request(conn))[0]:
            asked.append(got[0])
            conn.sendall(OK)

    with Server(handler) as proxy:
        transport = ProxyTransport(
            "store.example", 9000, proxy=f"http://u:p@127.0.0.1:{proxy.port}"
        )
        exchange = Exchange("GET", HEAD)
        for _ in range(2):
            assert transport.send(exchange).body == b"ok"
        transport.close()
    assert (
        asked
        == [
            b"GET http://store.example:9000/b/k HTTP/1.1\r\n"
            b"Proxy-Authorization: Basic dTpw\r\nHost: h"
        ]
        * 2
    )


@pytest.mark.parametrize("proxy", ["socks5://h:1", "http://", "http://h:port", "http://h:99999"])
def test_what_can_be_no_proxy(proxy: str) -> None:
    with pytest.raises(ErrInvalidURL, match="a proxy is"):
        ProxyTransport("h", 1, proxy=proxy)


def test_tls_within_tls_is_refused() -> None:
    with pytest.raises(ErrUnsupported):
        ProxyTransport("h", 443, ssl.create_default_context(), proxy="https://p:3128")
