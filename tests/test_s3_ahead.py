"""Large objects: parts beside each other, ranges beside each other, downloads that go on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from s3_bench import KEY, AsyncFace, Bench, SyncFace, benches

from objectstorage import (
    ErrIntegrity,
    ErrInvalidRange,
    ErrNotExist,
    ErrPreconditionFailed,
    ErrUnavailable,
    open_storage,
)
from objectstorage.s3.client import Client
from objectstorage.s3.reading import ObjectBody
from objectstorage.testing.servers import S3Server

PART = 256 * 1024
DATA = os.urandom(12 * PART + 77)


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
def bench(request: pytest.FixtureRequest, seaweedfs: S3Server) -> Iterator[Bench]:
    with benches(seaweedfs, request.param) as made:
        yield made


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is quick enough, and the server is far away."""
    monkeypatch.setattr(ObjectBody, "QUICK", float("inf"))
    monkeypatch.setattr(Client, "is_here", False)


def ranges_asked(bench: Bench) -> list[str]:
    return [
        call.headers["range"]
        for call in bench.proxy.requests
        if call.method == "GET" and "range" in call.headers
    ]


# -- reading ahead -------------------------------------------------------------


def test_where_one_connection_is_slow_parts_are_read_beside_each_other(
    bench: Bench, slow: None
) -> None:
    store = bench.open(part_size=PART)
    bench.direct.put(KEY, DATA)
    assert store.stream(KEY) == DATA
    lengths = [
        int(text.rpartition("-")[2]) - int(text[6:].partition("-")[0]) + 1
        for text in ranges_asked(bench)
    ]
    assert max(lengths) == PART
    assert len(lengths) >= 7


def test_where_it_is_quick_one_request_is_enough(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ObjectBody, "QUICK", 0)
    monkeypatch.setattr(Client, "is_here", False)
    bench.direct.put(KEY, DATA)
    assert bench.open(part_size=PART).stream(KEY) == DATA
    assert ranges_asked(bench) == []


def test_a_part_that_is_cut_is_asked_for_again(bench: Bench, slow: None) -> None:
    bench.direct.put(KEY, DATA)
    bench.proxy.on(method="GET", path=KEY, nth=4).truncate(1000)
    assert bench.open(part_size=PART).stream(KEY) == DATA


def test_replaced_while_parts_are_read(bench: Bench, slow: None, tmp_path: Path) -> None:
    bench.direct.put(KEY, DATA)

    def disturb(done: int, total: int | None) -> None:
        bench.direct.put(KEY, DATA[::-1])

    with pytest.raises(ErrPreconditionFailed):
        bench.open(part_size=PART).download(KEY, tmp_path / "file", progress=disturb)
    assert list(tmp_path.iterdir()) == []


def test_the_end_is_checked_against_the_checksum(bench: Bench, slow: None) -> None:
    bench.direct.put(KEY, DATA)
    bench.proxy.on(method="GET", path=KEY, nth=5).corrupt(at=500)
    with pytest.raises(ErrIntegrity):
        bench.open(part_size=PART).stream(KEY)


def test_jumps_among_parts(slow: None, seaweedfs: S3Server) -> None:
    with seaweedfs.open(part_size=PART) as store:
        store.put(KEY, DATA)
        with store.open(KEY) as file:
            for place in (0, 11 * PART, 3, 5 * PART - 1):
                file.seek(place)
                assert file.read(3 * PART) == DATA[place : place + 3 * PART]
            file.seek(0)
            assert file.read() == DATA
    assert store._driver._transport.stats.in_use == 0  # type: ignore[attr-defined]


# -- several ranges ------------------------------------------------------------


@pytest.fixture(scope="module")
def ranged(seaweedfs: S3Server) -> Iterator[Any]:
    with seaweedfs.open() as store:
        store.put(KEY, DATA)
        yield store


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(DATA)), st.integers(0, 3000)), max_size=12))
def test_ranges_are_what_slices_are(ranged: Any, pairs: list[tuple[int, int]]) -> None:
    starts, lengths = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    got = ranged.get_ranges(KEY, starts=starts, lengths=lengths)
    assert got == [DATA[start : start + length] for start, length in pairs]


def test_near_ranges_are_one_request_and_far_ones_a_few(bench: Bench) -> None:
    bench.direct.put(KEY, DATA)
    assert bench.store.get_ranges(KEY, starts=[5, 900, 0], lengths=[3, 100, 1]) == [
        DATA[5:8],
        DATA[900:1000],
        DATA[:1],
    ]
    assert ranges_asked(bench) == ["bytes=0-999"]
    starts = [number * 2 * PART for number in range(6)]
    assert bench.store.get_ranges(KEY, starts=starts, lengths=[10] * 6) == [
        DATA[start : start + 10] for start in starts
    ]
    assert len(ranges_asked(bench)) == 7


def test_ranges_of_what_is_not_there(bench: Bench) -> None:
    for starts in ([], [0], [0, 10 * PART]):
        with pytest.raises(ErrNotExist):
            bench.store.get_ranges(KEY, starts=starts, lengths=[1] * len(starts))
    bench.direct.put(KEY, DATA)
    for starts in ([len(DATA) + 1], [0, len(DATA) + 1], [0, 9 * PART, len(DATA) + PART]):
        with pytest.raises(ErrInvalidRange):
            bench.store.get_ranges(KEY, starts=starts, lengths=[1] * len(starts))


# -- downloads that go on ------------------------------------------------------


def broken_download(bench: Bench, tmp_path: Path, **options: Any) -> int:
    """A download whose connection is cut for good; how many bytes came."""
    bench.direct.put(KEY, DATA)
    bench.proxy.on(method="GET", path=KEY, nth=None, times=None).truncate(5 * PART)
    with pytest.raises(ErrUnavailable):
        bench.open(attempts=1).download(KEY, tmp_path / "file")
    bench.proxy.clear()
    (part,) = tmp_path.iterdir()
    assert part.name.endswith(".part")
    kept = part.read_bytes()
    assert 0 < len(kept) < len(DATA)
    assert kept == DATA[: len(kept)]
    return len(kept)


def test_a_broken_download_goes_on_where_it_stopped(bench: Bench, tmp_path: Path) -> None:
    came = broken_download(bench, tmp_path)
    seen: list[int] = []
    bench.store.download(KEY, tmp_path / "file", progress=lambda done, total: seen.append(done))
    assert seen[0] > came
    assert any(text.startswith(f"bytes={came}-") for text in ranges_asked(bench))
    assert (tmp_path / "file").read_bytes() == DATA
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_another_version_is_downloaded_from_its_start(bench: Bench, tmp_path: Path) -> None:
    broken_download(bench, tmp_path)
    bench.direct.put(KEY, DATA[::-1])
    bench.store.download(KEY, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA[::-1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_two_downloads_to_one_file_do_not_mix(seaweedfs: S3Server, tmp_path: Path) -> None:
    with seaweedfs.open() as store:
        store.put(KEY, DATA)
        nested: list[bytes] = []

        def again(done: int, total: int | None) -> None:
            if not nested:
                nested.append(b"")
                store.download(KEY, tmp_path / "file")
                nested.append((tmp_path / "file").read_bytes())

        store.download(KEY, tmp_path / "file", progress=again)
    assert nested[1] == DATA
    assert (tmp_path / "file").read_bytes() == DATA
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_an_interrupt_keeps_what_came_and_a_failure_of_ones_own_does_not(tmp_path: Path) -> None:
    with open_storage("memory://") as store:
        store.put(KEY, DATA)

        def stop(done: int, total: int | None) -> None:
            raise failure

        for failure, kept in ((RuntimeError(), 0), (KeyboardInterrupt(), 1)):
            with pytest.raises(type(failure)):
                store.download(KEY, tmp_path / "file", progress=stop)
            assert len(list(tmp_path.iterdir())) == kept
        store.download(KEY, tmp_path / "file")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
