"""What the fault proxy can do to a request, and to which."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Self, TypeAlias

from objectstorage.testing._calls import Answer, Call, Request

__all__ = ["Rule", "pass_on"]

_Act: TypeAlias = Callable[[Call], Awaitable[None]]


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
        self._act: _Act = pass_on

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

    async def apply(self, call: Call) -> None:
        """Do it."""
        self.hits += 1
        await self._act(call)

    def _do(self, act: _Act) -> Self:
        self._act = act
        return self

    # -- before the server hears of it -----------------------------------------

    def reset_before(self) -> Self:
        """Reset on the request's head; nothing is forwarded."""

        async def act(call: Call) -> None:
            call.reset()

        return self._do(act)

    def reset_during(self, after: int) -> Self:
        """Forward the head and `after` bytes of the body, then reset both sides."""

        async def act(call: Call) -> None:
            await call.read(after)
            await call.forward(whole=False)
            call.reset()

        return self._do(act)

    def reset_after(self) -> Self:
        """Take the whole request, forward nothing, reset."""

        async def act(call: Call) -> None:
            await call.read()
            call.reset()

        return self._do(act)

    def stall(self) -> Self:
        """Take the whole request, then say nothing for as long as the client waits."""

        async def act(call: Call) -> None:
            await call.read()
            await call.silence()

        return self._do(act)

    def answer(
        self, status: int, body: bytes | str = b"", headers: Mapping[str, str] | None = None
    ) -> Self:
        """Reply instead of the server."""
        data = body.encode() if isinstance(body, str) else body
        answer = Answer(status, dict(headers or {}), data)

        async def act(call: Call) -> None:
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

        async def act(call: Call) -> None:
            await call.forward()
            call.reset()

        return self._do(act)

    def duplicate(self) -> Self:
        """Forward it twice, one after the other, and give the second reply."""

        async def act(call: Call) -> None:
            await call.forward()
            await call.reply(await call.forward())

        return self._do(act)

    def truncate(self, at: int, *, reset: bool = False) -> Self:
        """Cut the reply's body after `at` bytes (negative: so many are lost): close, or reset."""

        async def act(call: Call) -> None:
            answer = await call.forward()
            whole = answer.encode(call.request.method)
            lost = min(-at, len(answer.body)) if at < 0 else max(0, len(answer.body) - at)
            await call.send(whole[: len(whole) - lost])
            if reset:
                call.reset()
            call.going = False

        return self._do(act)

    def hold_reply(self) -> Self:
        """Let the server carry it out, then say nothing for as long as the client waits."""

        async def act(call: Call) -> None:
            await call.forward()
            await call.silence()

        return self._do(act)

    def cut_head(self, at: int = 20) -> Self:
        """Let the server carry it out, then close after `at` bytes of the reply's head."""

        async def act(call: Call) -> None:
            await call.send((await call.forward()).encode(call.request.method)[:at])
            call.going = False

        return self._do(act)

    def trail(self, data: bytes | None = None) -> Self:
        """Send `data` behind the reply, which nobody asked for; None: the reply again."""

        async def act(call: Call) -> None:
            whole = (await call.forward()).encode(call.request.method)
            await call.send(whole + (whole if data is None else data))

        return self._do(act)

    def raw(self, pieces: Iterable[bytes]) -> Self:
        """Reply with these bytes as they are, for as long as the client listens; then close."""

        async def act(call: Call) -> None:
            await call.read()
            for piece in pieces:
                await call.send(piece)
            call.going = False

        return self._do(act)

    def drip(self, rate: int) -> Self:
        """Send the reply at `rate` bytes a second: one by one, or what a millisecond has."""
        step = max(1, rate // 1000)

        async def act(call: Call) -> None:
            whole = (await call.forward()).encode(call.request.method)
            for at in range(0, len(whole), step):
                await call.send(whole[at : at + step])
                await asyncio.sleep(step / rate)

        return self._do(act)

    def corrupt(self, at: int = 0) -> Self:
        """Flip a bit of the byte at `at` in the reply's body, if it has one."""

        async def act(call: Call) -> None:
            answer = await call.forward()
            body = bytearray(answer.body)
            if body:
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

        async def act(call: Call) -> None:
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

        async def act(call: Call) -> None:
            answer = await call.forward()
            first.append(answer)
            await call.reply(first[0])

        return self._do(act)

    def never_advance(self) -> Self:
        """Give every request for a listing's page the first one, made to say that it goes on."""
        pages: list[Answer] = []

        async def act(call: Call) -> None:
            if not pages:
                answer = await call.forward()
                listed, end, rest = _TRUNCATED.sub(b"", answer.body).rpartition(b"</List")
                pages.append(answer._replace(body=listed + _GOES_ON + end + rest))
            await call.read()
            await call.reply(pages[0])

        return self._do(act)


async def pass_on(call: Call) -> None:
    """No fault at all."""
    await call.reply(await call.forward())


_TRUNCATED = re.compile(rb"<IsTruncated>\w*</IsTruncated>")
_GOES_ON = (
    b"<IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken>"
    b"<NextKeyMarker>again</NextKeyMarker><NextUploadIdMarker>again</NextUploadIdMarker>"
)
_XML = {"content-type": "application/xml"}


def _document(code: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>made by the proxy</Message></Error>"
    )
