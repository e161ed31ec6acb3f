"""What the cases share: the store under test, and how a refusal is checked."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from objectstorage.errors import StorageError
from objectstorage.keys import KeyRules
from objectstorage.storage import Conditions, Storage

__all__ = ["SuiteBase", "all_at_once", "keys_of", "refused"]


class SuiteBase:
    """The hooks. A store's test class gives `open_store`, and `place` if need be."""

    part_size: int = 1024 * 1024
    """Bytes of a part, or of whatever else the store cuts streams into."""

    pickles: bool = True
    """Whether the store can be pickled, or refuses to (because it holds secrets)."""

    forks: bool = True
    """Whether the store works on in a forked child."""

    many: int = 1100
    """Objects enough for the memory that a listing takes to show, if they are cheap."""

    def open_store(self, place: Any) -> Storage:
        """A store at `place`. A second one there has the same objects."""
        raise NotImplementedError

    def secrets(self, place: Any) -> Sequence[str]:
        """Texts that must never be shown."""
        return ()

    @pytest.fixture
    def place(self) -> Any:
        """Where the test's store is: a name, path or URL that nobody else uses."""
        return uuid.uuid4().hex

    @pytest.fixture
    def store(self, place: Any) -> Iterator[Storage]:
        """A fresh, empty store."""
        with self.open_store(place) as store:
            yield store

    @pytest.fixture
    def reopen(self, place: Any) -> Iterator[Callable[[], Storage]]:
        """Opens further stores on the same objects; they are closed at the end."""
        opened: list[Storage] = []

        def open_again() -> Storage:
            opened.append(self.open_store(place))
            return opened[-1]

        yield open_again
        for store in opened:
            store.close()

    @pytest.fixture
    def conditions(self, store: Storage) -> Conditions:
        """What the store claims of conditions, its server asked."""
        conditions = store.probe().conditions
        assert conditions is not None, "probe() answers which conditions hold"
        return conditions

    @pytest.fixture
    def rules(self, store: Storage) -> KeyRules:
        """What the store claims of keys, its server asked."""
        return store.probe().key_rules


@contextmanager
def refused(
    store: Storage, kind: type[StorageError], key: str | None = None
) -> Iterator[pytest.ExceptionInfo[StorageError]]:
    """The block raises exactly this kind, and the error says where it happened."""
    with pytest.raises(kind) as caught:
        yield caught
    error = caught.value
    assert error.operation, "an error carries the operation"
    assert error.storage == store.url, "an error carries the store"
    if key is not None:
        assert error.key == key, "an error carries the key"
    assert str(error)


def keys_of(infos: Iterable[Any]) -> list[str]:
    """The keys of what a listing gives."""
    return [info.key for info in infos]


def all_at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run the calls in as many threads, started together; results or `StorageError`s.

    Any other exception is raised.
    """
    from threading import Barrier

    barrier = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait(30)
        try:
            return call()
        except StorageError as exc:
            return exc

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))
