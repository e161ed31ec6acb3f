"""The objects of the log: format, slots, payloads, the boundary. No state but what can't change."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import partial

from objectstorage.aio.storage import AsyncStorage
from objectstorage.datamanager._aiotogether import together
from objectstorage.datamanager.frames import unpack_actions
from objectstorage.datamanager.records import (
    BOUNDARY,
    FORMAT,
    STATUS,
    WAL,
    Payload,
    Record,
    Slot,
    Status,
    number_of,
    pack,
    payload_key,
    slot_key,
    status_key,
    unpack,
    unpack_slot,
    unpack_status,
    unpack_types,
)
from objectstorage.errors import (
    ErrExist,
    ErrIntegrity,
    ErrNotExist,
    ErrOutcomeUnknown,
    ErrPreconditionFailed,
    ErrUnavailable,
    ErrUnsupported,
)
from objectstorage.storage import Fetched

__all__ = ["AsyncLog"]

_VERSION = 1
_TRIES = 5


class AsyncLog:
    """Reads and writes the log's objects in `store`.

    `single_writer`: the caller vouches that nobody else writes, so a store
    without proven conditional writes will do.
    """

    def __init__(
        self,
        store: AsyncStorage,
        single_writer: bool,
        inline: int,
        new_id: Callable[[], str],
        requests: int = 1,
    ) -> None:
        self.store = store
        self._inline = inline
        self.new_id = new_id
        self._requests = requests
        self._single_writer = single_writer
        self._conditional: bool | None = None  # None: not asked yet
        self._store_id: str | None = None

    async def get(self, key: str) -> Fetched | None:
        """The whole object, None if there is none."""
        try:
            return await self.store.fetch(key)
        except ErrNotExist as exc:
            if exc.code == "NoSuchBucket":  # no answer to whether the object is there
                raise
            return None

    # -- format ----------------------------------------------------------------

    async def store_id(self) -> str | None:
        """The id this data was given when it was first written; None if it never was."""
        if self._store_id is None:
            found = await self.get(FORMAT)
            if found is not None:
                body = unpack(found.data, FORMAT)
                if body["version"] != _VERSION:
                    raise ErrUnsupported(
                        f"the data is of format {body['version']}, not {_VERSION}",
                        key=FORMAT,
                        storage=self.store.url,
                    )
                self._store_id = body["store_id"]
        return self._store_id

    async def prepare(self) -> None:
        """What must be so before the first write: proven conditions, a format."""
        if self._conditional is None:
            conditions = (await self.store.probe()).conditions
            proven = conditions is not None and (
                "put" in conditions.create and "put" in conditions.replace
            )
            if not proven and not self._single_writer:
                raise ErrUnsupported(
                    "this store's conditional writes are not proven; "
                    "single_writer=True if nobody else writes",
                    operation="write",
                    storage=self.store.url,
                )
            self._conditional = proven
        while await self.store_id() is None:
            async for info in self.store.list(WAL):
                if await self.store_id() is None:  # still: it was not just being made
                    raise ErrIntegrity(
                        "there is a log, and no format", key=info.key, storage=self.store.url
                    )
                return
            body = {"format": "objectstorage data", "version": _VERSION, "store_id": self.new_id()}
            try:
                await self.create(FORMAT, pack(body))
            except (ErrExist, ErrOutcomeUnknown):
                pass  # read it and see

    # -- conditional writes ----------------------------------------------------

    async def create(self, key: str, data: bytes, *, timeout: float | None = None) -> None:
        """Put a new object; `ErrExist` if the key is taken."""
        if self._conditional:
            await self.store.put(key, data, create=True, timeout=timeout)
            return
        if await self.store.exists(key):
            raise ErrExist("the key is taken", key=key, operation="put", storage=self.store.url)
        await self.store.put(key, data, timeout=timeout)

    async def _replace(self, key: str, data: bytes, etag: str | None) -> None:
        if etag is None:
            await self.create(key, data)
        elif self._conditional:
            await self.store.put(key, data, if_match=etag)
        else:
            await self.store.put(key, data)

    # -- slots and payloads ----------------------------------------------------

    async def slot(self, seq: int) -> Slot | None:
        """The slot at `seq` as it lies there; whether it counts, the boundary says."""
        found = await self.get(slot_key(seq))
        if found is None:
            return None
        return unpack_slot(found.data, seq, found.info.last_modified)

    async def slots(self, seqs: Sequence[int]) -> list[Slot | None]:
        """The slots at these sequences, asked for together."""
        return await together([partial(self.slot, seq) for seq in seqs], self._requests)

    async def opened_all(self, slots: Sequence[Slot]) -> list[Record | ErrNotExist]:
        """`opened` of these, asked for together; an error stands in its place."""
        return await together([partial(self._tried, slot) for slot in slots], self._requests)

    async def _tried(self, slot: Slot) -> Record | ErrNotExist:
        try:
            return await self.opened(slot)
        except ErrNotExist as exc:
            if exc.code == "NoSuchBucket":
                raise
            return exc

    async def opened(self, slot: Slot) -> Record:
        """A slot and what it did, which is nothing if it has no payload.

        `ErrNotExist` naming the payload if that is gone.
        """
        payload = slot.payload
        if payload is None:
            return Record(slot, ())
        key = payload.key or slot_key(slot.seq)
        data = await self.payload(payload, key)
        if slot.kind == "import":
            return Record(slot, (), unpack_types(data, key))
        return Record(slot, unpack_actions(data, key))

    async def payload(self, payload: Payload, key: str) -> bytes:
        """A payload's bytes; `ErrIntegrity` if they differ from what the slot says."""
        data = payload.data
        if data is None:
            data = (await self.store.fetch(key)).data
        check_payload(payload, data, key)
        return data

    async def place(self, data: bytes, sweep: int) -> Payload:
        """A payload for a slot: within it if it is small, else an object written now."""
        digest = hashlib.sha256(data).hexdigest()
        if len(data) <= self._inline:
            return Payload(len(data), digest, None, data)
        key = payload_key(sweep, self.new_id())
        await self.put_new(key, data)
        return Payload(len(data), digest, key, None)

    async def put_new(self, key: str, data: bytes) -> None:
        """Put an object under a name of its own, again if the reply was lost."""
        for _ in range(_TRIES - 1):
            try:
                await self.store.put(key, data)
                return
            except (ErrOutcomeUnknown, ErrUnavailable):
                await self.pause()
        await self.store.put(key, data)

    async def pause(self, seconds: float = 0.05) -> None:
        """Wait, at most so long, so that those who met don't meet again."""
        await self.store._pause(int.from_bytes(os.urandom(2), "big") / 65536 * seconds)

    # -- the boundary ----------------------------------------------------------

    async def boundary(self) -> int:
        """Up to which sequence the log has been collected; 0 for not at all."""
        found = await self.get(BOUNDARY)
        return 0 if found is None else int(unpack(found.data, BOUNDARY)["seq"])

    async def raise_boundary(self, old: int, new: int) -> bool:
        """Move the boundary from `old` up to `new`; False if it is elsewhere by now."""
        while True:
            found = await self.get(BOUNDARY)
            current = 0 if found is None else int(unpack(found.data, BOUNDARY)["seq"])
            if current != old:
                return False
            etag = None if found is None else found.info.etag
            try:
                await self._replace(BOUNDARY, pack({"seq": new}), etag)
                return True
            except ErrPreconditionFailed:
                continue  # somebody moved it: look
            except (ErrOutcomeUnknown, ErrUnavailable):
                # If it is at `new` now, it may have been another who moved it. Then
                # nobody knows whose work it is to delete payloads: the sweep's.
                await self.pause()

    async def delete_all(self, keys: Sequence[str]) -> None:
        """Delete objects; what failed, once more by itself."""
        if keys:
            for key in await self.store.delete_many(keys, errors="return"):
                await self.delete(key)

    async def delete(self, key: str) -> None:
        """Delete an object, again if the reply was lost."""
        for _ in range(_TRIES - 1):
            try:
                await self.store.delete(key)
                return
            except (ErrOutcomeUnknown, ErrUnavailable):
                await self.pause()
        await self.store.delete(key)

    # -- statuses --------------------------------------------------------------

    async def newest_status(self) -> Status | None:
        """The last checkpoint's status, None before the first."""
        while True:
            newest = 0
            async for info in self.store.list(STATUS):
                newest = max(newest, number_of(info.key) or 0)
            if not newest:
                return None
            status = await self.status(newest)
            if status is not None:
                return status
            # a newer one came, and this one was collected, between the two

    async def status(self, checkpoint: int) -> Status | None:
        """The status of a checkpoint, None if there is none."""
        found = await self.get(status_key(checkpoint))
        if found is None:
            return None
        return unpack_status(found.data, checkpoint, found.info.last_modified)


def check_payload(payload: Payload, data: bytes, key: str) -> None:
    """`ErrIntegrity` if these are not the payload's bytes."""
    if len(data) != payload.length:
        raise ErrIntegrity(f"{len(data)} of {payload.length} bytes are there", key=key)
    if hashlib.sha256(data).hexdigest() != payload.sha256:
        raise ErrIntegrity("the checksum differs", key=key)
