"""A store that can't be written to."""

from __future__ import annotations

from objectstorage.errors import ErrPermission
from objectstorage.storage import Capabilities, Conditions
from objectstorage.wrappers._async.forwarding import AsyncCall, AsyncForwardingStorage

__all__ = ["WRITES", "AsyncReadOnlyStorage"]

WRITES = frozenset(
    (
        *("put", "writer", "upload", "copy", "move", "update"),
        *("delete", "delete_many", "abort_upload"),
    )
)
"""The methods that change a store. `presign` may, and so may `probe`."""


class AsyncReadOnlyStorage(AsyncForwardingStorage):
    """`store` for reading: every write is `ErrPermission`, before any I/O."""

    @property
    def capabilities(self) -> Capabilities:
        """The wrapped store's, without what takes a write."""
        return self._store.capabilities._replace(
            conditions=Conditions(), server_side_copy=False, atomic_move=False, durable_puts=False
        )

    async def probe(self) -> Capabilities:
        """The capabilities, without asking: a server is asked by writes."""
        self._check_open("probe")
        return self.capabilities

    async def presign(self, key: str, *, method: str = "GET", expires: int = 3600) -> str:
        """See `Storage.presign`; `ErrPermission` for a URL that would write."""
        if method not in ("GET", "HEAD"):
            raise self._refusal("presign", key)
        return await super().presign(key, method=method, expires=expires)

    def _call(self, operation: str, key: str | None, several: bool = False) -> AsyncCall:
        if operation in WRITES:
            self._check_open(operation)
            raise self._refusal(operation, key)
        return super()._call(operation, key, several)

    def _refusal(self, operation: str, key: str | None) -> ErrPermission:
        return ErrPermission(
            "this store is for reading only", key=key, operation=operation, storage=self.url
        )
