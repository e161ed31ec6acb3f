"""What is done to one pair of items."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from objectstorage._sync.comparing import MARGIN, Verdict, compare, same_contents
from objectstorage._sync.feed import Feed
from objectstorage._sync.sides import FolderSide, Item, Opened, Side, StoreSide
from objectstorage.errors import ErrIntegrity

__all__ = ["Cancelled", "Work"]


class Cancelled(Exception):
    """The call ends; a transfer under way is given up."""


@dataclass
class Work:
    """What is done to one pair, in any thread."""

    source: Side
    target: Side
    checksum: bool
    verify: bool
    dry_run: bool
    moved: Callable[[int], object]
    cancelled: bool = field(default=False, init=False)

    def known_same(self, a: Item, b: Item) -> bool:
        """Whether the listings say so; nothing is read."""
        verdict = compare(self.source, a, self.target, b, checksum=self.checksum)
        return verdict is Verdict.SAME

    def __call__(self, a: Item, b: Item | None) -> bool:
        """Copy it unless it is the same; whether it was copied."""
        if b is not None:
            verdict = compare(self.source, a, self.target, b, checksum=self.checksum)
            # before it is read: a version that replaces it meanwhile has another time then
            modified = self._time(a)
            if verdict is Verdict.UNSURE and same_contents(
                self.source, a, self.target, b, check=self.check
            ):
                if isinstance(self.target, FolderSide) and not self.dry_run:
                    self._remember(b, modified, self.target)
                return False
        if a.is_folder and isinstance(self.target, FolderSide):
            return self._make_folder(a, self.target)
        if self.dry_run:
            self.target.rehearse(a)
        else:
            self._copy(a)
        return True

    def check(self) -> None:
        """Raise if the call has ended."""
        if self.cancelled:
            raise Cancelled

    def _make_folder(self, item: Item, target: FolderSide) -> bool:
        if not item.name:
            return False  # it stands for the target itself
        name = item.name[:-1]
        if target.has_folder(name):
            return False
        if not self.dry_run:
            target.folder.make_folder(name)
        return True

    def _copy(self, item: Item) -> None:
        source, target = self.source, self.target
        if (
            isinstance(source, StoreSide)
            and isinstance(target, StoreSide)
            and source.store is target.store
        ):
            source.store.copy(source.prefix + item.name, target.prefix + item.name)
            copied = item._replace(digest=None)  # what the listing told is of the source
            if self.verify and not same_contents(source, item, target, copied, check=self.check):
                raise _unequal()
            self.moved(item.size)
            return
        with source.open(item) as opened:
            feed = Feed(opened.file, opened.size, self._count, opened.check, hashed=self.verify)
            try:
                target.write(item.name, opened, feed, self._time(opened))
                if self.verify:
                    self._verify(item, feed.digest)
            except BaseException:
                feed.take_back()
                raise

    def _count(self, size: int) -> None:
        if size > 0:
            self.check()
        self.moved(size)

    def _remember(self, b: Item, modified: int | None, target: FolderSide) -> None:
        """Let the file bear the time of what it equals, so that it need not be read again."""
        if modified is not None and modified != b.modified:
            target.folder.date(b.name, b.modified, modified)

    def _time(self, opened: Opened | Item) -> int | None:
        """The time the copy bears, once that is past.

        Of two versions within one second the later may bear the same time:
        what is so new is known by its contents the next time.
        """
        settled = opened.modified - self.source.ahead < time.time_ns() - MARGIN
        return opened.modified if settled else None

    def _verify(self, item: Item, digest: str) -> None:
        with self.target.open(item) as copy:
            back = Feed(copy.file, copy.size, lambda size: self.check(), copy.check, hashed=True)
            for _ in back.chunks():
                pass
        if back.digest != digest:
            raise _unequal()


def _unequal() -> ErrIntegrity:
    return ErrIntegrity(
        "what was read back is not what was written; run again with checksum, "
        "as by its time the copy looks the same",
        operation="sync",
    )
