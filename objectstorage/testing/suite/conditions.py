"""Conditions: create only, replace only this version (contract, section 4).

Which of them a store keeps, for which verbs, is its `capabilities.conditions`.
What it claims is tried; what it doesn't claim must be `ErrUnsupported`, with
nothing done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from objectstorage.errors import (
    ErrBadRequest,
    ErrExist,
    ErrOutcomeUnknown,
    ErrPreconditionFailed,
    ErrTimeout,
    ErrUnsupported,
)
from objectstorage.storage import Conditions, PutResult, Storage
from objectstorage.testing.suite.base import SuiteBase, keys_of, refused

__all__ = ["ConditionalWriting"]


class Boom(Exception):
    """What a caller's own function may raise."""


class ConditionalWriting(SuiteBase):
    """`create` and `if_match`, for every verb that takes them; `update`."""

    def _verbs(self) -> dict[str, tuple[str, Callable[..., PutResult | None]]]:
        """How an object is written, and which claim covers it."""

        def chunks(data: bytes) -> Iterator[bytes]:
            # more than two parts of unknown length, ending in the data
            for _ in range(2):
                yield bytes(self.part_size)
            yield data

        def put(store: Storage, key: str, data: bytes, **options: Any) -> PutResult:
            return store.put(key, data, **options)

        def put_stream(store: Storage, key: str, data: bytes, **options: Any) -> PutResult:
            return store.put(key, iter([data]), **options)

        def put_parts(store: Storage, key: str, data: bytes, **options: Any) -> PutResult:
            return store.put(key, chunks(data), **options)

        def put_known(store: Storage, key: str, data: bytes, **options: Any) -> PutResult:
            size = 2 * self.part_size + len(data)
            return store.put(key, chunks(data), size=size, **options)

        def write(store: Storage, key: str, data: bytes, **options: Any) -> PutResult | None:
            with store.writer(key, **options) as writer:
                writer.write(data)
            return writer.result

        def write_parts(store: Storage, key: str, data: bytes, **options: Any) -> PutResult | None:
            with store.writer(key, **options) as writer:
                for chunk in chunks(data):
                    writer.write(chunk)
            return writer.result

        return {
            "put": ("put", put),
            "put a stream": ("put", put_stream),
            "put parts": ("multipart", put_parts),
            # one request or parts, as the store likes: either claim may cover it
            "put a known size": ("either", put_known),
            "writer": ("put", write),
            "writer of parts": ("multipart", write_parts),
        }

    VERBS = ["put", "put a stream", "put parts", "put a known size", "writer", "writer of parts"]

    @staticmethod
    def _claimed(claims: frozenset[str], claim: str) -> bool | None:
        """None: the store may or may not."""
        if claim != "either":
            return claim in claims
        both = "put" in claims, "multipart" in claims
        return both[0] if both[0] == both[1] else None

    @pytest.mark.parametrize("verb", VERBS)
    def test_create(self, store: Storage, conditions: Conditions, verb: str) -> None:
        claim, write = self._verbs()[verb]
        claimed = self._claimed(conditions.create, claim)
        if claimed is False:
            with refused(store, ErrUnsupported, "k"):
                write(store, "k", b"new", create=True)
            assert list(store.list()) == []
            return
        try:
            result = write(store, "k", b"first", create=True)
        except ErrUnsupported:
            assert claimed is None, "what is claimed is done"
            assert list(store.list()) == []
            return
        assert result is not None
        assert result.etag == store.stat("k").etag
        with refused(store, ErrExist, "k") as caught:
            write(store, "k", b"second", create=True)
        assert isinstance(caught.value, FileExistsError)
        assert isinstance(caught.value, ErrPreconditionFailed)
        assert store.get_range("k", start=-5) == b"first"
        assert store.stat("k").metadata in (None, {})
        assert keys_of(store.list()) == ["k"]
        assert list(store.list_uploads()) == []
        store.delete("k")
        write(store, "k", b"third", create=True)
        assert store.get_range("k", start=-5) == b"third"

    @pytest.mark.parametrize("verb", VERBS)
    def test_replace(self, store: Storage, conditions: Conditions, verb: str) -> None:
        claim, write = self._verbs()[verb]
        claimed = self._claimed(conditions.replace, claim)
        first = store.put("k", b"first")
        if claimed is False:
            with refused(store, ErrUnsupported, "k"):
                write(store, "k", b"new", if_match=first.etag)
            assert store.get("k") == b"first"
            return
        try:
            second = write(store, "k", b"second", if_match=first.etag)
        except ErrUnsupported:
            assert claimed is None, "what is claimed is done"
            assert store.get("k") == b"first"
            return
        assert second is not None
        assert second.etag == store.stat("k").etag
        with refused(store, ErrPreconditionFailed, "k") as caught:
            write(store, "k", b"third", if_match=first.etag)
        assert not isinstance(caught.value, ErrExist)
        assert store.get_range("k", start=-6) == b"second"
        # what isn't there matches nothing, and neither does a wildcard
        with refused(store, ErrPreconditionFailed, "none"):
            write(store, "none", b"new", if_match=first.etag)
        for etag in ("*", '"', "é", "a\nb", f'"{second.etag}"', f"W/{second.etag}"):
            with refused(store, ErrPreconditionFailed, "k"):
                write(store, "k", b"new", if_match=etag)
        assert store.get_range("k", start=-6) == b"second"
        assert store.stat("k").metadata in (None, {})
        assert keys_of(store.list()) == ["k"]
        assert list(store.list_uploads()) == []

    def test_conditions_that_are_none(self, store: Storage) -> None:
        store.put("k", b"old")
        none: Any = None
        calls: list[Callable[[Any], Any]] = [
            lambda etag: store.put("k", b"new", if_match=etag),
            lambda etag: store.writer("k", if_match=etag),
            lambda etag: store.delete("k", if_match=etag),
        ]
        for call in calls:
            with pytest.raises(TypeError):
                call(none)
            with refused(store, ErrBadRequest, "k"):
                call("")
        with refused(store, ErrBadRequest, "k"):
            store.put("k", b"new", create=True, if_match="x")
        with refused(store, ErrBadRequest, "k"):
            store.writer("k", create=True, if_match="x")
        assert store.get("k") == b"old"

    def test_metadata_beside_a_condition(self, store: Storage, conditions: Conditions) -> None:
        if "put" not in conditions.create or not store.probe().metadata:
            with refused(store, ErrUnsupported, "k"):
                store.put("k", b"data", create=True, metadata={"owner": "ci"})
            assert not store.exists("k")
            return
        store.put("k", b"data", create=True, metadata={"owner": "ci"}, content_type="x/y")
        info = store.stat("k")
        assert (info.metadata, info.content_type) == ({"owner": "ci"}, "x/y")
        assert store.copy("k", "copied").key == "copied"
        assert store.stat("copied").metadata == {"owner": "ci"}

    @pytest.mark.parametrize("verb", ["copy", "move"])
    def test_create_by_copy_and_move(
        self, store: Storage, conditions: Conditions, verb: str
    ) -> None:
        transfer = getattr(store, verb)
        store.put("a", b"from a")
        store.put("taken", b"old")
        if "copy" not in conditions.create:
            for key in ("free", "taken"):
                with refused(store, ErrUnsupported):
                    transfer("a", key, create=True)
            assert keys_of(store.list()) == ["a", "taken"]
            assert store.get("taken") == b"old"
            return
        with refused(store, ErrExist):
            transfer("a", "taken", create=True)
        with refused(store, ErrExist):
            transfer("a", "a", create=True)
        assert store.get("taken") == b"old"
        assert store.get("a") == b"from a"
        transfer("a", "free", create=True)
        assert store.get("free") == b"from a"
        assert store.exists("a") == (verb == "copy")

    def test_delete_of_one_version(self, store: Storage, conditions: Conditions) -> None:
        old = store.put("k", b"old").etag
        if not conditions.delete:
            with refused(store, ErrUnsupported, "k"):
                store.delete("k", if_match=old)
            assert store.get("k") == b"old"
            return
        new = store.put("k", b"new").etag
        for etag in (old, "*", '"', "é"):
            with refused(store, ErrPreconditionFailed, "k"):
                store.delete("k", if_match=etag)
        assert store.get("k") == b"new"
        store.delete("k", if_match=new)
        assert not store.exists("k")
        with refused(store, ErrPreconditionFailed, "k"):
            store.delete("k", if_match=new)

    # -- update ----------------------------------------------------------------

    def test_update(self, store: Storage, conditions: Conditions) -> None:
        if "put" not in conditions.create:
            with refused(store, ErrUnsupported, "k"):
                store.update("k", lambda old: b"new")
            assert not store.exists("k")
        else:
            seen = []

            def first(old: bytes | None) -> bytes:
                seen.append(old)
                return b"1"

            result = store.update("k", first)
            assert result is not None
            assert (result.key, result.size) == ("k", 1)
            assert result.etag == store.stat("k").etag
            assert seen == [None]
        store.put("k", b"1")
        if "put" not in conditions.replace:
            with refused(store, ErrUnsupported, "k"):
                store.update("k", lambda old: b"new")
            assert store.get("k") == b"1"
            return
        store.update("k", lambda old: (old or b"") + b"2", timeout=60)
        assert store.get("k") == b"12"

    def test_an_update_that_changes_nothing(self, store: Storage) -> None:
        assert store.update("k", lambda old: None) is None
        assert not store.exists("k")
        etag = store.put("k", b"old").etag
        assert store.update("k", lambda old: None) is None
        assert store.stat("k").etag == etag

    def test_an_update_that_fails(self, store: Storage) -> None:
        def fail(old: bytes | None) -> bytes:
            raise Boom

        etag = store.put("k", b"old").etag
        with pytest.raises(Boom):
            store.update("k", fail)
        assert store.stat("k").etag == etag

    def test_an_update_that_others_disturb(self, store: Storage, conditions: Conditions) -> None:
        store.put("k", b"old")
        if "put" not in conditions.replace:
            with refused(store, ErrUnsupported, "k"):
                store.update("k", lambda old: b"new", timeout=60)
            assert store.get("k") == b"old"
            return
        calls = []

        def disturbed(old: bytes | None) -> bytes:
            calls.append(old)
            if len(calls) < 3:
                store.put("k", b"other %d" % len(calls))
            return b"mine after " + (old or b"")

        store.update("k", disturbed)
        assert calls == [b"old", b"other 1", b"other 2"]
        assert store.get("k") == b"mine after other 2"

        def always(old: bytes | None) -> bytes:
            store.put("k", (old or b"") + b".")
            return b"never"

        # a deadline that passes with a request under way leaves its outcome open
        with pytest.raises((ErrTimeout, ErrOutcomeUnknown)):
            store.update("k", always, timeout=0.05)
        assert store.get("k").endswith(b".")

    def test_an_update_keeps_metadata(self, store: Storage, conditions: Conditions) -> None:
        if "put" not in conditions.replace or not store.probe().metadata:
            with refused(store, ErrUnsupported, "k"):
                store.put("k", b"old", metadata={"a": "b"}, if_match="x")
            return
        store.put("k", b"old", content_type="x/y", metadata={"owner": "ci"})
        store.update("k", lambda old: b"new")
        info = store.stat("k")
        assert (info.content_type, info.metadata, info.size) == ("x/y", {"owner": "ci"}, 3)
