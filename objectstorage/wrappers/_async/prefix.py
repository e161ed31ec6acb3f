"""The part of a store below a prefix, as a store of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any, Literal

from objectstorage import _plans
from objectstorage.aio.storage import AsyncStorage
from objectstorage.errors import ErrInvalidKey, StorageError
from objectstorage.keys import KeyRules, check_prefix, check_start_after
from objectstorage.storage import Capabilities, ObjectInfo, Prefix, PutResult, Upload
from objectstorage.wrappers._aiofiles import finish
from objectstorage.wrappers._async.forwarding import AsyncForwardingStorage

__all__ = ["AsyncPrefixStorage"]


class AsyncPrefixStorage(AsyncForwardingStorage):
    """What `store` holds below `prefix`; a `/` at its end is added where it is missing.

    Callers never see the prefix: not in a key, not in an error. It counts
    toward a key's length. `ErrInvalidKey` for a prefix the store can't hold.
    Objects that would have no name here (`prefix` itself, `prefix//a`) are
    left out of listings.
    """

    def __init__(self, store: AsyncStorage, prefix: str) -> None:
        super().__init__(store)
        self._prefix = prefix if prefix.endswith("/") else prefix + "/"
        try:
            store.capabilities.key_rules.check(self._prefix + "k")
        except StorageError as exc:
            raise exc.at(operation="open", storage=store.url)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return partial(type(self), prefix=self._prefix), (self._store,)

    @property
    def url(self) -> str:
        """The wrapped store's, and the prefix."""
        return f"{self._store.url} below {self._prefix!r}"

    @property
    def capabilities(self) -> Capabilities:
        """The wrapped store's; keys are shorter by the prefix, none are reserved."""
        known = self._store.capabilities
        return known._replace(key_rules=self._rules(known.key_rules))

    def _rules(self, rules: KeyRules) -> KeyRules:
        left = rules.max_key - len(self._prefix.encode())
        return rules._replace(max_key=left, reserved=())

    def _down(self, operation: str, key: str) -> str:
        try:
            self._rules(self._store.capabilities.key_rules).check(key)
        except StorageError as exc:
            raise exc.at(key=key, operation=operation, storage=self.url)
        return self._prefix + key

    def _up(self, key: str) -> str:
        return key.removeprefix(self._prefix)

    def _error(self, exc: StorageError) -> StorageError:
        # one of another store, met while its bytes were read, stays as it is
        if exc.storage not in (None, self._store.url):
            return exc
        key, exc.key, exc.storage = exc.key, None, None
        return exc.at(key=None if key is None else self._up(key), storage=self.url)

    def _info(self, info: ObjectInfo) -> ObjectInfo:
        # as `_replace` would, and of the same class, which may not know all its fields yet
        renamed: ObjectInfo = tuple.__new__(type(info), (self._up(info.key), *info[1:]))
        return renamed

    def _result(self, result: PutResult) -> PutResult:
        return result._replace(key=self._up(result.key))

    # -- where a key is not all there is ---------------------------------------

    def list(
        self, prefix: str = "", *, start_after: str | None = None, ordered: bool = True
    ) -> AsyncIterator[ObjectInfo]:
        """See `Storage.list`."""
        with _plans.placed(self, "list", prefix):
            self._check_open("list")
            check_prefix(prefix)
            after = check_start_after(start_after)
        infos = super().list(
            self._prefix + prefix,
            start_after=None if start_after is None else self._prefix + after,
            ordered=ordered,
        )
        return self._infos(infos)

    async def _infos(self, infos: AsyncIterator[ObjectInfo]) -> AsyncIterator[ObjectInfo]:
        try:
            async for info in infos:
                if self._named(info.key):
                    yield self._info(info)
        finally:
            await finish(infos)

    def list_level(self, prefix: str = "") -> AsyncIterator[ObjectInfo | Prefix]:
        """See `Storage.list_level`."""
        with _plans.placed(self, "list_level", prefix):
            self._check_open("list_level")
            check_prefix(prefix)
        return self._entries(super().list_level(self._prefix + prefix))

    async def _entries(
        self, entries: AsyncIterator[ObjectInfo | Prefix]
    ) -> AsyncIterator[ObjectInfo | Prefix]:
        try:
            async for entry in entries:
                if not self._named(entry.key):
                    continue
                if isinstance(entry, Prefix):
                    yield Prefix(self._up(entry.key))
                else:
                    yield self._info(entry)
        finally:
            await finish(entries)

    def list_uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        """See `Storage.list_uploads`."""
        with _plans.placed(self, "list_uploads", prefix):
            self._check_open("list_uploads")
            check_prefix(prefix)
        return self._uploads(super().list_uploads(self._prefix + prefix))

    async def _uploads(self, uploads: AsyncIterator[Upload]) -> AsyncIterator[Upload]:
        try:
            async for upload in uploads:
                yield upload._replace(key=self._up(upload.key))
        finally:
            await finish(uploads)

    def _named(self, key: str) -> bool:
        """Whether what lies below the prefix can be a key here."""
        return not key.startswith("/", len(self._prefix)) and len(key) > len(self._prefix)

    async def delete_many(
        self, keys: Iterable[str], *, errors: Literal["raise", "return"] = "raise"
    ) -> dict[str, StorageError]:
        """See `Storage.delete_many`."""
        with _plans.placed(self, "delete_many"):
            self._check_open("delete_many")
            _plans.check_errors_option(errors)
        failed: dict[str, StorageError] = {}
        count = 0

        def below() -> Iterable[str]:
            nonlocal count
            for key in _plans.keys_of(keys):
                count += 1
                try:
                    yield self._down("delete", key)
                except ErrInvalidKey as exc:
                    failed[key] = exc

        found = await super().delete_many(below(), errors="return")
        failed |= {self._up(key): self._error(exc) for key, exc in found.items()}
        return _plans.outcome(failed, count, errors, self.url)
