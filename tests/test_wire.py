"""Errors across the wire, by a real server: status, body, kinds, and what the log keeps."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from http_server import running
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import objectstorage
from objectstorage import errors
from objectstorage.client.replies import CODES, code_of, error_of
from objectstorage.errors import (
    ErrFromRemote,
    ErrInternal,
    ErrIO,
    ErrNotExist,
    ErrPartial,
    ErrPermission,
    StorageError,
    is_,
    is_err_from_remote,
)
from objectstorage.services.wire import application, encode, error_response

SECRET = "hunter2-AKIAIOSFODNN7EXAMPLE"
WORDS = "what the user may know"
HELPERS = {code: getattr(objectstorage, f"is_err_{code}") for code in CODES}
FROM_STORAGE = ErrNotExist("no such object", key=SECRET, operation="fetch", storage="s3://inside")


def raised_by_a_service(code: str) -> StorageError:
    """A kind as a service raises it, from what it ran into."""
    error = CODES[code](WORDS, details={"what": "it", "n": [1]})
    error.__cause__ = RuntimeError(SECRET)
    return error


def raised_by_a_store(code: str) -> StorageError:
    return CODES[code](SECRET, key=SECRET, operation="put", storage="s3://inside")


def wrapped_remote() -> Exception:
    error = RuntimeError(SECRET)
    error.__cause__ = error_of(
        409, b'{"code": "concurrency", "message": "run was changed", "details": {"run": "r"}}'
    )
    return error


OTHERS: dict[str, Exception] = {
    "bug": RuntimeError(SECRET),
    "cause": RuntimeError(SECRET),
    "partial": ErrPartial(SECRET, [ErrIO(SECRET)]),
    "proxy": error_of(502, b"<html>"),
    "remote": error_of(404, b'{"code": "not_exist", "message": "run doesn\'t exist"}'),
    "wrapped": wrapped_remote(),
    "internal": ErrInternal(WORDS),
}
OTHERS["cause"].__cause__ = ErrNotExist(SECRET)
OTHERS["internal"].__cause__ = FROM_STORAGE


async def service(request: Request) -> PlainTextResponse:
    code = request.path_params["code"]
    raise raised_by_a_service(code)


async def store(request: Request) -> PlainTextResponse:
    raise raised_by_a_store(request.path_params["code"])


async def other(request: Request) -> PlainTextResponse:
    raise OTHERS[request.path_params["name"]]


async def http(request: Request) -> PlainTextResponse:
    raise HTTPException(int(request.path_params["status"]), WORDS, {"x-more": "1"})


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    app = application(
        [
            Route("/service/{code}", service, methods=["GET", "PUT"]),
            Route("/store/{code}", store),
            Route("/other/{name}", other),
            Route("/http/{status}", http),
        ]
    )
    with running(app) as address:
        yield address


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client() as client:
        yield client


def error_from(response: httpx.Response) -> ErrFromRemote:
    """As the client makes it."""
    return error_of(response.status_code, response.content, response.headers.get("error-code"))


@pytest.mark.parametrize("code", CODES)
def test_each_kind(address: str, client: httpx.Client, caplog: Any, code: str) -> None:
    caplog.set_level(logging.INFO)
    kind = CODES[code]
    response = client.get(f"{address}/service/{code}")
    assert response.status_code == kind.http_status
    meant_for_users = kind.http_status != 500 or kind is ErrInternal
    if kind.http_status == 304:
        assert response.content == b""
    elif meant_for_users:
        assert response.headers["content-type"] == "application/json"
        assert response.json() == {
            "code": code,
            "message": WORDS,
            "details": {"what": "it", "n": [1]},
        }
    else:
        assert response.json() == {
            "code": code,
            "message": "internal server error",
            "details": {},
        }
    error = error_from(response)
    assert HELPERS[code](error)
    assert is_err_from_remote(error)
    assert isinstance(error.__cause__, kind)
    # no other kind than this one and its bases
    assert {c for c, k in CODES.items() if is_(error, k)} == {
        c for c, k in CODES.items() if issubclass(kind, k)
    }
    assert (error.status, error.code) == (kind.http_status, code)
    assert error.details == (response.json()["details"] if response.content else {})
    assert SECRET not in response.text + str(response.headers)
    (record,) = [r for r in caplog.records if r.name == "objectstorage.services"]
    assert record.levelname == ("ERROR" if kind.http_status >= 500 else "INFO")
    text = logging.Formatter().format(record)
    assert f"RuntimeError: {SECRET}" in text  # the chain of causes, whole
    assert kind.__name__ in text
    assert f"GET /service/{code}: {kind.http_status} {code}" in text


@pytest.mark.parametrize("code", CODES)
def test_a_stores_own_error_shows_its_kind_only(
    address: str, client: httpx.Client, caplog: Any, code: str
) -> None:
    caplog.set_level(logging.INFO)
    response = client.get(f"{address}/store/{code}")
    assert response.status_code == CODES[code].http_status
    assert HELPERS[code](error_from(response))
    assert SECRET not in response.text
    assert "inside" not in response.text
    assert SECRET in caplog.text


@pytest.mark.parametrize("code", CODES)
def test_a_reply_without_a_body_has_its_kind(address: str, client: httpx.Client, code: str) -> None:
    response = client.head(f"{address}/service/{code}")
    assert response.content == b""
    assert HELPERS[code](error_from(response))


@pytest.mark.parametrize(
    ("name", "status", "code", "message"),
    [
        ("bug", 500, "internal", "internal server error"),
        ("cause", 500, "internal", "internal server error"),
        ("partial", 500, "internal", "internal server error"),
        ("proxy", 500, "internal", "internal server error"),
        ("remote", 404, "not_exist", "run doesn't exist"),
        ("wrapped", 409, "concurrency", "run was changed"),
        ("internal", 500, "internal", WORDS),
    ],
)
def test_other_exceptions(
    address: str, client: httpx.Client, caplog: Any, name: str, status: int, code: str, message: str
) -> None:
    response = client.get(f"{address}/other/{name}")
    assert response.status_code == status
    assert response.json()["code"] == code
    assert response.json()["message"] == message
    assert SECRET not in response.text
    if status >= 500:
        assert "Traceback" in caplog.text
        if name in ("bug", "cause", "internal"):
            assert SECRET in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "no_such_route"),
        ("POST", "/service/x", 405, "method_not_allowed"),
        ("GET", "/http/429", 429, "bad_request"),
        ("GET", "/http/502", 502, "internal"),
    ],
)
def test_the_servers_own_errors(
    address: str, client: httpx.Client, method: str, path: str, status: int, code: str
) -> None:
    response = client.request(method, address + path)
    assert response.status_code == status
    assert set(response.json()) == {"code", "message", "details"}
    assert response.json()["code"] == code
    error = error_from(response)
    # a path that no service has says nothing of what exists
    assert not errors.is_err_not_exist(error)
    assert errors.is_err_bad_request(error) is (status < 500)
    if status == 405:
        assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD", "PUT"}


def test_codes_are_stable() -> None:
    assert {code: kind.__name__ for code, kind in CODES.items()} == {
        "backend": "ErrBackend",
        "bad_request": "ErrBadRequest",
        "closed": "ErrClosed",
        "commit_unknown": "ErrCommitUnknown",
        "compacted": "ErrCompacted",
        "concurrency": "ErrConcurrency",
        "conflict": "ErrConflict",
        "durability_unknown": "ErrDurabilityUnknown",
        "exist": "ErrExist",
        "forbidden": "ErrForbidden",
        "integrity": "ErrIntegrity",
        "internal": "ErrInternal",
        "invalid_key": "ErrInvalidKey",
        "invalid_metadata": "ErrInvalidMetadata",
        "invalid_range": "ErrInvalidRange",
        "invalid_url": "ErrInvalidURL",
        "io": "ErrIO",
        "no_data_status": "ErrNoDataStatus",
        "not_exist": "ErrNotExist",
        "not_modified": "ErrNotModified",
        "outcome_unknown": "ErrOutcomeUnknown",
        "permission": "ErrPermission",
        "precondition_failed": "ErrPreconditionFailed",
        "timeout": "ErrTimeout",
        "unauthorized": "ErrUnauthorized",
        "unavailable": "ErrUnavailable",
        "unsupported": "ErrUnsupported",
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>not found</html>",
        b"[1]",
        b'"text"',
        b"{}",
        b'{"code": 1, "message": "m"}',
        b'{"code": "not_exist"}',
        b'{"error": "not found"}',
        b"\xff\xfe",
    ],
)
def test_a_reply_that_is_no_services(body: bytes) -> None:
    error = error_of(404, body)
    assert str(error) == "unknown api error (404) (status 404)"
    assert error.message == "unknown api error (404)"
    assert error.__cause__ is None
    assert not errors.is_err_not_exist(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "ErrBadRequest"), (401, "ErrUnauthorized"), (403, "ErrForbidden"),
        (404, "ErrNotExist"), (409, "ErrConflict"), (412, "ErrPreconditionFailed"),
        (416, "ErrInvalidRange"), (418, "ErrBadRequest"), (500, "ErrInternal"),
        (501, "ErrUnsupported"), (503, "ErrUnavailable"), (504, "ErrTimeout"), (507, "ErrInternal"),
    ],
)  # fmt: skip
def test_a_code_not_known_yet_has_its_status_kind(status: int, kind: str) -> None:
    error = error_of(status, json.dumps({"code": "newer", "message": "m"}).encode())
    assert type(error.__cause__).__name__ == kind
    assert (error.code, error.message, error.details) == ("newer", "m", {})


def test_the_response_of_a_middleware() -> None:
    response = error_response(errors.ErrUnauthorized("a token is needed"))
    assert response.status_code == 401
    assert response.headers["error-code"] == "unauthorized"
    assert json.loads(response.body)["message"] == "a token is needed"


def test_a_kind_of_somebody_elses() -> None:
    class ErrRunNotExist(ErrNotExist):
        pass

    assert code_of(ErrRunNotExist) == "not_exist"
    reply = encode(ErrRunNotExist("run doesn't exist"))
    assert (reply.status, reply.code) == (404, "not_exist")


def test_details_that_json_has_no_word_for() -> None:
    reply = encode(ErrPermission("no", details={"kind": {1}, "text": "\ud800"}))
    assert json.loads(reply.body)["details"] == {"kind": "{1}", "text": "\ud800"}


def test_an_error_after_the_response_began(caplog: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        raise ErrIO(SECRET)

    class Endpoint:
        def __init__(self, scope: Any, receive: Any, send: Any) -> None:
            self.all = scope, receive, send

        def __await__(self) -> Any:
            return app(*self.all).__await__()

    app_that_breaks = application([Route("/", Endpoint)])
    with running(app_that_breaks) as address, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(address)
    assert "broken off io" in caplog.text
