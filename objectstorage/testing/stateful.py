"""A random walk over a store, beside a plain dict that does the same.

    def test_my_storage():
        run_machine(fresh=lambda: uuid4().hex, open_store=MyStorage)

Hypothesis chooses the steps, compares every answer with the dict's, and
shrinks what it finds to a few lines that show the fault.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from objectstorage.errors import (
    ErrConflict,
    ErrExist,
    ErrInvalidRange,
    ErrNotExist,
    ErrPreconditionFailed,
    ErrUnsupported,
    StorageError,
    as_,
)
from objectstorage.storage import Conditions, Prefix, PutResult, Storage
from objectstorage.testing import hostile
from objectstorage.testing.suite.listing import expected_level, expected_list

__all__ = ["StorageMachine", "run_machine"]

_Place = TypeVar("_Place")

# Few keys, so that they meet; chosen to lie above, below and between each other.
POOL = ["a", "a-", "a/", "a/b", "a/b/c", "a//b", "a/./b", "a0", "b", "é/x", "é/\U0001f600", "z%2F"]

_data = st.binary(max_size=40) | st.sampled_from([b"x" * 70_000, bytes(300_000)])
_keys = st.integers(0, len(POOL) - 1)
_texts = st.sampled_from(["", "a", "a/", "a/b", "a/b/", "a-", "a.", "a0", "b", "é", "é/", "zz"])
_kinds = st.sampled_from(["bytes", "file", "chunks", "sized"])


class _Boom(Exception):
    """What a source may raise midway."""


class _Held(NamedTuple):
    data: bytes
    etag: str
    metadata: dict[str, str]


class StorageMachine(RuleBasedStateMachine, Generic[_Place]):
    """The steps. `fresh` gives the place of an empty store, `open_store` opens one there."""

    fresh: Callable[[], _Place]
    open_store: Callable[[_Place], Storage]

    @initialize()
    def start(self) -> None:
        self.place = type(self).fresh()
        self.store = type(self).open_store(self.place)
        self.capabilities = self.store.probe()
        claimed = self.capabilities.conditions
        self.conditions: Conditions = claimed if claimed is not None else Conditions()
        self.rules_of_keys = self.capabilities.key_rules
        self.pool, _ = hostile.split(POOL, self.rules_of_keys._replace(parent_child="both"))
        if self.rules_of_keys.parent_child == "hidden":
            self.pool = hostile.independent(self.pool)
        self.held: dict[str, _Held] = {}
        self.etags: dict[str, list[str]] = {}
        self.versions: dict[tuple[str, str], tuple[bytes, dict[str, str]]] = {}

    def key(self, number: int) -> str:
        return self.pool[number % len(self.pool)]

    # -- what the dict knows -----------------------------------------------------

    def blocked(self, key: str) -> bool:
        """Whether `a` would stand beside `a/b` in a store that can't hold both."""
        return self.rules_of_keys.parent_child == "refused" and any(
            other.startswith(key + "/") or key.startswith(other + "/") for other in self.held
        )

    @contextmanager
    def refusing(self, *kinds: type[StorageError]) -> Any:
        with pytest.raises(kinds) as caught:
            yield
        assert caught.value.storage == self.store.url
        assert caught.value.operation

    def write(
        self,
        key: str,
        data: bytes,
        call: Callable[[], PutResult | None],
        *,
        metadata: dict[str, str] | None = None,
        claimed: bool = True,
        failed: type[StorageError] | None = None,
        creates: bool = False,
    ) -> None:
        """Run a write; `failed` is what its condition must raise, if it doesn't hold."""
        kinds = [failed] if failed is not None else []
        if self.blocked(key):
            kinds.append(ErrConflict)
        if not claimed:
            kinds = [ErrUnsupported, *kinds]
        if kinds:
            with self.refusing(*kinds):
                call()
            return
        try:
            result = call()
        except ErrConflict:
            # Some servers take a folder, even an emptied one, for what is to be created.
            assert creates
            assert self.had_children(key)
            return
        assert result is not None
        self.wrote(key, data, result, metadata or {})

    def had_children(self, key: str) -> bool:
        """Whether a store that has folders may have one of this name."""
        empty_is_free = self.rules_of_keys.parent_child == "refused"
        return not empty_is_free and any(k.startswith(key + "/") for k in self.etags)

    def wrote(
        self,
        key: str,
        data: bytes,
        result: PutResult,
        metadata: dict[str, str],
        *,
        moved: bool = False,
    ) -> None:
        assert (result.key, result.size) == (key, len(data))
        seen = self.etags.setdefault(key, [])
        if self.capabilities.etag_kind == "version":
            assert moved or result.etag not in seen, "an ETag came back"
            # what is moved away and back may be the same version
            known = self.versions.setdefault((key, result.etag), (data, metadata))
            assert known == (data, metadata), "an ETag came back for another version"
        seen.append(result.etag)
        self.held[key] = _Held(data, result.etag, metadata)

    def stale(self, key: str) -> str:
        """An ETag that `key` has not."""
        current = self.held[key].etag if key in self.held else None
        old = [etag for etag in self.etags.get(key, []) if etag != current]
        return old[-1] if old else "0123456789abcdef"

    # -- writing -----------------------------------------------------------------

    @rule(number=_keys, data=_data, kind=_kinds, marked=st.booleans())
    def put(self, number: int, data: bytes, kind: str, marked: bool) -> None:
        key = self.key(number)
        metadata = {"n": f"{number}"} if marked and self.capabilities.metadata else {}
        source: Any = {
            "bytes": data,
            "file": io.BytesIO(data),
            "chunks": iter([data[:7], b"", data[7:]]),
            "sized": io.BytesIO(data + b"unread"),
        }[kind]
        size = len(data) if kind == "sized" else None
        self.write(
            key,
            data,
            lambda: self.store.put(key, source, size=size, metadata=metadata),
            metadata=metadata,
        )

    @rule(number=_keys, data=_data)
    def create(self, number: int, data: bytes) -> None:
        key = self.key(number)
        self.write(
            key,
            data,
            lambda: self.store.put(key, data, create=True),
            claimed="put" in self.conditions.create,
            failed=ErrExist if key in self.held else None,
            creates=True,
        )

    @rule(number=_keys, data=_data, right=st.booleans())
    def replace(self, number: int, data: bytes, right: bool) -> None:
        key = self.key(number)
        holds = right and key in self.held
        etag = self.held[key].etag if holds else self.stale(key)
        self.write(
            key,
            data,
            lambda: self.store.put(key, data, if_match=etag),
            claimed="put" in self.conditions.replace,
            failed=None if holds else ErrPreconditionFailed,
        )

    @rule(number=_keys, data=_data)
    def fail_to_put(self, number: int, data: bytes) -> None:
        def chunks() -> Any:
            yield data
            raise _Boom

        with pytest.raises((_Boom, StorageError)) as caught:
            self.store.put(self.key(number), chunks())
        assert as_(caught.value, _Boom) is not None or isinstance(caught.value, ErrConflict)

    @rule(number=_keys, data=_data, end=st.sampled_from(["close", "abort", "raise"]))
    def writer(self, number: int, data: bytes, end: str) -> None:
        key = self.key(number)

        def call() -> PutResult | None:
            with self.store.writer(key) as writer:
                writer.write(data[:10])
                writer.write(data[10:])
            return writer.result

        if end == "close":
            self.write(key, data, call)
        elif not self.blocked(key):
            with self.store.writer(key) as writer:
                writer.write(data)
                writer.abort()
            if end == "raise":
                with pytest.raises(_Boom), self.store.writer(key) as writer:
                    writer.write(data)
                    raise _Boom

    @rule(number=_keys, more=st.none() | st.binary(max_size=5))
    def update(self, number: int, more: bytes | None) -> None:
        key = self.key(number)
        held = self.held.get(key)
        if more is None:
            assert self.store.update(key, lambda old: None) is None
            return
        self.write(
            key,
            (held.data if held is not None else b"") + more,
            lambda: self.store.update(key, lambda old: (old or b"") + more, timeout=60),
            creates=held is None,
            metadata=held.metadata if held is not None else None,
            claimed="put" in (self.conditions.create if held is None else self.conditions.replace),
        )

    # -- reading -----------------------------------------------------------------

    @rule(number=_keys, start=st.integers(-50, 50), end=st.none() | st.integers(0, 50))
    def read(self, number: int, start: int, end: int | None) -> None:
        key = self.key(number)
        held = self.held.get(key)
        assert self.store.exists(key) == (held is not None)
        if held is None:
            with self.refusing(ErrNotExist):
                self.store.fetch(key, start=start, end=end)
            return
        info = self.store.stat(key)
        assert (info.key, info.size, info.etag) == (key, len(held.data), held.etag)
        if self.capabilities.metadata:
            assert info.metadata == held.metadata
        assert self.store.get(key) == held.data
        if start > len(held.data):
            with self.refusing(ErrInvalidRange):
                self.store.fetch(key, start=start, end=end)
            return
        fetched = self.store.fetch(key, start=start, end=end)
        first = max(0, len(held.data) + start) if start < 0 else start
        assert fetched.data == held.data[first : len(held.data) if end is None else end]
        assert fetched.info == info

    @rule(number=_keys, chunk_size=st.integers(1, 50))
    def stream(self, number: int, chunk_size: int) -> None:
        key = self.key(number)
        if key in self.held and len(self.held[key].data) < 1000:
            assert b"".join(self.store.stream(key, chunk_size=chunk_size)) == self.held[key].data

    @rule(prefix=_texts, start=st.none() | _texts)
    def list_some(self, prefix: str, start: str | None) -> None:
        infos = list(self.store.list(prefix, start_after=start))
        assert [info.key for info in infos] == expected_list(self.held, prefix, start)
        for info in infos:
            assert (info.size, info.etag) == (
                len(self.held[info.key].data),
                self.held[info.key].etag,
            )

    @rule(prefix=_texts)
    def list_level(self, prefix: str) -> None:
        entries = list(self.store.list_level(prefix))
        assert [entry.key for entry in entries] == expected_level(self.held, prefix)
        for entry in entries:
            assert isinstance(entry, Prefix) == ("/" in entry.key[len(prefix) :])

    # -- deleting, copying, moving -----------------------------------------------

    @rule(number=_keys, must_exist=st.booleans())
    def delete(self, number: int, must_exist: bool) -> None:
        key = self.key(number)
        if must_exist and key not in self.held:
            with self.refusing(ErrNotExist):
                self.store.delete(key, must_exist=True)
        else:
            self.store.delete(key, must_exist=must_exist)
            self.held.pop(key, None)

    @rule(number=_keys, right=st.booleans())
    def delete_version(self, number: int, right: bool) -> None:
        key = self.key(number)
        holds = right and key in self.held
        etag = self.held[key].etag if holds else self.stale(key)
        if not self.conditions.delete:
            with self.refusing(ErrUnsupported):
                self.store.delete(key, if_match=etag)
        elif holds:
            self.store.delete(key, if_match=etag)
            del self.held[key]
        else:
            with self.refusing(ErrPreconditionFailed):
                self.store.delete(key, if_match=etag)

    @rule(numbers=st.lists(_keys, max_size=4))
    def delete_many(self, numbers: list[int]) -> None:
        keys = [self.key(number) for number in numbers]
        assert self.store.delete_many(keys) == {}
        for key in keys:
            self.held.pop(key, None)

    @precondition(lambda self: self.held)
    @rule(
        verb=st.sampled_from(["copy", "move"]),
        number=_keys,
        other=_keys,
        create=st.booleans(),
        there=st.booleans(),
    )
    def transfer(self, verb: str, number: int, other: int, create: bool, there: bool) -> None:
        src, dst = self.key(number), self.key(other)
        if there:  # what is there is more often worth a copy
            src = sorted(self.held)[number % len(self.held)]
        call = getattr(self.store, verb)
        held = self.held.get(src)
        kinds: list[type[StorageError]] = []
        if held is None:
            kinds.append(ErrNotExist)
        if create and dst in self.held:
            kinds.append(ErrExist)
        if create and "copy" not in self.conditions.create:
            kinds.append(ErrUnsupported)
        if src != dst and self.blocked(dst):
            kinds.append(ErrConflict)
        # onto itself, whether conditions are kept need not be asked
        if src == dst and held is not None and not create:
            kinds = []
        if kinds:
            with self.refusing(*kinds):
                call(src, dst, create=create)
            return
        assert held is not None
        try:
            result = call(src, dst, create=create)
        except ErrConflict:
            assert create
            assert self.had_children(dst)
            return
        if src == dst:
            assert result == PutResult(src, len(held.data), held.etag)
            return
        self.wrote(dst, held.data, result, held.metadata, moved=verb == "move")
        if verb == "move":
            del self.held[src]

    # -- the store itself --------------------------------------------------------

    @rule()
    def reopen(self) -> None:
        again = type(self).open_store(self.place)
        self.store.close()
        self.store = again
        again.probe()

    def teardown(self) -> None:
        if not hasattr(self, "held"):
            return  # `start` itself failed
        try:
            infos = list(self.store.list())
            assert [info.key for info in infos] == expected_list(self.held)
            for info in infos:
                assert self.store.get(info.key) == self.held[info.key].data
            assert list(self.store.list_uploads()) == []
        finally:
            self.store.close()


def run_machine(
    fresh: Callable[[], _Place],
    open_store: Callable[[_Place], Storage],
    *,
    examples: int = 50,
    steps: int = 30,
) -> None:
    """Walk `examples` times, of `steps` each, from an empty store at `fresh()`."""
    machine = type(
        "Machine",
        (StorageMachine,),
        {"fresh": staticmethod(fresh), "open_store": staticmethod(open_store)},
    )
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
