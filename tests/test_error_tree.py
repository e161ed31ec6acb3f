"""The error tree: kinds, matching, chains, groups, and what travels."""

from __future__ import annotations

import copy
import errno
import inspect
import pickle
from typing import Any

import pytest

from objectstorage import errors
from objectstorage.errors import (
    ErrExist,
    ErrFromRemote,
    ErrInternal,
    ErrIO,
    ErrNotExist,
    ErrPartial,
    ErrTimeout,
    ErrUnavailable,
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
    for name in errors.__all__
    if inspect.isclass(kind := getattr(errors, name)) and kind is not ErrPartial
]

BUILTINS: dict[str, type[BaseException]] = {
    "ErrNotExist": FileNotFoundError,
    "ErrExist": FileExistsError,
    "ErrInvalidKey": ValueError,
    "ErrInvalidURL": ValueError,
    "ErrInvalidMetadata": ValueError,
    "ErrInvalidRange": ValueError,
    "ErrPermission": PermissionError,
    "ErrUnsupported": NotImplementedError,
    "ErrUnavailable": OSError,
    "ErrTimeout": TimeoutError,
    "ErrIntegrity": OSError,
    "ErrOutcomeUnknown": OSError,
    "ErrDurabilityUnknown": errors.ErrOutcomeUnknown,
    "ErrIO": OSError,
    "ErrPartial": ExceptionGroup,
    "ErrClosed": ValueError,
}

STATUS = {
    400: ["ErrBadRequest", "ErrInvalidKey", "ErrInvalidURL", "ErrInvalidMetadata"],
    401: ["ErrUnauthorized"],
    403: ["ErrForbidden", "ErrPermission"],
    404: ["ErrNotExist"],
    409: ["ErrConcurrency", "ErrConflict"],
    412: ["ErrPreconditionFailed", "ErrExist"],
    416: ["ErrInvalidRange"],
    500: ["ErrInternal", "ErrBackend"],
    501: ["ErrUnsupported"],
    503: ["ErrUnavailable"],
    504: ["ErrTimeout"],
}


def make(kind: type[StorageError]) -> StorageError:
    return kind("it happened", key="k", operation="get", storage="memory://")


@pytest.mark.parametrize("name", BUILTINS)
def test_each_is_the_builtin_that_would_be_caught(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, BUILTINS[name])
    assert issubclass(kind, StorageError)


@pytest.mark.parametrize("status", STATUS)
def test_statuses_on_the_wire(status: int) -> None:
    for name in STATUS[status]:
        assert getattr(errors, name).http_status == status


@pytest.mark.parametrize("kind", KINDS)
def test_what_travels(kind: type[StorageError]) -> None:
    error = make(kind)
    error.__cause__ = ErrNotExist("below", key="j")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert (str(again), repr(again)) == (str(error), repr(error))
        assert (again.key, again.operation, again.storage) == ("k", "get", "memory://")
        assert getattr(again, "errno", None) == getattr(error, "errno", None)
        assert is_err_not_exist(again), "the cause goes along"
    if issubclass(kind, OSError):
        assert error.filename == "k"


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_match_by_kind_alone(kind: type[StorageError]) -> None:
    error = make(kind)
    assert error.is_(kind("another message", key="other"))
    assert error.is_(kind)
    assert error.is_(StorageError)
    for base in kind.__mro__:
        if issubclass(base, StorageError):
            assert error.is_(base), "a subclass matches its base"
    assert not StorageError("plain").is_(kind) or kind is StorageError


def test_every_kind_has_a_helper_that_knows_it_and_no_other() -> None:
    helpers = {name for name in errors.__all__ if name.startswith("is_err_")}
    for kind in [*KINDS, ErrPartial]:
        if kind is StorageError:
            continue
        words = kind.__name__.removeprefix("Err")
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in words)
        name = "is_err" + {"_i_o": "_io", "_invalid_u_r_l": "_invalid_url"}.get(snake, snake)
        assert name in helpers
        helper = getattr(errors, name)
        error = kind("m", [ErrNotExist("x")]) if kind is ErrPartial else kind("m")
        assert helper(error)
        assert not helper(StorageError("m"))
        assert not helper(None)
        helpers.discard(name)
    assert not helpers


def test_wrapping_on_purpose_keeps_the_kind_and_handling_does_not() -> None:
    try:
        try:
            raise ErrNotExist("gone")
        except ErrNotExist as exc:
            raise ErrInternal("log doesn't exist") from exc
    except ErrInternal as exc:
        assert is_err_not_exist(exc)
        assert is_(exc, ErrNotExist("x"))
        assert as_(exc, ErrNotExist) is exc.__cause__
    try:
        try:
            raise ErrNotExist("gone")
        except ErrNotExist:
            raise ErrUnavailable("busy")  # noqa: B904  # the point of it
    except ErrUnavailable as exc:
        assert isinstance(exc.__context__, ErrNotExist)
        assert not is_err_not_exist(exc)


def test_a_builtin_is_not_ours() -> None:
    assert not is_err_not_exist(FileNotFoundError("somewhere"))
    assert is_(FileNotFoundError("x"), FileNotFoundError)
    wrapped = ValueError("outer")
    wrapped.__cause__ = ErrExist("inner")
    assert is_err_exist(wrapped)
    assert is_err_precondition_failed(wrapped)


def test_cycles_end() -> None:
    one, two = ErrInternal("1"), ErrInternal("2")
    one.__cause__, two.__cause__ = two, one
    assert not is_err_not_exist(one)
    assert as_(one, ErrInternal) is one
    group = ErrPartial("m", [two])
    two.__cause__ = group
    assert not is_err_not_exist(group)


def test_a_group_matches_when_every_member_does() -> None:
    gone, taken = ErrNotExist("a", key="a"), ErrExist("b", key="b")
    assert is_err_not_exist(ErrPartial("m", [gone, ErrNotExist("c")]))
    assert not is_err_not_exist(ErrPartial("m", [gone, taken]))
    assert is_err_not_exist(ExceptionGroup("plain", [gone, ExceptionGroup("inner", [gone])]))
    mixed = ErrPartial("2 of 3 failed", [gone, taken], operation="delete_many")
    assert is_(mixed, ErrPartial)
    assert mixed.failed == {"a": gone, "b": taken}
    some, rest = mixed.split(ErrExist)
    assert isinstance(some, ErrPartial)
    assert some.exceptions == (taken,)
    assert rest is not None
    assert rest.exceptions == (gone,)
    again = pickle.loads(pickle.dumps(mixed))
    assert list(again.failed) == ["a", "b"]
    with pytest.raises(ErrPartial):
        try:
            raise mixed
        except* ErrExist as group:
            assert list(group.exceptions) == [taken]


def test_what_was_wrapped_by_a_client_shows_through() -> None:
    remote = ErrFromRemote("unknown api error (404)", status=404, details={"id": 3})
    remote.__cause__ = ErrNotExist("log doesn't exist")
    assert is_err_not_exist(remote)
    assert pickle.loads(pickle.dumps(remote)).details == {"id": 3}


def test_texts_say_where_and_break_no_line() -> None:
    error = ErrNotExist("no such object", key="a\nb", operation="get", storage="memory://x")
    assert str(error) == "get 'a\\nb' in memory://x: no such object"
    assert str(ErrNotExist()) == "ErrNotExist"
    told = StorageError("odd", status=500, code="Internal", request_id="R")
    assert str(told) == "odd (status 500, Internal, request R)"


def test_what_is_known_is_not_overwritten() -> None:
    error = ErrNotExist("m", key="a").at(key="b", operation="get", storage="s")
    assert (error.key, error.operation, error.storage) == ("a", "get", "s")
    assert ErrNotExist("m").at(key="b").filename == "b"


def test_numbers_of_the_system() -> None:
    assert ErrNotExist("m").errno == errno.ENOENT
    assert ErrExist("m").errno == errno.EEXIST
    assert ErrIO("m", errno=errno.ENOSPC).errno == errno.ENOSPC
    assert ErrTimeout("m").errno == errno.ETIMEDOUT


def test_attempts_are_told() -> None:
    error = ErrTimeout("gave up", attempts=["reset", "refused"])
    assert is_err_unavailable(error)
    assert str(error) == "gave up [2 attempts: reset; refused]"
    assert pickle.loads(pickle.dumps(error)).attempts == ("reset", "refused")


def test_an_error_of_ones_own_can_widen_its_match() -> None:
    class Gone(ErrNotExist):
        def is_(self, target: Any) -> bool:
            return super().is_(target) and target is not FileNotFoundError

    assert is_err_not_exist(Gone("m"))
    assert not is_(Gone("m"), FileNotFoundError)
