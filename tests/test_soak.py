"""Everything at once, for a while: all stores, both faces, threads that share and don't."""

from __future__ import annotations

import gc
import os
import random
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import Tried
from long import much

from objectstorage import aio
from objectstorage.aio.local import ThreadedStorage
from objectstorage.errors import ErrExist, ErrNotExist, ErrPreconditionFailed
from objectstorage.memory import MemoryStorage
from objectstorage.posix import PosixStorage
from objectstorage.posixflat import PosixFlatStorage
from objectstorage.storage import Storage
from objectstorage.testing.blocking import BlockingStorage
from objectstorage.testing.servers import S3Server

pytestmark = pytest.mark.faults

SECONDS = much(8.0, 300.0)
# Each worker's own, in folders that others make and prune as well.
KEYS = ("shared/{}", "shared/deep/{}", "shared/t-{}", "{}/own", "shared/deep/é {}+%2F")
COUNTER = "counter"


class Worker:
    """Changes keys that are its own and knows what they must hold; counts a shared one up."""

    def __init__(self, store: Storage, number: int, chance: random.Random) -> None:
        self.store = store
        self.number = number
        self.known: dict[str, bytes] = {}
        self.counted = self.done = 0
        self.failure = ""
        self._keys = [key.format(number) for key in KEYS]
        self._chance = chance

    def run(self, until: float) -> None:
        """Until that moment, or until something is not as it must be."""
        steps: list[Callable[[str, bytes], object]] = [
            *(self.put, self.create, self.replace, self.write, self.remove, self.remove_some),
            *(self.copy, self.move, self.read, self.read, self.look, self.count),
        ]
        try:
            while time.monotonic() < until:
                data = b"%d-%d " % (self.number, self.done) * self._chance.choice([0, 1, 50, 9000])
                self._chance.choice(steps)(self._chance.choice(self._keys), data)
                self.done += 1
        except BaseException:
            self.failure = traceback.format_exc()

    def put(self, key: str, data: bytes) -> None:
        self.store.put(key, data)
        self.known[key] = data

    def create(self, key: str, data: bytes) -> None:
        try:
            self.store.put(key, data, create=True)
            assert key not in self.known
            self.known[key] = data
        except ErrExist:
            assert key in self.known

    def replace(self, key: str, data: bytes) -> None:
        if key in self.known:
            self.store.put(key, data, if_match=self.store.stat(key).etag)
            self.known[key] = data
        else:
            with pytest.raises(ErrPreconditionFailed):
                self.store.put(key, data, if_match="none")

    def write(self, key: str, data: bytes) -> None:
        with self.store.writer(key) as writer:
            writer.write(data[:100])
            writer.write(data[100:])
        self.known[key] = data

    def remove(self, key: str, data: bytes) -> None:
        self.store.delete(key)
        self.known.pop(key, None)

    def remove_some(self, key: str, data: bytes) -> None:
        keys = self._keys[: self._chance.randrange(3)]
        self.store.delete_many(keys)
        for each in keys:
            self.known.pop(each, None)

    def _other(self, key: str) -> str:
        return self._chance.choice([each for each in self._keys if each != key])

    def copy(self, key: str, data: bytes) -> None:
        if key in self.known:
            other = self._other(key)
            self.store.copy(key, other)
            self.known[other] = self.known[key]

    def move(self, key: str, data: bytes) -> None:
        other = self._other(key)
        if key in self.known:
            self.store.move(key, other)
            self.known[other] = self.known.pop(key)
        else:
            with pytest.raises(ErrNotExist):
                self.store.move(key, other)

    def read(self, key: str, data: bytes) -> None:
        if key in self.known:
            expected = self.known[key]
            assert self.store.get(key) == expected
            assert b"".join(self.store.stream(key, chunk_size=1000)) == expected
            assert self.store.get_range(key, start=0, length=7) == expected[:7]
            with self.store.open(key) as reader:
                assert reader.read() == expected
        else:
            assert not self.store.exists(key)

    def look(self, key: str, data: bytes) -> None:
        prefix = self._chance.choice(["", "shared/", f"{self.number}/", key])
        found = [info.key for info in self.store.list(prefix)]
        assert found == sorted(set(found), key=str.encode)
        mine = {each for each in found if each in self._keys}
        assert mine == {each for each in self.known if each.startswith(prefix)}

    def count(self, key: str, data: bytes) -> None:
        self.store.update(COUNTER, lambda old: b"%d" % (int(old or b"0") + 1))
        self.counted += 1


@pytest.fixture
def stores(tmp_path: Path, seaweedfs: S3Server) -> Iterator[dict[str, list[Storage]]]:
    """Each store through both faces."""
    url, options = seaweedfs.fresh_url(), seaweedfs.options()
    with ExitStack() as stack:
        faces: dict[str, list[Storage]] = {
            "memory": [
                MemoryStorage("soak"),
                BlockingStorage(lambda: ThreadedStorage(MemoryStorage("soak"))),
            ],
            "posix": [
                PosixStorage(tmp_path / "posix"),
                BlockingStorage(lambda: ThreadedStorage(PosixStorage(tmp_path / "posix"))),
            ],
            "posixflat": [
                PosixFlatStorage(tmp_path / "flat", durable=False),
                BlockingStorage(
                    lambda: ThreadedStorage(PosixFlatStorage(tmp_path / "flat", durable=False))
                ),
            ],
            "s3": [
                seaweedfs.open(url),
                BlockingStorage(lambda: aio.open_storage(url, **options)),
            ],
        }
        for pair in faces.values():
            for store in pair:
                stack.enter_context(store)
        yield faces


def test_everything_at_once(tmp_path: Path, stores: dict[str, list[Storage]], tried: Tried) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    workers = [
        Worker(store, number, random.Random(seed + number))
        for number, store in enumerate(
            store for pair in stores.values() for store in pair for _ in range(2)
        )
    ]
    gc.collect()
    until = time.monotonic() + SECONDS
    threads = [threading.Thread(target=worker.run, args=(until,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [worker.failure for worker in workers if worker.failure] == []
    for name, pair in stores.items():
        here = [worker for worker in workers if worker.store in pair]
        expected = {key: data for worker in here for key, data in worker.known.items()}
        counted = sum(worker.counted for worker in here)
        if counted:
            expected[COUNTER] = b"%d" % counted
        assert {info.key: pair[0].get(info.key) for info in pair[1].list()} == expected, name
        assert min(worker.done for worker in here) > 5, name
    for root in ("posix", "flat"):
        assert os.listdir(tmp_path / root / ".objectstorage/tmp") == []
    tried("resources", "operations of a soak of everything at once", sum(w.done for w in workers))
    tried("resources", "seconds of it", round(SECONDS))
