"""An operation tried as one exchange ends as it does without: same result, same requests."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from scripted import Server, request

from objectstorage import ErrOutcomeUnknown, StorageError, aio, open_storage
from objectstorage.s3.client import Client
from objectstorage.s3.core import Core
from objectstorage.s3.encoding import crc32_text
from objectstorage.s3.shortcut import Shortcut

DATE = b"Last-Modified: Wed, 25 Nov 2026 13:20:44 GMT\r\n"


def answer(
    line: bytes, body: bytes = b"", headers: bytes = b"", length: int | None = None
) -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (line, headers + DATE, size, body)


def error(line: bytes, code: bytes, headers: bytes = b"") -> bytes:
    return answer(line, b"<Error><Code>%b</Code></Error>" % code, headers)


SUM = crc32_text(zlib.crc32(b"ok")).encode()
OK = answer(b"200 OK", b"ok", b'ETag: "e"\r\nx-amz-checksum-crc32: %b\r\n' % SUM)
FOUND = answer(b"200 OK", b"", b'ETag: "e"\r\n', 2)
STORED = answer(b"200 OK", b"", b'ETag: "e"\r\n')
GONE = b"HTTP/1.1 204 No Content\r\n\r\n"
BUSY = answer(b"503 Busy", b"", b"Retry-After: 0\r\n")
CUT = b""  # the connection is closed instead of a reply
SHORT = answer(b"200 OK", b"o", b'ETag: "e"\r\n', 2)  # and closed, too

PART = answer(b"206 Part", b"ok", b'ETag: "e"\r\nContent-Range: bytes 1-2/4\r\n')
# Each a run of replies, with the good one at its end.
SCRIPTS: dict[str, Sequence[bytes]] = {
    "good": (),
    "busy": (BUSY,),
    "busy for ever": (BUSY,) * 9,
    "lost": (CUT,),
    "lost for ever": (CUT,) * 9,
    "lost, then denied": (CUT, error(b"403 No", b"AccessDenied")),
    "lost, then absent": (CUT, error(b"404 No", b"NoSuchKey")),
    "busy, then lost": (BUSY, CUT),
    "cut short": (SHORT,),
    "malformed": (b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",),
    "absent": (error(b"404 No", b"NoSuchKey"),),
    "no bucket": (error(b"404 No", b"NoSuchBucket"),),
    "denied": (error(b"403 No", b"AccessDenied"),),
    "internal": (error(b"500 No", b"InternalError"),),
    "expired": (error(b"400 No", b"ExpiredToken"),),
    "skewed": (error(b"403 No", b"RequestTimeTooSkewed", b"Date: " + DATE[15:]),),
    "moved": (error(b"400 No", b"AuthorizationHeaderMalformed", b"x-amz-bucket-region: here\r\n"),),
    "no ETag": (answer(b"200 OK", b"ok"),),
    "another checksum": (
        answer(b"200 OK", b"ok", b'ETag: "e"\r\nx-amz-checksum-crc32: AAAAAA==\r\n'),
    ),
    "failed after its head": (answer(b"200 OK", b"<Error><Code>InternalError</Code></Error>"),),
    "nothing more": (answer(b"304 Same"),),
    "all instead of a part": (
        answer(b"200 OK", b"body", b'ETag: "e"\r\nContent-Range: bytes 0-3/4\r\n'),
    ),
    "another part": (answer(b"206 Part", b"ok", b'ETag: "e"\r\nContent-Range: bytes 0-1/4\r\n'),),
    "a part of another length": (
        answer(b"206 Part", b"o", b'ETag: "e"\r\nContent-Range: bytes 1-1/4\r\n'),
    ),
    "a part without an ETag": (answer(b"206 Part", b"ok", b"Content-Range: bytes 1-2/4\r\n"),),
    "no such part": (error(b"416 No", b"InvalidRange"),),
    "a success of another kind": (answer(b"202 Later", b"", b'ETag: "e"\r\n'),),
}


class Lines:
    """Gives one reply after the other, whatever connection asks, and notes the requests."""

    def __init__(self, raw: Sequence[bytes], good: dict[bytes, bytes]) -> None:
        self._raw = list(raw)
        self._good = good
        self._lock = threading.Lock()
        self.asked: list[bytes] = []

    def __call__(self, conn: socket.socket) -> None:
        while head := request(conn)[0]:
            with self._lock:
                self.asked.append(head.split(b"\r\n")[0])
                raw = self._raw.pop(0) if self._raw else self._good[head.split(b" ")[0]]
            conn.sendall(raw)
            if raw in (CUT, SHORT):
                return


TRIED_AGAIN = ("busy", "busy for ever", "lost", "lost for ever", "expired", "skewed", "moved")
METHODS = {b"GET": OK, b"HEAD": FOUND, b"PUT": STORED, b"DELETE": GONE}
READS = ("get", "stat", "fetch", "get_range")
CALLS: dict[str, Callable[[Any], Any]] = {
    "get": lambda store: store.get("k"),
    "stat": lambda store: store.stat("k"),
    "put": lambda store: store.put("k", b"ok"),
    "delete": lambda store: store.delete("k"),
    "fetch": lambda store: store.fetch("k"),
    "get_range": lambda store: store.get_range("k", start=1, length=2),
}


def plain(error: BaseException) -> Any:
    """An error without what differs between two servers."""
    told: list[Any] = []
    found: BaseException | None = error
    while found is not None:
        text = re.sub(r"127\.0\.0\.1:\d+", "server", str(found))
        told.append((type(found).__name__, text))
        if isinstance(found, StorageError):
            told.append((found.key, found.operation, found.code, found.status))
        found = found.__cause__
    return told


def run(verb: str, face: str, script: Sequence[bytes], **given: Any) -> Any:
    """What becomes of an operation on a store that was used before, and what was asked."""
    good = METHODS | ({b"GET": PART} if verb == "get_range" else {})
    lines = Lines([OK, *script], good)
    with Server(lines) as server:
        options: dict[str, Any] = {
            "endpoint": f"http://127.0.0.1:{server.port}",
            "dialect": "generic",
            "access_key": "key",
            "secret_key": "secret",
            "attempts": 3,
            **given,
        }

        async def asynchronous() -> Any:
            async with aio.open_storage("s3://bucket", **options) as store:
                await store.get("before")
                return await CALLS[verb](store)

        def blocking() -> Any:
            with open_storage("s3://bucket", **options) as store:
                store.get("before")
                return CALLS[verb](store)

        try:
            result: Any = asyncio.run(asynchronous()) if face == "aio" else blocking()
        except StorageError as exc:
            result = plain(exc)
    return result, lines.asked[1:]


@pytest.mark.parametrize("face", ["sync", "aio"])
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("verb", CALLS)
def test_it_ends_as_without(
    verb: str, script: str, face: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = SCRIPTS[script]
    if verb == "stat":  # a HEAD's replies have no body
        raw = [reply.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if reply else reply for reply in raw]
    shortcut = run(verb, face, raw)
    monkeypatch.setattr(Client, "steady", lambda _: None)
    assert run(verb, face, raw) == shortcut
    if script in TRIED_AGAIN:
        assert len(shortcut[1]) > 1


@pytest.mark.parametrize("face", ["sync", "aio"])
@pytest.mark.parametrize("verb", ["put", "delete"])
def test_a_lost_reply_without_another_try_is_unknown(verb: str, face: str) -> None:
    told, asked = run(verb, face, [CUT], attempts=1)
    assert told[0][0] == "ErrOutcomeUnknown"
    assert len(asked) == 1


@pytest.mark.parametrize("verb", CALLS)
def test_the_deadline_holds_for_all_attempts(verb: str) -> None:
    later = answer(b"503 Busy", b"", b"Retry-After: 20\r\n")
    told, asked = run(verb, "sync", [later], timeout=15)
    kinds = [name for name, *_ in told]
    # a 503 that is not S3's own may come after the work was done
    assert kinds[0] == ("ErrTimeout" if verb in READS else "ErrOutcomeUnknown")
    assert "ErrTimeout" in kinds
    assert len(asked) == 1


def test_most_requests_go_that_way(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Any] = []

    def noting(verb: Any) -> Any:
        def wrapped(*given: Any) -> Any:
            steps.append(verb(*given))
            return steps[-1]

        return wrapped

    for verb in ("get", "stat", "put", "delete", "fetch"):
        monkeypatch.setattr(Core, verb, noting(getattr(Core, verb)))
    for verb in CALLS:
        run(verb, "sync", [])
    # The first of a store has to find out that there is a bucket.
    assert [isinstance(step, Shortcut) for step in steps] == [False, True] * len(CALLS)


@pytest.mark.parametrize("steady", [True, False])
@pytest.mark.parametrize("verb", CALLS)
def test_cancelled_when_all_was_sent(
    verb: str, steady: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()

    def silent(conn: socket.socket) -> None:
        request(conn)
        conn.sendall(OK)
        request(conn)
        asked.set()
        request(conn)  # until the client leaves

    async def cancel(port: int) -> BaseException:
        async with aio.open_storage(
            "s3://bucket",
            endpoint=f"http://127.0.0.1:{port}",
            dialect="generic",
            access_key="key",
            secret_key="secret",
        ) as store:
            await store.get("before")
            if not steady:
                monkeypatch.setattr(Client, "steady", lambda _: None)
            task = asyncio.ensure_future(CALLS[verb](store))
            await asyncio.to_thread(asked.wait)
            task.cancel()
            (result,) = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(result, BaseException)
            return result

    with Server(silent) as server:
        result = asyncio.run(cancel(server.port))
    # a read is just cancelled; of a write nobody knows
    known = asyncio.CancelledError if verb in READS else ErrOutcomeUnknown
    assert type(result) is known
