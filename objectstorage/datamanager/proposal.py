"""What waits to be committed, and how several become one commit."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from objectstorage.datamanager.model import Action, Commit
from objectstorage.datamanager.records import Control, Slot, Types
from objectstorage.errors import StorageError

__all__ = ["Attempt", "Proposal", "merge"]

_MAX_BATCH = 4 * 1024 * 1024


class Attempt(NamedTuple):
    """A slot that is being created, for whom, and whether it may exist already."""

    slot: Slot
    members: tuple[Proposal, ...]


class Proposal:
    """One call's commit: what it wants, and in the end what came of it.

    `change` makes the control that follows, given the sequence and the one
    before; only writes, which have none, may share a slot. `types`: an import
    of these files, after the commit `exact` and no other.
    """

    def __init__(
        self,
        kind: str,
        actions: tuple[Action, ...] = (),
        groups: tuple[str, ...] = (),
        *,
        token: int | None = None,
        epoch: int | None = None,
        change: Callable[[int, Control], Control] | None = None,
        types: Types | None = None,
        exact: int | None = None,
        timeout: float | None = None,
    ) -> None:
        self.kind = kind
        self.actions = actions
        self.groups = groups
        self.token = token
        self.epoch = epoch
        self.change = change
        self.types = types
        self.exact = exact
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.size = sum(64 + len(action[-1]) for action in actions)
        self._commit: Commit | None = None
        self._error: StorageError | None = None

    @property
    def done(self) -> bool:
        """Whether it is known what came of it."""
        return self._commit is not None or self._error is not None

    @property
    def late(self) -> bool:
        """Whether its deadline has passed."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def succeed(self, slot: Slot) -> None:
        """It stands at that slot."""
        self._commit = Commit(
            slot.seq, slot.id, self.groups, self.actions, self.kind, slot.control.epoch
        )

    def fail(self, error: StorageError) -> None:
        """It does not stand, or nobody knows; each waiter raises an error of its own."""
        self._error = copy.copy(error)
        self._error.__cause__ = error.__cause__

    def outcome(self) -> Commit:
        """The commit, or the error raised."""
        if self._error is not None:
            raise self._error
        assert self._commit is not None
        return self._commit


def merge(first: Proposal, others: Iterable[Proposal]) -> list[Proposal]:
    """`first` and those of the others that may be one commit with it, in order.

    Two of which the later would conflict with the earlier stay apart, so that
    it meets it as any other commit.
    """
    batch = [first]
    if first.kind != "write":
        return batch
    touched = set(first.groups)
    size = first.size
    for other in others:
        size += other.size
        if other.kind != "write" or size > _MAX_BATCH:
            break
        if other.token is not None and touched.intersection(other.groups):
            continue
        batch.append(other)
        touched.update(other.groups)
    return batch
