"""One connection on an event loop: bytes in, bytes out, bounded waits."""

from __future__ import annotations

import asyncio
import io
import select
from time import monotonic
from typing import Any, TypeVar

from objectstorage.s3._http import RECEIVE, Buffer, Steps, is_interim

__all__ = ["Connection", "run_steps"]

_T = TypeVar("_T")


class Connection(asyncio.BufferedProtocol):
    """Received bytes go straight into the caller's buffer, if he has given one.

    `longest`: seconds without progress after which `due` says to give up.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, longest: float, *, secure: bool = False
    ) -> None:
        self.loop = loop
        self._secure = secure
        self._longest = longest
        self._scratch = memoryview(bytearray(RECEIVE))
        self._target: memoryview | None = None
        self._at = 0  # bytes in the target
        self._pending = b""  # came in while nobody waited for it
        self._receiver: asyncio.Future[Any] | None = None
        self._sender: asyncio.Future[None] | None = None
        self._reading = True
        self._full = False
        self._ended = False
        self._error: BaseException | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._progress = 0.0  # when something last moved
        self._unsent = 0
        self.closed: asyncio.Future[None] = loop.create_future()
        self.idle_since = 0.0

    # -- called by the loop ----------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._scratch if self._target is None else self._target[self._at :]

    def buffer_updated(self, nbytes: int) -> None:
        self._progress = monotonic()
        if self._target is not None:
            self._at += nbytes
            if self._at == len(self._target):
                self._received(self._at)
            return
        data = bytes(self._scratch[:nbytes])
        receiver = self._receiver
        if receiver is None:
            self._pending += data
            self._pause()
            self._wake_sender()
        else:
            self._receiver = None
            if not receiver.done():
                receiver.set_result(data)

    def _received(self, result: bytes | int) -> None:
        receiver, self._receiver, self._target = self._receiver, None, None
        if receiver is not None and not receiver.done():
            receiver.set_result(result)

    def eof_received(self) -> None:
        self._end()

    def connection_lost(self, exc: BaseException | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
        if self._error is None:
            self._error = exc
        self._end()

    def _end(self) -> None:
        self._ended = True
        if self._secure and self._error is None:
            # the loop doesn't tell whether TLS said goodbye, or somebody else did
            self._error = ConnectionError("the connection was closed")
        if self._error is not None:
            self._fail(self._error)
        else:
            self._received(b"" if self._target is None else self._at)
            self._wake_sender()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake_sender()

    # -- receiving -------------------------------------------------------------

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _resume(self) -> None:
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def receive(self, target: memoryview | None = None, at: int = 0) -> asyncio.Future[Any]:
        """What comes in next: bytes; or with a target, when it is full, how many are in it.

        At the end b"", or fewer.
        """
        receiver = self.loop.create_future()
        if self._error is not None:
            receiver.set_exception(self._error)
        elif self._ended:
            receiver.set_result(b"" if target is None else at)
        else:
            self._receiver = receiver
            self._target, self._at = target, at
            self._progress = monotonic()
            if not self._reading:
                self._resume()
        return receiver

    def pending(self) -> bytes:
        """What came in while nobody waited for it."""
        data, self._pending = self._pending, b""
        return data

    async def recv_into(self, view: memoryview) -> int:
        """Fill the view, less at the end only."""
        at = min(len(self._pending), len(view))
        if at:
            view[:at] = self._pending[:at]
            self._pending = self._pending[at:]
        if at == len(view):
            return at
        got: int = await self.receive(view, at)
        return got

    async def recv_some(self, n: int) -> bytes:
        """`n` bytes, fewer at the end only."""
        # a BytesIO hands its buffer over without copying it
        buffer = io.BytesIO(bytes(n))
        with buffer.getbuffer() as view:
            got = await self.recv_into(view)
        buffer.truncate(got)
        return buffer.getvalue()

    # -- sending ---------------------------------------------------------------

    def send(self, data: Buffer) -> None:
        """Hand bytes over to be sent; what the kernel doesn't take is copied."""
        if self._error is not None:
            raise self._error
        if self._ended:
            raise ConnectionError("closed while the request was sent")
        self._transport.write(data)

    async def room(self) -> bool:
        """Wait for room to send more; False if a reply came in instead."""
        while True:
            if self._pending:
                if not is_interim(self._pending):
                    return False
                self._pending = b""
                self._resume()
            if self._error is not None:
                raise self._error
            if not self._full or self._ended:
                return True
            sender = self._sender = self.loop.create_future()
            self._progress = monotonic()
            try:
                await sender
            finally:
                self._sender = None

    def _wake_sender(self) -> None:
        if self._sender is not None and not self._sender.done():
            self._sender.set_result(None)

    # -- life ------------------------------------------------------------------

    def rest(self) -> None:
        """Wait for the next request."""
        if self._timer is not None:
            self.set_deadline(None)
        if not self._reading:
            self._resume()  # so that the loop hears of an end
        self.idle_since = monotonic()

    def quiet(self) -> bool:
        """Whether nothing came in, an end included, while nothing was asked."""
        return not (self._error or self._ended or self._pending or self._poll.poll(0))

    def set_deadline(self, seconds: float | None) -> None:
        """Fail whoever waits, then and later, after so many seconds."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            error = TimeoutError("the deadline passed")
            self._timer = self.loop.call_later(max(0.0, seconds), self._fail, error)

    def due(self) -> float | None:
        """When to give up if nothing moves; None if nobody waits."""
        if self._receiver is None and self._sender is None:
            return None
        unsent = self._transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent = unsent
            self._progress = monotonic()
        return self._progress + self._longest

    def give_up(self) -> None:
        """Nothing has moved for too long."""
        self._fail(TimeoutError("timed out"))

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        receiver, self._receiver, self._target = self._receiver, None, None
        for future in (receiver, self._sender):
            if future is not None and not future.done():
                future.set_exception(error)

    def abort(self) -> None:
        """Close at once; what was not sent yet never will be."""
        self.set_deadline(None)
        self._receiver = self._target = None
        self._transport.abort()


async def run_steps(steps: Steps[_T], conn: Connection | None) -> _T:
    """Run a generator of receives; without a connection none can be had."""
    send = steps.send
    got: Any = None
    try:
        while True:
            want = send(got)
            if conn is None:
                raise ConnectionError("the body was given up")
            if want is None:
                got = conn.pending() or await conn.receive()
            elif isinstance(want, int):
                got = await conn.recv_some(want)
            else:
                got = await conn.recv_into(want)
    except StopIteration as stop:
        return stop.value
