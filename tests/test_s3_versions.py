"""Servers that ignore what a GET depends on: one version all the same, or an error."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any

import pytest
from scripted import Server, request

from objectstorage import ErrNotModified, ErrPreconditionFailed, aio, open_storage
from objectstorage.s3.client import Client
from objectstorage.s3.reading import ObjectBody
from objectstorage.storage import Storage
from objectstorage.testing.blocking import BlockingStorage

SIZE = 4 << 20
PART = 256 * 1024
HEAD = (
    "HTTP/1.1 {} Status\r\nETag: {!r}\r\nLast-Modified: Wed, 25 Nov 2026 13:20:41 GMT\r\n"
    "Content-Range: bytes {}-{}/{}\r\nContent-Length: {}\r\n\r\n"
)


class Replaced:
    """Answers GET and HEAD, deaf to conditions; from the n-th request on with another version."""

    def __init__(self, nth: int) -> None:
        self.nth = nth
        self.asked = 0

    def __call__(self, conn: socket.socket) -> None:
        while head := request(conn)[0].decode():
            self.asked += 1
            version = "old" if self.asked < self.nth else "new"
            first, last = 0, SIZE - 1
            if asked := re.search(r"(?i)\r\nrange: bytes=(\d+)-(\d*)", head):
                first, last = int(asked[1]), min(int(asked[2] or last), last)
            length = last + 1 - first
            status = 206 if asked else 200
            text = HEAD.format(status, version, first, last, SIZE, length).replace("'", '"')
            if not asked:
                text = re.sub("Content-Range.*\r\n", "", text)
            body = b"" if head.startswith("HEAD") else version[:1].encode() * length
            conn.sendall(text.encode() + body)


@pytest.fixture(params=["sync", "async"])
def opened(request: pytest.FixtureRequest) -> Callable[[Server], Storage]:
    def opening(server: Server) -> Storage:
        url = f"s3://bucket?endpoint=http://127.0.0.1:{server.port}&dialect=generic"
        given: dict[str, Any] = {"access_key": "k", "secret_key": "s", "part_size": PART}
        if request.param == "sync":
            return open_storage(url, **given)
        return BlockingStorage(lambda: aio.open_storage(url, **given))

    return opening


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is quick enough, and the server is far away."""
    monkeypatch.setattr(ObjectBody, "QUICK", float("inf"))
    monkeypatch.setattr(Client, "is_here", False)


def test_ranges_of_two_versions(opened: Callable[[Server], Storage]) -> None:
    with (
        Server(Replaced(3)) as server,
        opened(server) as store,
        pytest.raises(ErrPreconditionFailed),
    ):
        store.get_ranges("k", starts=[0, 3 << 20], lengths=[4, 4])


def test_parts_of_two_versions(opened: Callable[[Server], Storage], slow: None) -> None:
    handler = Replaced(4)
    with Server(handler) as server, opened(server) as store, pytest.raises(ErrPreconditionFailed):
        b"".join(store.stream("k"))
    assert handler.asked >= 4


def test_conditions_of_a_fetch(opened: Callable[[Server], Storage]) -> None:
    with Server(Replaced(100)) as server, opened(server) as store:
        assert store.fetch("k", end=3, if_match="old", if_none_match="new").data == b"ooo"
        with pytest.raises(ErrPreconditionFailed):
            store.fetch("k", if_match="new")
        with pytest.raises(ErrNotModified):
            store.fetch("k", start=5, if_none_match="old")
