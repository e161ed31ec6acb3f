"""What a file system may hold after the power failed: a small, pessimistic model.

* A file's bytes and attribute are what they were when it was last synced, or
  any later state, or the last one torn: its second half zeros.
* A change to a directory (a name set, a name removed) may be lost until that
  directory is synced. Changes of one name come in order, those of different
  names in any: to sync a file or another directory says nothing about them.
* A rename is one change, as where there is a journal; with `atomic_renames`
  off the new name may come without the old one going, never the reverse.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice, product
from typing import NamedTuple, TypeAlias

__all__ = ["Change", "Content", "Done", "Edit", "Event", "Id", "Recording", "Sync", "Tree", "Wrote"]

Id: TypeAlias = tuple[int, int]
"""Device and inode."""


class Content(NamedTuple):
    """A file's bytes and its attribute."""

    data: bytes
    attribute: bytes | None


Tree: TypeAlias = dict[bytes, Content | None]
"""Files by path; a directory is None."""


class Edit(NamedTuple):
    """One name of one directory: what it names from now on."""

    directory: Id
    name: bytes
    target: Id | None


class Change(NamedTuple):
    """Names changed by one operation; a rename sets one before it removes the other."""

    edits: tuple[Edit, ...]


class Wrote(NamedTuple):
    """A file has this content now."""

    file: Id
    content: Content


class Sync(NamedTuple):
    """A file or a directory was synced."""

    what: Id


class Done(NamedTuple):
    """A step was acknowledged."""


Event: TypeAlias = Change | Wrote | Sync | Done

_EMPTY = Content(b"", None)


class Recording:
    """A tree that is on disk, and what happened since."""

    def __init__(
        self, top: Id, directories: dict[Id, dict[bytes, Id]], files: dict[Id, Content]
    ) -> None:
        self.top = top
        self.directories = directories
        self.files = files
        self.events: list[Event] = []

    def states(self, count: int, *, atomic_renames: bool, limit: int) -> Iterator[Tree]:
        """What may be on disk after the first `count` events.

        All of it if that is at most `limit` trees, else as many at random.
        """
        moment = _Moment(self, count, atomic_renames)
        found = list(islice(moment.all(), limit + 1))
        if len(found) <= limit:
            yield from found
        else:
            chance = random.Random(count)
            yield from (moment.any(chance) for _ in range(limit))


class _Moment:
    """The choices that a file system has after so many events."""

    def __init__(self, recording: Recording, count: int, atomic_renames: bool) -> None:
        self._recording = recording
        self._changes: list[Change] = []
        # For each change those before it that it can't come without.
        self._needs: list[list[int]] = []
        self._certain: set[int] = set()
        self._versions: dict[Id, list[Content]] = {
            file: [content] for file, content in recording.files.items()
        }
        last: dict[tuple[Id, bytes], int] = {}
        for event in recording.events[:count]:
            if isinstance(event, Change):
                groups = [event.edits] if atomic_renames else [(edit,) for edit in event.edits]
                for number, edits in enumerate(groups):
                    index = len(self._changes)
                    self._changes.append(Change(edits))
                    names = [(edit.directory, edit.name) for edit in edits]
                    self._needs.append([last[name] for name in names if name in last])
                    if number:
                        self._needs[index].append(index - 1)
                    last.update(dict.fromkeys(names, index))
            elif isinstance(event, Wrote):
                self._versions.setdefault(event.file, [_EMPTY]).append(event.content)
            elif isinstance(event, Sync):
                if event.what in self._versions:
                    del self._versions[event.what][:-1]
                for index, change in enumerate(self._changes):
                    if any(edit.directory == event.what for edit in change.edits):
                        self._settle(index)

    def _settle(self, index: int) -> None:
        if index not in self._certain:
            self._certain.add(index)
            for earlier in self._needs[index]:
                self._settle(earlier)

    def all(self) -> Iterator[Tree]:
        for kept in self._subsets(0, set()):
            shape = self._shape(kept)
            files = sorted({file for file in shape.values() if file is not None})
            for contents in product(*map(self._contents, files)):
                yield _tree(shape, dict(zip(files, contents, strict=True)))

    def any(self, chance: random.Random) -> Tree:
        kept: set[int] = set()
        share = chance.random()
        for index, needs in enumerate(self._needs):
            if index in self._certain or (kept.issuperset(needs) and chance.random() < share):
                kept.add(index)
        shape = self._shape(kept)
        files = {file for file in shape.values() if file is not None}
        return _tree(shape, {file: chance.choice(self._contents(file)) for file in sorted(files)})

    def _subsets(self, index: int, kept: set[int]) -> Iterator[set[int]]:
        if index == len(self._changes):
            yield set(kept)
            return
        if kept.issuperset(self._needs[index]):
            kept.add(index)
            yield from self._subsets(index + 1, kept)
            kept.discard(index)
        if index not in self._certain:
            yield from self._subsets(index + 1, kept)

    def _contents(self, file: Id) -> list[Content]:
        versions = self._versions.get(file, [_EMPTY])
        last = versions[-1]
        if len(versions) == 1:
            return versions
        half = len(last.data) // 2
        torn = Content(last.data[:half] + bytes(len(last.data) - half), last.attribute)
        return list(dict.fromkeys([*versions, torn]))

    def _shape(self, kept: set[int]) -> dict[bytes, Id | None]:
        """Files by path, None for a directory; what no name leads to is gone."""
        directories = {where: dict(names) for where, names in self._recording.directories.items()}
        for index in sorted(kept):
            for where, name, target in self._changes[index].edits:
                names = directories.setdefault(where, {})
                if target is None:
                    names.pop(name, None)
                else:
                    names[name] = target
        shape: dict[bytes, Id | None] = {}
        pending = [(b"", self._recording.top)]
        while pending:
            path, where = pending.pop()
            for name, target in directories.get(where, {}).items():
                if target in self._versions:
                    shape[path + name] = target
                else:
                    shape[path + name] = None
                    pending.append((path + name + b"/", target))
        return shape


def _tree(shape: dict[bytes, Id | None], contents: dict[Id, Content]) -> Tree:
    return {path: None if file is None else contents[file] for path, file in shape.items()}
