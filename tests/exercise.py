"""Everything a store can do, over and over: what is left of it in the process?

As a program, for a process that does nothing else; options on stdin as JSON:

    python tests/exercise.py sync|async URL OPERATIONS
"""

from __future__ import annotations

import gc
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from objectstorage import aio, open_storage
from objectstorage.errors import StorageError
from objectstorage.storage import Storage
from objectstorage.testing.blocking import BlockingStorage


def round_of(store: Storage, key: str) -> Iterator[Callable[[], object]]:
    """A round of operations below `key`: all that exist, done well, badly and by halves."""
    data = key.encode() * 100

    def half_written() -> None:
        writer = store.writer(f"{key}/half")
        writer.write(data)
        writer.abort()

    def half_read() -> None:
        with store.open(f"{key}/a") as reader:
            reader.read(10)
        stream = store.stream(f"{key}/a", chunk_size=64)
        next(stream)
        stream.close()  # type: ignore[attr-defined]  # a generator

    def failing() -> Iterator[bytes]:
        yield data
        raise ValueError("the source breaks")

    yield lambda: store.put(f"{key}/a", data, metadata={"k": "v"})
    yield lambda: store.get(f"{key}/a")
    yield lambda: store.fetch(f"{key}/a", start=5)
    yield lambda: store.get_range(f"{key}/a", start=1, length=3)
    yield lambda: store.get_ranges(f"{key}/a", starts=[0, 30], lengths=[5, 5])
    yield lambda: store.stat(f"{key}/a")
    yield lambda: store.exists(f"{key}/none")
    yield lambda: store.get(f"{key}/none")
    yield lambda: store.get("//")
    yield lambda: store.put(f"{key}/b", io.BytesIO(data), size=len(data))
    yield lambda: store.put(f"{key}/b", io.BytesIO(data), size=len(data) + 1)
    yield lambda: store.put(f"{key}/b", failing())
    yield half_written
    yield half_read
    yield lambda: store.put(f"{key}/a", data, create=True)
    yield lambda: store.put(f"{key}/a", data, if_match="none")
    yield lambda: store.copy(f"{key}/a", f"{key}/c")
    yield lambda: store.move(f"{key}/c", f"{key}/d")
    yield lambda: [info.key for info in store.list(key)]
    yield lambda: next(iter(store.list(key)))
    yield lambda: [entry.key for entry in store.list_level(f"{key}/")]
    yield lambda: store.delete(f"{key}/none")
    yield lambda: store.delete(f"{key}/a", if_match="none")
    yield lambda: store.delete_many([f"{key}/{name}" for name in "abcd"])


def exercise(store: Storage, count: int) -> int:
    """`count` operations and a few more to end the round; how many failed, as some should."""
    done = failed = 0
    while done < count:
        for operation in round_of(store, f"exercise/{done % 7}"):
            try:
                operation()
            except (StorageError, ValueError):
                failed += 1
            done += 1
    return failed


def held() -> dict[str, int]:
    """What this process holds: descriptors, threads, blocks of memory, KiB of it."""
    for _ in range(3):
        gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "blocks": sys.getallocatedblocks(),
        "KiB": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    }


def main(face: str, url: str, count: str) -> dict[str, Any]:
    """Two measurements, with so many operations between them, and one after closing."""
    before = held()
    options = json.load(sys.stdin)
    store = (
        open_storage(url, **options)
        if face == "sync"
        else BlockingStorage(lambda: aio.open_storage(url, **options))
    )
    exercise(store, 1500)  # whatever is made once and kept
    first = held()
    failed = exercise(store, int(count))
    second = held()
    store.close()
    del store
    return {"before": before, "first": first, "second": second, "end": held(), "failed": failed}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
