"""A store that says what it would do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from objectstorage import _plans
from objectstorage.aio.storage import AsyncData, AsyncStorage, AsyncWriter
from objectstorage.errors import ErrExist, ErrNotExist, ErrPreconditionFailed, ErrUnsupported
from objectstorage.keys import check_content_type, check_metadata
from objectstorage.storage import (
    UNSET,
    Capabilities,
    PutResult,
    Unset,
    Upload,
    check_condition,
)
from objectstorage.wrappers._aiofiles import AsyncCountingWriter, count_bytes
from objectstorage.wrappers._async.forwarding import AsyncForwardingStorage
from objectstorage.wrappers.action import Action

__all__ = ["AsyncDryRunStorage"]

_ETAG = "dry-run"


class AsyncDryRunStorage(AsyncForwardingStorage):
    """`store`, read but never changed: `actions` tells what would have been.

    With `record`, that is called with each `Action` instead. Keys, metadata,
    sizes and conditions are checked, against what the store holds now: what
    would have been written is not read back. The ETag of a result is
    "dry-run".
    """

    def __init__(self, store: AsyncStorage, record: Callable[[Action], object] | None = None):
        super().__init__(store)
        self.actions: list[Action] = []
        self._given = record
        self._record = self.actions.append if record is None else record

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return partial(type(self), record=self._given), (self._store,)

    async def probe(self) -> Capabilities:
        """The capabilities, without asking: a server is asked by writes."""
        self._check_open("probe")
        return self.capabilities

    async def put(
        self,
        key: str,
        data: AsyncData,
        *,
        size: int | None = None,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        create: bool = False,
        if_match: str | Unset = UNSET,
        durable: bool | None = None,
        timeout: float | None = None,
    ) -> PutResult:
        """See `Storage.put`; the data is read to its end."""
        with _plans.placed(self, "put", key):
            etag = self._check("put", key, content_type, metadata, create, if_match)
            count = await count_bytes(data, size)
            return await self._put("put", key, count, create, etag)

    async def writer(
        self,
        key: str,
        *,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        create: bool = False,
        if_match: str | Unset = UNSET,
        durable: bool | None = None,
    ) -> AsyncWriter:
        """See `Storage.writer`."""
        with _plans.placed(self, "writer", key):
            etag = self._check("multipart", key, content_type, metadata, create, if_match)

        async def publish(count: int) -> PutResult:
            with _plans.placed(self, "writer", key):
                return await self._put("writer", key, count, create, etag)

        return AsyncCountingWriter(publish)

    def _check(
        self,
        verb: str,
        key: str,
        content_type: str | None,
        metadata: dict[str, str] | None,
        create: bool,
        if_match: str | Unset,
    ) -> str | None:
        """Refuse what the store would refuse before any I/O; the ETag asked for."""
        self._check_open(verb)
        known = self.capabilities
        known.key_rules.check(key)
        etag = check_condition(if_match, create)
        if (check_content_type(content_type) or check_metadata(metadata)) and not known.metadata:
            raise ErrUnsupported("this store keeps no metadata")
        if known.conditions is not None:
            self._holds(create, verb, known.conditions.create)
            self._holds(etag is not None, verb, known.conditions.replace)
        return etag

    @staticmethod
    def _holds(asked: bool, verb: str, verbs: frozenset[str]) -> None:
        if asked and verb not in verbs:
            raise ErrUnsupported(f"this store does not keep that condition for {verb!r}")

    async def _put(
        self, operation: str, key: str, count: int, create: bool, etag: str | None
    ) -> PutResult:
        await self._condition(key, create, etag)
        self._record(Action(operation, key, count))
        return PutResult(key, count, _ETAG)

    async def _condition(self, key: str, create: bool, etag: str | None) -> None:
        """Whether the conditions hold, as things are now."""
        if create and await self._store.exists(key):
            raise ErrExist("the key is taken")
        if etag is None:
            return
        try:
            info = await self._store.stat(key)
        except ErrNotExist as exc:
            raise ErrPreconditionFailed("there is no such object") from exc
        if info.etag != etag:
            raise ErrPreconditionFailed(f"the ETag is {info.etag!r}, not {etag!r}")

    async def delete(
        self, key: str, *, if_match: str | Unset = UNSET, must_exist: bool = False
    ) -> None:
        """See `Storage.delete`; nothing is recorded if there is no such object."""
        with _plans.placed(self, "delete", key):
            self._check_open("delete")
            known = self.capabilities
            known.key_rules.check(key)
            etag = check_condition(if_match)
            if known.conditions is not None:
                self._holds(etag is not None, "delete", known.conditions.delete)
            await self._condition(key, False, etag)
            if await self._store.exists(key):
                self._record(Action("delete", key))
            elif must_exist:
                raise ErrNotExist("no such object")

    async def _copy_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        return await self._transfer("copy", src, dst, create)

    async def _move_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        return await self._transfer("move", src, dst, create)

    async def _transfer(self, operation: str, src: str, dst: str, create: bool) -> PutResult:
        self._check_open(operation)
        with _plans.placed(self, operation, src):
            known = self.capabilities.conditions
            if known is not None:
                self._holds(create, "copy", known.create)
            info = await self._store.stat(src)
            await self._condition(dst, create, None)
        self._record(Action(operation, dst, info.size, src))
        return PutResult(dst, info.size, _ETAG)

    # by `put`, `delete` and the two above
    upload = AsyncStorage.upload
    update = AsyncStorage.update
    delete_many = AsyncStorage.delete_many
    copy = AsyncStorage.copy
    move = AsyncStorage.move

    async def abort_upload(self, upload: Upload) -> None:
        """See `Storage.abort_upload`."""
        self._check_open("abort_upload")
        self._record(Action("abort_upload", upload.key))

    async def presign(self, key: str, *, method: str = "GET", expires: int = 3600) -> str:
        """See `Storage.presign`; `ErrUnsupported` for a URL that would write."""
        if method not in ("GET", "HEAD"):
            raise ErrUnsupported(
                "what such a URL did would be done",
                key=key,
                operation="presign",
                storage=self.url,
            )
        return await super().presign(key, method=method, expires=expires)
