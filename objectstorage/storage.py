"""The contract in code: what every store does, with which errors.

A store implements the abstract methods; everything else has a correct default
here that a store may override to be faster. Read `objectstorage.memory` next:
it is the smallest complete store.

Common to all methods: `ErrInvalidKey` for a key that can't be held, before any
I/O; `ErrClosed` after `close`; `ErrPermission` when denied; `ErrUnavailable`
(`ErrTimeout` past a deadline) when a remote store did not answer; `ErrIO` when
the local system failed. All are `StorageError`s and carry the key, the
operation and the store.
"""

from __future__ import annotations

import enum
import io
import os
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, BinaryIO, Literal, NamedTuple, Self, TypeAlias, TypeVar

from objectstorage import _plans
from objectstorage.errors import ErrBadRequest, ErrClosed, ErrNotExist, ErrUnsupported, StorageError
from objectstorage.keys import KeyRules, check_prefix

__all__ = [
    "ALL_CONDITIONS",
    "UNSET",
    "Capabilities",
    "Conditions",
    "Data",
    "Fetched",
    "ObjectInfo",
    "Prefix",
    "Progress",
    "PutResult",
    "Reader",
    "Storage",
    "Unset",
    "Upload",
    "Writer",
    "check_condition",
    "run",
]

_T = TypeVar("_T")

Data: TypeAlias = bytes | bytearray | memoryview | BinaryIO | Iterable[bytes]
"""What `put` takes: bytes-like, a binary file, or an iterable of bytes."""

Progress: TypeAlias = Callable[[int, int | None], None]
"""Called with the bytes done and the bytes in all, None if that is unknown."""


class Unset(enum.Enum):
    """The type of `UNSET`: "no condition", which None is not."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset.UNSET


class ObjectInfo(tuple[Any, ...]):
    """What is known of one version of one object; immutable.

    `key`; `size` in bytes; `last_modified`, aware and in UTC; `etag`, opaque,
    unquoted, never None; `content_type` and `metadata`, which a listing may
    leave None ("not said").

    >>> from datetime import UTC, datetime
    >>> ObjectInfo("a", 5, datetime(2024, 1, 1, tzinfo=UTC), "v1").size
    5
    """

    # A tuple underneath because a listing makes millions of these; stores may
    # subclass it to compute a field only when it is asked for.
    __slots__ = ()

    def __new__(
        cls,
        key: str,
        size: int,
        last_modified: datetime,
        etag: str,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Self:
        return tuple.__new__(cls, (key, size, last_modified, etag, content_type, metadata))

    @property
    def key(self) -> str:
        """The object's key."""
        return self[0]

    @property
    def size(self) -> int:
        """Bytes."""
        return self[1]

    @property
    def last_modified(self) -> datetime:
        """When this version was written; aware, UTC."""
        return self[2]

    @property
    def etag(self) -> str:
        """This version's opaque name."""
        return self[3]

    @property
    def content_type(self) -> str | None:
        """As given to `put`; None when none was given or a listing did not say."""
        return self[4]

    @property
    def metadata(self) -> dict[str, str] | None:
        """As given to `put`, {} when none was; None when a listing did not say."""
        return self[5]

    def _fields(self) -> tuple[Any, ...]:
        return (
            self.key,
            self.size,
            self.last_modified,
            self.etag,
            self.content_type,
            self.metadata,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectInfo) and self._fields() == other._fields()

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((self.key, self.etag))

    def __repr__(self) -> str:
        return (
            f"ObjectInfo(key={self.key!r}, size={self.size}, "
            f"last_modified={self.last_modified.isoformat()}, etag={self.etag!r}, "
            f"content_type={self.content_type!r}, metadata={self.metadata!r})"
        )

    def __reduce__(self) -> tuple[type[ObjectInfo], tuple[Any, ...]]:
        return ObjectInfo, self._fields()


class Prefix(NamedTuple):
    """A common prefix of one level's keys; `key` ends in `/`."""

    key: str


class PutResult(NamedTuple):
    """What a write made: the key, its size in bytes, the new version's ETag."""

    key: str
    size: int
    etag: str


class Fetched(NamedTuple):
    """Bytes and the version they are of; `info.size` is the whole object's."""

    data: bytes
    info: ObjectInfo


class Upload(NamedTuple):
    """An unfinished multipart upload."""

    key: str
    upload_id: str
    initiated: datetime


class Conditions(NamedTuple):
    """Which conditions hold for which verbs, atomically, under races.

    `create` and `replace`: subsets of put, multipart, copy. `delete`: {delete}
    or empty. `move(create=True)` goes with copy.
    """

    create: frozenset[str] = frozenset()
    replace: frozenset[str] = frozenset()
    delete: frozenset[str] = frozenset()


ALL_CONDITIONS = Conditions(
    create=frozenset({"put", "multipart", "copy"}),
    replace=frozenset({"put", "multipart"}),
    delete=frozenset({"delete"}),
)


class Capabilities(NamedTuple):
    """What a store promises of what not every store can; plain data.

    `conditions`: None until a store that must ask its server has asked
    (`Storage.probe` asks). `etag_kind`: "version" changes with every write (a
    move may keep it), "content" may repeat for equal bytes. `metadata`: user metadata and content
    type are kept. `strong_etags`: equal ETags mean equal bytes.
    `durable_puts` is declared; no probe can verify it.
    """

    conditions: Conditions | None
    key_rules: KeyRules
    ordered_listing: bool
    etag_kind: Literal["version", "content"]
    metadata: bool
    server_side_copy: bool
    atomic_move: bool
    presign: bool
    strong_etags: bool
    durable_puts: bool


class Reader(io.BufferedReader):
    """An open object: binary, seekable, one version from first byte to last.

    A store gives it a raw stream (`readinto`, `seek`, `tell`) and the version.
    """

    def __init__(self, raw: io.RawIOBase, info: ObjectInfo, buffer_size: int = 64 * 1024) -> None:
        super().__init__(raw, buffer_size)
        self._info = info

    @property
    def info(self) -> ObjectInfo:
        """The version that is being read."""
        return self._info


class Writer(io.BufferedIOBase, ABC):
    """An object being written: visible only after a clean `close`.

    `close()` publishes, `abort()` and leaving a `with` by an exception do not;
    one that is neither closed nor aborted is discarded with a
    `ResourceWarning`. `result` is the `PutResult` once published. After a
    failed `write` nothing can be published any more.
    """

    def __init__(self) -> None:
        self.result: PutResult | None = None
        self._state: Literal["open", "closed"] = "open"
        self._broken: BaseException | None = None
        self._count = 0

    @abstractmethod
    def _append(self, data: memoryview) -> None:
        """Take all of `data`; called with contiguous bytes."""

    @abstractmethod
    def _publish(self) -> PutResult:
        """Make what was appended the object."""

    @abstractmethod
    def _discard(self) -> None:
        """Leave no trace."""

    def writable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Bytes written so far."""
        return self._count

    @property
    def closed(self) -> bool:
        """Whether it was published or discarded."""
        # getattr: io's finaliser may ask before __init__ has run
        return getattr(self, "_state", "closed") == "closed"

    def write(self, data: Any, /) -> int:
        """Take all of a bytes-like object; returns its length in bytes."""
        if self.closed:
            raise ErrClosed("write to a closed writer")
        if isinstance(data, str):
            raise TypeError("a bytes-like object is required, not 'str'")
        view = memoryview(data).cast("B")
        try:
            self._append(view)
        except BaseException as exc:
            self._broken = exc
            raise
        self._count += len(view)
        return len(view)

    def flush(self) -> None:
        """Does nothing: nothing is visible before `close`."""

    def close(self) -> None:
        """Publish. Does nothing the second time."""
        if self.closed:
            return
        if self._broken is not None:
            self.abort()
            raise ErrClosed("an earlier write failed, nothing was published") from self._broken
        self._state = "closed"
        self.result = self._publish()

    def abort(self) -> None:
        """Discard. Does nothing after `close`."""
        if self.closed:
            return
        self._state = "closed"
        self._discard()

    def __exit__(self, exc_type: object, *args: object) -> None:
        if exc_type is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        # Not io's own finaliser: that one closes, and closing publishes.
        if not self.closed:
            warnings.warn(
                f"{self!r} was never closed; discarded",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
            self.abort()


def run(plan: Generator[Callable[[], Any], Any, Any]) -> Any:
    """Run a plan (see `objectstorage._plans`) by calling each step in turn."""
    try:
        step = next(plan)
        while True:
            try:
                value = step()
            except BaseException as exc:
                step = plan.throw(exc)
            else:
                step = plan.send(value)
    except StopIteration as stop:
        return stop.value


class Storage(ABC):
    """One store of objects; safe across threads; a context manager that closes.

    >>> import objectstorage
    >>> with objectstorage.open_storage("memory://") as store:
    ...     store.put("a", b"hello").size, store.get("a")
    (5, b'hello')
    """

    _closed = False

    # -- what a store must have ------------------------------------------------

    @property
    @abstractmethod
    def url(self) -> str:
        """The store's URL; never contains a secret."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this store promises; no I/O."""

    @abstractmethod
    def put(
        self,
        key: str,
        data: Data,
        *,
        size: int | None = None,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        create: bool = False,
        if_match: str | Unset = UNSET,
        durable: bool | None = None,
        timeout: float | None = None,
    ) -> PutResult:
        """Store an object, atomically; durable on return unless told otherwise.

        data: bytes-like (sent without a copy), a binary file from where it
            stands, or an iterable of bytes.
        size: take exactly that many bytes and leave the rest unread;
            `ErrIntegrity`, and nothing stored, if there are fewer.
        create: only if the key is free, else `ErrExist`.
        if_match: only if this is the current ETag, else `ErrPreconditionFailed`.
        durable: None is the store's default; False keeps atomicity, but what
            was acknowledged may be lost with the power.
        timeout: seconds in all; `ErrTimeout` (or `ErrOutcomeUnknown` once the
            publish was under way).
        Errors: `ErrConflict` where `a` and `a/b` can't both be,
        `ErrInvalidMetadata`, `ErrUnsupported` for a condition that the store
        can't keep, `ErrOutcomeUnknown`, `ErrDurabilityUnknown`.
        """

    @abstractmethod
    def fetch(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        if_match: str | Unset = UNSET,
        if_none_match: str | Unset = UNSET,
    ) -> Fetched:
        """Bytes `start` to `end` (exclusive) and the version they are of.

        A negative start counts from the end of the object. A range past the
        end is cut; an empty one gives b""; one that starts beyond the end is
        `ErrInvalidRange`. `if_match`: `ErrPreconditionFailed` unless that is
        the current ETag; `if_none_match`: `ErrNotModified` if it is.
        `ErrNotExist` if there is no such object.
        """

    @abstractmethod
    def stat(self, key: str) -> ObjectInfo:
        """What is known of the object; `ErrNotExist` if there is none."""

    @abstractmethod
    def open(self, key: str) -> Reader:
        """The object as a binary, seekable file of one version.

        If the object is replaced meanwhile, the old bytes go on, or the next
        read is `ErrPreconditionFailed`; never a mix. `ErrNotExist`.
        """

    @abstractmethod
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
        """A file to write the object to, visible only on a clean `close`.

        Conditions are as `put`'s and are decided at `close`.
        """

    @abstractmethod
    def list(
        self, prefix: str = "", *, start_after: str | None = None, ordered: bool = True
    ) -> Iterator[ObjectInfo]:
        """Objects whose key begins with `prefix`, in the order of their UTF-8 bytes.

        `prefix` is a plain string, not a folder. `start_after` is exclusive and
        need not exist; what lies wholly before it is not read. Lazy, in bounded
        memory. What is there from start to end is listed exactly once; what
        vanishes meanwhile is left out. `ordered=False` allows any order, for
        stores that have none.
        """

    @abstractmethod
    def delete(self, key: str, *, if_match: str | Unset = UNSET, must_exist: bool = False) -> None:
        """Delete the object; no error if there is none, unless `must_exist`.

        `if_match`: only that version, else `ErrPreconditionFailed`, a missing
        object included.
        """

    @abstractmethod
    def _copy_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        """Copy between two different valid keys of this store, atomically."""

    def close(self) -> None:
        """Let connections and descriptors go; every later call is `ErrClosed`."""
        self._closed = True

    # -- what follows from it --------------------------------------------------

    def probe(self) -> Capabilities:
        """The capabilities, after asking the server what only it can tell."""
        return self.capabilities

    def get(self, key: str) -> bytes:
        """The object's bytes; `ErrNotExist` if there is no such object."""
        return self.fetch(key).data

    def get_range(
        self, key: str, *, start: int, end: int | None = None, length: int | None = None
    ) -> bytes:
        """Bytes `start` to `end` (exclusive), or `length` bytes from `start`.

        As `fetch`'s range; `end` and `length` exclude each other.
        """
        return run(_plans.get_range(self, key, start, end, length))

    def get_ranges(
        self,
        key: str,
        *,
        starts: Sequence[int],
        ends: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> list_[bytes]:
        """Several ranges of one version, in the order asked for.

        `starts` are not negative; `ends` (exclusive) or `lengths` are as many.
        Neighbouring ranges are read together. Each is as `fetch`'s range.
        """
        return run(_plans.get_ranges(self, key, starts, ends, lengths))

    def exists(self, key: str) -> bool:
        """Whether there is such an object; false only when the store said so."""
        return run(_plans.exists(self, key))

    def stream(self, key: str, *, chunk_size: int = 1024 * 1024) -> Iterator[bytes]:
        """The object's bytes in chunks of at most `chunk_size`, of one version.

        `ErrNotExist` on the first step if there is no such object.
        """
        if chunk_size < 1:
            raise ErrBadRequest(
                "chunk_size is at least 1", key=key, operation="stream", storage=self.url
            )
        with self.open(key) as reader:
            while chunk := reader.read(chunk_size):
                yield chunk

    def upload(
        self,
        key: str,
        path: str | os.PathLike[str],
        *,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        create: bool = False,
        if_match: str | Unset = UNSET,
        durable: bool | None = None,
        progress: Progress | None = None,
    ) -> PutResult:
        """Store a local file's bytes; options as `put`'s.

        A path that can't be read is the builtin's own error.
        """
        return run(
            _plans.upload(
                self,
                key,
                path,
                progress,
                content_type=content_type,
                metadata=metadata,
                create=create,
                if_match=if_match,
                durable=durable,
            )
        )

    def download(
        self, key: str, path: str | os.PathLike[str], *, progress: Progress | None = None
    ) -> ObjectInfo:
        """Write the object to a local file, which appears whole or not at all.

        What came until the network failed, or the program was stopped, is kept
        beside it as `….part`; the next download of the same version goes on from there.
        """
        return run(_plans.download(self, key, path, progress))

    def _open_whole(self, key: str) -> Reader:
        """`open` for one who reads it all, which some stores can check better."""
        return self.open(key)

    def list_level(self, prefix: str = "") -> Iterator[ObjectInfo | Prefix]:
        """One level: objects without a further `/`, and the prefixes of the others.

        In key order, a prefix standing where its string stands.
        """
        with _plans.placed(self, "list_level", prefix):
            self._check_open("list_level")
            check_prefix(prefix)
        start: str | None = None
        while True:
            for info in self.list(prefix, start_after=start):
                head, slash, _ = info.key[len(prefix) :].partition("/")
                if slash:
                    folder = prefix + head + "/"
                    yield Prefix(folder)
                    # no key below the folder is longer than this, so none sorts after it
                    start = folder + "\U0010ffff" * 256
                    break
                yield info
            else:
                return

    def copy(self, src: str, dst: str, *, create: bool = False) -> PutResult:
        """Copy an object within the store, with its metadata, atomically.

        `ErrNotExist` if there is no `src`; `create` as `put`'s. Onto itself it
        changes nothing.
        """
        return PutResult(*run(_plans.copy(self, src, dst, create)))

    def move(self, src: str, dst: str, *, create: bool = False) -> PutResult:
        """Move an object; atomic where `capabilities.atomic_move`, else copy, then delete.

        Onto itself it changes nothing.
        """
        return PutResult(*run(_plans.move(self, src, dst, create)))

    def update(
        self, key: str, fn: Callable[[bytes | None], bytes | None], *, timeout: float | None = None
    ) -> PutResult | None:
        """Replace the object by `fn(old)`, by compare-and-swap, until nobody interfered.

        `fn` gets None if there is no object, may be called again, and may
        return None to leave things as they are (the result is then None).
        Content type and metadata stay. `ErrTimeout` after `timeout` seconds.
        """
        return run(_plans.update(self, key, fn, timeout))

    def delete_many(
        self, keys: Iterable[str], *, errors: Literal["raise", "return"] = "raise"
    ) -> dict[str, StorageError]:
        """Try to delete every key; then `ErrPartial` if any failed.

        With `errors="return"` the failures are given, by key.
        """
        return run(_plans.delete_many(self, keys, errors))

    def presign(self, key: str, *, method: str = "GET", expires: int = 3600) -> str:
        """A URL that does `method` on the object without credentials, for `expires` seconds."""
        raise ErrUnsupported(
            "this store has no URLs to sign", key=key, operation="presign", storage=self.url
        )

    def list_uploads(self, prefix: str = "") -> Iterator[Upload]:
        """Unfinished multipart uploads; none on a store that has no such thing."""
        with _plans.placed(self, "list_uploads", prefix):
            self._check_open("list_uploads")
            check_prefix(prefix)
        return iter(())

    def abort_upload(self, upload: Upload) -> None:
        """Throw an unfinished upload away; `ErrNotExist` if there is no such upload."""
        raise ErrNotExist(
            "no such upload", key=upload.key, operation="abort_upload", storage=self.url
        )

    def clock(self) -> datetime:
        """The store's own time; aware, UTC."""
        self._check_open("clock")
        return datetime.now(UTC)

    def _move_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        """Move between two different valid keys: here a copy, then a delete."""
        result = self._copy_within(src, dst, create=create)
        self.delete(src)
        return result

    def _aside(self, function: Callable[..., _T], /, *args: Any) -> _T:
        """Call what may block on local files, as the plans ask for it."""
        return function(*args)

    def _pause(self, seconds: float) -> None:
        """Wait, as the plans ask for it."""
        time.sleep(seconds)

    def _check_open(self, operation: str) -> None:
        if self._closed:
            raise ErrClosed("the store is closed", operation=operation, storage=self.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"


list_ = list  # `list` is a method's name inside the class


def check_condition(if_match: str | Unset, create: bool = False) -> str | None:
    """The ETag asked for, None for no condition; refuses what means neither."""
    if if_match is UNSET:
        return None
    if not isinstance(if_match, str):
        raise TypeError(
            f"if_match is an ETag (str), not {type(if_match).__name__}; leave it out for none"
        )
    if not if_match:
        raise ErrBadRequest("if_match is empty; leave it out for no condition")
    if create:
        raise ErrBadRequest("create and if_match exclude each other")
    return if_match
