"""What is done with logs afterwards: archived, deleted, cleaned."""

from __future__ import annotations

from datetime import datetime, timedelta

from objectstorage.aio.storage import AsyncStorage
from objectstorage.errors import (
    ErrBadRequest,
    ErrConflict,
    ErrExist,
    ErrNotExist,
    ErrPreconditionFailed,
)
from objectstorage.logs._async.reader import AsyncLogReader
from objectstorage.logs._async.state import load, load_manifest
from objectstorage.logs.layout import (
    LogInfo,
    archive_key,
    folder_of,
    manifest_key,
    missing,
    segments_prefix,
)

__all__ = ["archive", "clean", "delete"]

_BATCH = 500


async def archive(store: AsyncStorage, name: str) -> LogInfo:
    """Merge a finished log's segments into one object, then delete them.

    Readers and followers in the middle go on in the archive. Interrupted, or
    done by several at once, it can be done again. `ErrConflict` if the log is
    not finished, `ErrNotExist` if there is none.
    """
    folder = folder_of(name)
    state = await load(store, name, folder)
    if not state.finished:
        raise ErrConflict("log isn't finished", details={"log": name})
    id_ = state.manifest.id
    whole = archive_key(folder, id_)
    if state.manifest.size is None:
        try:
            chunks = AsyncLogReader(store, name).stream()
            await store.put(whole, chunks, size=state.size, create=True)
        except ErrExist:
            pass  # by one who was faster, or died after it: the bytes are the same
        manifest = state.manifest._replace(size=state.size, status=state.status)
        try:
            await store.put(manifest_key(folder), manifest.encode(), if_match=state.etag)
        except ErrPreconditionFailed as exc:
            if not await _is_current(store, name, folder, id_):
                await store.delete(whole)
                raise missing(name) from exc
        state = state._replace(manifest=manifest)
    await _delete_below(store, segments_prefix(folder, id_), keep=whole)
    return state.info(name)


async def delete(store: AsyncStorage, name: str) -> None:
    """Delete a log, finished or not; no error if there is none."""
    folder = folder_of(name)
    try:
        manifest, _ = await load_manifest(store, name, folder)
    except ErrNotExist as exc:
        if exc.code == "NoSuchBucket":  # that says nothing of the log
            raise
        return
    # The manifest first: a log that is there is whole.
    await store.delete(manifest_key(folder))
    await _delete_below(store, segments_prefix(folder, manifest.id))


async def clean(store: AsyncStorage, *, older_than: timedelta) -> int:
    """Delete the logs that nothing was written to for so long, by the store's clock.

    Unfinished ones too, and what deletions that were interrupted left behind.
    `store` holds nothing but logs. Returns how many folders of logs went.
    """
    if older_than < timedelta(0):
        raise ErrBadRequest("older_than is not negative")
    horizon = await store.clock() - older_than
    count = 0
    folder, newest = "", horizon
    async for info in store.list():
        parent, _, base = info.key.rpartition("/")
        if not base.startswith("="):
            continue
        if parent != folder:
            count += await _delete_old(store, folder, newest, horizon)
            folder, newest = parent, info.last_modified
        newest = max(newest, info.last_modified)
    return count + await _delete_old(store, folder, newest, horizon)


async def _delete_old(store: AsyncStorage, folder: str, newest: datetime, horizon: datetime) -> int:
    if not folder or newest >= horizon:
        return 0
    await store.delete(manifest_key(folder + "/"))
    await _delete_below(store, folder + "/=")
    return 1


async def _is_current(store: AsyncStorage, name: str, folder: str, id_: str) -> bool:
    try:
        manifest, _ = await load_manifest(store, name, folder)
    except ErrNotExist:
        return False
    return manifest.id == id_


async def _delete_below(store: AsyncStorage, prefix: str, keep: str = "") -> None:
    keys: list[str] = []
    async for info in store.list(prefix):
        if info.key != keep:
            keys.append(info.key)
        if len(keys) == _BATCH:
            await store.delete_many(keys)
            keys = []
    await store.delete_many(keys)
