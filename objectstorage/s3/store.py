"""`S3Storage`: the blocking face of an S3 store."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

from objectstorage import _fork
from objectstorage.bodies import Source
from objectstorage.errors import ErrBadRequest, ErrClosed, StorageError
from objectstorage.s3.connecting import connect
from objectstorage.s3.core import Core
from objectstorage.s3.effects import BlockingDriver, Effects
from objectstorage.s3.gathering import Gathering
from objectstorage.s3.options import OPTION_NAMES, Options, parse_options
from objectstorage.s3.reading import ObjectBody
from objectstorage.s3.shortcut import Shortcut
from objectstorage.storage import (
    UNSET,
    Capabilities,
    Data,
    Fetched,
    ObjectInfo,
    Prefix,
    PutResult,
    Reader,
    Storage,
    Unset,
    Upload,
    Writer,
)
from objectstorage.urls import SECRET_OPTIONS

__all__ = ["S3Storage"]

_T = TypeVar("_T")


def _rebuild(bucket: str, path: str, options: dict[str, Any]) -> S3Storage:
    return S3Storage(bucket, path, **options)


class S3Storage(Storage):
    """A bucket, or the part of it below a prefix, on S3, MinIO, SeaweedFS or the like.

    Options as in the README; no I/O happens here. `dialect` chooses the rules
    of the server ("aws", "minio", "seaweedfs", "generic"), "auto" goes by its
    `Server` header and probes conditional writes on first use.
    """

    OPTIONS: tuple[str, ...] = OPTION_NAMES

    def __init__(self, bucket: str, prefix: str = "", **options: Any) -> None:
        unknown = sorted(set(options) - set(OPTION_NAMES))
        if unknown:
            raise ErrBadRequest(f"S3Storage has no option {', '.join(map(repr, unknown))}")
        # To be rebuilt from; secrets are kept in one place only, and are not pickled.
        plain = {name: value for name, value in options.items() if name not in SECRET_OPTIONS}
        self._given = (bucket, prefix, plain)
        self._options: Options = parse_options(bucket, prefix, options)
        self._core = Core(self._options)
        tls = self._options.tls_context(self._core.client.origin)

        def open_transport(origin: str) -> Any:
            return connect(self._options, origin, tls)

        self._driver = BlockingDriver(
            open_transport,
            self._core.client.origin,
            max(8, 2 * self._options.parts_in_flight),
            self._options.url,
        )
        _fork.register(self)

    @classmethod
    def from_url(cls, netloc: str, path: str, options: dict[str, Any]) -> S3Storage:
        """The store of an `s3://` URL (see `objectstorage.urls`)."""
        return cls(netloc, path, **options)

    def __reduce__(self) -> tuple[Callable[..., S3Storage], tuple[Any, ...]]:
        bucket, prefix, options = self._given
        if self._options.holds_secrets:
            raise TypeError(
                "a store with credentials given in code is not pickled; "
                "one that finds them in the environment is"
            )
        return _rebuild, (bucket, prefix, options)

    def _after_fork(self) -> None:
        self._core.client.after_fork()
        self._driver.after_fork()

    @property
    def url(self) -> str:
        """The store's URL; never contains a secret."""
        return self._options.url

    @property
    def capabilities(self) -> Capabilities:
        """What is declared and known so far; `probe` asks the server for the rest."""
        return self._core.capabilities

    def _run(self, operation: str, key: str | None, steps: Effects[_T] | Shortcut[_T]) -> _T:
        if self._closed:
            raise ErrClosed("the store is closed", key=key, operation=operation, storage=self.url)
        return self._driver.run(steps, operation, key)

    def _iterate(self, operation: str, key: str | None, generator: Effects[None]) -> Iterator[Any]:
        self._check_open(operation)
        return self._items(operation, key, generator)

    def _items(self, operation: str, key: str | None, generator: Effects[None]) -> Iterator[Any]:
        try:
            for batch in self._driver.iterate(generator):
                yield from batch
        except StorageError as exc:
            raise exc.at(key=key, operation=operation, storage=self.url)

    # -- the verbs -------------------------------------------------------------

    def probe(self) -> Capabilities:
        """The capabilities, after asking the server which conditions it keeps."""
        self._run("probe", None, self._core.probe())
        return self.capabilities

    def put(
        self,
        key: str,
        data: Data | Source,
        *,
        size: int | None = None,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        create: bool = False,
        if_match: str | Unset = UNSET,
        durable: bool | None = None,
        timeout: float | None = None,
    ) -> PutResult:
        """See `Storage.put`. `durable` is accepted: the server's word is all there is."""
        return self._run(
            "put",
            key,
            self._core.put(key, data, size, content_type, metadata, create, if_match, timeout),
        )

    def get(self, key: str) -> bytes:
        """See `Storage.get`."""
        return self._run("get", key, self._core.get(key))

    def fetch(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        if_match: str | Unset = UNSET,
        if_none_match: str | Unset = UNSET,
    ) -> Fetched:
        """See `Storage.fetch`."""
        return self._run("fetch", key, self._core.fetch(key, start, end, if_match, if_none_match))

    def get_ranges(
        self,
        key: str,
        *,
        starts: Sequence[int],
        ends: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> list_[bytes]:
        """See `Storage.get_ranges`; several requests in flight."""
        return self._run("get_ranges", key, self._core.get_ranges(key, starts, ends, lengths))

    def stat(self, key: str) -> ObjectInfo:
        """See `Storage.stat`."""
        return self._run("stat", key, self._core.stat(key))

    def open(self, key: str) -> Reader:
        """See `Storage.open`; reads ahead further the longer reading is sequential."""
        body = self._run("open", key, self._core.open(key))
        return Reader(_S3Raw(self, key, body), body.info, 256 * 1024)

    def _open_whole(self, key: str) -> Reader:
        body = self._run("open", key, self._core.open_whole(key))
        return Reader(_S3Raw(self, key, body), body.info, 256 * 1024)

    def stream(self, key: str, *, chunk_size: int = 1024 * 1024) -> Iterator[bytes]:
        """See `Storage.stream`; one request, resumed if it is cut."""
        if chunk_size < 1:
            raise ErrBadRequest("chunk_size is at least 1")
        body = self._run("stream", key, self._core.open_whole(key))
        try:
            place = 0
            while data := self._run("stream", key, body.read(place, chunk_size)):
                place += len(data)
                yield data
        finally:
            if not self._closed:
                self._run("stream", key, body.close())

    def writer(
        self,
        key: str,
        *,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        create: bool = False,
        if_match: str | Unset = UNSET,
        durable: bool | None = None,
    ) -> Writer:
        """See `Storage.writer`; holds a part, and sends them beside each other."""
        gathering = self._run(
            "writer",
            key,
            self._core.begin_writer(key, content_type, metadata, create, if_match),
        )
        return _S3Writer(self, key, gathering)

    def list(
        self, prefix: str = "", *, start_after: str | None = None, ordered: bool = True
    ) -> Iterator[ObjectInfo]:
        """See `Storage.list`."""
        self._core.check_prefix("list", prefix)
        return self._iterate("list", prefix, self._core.list(prefix, start_after, ordered))

    def list_level(self, prefix: str = "") -> Iterator[ObjectInfo | Prefix]:
        """See `Storage.list_level`."""
        self._core.check_prefix("list_level", prefix)
        return self._iterate("list_level", prefix, self._core.list_level(prefix))

    def delete(self, key: str, *, if_match: str | Unset = UNSET, must_exist: bool = False) -> None:
        """See `Storage.delete`; in a versioned bucket it leaves a marker."""
        self._run("delete", key, self._core.delete(key, if_match, must_exist))

    def delete_many(
        self, keys: Iterable[str], *, errors: Literal["raise", "return"] = "raise"
    ) -> dict[str, StorageError]:
        """See `Storage.delete_many`; a thousand a request."""
        return self._run("delete_many", None, self._core.delete_many(keys, errors))

    def _copy_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        return self._run("copy", src, self._core.copy(src, dst, create))

    def _move_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        return self._run("move", src, self._core.move(src, dst, create))

    def presign(self, key: str, *, method: str = "GET", expires: int = 3600) -> str:
        """See `Storage.presign`; the URL is a secret for as long as it holds."""
        return self._run("presign", key, self._core.presign(key, method, expires))

    def list_uploads(self, prefix: str = "") -> Iterator[Upload]:
        """See `Storage.list_uploads`."""
        self._core.check_prefix("list_uploads", prefix)
        return self._iterate("list_uploads", prefix, self._core.list_uploads(prefix))

    def abort_upload(self, upload: Upload) -> None:
        """See `Storage.abort_upload`."""
        self._run("abort_upload", upload.key, self._core.abort_upload(upload))

    def clock(self) -> datetime:
        """See `Storage.clock`: the server's `Date`, in whole seconds."""
        return self._run("clock", None, self._core.clock())

    def close(self) -> None:
        """See `Storage.close`."""
        if not self._closed:
            self._closed = True
            self._driver.close()


class _S3Raw(io.RawIOBase):
    """An object's body as a raw stream."""

    def __init__(self, store: S3Storage, key: str, body: ObjectBody) -> None:
        self._store = store
        self._key = key
        self._body = body
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._store._run("read", self._key, self._body.read(self._at, len(buffer)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = (0, self._at, self._body.info.size)[whence]
        if base + offset < 0:
            raise ValueError("seek before the start")
        self._at = base + offset
        return self._at

    def close(self) -> None:
        if not self.closed and not self._store._closed:
            self._store._run("close", self._key, self._body.close())
        super().close()


class _S3Writer(Writer):
    """The blocking face of a `Gathering`."""

    def __init__(self, store: S3Storage, key: str, gathering: Gathering) -> None:
        super().__init__()
        self._store = store
        self._key = key
        self._gathering = gathering

    def _append(self, data: memoryview) -> None:
        self._store._run("writer", self._key, self._gathering.append(data))

    def _publish(self) -> PutResult:
        return self._store._run("writer", self._key, self._gathering.publish())

    def _discard(self) -> None:
        if not self._store._closed:
            self._store._run("writer", self._key, self._gathering.discard())


list_ = list  # `list` is a method's name inside the class
