"""The state at one sequence: data files, and what the log says on top of them."""

from __future__ import annotations

from collections import deque
from copy import copy
from itertools import islice
from typing import Literal, NamedTuple

from objectstorage.datamanager.model import Entry, Put
from objectstorage.datamanager.records import Control, Record, Slot, Status, Types, slot_key
from objectstorage.errors import ErrIntegrity

__all__ = ["KEPT_IDS", "Head", "State", "groups_of"]

KEPT_IDS = 512
"""Ids of the last commits, kept in memory and in each status."""

_KEPT_GROUPS = 4096

_NONE: dict[str, Entry | None] = {}


class Head(NamedTuple):
    """The last commit: what the next one goes on from."""

    seq: int
    commit_id: str
    control: Control


class State:
    """What is known of one sequence; `apply` goes on to the next.

    `base`: data files by type; `overlay`: entries put since, None for deleted.
    Whoever keeps one for longer takes `held()`: that is never changed in place.
    The overlay is what was committed after the status, which writers bound.
    """

    def __init__(self, status: Status | None) -> None:
        self.status = status
        self.base: Types = status.types if status else {}
        # one value, replaced as a whole: other threads read it meanwhile
        self.head = (
            Head(status.seq, status.commit_id, status.control) if status else Head(0, "", Control())
        )
        self._status_seq = self.head.seq
        self._status_total = self.head.control.total
        self.overlay: dict[str, dict[str, Entry | None]] = {}
        self.ids: deque[str] = deque(status.ids if status else (), maxlen=KEPT_IDS)
        self._groups: deque[tuple[str, ...] | None] = deque(maxlen=_KEPT_GROUPS)
        self._held: set[str] = set()
        self._asked = 0, 0  # bytes and commits pending when a newer status was looked for

    @property
    def checkpoint(self) -> int:
        """The number of the checkpoint that it goes on from; 0 for none."""
        return self.status.checkpoint if self.status else 0

    @property
    def seq(self) -> int:
        """The sequence it is the state of."""
        return self.head.seq

    @property
    def pending_bytes(self) -> int:
        """Bytes of payload on top of the status."""
        return self.head.control.total - self._status_total

    @property
    def pending_commits(self) -> int:
        """Commits on top of the status."""
        return self.seq - self._status_seq

    def outgrown(self, size: int, commits: int) -> bool:
        """Whether so much came on top that it is time to look for a newer status."""
        return (
            self.pending_bytes - self._asked[0] >= size
            or self.pending_commits - self._asked[1] >= commits
        )

    def rebased(self) -> None:
        """There was no newer status; look again when as much has come again."""
        self._asked = self.pending_bytes, self.pending_commits

    def held(self) -> State:
        """This state, apart: it stays as it is."""
        self._held.update(self.overlay)
        other = copy(self)
        other.overlay, other.ids = dict(self.overlay), self.ids.copy()
        return other

    def entry(self, type: str, id: str) -> Entry | Literal[False] | None:
        """What the log says of an entry: None for deleted, False for nothing."""
        return self.overlay.get(type, _NONE).get(id, False)

    def apply(self, record: Record) -> None:
        """Go on to the next commit."""
        slot, actions, types = record
        if slot.previous != self.head.commit_id:
            raise ErrIntegrity(
                f"the commit says that it follows {slot.previous!r}, not {self.head.commit_id!r}",
                key=slot_key(slot.seq),
            )
        if types is not None:
            self.base, self.overlay = types, {}
        for action in actions:
            entries = self.overlay.get(action.type)
            if entries is None or action.type in self._held:
                entries = self.overlay[action.type] = dict(entries or {})
                self._held.discard(action.type)
            if isinstance(action, Put):
                entries[action.id] = Entry(action.type, action.id, action.data, slot.seq)
            else:
                entries[action.id] = None
        self.ids.append(slot.id)
        self._groups.append(groups_of(slot))
        self.head = Head(slot.seq, slot.id, slot.control)

    def groups_since(self, seq: int) -> list[tuple[str, ...] | None] | None:
        """`groups_of` each commit after `seq`; None if that is longer ago than is kept."""
        count = self.seq - seq
        if count > len(self._groups):
            return None
        return list(islice(self._groups, len(self._groups) - count, None))


def groups_of(slot: Slot) -> tuple[str, ...] | None:
    """What a commit changed, by group; None for everything."""
    return None if slot.kind == "import" else slot.groups
