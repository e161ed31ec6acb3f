"""A store around a store: each adds one thing and forwards the rest.

    PrefixStorage(store, "logs/")              what lies below a prefix
    ReadOnlyStorage(store)                     refuses every write
    CachingStorage(store, cache, max_bytes=n)  reads through a nearer store
    LimitedStorage(store, concurrency=8)       so much at once, so many bytes a second
    ObservedStorage(store, hook)               tells a hook of every operation
    DryRunStorage(store)                       says what it would do

They nest, and close what they wrap. `objectstorage.wrappers.aio` has the same
for asynchronous stores.

>>> from objectstorage import open_storage
>>> from objectstorage.wrappers import PrefixStorage, ReadOnlyStorage
>>> store = open_storage("memory://")
>>> logs = PrefixStorage(store, "logs/")
>>> logs.put("1", b"hello").key, store.get("logs/1")
('1', b'hello')
>>> try:
...     ReadOnlyStorage(logs).delete("1")
... except PermissionError as err:
...     print(err)
delete '1' in memory:// below 'logs/': this store is for reading only
"""

from objectstorage.wrappers._sync.cache import CachingStorage
from objectstorage.wrappers._sync.dry_run import DryRunStorage
from objectstorage.wrappers._sync.forwarding import ForwardingStorage
from objectstorage.wrappers._sync.limit import LimitedStorage
from objectstorage.wrappers._sync.observe import ObservedStorage
from objectstorage.wrappers._sync.prefix import PrefixStorage
from objectstorage.wrappers._sync.readonly import ReadOnlyStorage
from objectstorage.wrappers.action import Action
from objectstorage.wrappers.event import Event

__all__ = [
    "Action",
    "CachingStorage",
    "DryRunStorage",
    "Event",
    "ForwardingStorage",
    "LimitedStorage",
    "ObservedStorage",
    "PrefixStorage",
    "ReadOnlyStorage",
]
