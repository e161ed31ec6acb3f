"""A file system over stores, its third layer: copying, moving, removing, directories."""

from __future__ import annotations

import errno
import os
from typing import Any

from fsspec.spec import AbstractFileSystem

from objectstorage._filesystem.base import Place
from objectstorage._filesystem.bulk import Planner
from objectstorage._filesystem.reading import ReadingFileSystem
from objectstorage.errors import ErrExist, ErrIO, ErrNotExist, ErrPartial, StorageError
from objectstorage.storage import Storage
from objectstorage.transfer import copy

__all__ = ["MovingFileSystem"]


class MovingFileSystem(ReadingFileSystem):
    """What the file systems share of objects that go elsewhere, or away.

    Directories exist as long as there are objects below them: `mkdir` does
    nothing, and an emptied directory is gone.
    """

    # -- copying and moving ----------------------------------------------------

    def cp_file(self, path1: Any, path2: Any, **kwargs: Any) -> None:
        """Copy one object, with its metadata, in the store if it stays in it."""
        src, dst = self._place(path1), self._place(path2)
        create = kwargs.get("mode") == "create"
        if not src.key:
            return  # a store's root: a directory, of which there is nothing to copy
        try:
            if src.store is dst.store:
                src.store.copy(src.key, dst.key, create=create)
            else:
                copy(src.store, src.key, dst.store, dst.key, create=create)
        except ErrNotExist:
            if not self.isdir(path1):
                raise

    def copy(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        on_error: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy files, in the store; names, patterns and trees go where fsspec says."""
        ignore = on_error == "ignore" or (on_error is None and recursive)

        def one(pair: tuple[str, str]) -> None:
            try:
                self.cp_file(*pair, **kwargs)
            except FileNotFoundError:
                if not ignore:
                    raise

        self._each(one, self._pairs(path1, path2, recursive, maxdepth), False)

    def mv(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Move files, each atomically where the store does that; see `copy`."""
        if self._strip_protocol(path1) == self._strip_protocol(path2):
            return
        pairs = self._pairs(path1, path2, recursive, maxdepth)
        folders = {name.rpartition("/")[0] for name, _ in pairs}

        def one(pair: tuple[str, str]) -> None:
            try:
                self._mv_file(*pair)
            except ErrNotExist:
                if pair[0] not in folders and not self.isdir(pair[0]):
                    raise

        self._each(one, pairs, False)

    def _pairs(
        self, path1: Any, path2: Any, recursive: bool, maxdepth: int | None
    ) -> list[tuple[str, str]]:
        plan = Planner(self)
        AbstractFileSystem.copy(plan, path1, path2, recursive, maxdepth)
        return [(self._strip_protocol(a), self._strip_protocol(b)) for a, b in plan.pairs]

    def _mv_file(self, path1: str, path2: str) -> None:
        src, dst = self._place(path1), self._place(path2)
        if not src.key:
            return
        if src.store is dst.store:
            src.store.move(src.key, dst.key)
        else:
            copy(src.store, src.key, dst.store, dst.key)
            src.store.delete(src.key)

    # -- directories and removing ----------------------------------------------

    def mkdir(self, path: Any, create_parents: bool = True, **kwargs: Any) -> None:
        """Does nothing: a directory is there once there is an object below it."""

    def makedirs(self, path: Any, exist_ok: bool = False) -> None:
        """Does nothing, but without `exist_ok` refuses what is there (`ErrExist`)."""
        if not exist_ok and self.exists(path):
            raise ErrExist("it is there already", key=self._strip_protocol(path))

    def rmdir(self, path: Any) -> None:
        """Refuses a directory with objects below it (`ErrIO`, ENOTEMPTY); else does nothing."""
        store, _, _ = place = self._place(path)
        for info in store.list(place.folder):
            if info.key != place.folder:
                raise ErrIO(
                    "the directory is not empty",
                    errno=errno.ENOTEMPTY,
                    key=place.folder,
                    operation="rmdir",
                    storage=store.url,
                )
            store.delete(info.key)

    def rm_file(self, path: Any) -> None:
        """Delete one object; `ErrNotExist` if there is none."""
        place = self._place(path)
        place.store.delete(place.key, must_exist=True)

    _rm = rm_file

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Delete objects; with `recursive` all that is below them too.

        `ErrNotExist` if one name alone, or a tree, isn't there; of several
        objects those that aren't are no error. `ErrPartial` tells what could
        not be deleted, after trying all.
        """
        if isinstance(path, str | os.PathLike):
            path = [path]
        if maxdepth is not None:
            names = self.expand_path(path, recursive, maxdepth)
            names = self._without_folders(names)
        else:
            names = self.expand_path(path)
        if len(names) == 1 and not recursive:
            self.rm_file(names[0])
            return
        doomed: dict[int, tuple[Storage, dict[str, None]]] = {}
        for name in names:
            place = self._place(name)
            _, keys = doomed.setdefault(id(place.store), (place.store, {}))
            below = self._below(place) if recursive and maxdepth is None else []
            keys.update(dict.fromkeys(below))
            if place.key:
                if recursive and not below:
                    self.rm_file(name)  # says whether it was there
                else:
                    keys[place.key] = None
        failed: list[StorageError] = []
        for store, keys in doomed.values():
            failed.extend(store.delete_many(keys, errors="return").values())
        if failed:
            raise ErrPartial(f"{len(failed)} deletes failed", failed, operation="rm")

    @staticmethod
    def _below(place: Place) -> list[str]:
        return [info.key for info in place.store.list(place.folder)]
