"""Opening, closing, pickling, forking, and what shows (contract, sections 1, 2, 8)."""

from __future__ import annotations

import copy
import os
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from objectstorage.errors import ErrClosed, ErrNotExist, StorageError
from objectstorage.storage import Capabilities, Conditions, Storage
from objectstorage.testing.suite.base import SuiteBase, keys_of, refused
from objectstorage.testing.suite.keys import VERBS

__all__ = ["Lifecycle"]


class Lifecycle(SuiteBase):
    """A store as a thing of its own."""

    def test_objects_outlive_the_store(self, store: Storage, reopen: Callable[[], Storage]) -> None:
        result = store.put("a/b", b"data")
        store.close()
        again = reopen()
        assert again.get("a/b") == b"data"
        assert again.stat("a/b").etag == result.etag
        assert keys_of(again.list()) == ["a/b"]

    def test_a_store_is_a_context_manager(self, place: Any) -> None:
        with self.open_store(place) as store:
            store.put("k", b"data")
        with pytest.raises(ErrClosed):
            store.get("k")

    @pytest.mark.parametrize("verb", VERBS)
    def test_a_closed_store(self, store: Storage, verb: str) -> None:
        store.put("k", b"data")
        store.close()
        store.close()
        with refused(store, ErrClosed) as caught:
            VERBS[verb](store, "k")
        assert isinstance(caught.value, ValueError)

    def test_other_calls_on_a_closed_store(self, store: Storage) -> None:
        store.close()
        calls: list[Callable[[], Any]] = [
            lambda: list(store.list()),
            lambda: list(store.list_level()),
            lambda: list(store.list_uploads()),
            lambda: store.clock(),
            lambda: store.delete_many(["k"]),
        ]
        for call in calls:
            with pytest.raises(StorageError) as caught:
                call()
            assert (
                caught.group_contains(ErrClosed)
                if isinstance(caught.value, BaseExceptionGroup)
                else isinstance(caught.value, ErrClosed)
            )

    def test_capabilities_are_data(self, store: Storage) -> None:
        capabilities = store.probe()
        assert isinstance(capabilities, Capabilities)
        assert store.capabilities == capabilities
        assert pickle.loads(pickle.dumps(capabilities)) == capabilities
        conditions = capabilities.conditions
        assert isinstance(conditions, Conditions)
        assert conditions.create <= {"put", "multipart", "copy"}
        assert conditions.replace <= {"put", "multipart", "copy"}
        assert conditions.delete <= {"delete"}
        assert list(store.list()) == [], "a probe leaves nothing behind"

    def test_pickling(self, store: Storage, place: Any) -> None:
        store.put("k", b"data")
        if not self.pickles:
            with pytest.raises(TypeError) as caught:
                pickle.dumps(store)
            for secret in self.secrets(place):
                assert secret not in str(caught.value)
            return
        text = pickle.dumps(store)
        for secret in self.secrets(place):
            assert secret.encode() not in text
        with pickle.loads(text) as again:
            assert type(again) is type(store)
            assert again.url == store.url
            assert again.get("k") == b"data"

    def test_results_are_values(self, store: Storage) -> None:
        result = store.put("k", b"data")
        info = store.stat("k")
        for value in (result, info, store.fetch("k")):
            assert pickle.loads(pickle.dumps(value)) == value
            assert copy.copy(value) == value
        assert info == store.stat("k")
        assert hash(info) == hash(store.stat("k"))
        assert info != store.stat("k").key
        assert "k" in repr(info)
        with pytest.raises((AttributeError, TypeError)):
            info.size = 1  # type: ignore[misc]  # the point of it
        listed = next(iter(store.list()))
        assert pickle.loads(pickle.dumps(listed)) == listed

    def test_errors_are_values(self, store: Storage) -> None:
        with refused(store, ErrNotExist, "a\u2028b") as caught:
            store.get("a\u2028b")
        error: Any = caught.value
        assert "\u2028" not in str(error)
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
        assert (again.key, again.storage) == ("a\u2028b", store.url)
        assert (again.errno, again.filename) == (error.errno, "a\u2028b")

    def test_no_secret_shows(self, store: Storage, place: Any) -> None:
        store.put("k", b"data")
        with pytest.raises(ErrNotExist) as caught:
            store.get("none")
        texts = [store.url, repr(store), str(store), repr(caught.value), str(caught.value)]
        assert all(texts)
        for secret in self.secrets(place):
            assert not any(secret in text for text in texts)

    def test_a_forked_child(self, store: Storage) -> None:
        if not self.forks:
            assert not hasattr(store, "_after_fork"), "what can fork says so"
            return
        store.put("k", b"data")
        assert store.get("k") == b"data"
        with warnings.catch_warnings():
            # Python warns of forks beside threads; ours are idle, and that is the case to try.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            status = 1
            try:
                with store.writer("child") as writer:
                    writer.write(b"from the child")
                if store.get("k") == b"data" and store.exists("child"):
                    status = 0
            finally:
                os._exit(status)
        assert store.get("k") == b"data"
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        store.put("k", b"after")
        assert store.get("k") == b"after"
