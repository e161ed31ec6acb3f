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
