"""When to try again, how long to wait, and when to give up: the one place for it.

Attempts end after `attempts`, after `retry_time`, at the deadline, or when the
store's budget is used up; between them full jitter, or what the server asks for.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from objectstorage.errors import ErrBackend, ErrOutcomeUnknown, ErrTimeout, ErrUnavailable
from objectstorage.s3.replies import http_date

if TYPE_CHECKING:
    from objectstorage.errors import StorageError
    from objectstorage.s3.options import Options

__all__ = ["Budget", "Retries", "Trace", "retry_after"]

_BASE_DELAY = 0.05
_MAX_DELAY = 5.0
_MAX_RETRY_AFTER = 20.0
_PER_SUCCESS = 0.1
_PER_SECOND = 1.0


class Budget:
    """Retries that all operations of one store may still make together.

    Each takes one; a success gives a tenth back, a second one, up to `size`. So
    a server that is dying gets little more than its share of first attempts.
    """

    __slots__ = ("_since", "left", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.left = float(size)
        self._since = time.monotonic()

    def take(self) -> bool:
        """Whether there is one more; it is taken then."""
        now = time.monotonic()
        left = min(self.size, self.left + _PER_SECOND * (now - self._since))
        self._since = now
        self.left = left - 1 if left >= 1 else left
        return left >= 1

    def succeeded(self) -> None:
        """A request was answered."""
        self.left = min(self.size, self.left + _PER_SUCCESS)


class Trace:
    """What became of one write's attempts.

    `uncertain`: an attempt may have been carried out although no reply said so.
    `began` is on the monotonic clock.
    """

    uncertain = False
    attempts: Sequence[str] = ()

    def __init__(self) -> None:
        self.began = time.monotonic()

    def stopped(self, exc: BaseException, sent: bool) -> None:
        """Interrupted, cancelled, or failed on this side: before the last byte nothing happened.

        After it, or after an earlier attempt's, that can't be told: `ErrOutcomeUnknown`.
        """
        self.uncertain = self.uncertain or (sent and not isinstance(exc, Exception))
        if self.uncertain:
            raise ErrOutcomeUnknown(
                "interrupted after the request was sent: the write may or may not have happened"
            ) from exc

    def checked(self, error: StorageError) -> StorageError:
        """The error of the last attempt, unless an earlier one may have been carried out."""
        if not self.uncertain:
            return error
        unknown = ErrOutcomeUnknown(
            "a reply was lost, and another try failed: the write may or may not have happened"
        )
        unknown.__cause__ = self.lost(error)
        return unknown

    def lost(self, error: StorageError) -> ErrUnavailable:
        """The lost replies, as what led to the error of the attempt after them."""
        lost = ErrUnavailable("no reply came, or none that says", attempts=self.attempts)
        lost.__cause__ = error
        return lost


class Retries:
    """The failed attempts of one operation.

    deadline: on the monotonic clock. trace: a write's.
    """

    __slots__ = ("_began", "_budget", "_deadline", "_options", "_trace", "attempts")

    def __init__(
        self,
        options: Options,
        budget: Budget,
        deadline: float | None = None,
        trace: Trace | None = None,
    ) -> None:
        self._options = options
        self._budget = budget
        self._deadline = deadline
        self._trace = trace
        self._began = 0.0
        self.attempts: list[str] = []

    def pause(
        self, cause: StorageError, asked: float | None = None, *, repeatable: bool = True
    ) -> float:
        """Seconds to wait before the next attempt; raises if there is to be none.

        cause: what the last one failed with. asked: how long the server wants us
        to wait. repeatable: whether the request's data can be read again.
        `ErrUnavailable` or `ErrTimeout`; for a write that may have been carried
        out, `ErrOutcomeUnknown` caused by one of them.
        """
        attempts, options = self.attempts, self._options
        attempts.append(cause.message or type(cause).__name__)
        if self._trace is not None:
            self._trace.attempts = attempts
        now = time.monotonic()
        self._began = self._began or now
        if asked is None:
            asked = random.uniform(0, min(_MAX_DELAY, _BASE_DELAY * 2 ** (len(attempts) - 1)))
        if not repeatable:
            message = "it failed, and the data can't be read again for another try"
        elif self._deadline is not None and now + asked >= self._deadline:
            message = "the deadline passed"
            raise self._given_up(ErrTimeout, message, cause)
        elif len(attempts) >= options.attempts or now + asked - self._began > options.retry_time:
            message = "no success within the limits of retrying"
        elif not self._budget.take():
            message = "too many of this store's requests fail to try this one again"
        else:
            return asked
        kind = ErrTimeout if isinstance(cause, ErrTimeout) else ErrUnavailable
        raise self._given_up(kind, message, cause)

    def _given_up(
        self, kind: type[ErrUnavailable], message: str, cause: StorageError
    ) -> StorageError:
        error = kind(
            message,
            attempts=self.attempts,
            status=cause.status,
            code=cause.code,
            request_id=cause.request_id,
        )
        error.__cause__ = cause
        if self._trace is None or not self._trace.uncertain:
            return error
        unknown = ErrOutcomeUnknown(
            "the request was sent, no reply came: the write may or may not have happened"
        )
        unknown.__cause__ = error
        return unknown


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait, bounded; None if it does not.

    >>> retry_after({"retry-after": "2"})
    2.0
    >>> date, later = "Wed, 25 Nov 2026 13:20:41 GMT", "Wed, 25 Nov 2026 13:20:44 GMT"
    >>> retry_after({"retry-after": later, "date": date})
    3.0
    """
    text = headers.get("retry-after")
    if text is None:
        return None
    if text.isdecimal():
        return min(float(text[:9]), _MAX_RETRY_AFTER)
    try:
        seconds = (http_date(text) - http_date(headers.get("date"))).total_seconds()
    except ErrBackend:
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER)
