"""`LocalStorage`: objects as files below a directory, whatever their names are."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from copy import copy
from itertools import islice
from typing import Literal

from objectstorage import _cancel
from objectstorage._plans import check_errors_option, keys_of, outcome, placed
from objectstorage.bodies import Source, as_buffer, as_source, check_size
from objectstorage.errors import (
    ErrDurabilityUnknown,
    ErrExist,
    ErrNotExist,
    ErrPreconditionFailed,
    ErrTimeout,
    ErrUnsupported,
    StorageError,
)
from objectstorage.keys import check_content_type, check_metadata
from objectstorage.local import locks, meta, ops, tree
from objectstorage.local.atomic import Temporary, make_way, publish, regular
from objectstorage.local.confine import DIRECTORY, open_beneath
from objectstorage.local.deleting import delete_in
from objectstorage.local.failures import no_object, read_error, write_error
from objectstorage.local.files import LocalWriter, copy_bytes
from objectstorage.local.naming import Naming
from objectstorage.local.probe import probe
from objectstorage.local.reading import ReadingStorage
from objectstorage.local.root import Root
from objectstorage.local.versions import etag_of, without_metadata
from objectstorage.storage import (
    ALL_CONDITIONS,
    UNSET,
    Capabilities,
    Data,
    PutResult,
    Unset,
    Writer,
    check_condition,
)

__all__ = ["LocalStorage"]

_CHUNK = 1024 * 1024
# Keys of a `delete_many` that are sorted by directory together.
_BATCH = 1000


class LocalStorage(ReadingStorage):
    """Objects as files below a directory; a layout (`Naming`) says under which names."""

    def __init__(self, directory: str, naming: Naming, *, durable: bool, create_root: bool) -> None:
        super().__init__(directory, naming)
        self._durable = durable
        self._create_root = create_root
        self._probed = False
        self._capabilities = Capabilities(
            conditions=ALL_CONDITIONS,
            key_rules=naming.rules,
            ordered_listing=True,
            etag_kind="version",
            metadata=hasattr(os, "setxattr"),
            server_side_copy=True,
            atomic_move=True,
            presign=False,
            strong_etags=True,
            durable_puts=durable,
        )

    @property
    def capabilities(self) -> Capabilities:
        """All of the contract; `probe` asks the file system whether it plays along."""
        return self._capabilities

    def probe(self) -> Capabilities:
        """The capabilities on this file system; asked once, leaving no trace."""
        try:
            self._check_open("probe")
            if not self._probed:
                metadata, fine_times = probe(self._directory)
                known = self._capabilities
                self._capabilities = known._replace(
                    metadata=known.metadata and metadata,
                    strong_etags=fine_times,
                    # Two versions within a second might look the same.
                    conditions=ALL_CONDITIONS
                    if fine_times
                    else ALL_CONDITIONS._replace(replace=frozenset(), delete=frozenset()),
                )
                self._probed = True
            return self._capabilities
        except StorageError as exc:
            raise exc.at(operation="probe", storage=self.url)
        except OSError as exc:
            raise write_error(exc).at(operation="probe", storage=self.url) from exc

    def _condition(self, if_match: str | Unset, create: bool = False) -> str | None:
        etag = check_condition(if_match, create)
        if etag is not None and not self.probe().strong_etags:
            raise ErrUnsupported("the file system keeps times in seconds, too coarse for if_match")
        return etag

    # -- writing ---------------------------------------------------------------

    def put(
        self,
        key: str,
        data: Data,
        *,
        size: int | None = None,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        create: bool = False,
        if_match: str | Unset = UNSET,
        durable: bool | None = None,
        timeout: float | None = None,
    ) -> PutResult:
        """See `Storage.put`. The timeout covers the source and the wait for locks."""
        try:
            deadline = None if timeout is None else time.monotonic() + timeout
            path = self._naming.path(key)
            etag = None if if_match is UNSET else self._condition(if_match, create)
            about = meta.encode(check_content_type(content_type), check_metadata(metadata))
            check_size(size)
            view = as_buffer(data, size)
            source = as_source(data, size) if view is None else None
            durable = self._durable if durable is None else durable
            if create:
                self._check_free(path)
            root, temporary = self._temporary(durable)
            try:
                if source is None:
                    temporary.write(view)  # type: ignore[arg-type]  # one of the two is set
                else:
                    _fill(temporary, source, deadline, timeout)
                return self._commit(
                    root, temporary, key, path, about, create, etag, durable, deadline
                )
            except BaseException:
                temporary.discard()
                raise
        except StorageError as exc:
            raise exc.at(key=key, operation="put", storage=self.url)

    def writer(
        self,
        key: str,
        *,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        create: bool = False,
        if_match: str | Unset = UNSET,
        durable: bool | None = None,
    ) -> Writer:
        """See `Storage.writer`."""
        try:
            path = self._naming.path(key)
            etag = self._condition(if_match, create)
            about = meta.encode(check_content_type(content_type), check_metadata(metadata))
            synced = self._durable if durable is None else durable
            root, temporary = self._temporary(synced)
        except StorageError as exc:
            raise exc.at(key=key, operation="writer", storage=self.url)

        def commit(temporary: Temporary) -> PutResult:
            return self._commit(root, temporary, key, path, about, create, etag, synced, None)

        def located(err: StorageError) -> StorageError:
            return err.at(key=key, operation="writer", storage=self.url)

        return LocalWriter(temporary, commit, located)

    def _writing(self, durable: bool) -> Root:
        """The store's directory, ready to be written to."""
        root = self._root
        if root is not None and root.tmp >= 0:
            return root
        try:
            root = self._enter(make=self._create_root)
            root.prepare()
            return root
        except StorageError:
            raise
        except FileNotFoundError as exc:
            raise ErrNotExist(
                "the store's directory isn't there"
                + ("" if self._create_root else ", and create_root is off")
            ) from exc
        except OSError as exc:
            raise write_error(exc) from exc

    def _check_free(self, path: bytes) -> None:
        """`ErrExist` if an object is seen there, before all is written and synced in vain.

        What takes the place after this, or can't be told now, `publish` finds.
        """
        try:
            fd = self._open(path)
            try:
                taken = regular(ops.fstat(fd))
            finally:
                ops.let_go(fd)
        except OSError:
            return
        if taken:
            raise ErrExist("the key is taken")

    def _temporary(self, durable: bool) -> tuple[Root, Temporary]:
        while True:
            root = self._writing(durable)
            try:
                return root, Temporary(root.tmp)
            except FileNotFoundError:
                self._leave(root)  # removed since it was opened: begin anew
            except OSError as exc:
                raise write_error(exc) from exc

    def _commit(
        self,
        root: Root,
        temporary: Temporary,
        key: str,
        path: bytes,
        about: bytes | None,
        create: bool,
        etag: str | None,
        durable: bool,
        deadline: float | None,
    ) -> PutResult:
        """From a filled temporary to the object."""
        above, _, name = path.rpartition(b"/")
        try:
            version = temporary.seal(about, durable=durable)
            parent = publish(
                root.fd,
                root.tmp,
                temporary,
                above,
                name,
                create=create,
                etag=etag,
                deadline=deadline,
            )
        except StorageError:
            raise
        except OSError as exc:
            raise write_error(exc) from exc
        temporary.release()
        self._settle(root, above, parent, durable)
        return PutResult(key, version[2], etag_of(*version))

    def _settle(self, root: Root, path: bytes, parent: int, durable: bool) -> None:
        """Put the new entry of a directory on disk, if asked to; closes `parent`."""
        if not durable:
            ops.let_go(parent)
            return
        try:
            root.sync(path, parent)
        except OSError as exc:
            raise ErrDurabilityUnknown(
                "it was written and is visible, but its directory could not be synced",
                errno=exc.errno,
            ) from exc

    # -- deleting --------------------------------------------------------------

    def delete(self, key: str, *, if_match: str | Unset = UNSET, must_exist: bool = False) -> None:
        """See `Storage.delete`."""
        try:
            path = self._naming.path(key)
            etag = self._condition(if_match)
            above, _, name = path.rpartition(b"/")
            found = self._delete_in(above, [name], etag)[0]
            if isinstance(found, StorageError):
                raise found
            if not found:
                if etag is not None:
                    raise ErrPreconditionFailed("there is no such object")
                if must_exist:
                    raise no_object()
        except StorageError as exc:
            raise exc.at(key=key, operation="delete", storage=self.url)

    def delete_many(
        self, keys: Iterable[str], *, errors: Literal["raise", "return"] = "raise"
    ) -> dict[str, StorageError]:
        """See `Storage.delete_many`. A directory is synced once for all its keys at hand."""
        with placed(self, "delete_many"):
            check_errors_option(errors)
            self._check_open("delete_many")
        failed: dict[str, StorageError] = {}
        count = 0
        coming = iter(keys_of(keys))
        while batch := list(islice(coming, _BATCH)):
            count += len(batch)
            folders: dict[bytes, dict[str, bytes]] = {}
            for key in batch:
                try:
                    above, _, name = self._naming.path(key).rpartition(b"/")
                    folders.setdefault(above, {})[key] = name
                except StorageError as exc:
                    failed[key] = exc
            for above, names in folders.items():
                try:
                    results = self._delete_in(above, list(names.values()), None)
                except StorageError as exc:
                    failed.update((key, copy(exc)) for key in names)
                    continue
                for key, result in zip(names, results, strict=True):
                    if isinstance(result, StorageError):
                        failed[key] = result
        for key, err in failed.items():
            err.at(key=key, operation="delete", storage=self.url)
        return outcome(failed, count, errors, self.url)

    def _delete_in(
        self, folder: bytes, names: list[bytes], etag: str | None
    ) -> list[bool | StorageError]:
        """For each file of the directory whether it was there to be deleted, or its error."""
        while True:
            try:
                root = self._root or self._enter()
            except FileNotFoundError:
                return [False] * len(names)
            except OSError as exc:
                raise read_error(exc) from exc
            found = delete_in(root, folder, names, etag=etag, durable=self._durable)
            try:
                if True in found or not root.removed():
                    return found
            except OSError as exc:
                raise read_error(exc) from exc
            self._leave(root)

    # -- copying, moving -------------------------------------------------------

    def _copy_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        try:
            path = self._naming.path(dst)
            fd = self._source(src)
            try:
                if create:
                    self._check_free(path)
                root, temporary = self._temporary(self._durable)
                try:
                    about = self._copy_content(fd, temporary)
                    return self._commit(
                        root, temporary, dst, path, about, create, None, self._durable, None
                    )
                except BaseException:
                    temporary.discard()
                    raise
            finally:
                ops.let_go(fd)
        except StorageError as exc:
            raise exc.at(key=src, operation="copy", storage=self.url)

    def _copy_content(self, fd: int, temporary: Temporary) -> bytes | None:
        try:
            found = ops.fstat(fd)
            copy_bytes(fd, temporary, found.st_size)
            return None if without_metadata(found) else meta.read_raw(fd)
        except StorageError:
            raise
        except OSError as exc:
            raise write_error(exc) from exc

    def _source(self, key: str) -> int:
        """An open object to copy or move; `ErrNotExist`."""
        try:
            fd = self._open(self._naming.path(key))
            try:
                if not regular(ops.fstat(fd)):
                    raise no_object()
            except BaseException:
                ops.let_go(fd)
                raise
        except StorageError:
            raise
        except OSError as exc:
            raise read_error(exc) from exc
        return fd

    def _move_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        try:
            while True:
                result = self._move(src, dst, create)
                if result is not None:
                    return result
        except StorageError as exc:
            raise exc.at(key=src, operation="move", storage=self.url)

    def _move(self, src: str, dst: str, create: bool) -> PutResult | None:
        """One attempt; None if the source or a directory changed meanwhile."""
        fd = self._source(src)
        try:
            # It may have been put without: moved durably, it must be on disk.
            if self._durable:
                ops.fsync(fd)
            version = ops.fstat(fd)
            root = self._writing(self._durable)
            src_above, _, src_name = self._naming.path(src).rpartition(b"/")
            dst_above, _, dst_name = self._naming.path(dst).rpartition(b"/")
            src_dir = open_beneath(root.fd, src_above or b".", DIRECTORY)
        except StorageError:
            raise
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise write_error(exc) from exc
        finally:
            ops.let_go(fd)
        dst_dir = -1
        try:
            dst_dir = tree.make_directory(root.fd, dst_above)
            if self._durable and not root.holds(dst_above, dst_dir):
                # The name must not move to where nothing on disk leads yet.
                root.sync(dst_above, ops.dup(dst_dir))
            taken = locks.lock_both(src_dir, dst_dir)
            try:
                found = ops.stat(src_name, dir_fd=src_dir, follow_symlinks=False)
                if (found.st_ino, found.st_mtime_ns) != (version.st_ino, version.st_mtime_ns):
                    return None
                _cancel.check()
                move = ops.rename_exclusive if create else ops.rename
                move(src_name, dst_name, src_dir_fd=src_dir, dst_dir_fd=dst_dir)
            finally:
                for locked in taken:
                    locks.unlock(locked)
            entered, dst_dir = dst_dir, -1
            self._settle(root, dst_above, entered, self._durable)
            if self._durable:
                left, src_dir = src_dir, -1
                self._settle_source(root, src_above, left)
        except StorageError:
            raise
        except FileNotFoundError:
            return None
        except (IsADirectoryError, FileExistsError) as exc:
            make_way(dst_dir, dst_name, exc)
            return None
        except OSError as exc:
            raise write_error(exc) from exc
        finally:
            if src_dir >= 0:
                ops.let_go(src_dir)
            if dst_dir >= 0:
                ops.let_go(dst_dir)
        root.prune(src_above)
        return PutResult(
            dst, found.st_size, etag_of(found.st_mtime_ns, found.st_ino, found.st_size)
        )

    def _settle_source(self, root: Root, path: bytes, fd: int) -> None:
        try:
            root.sync(path, fd)
        except OSError as exc:
            raise ErrDurabilityUnknown(
                "it was moved, but the source's directory could not be synced", errno=exc.errno
            ) from exc


def _fill(
    temporary: Temporary, source: Source, deadline: float | None, timeout: float | None
) -> None:
    """All of the source's bytes; its own errors pass as they are."""
    while piece := source.read(_CHUNK):
        temporary.write(piece)
        if deadline is not None and time.monotonic() > deadline:
            raise ErrTimeout(f"the data took longer than {timeout} s")
