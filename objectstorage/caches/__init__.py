"""Caches: saved by key, restored by key or newest with a prefix, in groups.

    CacheStore(store).save(group, key, data)
    CacheStore(store).restore(group, key)             exactly that one
    CacheStore(store).restore(group, prefix="npm-")   the newest of those
    CacheStore(store).clean(unused_for=timedelta(days=7))

A group is what shares caches: a project's runs, several projects, one user's
direct runs. `objectstorage.caches.aio` has the same for asynchronous stores.

>>> from objectstorage import open_storage
>>> from objectstorage.caches import CacheStore
>>> caches = CacheStore(open_storage("memory://"))
>>> caches.save("project/1", "npm-1", b"modules").size
7
>>> caches.save("project/1", "npm-2", b"newer modules").key
'npm-2'
>>> info, reader = caches.restore("project/1", prefix="npm-")
>>> with reader:
...     print(info.key, reader.read())
npm-2 b'newer modules'
"""

from objectstorage.caches._sync.store import CacheStore, Restored
from objectstorage.caches.layout import CacheInfo

__all__ = ["CacheInfo", "CacheStore", "Restored"]
