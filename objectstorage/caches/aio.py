"""The caches of asynchronous stores; see `objectstorage.caches`."""

from objectstorage.caches._async.store import AsyncCacheStore, AsyncRestored
from objectstorage.caches.layout import CacheInfo

__all__ = ["AsyncCacheStore", "AsyncRestored", "CacheInfo"]
