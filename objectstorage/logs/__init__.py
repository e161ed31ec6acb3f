"""Logs: appended while a task runs, followed meanwhile from any machine that sees the store.

    LogWriter(store, name)       writes one; what is flushed is seen by readers
    LogReader(store, name)       reads and follows it, across its archiving
    LogHub(store)                follows for many in one process, looking once
    finish, archive, delete, clean

`objectstorage.logs.aio` has the same for asynchronous stores.

>>> from objectstorage import open_storage
>>> from objectstorage.logs import LogReader, LogWriter, archive
>>> store = open_storage("memory://")
>>> with LogWriter(store, "run/1/step/2") as log:
...     _ = log.write(b"hello\\n")
>>> archive(store, "run/1/step/2").size
6
>>> b"".join(LogReader(store, "run/1/step/2").follow(offset=1))
b'ello\\n'
"""

from objectstorage.logs._sync.hub import LogFollower, LogHub
from objectstorage.logs._sync.reader import LogReader
from objectstorage.logs._sync.upkeep import archive, clean, delete
from objectstorage.logs._sync.writer import LogWriter, finish
from objectstorage.logs.layout import LogInfo

__all__ = [
    "LogFollower",
    "LogHub",
    "LogInfo",
    "LogReader",
    "LogWriter",
    "archive",
    "clean",
    "delete",
    "finish",
]
