"""Where a benchmark writes: a fresh prefix, and a record of every key in it."""

from __future__ import annotations

import contextlib
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from objectstorage.errors import ErrConflict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from objectstorage.bench.targets import Target

__all__ = ["Workspace"]

_BATCH = 1000


class Workspace:
    """A prefix that nobody else uses, and what the benchmark wrote below it.

    Only recorded keys are ever deleted: an object that somebody else put below
    the prefix stays, and so does everything beside it.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        self.prefix = f"objectstorage-bench-{stamp}-{secrets.token_hex(8)}/"
        self._written: set[str] = set()

    def claim(self) -> None:
        """One listing, one write: the store answers, takes objects, and the prefix is empty.

        `ErrConflict` if it is not; else whatever the store raises.
        """
        for _ in self.target.list(self.prefix):
            raise ErrConflict(
                "the benchmark's prefix is in use", key=self.prefix, storage=self.target.url
            )
        key = self.key("claimed")
        try:
            self.target.put(key, b"")
        except BaseException:
            # interrupted, or without a reply: it may be there
            with contextlib.suppress(Exception):
                self.delete([key])
            raise

    def key(self, name: str) -> str:
        """The key of that name, recorded as written: call it before the write."""
        key = self.prefix + name
        self._written.add(key)
        return key

    def delete(self, keys: Iterable[str]) -> None:
        """Delete those of the keys that the benchmark wrote; they are forgotten then."""
        mine = sorted(self._written.intersection(keys))
        if self.target.delete_many is not None:
            for start in range(0, len(mine), _BATCH):
                batch = mine[start : start + _BATCH]
                self.target.delete_many(batch)
                self._written.difference_update(batch)
        else:
            for key in mine:
                self.target.delete(key)
                self._written.discard(key)

    def clean(self) -> None:
        """Delete all that was written, unfinished uploads included; may be repeated."""
        try:
            self.delete(list(self._written))
        finally:
            if self.target.abandon is not None:
                self.target.abandon(self.prefix)
