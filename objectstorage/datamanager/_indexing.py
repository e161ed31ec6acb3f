"""What the read index does within one SQL transaction; the same for both faces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from objectstorage.datamanager._sql.database import Transaction
from objectstorage.datamanager.model import Action, Commit, Entry, Put

__all__ = ["Apply", "Place", "Tables"]

Apply: TypeAlias = Callable[[Transaction, Action], object]


class Place(NamedTuple):
    """What the tables hold the state of: a sequence, by the id of its commit, of a store."""

    store_id: str | None
    schema: str
    seq: int
    commit_id: str


class Tables:
    """A user's tables and how they follow from the entries."""

    def __init__(self, statements: Sequence[str], apply: Apply, version: int | str) -> None:
        self._statements = tuple(statements)
        self._apply = apply
        text = "\0".join((*self._statements, str(version)))
        self.schema = hashlib.sha256(text.encode()).hexdigest()
        """Another one means other tables."""

    def place(self, tx: Transaction) -> Place | None:
        """Where the tables are; None if they were never made."""
        if tx.query_one("SELECT 1 FROM sqlite_schema WHERE name = 'objectstorage_index'") is None:
            return None
        row = tx.query_one("SELECT store_id, schema, seq, commit_id FROM objectstorage_index")
        return None if row is None else Place(*row)

    def advance(self, tx: Transaction, store_id: str | None, commit: Commit) -> bool:
        """Take in a commit; False if the tables are not where it goes on from.

        One that they have already is passed over: another process was faster.
        """
        place = self.place(tx)
        if place is None or (place.store_id, place.schema) != (store_id, self.schema):
            return False
        if place.seq != commit.seq - 1:
            return place.seq >= commit.seq
        for action in commit.actions:
            self._apply(tx, action)
        tx.execute("UPDATE objectstorage_index SET seq = ?, commit_id = ?", [commit.seq, commit.id])
        return True

    def rebuild(
        self,
        tx: Transaction,
        pages: Iterator[Iterable[Entry]],
        *,
        seen: Place | None,
        place: Place,
    ) -> bool:
        """Make the tables anew from all entries; False if they are not as `seen` any more."""
        if self.place(tx) != seen:
            return False
        _drop_all(tx)
        for statement in self._statements:
            tx.execute(statement)
        for page in pages:
            for entry in page:
                self._apply(tx, Put(entry.type, entry.id, entry.data))
        tx.execute(
            "CREATE TABLE objectstorage_index"
            " (store_id TEXT, schema TEXT, seq INTEGER, commit_id TEXT)"
        )
        tx.execute("INSERT INTO objectstorage_index VALUES (?, ?, ?, ?)", place)
        return True


def _drop_all(tx: Transaction) -> None:
    """All tables and views; indexes and triggers go with them."""
    # tables that refer to each other go in any order, as long as all go
    tx.execute("PRAGMA defer_foreign_keys = ON")
    listed = (
        "SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'view')"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        # a virtual table takes its shadow tables with it
        " ORDER BY sql LIKE 'CREATE VIRTUAL TABLE%' DESC, type DESC"
    )
    while found := tx.query_one(listed + " LIMIT 1"):
        kind, name = found
        quoted = name.replace('"', '""')
        tx.execute(f'DROP {kind} "{quoted}"')
