"""Logs and caches over HTTP: a real server, raw sockets, and the client in both faces."""

from __future__ import annotations

import ast
import asyncio
import errno
import logging
import socket
import ssl
import subprocess
import sys
import threading
import traceback
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from both_faces import STORES, Face, fresh_place
from http_server import running, serving
from starlette.routing import Route

from objectstorage import errors, logs, open_storage
from objectstorage.aio.local import ThreadedStorage
from objectstorage.client import Client
from objectstorage.client.aio import AsyncClient
from objectstorage.errors import ErrFromRemote, ErrIO, ErrUnavailable
from objectstorage.memory import MemoryStorage
from objectstorage.services.caches import caches_routes
from objectstorage.services.streams import StreamedResponse
from objectstorage.services.wire import application
from objectstorage.wrappers import PrefixStorage

NEVER = 1e6  # seconds
# not the default's, which reads all the system's certificates each time
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Kit:
    """A service over a fresh place, and a client of one face."""

    def __init__(self, face: Face, place: tuple[str, dict[str, Any]], address: str) -> None:
        self.face = face
        self.address = address
        self.store = PrefixStorage(open_storage(place[0], **place[1]), "logs/")
        self.http = face.make(httpx.AsyncClient if face.is_async else httpx.Client, verify=TLS)
        kind = AsyncClient if face.is_async else Client
        self.client = face.make(kind, address, self.http)

    def writer(self, name: str = "a", **options: Any) -> logs.LogWriter:
        return logs.LogWriter(self.store, name, **{"flush_seconds": NEVER, **options})

    def close(self) -> None:
        (self.http.aclose if self.face.is_async else self.http.close)()
        self.store.close()
        self.face.close()


def make_kit(face: str, store: str, request: pytest.FixtureRequest) -> Iterator[Kit]:
    place = fresh_place(store, request)
    with serving(*place) as address:
        kit = Kit(Face(face), place, address)
        yield kit
        kit.close()


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=STORES)
def kit(request: pytest.FixtureRequest, face: str) -> Iterator[Kit]:
    yield from make_kit(face, request.param, request)


@pytest.fixture
def memory(request: pytest.FixtureRequest, face: str) -> Iterator[Kit]:
    """For what does not depend on the store."""
    yield from make_kit(face, "memory", request)


@pytest.fixture(scope="module")
def plain() -> Iterator[httpx.Client]:
    """A client that knows nothing of the services."""
    with httpx.Client(verify=TLS) as client:
        yield client


class Raw:
    """One request on a socket of its own, the reply as the bytes come."""

    def __init__(self, address: str, target: str) -> None:
        url = urlsplit(address)
        self.socket = socket.create_connection((url.hostname, url.port), timeout=30)
        self.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.buffer = b""

    def until(self, end: bytes) -> bytes:
        while end not in self.buffer:
            data = self.socket.recv(65536)
            assert data, self.buffer
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(end)
        return head

    def chunk(self) -> bytes:
        size = int(self.until(b"\r\n"), 16)
        while len(self.buffer) < size + 2:
            self.buffer += self.socket.recv(65536)
        data, self.buffer = self.buffer[:size], self.buffer[size + 2 :]
        return data


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("store", STORES)
def test_who_follows_an_empty_log_knows_at_once(
    store: str, http: str, request: pytest.FixtureRequest
) -> None:
    """Status and head before there is a byte, then each line, then the end."""
    url, options = fresh_place(store, request)
    with serving(url, options, http=http) as address, open_storage(url, **options) as inner:
        writer = logs.LogWriter(PrefixStorage(inner, "logs/"), "run/1", flush_seconds=0.01)
        writer.open()
        raw = Raw(address, "/logs?name=run%2F1&follow=true")
        status, *lines = raw.until(b"\r\n\r\n").decode().split("\r\n")
        assert writer.offset == 0
        assert status == "HTTP/1.1 200 OK"
        head = dict(line.lower().split(": ", 1) for line in lines)
        assert head["transfer-encoding"] == "chunked"
        assert "content-length" not in head
        assert head["x-accel-buffering"] == "no"
        assert head["cache-control"] == "no-cache, no-transform"
        assert (head["log-size"], head["log-finished"]) == ("0", "false")
        for i in range(5):
            writer.write(b"line %d\n" % i)
            assert raw.chunk() == b"line %d\n" % i  # seen before the next is written
        writer.close()
        assert raw.chunk() == b""
        raw.socket.close()


def test_a_log_by_the_client(kit: Kit) -> None:
    client = kit.client.logs
    with kit.writer("a b/ä") as writer:
        writer.write(b"hello ")
        writer.flush()
        stat, response = client.stat("a b/ä")
        assert stat[:4] == (6, False, False, "")
        assert response.status_code == 200
        with client.read("a b/ä", offset=1, length=4) as log:
            assert log.response.headers["content-length"] == "4"
            assert b"".join(log) == b"ello"
        with client.follow("a b/ä", offset=2) as log:
            assert log.value == stat
            chunks = iter(log)
            assert next(chunks) == b"llo "
            assert log.offset == 6
            writer.write(b"world")
            writer.flush()
            assert next(chunks) == b"world"
            writer.close("success: ✓")
            assert list(chunks) == []
    logs.archive(kit.store, "a b/ä")
    assert client.stat("a b/ä").value[:4] == (11, True, True, "success: ✓")
    for call in (client.read, client.follow):
        with call("a b/ä", offset=4) as log:
            assert b"".join(log) == b"o world"
        with call("a b/ä", offset=11) as log:
            assert b"".join(log) == b""
        with pytest.raises(ErrFromRemote) as caught:
            call("a b/ä", offset=12)
        assert errors.is_err_invalid_range(caught.value)
        assert caught.value.details == {"size": 11}


def test_a_log_that_is_not_there(memory: Kit, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    for name in ("stat", "read", "follow"):
        caplog.clear()
        with pytest.raises(ErrFromRemote) as caught:
            getattr(memory.client.logs, name)("none")
        assert errors.is_err_not_exist(caught.value)
        assert caught.value.status == 404
        if name == "stat":  # HEAD has no body
            assert caught.value.message == "not exist"
        else:
            assert caught.value.message == "log doesn't exist"
            assert caught.value.details == {"log": "none"}
        # the chain, down to the storage's own
        assert "ErrNotExist: log doesn't exist" in caplog.text
        assert "fetch 'none/=log' in memory://" in caplog.text


@pytest.mark.parametrize(
    "params",
    [
        "", "name=", "name=/a", "name=a&follow=maybe", "name=a&offset=-1", "name=a&offset=x",
        "name=a&offset=1.5", "name=a&offset=", "name=a&offset=9999999999999999999",
        "name=a&offset=%D9%A1", "name=a&length=-1", "name=a&length=x",
        "name=a&follow=true&length=1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("face", ["sync"], indirect=True)
def test_bad_parameters_of_a_log(memory: Kit, plain: httpx.Client, params: str) -> None:
    with memory.writer():
        pass
    response = plain.get(f"{memory.address}/logs?{params}")
    assert response.status_code == 400
    assert response.json()["code"] in ("bad_request", "invalid_key")
    assert response.json()["message"]


@pytest.mark.parametrize("face", ["sync"], indirect=True)
def test_the_length_is_said_unless_it_is_followed(memory: Kit, plain: httpx.Client) -> None:
    with memory.writer() as writer:
        writer.write(b"12345")
    for params, length in (("", "5"), ("&offset=2", "3"), ("&length=2", "2"), ("&length=99", "5")):
        for method in ("GET", "HEAD"):
            response = plain.request(method, f"{memory.address}/logs?name=a{params}")
            assert response.headers["content-length"] == length
            assert len(response.content) == (int(length) if method == "GET" else 0)
    for method in ("GET", "HEAD"):
        response = plain.request(method, f"{memory.address}/logs?name=a&follow=1")
        assert "content-length" not in response.headers


def test_who_lost_the_connection_goes_on_where_it_was(memory: Kit) -> None:
    with memory.writer() as writer:
        writer.write(b"one ")
        writer.flush()
        with memory.client.logs.follow("a") as log:
            assert next(iter(log)) == b"one "
            offset = log.offset
        writer.write(b"two")
        writer.close()
        with memory.client.logs.follow("a", offset=offset) as log:
            assert b"".join(log) == b"two"


@pytest.fixture
def served() -> Iterator[tuple[str, Any, logs.LogWriter]]:
    """A service, its hub, and the writer of a log that is there."""
    hubs: list[Any] = []

    def routes(hub: Any, caches: Any) -> list[Any]:
        hubs.append(hub)
        return []

    url = f"memory://{uuid.uuid4().hex}"
    with ExitStack() as stack:
        address = stack.enter_context(serving(url, {}, routes))
        store = PrefixStorage(stack.enter_context(open_storage(url)), "logs/")
        yield address, hubs[0], stack.enter_context(logs.LogWriter(store, "a"))


def test_a_client_that_leaves_is_followed_no_longer(served: Any) -> None:
    address, hub, _ = served
    first, second = (Raw(address, "/logs?name=a&follow=1") for _ in range(2))
    for raw in (first, second):
        raw.until(b"\r\n\r\n")
    (feed,) = hub._feeds.values()
    assert feed.followers == 2
    first.socket.close()
    while feed.followers == 2:
        threading.Event().wait(0.005)
    second.socket.close()
    while hub._feeds:
        threading.Event().wait(0.005)


def test_a_server_that_ends_breaks_the_connection_off(served: Any, face: str) -> None:
    """No end of a stream is taken for the end of the log."""
    address, hub, writer = served
    writer.write(b"x")
    writer.flush()
    kit = Face(face)
    with kit.make(httpx.AsyncClient if kit.is_async else httpx.Client, verify=TLS) as http:
        client = kit.make(AsyncClient if kit.is_async else Client, address, http)
        with client.logs.follow("a") as log:
            chunks = iter(log)
            assert next(chunks) == b"x"
            loop = hub._feeds["a"]._worker._task.get_loop()
            asyncio.run_coroutine_threadsafe(hub.close(), loop).result()
            with pytest.raises(ErrUnavailable) as caught:
                next(chunks)
            assert isinstance(caught.value.__cause__, httpx.TransportError)
    kit.close()


def test_a_server_is_given_little_at_a_time() -> None:
    """It copies what it is sent before it waits for the client: for each of many slow ones."""
    sizes: list[int] = []

    async def chunks() -> Any:
        yield b"x" * 300_000
        yield b"y"

    async def run() -> None:
        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sizes.append(len(message.get("body", b"")))

        source = chunks()
        await StreamedResponse(source, source.aclose, {}, "text/plain")({}, receive, send)

    asyncio.run(run())
    assert sum(sizes) == 300_001
    assert max(sizes) == 65_536


@pytest.mark.parametrize("store", ["memory", "posix"])
def test_200_followers_and_20_writers(store: str, request: pytest.FixtureRequest) -> None:
    """Every follower gets every byte, wherever it begins; one log is followed by most."""
    url, options = fresh_place(store, request)
    pieces = [[b"%d: line %d\n" % (log, i) * (1 + i % 50) for i in range(30)] for log in range(20)]
    whole = [b"".join(one) for one in pieces]
    began = threading.Barrier(21)

    def write(number: int, inner: Any) -> None:
        with logs.LogWriter(inner, str(number), flush_bytes=1000, flush_seconds=0.05) as writer:
            began.wait()
            began.wait()  # all follow
            for piece in pieces[number]:
                writer.write(piece)

    async def follow(port: int, log: int, offset: int, started: asyncio.Event) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        target = f"/logs?name={log}&follow=1&offset={offset}"
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        started.set()
        got = b""
        while size := int(await reader.readline(), 16):
            got += (await reader.readexactly(size + 2))[:-2]
        writer.close()
        return got == whole[log][offset:]

    async def run(port: int) -> list[bool]:
        places = [(0, 0)] * 150 + [(0, 777)] * 50 + [(log, 0) for log in range(1, 20)]
        started = [asyncio.Event() for _ in places]
        tasks = [
            asyncio.ensure_future(follow(port, *place, event))
            for place, event in zip(places, started, strict=True)
        ]
        for event in started:
            await event.wait()
        await asyncio.to_thread(began.wait)
        return await asyncio.gather(*tasks)

    with serving(url, options) as address, open_storage(url, **options) as inner:
        prefixed = PrefixStorage(inner, "logs/")
        with ThreadPoolExecutor(20) as pool:
            writing = [pool.submit(write, number, prefixed) for number in range(20)]
            began.wait()  # all logs are there
            assert asyncio.run(run(urlsplit(address).port or 0)) == [True] * 219
            for future in writing:
                future.result()


# -- caches ----------------------------------------------------------------------


def test_caches_by_the_client(kit: Kit) -> None:
    client = kit.client.caches
    saved, response = client.save("project/1", "npm ä/1", b"one")
    assert response.status_code == 201
    assert saved[:3] == ("project/1", "npm ä/1", 3)
    client.save("project/1", "npm ä/2", b"second" * 100_000)
    assert client.find("project/1", "npm ä/1").value == saved
    with client.restore("project/1", prefix="npm ä/") as cache:
        assert (cache.value.key, cache.value.size) == ("npm ä/2", 600_000)
        assert cache.response.headers["content-length"] == "600000"
        assert b"".join(cache) == b"second" * 100_000
    with client.restore("project/1", "npm ä/1") as cache:
        assert b"".join(cache) == b"one"
    # a body larger than what sockets hold meets a key that is taken
    with pytest.raises(ErrFromRemote) as caught:
        client.save("project/1", "npm ä/1", b"x" * 10_000_000)
    assert errors.is_err_exist(caught.value)
    assert errors.is_err_precondition_failed(caught.value)
    assert caught.value.message == "cache exists already"
    client.delete("project/1", "npm ä/1")
    for call in (client.find, client.restore):
        with pytest.raises(ErrFromRemote) as caught:
            call("project/1", "npm ä/1")
        assert errors.is_err_not_exist(caught.value)


def test_caches_of_unknown_length_are_streamed(memory: Kit) -> None:
    piece = b"x" * 65536

    async def asynchronous() -> Any:
        for _ in range(20):
            yield piece

    data = asynchronous() if memory.face.is_async else (piece for _ in range(20))
    assert memory.client.caches.save("g", "k", data).value.size == 20 * 65536


def test_pages_of_caches(memory: Kit) -> None:
    client = memory.client.caches
    keys = [f"k{i}" for i in range(5)] + ["other"]
    for key in keys:
        client.save("g", key, b"x")
    seen, token = [], None
    for expected in (2, 2, 1):
        page, response = client.page("g", "k", limit=2, token=token)
        assert response.json()["next_token"] == page.token
        assert len(page.items) == expected
        seen += [cache.key for cache in page.items]
        token = page.token
    assert (seen, token) == (keys[:5], None)
    assert [cache.key for cache in client.list("g")] == keys
    for options in ({"limit": 0}, {"limit": 1001}, {"token": "?"}, {"token": "/w=="}):
        with pytest.raises(ErrFromRemote) as caught:
            client.page("g", **options)
        assert errors.is_err_bad_request(caught.value)


@pytest.mark.parametrize(
    "params", ["", "group=g", "key=k", "group=g&key=k&prefix=p", "group=&key=k"]
)
@pytest.mark.parametrize("face", ["sync"], indirect=True)
def test_bad_parameters_of_a_cache(memory: Kit, plain: httpx.Client, params: str) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        if method in ("PUT", "DELETE") and "prefix" in params:
            continue
        response = plain.request(method, f"{memory.address}/caches?{params}")
        assert response.status_code == 400
        assert response.headers["error-code"] == "bad_request"


@pytest.mark.parametrize("face", ["sync"], indirect=True)
def test_an_upload_that_breaks_off_saves_nothing(memory: Kit, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    url = urlsplit(memory.address)
    for head in ("Content-Length: 100", "Transfer-Encoding: chunked"):
        caplog.clear()
        with socket.create_connection((url.hostname, url.port)) as client:
            request = f"PUT /caches?group=g&key=k HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n"
            client.sendall(request.encode() + b"5\r\nhello\r\n")
        while "the client went away" not in caplog.text:
            threading.Event().wait(0.005)
    assert memory.client.caches.page("g").value.items == []
    with open_storage(memory.store.url.partition(" ")[0]) as store:
        assert list(store.list("caches/")) == []


class Full(MemoryStorage):
    """Takes a piece of what it is given, and fails."""

    def put(self, key: str, data: Any, **options: Any) -> Any:
        next(iter(data))
        raise ErrIO("the disk is full: /var/secret", errno=errno.ENOSPC).at(storage=self.url)


def test_a_store_that_fails_amid_an_upload(plain: httpx.Client, caplog: Any) -> None:
    app = application(caches_routes(ThreadedStorage(Full())))
    with running(app) as address:
        response = plain.put(f"{address}/caches?group=g&key=k", content=b"x" * 10_000_000)
    assert response.status_code == 500
    assert response.json() == {"code": "io", "message": "internal server error", "details": {}}
    assert "the disk is full: /var/secret" in caplog.text


# -- the client --------------------------------------------------------------------


def test_a_reply_that_is_no_services(face: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        status = int(scope["path"].split("/")[1])
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"<html>"})

    kit = Face(face)
    with kit.make(httpx.AsyncClient if kit.is_async else httpx.Client, verify=TLS) as http:
        with running(app) as address:
            for status, message in ((200, "unknown api reply"), (503, "unknown api error")):
                client = kit.make(
                    AsyncClient if kit.is_async else Client, f"{address}/{status}", http
                )
                for call in (
                    lambda client=client: client.logs.follow("a"),
                    lambda client=client: client.logs.stat("a"),
                    lambda client=client: client.caches.page("g"),
                    lambda client=client: client.caches.save("g", "k", b"x"),
                ):
                    with pytest.raises(ErrFromRemote) as caught:
                        call()
                    assert caught.value.message == f"{message} ({status})"
                    assert not errors.is_err_unavailable(caught.value)
        with pytest.raises(ErrUnavailable) as caught:
            client.logs.stat("a")
        assert isinstance(caught.value.__cause__, httpx.ConnectError)
    kit.close()


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_error_goes_through_two_services(
    wrapped: bool, plain: httpx.Client, caplog: Any
) -> None:
    """What the inner one said reaches the client; the outer one's log has the chain."""
    caplog.set_level(logging.INFO)

    with serving("memory://", {}) as inner:

        async def outer(request: Any) -> None:
            async with httpx.AsyncClient(verify=TLS) as http:
                try:
                    await AsyncClient(inner, http).logs.read("none")
                except ErrFromRemote as exc:
                    if wrapped:
                        raise RuntimeError("while fetching the log of a task") from exc
                    raise

        with running(application([Route("/", outer)])) as address:
            response = plain.get(address)
    assert response.status_code == 404
    assert response.json() == {
        "code": "not_exist",
        "message": "log doesn't exist",
        "details": {"log": "none"},
    }
    (record,) = [r for r in caplog.records if r.getMessage() == "GET /: 404 not_exist"]
    text = logging.Formatter().format(record)
    links = ["ErrNotExist: log doesn't exist", "ErrFromRemote: log doesn't exist (status 404"]
    links += ["RuntimeError: while fetching the log of a task"] if wrapped else []
    assert [text.index(link) for link in links] == sorted(text.index(link) for link in links)


def test_the_callers_headers_are_sent() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(dict(scope["headers"]))
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    with running(app) as address, httpx.Client(verify=TLS, headers={"x-a": "1"}) as http:
        Client(address + "/", http, headers={"authorization": "Bearer t"}).caches.delete("g", "k")
    assert (seen[0][b"x-a"], seen[0][b"authorization"]) == (b"1", b"Bearer t")


def test_a_password_in_the_url_is_sent_and_not_logged(face: str, caplog: Any) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(dict(scope["headers"])[b"authorization"])
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    caplog.set_level(logging.DEBUG)
    kit = Face(face)
    kinds = (httpx.AsyncClient, AsyncClient) if kit.is_async else (httpx.Client, Client)
    with running(app) as address, kit.make(kinds[0], verify=TLS) as http:
        url = address.replace("://", "://m%65:s3cret@")
        kit.make(kinds[1], url, http).caches.delete("g", "k")
        own = {"Authorization": "Bearer t"}
        kit.make(kinds[1], url, http, headers=own).caches.delete("g", "k")
    kit.close()
    assert seen == [b"Basic bWU6czNjcmV0", b"Bearer t"]
    assert "HTTP Request: DELETE " + address in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:s3cret@host:8470/runs/", "http://host:8470/runs"),
        ("https://s3cret@host", "https://host"),
        ("http://[::1]:8470", "http://[::1]:8470"),
    ],
)
def test_a_client_says_its_service_without_the_password(url: str, shown: str) -> None:
    with httpx.Client(verify=TLS) as http:
        assert Client(url, http).calls.url == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "s3cret",
        "ftp://s3cret@host",
        "http://",
        "http://host:s3cret",
        "http://host/?s3cret",
        "http://host/?",
    ],
)
def test_what_is_no_services_url(url: str) -> None:
    with httpx.Client(verify=TLS) as http, pytest.raises(errors.ErrBadRequest) as caught:
        Client(url, http)
    text = "".join(traceback.format_exception(caught.value))
    assert "http(s)://host" in text
    assert "s3cret" not in text


def test_the_client_imports_nothing_internal() -> None:
    import objectstorage.client

    allowed = {"httpx", "objectstorage.errors", "objectstorage.client", *sys.stdlib_module_names}
    folder = Path(objectstorage.client.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                assert any(name == a or name.startswith(a + ".") for a in allowed), (path, name)


def test_the_library_without_the_extra_imports_none_of_it() -> None:
    code = (
        "import sys, objectstorage, objectstorage.aio, objectstorage.logs.aio, objectstorage.logs,"
        " objectstorage.caches, objectstorage.caches.aio\n"
        "assert not {'starlette', 'uvicorn', 'httpx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
