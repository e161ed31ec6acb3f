"""Did all that many clients saw of one key happen in some order, each at one moment?

    history: list[Operation] = []
    register = Register(store, "key", history, client="a")   # one for each client
    register.write(b"1", create=True)
    ...
    check(history)      # the order, or `NotLinearizable`

A key is a register with compare-and-swap: put, create-only, replace one version, read,
delete, delete one version. Every value is to be written once only, so that it names its
version. A write whose outcome is unknown may take effect at any later time, or never; one
that failed must not have. Histories of several processes can be put together: times are
those of the machine's monotonic clock.

The search is Wing and Gong's with Lowe's memory of what was tried ("Testing for
linearizability", 2017). Nothing on PyPI does it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias

from objectstorage.errors import (
    ErrNotExist,
    ErrOutcomeUnknown,
    ErrPreconditionFailed,
    StorageError,
)
from objectstorage.storage import Storage

__all__ = ["NotLinearizable", "Operation", "Register", "Version", "check"]

Kind: TypeAlias = Literal["read", "put", "create", "replace", "delete", "delete version"]
Outcome: TypeAlias = Literal["ok", "refused", "unknown"]
Value: TypeAlias = bytes | None
"""What a key holds; None: nothing."""


class Operation(NamedTuple):
    """What one client asked for, heard, and when (nanoseconds; `math.inf`: it never ended).

    value: read or written. expected: what it was to be done to, for "replace" and
    "delete version".
    """

    client: str
    kind: Kind
    value: Value
    expected: Value
    outcome: Outcome
    invoked: float
    returned: float

    def __str__(self) -> str:
        what = f"{self.client}: {self.kind} {self.value!r}"
        if self.expected is not None:
            what += f" for {self.expected!r}"
        return f"{what}, {self.outcome} [{self.invoked}, {self.returned}]"


class NotLinearizable(AssertionError):
    """No order explains the history; the message names where each one gets stuck."""


class Version(NamedTuple):
    """A value and the ETag that names it."""

    value: bytes
    etag: str


class Register:
    """One key of a store as one client uses it; every call is added to `history`.

    Not for several threads at once: each has one of its own, on the same
    `history` (a list: adding to it is atomic). `failed` counts the calls that
    certainly did nothing.
    """

    def __init__(self, store: Storage, key: str, history: list[Operation], client: str) -> None:
        self.store = store
        self.key = key
        self.history = history
        self.client = client
        self.failed = 0

    def read(self) -> Version | None:
        """What is there; None also when that could not be read."""
        began = time.monotonic_ns()
        try:
            data, info = self.store.fetch(self.key)
        except ErrNotExist:
            self._add("read", None, None, "ok", began)
            return None
        except StorageError:
            self.failed += 1
            return None
        self._add("read", data, None, "ok", began)
        return Version(data, info.etag)

    def write(
        self, value: bytes, *, create: bool = False, version: Version | None = None
    ) -> Version | None:
        """Put, create only, or replace one version; None if it was not done for certain."""
        kind: Kind = "create" if create else "put" if version is None else "replace"
        expected = version.value if version is not None else None
        began = time.monotonic_ns()
        try:
            if version is not None:
                etag = self.store.put(self.key, value, if_match=version.etag).etag
            else:
                etag = self.store.put(self.key, value, create=create).etag
        except StorageError as exc:
            self._add_failure(exc, kind, value, expected, began)
            return None
        self._add(kind, value, expected, "ok", began)
        return Version(value, etag)

    def delete(self, version: Version | None = None) -> None:
        """Delete what is there, or one version only."""
        kind: Kind = "delete" if version is None else "delete version"
        expected = version.value if version is not None else None
        began = time.monotonic_ns()
        try:
            if version is None:
                self.store.delete(self.key)
            else:
                self.store.delete(self.key, if_match=version.etag)
        except StorageError as exc:
            self._add_failure(exc, kind, None, expected, began)
        else:
            self._add(kind, None, expected, "ok", began)

    def _add_failure(
        self, exc: StorageError, kind: Kind, value: Value, expected: Value, began: int
    ) -> None:
        if isinstance(exc, ErrOutcomeUnknown):
            self.history.append(
                Operation(self.client, kind, value, expected, "unknown", began, math.inf)
            )
        elif isinstance(exc, ErrPreconditionFailed):
            self._add(kind, value, expected, "refused", began)
        else:
            self.failed += 1

    def _add(self, kind: Kind, value: Value, expected: Value, outcome: Outcome, began: int) -> None:
        ended = time.monotonic_ns()
        self.history.append(Operation(self.client, kind, value, expected, outcome, began, ended))


def check(
    history: Iterable[Operation], initial: Value = None, *, most: int = 2_000_000
) -> list[Operation]:
    """An order of the operations that explains the history; unknown ones may be missing.

    initial: what the key held before. `NotLinearizable` if there is no such
    order, `RuntimeError` if none was found in `most` steps.

    >>> put = Operation("a", "put", b"1", None, "ok", 1, 4)
    >>> old = Operation("b", "read", None, None, "ok", 2, 3)
    >>> [operation.client for operation in check([put, old])]
    ['b', 'a']
    >>> check([put, old._replace(invoked=5, returned=6)])
    Traceback (most recent call last):
        ...
    objectstorage.testing.linear.NotLinearizable: no order explains the history; ...
    """
    search = _Search(history, initial)
    done = 1 << len(search.certain)
    first = search.steps(0, 0, initial)
    # Each level: the mask of what was done, and what is still to be tried next.
    levels: list[tuple[int, int, Iterator[tuple[Operation, int, int, Value]]]] = [(0, 0, first)]
    order: list[Operation] = []
    longest: list[Operation] = []
    stuck: Value = initial
    seen: set[tuple[int, int, Value]] = {(0, 0, initial)}
    if done == 1:
        return []
    while levels:
        step = next(levels[-1][2], None)
        if step is None:
            levels.pop()
            if order:
                order.pop()
            continue
        operation, certain, unknown, state = step
        if (certain, unknown, state) in seen:
            continue
        seen.add((certain, unknown, state))
        if len(seen) > most:
            raise RuntimeError(f"no order was found in {most} steps, nor that there is none")
        order.append(operation)
        if certain == done - 1:
            return order
        if len(order) > len(longest):
            longest, stuck = list(order), state
        levels.append((certain, unknown, search.steps(certain, unknown, state)))
    raise NotLinearizable(search.explain(longest, stuck))


class _Search:
    """The operations of a history, by the time at which they were begun."""

    def __init__(self, history: Iterable[Operation], initial: Value) -> None:
        everything = sorted(history, key=lambda operation: operation.invoked)
        self.certain = [op for op in everything if op.outcome != "unknown"]
        self.unknown = [op for op in everything if op.outcome == "unknown"]

    def steps(
        self, certain: int, unknown: int, state: Value
    ) -> Iterator[tuple[Operation, int, int, Value]]:
        """What may come next: the operation, the masks after it, and what is then there."""
        soonest = math.inf  # what is not done must be done by then
        # the lowest bit that is not set
        at = (~certain & (certain + 1)).bit_length() - 1
        for index in range(at, len(self.certain)):
            operation = self.certain[index]
            if operation.invoked > soonest:
                break
            if certain >> index & 1:
                continue
            soonest = min(soonest, operation.returned)
            allowed, after = _apply(operation, state)
            if allowed:
                yield operation, certain | 1 << index, unknown, after
        for index, operation in enumerate(self.unknown):
            if operation.invoked > soonest:
                break
            allowed, after = _apply(operation, state)
            if allowed and after != state and not unknown >> index & 1:
                yield operation, certain, unknown | 1 << index, after

    def explain(self, longest: list[Operation], state: Value) -> str:
        """What could not go on, after the longest order that was found."""
        placed = set(map(id, longest))
        left = [op for op in self.certain if id(op) not in placed]
        soonest = min((op.returned for op in left), default=math.inf)
        late = [str(op) for op in left if op.invoked <= soonest]
        return (
            f"no order explains the history; after {len(longest)} of {len(self.certain)} "
            f"operations {state!r} is there, and what must follow does not fit:\n"
            + "\n".join(late[:20])
        )


def _apply(operation: Operation, state: Value) -> tuple[bool, Value]:
    """Whether it can be at this moment, and what is there after it."""
    kind, refused = operation.kind, operation.outcome == "refused"
    if kind == "read":
        return operation.value == state, state
    if kind == "create":
        holds = state is None
    elif kind in ("replace", "delete version"):
        holds = state is not None and state == operation.expected
    else:
        holds = True
    return holds != refused, state if refused else operation.value
