"""What users, files and servers can send that is no input: fuzzed, and how often.

Each case ends in a result that keeps the contract or in one of the library's
own errors; never in another exception, in a crash or in something half done.
The long form goes on fifty times as long.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from conftest import Tried
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from long import much
from scripted import HEAD, Server, request

from objectstorage.aio.transport import AsyncTransport
from objectstorage.cli._config import load_profile
from objectstorage.cli._output import Usage
from objectstorage.errors import (
    ErrBackend,
    ErrConflict,
    ErrInvalidKey,
    ErrInvalidRange,
    ErrInvalidURL,
    StorageError,
)
from objectstorage.keys import check_key
from objectstorage.local import meta
from objectstorage.memory import MemoryStorage
from objectstorage.posix import PosixStorage
from objectstorage.posixflat import PosixFlatStorage, key_of, path_of
from objectstorage.s3 import xml
from objectstorage.s3._http import MalformedReply
from objectstorage.s3.exchange import Exchange, Reply, TransportError, receive
from objectstorage.s3.replies import error_of, http_date, info_of
from objectstorage.s3.transport import Transport
from objectstorage.storage import Storage
from objectstorage.urls import open_storage

pytestmark = pytest.mark.faults

Check = Callable[[Any], object]


class Fuzz:
    """Runs a check over many inputs, and counts them."""

    def __init__(self, tried: Tried) -> None:
        self._tried = tried

    def __call__(
        self, what: str, count: int, strategy: st.SearchStrategy[Any], check: Check
    ) -> None:
        executed = 0

        @settings(
            max_examples=much(count, 50 * count),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def run(value: Any) -> None:
            nonlocal executed
            executed += 1
            check(value)

        run()
        self._tried("hostile input", f"executions: {what}", executed)


@pytest.fixture
def fuzz(tried: Tried) -> Fuzz:
    return Fuzz(tried)


def damaged(*whole: bytes) -> st.SearchStrategy[bytes]:
    """One of these texts with pieces cut out, doubled, replaced or noise put in between."""
    return st.binary(min_size=1, max_size=21).map(lambda script: _damage(whole, script))


def _damage(whole: tuple[bytes, ...], script: bytes) -> bytes:
    # Drawn in one go, as each draw costs more than the check.
    text = bytearray(whole[script[0] % len(whole)])
    for at in range(1, len(script) - 4, 5):
        how, high, low, length, what = script[at : at + 5]
        start = (high << 8 | low) % (len(text) + 1)
        end = min(len(text), start + length % 40)
        if how % 5 == 0:
            del text[start:end]
        elif how % 5 == 1:
            text[end:end] = text[start:end]
        elif how % 5 == 2:
            text[start:end] = script[: what % 12]
        elif how % 5 == 3:
            text[start:start] = _NOISE[what % len(_NOISE)]
        else:
            del text[end:]
    return bytes(text)


_NOISE = [
    *(
        b"\r\n",
        b"\n",
        b"\0",
        b"\xff",
        b"-1",
        b"9" * 30,
        b"9" * 14,
        b"9" * 18,
        b"9" * 19,
        b"9" * 5000,
        b"\xd9\xa3",
        b"1e9",
        b" ",
    ),
    *(b"<", b">", b"&lol;", b"&#0;", b"]]>", b"<!DOCTYPE a>", b"<Key>", b"</Key>", b"%00", b"%2"),
    *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
    *(b"Connection: close\r\n", b": \r\n", b"ffffffffffffffff\r\n", b"Content-Length: 99\r\n"),
]

# -- keys ------------------------------------------------------------------------

_PIECES = st.sampled_from(
    ["a", "b", "A", "/", "//", ".", "..", "../", "/.objectstorage", "\0", "\r\n", "\ud800", "é"]
    + ["e\u0301", "\U0001f600", "%2F", " ", "\x7f", "x" * 255, "x" * 256, "~", "!", "=", ".d", ".o"]
)
_KEYS = st.lists(_PIECES, max_size=8).map("".join) | st.text(max_size=40)


def test_keys(tmp_path: Path, fuzz: Fuzz) -> None:
    """A key is held as it is, or refused and nothing done; nothing is ever outside the root."""
    secret = tmp_path / "outside"
    secret.write_bytes(b"secret")
    root = tmp_path / "deep" / "er"
    stores: list[Storage] = [
        MemoryStorage(),
        PosixStorage(root / "posix", durable=False),
        PosixFlatStorage(root / "flat", durable=False),
    ]
    for store in stores:
        store.put("held", b"held")

    def check(key: str) -> None:
        for store in stores:
            data = ascii(key).encode()
            try:
                store.put(key, data)
            except (ErrInvalidKey, ErrConflict):
                with pytest.raises(StorageError):
                    store.get(key)
                assert key not in [info.key for info in store.list()]
                with contextlib.suppress(ErrInvalidKey):
                    store.delete(key)
            else:
                assert store.get(key) == data
                held = sorted({"held", key}, key=str.encode)
                assert [info.key for info in store.list(key)] == [
                    k for k in held if k.startswith(key)
                ]
                assert [info.key for info in store.list()] == held
                store.copy(key, "copied")
                store.move("copied", "held")
                store.delete(key)
                assert not store.exists(key)
                store.put("held", b"held")

    fuzz("keys", 200, _KEYS, check)
    assert sorted(os.listdir(tmp_path)) == ["deep", "outside"]
    assert os.listdir(tmp_path / "deep") == ["er"]
    assert sorted(os.listdir(root)) == ["flat", "posix"]
    assert secret.read_bytes() == b"secret"


def test_what_is_a_key(fuzz: Fuzz) -> None:
    def check(key: str) -> None:
        try:
            raw = check_key(key)
        except ErrInvalidKey as exc:
            str(exc).encode()
            repr(exc).encode()
        else:
            assert raw.decode() == key
            assert 0 < len(raw) <= 1024
            assert b"\0" not in raw
            assert raw[:1] != b"/"

    fuzz("keys", 500, _KEYS | st.text(), check)


def test_names_of_posixflat(fuzz: Fuzz) -> None:
    """Any file name has one key or none; the key's own name is that one again."""
    valid = [path_of(key) for key in ("a/b", "É" * 60, "x" * 90 + "//y", "..", "a b.c/d~e")]

    def check(path: bytes) -> None:
        key = key_of(path)
        if key is not None:
            assert path_of(key) == path
            assert check_key(key)

    fuzz("names of files", 800, damaged(*valid) | st.binary(max_size=50), check)


# -- URLs and ranges -------------------------------------------------------------

_URLS = st.lists(
    st.sampled_from(
        ["memory:", "posix:", "s3:", "S3:", "//", "///", "/", "b", "bucket", "..", "?", "&", "="]
        + ["#", "endpoint=", "http://h:1", "http://u:p@h", "https://", "region=", "durable="]
        + ["%2f", "%00", "%ff", "%", "@", ":", "[::1]", "\0", "\r\n", " ", "é", "\ud800", "99999"]
        + ["connections=", "part_size=", "dialect=", "timeout=", "nan", "inf", "-1", "1e400"]
    ),
    max_size=9,
).map("".join)


def test_urls(fuzz: Fuzz) -> None:
    """A store whose own URL names it again, or `ErrInvalidURL`; and no I/O."""

    def check(url: str) -> None:
        try:
            store = open_storage(url)
        except ErrInvalidURL as exc:
            shown = str(exc)
        else:
            shown = store.url
            if not url.lower().startswith("memory"):
                assert open_storage(store.url).url == store.url
            store.close()
        assert "u:p" not in shown

    fuzz("URLs", 700, _URLS | st.text(max_size=30).map("s3://".__add__), check)


_NUMBERS = st.none() | st.integers(-30, 30) | st.sampled_from([2**63, -(2**63), 10**30, 2**31])


def test_ranges(tmp_path: Path, fuzz: Fuzz) -> None:
    """Those of a slice, or an error; the same of every store."""
    data = bytes(range(20))
    stores: list[Storage] = [MemoryStorage(), PosixStorage(tmp_path, durable=False)]
    for store in stores:
        store.put("k", data)

    def outcome(call: Callable[[], object]) -> object:
        try:
            return call()
        except (StorageError, TypeError) as exc:
            return type(exc)

    def outcomes(store: Storage, start: Any, end: Any, length: Any) -> list[object]:
        return [
            outcome(lambda: store.get_range("k", start=start, end=end, length=length)),
            outcome(lambda: store.fetch("k", start=start, end=end).data),
            outcome(lambda: store.get_ranges("k", starts=[start, 0], lengths=[length, 1])),
        ]

    def check(numbers: tuple[Any, Any, Any]) -> None:
        start, end, length = numbers
        one, two = (outcomes(store, start, end, length) for store in stores)
        assert one == two
        if isinstance(one[1], bytes):
            first = max(0, start if start >= 0 else 20 + start)
            assert one[1] == data[first:end]
        elif start is not None:
            assert one[1] is ErrInvalidRange
            assert start > 20 or (end is not None and end < 0) or (start < 0 and end is not None)

    fuzz("ranges", 500, st.tuples(_NUMBERS, _NUMBERS, _NUMBERS), check)


# -- what servers say ------------------------------------------------------------

_LIST = (
    b'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc'
    b'/2006-03-01/"><Name>b</Name><Prefix>p/</Prefix><IsTruncated>true</IsTruncated><Contents>'
    b"<Key>p/a%20b</Key><LastModified>2026-11-24T01:36:19.000Z</LastModified><ETag>&#34;e1&#34;"
    b"</ETag><Size>1</Size></Contents><CommonPrefixes><Prefix>p/t/</Prefix></CommonPrefixes>"
    b"<EncodingType>url</EncodingType><NextContinuationToken>p/t/</NextContinuationToken>"
    b"</ListBucketResult>"
)
_END = b"</ListBucketResult>"
_ERROR = (
    b"<Error><Code>NoSuchKey</Code><Message>It is gone</Message><Key>k</Key>"
    b"<RequestId>1</RequestId></Error>"
)
_UPLOADS = (
    b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key>a</Key>"
    b"<UploadId>u</UploadId><Initiated>2026-11-24T01:36:19Z</Initiated></Upload>"
    b"</ListMultipartUploadsResult>"
)
_PARTS = (
    b"<ListPartsResult><IsTruncated>false</IsTruncated><Part><PartNumber>1</PartNumber>"
    b"<ETag>e</ETag><Size>5</Size><LastModified>2026-11-24T01:36:19Z</LastModified></Part>"
    b"</ListPartsResult>"
)
_DELETED = (
    b"<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code>"
    b"<Message>no</Message></Error></DeleteResult>"
)


def test_xml(fuzz: Fuzz) -> None:
    """A page whose keys are keys below the store's own, or `ErrBackend`; read either way alike."""

    def read(body: bytes) -> xml.ListPage | None:
        try:
            return xml.parse_list(body, own="p/")
        except ErrBackend:
            return None

    def check(body: bytes) -> None:
        page = read(body)
        if body.endswith(_END):
            assert page == read(body.removesuffix(_END) + b"<!---->" + _END)
        if page is not None:
            for info in page.objects:
                assert check_key(info.key)
                assert info.size >= 0
                assert info.last_modified.tzinfo is not None
                str(info)
        for parse in (xml.parse_uploads, xml.parse_parts, xml.parse_delete):
            with contextlib.suppress(ErrBackend):
                parse(body)
        xml.parse_error(body)
        with contextlib.suppress(ErrBackend):
            xml.parse_text(body, "Code", "Key")

    fuzz("XML", 800, damaged(_LIST, _ERROR, _UPLOADS, _PARTS, _DELETED), check)


_REPLIES = (
    b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "e"\r\nX-Amz-Meta-A: b\r\n\r\nhello',
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: u\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 206 Partial\r\nContent-Length: 2\r\n"
    b"Content-Range: bytes 0-1/9\r\n\r\nab",
    b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nuntil the end",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%b" % (len(_ERROR), _ERROR),
    b"HTTP/1.1 204 No Content\r\nX-A: 1\r\nx-a: 2\r\n\r\n",
)


def parsed(raw: bytes, cuts: list[int]) -> object:
    """What the reply comes to, received in these pieces."""
    exchange = Exchange("GET", HEAD)
    exchange.sent = "all"
    places = sorted({cut for cut in cuts if cut < len(raw)} | {len(raw)})
    at = 0
    steps = receive(exchange, b"", 64 * 1024, 1024 * 1024)
    try:
        want = next(steps)
        while True:
            end = next((place for place in places if place > at), at)
            if want is None:
                piece = raw[at:end]
                at += len(piece)
                want = steps.send(piece)
                continue
            # of a number or a view fewer come at the end of the connection only
            size = want if isinstance(want, int) else len(want)
            piece = raw[at : at + size]
            at += len(piece)
            if isinstance(want, memoryview):
                want[: len(piece)] = piece
            want = steps.send(piece if isinstance(want, int) else len(piece))
    except StopIteration as stop:
        reply, _ = stop.value
        return reply.status, reply.headers, bytes(reply.body)
    except (MalformedReply, ConnectionError) as exc:
        return type(exc)


def test_replies_in_any_pieces(fuzz: Fuzz) -> None:
    """The same reply or the same refusal, however the bytes come in."""

    def check(case: tuple[bytes, list[int]]) -> None:
        raw, cuts = case
        whole = parsed(raw, [])
        assert parsed(raw, cuts) == whole
        if isinstance(whole, tuple):
            status, headers, body = whole
            assert 200 <= status < 1000
            assert not any("\r" in text or "\n" in text for text in (*headers, *headers.values()))
            for use in (
                lambda: error_of(Reply(status, headers, body, len(body)), "b"),
                lambda: info_of("k", Reply(status, headers, body, len(body))).size,
            ):
                with contextlib.suppress(StorageError):
                    use()

    cases = st.tuples(damaged(*_REPLIES), st.lists(st.integers(1, 150), max_size=6))
    fuzz("HTTP replies", 800, cases, check)


def test_both_transports_agree(fuzz: Fuzz) -> None:
    """The same bytes on the wire mean the same to both faces."""
    raw = b""

    def handler(conn: socket.socket) -> None:
        request(conn)
        conn.sendall(raw)
        conn.shutdown(socket.SHUT_WR)
        conn.recv(1)  # the client closes, or has its next request answered elsewhere

    with Server(handler) as server, asyncio.Runner() as runner:
        options = {"read_timeout": 20.0}

        def blocking() -> object:
            transport = Transport("127.0.0.1", server.port, **options)
            try:
                reply = transport.send(Exchange("GET", HEAD))
                return reply.status, reply.headers, bytes(reply.body), transport.stats.in_use
            except TransportError:
                return TransportError, transport.stats.in_use
            finally:
                transport.close()

        async def on_a_loop() -> object:
            transport = AsyncTransport("127.0.0.1", server.port, **options)
            try:
                reply = await transport.send(Exchange("GET", HEAD))
                return reply.status, reply.headers, bytes(reply.body), transport.stats.in_use
            except TransportError:
                return TransportError, transport.stats.in_use
            finally:
                await transport.close()

        def check(sent: bytes) -> None:
            nonlocal raw
            raw = sent
            one, two = blocking(), runner.run(on_a_loop())
            assert one == two
            assert isinstance(one, tuple)
            assert one[-1] == 0  # no connection is kept
            assert (one[0] is TransportError) == isinstance(parsed(sent, []), type)

        fuzz("HTTP replies to both faces", 150, damaged(*_REPLIES), check)


_TEXTS = st.text(max_size=40) | st.sampled_from(
    ["Tue, 24 Nov 2026 01:36:19 GMT", "Tue, 24 Nov 2026 01:36:19 +2500", "0", "9" * 5000, "-1"]
    + ["Tue, 24 Nov 99999 01:36:19 GMT", "Tue, 31 Feb 2026 25:61:61 GMT", "bytes 0-1/" + "9" * 5000]
    + ["bytes 0-1/10", "bytes */5", "١٢", "²", "1_000", "+5", "Mon, 1 Jan 1 00:00:00 -2359"]
    + ["Tue, 24 Nov 99999999999999999999 1:36:19 GMT", "Tue, 24 Nov 2026 1:36:19 +99999999999999"]
)


def test_dates_and_sizes(fuzz: Fuzz) -> None:
    """An aware date and a size, or `ErrBackend`."""

    def check(texts: tuple[int, str, str, str]) -> None:
        status, date, length, place = texts
        with contextlib.suppress(ErrBackend):
            assert http_date(date).tzinfo is not None
        headers = {"etag": '"e"', "last-modified": date, "content-length": length}
        reply = Reply(status, {**headers, "content-range": place}, b"", None)
        with contextlib.suppress(ErrBackend):
            info = info_of("k", reply)
            assert info.size >= 0
            assert info.last_modified.tzinfo is not None

    cases = st.tuples(st.sampled_from([200, 206]), _TEXTS, _TEXTS, _TEXTS)
    fuzz("dates and sizes", 600, cases, check)


# -- what files say --------------------------------------------------------------


def test_attributes_of_files(fuzz: Fuzz) -> None:
    """What another program wrote there is texts, or nothing."""
    whole = [meta.encode("a/b", {"k": "v" * size}) or b"" for size in (1, 2000)]
    whole.append(meta.encode(None, {f"k{number}": '"' * 90 for number in range(21)}) or b"")

    def check(raw: bytes) -> None:
        kind, metadata = meta.decode(raw)
        assert kind is None or isinstance(kind, str)
        assert all(isinstance(text, str) for pair in metadata.items() for text in pair)

    fuzz("attributes of files", 600, damaged(*whole) | st.binary(max_size=60), check)


def test_configuration_files(tmp_path: Path, fuzz: Fuzz, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that opens a store, or an error that quotes no value of it."""
    path = tmp_path / "config.toml"
    monkeypatch.setenv("OBJECTSTORAGE_CONFIG", str(path))
    whole = (
        b'[default]\nurl = "memory://x"\n[a]\nurl = "s3://b/p"\noptions = { endpoint = '
        b'"http://h:1", access_key = "k", secret_key = "canaryS3cret", connections = 5 }\n'
    )

    def check(text: bytes) -> None:
        path.write_bytes(text)
        for name in (None, "a", "default"):
            try:
                profile = load_profile(name)
                if profile is not None:
                    open_storage(profile.url, **profile.options).close()
            except (Usage, StorageError, TypeError) as exc:
                shown = str(exc)
            else:
                shown = repr(profile and profile.url)
            assert "canaryS3cret" not in shown

    fuzz("configuration files", 300, damaged(whole), check)


def test_nothing_is_unquoted_twice(fuzz: Fuzz) -> None:
    """What a store's URL says of a directory is that directory."""

    def check(name: str) -> None:
        with contextlib.suppress(ErrInvalidURL):
            store = PosixStorage(f"/srv/{name}")
            path = unquote(store.url.removeprefix("posix://"), errors="surrogateescape")
            assert path == os.path.abspath(f"/srv/{name}")
            with contextlib.suppress(ErrInvalidURL):
                assert open_storage(store.url).url == store.url

    fuzz("URLs", 300, st.text(max_size=20), check)
