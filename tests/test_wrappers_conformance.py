"""A wrapped store keeps the contract, in both faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from objectstorage.aio.local import ThreadedStorage
from objectstorage.aio.storage import AsyncStorage
from objectstorage.memory import MemoryStorage
from objectstorage.posix import PosixStorage
from objectstorage.storage import Storage
from objectstorage.testing.blocking import BlockingStorage
from objectstorage.testing.suite import StorageSuite
from objectstorage.wrappers import (
    CachingStorage,
    LimitedStorage,
    ObservedStorage,
    PrefixStorage,
)
from objectstorage.wrappers.aio import (
    AsyncCachingStorage,
    AsyncLimitedStorage,
    AsyncObservedStorage,
    AsyncPrefixStorage,
)

MANY_BYTES = 1 << 30
LARGE = 1 << 20  # larger objects would show in the memory that streaming takes


def ignore(event: object) -> None:
    """A hook."""


class _Memory(StorageSuite):
    in_memory = True
    many = 5_000


class TestPrefix(_Memory):
    tally = "prefix"

    def open_store(self, place: Any) -> Storage:
        return PrefixStorage(MemoryStorage(place), "some/where")


class TestCache(_Memory):
    tally = "cache"

    def open_store(self, place: Any) -> Storage:
        cache = MemoryStorage(f"{place}-cache")
        return CachingStorage(MemoryStorage(place), cache, max_bytes=MANY_BYTES, max_object=LARGE)


class TestLimit(_Memory):
    tally = "limit"

    def open_store(self, place: Any) -> Storage:
        return LimitedStorage(MemoryStorage(place), concurrency=2, bytes_per_second=1e12)


class TestObserve(_Memory):
    tally = "observe"

    def open_store(self, place: Any) -> Storage:
        return ObservedStorage(MemoryStorage(place), ignore)


class TestNestedPosix(StorageSuite):
    tally = "all, posix"
    many = 2_000

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        path = tmp_path.parent / f"{tmp_path.name}-store"
        path.mkdir()
        return path

    def open_store(self, place: Any) -> Storage:
        store = PrefixStorage(PosixStorage(place), "some/where")
        limited = LimitedStorage(ObservedStorage(store, ignore), concurrency=4)
        cache = PosixStorage(place.parent / f"{place.name}-cache")
        return CachingStorage(limited, cache, max_bytes=MANY_BYTES)


class _Async(StorageSuite):
    in_memory = True
    pickles = False
    forks = False  # a thread does not survive a fork

    def wrap(self, store: AsyncStorage, place: str) -> AsyncStorage:
        raise NotImplementedError

    def open_store(self, place: Any) -> Storage:
        return BlockingStorage(lambda: self.wrap(ThreadedStorage(MemoryStorage(place)), place))


class TestAsyncPrefix(_Async):
    tally = "aio prefix"

    def wrap(self, store: AsyncStorage, place: str) -> AsyncStorage:
        return AsyncPrefixStorage(store, "some/where/")


class TestAsyncCache(_Async):
    tally = "aio cache"

    def wrap(self, store: AsyncStorage, place: str) -> AsyncStorage:
        cache = ThreadedStorage(MemoryStorage(f"{place}-cache"))
        return AsyncCachingStorage(store, cache, max_bytes=MANY_BYTES, max_object=LARGE)


class TestAsyncLimit(_Async):
    tally = "aio limit"

    def wrap(self, store: AsyncStorage, place: str) -> AsyncStorage:
        return AsyncLimitedStorage(store, concurrency=2, bytes_per_second=1e12)


class TestAsyncObserve(_Async):
    tally = "aio observe"

    def wrap(self, store: AsyncStorage, place: str) -> AsyncStorage:
        return AsyncObservedStorage(store, ignore)
