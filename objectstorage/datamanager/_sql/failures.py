"""What SQLite's errors mean here; the one table of it."""

from __future__ import annotations

import errno
import os
import sqlite3
from typing import Any

from objectstorage.errors import (
    ErrBackend,
    ErrBadRequest,
    ErrConflict,
    ErrExist,
    ErrIntegrity,
    ErrIO,
    ErrNotExist,
    ErrOutcomeUnknown,
    ErrPermission,
    ErrUnavailable,
    StorageError,
)

__all__ = ["FAILURES", "error_of", "is_busy", "is_interrupt"]

FAILURES = (sqlite3.Error, OverflowError, UnicodeError)
"""What the `sqlite3` module raises, also for a number or a string that SQLite can't hold."""

_TAKEN = (
    sqlite3.SQLITE_CONSTRAINT_UNIQUE,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_ROWID,
)
_DENIED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)


def _code(exc: BaseException) -> int:
    return getattr(exc, "sqlite_errorcode", -1)


def is_busy(exc: BaseException) -> bool:
    """Whether another connection was in the way; the same again may work."""
    return _code(exc) & 0xFF == sqlite3.SQLITE_BUSY


def is_interrupt(exc: BaseException) -> bool:
    """Whether a statement was stopped from outside."""
    return _code(exc) & 0xFF == sqlite3.SQLITE_INTERRUPT


def error_of(exc: Exception, path: str, *, committing: bool = False) -> StorageError:
    """The error of one of `FAILURES` on the database at `path`."""
    extended = _code(exc)
    where: dict[str, Any] = {"code": getattr(exc, "sqlite_errorname", None)}
    code, text = extended & 0xFF, str(exc)
    if extended < 0:
        # found by the sqlite3 module itself, before SQLite was asked
        return ErrBadRequest(text)
    if code == sqlite3.SQLITE_BUSY:
        return ErrUnavailable(text, **where)
    if code == sqlite3.SQLITE_CONSTRAINT:
        return (ErrExist if extended in _TAKEN else ErrConflict)(text, **where)
    if code == sqlite3.SQLITE_FULL:
        return ErrIO(text, errno=errno.ENOSPC, **where)
    if code == sqlite3.SQLITE_IOERR:
        if committing and extended == sqlite3.SQLITE_IOERR_FSYNC:
            # the commit is written, and may yet be found when the file is next recovered
            return ErrOutcomeUnknown(f"the commit may or may not be on disk: {text}", **where)
        return ErrIO(text, **where)
    if code in _BROKEN:
        return ErrIntegrity(text, **where)
    if code in _DENIED:
        return ErrPermission(text, **where)
    if code == sqlite3.SQLITE_CANTOPEN:
        return _not_opened(text, path, where)
    return ErrBackend(text, **where)


def _not_opened(text: str, path: str, where: dict[str, Any]) -> StorageError:
    # By looking, not by opening: to close any descriptor of a database drops
    # the locks that this process has on it.
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return ErrNotExist(f"there is no folder {folder!r}", **where)
    needed = path if os.path.exists(path) else folder
    if not os.access(needed, os.R_OK | os.W_OK):
        return ErrPermission(f"{needed!r} can't be read and written", **where)
    return ErrIO(text, **where)
