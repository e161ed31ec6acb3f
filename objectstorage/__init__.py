"""One small, exact interface to object storage: directories, S3, MinIO, memory.

>>> import objectstorage
>>> store = objectstorage.open_storage("memory://")
>>> store.put("logs/1", b"hello").size
5
>>> try:
...     store.get("logs/2")
... except objectstorage.ErrNotExist as err:
...     print(objectstorage.is_err_not_exist(err), err.key)
True logs/2
"""

from objectstorage import errors
from objectstorage.errors import *  # noqa: F403  # errors.__all__ is the public tree
from objectstorage.storage import (
    UNSET,
    Capabilities,
    Conditions,
    Fetched,
    ObjectInfo,
    Prefix,
    PutResult,
    Reader,
    Storage,
    Upload,
    Writer,
)
from objectstorage.transfer import copy
from objectstorage.urls import open_storage

__version__ = "0.1.0"

__all__ = [
    "UNSET",
    "Capabilities",
    "Conditions",
    "Fetched",
    "ObjectInfo",
    "Prefix",
    "PutResult",
    "Reader",
    "Storage",
    "Upload",
    "Writer",
    "copy",
    "errors",
    "open_storage",
    *(name for name in errors.__all__ if name not in ("is_", "as_")),
]
