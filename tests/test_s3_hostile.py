"""Servers that answer something else than was asked, and input that is none; both faces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from s3_bench import KEY, AsyncFace, Bench, SyncFace, benches, data

from objectstorage import (
    ErrIntegrity,
    ErrInvalidMetadata,
    ErrInvalidURL,
    ErrPreconditionFailed,
    StorageError,
    open_storage,
)
from objectstorage.testing.servers import S3Server


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
def bench(request: pytest.FixtureRequest, seaweedfs: S3Server) -> Iterator[Bench]:
    with benches(seaweedfs, request.param) as made:
        yield made


def test_a_corrupted_download_leaves_no_file(bench: Bench, tmp_path: Path) -> None:
    bench.direct.put(KEY, data(3 << 20))
    bench.proxy.on(method="GET", path=KEY, nth=None).corrupt(at=2_500_000)
    with pytest.raises(ErrIntegrity):
        bench.store.download(KEY, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_is_cut_is_resumed(bench: Bench, tmp_path: Path) -> None:
    content = data(3 << 20)
    bench.direct.put(KEY, content)
    bench.proxy.on(method="GET", path=KEY).truncate(2_500_000)
    bench.store.download(KEY, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content


def test_an_empty_object_is_downloaded(bench: Bench, tmp_path: Path) -> None:
    bench.direct.put(KEY, b"")
    bench.store.download(KEY, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b""


def test_a_part_from_another_place_is_refused(bench: Bench) -> None:
    bench.direct.put(KEY, b"0123456789")
    bench.proxy.on(method="GET", path=KEY, nth=None).replace(
        headers={"content-range": "bytes 5-7/10"}, body=b"567"
    )
    with pytest.raises(ErrIntegrity):
        bench.store.fetch(KEY, start=2, end=5)


def test_all_who_ask_in_the_wrong_region_are_put_right(bench: Bench) -> None:
    bench.direct.put(KEY, b"here")
    here = "/eu-west-1/"
    rule = bench.proxy.on(where=lambda r: here not in r.headers["authorization"], nth=None)
    rule.redirect(301, "http://elsewhere.invalid/", "eu-west-1")
    if isinstance(bench.store, AsyncFace):
        store, loop = bench.store._store, bench.store._loop

        async def run() -> list[bytes]:
            return await asyncio.gather(*[store.get(KEY) for _ in range(20)])

        assert loop.run_until_complete(run()) == [b"here"] * 20
    else:
        with ThreadPoolExecutor(20) as pool:
            assert list(pool.map(bench.store.get, [KEY] * 20)) == [b"here"] * 20
    assert rule.hits


@pytest.mark.parametrize("region", ["evil.example/#", "a b", "x" * 80])
def test_a_region_that_is_none_is_not_followed(bench: Bench, region: str) -> None:
    bench.proxy.on(nth=None).redirect(301, "http://elsewhere.invalid/", region)
    with pytest.raises(StorageError):
        bench.store.get(KEY)
    assert len(bench.proxy.requests) == 1


@pytest.mark.parametrize("etag", ["x\r\nx-evil: 1", 'a"b', "*", "a b", "ü", "\0"])
def test_no_etag_adds_a_header(bench: Bench, etag: str) -> None:
    with pytest.raises(ErrPreconditionFailed):
        bench.store.put(KEY, b"x", if_match=etag)
    assert bench.proxy.requests == []


def test_the_write_ids_name_is_the_stores_own(bench: Bench) -> None:
    with pytest.raises(ErrInvalidMetadata):
        bench.store.put(KEY, b"x", metadata={"objectstorage-write-id": "y"})


@pytest.mark.parametrize("prefix", ["a//b", "a/../b", "./a"])
@pytest.mark.parametrize("dialect", ["auto", "seaweedfs"])
def test_a_prefix_that_the_server_folds_is_refused(
    prefix: str, dialect: str, seaweedfs: S3Server
) -> None:
    url = f"{seaweedfs.fresh_url().rstrip('/')}/{prefix}"
    options: dict[str, Any] = {**seaweedfs.options(), "dialect": dialect}
    with open_storage(url, **options) as store:
        for use in (
            lambda: store.put(KEY, b"x"),
            lambda: store.get(KEY),
            lambda: list(store.list()),
            lambda: store.delete_many([KEY]),
            lambda: store.copy("a", "b"),
        ):
            with pytest.raises(ErrInvalidURL):
                use()


def test_a_prefix_that_the_server_holds_is_used(moto: S3Server) -> None:
    url = f"{moto.fresh_url().rstrip('/')}/a//b"
    with open_storage(url, **moto.options()) as store:
        store.put(KEY, b"x")
        assert [info.key for info in store.list()] == [KEY]


# -- replies that no server should give --------------------------------------------


def reply(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> list[bytes]:
    lines = b"".join(header + b"\r\n" for header in headers)
    if not any(header.lower().startswith(b"content-length") for header in headers):
        lines += b"Content-Length: %d\r\n" % len(body)
    return [b"HTTP/1.1 " + status + b"\r\n" + lines + b"\r\n" + body]


OBJECT = (b'ETag: "e"', b"Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT")


@pytest.mark.parametrize(
    "raw",
    [
        reply(b"abc", *OBJECT, b"Content-Length: 10"),
        reply(b"abc", *OBJECT, b"Content-Length: -3"),
        reply(b"abc", *OBJECT, b"Content-Length: 3x"),
        reply(b"abc", *OBJECT, b"Content-Length: 3", b"Content-Length: 2"),
        reply(b"abc", *OBJECT, b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        reply(b"zz\r\nabc", *OBJECT, b"Transfer-Encoding: chunked")[:1],
        reply(b"abc", *OBJECT, b"x-evil: 1\r\n folded"),
        reply(b"abc", *OBJECT, b"x-evil: \0"),
        reply(b"abc", b"Last-Modified: never"),
        reply(b"abc", *OBJECT, b"x-amz-checksum-crc32: AAAAAA=="),
        reply(b"", status=b"99 What"),
        reply(b"", status=b"abc"),
        [b""],
        [b"\xff" * 100_000],
        [b"SSH-2.0-OpenSSH_9.7\r\n"],
    ],
)
@pytest.mark.parametrize("verb", ["get", "stream", "fetch"])
def test_no_such_reply_is_an_object(bench: Bench, verb: str, raw: list[bytes]) -> None:
    bench.proxy.on(method="GET", path=KEY, nth=None).raw(raw)
    with pytest.raises(StorageError) as caught:
        getattr(bench.open(attempts=2), verb)(KEY)
    assert caught.value.key == KEY


def listing(*contents: str) -> bytes:
    return (
        '<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>'
        + "".join(contents)
        + "</ListBucketResult>"
    ).encode("utf-8", "surrogateescape")


def entry(key: str, size: str = "1", etag: str = "e", date: str = "2020-01-01T00:00:00Z") -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>{date}</LastModified>"
        f"<ETag>{etag}</ETag><Size>{size}</Size></Contents>"
    )


_LEVELS = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
BOMB = f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY e0 "ha">{_LEVELS}]><l>&e9;</l>'.encode()


@pytest.mark.parametrize(
    "document",
    [
        BOMB,
        b'<!DOCTYPE l SYSTEM "file:///etc/passwd"><l/>',
        listing("<a>" * 100_000),
        listing("<x>" + "</x><x>" * 10_000),
        listing(entry("OWNa", size="-1")),
        listing(entry("OWNa", size="1e3")),
        listing(entry("OWNa", size="9" * 5000)),
        listing(entry("OWNa", date="9999999-01-01")),
        listing(entry("OWNa", etag="")),
        listing(entry("elsewhere/a")),
        listing(entry("OWN../../etc/passwd\x07")),
        listing(entry("OWN\udcff\udcfe")),
        listing(entry("OWNb"), entry("OWNa")),
        listing(entry("OWNa"), entry("OWNa")),
        listing("<IsTruncated>maybe</IsTruncated>"),
        b"",
        b"{}",
        b"<html><body>It works!</body></html>",
    ],
)
def test_no_such_document_is_a_listing(bench: Bench, document: bytes) -> None:
    own = bench.url.split("/", 3)[3] + "/"
    document = document.replace(b"OWN", own.encode())
    bench.proxy.on(method="GET", path="list-type", nth=None).answer(200, document)
    store = bench.open(attempts=2, dialect="aws")
    with pytest.raises(StorageError):
        store.list()


def test_keys_that_are_none_are_left_out(bench: Bench) -> None:
    own = bench.url.split("/", 3)[3] + "/"
    keys = ["", "%00", "/etc/passwd", "good", "x" * 1100]
    document = listing(
        "<EncodingType>url</EncodingType>", *[entry(own + key) for key in sorted(keys)]
    )
    bench.proxy.on(method="GET", path="list-type", nth=None).answer(200, document)
    assert bench.open(dialect="aws").list() == ["good"]


class Flood:
    """Bytes without an end; how many were taken of them."""

    def __init__(self, head: bytes, more: bytes) -> None:
        self._head, self._more = head, more
        self.sent = 0

    def __iter__(self) -> Iterator[bytes]:
        piece = self._head
        while self.sent < 1 << 30:
            yield piece
            self.sent += len(piece)
            piece = self._more


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "more", "most"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x-header: more of it\r\n" * 1000, 16 << 20),
        (b"HTTP/1.1 200 OK\r\nx-long: ", b"x" * 100_000, 16 << 20),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 16 << 20),
        (CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n", 64 << 20),
        (CHUNKED + b"1", b";x=" + b"y" * 65536, 16 << 20),
        (CHUNKED + b"0\r\n", b"trailer: more of it\r\n" * 1000, 16 << 20),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"<" * 65536, 64 << 20),
        (b"HTTP/1.1 500 Oh\r\n\r\n", b"<" * 65536, 16 << 20),
    ],
)
def test_what_never_ends_is_ended(bench: Bench, head: bytes, more: bytes, most: int) -> None:
    flood = Flood(head, more)
    bench.proxy.on(method="GET", path="list-type", nth=None).raw(flood)
    store = bench.open(attempts=1)
    with pytest.raises(StorageError):
        store.list()
    # what the sockets between hold was sent, too
    assert flood.sent < most


def test_what_a_server_says_is_one_line_of_text(bench: Bench) -> None:
    said = "first\nERROR second \x1b[31mred\x1b[0m \u202e"
    document = f"<Error><Code>Odd\nCode</Code><Message>{said}</Message></Error>"
    document = document.replace("\x1b", "")
    bench.proxy.on(method="GET", path=KEY, nth=None).answer(
        418, document.encode(), {"x-amz-request-id": "id\x85"}
    )
    with pytest.raises(StorageError) as caught:
        bench.store.get(KEY)
    assert str(caught.value).isprintable(), repr(str(caught.value))
    assert "ERROR second" in str(caught.value)
