"""A database's connections: one that writes, a few that read, each used by one thread at a time."""

from __future__ import annotations

import os
import sqlite3
import threading

from objectstorage import _fork
from objectstorage.errors import ErrBadRequest, ErrClosed, ErrUnsupported

__all__ = ["Link", "Pool"]

# Keeps what a large transaction made of the log from staying on disk; bytes.
_LOG_LIMIT = 64 * 1024 * 1024


class Link:
    """A connection that is opened when it is first needed, and again after it failed."""

    def __init__(self, path: str, *, writes: bool, durable: bool) -> None:
        self._path = path
        self._durable = durable
        self.writes = writes
        self.pid = os.getpid()
        self.connection: sqlite3.Connection | None = None

    def open(self) -> sqlite3.Connection:
        """The connection; raises what `sqlite3` does."""
        if self.connection is None:
            # No implicit BEGIN, and no waiting within SQLite, which knows no deadline.
            connection = sqlite3.connect(
                self._path, timeout=0, isolation_level=None, check_same_thread=False
            )
            try:
                self._set_up(connection)
            except BaseException:
                connection.close()
                raise
            self.connection = connection
        return self.connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise ErrUnsupported(f"no write-ahead log there: SQLite stays with {mode!r}")
        for setting in (
            f"synchronous={'FULL' if self._durable else 'NORMAL'}",
            f"journal_size_limit={_LOG_LIMIT}",
            "foreign_keys=ON",
            f"query_only={'OFF' if self.writes else 'ON'}",
        ):
            connection.execute(f"PRAGMA {setting}").close()

    def close(self) -> None:
        """Close the connection; it is opened anew when it is next needed."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def forget(self) -> None:
        """In a forked child: never touch the parent's connection, not even to close it.

        SQLite's closing may reset the log that the parent writes to.
        """
        if self.connection is not None:
            import ctypes

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.connection))
            self.connection = None


class Pool:
    """One link for writing and `readers` for reading."""

    def __init__(self, path: str, *, readers: int, durable: bool) -> None:
        self._path = path
        self._readers = readers
        self._durable = durable
        self._closed = False
        self._links: list[Link] = []
        self._after_fork()
        _fork.register(self)

    def _after_fork(self) -> None:
        for link in self._links:
            link.forget()
        self._changed = threading.Condition()
        self._links = [
            Link(self._path, writes=number == 0, durable=self._durable)
            for number in range(1 + self._readers)
        ]
        self._idle = list(self._links)
        self._threads: dict[Link, int] = {}

    def take(self, *, writes: bool, left: float | None) -> Link | None:
        """A link to use and give back, waited for at most `left` seconds; None if in vain."""
        with self._changed:
            self._check(writes)
            while (link := self._free(writes)) is None:
                if not self._changed.wait_for(lambda: self._free(writes) or self._closed, left):
                    return None
                if self._closed:
                    raise ErrClosed("the database is closed")
            self._idle.remove(link)
            self._threads[link] = threading.get_ident()
            return link

    def _check(self, writes: bool) -> None:
        if self._closed:
            raise ErrClosed("the database is closed")
        mine = threading.get_ident()
        if writes and any(link.writes and at == mine for link, at in self._threads.items()):
            raise ErrBadRequest("a transaction that writes is under way in this thread")

    def _free(self, writes: bool) -> Link | None:
        # the last one that came back: its pages are the warmest
        for link in reversed(self._idle):
            if link.writes == writes:
                return link
        return None

    def give_back(self, link: Link) -> None:
        """Let others use it; one of the process before a fork is of no use."""
        if link.pid == os.getpid():
            with self._changed:
                del self._threads[link]
                self._idle.append(link)
                self._changed.notify_all()

    def close(self) -> None:
        """Wait for what is under way, then close; once is enough."""
        with self._changed:
            if threading.get_ident() in self._threads.values():
                raise ErrBadRequest("a database can't be closed by a transaction on it")
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._threads)
            for link in self._links:
                link.close()
