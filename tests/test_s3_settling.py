"""What became of a write whose reply was lost: said rightly, or said to be unknown; both faces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from s3_bench import KEY, AsyncFace, Bench, SyncFace, benches, data

from objectstorage import ErrConflict, ErrExist, ErrOutcomeUnknown, ErrTimeout, ErrUnavailable
from objectstorage.testing.proxy import Request
from objectstorage.testing.servers import S3Server

PART = 5 << 20


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
def bench(request: pytest.FixtureRequest, seaweedfs: S3Server) -> Iterator[Bench]:
    with benches(seaweedfs, request.param) as made:
        yield made


def large(n: int) -> Iterator[bytes]:
    """A body of unknown length, which goes by parts."""
    yield data(n)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_write_done_behind_a_gateways_error_is_ours(bench: Bench, status: int) -> None:
    bench.proxy.on(method="PUT", path=KEY).replace(status=status, body="bad gateway")
    bench.store.put(KEY, b"mine", create=True)
    assert bench.direct.get(KEY) == b"mine"


def test_a_gateway_that_never_says_leaves_it_open(bench: Bench) -> None:
    bench.proxy.on(method="PUT", path=KEY, nth=None).replace(status=504, body="")
    with pytest.raises(ErrOutcomeUnknown):
        bench.open(attempts=2).put(KEY, b"mine")
    assert bench.direct.get(KEY) == b"mine"


def test_a_server_too_busy_to_begin_leaves_nothing_open(bench: Bench) -> None:
    bench.proxy.on(method="PUT", path=KEY, nth=None).slow_down()
    with pytest.raises(ErrUnavailable):
        bench.open(attempts=2).put(KEY, b"mine", create=True)


def test_a_lost_reply_that_can_not_be_settled_is_unknown(bench: Bench) -> None:
    bench.proxy.on(method="PUT", path=KEY, nth=1).swallow_reply()
    bench.proxy.on(method="HEAD", path=KEY, nth=None).reset_before()
    with pytest.raises(ErrOutcomeUnknown):
        bench.open(attempts=2).put(KEY, b"mine", create=True)


@pytest.mark.parametrize("options", [{}, {"create": True}])
def test_a_lost_reply_and_a_refusal_is_unknown(bench: Bench, options: dict[str, Any]) -> None:
    bench.proxy.on(method="PUT", path=KEY, nth=1).swallow_reply()
    bench.proxy.on(method="PUT", path=KEY, nth=2).error(403, "AccessDenied")
    with pytest.raises(ErrOutcomeUnknown):
        bench.store.put(KEY, b"mine", **options)
    assert bench.direct.get(KEY) == b"mine"


def test_what_was_deleted_before_we_looked_was_an_object(bench: Bench) -> None:
    bench.store.probe()
    bench.direct.put(KEY, b"theirs")

    def meanwhile(request: Request) -> bool:
        if request.method == "HEAD":
            bench.direct.delete(KEY)
        return False

    bench.proxy.on(where=meanwhile).reset_before()
    with pytest.raises(ErrExist):
        bench.store.put(KEY, b"mine", create=True)
    bench.store.put(KEY, b"mine", create=True)


@pytest.mark.parametrize("emptied", [False, True])
def test_a_folder_that_is_taken_for_the_object_is_a_conflict(bench: Bench, emptied: bool) -> None:
    bench.direct.put(f"{KEY}/below", b"x")
    if emptied:
        bench.direct.delete(f"{KEY}/below")
    with pytest.raises(ErrConflict):
        bench.store.put(KEY, b"mine", create=True)
    bench.store.put(KEY, b"mine")
    assert bench.direct.get(KEY) == b"mine"


def test_what_can_not_be_looked_at_is_the_refusal_itself(bench: Bench) -> None:
    bench.direct.put(f"{KEY}/below", b"x")
    bench.store.probe()
    bench.proxy.on(method="HEAD", path=f"{KEY}/", nth=None).reset_before()
    with pytest.raises(ErrExist):
        bench.open(attempts=2).put(KEY, b"mine", create=True)


def test_a_lost_reply_of_a_delete_is_no_failure(bench: Bench) -> None:
    bench.direct.put(KEY, b"x")
    bench.proxy.on(method="DELETE", path=KEY, nth=1).swallow_reply()
    bench.store.delete(KEY)
    assert not bench.direct.exists(KEY)


def test_a_delete_whose_replies_are_all_lost_is_unknown(bench: Bench) -> None:
    bench.direct.put(KEY, b"x")
    bench.proxy.on(method="DELETE", path=KEY, nth=None).swallow_reply()
    with pytest.raises(ErrOutcomeUnknown):
        bench.open(attempts=2).delete(KEY)


@pytest.mark.parametrize("create", [False, True])
def test_a_lost_reply_of_a_copy_is_settled(bench: Bench, create: bool) -> None:
    bench.direct.put("src", b"mine", metadata={"a": "b"})
    bench.proxy.on(method="PUT", path=KEY, nth=1).swallow_reply()
    bench.store.copy("src", KEY, create=create)
    assert bench.direct.get(KEY) == b"mine"
    assert bench.direct.stat(KEY).metadata == {"a": "b"}


def test_a_lost_reply_of_a_copy_by_parts_is_settled(bench: Bench) -> None:
    content = data(PART + 1)
    bench.direct.put("src", content)
    bench.proxy.on(method="POST", path="uploadId", nth=1).swallow_reply()
    bench.open(copy_limit=PART, copy_part=PART).copy("src", KEY)
    assert bench.direct.get(KEY) == content
    assert list(bench.direct.list_uploads()) == []


def test_a_temporary_that_stays_is_no_failure(bench: Bench) -> None:
    bench.proxy.on(method="DELETE", path=".objectstorage/tmp/", nth=None).error(403, "AccessDenied")
    store = bench.open(part_size=PART)
    store.probe()
    store.put(KEY, large(PART + 1), create=True)
    assert bench.direct.stat(KEY).size == PART + 1
    assert [info.key for info in bench.direct._store.list()] == [KEY]


def test_a_temporary_in_doubt_is_no_doubt_about_the_key(bench: Bench) -> None:
    store = bench.open(part_size=PART, attempts=2)
    store.probe()
    bench.proxy.clear()
    bench.proxy.on(method="POST", path="uploadId", nth=None).swallow_reply()
    bench.proxy.on(method="HEAD", path="/tmp/", nth=None).error(403, "AccessDenied")
    with pytest.raises(ErrUnavailable):
        store.put(KEY, large(PART + 1), create=True)
    assert not bench.direct.exists(KEY)
    removed = [r.path for r in bench.proxy.forwarded if r.method == "DELETE" and "?" not in r.path]
    assert len(removed) == 1


def test_an_upload_begun_twice_can_be_found_and_swept(bench: Bench) -> None:
    bench.proxy.on(method="POST", path="uploads=", nth=1).swallow_reply()
    bench.open(part_size=PART).put(KEY, large(PART + 1))
    (orphan,) = list(bench.direct.list_uploads())
    assert orphan.key == KEY
    bench.direct.abort_upload(orphan)
    assert list(bench.direct.list_uploads()) == []
    assert bench.direct.stat(KEY).size == PART + 1


def test_unfinished_uploads_are_listed_by_their_exact_keys(bench: Bench) -> None:
    keys = sorted(["a b", "a+b", "a%20b", "ü", "<&>"])
    writers = []
    store = bench.open(part_size=PART, face=SyncFace)
    for key in keys:
        writer = store.writer(key)
        writer.write(data(PART + 1))
        writers.append(writer)
    assert sorted(upload.key for upload in bench.direct.list_uploads()) == keys
    for writer in writers:
        writer.abort()
    assert list(bench.direct.list_uploads()) == []


# -- deadlines ---------------------------------------------------------------------


def test_after_the_deadline_nothing_more_is_asked(bench: Bench) -> None:
    bench.store.probe()
    bench.proxy.clear()
    bench.proxy.on(method="PUT", path=KEY, nth=None).stall()
    with pytest.raises(ErrOutcomeUnknown):
        bench.store.put(KEY, b"mine", create=True, timeout=0.5)
    assert [request.method for request in bench.proxy.requests] == ["PUT"]


def test_a_deadline_bounds_an_upload_by_parts(bench: Bench) -> None:
    bench.proxy.on(method="PUT", path="partNumber=2", nth=None).stall()
    with pytest.raises(ErrTimeout):
        bench.open(part_size=PART).put(KEY, large(2 * PART), timeout=2)
    assert not bench.direct.exists(KEY)
    assert list(bench.direct.list_uploads()) == []


def test_a_stores_own_timeout_bounds_an_upload_by_parts(bench: Bench) -> None:
    bench.proxy.on(method="PUT", path="partNumber=2", nth=None).stall()
    with pytest.raises(ErrTimeout):
        bench.open(part_size=PART, timeout=2).put(KEY, large(2 * PART))
    assert list(bench.direct.list_uploads()) == []


def test_a_body_that_stalls_is_a_timeout(bench: Bench) -> None:
    bench.direct.put(KEY, data(300_000))
    bench.proxy.on(method="GET", path=KEY, nth=None).drip(1)
    with pytest.raises(ErrTimeout):
        bench.open(timeout=0.5, attempts=2).stream(KEY)
