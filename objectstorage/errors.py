"""The error tree of the whole package, and matching by kind.

Every error is a `StorageError`; most also are the builtin a Python programmer
would catch. Callers match by kind, never by message:

>>> err = ErrNotExist("no such object", key="a")
>>> err.is_(ErrNotExist("another message", key="b"))
True
>>> is_err_not_exist(err), isinstance(err, FileNotFoundError)
(True, True)

Wrapping on purpose (`raise X from err`) keeps the kind visible; an error that
merely happened while another was handled does not:

>>> wrapped = ErrInternal("log doesn't exist")
>>> wrapped.__cause__ = err
>>> is_err_not_exist(wrapped)
True
"""

from __future__ import annotations

import errno as _errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

__all__ = [
    "ErrBackend",
    "ErrBadRequest",
    "ErrClosed",
    "ErrCommitUnknown",
    "ErrCompacted",
    "ErrConcurrency",
    "ErrConflict",
    "ErrDurabilityUnknown",
    "ErrExist",
    "ErrForbidden",
    "ErrFromRemote",
    "ErrIO",
    "ErrIntegrity",
    "ErrInternal",
    "ErrInvalidKey",
    "ErrInvalidMetadata",
    "ErrInvalidRange",
    "ErrInvalidURL",
    "ErrNoDataStatus",
    "ErrNotExist",
    "ErrNotModified",
    "ErrOutcomeUnknown",
    "ErrPartial",
    "ErrPermission",
    "ErrPreconditionFailed",
    "ErrTimeout",
    "ErrUnauthorized",
    "ErrUnavailable",
    "ErrUnsupported",
    "StorageError",
    "as_",
    "is_",
    "is_err_backend",
    "is_err_bad_request",
    "is_err_closed",
    "is_err_commit_unknown",
    "is_err_compacted",
    "is_err_concurrency",
    "is_err_conflict",
    "is_err_durability_unknown",
    "is_err_exist",
    "is_err_forbidden",
    "is_err_from_remote",
    "is_err_integrity",
    "is_err_internal",
    "is_err_invalid_key",
    "is_err_invalid_metadata",
    "is_err_invalid_range",
    "is_err_invalid_url",
    "is_err_io",
    "is_err_no_data_status",
    "is_err_not_exist",
    "is_err_not_modified",
    "is_err_outcome_unknown",
    "is_err_partial",
    "is_err_permission",
    "is_err_precondition_failed",
    "is_err_timeout",
    "is_err_unauthorized",
    "is_err_unavailable",
    "is_err_unsupported",
]

_E = TypeVar("_E", bound=BaseException)

# What `__init__` sets and pickling carries.
_FIELDS = ("key", "operation", "storage", "status", "code", "request_id")


class StorageError(Exception):
    """Base of all errors of this package.

    `key`, `operation` and `storage` (the store's URL, without secrets) say
    where it happened; `status`, `code` and `request_id` what a remote store
    answered, when one did. `details` is what a service says beside the message.
    `http_status` is the kind's status on the wire.
    """

    http_status: ClassVar[int] = 500
    default_errno: ClassVar[int | None] = None

    def __init__(
        self,
        message: str = "",
        *,
        key: str | None = None,
        operation: str | None = None,
        storage: str | None = None,
        errno: int | None = None,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.key = key
        self.operation = operation
        self.storage = storage
        self.status = status
        self.code = code
        self.request_id = request_id
        self.details = dict(details or {})
        _fill_os_fields(self, errno if errno is not None else self.default_errno, key)

    @property
    def message(self) -> str:
        """What happened, without the place."""
        return str(self.args[0]) if self.args else ""

    def at(
        self,
        *,
        key: str | None = None,
        operation: str | None = None,
        storage: str | None = None,
    ) -> Self:
        """Say where it happened, unless that is known already; returns itself."""
        if self.key is None and key is not None:
            self.key = key
            _fill_os_fields(self, getattr(self, "errno", None), key)
        if self.operation is None:
            self.operation = operation
        if self.storage is None:
            self.storage = storage
        return self

    def is_(self, target: BaseException | type[BaseException]) -> bool:
        """Whether this error is of `target`'s kind. Messages play no part."""
        return isinstance(self, target if isinstance(target, type) else type(target))

    def __str__(self) -> str:
        place = " ".join(
            part
            for part in (
                self.operation,
                # repr: a key with control characters must not break a log line
                repr(self.key) if self.key is not None else None,
                f"in {self.storage}" if self.storage is not None else None,
            )
            if part
        )
        remote = ", ".join(
            part
            for part in (
                f"status {self.status}" if self.status is not None else None,
                self.code,
                f"request {self.request_id}" if self.request_id else None,
            )
            if part
        )
        text = self.message or type(self).__name__
        if remote:
            text = f"{text} ({remote})"
        return f"{place}: {text}" if place else text

    def __repr__(self) -> str:
        fields = "".join(f", {k}={v!r}" for k in _FIELDS if (v := getattr(self, k)) is not None)
        return f"{type(self).__name__}({self.message!r}{fields})"

    def __reduce__(self) -> tuple[Callable[..., StorageError], tuple[Any, ...]]:
        state = dict(self.__dict__)
        if hasattr(self, "errno"):
            state["errno"], state["filename"] = self.errno, self.key
        # Only our own causes are known to survive the journey; the kinds that
        # they show through `is_` must arrive with the error that wraps them.
        cause = self.__cause__ if isinstance(self.__cause__, StorageError) else None
        return _restore, (type(self), self.args, state, cause)


def _fill_os_fields(err: Any, errno: int | None, filename: str | None) -> None:
    """`errno` and `filename`, on the kinds that are `OSError`s too."""
    if isinstance(err, OSError):
        err.errno, err.filename = errno, filename


def _restore(
    cls: type[StorageError],
    args: tuple[Any, ...],
    state: Mapping[str, Any],
    cause: StorageError | None,
) -> StorageError:
    err = cls.__new__(cls, *args)
    err.args = args
    for name, value in state.items():
        setattr(err, name, value)
    if cause is not None:
        err.__cause__ = cause
    return err


class ErrBadRequest(StorageError, ValueError):
    """Bad input; nothing was sent or written."""

    http_status = 400


class ErrInvalidKey(ErrBadRequest):
    """A key that no store, or not this one, can hold; found before any I/O."""


class ErrInvalidURL(ErrBadRequest):
    """A storage URL or option that means nothing; found before any I/O."""


class ErrInvalidMetadata(ErrBadRequest):
    """Metadata or a content type that can't be stored; found before any I/O."""


class ErrInvalidRange(StorageError, ValueError):
    """The range starts past the end of the object."""

    http_status = 416


class ErrUnauthorized(StorageError):
    """The caller did not say who it is."""

    http_status = 401


class ErrForbidden(StorageError):
    """The caller may not do that."""

    http_status = 403


class ErrPermission(ErrForbidden, PermissionError):
    """Denied, or the path leaves the store."""

    default_errno = _errno.EACCES


class ErrNotExist(StorageError, FileNotFoundError):
    """The object (or its bucket) isn't there; only when the store said so."""

    http_status = 404
    default_errno = _errno.ENOENT


class ErrNoDataStatus(ErrNotExist):
    """There has been no checkpoint of the data yet."""


class ErrCompacted(StorageError):
    """What was asked for is older than what is kept: read the current state anew."""

    http_status = 410


class ErrConflict(StorageError):
    """What is there forbids it: `a` beside `a/b` on a hierarchical store, a finished log."""

    http_status = 409


class ErrConcurrency(StorageError):
    """Somebody else changed the same thing first."""

    http_status = 409


class ErrPreconditionFailed(StorageError):
    """The `if_match` did not hold; a missing object does not match either."""

    http_status = 412


class ErrExist(ErrPreconditionFailed, FileExistsError):
    """`create=True`, and the key is taken."""

    default_errno = _errno.EEXIST


class ErrNotModified(StorageError):
    """A conditional fetch of what has not changed."""

    http_status = 304


class ErrUnsupported(StorageError, NotImplementedError):
    """This store can't do that; it never does something weaker instead."""

    http_status = 501


class ErrUnavailable(StorageError, OSError):
    """A transient failure that outlived its retries.

    `attempts` tells, one line each, what every attempt ran into.
    """

    http_status = 503

    def __init__(self, message: str = "", *, attempts: Sequence[str] = (), **where: Any) -> None:
        super().__init__(message, **where)
        self.attempts = tuple(attempts)

    def __str__(self) -> str:
        text = super().__str__()
        if self.attempts:
            text += f" [{len(self.attempts)} attempts: {'; '.join(self.attempts)}]"
        return text


class ErrTimeout(ErrUnavailable, TimeoutError):
    """A deadline passed."""

    http_status = 504
    default_errno = _errno.ETIMEDOUT


class ErrIntegrity(StorageError, OSError):
    """Bytes differ from what was promised: length or checksum."""

    default_errno = _errno.EIO


class ErrOutcomeUnknown(StorageError, OSError):
    """A write that may or may not have happened; the message says which."""

    default_errno = _errno.EIO


class ErrDurabilityUnknown(ErrOutcomeUnknown):
    """The write is visible, but may not survive a power loss."""


class ErrCommitUnknown(ErrOutcomeUnknown):
    """A commit that may or may not stand at sequence `seq`, under the id `commit_id`."""

    def __init__(
        self, message: str = "", *, commit_id: str = "", seq: int = 0, **where: Any
    ) -> None:
        super().__init__(message, **where)
        self.commit_id = commit_id
        self.seq = seq


class ErrIO(StorageError, OSError):
    """The local system failed: ENOSPC, EIO, EMFILE …, with its `errno`."""

    default_errno = _errno.EIO


class ErrClosed(StorageError, ValueError):
    """Used after `close`."""


class ErrBackend(StorageError):
    """A reply nobody foresaw, with its status, code and request id."""


class ErrInternal(StorageError):
    """An error on the service's side whose message is meant for the user."""


class ErrFromRemote(StorageError):
    """What a client raises for a non-2xx reply; its cause is the remote error.

    The remote error's kind shows through: `is_err_not_exist(err)` holds when
    the remote said so. `status`, `code` and `details` are the reply's.
    """


class ErrPartial(StorageError, ExceptionGroup[StorageError]):
    """Some of many failed; `failed` maps each key to its error."""

    def __new__(cls, message: str, exceptions: Sequence[StorageError], **where: Any) -> ErrPartial:
        return super().__new__(cls, message, exceptions)

    def __init__(self, message: str, exceptions: Sequence[StorageError], **where: Any) -> None:
        super().__init__(message, **where)
        self.args = (message, tuple(exceptions))

    @property
    def failed(self) -> dict[str, StorageError]:
        """Key to error, for every member that knows its key."""
        members: Sequence[Any] = self.exceptions
        return {err.key: err for err in members if err.key is not None}

    def derive(self, excs: Sequence[StorageError], /) -> ErrPartial:  # type: ignore[override]
        # typeshed wants any exception; the group's members are ours by construction
        return ErrPartial(
            self.message, excs, key=self.key, operation=self.operation, storage=self.storage
        )


def _chain(err: BaseException | None) -> Iterator[BaseException]:
    """`err` and what it wraps on purpose; a cycle ends it."""
    seen: set[int] = set()
    while err is not None and id(err) not in seen:
        seen.add(id(err))
        yield err
        err = err.__cause__


def is_(err: BaseException | None, target: BaseException | type[BaseException]) -> bool:
    """Whether `err`, or what it wraps on purpose, is of `target`'s kind.

    Walks `__cause__` only, asking each link's own `is_`. A group matches when
    it is of that kind itself or every member matches.
    """
    kind = target if isinstance(target, type) else type(target)

    def match(link: BaseException) -> bool:
        return link.is_(target) if isinstance(link, StorageError) else isinstance(link, kind)

    return _find(err, match, ()) is not None


def as_(err: BaseException | None, cls: type[_E]) -> _E | None:
    """The first error of kind `cls` in `err` and what it wraps, or None.

    >>> as_(ErrExist("taken"), ErrPreconditionFailed)
    ErrExist('taken')
    """
    found: Any = _find(err, lambda link: isinstance(link, cls), ())
    return found


def _find(
    err: BaseException | None, match: Callable[[BaseException], bool], above: tuple[int, ...]
) -> BaseException | None:
    for link in _chain(err):
        if id(link) in above:  # a group that wraps itself through a member
            return None
        if match(link):
            return link
        if isinstance(link, BaseExceptionGroup):
            found = [_find(member, match, (*above, id(link))) for member in link.exceptions]
            if all(member is not None for member in found):
                return found[0]
    return None


def is_err_not_exist(err: BaseException | None) -> bool:
    """Whether the object, or its bucket, isn't there."""
    return is_(err, ErrNotExist)


def is_err_exist(err: BaseException | None) -> bool:
    """Whether a create-only write met a key that is taken."""
    return is_(err, ErrExist)


def is_err_precondition_failed(err: BaseException | None) -> bool:
    """Whether a condition did not hold."""
    return is_(err, ErrPreconditionFailed)


def is_err_not_modified(err: BaseException | None) -> bool:
    """Whether a conditional fetch found nothing new."""
    return is_(err, ErrNotModified)


def is_err_bad_request(err: BaseException | None) -> bool:
    """Whether the input was bad."""
    return is_(err, ErrBadRequest)


def is_err_invalid_key(err: BaseException | None) -> bool:
    """Whether a key can't be held."""
    return is_(err, ErrInvalidKey)


def is_err_invalid_url(err: BaseException | None) -> bool:
    """Whether a URL or option means nothing."""
    return is_(err, ErrInvalidURL)


def is_err_invalid_metadata(err: BaseException | None) -> bool:
    """Whether metadata can't be stored."""
    return is_(err, ErrInvalidMetadata)


def is_err_invalid_range(err: BaseException | None) -> bool:
    """Whether a range starts past the end."""
    return is_(err, ErrInvalidRange)


def is_err_no_data_status(err: BaseException | None) -> bool:
    """Whether there has been no checkpoint yet."""
    return is_(err, ErrNoDataStatus)


def is_err_compacted(err: BaseException | None) -> bool:
    """Whether what was asked for is older than what is kept."""
    return is_(err, ErrCompacted)


def is_err_commit_unknown(err: BaseException | None) -> bool:
    """Whether a commit may or may not stand."""
    return is_(err, ErrCommitUnknown)


def is_err_conflict(err: BaseException | None) -> bool:
    """Whether `a` met `a/b`."""
    return is_(err, ErrConflict)


def is_err_concurrency(err: BaseException | None) -> bool:
    """Whether somebody else was first."""
    return is_(err, ErrConcurrency)


def is_err_unauthorized(err: BaseException | None) -> bool:
    """Whether the caller did not say who it is."""
    return is_(err, ErrUnauthorized)


def is_err_forbidden(err: BaseException | None) -> bool:
    """Whether the caller may not do that; `ErrPermission` included."""
    return is_(err, ErrForbidden)


def is_err_permission(err: BaseException | None) -> bool:
    """Whether the store denied it, or the path leaves the store."""
    return is_(err, ErrPermission)


def is_err_unsupported(err: BaseException | None) -> bool:
    """Whether this store can't do that."""
    return is_(err, ErrUnsupported)


def is_err_unavailable(err: BaseException | None) -> bool:
    """Whether a transient failure outlived its retries."""
    return is_(err, ErrUnavailable)


def is_err_timeout(err: BaseException | None) -> bool:
    """Whether a deadline passed."""
    return is_(err, ErrTimeout)


def is_err_integrity(err: BaseException | None) -> bool:
    """Whether bytes differ from what was promised."""
    return is_(err, ErrIntegrity)


def is_err_outcome_unknown(err: BaseException | None) -> bool:
    """Whether a write may or may not have happened."""
    return is_(err, ErrOutcomeUnknown)


def is_err_durability_unknown(err: BaseException | None) -> bool:
    """Whether a visible write may not survive a power loss."""
    return is_(err, ErrDurabilityUnknown)


def is_err_io(err: BaseException | None) -> bool:
    """Whether the local system failed."""
    return is_(err, ErrIO)


def is_err_partial(err: BaseException | None) -> bool:
    """Whether some of many failed."""
    return is_(err, ErrPartial)


def is_err_closed(err: BaseException | None) -> bool:
    """Whether something was used after `close`."""
    return is_(err, ErrClosed)


def is_err_backend(err: BaseException | None) -> bool:
    """Whether the store's reply was one nobody foresaw."""
    return is_(err, ErrBackend)


def is_err_internal(err: BaseException | None) -> bool:
    """Whether the service failed, with a message meant for the user."""
    return is_(err, ErrInternal)


def is_err_from_remote(err: BaseException | None) -> bool:
    """Whether a remote service answered with an error."""
    return is_(err, ErrFromRemote)
