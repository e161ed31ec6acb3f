"""The read index: SQL over what the data manager holds.

>>> import os, tempfile
>>> from objectstorage import open_storage
>>> from objectstorage.datamanager import DataManager, Delete, Put
>>> from objectstorage.datamanager.index import ReadIndex
>>> data = DataManager(open_storage("memory://"))
>>> folder = tempfile.TemporaryDirectory()
>>> def apply(tx, action):
...     if isinstance(action, Put):
...         tx.execute("REPLACE INTO users VALUES (?, ?)", [action.id, action.data.decode()])
...     else:
...         tx.execute("DELETE FROM users WHERE id = ?", [action.id])
>>> tables = ["CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT)"]
>>> with ReadIndex(data, os.path.join(folder.name, "index.db"), tables, apply) as index:
...     commit = data.write([Put("user", "1", b"Ada"), Put("user", "2", b"Grace")])
...     index.wait_for(commit.seq)
...     index.do(lambda tx: tx.query_one("SELECT id FROM users WHERE name = 'Grace'"))
('2',)
>>> folder.cleanup()

`follow` keeps it current. `AsyncReadIndex` is the same over `AsyncDataManager`.
"""

from objectstorage.datamanager._async.index import AsyncReadIndex
from objectstorage.datamanager._indexing import Apply
from objectstorage.datamanager._sql.database import Transaction
from objectstorage.datamanager._sync.index import ReadIndex

__all__ = ["Apply", "AsyncReadIndex", "ReadIndex", "Transaction"]
