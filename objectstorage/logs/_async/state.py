"""Where a log stands: its manifest, its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
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
    segments_prefix,
    start_of,
    sums_prefix,
)

__all__ = ["State", "load", "load_manifest", "load_segments", "load_sums"]


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


async def load_sums(store: AsyncStorage, folder: str, id_: str) -> list[tuple[int, int]]:
    """Where the log's sums begin and end, in order."""
    prefix = sums_prefix(folder, id_)
    sums: list[tuple[int, int]] = []
    async for info in store.list(prefix):
        start = int(info.key.removeprefix(prefix))
        sums.append((start, start + info.size))
    return sums


async def load_segments(
    store: AsyncStorage, folder: str, id_: str, start: int
) -> AsyncIterator[tuple[int, int]]:
    """Where the log's segments begin and end, in order, from the one at `start` on."""
    after = segment_key(folder, id_, start - 1) if start else None
    async for info in store.list(segments_prefix(folder, id_), start_after=after):
        place = start_of(info.key)
        if place is None:
            return  # the archive and the sums come after all segments
        yield place, place + info.size - HEADER


async def load(store: AsyncStorage, name: str, folder: str) -> State:
    """Where the log stands; `ErrNotExist` if there is none."""
    manifest, etag = await load_manifest(store, name, folder)
    while manifest.size is None:
        sums = await load_sums(store, folder, manifest.id)
        first = sums[-1][0] if sums else 0
        last: tuple[int, int] | None = None
        async for segment_place in load_segments(store, folder, manifest.id, first):
            last = segment_place
        # Segments go only after the manifest says that the log is archived. If it
        # does not say so even now, nothing was missing in the listing.
        listed = manifest.id
        manifest, etag = await load_manifest(store, name, folder)
        if manifest.size is not None or manifest.id != listed:
            continue
        if last is None:
            return State(manifest, etag, 0, 0, False, "")
        key = segment_key(folder, manifest.id, last[0])
        try:
            fetched = await store.fetch(key, end=HEADER + MAX_STATUS)
        except ErrNotExist:
            continue  # archived or deleted since
        segment = decode_segment(fetched.data, key)
        if segment.end:
            return State(manifest, etag, last[0], segment.epoch, True, segment.data.decode())
        return State(manifest, etag, last[1], segment.epoch, False, "")
    return State(manifest, etag, manifest.size, 0, True, manifest.status)
