"""SQLite with transactions as functions: `db.do(fn)`.

The deadline goes with the transaction, so `fn` never passes it on; a statement
that is under way when it passes, or when the task is cancelled, is
interrupted. Any exception undoes the transaction; one that met another
process is done again.

>>> import tempfile, os
>>> folder = tempfile.TemporaryDirectory()
>>> with Database(os.path.join(folder.name, "runs.db")) as db:
...     def add(tx):
...         tx.execute("CREATE TABLE runs (name TEXT PRIMARY KEY, tasks INTEGER NOT NULL)")
...         return tx.execute_many("INSERT INTO runs VALUES (?, ?)", [("a", 1), ("b", 3)])
...     db.do(add, timeout=5)
...     db.view(lambda tx: list(tx.query("SELECT * FROM runs WHERE tasks > ?", [2])))
2
[('b', 3)]
>>> folder.cleanup()

`AsyncDatabase` is the same for asyncio; `fn` stays a plain function.
"""

from objectstorage.datamanager._sql.aio import AsyncDatabase
from objectstorage.datamanager._sql.database import Database, Parameters, Row, Transaction

__all__ = ["AsyncDatabase", "Database", "Parameters", "Row", "Transaction"]
