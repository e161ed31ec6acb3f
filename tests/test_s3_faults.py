"""What goes wrong between a client and S3, and what must then happen; both faces.

A fault-injecting proxy stands before a real SeaweedFS.
"""

from __future__ import annotations

import io
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from s3_bench import KEY, AsyncFace, Bench, SyncFace, benches, data

from objectstorage import (
    ErrExist,
    ErrIntegrity,
    ErrNotExist,
    ErrOutcomeUnknown,
    ErrPermission,
    ErrPreconditionFailed,
    ErrTimeout,
    ErrUnavailable,
    is_err_unavailable,
)
from objectstorage.testing.proxy import FaultProxy
from objectstorage.testing.servers import S3Server


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
def bench(request: pytest.FixtureRequest, seaweedfs: S3Server) -> Iterator[Bench]:
    with benches(seaweedfs, request.param) as made:
        yield made


# -- the network -----------------------------------------------------------------


def test_connection_refused_is_unavailable_with_its_attempts(bench: Bench) -> None:
    store = bench.open(endpoint="http://127.0.0.1:1", attempts=3)
    with pytest.raises(ErrUnavailable) as caught:
        store.get(KEY)
    assert len(caught.value.attempts) == 3
    assert caught.value.key == KEY
    assert caught.value.operation == "get"


def test_a_server_that_comes_up_meanwhile_is_found(bench: Bench) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    bench.direct.put(KEY, b"hello")
    came_up: list[FaultProxy] = []

    class ComeUp(logging.Handler):
        """Starts the server when the client says that it will try again."""

        def emit(self, record: logging.LogRecord) -> None:
            if not came_up:
                came_up.append(FaultProxy(*bench.proxy.upstream, listen=port).__enter__())

    logger, handler = logging.getLogger("objectstorage"), ComeUp(logging.DEBUG)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        assert bench.open(endpoint=f"http://127.0.0.1:{port}").get(KEY) == b"hello"
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        came_up[0].__exit__(None, None, None)


def test_presigning_asks_nobody(bench: Bench) -> None:
    bench.proxy.on(nth=None).reset_before()
    assert bench.store.presign(KEY, expires=60).startswith(bench.proxy.endpoint)
    assert bench.proxy.requests == []


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("verb", ["get", "stat", "put", "delete"])
def test_reset_before_a_reply_is_retried(bench: Bench, verb: str, times: int) -> None:
    bench.direct.put(KEY, b"hello")
    bench.proxy.on(path=KEY, nth=1, times=times).reset_before()
    if verb == "get":
        assert bench.store.get(KEY) == b"hello"
    elif verb == "stat":
        assert bench.store.stat(KEY).size == 5
    elif verb == "put":
        assert bench.store.put(KEY, b"again").size == 5
        assert bench.direct.get(KEY) == b"again"
    else:
        bench.store.delete(KEY)
        assert not bench.direct.exists(KEY)


def test_reset_before_every_reply_gives_up(bench: Bench) -> None:
    bench.proxy.on(path=KEY, nth=None).reset_before()
    with pytest.raises(ErrUnavailable) as caught:
        bench.open(attempts=3).get(KEY)
    assert len(caught.value.attempts) == 3
    assert len(bench.proxy.requests) == 3


def test_a_write_that_never_got_a_reply_is_unknown(bench: Bench) -> None:
    bench.proxy.on(method="PUT", path=KEY, nth=None).swallow_reply()
    with pytest.raises(ErrOutcomeUnknown) as caught:
        bench.open(attempts=2).put(KEY, b"x")
    assert is_err_unavailable(caught.value)
    assert bench.direct.get(KEY) == b"x"


@pytest.mark.parametrize("at", [0, 1, 70_000, 299_999])
@pytest.mark.parametrize("reset", [False, True])
def test_a_body_cut_short_is_never_taken_for_whole(bench: Bench, at: int, reset: bool) -> None:
    content = data(300_000)
    bench.direct.put(KEY, content)
    bench.proxy.on(method="GET", path=KEY, nth=1).truncate(at, reset=reset)
    assert bench.store.get(KEY) == content
    bench.proxy.clear()
    bench.proxy.on(method="GET", path=KEY, nth=1).truncate(at, reset=reset)
    assert bench.store.stream(KEY) == content


def test_a_stream_cut_and_replaced_meanwhile_is_no_mix(bench: Bench) -> None:
    bench.direct.put(KEY, data(3_000_000))
    bench.proxy.on(method="GET", path=KEY, nth=1).truncate(2_000_000)
    reader = bench.store.open(KEY)
    bench.direct.put(KEY, data(3_000_000))
    with pytest.raises(ErrPreconditionFailed):
        if isinstance(bench.store, SyncFace):
            reader.read()
        else:
            bench.store._loop.run_until_complete(reader.read())


@pytest.mark.parametrize("size", [100_000, 3_000_000])
def test_reset_in_mid_put_sends_it_again(bench: Bench, size: int) -> None:
    content = data(size)
    bench.proxy.on(method="PUT", path=KEY, nth=1).reset_during(after=size // 2)
    bench.store.put(KEY, content)
    assert bench.direct.get(KEY) == content
    bench.proxy.clear()
    bench.proxy.on(method="PUT", path=KEY, nth=1).reset_during(after=size // 2)
    file = io.BytesIO(b"skip" + content)
    file.seek(4)
    bench.store.put(KEY, file)
    assert bench.direct.get(KEY) == content


def test_a_source_that_can_be_read_once_is_not_retried(bench: Bench) -> None:
    size = 32 * 1024 * 1024  # more than the sockets' buffers hold: the last byte is not sent
    content = data(size)
    bench.proxy.on(method="PUT", path=KEY, nth=None).reset_during(after=1024 * 1024)
    chunks = (content[i : i + 65536] for i in range(0, size, 65536))
    with pytest.raises(ErrUnavailable, match="read again"):
        bench.store.put(KEY, chunks, size=size, create=True)
    bench.proxy.clear()
    assert not bench.direct.exists(KEY)


def test_a_server_that_stalls_is_a_timeout(bench: Bench) -> None:
    bench.direct.put(KEY, b"x")
    bench.proxy.on(method="GET", path=KEY, nth=None).stall()
    with pytest.raises(ErrTimeout):
        bench.open(read_timeout=0.2, attempts=2).get(KEY)
    assert len(bench.proxy.requests) == 2


def test_a_deadline_bounds_a_put_that_stalls(bench: Bench) -> None:
    bench.proxy.on(method="PUT", path=KEY, nth=None).stall()
    with pytest.raises((ErrTimeout, ErrOutcomeUnknown)) as caught:
        bench.store.put(KEY, b"x", timeout=0.3)
    assert is_err_unavailable(caught.value)


def test_a_slow_drip_is_bounded_by_the_total(bench: Bench) -> None:
    bench.direct.put(KEY, data(100_000))
    bench.proxy.on(method="GET", path=KEY, nth=None).drip(1000)
    with pytest.raises(ErrTimeout):
        bench.open(timeout=0.5).get(KEY)


# -- what a server answers ---------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "InternalError"), (502, ""), (503, "SlowDown"), (429, "TooManyRequests")],
)
def test_a_busy_server_is_asked_again(bench: Bench, status: int, code: str) -> None:
    bench.direct.put(KEY, b"hello")
    bench.proxy.on(path=KEY, nth=1).error(status, code, {"retry-after": "0"})
    assert bench.store.get(KEY) == b"hello"
    bench.proxy.clear()
    bench.proxy.on(path=KEY, nth=None).error(status, code)
    with pytest.raises(ErrUnavailable) as caught:
        bench.open(attempts=2).get(KEY)
    assert len(caught.value.attempts) == 2
    assert caught.value.status == status


def test_a_copy_that_fails_after_200_is_an_error(bench: Bench) -> None:
    bench.direct.put(KEY, b"hello")
    bench.proxy.on(method="PUT", path="copied", nth=None).hidden_error()
    with pytest.raises(ErrUnavailable):
        bench.open(attempts=2).copy(KEY, "copied")


def test_a_complete_that_fails_after_200_is_an_error_and_aborted(bench: Bench) -> None:
    bench.proxy.on(method="POST", path="uploadId", nth=None).hidden_error()
    with pytest.raises(ErrUnavailable):
        bench.open(part_size=5 << 20).put(KEY, iter([data(6 << 20)]))
    bench.proxy.clear()
    assert not bench.direct.exists(KEY)
    assert list(bench.direct.list_uploads()) == []


@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_is_never_followed(bench: Bench, status: int) -> None:
    rule = bench.proxy.on(path=KEY, nth=1)
    rule.redirect(status, "http://attacker.invalid/steal", "us-east-2")
    bench.direct.put(KEY, b"hello")
    # The host stays: it is ours by option. The signature is made anew for the
    # region, and the server, which does not care, takes it.
    assert bench.store.get(KEY) == b"hello"
    scopes = [request.headers["authorization"] for request in bench.proxy.requests]
    assert "/us-east-1/" in scopes[0]
    assert "/us-east-2/" in scopes[1]


def test_an_expired_token_is_renewed_once(bench: Bench) -> None:
    bench.direct.put(KEY, b"hello")
    bench.proxy.on(path=KEY, nth=1).expired_token()
    assert bench.store.get(KEY) == b"hello"
    bench.proxy.clear()
    bench.proxy.on(path=KEY, nth=None).expired_token()
    with pytest.raises(ErrPermission):
        bench.store.get(KEY)


def test_a_skewed_clock_is_corrected_once(bench: Bench) -> None:
    bench.direct.put(KEY, b"hello")
    bench.proxy.on(path=KEY, nth=1).skewed_clock("Wed, 21 Oct 2015 07:28:00 GMT")
    with pytest.raises(ErrPermission):
        # set to what the proxy claimed, the real server refuses it: once is once
        bench.store.get(KEY)
    stamps = [request.headers["x-amz-date"] for request in bench.proxy.requests]
    assert stamps[1].startswith("20151021T0728")


@pytest.mark.parametrize("at", [0, 4999])
def test_a_corrupted_byte_is_never_given_out(bench: Bench, at: int) -> None:
    content = data(5000)
    bench.direct.put(KEY, content)
    bench.proxy.on(method="GET", path=KEY, nth=1).corrupt(at)
    assert bench.store.get(KEY) == content
    bench.proxy.clear()
    bench.proxy.on(method="GET", path=KEY, nth=None).corrupt(at)
    with pytest.raises(ErrIntegrity):
        bench.store.get(KEY)


def test_a_list_token_that_does_not_advance_is_found(bench: Bench) -> None:
    for n in range(3):
        bench.direct.put(f"k{n}", b"")
    page = (
        '<?xml version="1.0"?><ListBucketResult><IsTruncated>true</IsTruncated>'
        "<NextContinuationToken>same</NextContinuationToken></ListBucketResult>"
    )
    bench.proxy.on(method="GET", path="list-type", nth=None).answer(200, page)
    with pytest.raises(Exception, match="advance") as caught:
        bench.open(dialect="aws").list()
    assert type(caught.value).__name__ == "ErrBackend"


def test_wrong_secret_and_missing_bucket(bench: Bench, seaweedfs: S3Server) -> None:
    with pytest.raises(ErrPermission) as denied:
        bench.open(secret_key="wrong").get(KEY)
    assert "wrong" not in str(denied.value)
    missing = type(bench.store)(
        "s3://no-such-bucket-here",
        **{**seaweedfs.options(), "create_bucket": False},
    )
    for verb in ("get", "stat", "exists"):
        with pytest.raises(ErrNotExist, match="no-such-bucket-here"):
            getattr(missing, verb)(KEY)
    missing.close()


# -- conditional writes ------------------------------------------------------------


@pytest.mark.parametrize("kind", ["create", "if_match"])
def test_lost_reply_of_a_conditional_put_is_settled_as_ours(bench: Bench, kind: str) -> None:
    options: dict[str, Any] = {"create": True}
    if kind == "if_match":
        options = {"if_match": bench.direct.put(KEY, b"old").etag}
    bench.proxy.on(method="PUT", path=KEY, nth=1).swallow_reply()
    result = bench.store.put(KEY, b"mine", **options)
    info = bench.direct.stat(KEY)
    assert (result.etag, info.metadata) == (info.etag, {})
    assert bench.direct.get(KEY) == b"mine"


@pytest.mark.parametrize("kind", ["create", "if_match"])
def test_lost_reply_then_replaced_is_unknown(bench: Bench, kind: str) -> None:
    options: dict[str, Any] = {"create": True}
    if kind == "if_match":
        options = {"if_match": bench.direct.put(KEY, b"old").etag}
    replaced = threading.Event()

    def replace(request: Any) -> bool:
        if request.method == "PUT" and request.path.endswith(KEY) and seen:
            bench.direct.put(KEY, b"rival's")
            replaced.set()
        seen.append(request)
        return False

    seen: list[Any] = []
    bench.proxy.on(method="PUT", path=KEY, nth=1).swallow_reply()
    bench.proxy.on(where=replace, nth=None).reset_before()
    with pytest.raises(ErrOutcomeUnknown):
        bench.store.put(KEY, b"mine", **options)
    assert bench.direct.get(KEY) == b"rival's"


def test_a_condition_that_plainly_fails_is_a_plain_error(bench: Bench) -> None:
    bench.direct.put(KEY, b"old")
    with pytest.raises(ErrExist):
        bench.store.put(KEY, b"x", create=True)
    with pytest.raises(ErrPreconditionFailed):
        bench.store.put(KEY, b"x", if_match="0" * 32)
    with pytest.raises(ErrPreconditionFailed):
        bench.store.put("missing", b"x", if_match="0" * 32)
    assert bench.direct.get(KEY) == b"old"


def test_lost_reply_of_complete_is_recognised(bench: Bench) -> None:
    content = data(6 << 20)
    bench.proxy.on(method="POST", path="uploadId", nth=1).swallow_reply()
    store = bench.open(part_size=5 << 20)
    result = store.put(KEY, iter([content]))
    assert result.size == len(content)
    assert bench.direct.get(KEY) == content


def test_a_part_that_fails_aborts_the_upload(bench: Bench) -> None:
    bench.proxy.on(method="PUT", path="partNumber=2", nth=None).error(403, "AccessDenied")
    with pytest.raises(ErrPermission):
        bench.open(part_size=5 << 20).put(KEY, iter([data(16 << 20)]))
    assert not bench.direct.exists(KEY)
    assert list(bench.direct.list_uploads()) == []
