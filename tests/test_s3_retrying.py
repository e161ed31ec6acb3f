"""When a store tries again, and that it looks for credentials once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from minio.credentials import Credentials as MinioCredentials
from minio.credentials import Provider
from scripted import Server, replies, request

from objectstorage import (
    ErrExist,
    ErrOutcomeUnknown,
    ErrPermission,
    ErrTimeout,
    ErrUnavailable,
    aio,
)
from objectstorage import open_storage as open_sync
from objectstorage.s3.options import parse_options
from objectstorage.s3.retrying import Budget, Retries, Trace, retry_after

BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
OK = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 2\r\n\r\nok'
EXPIRED = b"<Error><Code>ExpiredToken</Code></Error>"
REFUSED = b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n" % len(EXPIRED) + EXPIRED


@pytest.fixture(params=["sync", "async"])
def open_storage(request: pytest.FixtureRequest) -> Iterator[Any]:
    opened: list[Any] = []

    def opening(server: Server, **options: Any) -> Any:
        given: dict[str, Any] = {
            "endpoint": f"http://127.0.0.1:{server.port}",
            "dialect": "generic",
            "access_key": "key",
            "secret_key": "secret",
            **options,
        }
        if "credentials" in options:
            del given["access_key"], given["secret_key"]
        if request.param == "sync":
            store: Any = open_sync("s3://bucket", **given)
        else:
            store = Awaited("s3://bucket", **given)
        opened.append(store)
        return store

    yield opening
    for store in opened:
        store.close()


class Awaited:
    """An asynchronous store, called from blocking tests."""

    def __init__(self, url: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._store = aio.open_storage(url, **options)

    def get(self, key: str) -> bytes:
        return self._runner.run(self._store.get(key))

    def put(self, key: str, data: bytes, **options: Any) -> object:
        return self._runner.run(self._store.put(key, data, **options))

    def get_many(self, count: int) -> list[bytes]:
        async def gather() -> list[bytes]:
            return await asyncio.gather(*[self._store.get("k") for _ in range(count)])

        return self._runner.run(gather())

    def close(self) -> None:
        self._runner.run(self._store.close())
        self._runner.close()


def get_many(store: Any, count: int) -> list[bytes]:
    if isinstance(store, Awaited):
        return store.get_many(count)
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: results.append(store.get("k"))) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# -- the budget ----------------------------------------------------------------


def test_a_store_whose_requests_all_fail_stops_trying_again(open_storage: Any) -> None:
    with Server(replies(BUSY)) as server:
        store = open_storage(server, retry_budget=6, attempts=4)
        tried = []
        for _ in range(5):
            with pytest.raises(ErrUnavailable) as caught:
                store.get("k")
            tried.append(len(caught.value.attempts))
    assert tried[:3] == [4, 4, 1]
    assert sum(tried) - len(tried) <= 6 + 2  # the budget, and what seconds gave back
    assert "too many of this store's requests fail" in str(caught.value)


def test_successes_fill_the_budget_again(open_storage: Any) -> None:
    with Server(replies(BUSY, *[OK] * 20, BUSY, OK)) as server:
        store = open_storage(server, retry_budget=1)
        for _ in range(21):
            assert store.get("k") == b"ok"


def test_without_a_budget_nothing_is_tried_again(open_storage: Any) -> None:
    with Server(replies(BUSY, OK)) as server:
        store = open_storage(server, retry_budget=0)
        with pytest.raises(ErrUnavailable):
            store.get("k")
        assert store.get("k") == b"ok"


def test_a_budget_is_shared_and_bounded() -> None:
    budget = Budget(2)
    assert [budget.take() for _ in range(3)] == [True, True, False]
    for _ in range(100):
        budget.succeeded()
    assert budget.left == 2


# -- the policy ----------------------------------------------------------------


def retries(trace: Trace | None = None, deadline: float | None = None, **options: Any) -> Retries:
    given = parse_options("bucket", "", {"endpoint": "http://h", **options})
    return Retries(given, Budget(given.retry_budget), deadline, trace)


def test_pauses_grow_and_are_jittered() -> None:
    ours = retries(attempts=100, retry_time=1e9)
    pauses = [ours.pause(ErrUnavailable("busy")) for _ in range(12)]
    assert all(pause <= min(5.0, 0.05 * 2**n) for n, pause in enumerate(pauses))
    assert len(set(pauses)) == 12


def test_what_the_server_asks_for_is_waited_for() -> None:
    assert retries().pause(ErrUnavailable("busy"), 7.0) == 7.0
    with pytest.raises(ErrUnavailable, match="within the limits"):
        retries(retry_time=5).pause(ErrUnavailable("busy"), 7.0)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "9" * 400}, 20.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 25 Nov 2026 13:20:44 GMT"}, None),
        (
            {
                "retry-after": "Wed, 25 Nov 2026 13:20:40 GMT",
                "date": "Wed, 25 Nov 2026 13:20:44 GMT",
            },
            0.0,
        ),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_no_attempt_is_begun_that_the_deadline_would_end() -> None:
    ours = retries(deadline=time.monotonic() + 1)
    with pytest.raises(ErrTimeout, match="the deadline passed") as caught:
        ours.pause(ErrUnavailable("busy"), 2.0)
    assert caught.value.attempts == ("busy",)


def test_a_write_that_may_have_happened_is_not_called_a_failure() -> None:
    trace = Trace()
    trace.uncertain = True
    with pytest.raises(ErrOutcomeUnknown) as caught:
        retries(trace, attempts=1).pause(ErrUnavailable("reset"))
    assert isinstance(caught.value.__cause__, ErrUnavailable)
    assert trace.attempts == ["reset"]


# -- credentials ---------------------------------------------------------------


class Counting(Provider):  # type: ignore[misc]  # minio is untyped here
    """Credentials that end so many seconds from now; counts who asks for them."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = seconds
        self.asked = 0

    def retrieve(self) -> MinioCredentials:
        left = self.seconds[min(self.asked, len(self.seconds) - 1)]
        self.asked += 1
        if left == 0:
            raise ValueError("the service is down")
        return MinioCredentials(
            "key", "secret", expiration=datetime.now(UTC) + timedelta(seconds=left)
        )


def test_of_many_who_need_credentials_one_looks(open_storage: Any) -> None:
    provider = Counting(3600)
    with Server(replies(OK)) as server:
        store = open_storage(server, credentials=provider)
        assert get_many(store, 20) == [b"ok"] * 20
    assert provider.asked == 1


def test_credentials_that_end_soon_are_not_looked_for_with_each_request(open_storage: Any) -> None:
    provider = Counting(200)
    with Server(replies(OK)) as server:
        store = open_storage(server, credentials=provider)
        for _ in range(5):
            assert store.get("k") == b"ok"
    assert provider.asked == 1


def test_credentials_refused_are_looked_for_again(open_storage: Any) -> None:
    provider = Counting(3600)
    with Server(replies(OK, REFUSED, OK)) as server:
        store = open_storage(server, credentials=provider)
        assert store.get("k") == b"ok"
        assert store.get("k") == b"ok"
    assert provider.asked == 2


def test_credentials_refused_and_no_new_ones(open_storage: Any) -> None:
    provider = Counting(3600, 0)
    with Server(replies(OK, REFUSED)) as server:
        store = open_storage(server, credentials=provider)
        assert store.get("k") == b"ok"
        with pytest.raises(ErrPermission):
            store.get("k")


def test_what_still_holds_is_kept_while_no_new_ones_are_to_be_had(
    open_storage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Counting(200, 0)
    with Server(replies(OK)) as server:
        store = open_storage(server, credentials=provider)
        assert store.get("k") == b"ok"
        inner = store._store if isinstance(store, Awaited) else store
        client = inner._core.client
        client._renew_at, former = 0.0, client._signer  # as if half a minute had passed
        assert store.get("k") == b"ok"
        # who came in the meantime, and waited, does not look again
        assert next(client.sign_in(former)).function() is client._signer
    assert provider.asked == 2
    assert "the credentials end soon" in caplog.text
    assert "secret" not in caplog.text.replace("secret_key", "")


def test_a_lost_reply_and_no_credentials_for_another_try_is_unknown(open_storage: Any) -> None:
    provider = Counting(200, 0)
    with Server(request, replies(REFUSED)) as server:
        store = open_storage(server, credentials=provider)
        with pytest.raises(ErrOutcomeUnknown) as caught:
            store.put("k", b"data")
    assert isinstance(caught.value.__cause__, ErrPermission)


def test_a_lost_reply_and_credentials_that_ended_is_unknown(open_storage: Any) -> None:
    provider = Counting(200, 0)

    def loses(conn: Any) -> None:
        request(conn)
        inner = store._store if isinstance(store, Awaited) else store
        client = inner._core.client
        client._renew_at = 0.0
        client._signer.refused = True

    with Server(loses) as server:
        store = open_storage(server, credentials=provider)
        with pytest.raises(ErrOutcomeUnknown):
            store.put("k", b"data")


def test_the_deadline_bounds_the_look_after_a_refusal(open_storage: Any) -> None:
    refused = b"HTTP/1.1 412 No\r\nContent-Length: 0\r\n\r\n"
    later = b"HTTP/1.1 503 Busy\r\nRetry-After: 20\r\nContent-Length: 0\r\n\r\n"
    looks = []

    def serve(conn: Any) -> None:
        while head := request(conn)[0]:
            if head.startswith(b"HEAD"):
                looks.append(head)
            conn.sendall(later if head.startswith(b"HEAD") else refused)

    with Server(serve) as server:
        store = open_storage(server, dialect="aws")
        with pytest.raises(ErrExist):
            store.put("k", b"data", create=True, timeout=15)
    assert len(looks) == 1
