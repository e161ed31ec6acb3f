"""The store under examination, and what a check is made of."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from objectstorage.errors import ErrInvalidKey, ErrPreconditionFailed, StorageError
from objectstorage.storage import Capabilities, Conditions, Storage

__all__ = ["RACERS", "Check", "Differs", "Patient", "always", "expect", "expect_error"]

_T = TypeVar("_T")

RACERS = 8
"""Calls that are made at once."""


class Differs(Exception):
    """The store does not do what the check asks."""


class Patient:
    """The store, and the keys that were written to it."""

    def __init__(self, store: Storage, known: Capabilities) -> None:
        self.store = store
        self.known = known
        self.conditions = known.conditions or Conditions()
        self.base = f"doctor-{secrets.token_hex(6)}/"
        self._used: set[str] = set()

    def key(self, name: str = "") -> str:
        """A key of the doctor's own; a fresh one without a name."""
        key = self.base + (name or secrets.token_hex(6))
        self._used.add(key)
        return key

    def put(self, data: bytes = b"one", **options: Any) -> tuple[str, str]:
        """A fresh object: its key and ETag."""
        key = self.key()
        return key, self.store.put(key, data, **options).etag

    def together(self, calls: Sequence[Callable[[], _T]]) -> list[_T | StorageError]:
        """The calls, all at once; what each gave or raised."""
        barrier = threading.Barrier(len(calls))

        def one(call: Callable[[], _T]) -> _T | StorageError:
            barrier.wait()
            try:
                return call()
            except StorageError as exc:
                return exc

        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(one, calls))

    def one_winner(self, calls: Sequence[Callable[[], object]]) -> int:
        """Which of several at once won: exactly one, the others by the condition."""
        outcomes = self.together(calls)
        winners = [i for i, value in enumerate(outcomes) if not isinstance(value, StorageError)]
        for value in outcomes:
            if isinstance(value, StorageError) and not isinstance(value, ErrPreconditionFailed):
                raise value
        expect(len(winners) == 1, f"{len(winners)} of {len(calls)} at once won")
        return winners[0]

    def clean(self) -> list[str]:
        """Delete everything; the keys that are still there. What fails is told by those."""
        with suppress(StorageError):
            for upload in list(self.store.list_uploads(self.base)):
                self.store.abort_upload(upload)
        doubtful = set(self._used)
        with suppress(StorageError):
            doubtful = set(self.store.delete_many(sorted(self._used), errors="return"))
        with suppress(StorageError):
            # what turned up under another name than it was given
            doubtful |= set(self.store.delete_many(self._listed(), errors="return"))
        with suppress(StorageError):
            doubtful |= set(self._listed())
        return sorted(key for key in doubtful if self._is_there(key))

    def _listed(self) -> list[str]:
        return [info.key for info in self.store.list(self.base, ordered=False)]

    def _is_there(self, key: str) -> bool:
        try:
            return self.store.exists(key)
        except ErrInvalidKey:
            return False
        except StorageError:
            return True  # for all that is known


def expect(holds: bool, otherwise: str) -> None:
    """Raise `Differs` unless it holds."""
    if not holds:
        raise Differs(otherwise)


def expect_error(kind: type[StorageError], call: Callable[[], object], otherwise: str) -> None:
    try:
        call()
    except kind:
        return
    raise Differs(otherwise)


class Check(NamedTuple):
    """`holds` is run where it is promised and gives what to show, None for "yes".

    `asked` is run where it is not, and must be `ErrUnsupported`.
    """

    capability: str
    name: str
    promised: Callable[[Capabilities, Conditions], bool]
    holds: Callable[[Patient], str | None]
    asked: Callable[[Patient], object] | None = None
    info: bool = False


def always(known: Capabilities, conditions: Conditions) -> bool:
    return True
