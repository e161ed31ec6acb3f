"""A proxy that makes things go wrong between a client and a real S3 server.

    with FaultProxy("127.0.0.1", server_port) as proxy:
        proxy.on(method="PUT", path="/key", nth=1).swallow_reply()
        store = open_storage(url, endpoint=proxy.endpoint, ...)
        ...
        proxy.requests      # what came, in order
        proxy.forwarded     # what the server got to see

Requests are passed on unchanged: the signature covers the `Host` header, and
servers check it against the one they receive.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Self, TypeAlias

from objectstorage.s3._http import ReplyParser, head_end

__all__ = ["Answer", "FaultProxy", "Request", "Rule"]

_LIMIT = 1024 * 1024


class Request(NamedTuple):
    """What a client asked: `path` with its query, as sent; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]


class Answer(NamedTuple):
    """A reply: status, headers (without framing), and the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def encode(self, method: str) -> bytes:
        """The bytes on the wire, framed by Content-Length."""
        headers = dict(self.headers)
        if method != "HEAD":
            headers["content-length"] = str(len(self.body))
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"HTTP/1.1 {self.status} Status\r\n{lines}\r\n".encode("latin-1")
        return head if method == "HEAD" else head + self.body


class _Call:
    """One request on its way, as a fault gets it into its hands."""

    def __init__(
        self,
        proxy: FaultProxy,
        request: Request,
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.proxy = proxy
        self.request = request
        self.writer = writer
        self.going = True  # whether the connection serves another request
        self._reader = reader
        self._head = head
        self._left = int(request.headers.get("content-length", 0))
        self._body = b""

    async def read(self, n: int | None = None) -> None:
        """Receive `n` more bytes of the request's body, or the rest of it."""
        piece = await self._reader.readexactly(min(self._left, self._left if n is None else n))
        self._body += piece
        self._left -= len(piece)

    async def forward(self, *, whole: bool = True) -> Answer:
        """Pass the request on and receive the server's reply; in part: then reset, no reply."""
        if whole:
            await self.read()
        self.proxy.forwarded.append(self.request)
        reader, writer = await asyncio.open_connection(*self.proxy.upstream, limit=_LIMIT)
        try:
            writer.write(self._head + self._body)
            await writer.drain()
            if not whole:
                _reset(writer)
                return Answer(0, {}, b"")
            return await _read_answer(reader, self.request.method)
        finally:
            writer.close()

    async def reply(self, answer: Answer) -> None:
        """Give the client a reply."""
        await self.send(answer.encode(self.request.method))
        # what was not received of the request would be taken for the next one
        if self._left or answer.headers.get("connection", "").lower() == "close":
            self.going = False

    async def send(self, data: bytes) -> None:
        """Give the client bytes."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Break the client's connection with a TCP reset."""
        _reset(self.writer)
        self.going = False


_Act: TypeAlias = Callable[[_Call], Awaitable[None]]


class Rule:
    """Which requests to meddle with, and how; the last fault named is the one that counts.

    Made by `FaultProxy.on`. `hits` counts the requests that were meddled with.
    """

    def __init__(
        self,
        method: str | None,
        path: str,
        where: Callable[[Request], bool] | None,
        nth: int | None,
        times: int | None,
    ) -> None:
        self._method = method
        self._path = path
        self._where = where
        self._first = 1 if nth is None else nth
        self._times = None if nth is None else times
        self._seen = 0
        self.hits = 0
        self._act: _Act = _pass

    def claims(self, request: Request) -> bool:
        """Count the request if it matches; whether it is one to meddle with."""
        if (
            (self._method is not None and request.method != self._method)
            or self._path not in request.path
            or (self._where is not None and not self._where(request))
        ):
            return False
        self._seen += 1
        if self._seen < self._first:
            return False
        return self._times is None or self._seen < self._first + self._times

    async def apply(self, call: _Call) -> None:
        """Do it."""
        self.hits += 1
        await self._act(call)

    def _do(self, act: _Act) -> Self:
        self._act = act
        return self

    # -- before the server hears of it -----------------------------------------

    def reset_before(self) -> Self:
        """Reset on the request's head; nothing is forwarded."""

        async def act(call: _Call) -> None:
            call.reset()

        return self._do(act)

    def reset_during(self, after: int) -> Self:
        """Forward the head and `after` bytes of the body, then reset both sides."""

        async def act(call: _Call) -> None:
            await call.read(after)
            await call.forward(whole=False)
            call.reset()

        return self._do(act)

    def reset_after(self) -> Self:
        """Take the whole request, forward nothing, reset."""

        async def act(call: _Call) -> None:
            await call.read()
            call.reset()

        return self._do(act)

    def stall(self) -> Self:
        """Take the whole request, then say nothing for as long as the client waits."""

        async def act(call: _Call) -> None:
            await call.read()
            await call._reader.read(1)
            call.going = False

        return self._do(act)

    def answer(
        self, status: int, body: bytes | str = b"", headers: Mapping[str, str] | None = None
    ) -> Self:
        """Reply instead of the server."""
        data = body.encode() if isinstance(body, str) else body
        answer = Answer(status, dict(headers or {}), data)

        async def act(call: _Call) -> None:
            await call.read()
            await call.reply(answer)

        return self._do(act)

    def error(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> Self:
        """Reply with an S3 error document instead of the server."""
        return self.answer(status, _document(code), {**_XML, **(headers or {})})

    def slow_down(self, retry_after: int | None = None) -> Self:
        """503 SlowDown, with `Retry-After` seconds if given."""
        headers = {} if retry_after is None else {"retry-after": str(retry_after)}
        return self.error(503, "SlowDown", headers)

    def expired_token(self) -> Self:
        """400 ExpiredToken."""
        return self.error(400, "ExpiredToken")

    def skewed_clock(self, date: str) -> Self:
        """403 RequestTimeTooSkewed from a server whose clock says `date` (an HTTP date)."""
        return self.error(403, "RequestTimeTooSkewed", {"date": date})

    def redirect(self, status: int, location: str, region: str | None = None) -> Self:
        """301 or 307 to `location`, naming the bucket's region if given."""
        code = "PermanentRedirect" if status == 301 else "TemporaryRedirect"
        headers = {"location": location}
        if region is not None:
            headers["x-amz-bucket-region"] = region
        return self.error(status, code, headers)

    # -- after the server has done it ------------------------------------------

    def swallow_reply(self) -> Self:
        """Let the server carry it out, then reset instead of replying."""

        async def act(call: _Call) -> None:
            await call.forward()
            call.reset()

        return self._do(act)

    def duplicate(self) -> Self:
        """Forward it twice, one after the other, and give the second reply."""

        async def act(call: _Call) -> None:
            await call.forward()
            await call.reply(await call.forward())

        return self._do(act)

    def truncate(self, at: int, *, reset: bool = False) -> Self:
        """Cut the reply's body off after `at` bytes: close, or reset."""

        async def act(call: _Call) -> None:
            answer = await call.forward()
            whole = answer.encode(call.request.method)
            await call.send(whole[: len(whole) - max(0, len(answer.body) - at)])
            if reset:
                call.reset()
            call.going = False

        return self._do(act)

    def drip(self, rate: int) -> Self:
        """Send the reply at `rate` bytes a second, one by one."""

        async def act(call: _Call) -> None:
            for byte in (await call.forward()).encode(call.request.method):
                await call.send(bytes([byte]))
                await asyncio.sleep(1 / rate)

        return self._do(act)

    def corrupt(self, at: int = 0) -> Self:
        """Flip a bit of the byte at `at` in the reply's body."""

        async def act(call: _Call) -> None:
            answer = await call.forward()
            body = bytearray(answer.body)
            body[at] ^= 1
            await call.reply(answer._replace(body=bytes(body)))

        return self._do(act)

    def replace(
        self,
        *,
        status: int | None = None,
        headers: Mapping[str, str | None] | None = None,
        body: bytes | str | None = None,
    ) -> Self:
        """Change the reply on its way; a header set to None is left out."""

        async def act(call: _Call) -> None:
            answer = await call.forward()
            changed = {**answer.headers, **(headers or {})}
            kept = {name: value for name, value in changed.items() if value is not None}
            data = body.encode() if isinstance(body, str) else body
            await call.reply(
                Answer(
                    answer.status if status is None else status,
                    kept,
                    answer.body if data is None else data,
                )
            )

        return self._do(act)

    def hidden_error(self, code: str = "InternalError") -> Self:
        """200 with an error document, which copies and completions may end in."""
        return self.answer(200, _document(code), _XML)

    def replay_first(self) -> Self:
        """Give every one of these requests the reply that the first got.

        On a listing: the token that never advances.
        """
        first: list[Answer] = []

        async def act(call: _Call) -> None:
            answer = await call.forward()
            first.append(answer)
            await call.reply(first[0])

        return self._do(act)


async def _pass(call: _Call) -> None:
    await call.reply(await call.forward())


_XML = {"content-type": "application/xml"}


def _document(code: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>made by the proxy</Message></Error>"
    )


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _read_answer(reader: asyncio.StreamReader, method: str) -> Answer:
    """A whole reply off the wire, its framing undone."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        parser = ReplyParser()
        parser.head(head[: head_end(head, _LIMIT)], method)
        if parser.status >= 200:
            break
    headers = dict(parser.headers)
    if parser.length is not None:
        body = await reader.readexactly(parser.length)
    else:
        pieces: list[bytes] = []
        while not parser.complete:
            data = await reader.read(65536)
            if not data:
                break
            pieces += parser.chunks(data) if parser.chunked else [data]
        body = b"".join(pieces)
        headers.pop("transfer-encoding", None)
    headers.pop("connection", None)
    return Answer(parser.status, headers, body)


class FaultProxy:
    """A proxy on loopback, in a thread of its own, before the server at `host`:`port`."""

    def __init__(self, host: str, port: int) -> None:
        self.upstream = (host, port)
        self.requests: list[Request] = []
        self.forwarded: list[Request] = []
        self._rules: list[Rule] = []
        self._errors: list[Exception] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)

    def on(
        self,
        *,
        method: str | None = None,
        path: str = "",
        where: Callable[[Request], bool] | None = None,
        nth: int | None = 1,
        times: int | None = 1,
    ) -> Rule:
        """A rule for requests of `method` with `path` in their path or query, that meet `where`.

        Of those, `times` of them from the `nth` on (`times=None`: all from
        there; `nth=None`: all). The first rule that claims a request has it.
        """
        rule = Rule(method, path, where, nth, times)
        self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget the rules and what was seen."""
        self._rules.clear()
        self.requests.clear()
        self.forwarded.clear()

    @property
    def endpoint(self) -> str:
        """Where clients find it: http://127.0.0.1:port."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._errors:
            raise self._errors[0]
        return self

    def __exit__(self, kind: object, exc: object, traceback: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        # a fault of the proxy itself must not pass for one of the client
        if self._errors and exc is None:
            raise self._errors[0]

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception as error:
            self._errors.append(error)
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._client, "127.0.0.1", 0, limit=_LIMIT)
        self.port: int = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._serve(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # either side may leave at any time, and the test may end
        except Exception as error:
            self._errors.append(error)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether another may follow."""
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        method, path, _ = first.split(" ", 2)
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        request = Request(method, path, headers)
        self.requests.append(request)
        call = _Call(self, request, head, reader, writer)
        # every rule counts, the first one acts
        claims = [rule for rule in list(self._rules) if rule.claims(request)]
        await (claims[0].apply(call) if claims else _pass(call))
        return call.going
