"""Where a log stands: its manifest, its end."""

from __future__ import annotations

from typing import NamedTuple

from objectstorage.aio.storage import AsyncStorage
from objectstorage.errors import ErrNotExist
from objectstorage.logs.layout import (
    HEADER,
    MAX_STATUS,
    LogInfo,
    Manifest,
    decode_manifest,
    decode_segment,
    manifest_key,
    missing,
    segment_key,
    start_of,
)

__all__ = ["State", "load", "load_manifest"]


class State(NamedTuple):
    """A log at one moment; `etag` is the manifest's, `epoch` the last segment's."""

    manifest: Manifest
    etag: str
    size: int
    epoch: int
    finished: bool
    status: str

    def info(self, name: str) -> LogInfo:
        """What of it is told to callers."""
        archived = self.manifest.size is not None
        return LogInfo(name, self.size, self.finished, self.status, archived, self.manifest.created)


async def load_manifest(store: AsyncStorage, name: str, folder: str) -> tuple[Manifest, str]:
    """The manifest and its ETag; `ErrNotExist`, "log doesn't exist", if there is none."""
    key = manifest_key(folder)
    try:
        fetched = await store.fetch(key)
    except ErrNotExist as exc:
        if exc.code == "NoSuchBucket":  # that says nothing of the log
            raise
        raise missing(name) from exc
    return decode_manifest(fetched.data, key), fetched.info.etag


async def load(store: AsyncStorage, name: str, folder: str) -> State:
    """Where the log stands; `ErrNotExist` if there is none."""
    while True:
        # The listing first: segments go only after the manifest says that the log is
        # archived. If it doesn't say so afterwards, the listing was whole.
        last: dict[str, tuple[int, int]] = {}
        async for info in store.list(f"{folder}="):
            place = start_of(info.key)
            if place is not None:
                last[place[0]] = place[1], info.size - HEADER
        manifest, etag = await load_manifest(store, name, folder)
        if manifest.size is not None:
            return State(manifest, etag, manifest.size, 0, True, manifest.status)
        if manifest.id not in last:
            return State(manifest, etag, 0, 0, False, "")
        start, size = last[manifest.id]
        key = segment_key(folder, manifest.id, start)
        try:
            fetched = await store.fetch(key, end=HEADER + MAX_STATUS)
        except ErrNotExist:
            continue  # archived or deleted since
        segment = decode_segment(fetched.data, key)
        if segment.end:
            return State(manifest, etag, start, segment.epoch, True, segment.data.decode())
        return State(manifest, etag, start + size, segment.epoch, False, "")
