"""Transactional documents on any `Storage`, with no coordinator but the store.

>>> from objectstorage import open_storage
>>> from objectstorage.datamanager import DataManager, Put
>>> data = DataManager(open_storage("memory://"))
>>> data.write([Put("user", "1", b"Ada")], groups=["user/1"]).seq
1
>>> token = data.head()
>>> data.write([Put("user", "1", b"Ada L.")], groups=["user/1"], token=token).seq
2
>>> data.read("user", "1").data
b'Ada L.'

`objectstorage.datamanager.aio` has the same for asynchronous stores.
"""

from objectstorage.datamanager._sync.manager import DataManager
from objectstorage.datamanager._sync.snapshot import Snapshot
from objectstorage.datamanager.limits import Limits
from objectstorage.datamanager.model import (
    Action,
    Collected,
    Commit,
    DataStatus,
    Delete,
    Entry,
    Problem,
    Put,
    Report,
)

__all__ = [
    "Action",
    "Collected",
    "Commit",
    "DataManager",
    "DataStatus",
    "Delete",
    "Entry",
    "Limits",
    "Problem",
    "Put",
    "Report",
    "Snapshot",
]
