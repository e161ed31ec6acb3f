"""The data manager of asynchronous stores; see `objectstorage.datamanager`."""

from objectstorage.datamanager._async.manager import AsyncDataManager
from objectstorage.datamanager._async.snapshot import AsyncSnapshot

__all__ = ["AsyncDataManager", "AsyncSnapshot"]
