"""Where the services keep what in a store: a prefix for each layer.

state/            the data manager's: runs and tasks
configurations/   a run's configuration: an object a run, created only
executors/        an object an executor; its age says when the executor was last heard of
logs/, caches/    written by executors, served by run services
"""

from __future__ import annotations

from objectstorage.aio.storage import AsyncStorage
from objectstorage.caches.aio import AsyncCacheStore
from objectstorage.datamanager.aio import AsyncDataManager
from objectstorage.wrappers.aio import AsyncPrefixStorage

__all__ = ["caches_in", "configurations_in", "data_in", "executors_in", "logs_in"]


def data_in(store: AsyncStorage) -> AsyncDataManager:
    """The runs and tasks."""
    return AsyncDataManager(AsyncPrefixStorage(store, "state/"))


def configurations_in(store: AsyncStorage) -> AsyncStorage:
    """The runs' configurations."""
    return AsyncPrefixStorage(store, "configurations/")


def executors_in(store: AsyncStorage) -> AsyncStorage:
    """The executors' heartbeats."""
    return AsyncPrefixStorage(store, "executors/")


def logs_in(store: AsyncStorage) -> AsyncStorage:
    """The tasks' logs."""
    return AsyncPrefixStorage(store, "logs/")


def caches_in(store: AsyncStorage) -> AsyncCacheStore:
    """The caches."""
    return AsyncCacheStore(AsyncPrefixStorage(store, "caches/"))
