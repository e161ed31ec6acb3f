"""What follows from a store's own verbs, written once for both faces.

A plan is a generator that yields steps, calls without arguments, and is sent
their results. The sync face calls each step (`storage.run`); the async face
calls it and awaits what comes back. A plan itself does no I/O on the store.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, BinaryIO, Literal, TypeAlias, TypeVar

from objectstorage.errors import (
    ErrBadRequest,
    ErrExist,
    ErrIntegrity,
    ErrInvalidRange,
    ErrNotExist,
    ErrPartial,
    ErrPreconditionFailed,
    ErrTimeout,
    ErrUnavailable,
    StorageError,
)
from objectstorage.ranges import check_length, check_range, coalesce, resolve_range

_T = TypeVar("_T")
Plan: TypeAlias = Generator[Callable[[], Any], Any, _T]

# Ranges nearer to each other than this are read as one: about what a request
# costs in bytes that could have been sent meanwhile.
GAP = 64 * 1024
CHUNK = 1024 * 1024


@contextmanager
def placed(store: Any, operation: str, key: str | None = None) -> Iterator[None]:
    """Say in errors of the block where they happened, unless that is known."""
    try:
        yield
    except StorageError as exc:
        raise exc.at(key=key, operation=operation, storage=store.url)


def exists(store: Any, key: str) -> Plan[bool]:
    try:
        yield lambda: store.stat(key)
    except ErrNotExist as exc:
        # A missing bucket is no answer to whether the object is there.
        if exc.code == "NoSuchBucket":
            raise
        return False
    return True


def get_range(store: Any, key: str, start: int, end: int | None, length: int | None) -> Plan[bytes]:
    try:
        check_range(start, end)
        check_length(end, length)
    except StorageError as exc:
        raise exc.at(key=key, operation="get_range", storage=store.url)
    if length is not None and start >= 0:
        end = start + length
    elif length is not None and length < -start:
        while True:
            info = yield lambda: store.stat(key)
            first, _ = resolve_range(start, None, info.size)  # from the end: never beyond it
            try:
                fetched = yield partial(
                    store.fetch, key, start=first, end=first + length, if_match=info.etag
                )
            except ErrPreconditionFailed:
                continue  # replaced in between: "from the end" means another place now
            return fetched.data
    fetched = yield lambda: store.fetch(key, start=start, end=end)
    return fetched.data


def check_ranges(
    starts: Sequence[int], ends: Sequence[int] | None, lengths: Sequence[int] | None
) -> list[tuple[int, int]]:
    """The (start, end) pairs that `get_ranges` was asked for."""
    if (ends is None) == (lengths is None):
        raise ErrBadRequest("give ends or lengths")
    other = lengths if ends is None else ends
    if other is None or len(starts) != len(other):
        raise ErrBadRequest("starts and ends (or lengths) differ in number")
    pairs = []
    for start, value in zip(starts, other, strict=True):
        end = start + value if ends is None else value
        check_range(start, max(end, 0))
        if start < 0 or end < start:
            raise ErrInvalidRange(f"the range {start} to {end} is not one")
        pairs.append((start, end))
    return pairs


def get_ranges(
    store: Any,
    key: str,
    starts: Sequence[int],
    ends: Sequence[int] | None,
    lengths: Sequence[int] | None,
) -> Plan[list[bytes]]:
    with placed(store, "get_ranges", key):
        pairs = check_ranges(starts, ends, lengths)
    reader = yield lambda: store.open(key)
    try:
        size = reader.info.size
        with placed(store, "get_ranges", key):
            for start, _ in pairs:
                resolve_range(start, None, size)
        blocks: list[tuple[int, bytes]] = []
        for start, end in coalesce([(a, min(b, size)) for a, b in pairs if a < b], GAP):
            yield partial(reader.seek, start)
            blocks.append((start, (yield partial(reader.read, end - start))))
    finally:
        yield lambda: reader.close()
    return [_cut(blocks, start, end) for start, end in pairs]


def _cut(blocks: list[tuple[int, bytes]], start: int, end: int) -> bytes:
    for first, data in blocks:
        if first <= start < first + len(data):
            return data[start - first : end - first]
    return b""


def copy(store: Any, src: str, dst: str, create: bool) -> Plan[Any]:
    same = yield from _onto_itself(store, "copy", src, dst, create)
    if same is not None:
        return same
    return (yield lambda: store._copy_within(src, dst, create=create))


def move(store: Any, src: str, dst: str, create: bool) -> Plan[Any]:
    same = yield from _onto_itself(store, "move", src, dst, create)
    if same is not None:
        return same
    return (yield lambda: store._move_within(src, dst, create=create))


def _onto_itself(store: Any, operation: str, src: str, dst: str, create: bool) -> Plan[Any]:
    rules = store.capabilities.key_rules
    with placed(store, operation):
        rules.check(src)
        rules.check(dst)
    if src != dst:
        return None
    info = yield lambda: store.stat(src)
    if create:
        raise ErrExist("the key is taken", key=dst, operation=operation, storage=store.url)
    return dst, info.size, info.etag  # a `PutResult`'s fields; the face makes it one


def update(
    store: Any, key: str, fn: Callable[[bytes | None], bytes | None], timeout: float | None
) -> Plan[Any]:
    deadline = None if timeout is None else time.monotonic() + timeout
    tries = 0
    while True:
        try:
            old = yield lambda: store.fetch(key)
        except ErrNotExist as exc:
            if exc.code == "NoSuchBucket":
                raise
            data = fn(None)
            options: dict[str, Any] = {"create": True}
        else:
            data = fn(old.data)
            options = {"if_match": old.info.etag}
            # a store that keeps no metadata would refuse what was never there
            if old.info.content_type is not None:
                options["content_type"] = old.info.content_type
            if old.info.metadata:
                options["metadata"] = old.info.metadata
        if data is None:
            return None
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise ErrTimeout(
                f"others were faster for {timeout} s, {tries} tries",
                key=key,
                operation="update",
                storage=store.url,
            )
        try:
            return (yield partial(store.put, key, data, timeout=left, **options))
        except ErrPreconditionFailed:
            tries += 1
        if tries > 2:
            import random  # here: `import objectstorage` is to be quick

            # Full jitter, so that losers do not meet again; capped, so that a
            # long queue of writers still moves at the store's own pace.
            pause = random.uniform(0, min(0.001 * 2 ** min(tries, 10), 0.1))
            yield partial(store._pause, pause)


def delete_many(
    store: Any, keys: Iterable[str], errors: Literal["raise", "return"]
) -> Plan[dict[str, StorageError]]:
    with placed(store, "delete_many"):
        check_errors_option(errors)
    failed: dict[str, StorageError] = {}
    count = 0
    for key in keys_of(keys):
        count += 1
        try:
            yield partial(store.delete, key)
        except StorageError as exc:
            failed[key] = exc.at(key=key)
    return outcome(failed, count, errors, store.url)


def keys_of(keys: Iterable[str]) -> Iterable[str]:
    """Refuse the one string that would be taken for its characters."""
    if isinstance(keys, str):
        raise TypeError("keys is an iterable of keys, not one str")
    return keys


def check_errors_option(errors: str) -> None:
    """`errors` is one of two words."""
    if errors not in ("raise", "return"):
        raise ErrBadRequest(f"errors is 'raise' or 'return', not {errors!r}")


def outcome(
    failed: dict[str, StorageError], count: int, errors: str, storage: str
) -> dict[str, StorageError]:
    """`failed`, raised as `ErrPartial` if there is any and that was asked for."""
    if failed and errors == "raise":
        raise ErrPartial(
            f"{len(failed)} of {count} deletes failed",
            list(failed.values()),
            operation="delete_many",
            storage=storage,
        )
    return failed


class Watched:
    """A file whose reads are reported as progress."""

    def __init__(
        self, file: BinaryIO, progress: Callable[[int, int | None], None], total: int
    ) -> None:
        self._file = file
        self._progress = progress
        self._total = total

    def read(self, n: int = -1, /) -> bytes:
        data = self._file.read(n)
        self._progress(self._file.tell(), self._total)
        return data

    def readinto(self, buffer: Any, /) -> int:
        count = self._file.readinto(buffer)  # type: ignore[attr-defined]  # BinaryIO lacks it
        self._progress(self._file.tell(), self._total)
        return int(count)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return self._file.seekable()


def upload(
    store: Any,
    key: str,
    path: str | os.PathLike[str],
    progress: Callable[[int, int | None], None] | None,
    **options: Any,
) -> Plan[Any]:
    # The key first: a bad one must be told apart from an unreadable file.
    with placed(store, "upload"):
        store.capabilities.key_rules.check(key)
    file = yield lambda: store._aside(open, path, "rb")
    with file:
        data = file
        if progress is not None:
            data = Watched(file, progress, os.fstat(file.fileno()).st_size)
        return (yield lambda: store.put(key, data, **options))


def download(
    store: Any,
    key: str,
    path: str | os.PathLike[str],
    progress: Callable[[int, int | None], None] | None,
) -> Plan[Any]:
    from objectstorage._partfile import PartFile  # here: `import objectstorage` is to be quick

    target = os.fspath(path)
    reader = yield lambda: store._open_whole(key)
    part = PartFile(target, f"{store.url}\0{key}")  # now: what is no key was refused
    try:
        info = reader.info
        yield partial(store._aside, part.open, info.etag, info.size)
        if part.done:
            yield lambda: reader.seek(part.done)
        while chunk := (yield lambda: reader.read(CHUNK)):
            yield partial(store._aside, part.write, chunk)
            if progress is not None:
                progress(part.done, info.size)
        if part.done != info.size:
            raise ErrIntegrity(
                f"{part.done} of {info.size} bytes came",
                key=key,
                operation="download",
                storage=store.url,
            )
        yield partial(store._aside, part.publish)
    except BaseException as exc:
        # The network may be there again later, and so may who was interrupted.
        part.leave(keep=isinstance(exc, ErrUnavailable) or not isinstance(exc, Exception))
        raise
    finally:
        yield lambda: reader.close()
    return info
