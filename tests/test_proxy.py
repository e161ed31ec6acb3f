"""The fault proxy itself: each fault does what it says, and nothing else happens."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from scripted import Server, once

from objectstorage.s3.transport import Exchange, Reply, Transport, TransportError
from objectstorage.testing.proxy import FaultProxy, Rule


class Upstream:
    """A server that counts in its replies, and keeps the bodies it got whole."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.heads: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            with conn:
                try:
                    self._serve(conn)
                except OSError:
                    pass

    def _serve(self, conn: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := conn.recv(65536)):
                return
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or 0)
        while len(body) < length:
            if not (more := conn.recv(65536)):
                return
            body += more
        self.heads.append(head)
        self.bodies.append(body)
        text = b"reply %d" % len(self.bodies)
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text)
        declared = b"Transfer-Encoding: chunked\r\n\r\n"
        if head.startswith(b"HEAD"):
            declared, chunks = b"Content-Length: 77\r\n\r\n", b""
        conn.sendall(b"HTTP/1.1 200 OK\r\nX-Server: up\r\n" + declared + chunks)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", upstream.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[Transport]:
    transport = Transport("127.0.0.1", proxy.port)
    yield transport
    transport.close()


def put(client: Transport, body: bytes = b"body", path: bytes = b"/b/k?x=1") -> Reply:
    head = b"PUT %s HTTP/1.1\r\nHost: signed.example\r\nContent-Length: %d\r\n\r\n"
    return client.send(Exchange("PUT", head % (path, len(body)), body))


def test_requests_and_replies_pass_unchanged(
    upstream: Upstream, proxy: FaultProxy, client: Transport
) -> None:
    reply = put(client)
    assert (reply.status, reply.body, reply.headers["x-server"]) == (200, b"reply 1", "up")
    assert upstream.bodies == [b"body"]
    assert upstream.heads[0].split(b"\r\n")[1] == b"Host: signed.example"
    reply = client.send(Exchange("HEAD", b"HEAD /b/k HTTP/1.1\r\n\r\n"))
    assert reply.headers["content-length"] == "77"
    assert client.stats.opened == 1
    assert [(r.method, r.path) for r in proxy.requests] == [("PUT", "/b/k?x=1"), ("HEAD", "/b/k")]
    assert proxy.requests == proxy.forwarded
    assert proxy.requests[0].headers["host"] == "signed.example"


def test_rules_choose_by_method_path_condition_and_count(
    proxy: FaultProxy, client: Transport
) -> None:
    second = proxy.on(method="PUT", path="/b/", nth=2, times=2)
    second.answer(599)
    other = proxy.on(where=lambda request: "x=9" in request.path, nth=None)
    other.answer(598)
    got = [put(client).status for _ in range(4)]
    assert got == [200, 599, 599, 200]
    assert [put(client, path=b"/c?x=9").status for _ in range(3)] == [598] * 3
    assert put(client, path=b"/c").status == 200
    assert (second.hits, other.hits) == (2, 3)
    proxy.clear()
    assert put(client, path=b"/c?x=9").status == 200
    assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    ("fault", "forwarded", "carried_out"),
    [
        (lambda rule: rule.reset_before(), 0, 0),
        (lambda rule: rule.reset_during(1000), 1, 0),
        (lambda rule: rule.reset_after(), 0, 0),
        (lambda rule: rule.swallow_reply(), 1, 1),
    ],
)
def test_resets(
    fault: Callable[[Rule], Rule],
    forwarded: int,
    carried_out: int,
    upstream: Upstream,
    proxy: FaultProxy,
    client: Transport,
) -> None:
    fault(proxy.on())
    body = b"x" * 1_000_000
    with pytest.raises(TransportError) as caught:
        put(client, body)
    assert not caught.value.timeout
    assert len(proxy.forwarded) == forwarded
    assert len(upstream.bodies) == carried_out
    assert put(client, body).status == 200


def test_a_stall_outlasts_the_client(proxy: FaultProxy) -> None:
    proxy.on().stall()
    client = Transport("127.0.0.1", proxy.port, read_timeout=0.05)
    with pytest.raises(TransportError) as caught:
        put(client)
    assert caught.value.timeout
    assert proxy.forwarded == []


@pytest.mark.parametrize("reset", [False, True])
def test_a_reply_can_be_cut_off(reset: bool, proxy: FaultProxy, client: Transport) -> None:
    proxy.on().truncate(3, reset=reset)
    with pytest.raises(TransportError) as caught:
        put(client)
    assert caught.value.sent == "all"


def test_a_reply_can_drip(proxy: FaultProxy, client: Transport) -> None:
    proxy.on().drip(100_000)
    assert put(client).body == b"reply 1"
    proxy.on(nth=1).drip(10)
    head = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    with pytest.raises(TransportError) as caught:
        client.send(Exchange("GET", head, deadline=time.monotonic() + 0.1))
    assert caught.value.timeout


def test_replies_can_be_changed(upstream: Upstream, proxy: FaultProxy, client: Transport) -> None:
    proxy.on().corrupt(0)
    assert put(client).body == b"seply 1"
    proxy.clear()
    proxy.on().replace(status=206, headers={"etag": '"e"', "x-server": None}, body="new")
    reply = put(client)
    assert (reply.status, reply.body, reply.headers["etag"]) == (206, b"new", '"e"')
    assert "x-server" not in reply.headers
    proxy.clear()
    proxy.on().duplicate()
    assert put(client).body == b"reply 4"
    assert len(upstream.bodies) == 4
    proxy.clear()
    proxy.on(nth=None).replay_first()
    assert [put(client).body for _ in range(3)] == [b"reply 5"] * 3


def test_errors_of_s3_can_be_made(proxy: FaultProxy, client: Transport) -> None:
    def of(fault: Callable[[Rule], Rule]) -> Reply:
        proxy.clear()
        fault(proxy.on())
        reply = put(client)
        assert proxy.forwarded == []
        return reply

    reply = of(lambda rule: rule.slow_down(retry_after=7))
    assert (reply.status, reply.headers["retry-after"]) == (503, "7")
    assert b"<Code>SlowDown</Code>" in reply.body
    assert b"ExpiredToken" in of(lambda rule: rule.expired_token()).body
    date = "Wed, 01 Jan 2020 00:00:00 GMT"
    assert of(lambda rule: rule.skewed_clock(date)).headers["date"] == date
    reply = of(lambda rule: rule.redirect(307, "http://evil.example/", "eu-west-1"))
    assert reply.headers["location"] == "http://evil.example/"
    assert (reply.status, reply.headers["x-amz-bucket-region"]) == (307, "eu-west-1")
    reply = of(lambda rule: rule.hidden_error())
    assert (reply.status, b"InternalError" in reply.body) == (200, True)


def test_replies_can_be_held_cut_and_trailed(
    upstream: Upstream, proxy: FaultProxy, client: Transport
) -> None:
    proxy.on().hold_reply()
    hasty = Transport("127.0.0.1", proxy.port, read_timeout=0.05)
    with pytest.raises(TransportError) as caught:
        put(hasty)
    assert caught.value.timeout
    proxy.clear()
    proxy.on().cut_head()
    with pytest.raises(TransportError, match="cut short"):
        put(client)
    assert len(upstream.bodies) == 2
    for data in (b"garbage", None):
        proxy.clear()
        put(client)
        opened = client.stats.opened
        proxy.on().trail(data)
        assert put(client).body.startswith(b"reply")
        assert put(client).body.startswith(b"reply")
        assert client.stats.opened == opened + 1  # what trailed is on no connection that is used
    proxy.clear()
    proxy.on().raw([b"HTTP/1.1 204 No", b" Content\r\n\r\n"])
    assert put(client).status == 204


def test_a_rule_can_be_forgotten(proxy: FaultProxy, client: Transport) -> None:
    rule = proxy.on(nth=None).answer(599)
    assert put(client).status == 599
    proxy.forget(rule)
    assert put(client).status == 200
    assert len(proxy.requests) == 2


def test_a_listing_can_be_made_endless() -> None:
    document = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(document), document)
    with Server(once(raw)) as listing, FaultProxy("127.0.0.1", listing.port) as before:
        before.on().never_advance()
        transport = Transport("127.0.0.1", before.port)
        body = bytes(put(transport).body)
        transport.close()
    assert b"<IsTruncated>true</IsTruncated><NextContinuationToken>again<" in body
    assert body.count(b"IsTruncated") == 2


def test_a_mistake_of_the_proxy_is_not_hidden(upstream: Upstream) -> None:
    with pytest.raises(IndexError), FaultProxy("127.0.0.1", upstream.port) as proxy:
        proxy.on().corrupt(10_000)
        client = Transport("127.0.0.1", proxy.port)
        with pytest.raises(TransportError):
            put(client)
