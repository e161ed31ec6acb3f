"""The wrappers of asynchronous stores; see `objectstorage.wrappers`."""

from objectstorage.wrappers._async.cache import AsyncCachingStorage
from objectstorage.wrappers._async.dry_run import AsyncDryRunStorage
from objectstorage.wrappers._async.forwarding import AsyncForwardingStorage
from objectstorage.wrappers._async.limit import AsyncLimitedStorage
from objectstorage.wrappers._async.observe import AsyncObservedStorage
from objectstorage.wrappers._async.prefix import AsyncPrefixStorage
from objectstorage.wrappers._async.readonly import AsyncReadOnlyStorage

__all__ = [
    "AsyncCachingStorage",
    "AsyncDryRunStorage",
    "AsyncForwardingStorage",
    "AsyncLimitedStorage",
    "AsyncObservedStorage",
    "AsyncPrefixStorage",
    "AsyncReadOnlyStorage",
]
