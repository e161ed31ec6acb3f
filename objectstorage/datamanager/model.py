"""What the data manager takes and gives: actions, entries, commits, statuses."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, TypeAlias

from objectstorage.errors import ErrBadRequest

__all__ = [
    "MAX_COMMIT",
    "Action",
    "Collected",
    "Commit",
    "DataStatus",
    "Delete",
    "Entry",
    "Problem",
    "Put",
    "Report",
    "check_actions",
    "check_groups",
    "check_id",
    "check_type",
]

MAX_COMMIT = 16 * 1024 * 1024
"""The most bytes one commit may carry, ids and types included."""

_MAX_TYPE = 80  # escaped, it must fit a path segment of 255 bytes
_MAX_ID = 4096


class Put(NamedTuple):
    """Store `data` as entry `id` of type `type`, whether or not there is one."""

    type: str
    id: str
    data: bytes


class Delete(NamedTuple):
    """Delete entry `id` of type `type`; no error if there is none."""

    type: str
    id: str


Action: TypeAlias = Put | Delete


class Entry(NamedTuple):
    """One entry; `seq` is the sequence of the commit that last put it."""

    type: str
    id: str
    data: bytes
    seq: int


class Commit(NamedTuple):
    """One commit: all of its actions happened at `seq`, or none.

    `kind`: "write", "fence", "maintenance" or "sweep"; only a write has
    actions. `epoch` is the one in force from this commit on. `time` is the
    store's own, aware, UTC; None when this client has just made the commit.
    """

    seq: int
    id: str
    groups: tuple[str, ...]
    actions: tuple[Action, ...]
    kind: str = "write"
    epoch: int = 0
    time: datetime | None = None


class DataStatus(NamedTuple):
    """A checkpoint: its number, the sequence it holds the state of, and how much that is."""

    checkpoint: int
    seq: int
    entries: int
    size: int
    files: int
    time: datetime


class Collected(NamedTuple):
    """What `collect` deleted: the log up to `boundary`, older statuses and their files."""

    boundary: int
    slots: int
    statuses: int
    files: int


class Problem(NamedTuple):
    """Something `verify` found: the object's key, and what is wrong with it."""

    key: str
    what: str


class Report(NamedTuple):
    """What `verify` saw. `problems` is empty when all is well.

    `orphans` counts objects nothing refers to: harmless, `sweep` and `collect`
    delete them.
    """

    problems: tuple[Problem, ...]
    seq: int
    checkpoint: int
    entries: int
    commits: int
    objects: int
    orphans: int


def check_type(type: str) -> None:
    """A type is a non-empty `str` of at most 80 bytes of UTF-8, else `ErrBadRequest`."""
    _check_text(type, "type", _MAX_TYPE)


def check_id(id: str) -> None:
    """An id is a non-empty `str` of at most 4,096 bytes of UTF-8, else `ErrBadRequest`."""
    _check_text(id, "id", _MAX_ID)


def check_groups(groups: Iterable[str]) -> tuple[str, ...]:
    """The groups, in order and once each."""
    if isinstance(groups, str):
        raise TypeError("groups is an iterable of str, not one str")
    found = sorted(set(groups))
    for group in found:
        _check_text(group, "group", _MAX_ID)
    return tuple(found)


def check_actions(actions: Iterable[Action]) -> tuple[Action, ...]:
    """The actions, if each is one; `TypeError`, `ErrBadRequest`."""
    found: list[Action] = []
    size = 0
    for action in actions:
        if isinstance(action, Put):
            if not isinstance(action.data, bytes):
                data = bytes(memoryview(action.data))  # TypeError for what is no bytes
                action = action._replace(data=data)
            size += len(action.data)
        elif not isinstance(action, Delete):
            raise TypeError(f"an action is a Put or a Delete, not {action!r}")
        check_type(action.type)
        check_id(action.id)
        size += 64 + len(action.type) + len(action.id)
        found.append(action)
    if not found:
        raise ErrBadRequest("a commit needs an action")
    if size > MAX_COMMIT:
        raise ErrBadRequest(f"a commit carries at most {MAX_COMMIT} bytes, not {size}")
    return tuple(found)


def _check_text(value: str, what: str, limit: int) -> None:
    if not isinstance(value, str):
        raise TypeError(f"a {what} is a str, not {type(value).__name__}")
    try:
        length = len(value.encode())
    except UnicodeEncodeError as exc:
        raise ErrBadRequest(f"a {what} is valid UTF-8, not {value!r}") from exc
    if not 0 < length <= limit:
        raise ErrBadRequest(f"a {what} has 1 to {limit} bytes, not {length}")
