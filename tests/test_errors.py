"""The error tree: kinds, matching, and what errors say."""

from __future__ import annotations

import copy
import errno
import pickle
import re
import traceback
from typing import Any

import pytest

import objectstorage
from objectstorage import errors
from objectstorage.errors import (
    ErrBackend,
    ErrBadRequest,
    ErrClosed,
    ErrConflict,
    ErrDurabilityUnknown,
    ErrExist,
    ErrForbidden,
    ErrFromRemote,
    ErrIntegrity,
    ErrInternal,
    ErrInvalidKey,
    ErrInvalidMetadata,
    ErrInvalidRange,
    ErrInvalidURL,
    ErrIO,
    ErrNotExist,
    ErrOutcomeUnknown,
    ErrPartial,
    ErrPermission,
    ErrPreconditionFailed,
    ErrTimeout,
    ErrUnavailable,
    ErrUnsupported,
    StorageError,
    as_,
    is_,
    is_err_exist,
    is_err_not_exist,
    is_err_precondition_failed,
    is_err_unavailable,
)

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, StorageError)
]


def make(kind: type[StorageError], message: str = "message", **where: Any) -> StorageError:
    if kind is ErrPartial:
        return ErrPartial(message, [ErrIO("inner", key="inner")], **where)
    return kind(message, **where)


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("IO", "io").lower()


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (ErrNotExist, (FileNotFoundError, OSError)),
        (ErrExist, (ErrPreconditionFailed, FileExistsError)),
        (ErrInvalidKey, (ValueError, ErrBadRequest)),
        (ErrInvalidURL, (ValueError, ErrBadRequest)),
        (ErrInvalidMetadata, (ValueError, ErrBadRequest)),
        (ErrInvalidRange, (ValueError,)),
        (ErrPermission, (PermissionError, ErrForbidden)),
        (ErrUnsupported, (NotImplementedError,)),
        (ErrUnavailable, (OSError,)),
        (ErrTimeout, (ErrUnavailable, TimeoutError)),
        (ErrIntegrity, (OSError,)),
        (ErrOutcomeUnknown, (OSError,)),
        (ErrDurabilityUnknown, (ErrOutcomeUnknown,)),
        (ErrIO, (OSError,)),
        (ErrPartial, (ExceptionGroup,)),
        (ErrClosed, (ValueError,)),
    ],
)
def test_errors_are_the_builtins_one_would_catch(
    kind: type[StorageError], bases: tuple[type, ...]
) -> None:
    error = make(kind)
    for base in (StorageError, Exception, *bases):
        assert isinstance(error, base)
        with pytest.raises(base):
            raise error


@pytest.mark.parametrize("kind", [ErrPreconditionFailed, ErrConflict, ErrBackend, ErrInternal])
def test_these_are_no_builtin(kind: type[StorageError]) -> None:
    assert not isinstance(make(kind), OSError | ValueError)


def test_statuses_on_the_wire() -> None:
    assert {kind.__name__: kind.http_status for kind in KINDS} == {
        "StorageError": 500,
        "ErrBadRequest": 400,
        "ErrInvalidKey": 400,
        "ErrInvalidURL": 400,
        "ErrInvalidMetadata": 400,
        "ErrInvalidRange": 416,
        "ErrUnauthorized": 401,
        "ErrForbidden": 403,
        "ErrPermission": 403,
        "ErrNotExist": 404,
        "ErrNoDataStatus": 404,
        "ErrCompacted": 410,
        "ErrConflict": 409,
        "ErrConcurrency": 409,
        "ErrPreconditionFailed": 412,
        "ErrExist": 412,
        "ErrNotModified": 304,
        "ErrUnsupported": 501,
        "ErrUnavailable": 503,
        "ErrTimeout": 504,
        "ErrIntegrity": 500,
        "ErrOutcomeUnknown": 500,
        "ErrCommitUnknown": 500,
        "ErrDurabilityUnknown": 500,
        "ErrIO": 500,
        "ErrClosed": 500,
        "ErrBackend": 500,
        "ErrInternal": 500,
        "ErrFromRemote": 500,
        "ErrPartial": 500,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_exported_and_has_its_helper(kind: type[StorageError]) -> None:
    assert getattr(objectstorage, kind.__name__) is kind
    if kind is StorageError:
        return
    helper = getattr(objectstorage, f"is_{snake(kind.__name__)}")
    assert helper(make(kind))
    assert not helper(RuntimeError())
    assert not helper(None)
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = make(kind)
    assert helper(wrapped)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_survives_pickle_and_copy(kind: type[StorageError]) -> None:
    error = make(
        kind,
        key="a\nb",
        operation="put",
        storage="memory://",
        status=503,
        code="SlowDown",
        request_id="r1",
    )
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert (str(again), repr(again)) == (str(error), repr(error))
        for name in ("key", "operation", "storage", "status", "code", "request_id", "message"):
            assert getattr(again, name) == getattr(error, name)
        assert getattr(again, "errno", None) == getattr(error, "errno", None)
        assert getattr(again, "filename", None) == getattr(error, "filename", None)


def test_what_else_survives_pickle() -> None:
    unavailable = ErrTimeout("slow", attempts=["one", "two"])
    assert pickle.loads(pickle.dumps(unavailable)).attempts == ("one", "two")
    remote = ErrFromRemote("no", details={"a": [1]}, status=404)
    remote.__cause__ = ErrNotExist("gone", key="k")
    again = pickle.loads(pickle.dumps(remote))
    assert again.details == {"a": [1]}
    assert is_err_not_exist(again)
    assert again.__cause__.key == "k"
    partial = pickle.loads(pickle.dumps(ErrPartial("2", [ErrIO("a", key="x", errno=errno.EIO)])))
    assert partial.failed["x"].errno == errno.EIO


def test_errno_and_filename() -> None:
    error = ErrNotExist("gone", key="logs/1")
    assert (error.errno, error.filename) == (errno.ENOENT, "logs/1")
    full = ErrIO("disk full", key="k", errno=errno.ENOSPC)
    assert (full.errno, full.filename) == (errno.ENOSPC, "k")
    assert (ErrExist("x").errno, ErrPermission("x").errno) == (errno.EEXIST, errno.EACCES)
    assert ErrTimeout("x").errno == errno.ETIMEDOUT
    assert ErrUnavailable("x").errno is None


def test_what_an_error_says() -> None:
    error = ErrBackend(
        "odd", key="a", operation="get", storage="s3://b/", status=500, code="X", request_id="7"
    )
    assert str(error) == "get 'a' in s3://b/: odd (status 500, X, request 7)"
    assert repr(error) == (
        "ErrBackend('odd', key='a', operation='get', storage='s3://b/', status=500, "
        "code='X', request_id='7')"
    )
    assert error.message == "odd"
    assert str(ErrConflict()) == "ErrConflict"
    assert "\n" not in str(ErrNotExist("no", key="a\nb\r"))
    text = str(ErrUnavailable("gave up", attempts=["refused", "reset"]))
    assert text == "gave up [2 attempts: refused; reset]"


def test_at_says_where_unless_known() -> None:
    error = ErrIO("bad", errno=errno.EIO)
    assert error.at(key="k", operation="put", storage="memory://") is error
    error.at(key="other", operation="get", storage="posix:///")
    assert (error.key, error.operation, error.storage) == ("k", "put", "memory://")
    assert (error.filename, error.errno) == ("k", errno.EIO)


# -- matching ----------------------------------------------------------------


def test_an_errors_own_match() -> None:
    assert ErrNotExist("a").is_(ErrNotExist("b"))
    assert ErrNotExist("a").is_(ErrNotExist)
    assert ErrExist("a").is_(ErrPreconditionFailed)
    assert not ErrPreconditionFailed("a").is_(ErrExist)
    assert not ErrNotExist("a").is_(ErrConflict)
    assert ErrNotExist("a").is_(FileNotFoundError)


def test_matching_walks_causes() -> None:
    def fail() -> None:
        try:
            try:
                raise ErrExist("taken")
            except ErrExist as exc:
                raise RuntimeError("more") from exc
        except RuntimeError as exc:
            raise ErrInternal("even more") from exc

    with pytest.raises(ErrInternal) as caught:
        fail()
    error = caught.value
    assert is_(error, ErrExist)
    assert is_(error, ErrExist("other message"))
    assert is_(error, RuntimeError)
    assert is_err_precondition_failed(error)
    assert not is_err_not_exist(error)
    found = as_(error, ErrPreconditionFailed)
    assert found is not None
    assert found.message == "taken"
    assert as_(error, KeyError) is None


def test_an_implicit_context_is_no_cause() -> None:
    def fail() -> None:
        try:
            raise ErrNotExist("gone")
        except ErrNotExist:
            raise ErrUnavailable("503 while a 404 was handled")  # noqa: B904  # the point of it

    with pytest.raises(ErrUnavailable) as caught:
        fail()
    assert caught.value.__context__ is not None
    assert is_err_unavailable(caught.value)
    assert not is_err_not_exist(caught.value)


def test_cycles_are_tolerated() -> None:
    one, two = ErrInternal("1"), ErrInternal("2")
    one.__cause__, two.__cause__ = two, one
    assert is_(one, ErrInternal)
    assert not is_err_not_exist(one)
    member = ErrInternal("member")
    group = ErrPartial("group", [member])
    member.__cause__ = group
    assert not is_err_not_exist(group)
    assert is_(group, ErrInternal)


def test_a_group_matches_when_every_member_does() -> None:
    gone, taken = ErrNotExist("a"), ErrExist("b")
    assert is_err_not_exist(ErrPartial("", [gone, ErrNotExist("c")]))
    assert not is_err_not_exist(ErrPartial("", [gone, taken]))
    assert is_(ErrPartial("", [gone, taken]), ErrPartial)
    assert is_(ErrPartial("", [gone, taken]), StorageError)
    nested = ExceptionGroup("", [gone, ExceptionGroup("", [ErrNotExist("d")])])
    assert is_err_not_exist(nested)
    wrapping = ErrInternal("x")
    wrapping.__cause__ = nested
    assert is_err_not_exist(wrapping)
    assert as_(nested, ErrNotExist) is gone


def test_each_link_is_asked() -> None:
    class Coded(StorageError):
        """Matches by its code, whatever class it is compared with."""

        def is_(self, target: BaseException | type[BaseException]) -> bool:
            return super().is_(target) or (
                self.code == "gone" and isinstance(target, type) and target is ErrNotExist
            )

    error = ErrInternal("x")
    error.__cause__ = Coded("y", code="gone")
    assert is_err_not_exist(error)
    assert not is_err_exist(error)


def test_partial() -> None:
    one, two = ErrIO("1", key="a"), ErrNotExist("2", key="b")
    error = ErrPartial("2 of 3", [one, two], operation="delete_many", storage="memory://")
    assert error.failed == {"a": one, "b": two}
    matched, rest = error.split(ErrIO)
    assert isinstance(matched, ErrPartial)
    assert isinstance(rest, ErrPartial)
    assert (matched.failed, rest.failed) == ({"a": one}, {"b": two})
    assert (rest.operation, rest.storage) == ("delete_many", "memory://")
    caught = []
    try:
        raise error
    except* ErrNotExist as group:
        caught += group.exceptions
    except* ErrIO as group:
        caught += group.exceptions
    assert caught == [two, one]


def test_a_traceback_shows_the_cause() -> None:
    error = ErrUnavailable("outer", attempts=["reset by peer"])
    error.__cause__ = ConnectionResetError("inner")
    text = "".join(traceback.format_exception(error))
    assert "inner" in text
    assert "outer" in text
    assert "reset by peer" in text
