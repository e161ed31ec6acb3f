"""Transactions on an SQLite database, each a function that is given one."""

from __future__ import annotations

import os
import random
import re
import sqlite3
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Self, TypeAlias, TypeVar

from objectstorage._plans import placed
from objectstorage.datamanager._sql.control import Control
from objectstorage.datamanager._sql.failures import FAILURES, error_of, is_busy, is_interrupt
from objectstorage.datamanager._sql.pool import Link, Pool
from objectstorage.errors import (
    ErrBadRequest,
    ErrClosed,
    ErrIntegrity,
    ErrIO,
    ErrOutcomeUnknown,
    ErrTimeout,
    ErrUnavailable,
    ErrUnsupported,
    StorageError,
)

__all__ = ["Database", "Parameters", "Row", "Transaction"]

_T = TypeVar("_T")
_I = TypeVar("_I")
Row: TypeAlias = tuple[Any, ...]
Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]

# Steps of SQLite's virtual machine, about 2 ms of them, after which it asks
# whether to go on.
_STEPS = 50_000
_LONGEST_PAUSE = 0.05
_ENDS = re.compile(
    r"\s*(?:BEGIN|COMMIT|END|ROLLBACK(?!\s+(?:TRANSACTION\s+)?TO\b))\b", re.IGNORECASE
)


class Transaction:
    """What `fn` is given: statements of one transaction, until `fn` returns.

    Every statement ends with an error once the transaction's deadline has
    passed or its task is cancelled, in the middle if need be; such a
    transaction is never committed.
    """

    def __init__(self, link: Link, control: Control, path: str) -> None:
        self._link = link
        self._control = control
        self._path = path
        self._open: set[sqlite3.Cursor] = set()
        self._ended = False
        self._busy: Exception | None = None
        self._broken = False

    @property
    def seconds_left(self) -> float | None:
        """How long until the deadline; None if there is none."""
        return self._control.left

    def check(self) -> None:
        """Raise if the deadline has passed or the task was cancelled; for long work in between."""
        self._control.check()

    def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one statement; the number of rows it changed."""
        cursor = self._cursor(sql)
        try:
            cursor.execute(sql, parameters)
            return max(cursor.rowcount, 0)
        except FAILURES as exc:
            raise self._error(exc) from exc
        finally:
            cursor.close()

    def execute_many(self, sql: str, rows: Iterable[Parameters]) -> int:
        """Run one statement for each of `rows`; the number of rows changed."""
        cursor = self._cursor(sql)
        try:
            cursor.executemany(sql, rows)
            return max(cursor.rowcount, 0)
        except FAILURES as exc:
            raise self._error(exc) from exc
        finally:
            cursor.close()

    def query(self, sql: str, parameters: Parameters = ()) -> Iterator[Row]:
        """Run one statement; its rows, brought as they are asked for."""
        cursor = self._cursor(sql)
        try:
            cursor.execute(sql, parameters)
        except FAILURES as exc:
            cursor.close()
            raise self._error(exc) from exc
        except BaseException:
            cursor.close()
            raise
        self._open.add(cursor)
        return self._rows(cursor)

    def query_one(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """The first row of one statement, or None."""
        cursor = self._cursor(sql)
        try:
            row: Row | None = cursor.execute(sql, parameters).fetchone()
            return row
        except FAILURES as exc:
            raise self._error(exc) from exc
        finally:
            cursor.close()

    def _rows(self, cursor: sqlite3.Cursor) -> Iterator[Row]:
        try:
            while True:
                self._check_usable()
                try:
                    row: Row | None = cursor.fetchone()
                except FAILURES as exc:
                    raise self._error(exc) from exc
                if row is None:
                    return
                yield row
        finally:
            if not self._ended:
                self._open.discard(cursor)
                cursor.close()

    def _cursor(self, sql: str) -> sqlite3.Cursor:
        self._check_usable()
        self._control.check()
        if _ENDS.match(sql):
            raise self._control.place(
                ErrBadRequest(f"fn ends it by returning or raising, not by {sql!r}")
            )
        return self._connection.cursor()

    def _check_usable(self) -> None:
        if self._ended or self._link.pid != os.getpid():
            reason = "the transaction has ended"
        elif not self._connection.in_transaction:
            # the next statement would be one of its own
            reason = "SQLite undid the transaction when a statement failed"
        else:
            return
        raise self._control.place(ErrClosed(reason))

    def _error(self, exc: Exception, *, committing: bool = False) -> StorageError:
        """The error for one of `FAILURES`; raises what interrupted a statement."""
        if is_busy(exc):
            self._busy = exc
        if is_interrupt(exc):
            self._control.check()
        error = error_of(exc, self._path, committing=committing)
        self._broken |= isinstance(error, ErrIO | ErrIntegrity | ErrOutcomeUnknown)
        return self._control.place(error)

    def _begin(self) -> None:
        try:
            self._connection = self._link.open()
            watch = self._control.watch()
            next(watch)
            self._connection.set_progress_handler(watch.__next__, _STEPS)
            self._control.works_on(self._connection)
            # A reader that began as such could not become a writer when it must.
            self._connection.execute("BEGIN IMMEDIATE" if self._link.writes else "BEGIN").close()
        except FAILURES as exc:
            raise self._error(exc) from exc
        except ErrUnsupported as exc:
            raise self._control.place(exc)

    def _commit(self) -> None:
        self._check_usable()
        self._control.check()
        if self._busy is not None:
            raise self._busy  # `fn` passed over it
        self._close_cursors()  # an open one would keep the file's old state alive
        try:
            self._connection.commit()
        except FAILURES as exc:
            raise self._error(exc, committing=True) from exc

    def _end(self) -> None:
        """Whatever happened: nothing of the transaction is left on the connection."""
        self._ended = True
        self._control.works_on(None)
        connection = self._link.connection
        if connection is None or self._link.pid != os.getpid():
            return
        try:
            connection.set_progress_handler(None, 0)
            self._close_cursors()
            connection.rollback()
        except sqlite3.Error:
            self._broken = True
        if self._broken:  # closing undoes it, too; the next one opens the file anew
            self._link.close()

    def _close_cursors(self) -> None:
        while self._open:
            self._open.pop().close()


class Database:
    """The SQLite database in the file `path`, made when it is first used.

    `readers` bounds how many transactions read at once; one at a time writes.
    Without `durable` a power loss may undo the last commits, whole and in order.
    `patience` is how many seconds a transaction without a timeout waits for
    other processes. Threads may share it; after `fork` the child has
    connections of its own.

    It is in write-ahead mode with foreign keys enforced. Errors are this
    package's: `ErrExist` for a unique constraint, `ErrConflict` for any other,
    `ErrIO` for a full disk, `ErrIntegrity` for a file that is damaged,
    `ErrUnavailable` when others held it for too long, `ErrTimeout`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        readers: int = 4,
        durable: bool = True,
        patience: float = 30.0,
    ) -> None:
        if readers < 1:
            raise ErrBadRequest(f"readers is {readers}; it is at least 1")
        self.path = os.path.abspath(os.fspath(path))
        self.url = f"sqlite:{self.path}"
        """What errors say of where they happened."""
        self._patience = patience
        self.options: dict[str, Any] = {
            "readers": readers,
            "durable": durable,
            "patience": patience,
        }
        self._pool = Pool(self.path, readers=readers, durable=durable)

    def do(self, fn: Callable[[Transaction], _T], *, timeout: float | None = None) -> _T:
        """Run `fn` in one transaction that may write; what it returns, once that is committed.

        Any exception undoes it all. When another process is in the way all of
        it is done again, within `timeout` seconds: `fn` may run more than once,
        and should do nothing but its transaction.
        """
        return self._run(fn, Control(timeout, "do", self.url), writes=True)

    def view(self, fn: Callable[[Transaction], _T], *, timeout: float | None = None) -> _T:
        """Run `fn` in one transaction that only reads: one state, beside any that write."""
        return self._run(fn, Control(timeout, "view", self.url), writes=False)

    def fed(
        self,
        fn: Callable[[Transaction, Iterator[_I]], _T],
        items: Callable[[], Iterator[_I]],
        *,
        timeout: float | None = None,
    ) -> _T:
        """`do`, where `fn` takes in what `items()` yields, begun anew whenever `fn` is."""
        return self.do(lambda tx: fn(tx, items()), timeout=timeout)

    def close(self) -> None:
        """Wait for the transactions under way, then close the connections; then `ErrClosed`."""
        with placed(self, "close"):
            self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[..., Database], tuple[str]]:
        return partial(Database, **self.options), (self.path,)

    def _run(self, fn: Callable[[Transaction], _T], control: Control, *, writes: bool) -> _T:
        try:
            link = self._pool.take(writes=writes, left=control.left)
            if link is None:
                raise ErrTimeout("other transactions of this process took too long")
        except StorageError as exc:
            raise control.place(exc)
        try:
            began = time.monotonic()
            tries = 0
            while True:
                control.check()
                try:
                    return self._once(fn, control, link)
                except _Busy as busy:
                    tries += 1
                    self._pause(control, time.monotonic() - began, tries, busy.cause)
        finally:
            self._pool.give_back(link)

    def _once(self, fn: Callable[[Transaction], _T], control: Control, link: Link) -> _T:
        tx = Transaction(link, control, self.path)
        try:
            tx._begin()
            result = fn(tx)
            if isinstance(result, types.CoroutineType):
                result.close()
                raise TypeError("fn is a plain function, also for the asynchronous face")
            tx._commit()
            return result
        except Exception as exc:
            # whatever `fn` made of it
            if tx._busy is not None:
                raise _Busy(tx._busy) from exc
            raise
        finally:
            tx._end()

    def _pause(self, control: Control, waited: float, tries: int, cause: Exception) -> None:
        """Between two tries; full jitter, so that losers do not meet again."""
        message = f"{cause}: others held it for {waited:.1f} s, {tries} tries"
        pause = random.uniform(0, min(0.001 * 2 ** min(tries, 10), _LONGEST_PAUSE))
        if control.left is None:
            if waited > self._patience:
                raise control.place(ErrUnavailable(message)) from cause
        elif control.left <= pause:
            raise control.place(ErrTimeout(message)) from cause
        control.pause(pause)


class _Busy(Exception):
    """Another process was in the way; nothing is done yet."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause
