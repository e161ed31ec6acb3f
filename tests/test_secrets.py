"""A secret that is given to a store never shows: not in texts, errors, logs or pickles."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from objectstorage import ErrInvalidURL, StorageError, aio, open_storage
from objectstorage.testing.proxy import FaultProxy
from objectstorage.testing.servers import S3Server

CANARY = "canary/Secret+Key0123456789"
TOKEN = "canaryToken0123456789"
BUCKET = "s3://canary-bucket"


def shows(text: str) -> bool:
    return any(form in text for form in (CANARY, quote(CANARY, safe=""), TOKEN, "canaryToken"))


def texts(exc: BaseException | None) -> Iterator[str]:
    """Everything that an exception and what it was raised from can be seen as."""
    if exc is None:
        return
    yield str(exc)
    yield repr(exc)
    yield repr(vars(exc))
    yield "".join(traceback.format_exception(exc))
    for inner in (exc.__cause__, exc.__context__, *getattr(exc, "exceptions", ())):
        yield from texts(inner)


@pytest.fixture
def proxy(seaweedfs: S3Server) -> Iterator[FaultProxy]:
    parts = urlsplit(seaweedfs.endpoint)
    with FaultProxy(parts.hostname or "", parts.port or 0) as proxy:
        yield proxy


def given(faulty: FaultProxy, **options: Any) -> dict[str, Any]:
    return {
        "endpoint": faulty.endpoint,
        "access_key": "someone",
        "secret_key": CANARY,
        "session_token": TOKEN,
        "attempts": 2,
        "retry_time": 2,
        "dialect": "seaweedfs",
        **options,
    }


def faults(proxy: FaultProxy) -> Iterator[Callable[[], Any]]:
    """One after the other: what servers and networks do, signatures echoed included."""

    def any_request() -> Any:
        proxy.clear()
        return proxy.on(nth=None)

    def echo() -> Any:
        def where(request: Any) -> bool:
            said = f"wrong: {request.headers}?X-Amz-Signature=x&X-Amz-Security-Token={TOKEN}"
            body = f"<Error><Code>Strange</Code><Message>{said}</Message></Error>"
            rule.answer(400, body, {"content-type": "application/xml"})
            return True

        proxy.clear()
        rule = proxy.on(where=where, nth=None)
        return rule

    yield lambda: proxy.clear()  # nobody knows this key: the server refuses it
    yield lambda: any_request().reset_before()
    yield lambda: any_request().slow_down()
    yield lambda: any_request().error(500, "InternalError")
    yield lambda: any_request().expired_token()
    yield lambda: any_request().redirect(307, "http://elsewhere.example/", "eu-west-1")
    yield lambda: any_request().answer(200, b"<x", {})
    yield echo


CALLS: dict[str, tuple[Any, ...]] = {
    "put": ("k", b"data"),
    "get": ("k",),
    "stat": ("k",),
    "delete": ("k",),
    "copy": ("k", "l"),
    "delete_many": (["a", "b"],),
    "clock": (),
}


def test_no_failure_shows_it(proxy: FaultProxy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen = []
    for fault in faults(proxy):
        fault()
        with open_storage(BUCKET, **given(proxy)) as store:
            seen += [repr(store), str(store), store.url, repr(store.capabilities)]
            for name, arguments in CALLS.items():
                try:
                    getattr(store, name)(*arguments)
                except StorageError as exc:
                    seen += texts(exc)
                    seen += texts(pickle.loads(pickle.dumps(exc)))
    assert len(seen) > 200
    assert [text for text in [*seen, caplog.text] if shows(text)] == []


def test_no_failure_shows_it_on_a_loop(proxy: FaultProxy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def run() -> list[str]:
        seen = []
        for fault in faults(proxy):
            fault()
            async with aio.open_storage(BUCKET, **given(proxy)) as store:
                seen += [repr(store), str(store), store.url]
                for name, arguments in CALLS.items():
                    try:
                        await getattr(store, name)(*arguments)
                    except StorageError as exc:
                        seen += texts(exc)
        return seen

    seen = asyncio.run(run(), debug=True)
    assert len(seen) > 200
    assert [text for text in [*seen, caplog.text] if shows(text)] == []


def test_what_makes_up_a_store_does_not_show_it(proxy: FaultProxy) -> None:
    headers = {"x-amz-server-side-encryption-customer-key": TOKEN}
    store: Any = open_storage(
        BUCKET,
        **given(proxy, proxy=f"http://user:{TOKEN}@127.0.0.1:1", headers=headers),
    )
    parts = [store, store._options, store._core, store._core.client, store._driver]
    parts += [store._driver._transport, store._core.options.credentials]
    assert [repr(part) for part in parts if shows(repr(part))] == []
    store.close()


@pytest.mark.parametrize(
    "options",
    [
        {"access_key": "someone", "secret_key": CANARY},
        {"proxy": f"http://user:{TOKEN}@127.0.0.1:1"},
        {"headers": {"x-amz-server-side-encryption-customer-key": TOKEN}},
    ],
)
def test_a_store_that_holds_it_is_not_pickled(options: dict[str, Any]) -> None:
    store = open_storage(BUCKET, endpoint="http://127.0.0.1:1", **options)
    face: Any = aio.open_storage(BUCKET, endpoint="http://127.0.0.1:1", **options)
    for each in (store, face):
        with pytest.raises(TypeError) as caught:
            pickle.dumps(each)
        assert not any(shows(text) for text in texts(caught.value))
    store.close()


def test_a_presigned_url_is_not_logged(proxy: FaultProxy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with open_storage(BUCKET, **given(proxy)) as store:
        url = store.presign("k")
    query = parse_qs(urlsplit(url).query)
    (signature,) = query["X-Amz-Signature"]
    assert CANARY not in url
    assert signature not in caplog.text


@pytest.mark.parametrize(
    "endpoint",
    [
        f"http://user:{TOKEN}@127.0.0.1:1",
        f"http://user:{TOKEN}#@127.0.0.1:1",
        f"http://user:{TOKEN}/@127.0.0.1:1",
    ],
)
def test_an_endpoint_with_a_password_is_refused_unseen(endpoint: str) -> None:
    with pytest.raises(ErrInvalidURL) as caught:
        open_storage(BUCKET, endpoint=endpoint)
    assert not any(TOKEN in text for exc in [caught.value] for text in (str(exc), repr(exc)))
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("option", ["sse", "sse_kms_key", "access_key", "secret_key"])
def test_no_option_adds_a_header(option: str) -> None:
    options = {"access_key": "a", "secret_key": "b", option: "x\r\nx-evil: 1"}
    with pytest.raises(ErrInvalidURL):
        open_storage(BUCKET, endpoint="http://127.0.0.1:1", **options)


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_no_variable_adds_a_header(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv(name, TOKEN + "\r\nx-evil: 1")
    store = open_storage(BUCKET, endpoint="http://127.0.0.1:1")
    with store, pytest.raises(StorageError) as caught:
        store.get("k")
    assert not any(shows(text) for text in texts(caught.value))
