"""What only the asyncio transport can get wrong; the rest is in test_s3_transport.py."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine

import pytest
from scripted import HEAD, OK, Handler, Server, put_head, replies, request

from objectstorage.aio.driver import AsyncSource
from objectstorage.aio.transport import AsyncTransport
from objectstorage.s3.transport import Exchange, StreamBody, TransportError


def run(
    *handlers: Handler, **options: object
) -> Callable[[Callable[..., Coroutine[object, object, None]]], None]:
    """Run a coroutine function with a transport to a server with these handlers."""

    def decorate(test: Callable[..., Coroutine[object, object, None]]) -> None:
        async def main(server: Server) -> None:
            transport = AsyncTransport("127.0.0.1", server.port, **options)
            await test(transport, server)
            await transport.close()
            assert transport.stats.in_use == 0

        with Server(*handlers) as server:
            asyncio.run(main(server))

    return decorate


async def get(transport: AsyncTransport) -> bytes:
    reply = await transport.send(Exchange("GET", HEAD))
    return bytes(reply.body)


async def reaches(condition: Callable[[], object]) -> None:
    """Let the loop run until the condition holds."""
    # the condition is another thread's doing, which can't set an asyncio.Event
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def test_a_cancelled_request_takes_its_connection_along() -> None:
    asked = threading.Event()

    def half(conn: socket.socket) -> None:
        request(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        asked.set()
        conn.recv(1)

    @run(half, replies(OK), max_connections=1)
    async def _(transport: AsyncTransport, server: Server) -> None:
        exchange = Exchange("PUT", put_head(1), b"x")
        task = asyncio.create_task(transport.send(exchange))
        await reaches(asked.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert exchange.sent == "all"
        assert await get(transport) == b"ok"
        assert server.accepted == 2


def test_a_body_cancelled_before_its_end_is_never_completed() -> None:
    bodies: list[bytes] = []
    over = threading.Event()

    def handler(conn: socket.socket) -> None:
        bodies.append(request(conn)[1])
        over.set()

    @run(handler)
    async def _(transport: AsyncTransport, server: Server) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"x" * 100_000
            await asyncio.Event().wait()

        body = StreamBody(AsyncSource(chunks(), 200_000), 200_000)
        exchange = Exchange("PUT", put_head(200_000), body)
        task = asyncio.create_task(transport.send(exchange))
        await reaches(lambda: transport.stats.opened)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert exchange.sent != "all"
        await reaches(over.is_set)
        assert len(bodies[0]) < 200_000


def test_whoever_is_cancelled_in_line_leaves_the_line() -> None:
    @run(replies(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"), replies(OK), max_connections=1)
    async def _(transport: AsyncTransport, server: Server) -> None:
        holder = await transport.send(Exchange("GET", HEAD, stream=True))
        first, second, third = (asyncio.create_task(get(transport)) for _ in range(3))
        await asyncio.sleep(0)
        second.cancel()
        # the first gets its turn and is cancelled before it can take it
        await transport.abort(holder)
        first.cancel()
        assert await third == b"ok"
        for task in (first, second):
            with pytest.raises(asyncio.CancelledError):
                await task


def test_a_thousand_tasks_share_few_connections() -> None:
    @run(replies(OK), max_connections=4)
    async def _(transport: AsyncTransport, server: Server) -> None:
        async def one(number: int) -> bytes:
            task = asyncio.create_task(get(transport))
            if number % 10 == 0:
                await asyncio.sleep(0)
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                return await task
            return b"cancelled"

        bodies = await asyncio.gather(*[one(number) for number in range(1000)])
        assert bodies.count(b"ok") >= 900
        assert transport.stats.in_use == 0
        assert len(transport._busy) == 0
        assert len(transport._idle) <= 4


def test_close_ends_the_wait_of_those_in_line() -> None:
    @run(replies(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"), max_connections=1)
    async def _(transport: AsyncTransport, server: Server) -> None:
        holder = await transport.send(Exchange("GET", HEAD, stream=True))
        waiting = asyncio.create_task(get(transport))
        await asyncio.sleep(0)
        await transport.close()
        with pytest.raises(ValueError, match="closed"):
            await waiting
        await transport.abort(holder)


def test_others_run_while_a_large_body_is_sent() -> None:
    @run(replies(OK))
    async def _(transport: AsyncTransport, server: Server) -> None:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counter = asyncio.create_task(count())
        data = bytes(32 << 20)
        await transport.send(Exchange("PUT", put_head(len(data)), data))
        counter.cancel()
        assert turns > 50


def test_a_body_nobody_reads_is_left_with_the_server() -> None:
    sent: list[int] = []

    def endless(conn: socket.socket) -> None:
        request(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
        conn.setblocking(False)
        while not stop.wait(0.001):
            with contextlib.suppress(BlockingIOError):
                sent.append(conn.send(bytes(1 << 20)))

    stop = threading.Event()

    @run(endless)
    async def _(transport: AsyncTransport, server: Server) -> None:
        reply = await transport.send(Exchange("GET", HEAD, stream=True))
        assert len(await transport.read(reply, 1 << 20)) > 0
        # the kernel's buffers fill up, and then no more is taken
        seen = -1
        while seen != len(sent):
            seen = len(sent)
            await asyncio.sleep(0.05)
        assert sum(sent) < 64 << 20
        stop.set()
        await transport.abort(reply)


def test_no_failure_leaks_a_descriptor() -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = count()

    @run(
        lambda conn: request(conn),
        lambda conn: (request(conn), conn.sendall(OK[:-1])),
        lambda conn: (request(conn), conn.sendall(b"junk\r\n\r\n")),
        replies(OK),
    )
    async def _(transport: AsyncTransport, server: Server) -> None:
        failed = 0
        for _ in range(6):
            try:
                await get(transport)
            except TransportError:
                failed += 1
        assert failed == 3
        reply = await transport.send(Exchange("GET", HEAD, stream=True))
        del reply

    gc.collect()
    assert count() == before
