"""What only the memory store has: names, sharing, forks."""

from __future__ import annotations

import gc
import os
import pickle
import threading
import warnings

import pytest

from objectstorage import ErrInvalidURL, ErrNotExist, ErrUnsupported, open_storage
from objectstorage.memory import MemoryStorage


def test_a_name_is_shared_within_the_process() -> None:
    one, two = open_storage("memory://shared"), open_storage("memory://shared")
    one.put("k", b"data")
    assert two.get("k") == b"data"
    assert two.url == "memory://shared"
    one.close()
    assert two.get("k") == b"data"
    two.delete("k")
    other = open_storage("memory://other")
    assert list(other.list()) == []


def test_no_name_is_fresh() -> None:
    one, two = open_storage("memory://"), MemoryStorage()
    one.put("k", b"data")
    with pytest.raises(ErrNotExist):
        two.get("k")


def test_a_name_has_no_path() -> None:
    assert open_storage("memory://name/").url == "memory://name"
    with pytest.raises(ErrInvalidURL):
        open_storage("memory://name/a")


def test_pickling_needs_a_name() -> None:
    named = MemoryStorage("pickled")
    named.put("k", b"data")
    assert pickle.loads(pickle.dumps(named)).get("k") == b"data"
    with pytest.raises(TypeError, match="unnamed"):
        pickle.dumps(MemoryStorage())


def test_an_open_object_outlives_its_replacement_and_its_store() -> None:
    store = MemoryStorage()
    store.put("k", b"old")
    reader = store.open("k")
    store.put("k", b"new")
    store.close()
    assert reader.read() == b"old"


def test_what_this_store_is() -> None:
    capabilities = MemoryStorage().capabilities
    assert capabilities.ordered_listing
    assert capabilities.atomic_move
    assert not capabilities.durable_puts
    with pytest.raises(ErrUnsupported):
        MemoryStorage().presign("k")


def test_a_child_forked_under_a_held_lock() -> None:
    store = MemoryStorage()
    store.put("k", b"data")
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store._space.lock:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    with warnings.catch_warnings():
        # that Python warns of forks beside threads is what is tried here
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            store.put("k", b"of the child")
            status = 0 if store.get("k") == b"of the child" else 1
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    done.set()
    thread.join()
    assert store.get("k") == b"data"


def test_a_discarded_store_leaves_nothing() -> None:
    gc.collect()
    before = len(gc.get_objects())
    store = MemoryStorage()
    for number in range(2000):
        store.put(f"{number}", b"data")
    assert len(gc.get_objects()) > before + 1000
    del store
    gc.collect()
    assert len(gc.get_objects()) < before + 1000
