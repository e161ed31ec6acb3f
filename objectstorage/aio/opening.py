"""From a URL and options to an asynchronous store."""

from __future__ import annotations

from typing import Any

from objectstorage.aio.storage import AsyncStorage
from objectstorage.urls import open_storage as open_sync
from objectstorage.urls import split_url

__all__ = ["open_storage"]


def open_storage(url: str, **options: Any) -> AsyncStorage:
    """The store that `url` names, as `objectstorage.open_storage` has it; no I/O.

    S3 is spoken on the event loop; other stores hop into threads.
    """
    scheme = split_url(url, options)[0]
    store = open_sync(url, **options)
    if scheme == "s3":
        from objectstorage.aio.s3 import AsyncS3Storage
        from objectstorage.s3 import S3Storage

        assert isinstance(store, S3Storage)  # what the scheme stands for
        return AsyncS3Storage(store)
    from objectstorage.aio.local import ThreadedStorage

    return ThreadedStorage(store)
