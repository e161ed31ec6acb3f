"""The logs of asynchronous stores; see `objectstorage.logs`."""

from objectstorage.logs._async.hub import AsyncLogFollower, AsyncLogHub
from objectstorage.logs._async.reader import AsyncLogReader
from objectstorage.logs._async.upkeep import archive, clean, delete
from objectstorage.logs._async.writer import AsyncLogWriter, finish
from objectstorage.logs.layout import LogInfo

__all__ = [
    "AsyncLogFollower",
    "AsyncLogHub",
    "AsyncLogReader",
    "AsyncLogWriter",
    "LogInfo",
    "archive",
    "clean",
    "delete",
    "finish",
]
