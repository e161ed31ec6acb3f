"""What a store is measured against: the calls beneath it, without this library.

Bare system calls on a local directory, minio-py on S3. They keep fewer promises
(no confinement, no metadata, no key order, no ETag of every write): the ratio to
them is what the promises cost.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import unquote

from objectstorage.bench.targets import Target
from objectstorage.errors import ErrUnsupported

if TYPE_CHECKING:
    from objectstorage.s3 import S3Storage
    from objectstorage.storage import Storage

__all__ = ["ChunkFile", "directory_target", "minio_target", "raw_target"]

_CHUNK = 1 << 20
_PART = 8 << 20


def raw_target(store: Storage, *, durable: bool | None = None) -> Target:
    """The calls beneath a store; `ErrUnsupported` where there are none.

    >>> from objectstorage import open_storage
    >>> raw_target(open_storage("posix:///data")).url
    'posix:///data'
    """
    from objectstorage.posix import PosixStorage

    if isinstance(store, PosixStorage):
        return directory_target(
            unquote(store.url.removeprefix("posix://")),
            url=store.url,
            durable=store.capabilities.durable_puts if durable is None else durable,
        )
    if store.url.startswith("s3:"):
        from objectstorage.s3 import S3Storage

        if isinstance(store, S3Storage):
            return _minio(store)
    raise ErrUnsupported(f"there is no layer raw for {store.url}")


def directory_target(root: str, *, url: str, durable: bool, layer: str = "raw") -> Target:
    """What must be called at least, without confinement, metadata or an ETag."""
    numbers = itertools.count()

    def create(path: str) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)

    def write(key: str, chunks: Iterable[bytes]) -> None:
        path = os.path.join(root, key)
        temporary = f"{path}.{next(numbers)}"
        try:
            fd = create(temporary)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            fd = create(temporary)
        try:
            try:
                for chunk in chunks:
                    os.write(fd, chunk)
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        if durable:
            fd = os.open(os.path.dirname(path), os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)

    def get(key: str) -> bytes:
        fd = os.open(os.path.join(root, key), os.O_RDONLY)
        data = os.read(fd, os.fstat(fd).st_size)
        os.close(fd)
        return data

    def get_range(key: str, start: int, length: int) -> bytes:
        fd = os.open(os.path.join(root, key), os.O_RDONLY)
        data = os.pread(fd, length, start)
        os.close(fd)
        return data

    def get_stream(key: str) -> Iterator[bytes]:
        fd = os.open(os.path.join(root, key), os.O_RDONLY)
        while data := os.read(fd, _CHUNK):
            yield data
        os.close(fd)

    def find(prefix: str) -> Iterator[tuple[str, int]]:
        folders = [os.path.join(root, prefix)]
        while folders:
            try:
                entries = list(os.scandir(folders.pop()))
            except FileNotFoundError:
                return
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    yield entry.path, entry.stat().st_size

    def delete(key: str) -> None:
        try:
            os.unlink(os.path.join(root, key))
        except FileNotFoundError:
            pass

    def tidy(prefix: str) -> None:
        for folder, _, _ in os.walk(os.path.join(root, prefix), topdown=False):
            with contextlib.suppress(OSError):  # somebody's file is in it
                os.rmdir(folder)

    return Target(
        layer=layer,
        url=url,
        put=lambda key, data: write(key, (data,)),
        get=get,
        get_range=get_range,
        stat=lambda key: os.stat(os.path.join(root, key)),
        list=find,
        delete=delete,
        put_stream=lambda key, chunks, size: write(key, chunks),
        abandon=tidy,
        get_stream=get_stream,
    )


def _minio(store: S3Storage) -> Target:
    from minio import Minio

    options = store._options
    scheme, _, host = store._core.client.origin.partition("://")
    known = options.provider()()
    client = Minio(
        host,
        access_key=known.access_key if known else None,
        secret_key=known.secret_key if known else None,
        session_token=known.session_token if known else None,
        region=options.region or None,
        secure=scheme == "https",
    )
    return minio_target(client, options.bucket, url=store.url, prefix=options.prefix)


def minio_target(
    client: Any, bucket: str, *, url: str, prefix: str = "", layer: str = "raw"
) -> Target:
    """minio-py's methods, for keys below the prefix."""

    def read(key: str, start: int = 0, length: int = 0) -> bytes:
        reply = client.get_object(bucket, prefix + key, offset=start, length=length)
        try:
            return reply.read()
        finally:
            reply.close()
            reply.release_conn()

    def get_stream(key: str) -> Iterator[bytes]:
        reply = client.get_object(bucket, prefix + key)
        try:
            yield from reply.stream(_CHUNK)
        finally:
            reply.close()
            reply.release_conn()

    return Target(
        layer=layer,
        url=url,
        put=lambda key, data: client.put_object(bucket, prefix + key, io.BytesIO(data), len(data)),
        get=read,
        get_range=read,
        stat=lambda key: client.stat_object(bucket, prefix + key),
        list=lambda below: client.list_objects(bucket, prefix + below, recursive=True),
        delete=lambda key: client.remove_object(bucket, prefix + key),
        put_stream=lambda key, chunks, size: client.put_object(
            bucket, prefix + key, cast(BinaryIO, ChunkFile(chunks)), size, part_size=_PART
        ),
        get_stream=get_stream,
    )


class ChunkFile(io.RawIOBase):
    """Chunks as a file to read from, for clients that take nothing else."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        pieces = []
        while size:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    break
            piece = self._rest if size < 0 else self._rest[:size]
            pieces.append(piece)
            self._rest = self._rest[len(piece) :]
            size -= 0 if size < 0 else len(piece)
        return b"".join(pieces)
