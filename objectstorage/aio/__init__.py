"""The asynchronous face: the names of `objectstorage`, as coroutines.

>>> import asyncio
>>> from objectstorage import aio
>>> async def main():
...     async with aio.open_storage("memory://") as store:
...         await store.put("a", b"hello")
...         return [info.key async for info in store.list()], await store.get("a")
>>> asyncio.run(main())
(['a'], b'hello')
"""

from objectstorage.aio.opening import open_storage
from objectstorage.aio.storage import AsyncReader, AsyncStorage, AsyncWriter
from objectstorage.aio.transfer import copy

__all__ = ["AsyncReader", "AsyncStorage", "AsyncWriter", "copy", "open_storage"]
