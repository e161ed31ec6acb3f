"""Reading from S3: whole, in ranges, and as a stream that survives being cut."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from objectstorage._plans import GAP
from objectstorage.errors import (
    ErrBackend,
    ErrIntegrity,
    ErrInvalidRange,
    ErrNotExist,
    ErrNotModified,
    ErrPreconditionFailed,
    ErrTimeout,
    ErrUnavailable,
    StorageError,
)
from objectstorage.ranges import coalesce, resolve_range
from objectstorage.s3.ahead import Ahead, fetch_all
from objectstorage.s3.client import Client
from objectstorage.s3.effects import Close, Effects, ReadBody, Sleep
from objectstorage.s3.encoding import crc32, crc32_text
from objectstorage.s3.replies import error_of, info_of
from objectstorage.s3.retrying import Retries
from objectstorage.s3.shortcut import MORE, Shortcut
from objectstorage.s3.signing import quote_key, quoted
from objectstorage.s3.transport import Reply, TransportError
from objectstorage.storage import Fetched, ObjectInfo

if TYPE_CHECKING:
    from objectstorage.s3.signing import Signer

__all__ = ["Fetch", "Get", "ObjectBody", "Stat", "fetch", "get", "get_ranges", "stat"]

_CHECKSUM_MODE = ("x-amz-checksum-mode", "ENABLED")
_WITH_CHECKSUM = (_CHECKSUM_MODE,)


class Stat(Shortcut[ObjectInfo]):
    """`stat`, tried as one exchange."""

    __slots__ = ()
    METHOD = "HEAD"

    def finish(self, reply: Reply) -> Any:
        return info_of(self.key, reply) if reply.status == 200 else MORE

    def resume(self) -> Effects[ObjectInfo]:
        return stat(self.client, self.key, self)


def stat(client: Client, key: str, attempt: Stat | None = None) -> Effects[ObjectInfo]:
    """What a HEAD says; its errors have no document, so a 404 is the object's or the bucket's."""
    reply = yield from client.call("HEAD", quote_key(client.options.prefix + key), attempt=attempt)
    if reply.status != 200:
        raise (yield from head_error(client, reply))
    return info_of(key, reply)


def head_error(client: Client, reply: Reply) -> Effects[StorageError]:
    """A HEAD's error: a 404 may be the bucket's, which one more request tells."""
    if reply.status == 404 and not client.bucket_seen:
        bucket = yield from client.call("GET", "", "location=")
        if bucket.status == 404:
            return error_of(bucket, client.options.bucket)
    return error_of(reply, client.options.bucket)


class Get(Shortcut[bytes]):
    """`get`, tried as one exchange."""

    __slots__ = ()
    METHOD = "GET"
    CHECKED = _WITH_CHECKSUM

    def finish(self, reply: Reply) -> Any:
        body = reply.body
        if (
            reply.status == 200
            and type(body) is bytes
            and "etag" in reply.headers
            and _crc_matches(reply)
        ):
            return body
        return MORE

    def resume(self) -> Effects[bytes]:
        return get(self.client, self.key, self)


def get(client: Client, key: str, attempt: Get | None = None) -> Effects[bytes]:
    """All of an object, by the shortest way."""
    options = client.options
    headers = _WITH_CHECKSUM if options.checksum != "none" else ()
    path = quote_key(options.prefix + key)
    reply = yield from client.call("GET", path, "", headers, attempt=attempt)
    if reply.status != 200:
        raise error_of(reply, options.bucket)
    if "etag" not in reply.headers:
        raise ErrBackend("a reply without an ETag is no object's", status=200)
    if not _crc_matches(reply):
        return (yield from fetch(client, key, 0, None, None, None)).data
    return reply.body if type(reply.body) is bytes else bytes(reply.body)


class Fetch(Shortcut[Fetched]):
    """`fetch` without a condition, of all or of a range that HTTP can say, as one exchange."""

    __slots__ = ("_end", "_start")
    METHOD = "GET"
    CHECKED = _WITH_CHECKSUM

    def __init__(
        self, client: Client, signer: Signer, key: str, start: int, end: int | None
    ) -> None:
        self._start = start
        self._end = end
        ranged = start != 0 or end is not None
        super().__init__(client, signer, key, [("range", _range(start, end))] if ranged else None)

    def finish(self, reply: Reply) -> Any:
        ranged = self._start != 0 or self._end is not None
        if ranged and reply.status == 206:
            info = info_of(self.key, reply)
            return _part(info, reply, self._start, self._end)
        if not ranged and reply.status == 200 and _crc_matches(reply):
            return Fetched(bytes(reply.body), info_of(self.key, reply))
        return MORE

    def resume(self) -> Effects[Fetched]:
        return fetch(self.client, self.key, self._start, self._end, None, None, attempt=self)


def fetch(
    client: Client,
    key: str,
    start: int,
    end: int | None,
    if_match: str | None,
    if_none_match: str | None,
    resolved: bool = False,
    attempt: Fetch | None = None,
) -> Effects[Fetched]:
    """Bytes of one version and what is known of it; ranges as `Storage.fetch` has them.

    resolved: the range is known to lie within that version.
    """
    if (start < 0 and end is not None) or (end is not None and end <= start):
        # What HTTP can't say: look first, then ask for that version's bytes.
        return (yield from _fetch_resolved(client, key, start, end, if_match, if_none_match))
    headers: list[tuple[str, str]] = []
    ranged = start != 0 or end is not None
    if ranged:
        headers.append(("range", _range(start, end)))
    elif client.options.checksum != "none":
        headers.append(_CHECKSUM_MODE)
    if if_match is not None:
        headers.append(("if-match", quoted(if_match)))
    if if_none_match is not None:
        headers.append(("if-none-match", quoted(if_none_match)))
    path = quote_key(client.options.prefix + key)
    for _ in range(client.options.attempts):
        reply = yield from client.call("GET", path, "", headers, attempt=attempt)
        attempt = None
        if ranged:
            _correct(reply)
        status = reply.status
        if status == 200 or status == 206:
            info = info_of(key, reply)
            # Not every server keeps the conditions of a GET.
            if if_match is not None and info.etag != if_match:
                raise ErrPreconditionFailed(f"the ETag is {info.etag!r}, not {if_match!r}")
            if if_none_match is not None and info.etag == if_none_match:
                raise ErrNotModified(f"the ETag is still {info.etag!r}")
            if status == 200 and ranged:
                # A server that knows no ranges sends all of it.
                first, stop = resolve_range(start, end, info.size)
                return Fetched(bytes(reply.body)[first:stop], info)
            if status == 206:
                return _part(info, reply, start, end)
            if _crc_matches(reply):
                return Fetched(bytes(reply.body), info)
            continue
        # SeaweedFS has no ranges of an empty object `a` beside `a/b`: it says 404.
        folders = client.dialect is not None and client.dialect.folder_order
        if not resolved and (status == 416 or (status == 404 and ranged and folders)):
            return (yield from _fetch_resolved(client, key, start, end, if_match, if_none_match))
        if status == 412:
            # Some servers say so of what is not there, too.
            yield from stat(client, key)
        raise _read_error(client, reply, if_match)
    raise ErrIntegrity("the checksum differs from the one the server keeps")


def _part(info: ObjectInfo, reply: Reply, start: int, end: int | None) -> Fetched:
    """What a partial reply holds, if it is what was asked for."""
    first, stop = resolve_range(start, end, info.size)
    if len(reply.body) != stop - first:
        raise ErrIntegrity(f"{len(reply.body)} bytes came, not {stop - first}")
    _check_place(reply, first)
    return Fetched(bytes(reply.body), info)


def _range(start: int, end: int | None) -> str:
    if start < 0:
        return f"bytes={start}"
    return f"bytes={start}-" if end is None else f"bytes={start}-{end - 1}"


def _correct(reply: Reply) -> None:
    """`rclone serve s3` answers ranges with the wrong number."""
    if reply.status == 200 and "content-range" in reply.headers:
        reply.status = 206


def _check_place(reply: Reply, first: int) -> None:
    """Whether a partial reply begins where it was asked to."""
    said = reply.headers.get("content-range", "")
    if not said.startswith(f"bytes {first}-"):
        raise ErrIntegrity(f"asked from byte {first} on, the server sent {said!r}")


def _crc_matches(reply: Reply) -> bool:
    """Whether the body is what its CRC-32 says; a composite one (`…-3`) says nothing."""
    kept = reply.headers.get("x-amz-checksum-crc32")
    if kept is None or "-" in kept:
        return True
    return crc32_text(crc32(reply.body)) == kept


def _read_error(client: Client, reply: Reply, if_match: str | None) -> StorageError:
    error = error_of(reply, client.options.bucket)
    if reply.status == 304:
        return ErrNotModified("the ETag is still the same", status=304)
    if reply.status == 412 and if_match is not None:
        error.args = (f"the ETag is not {if_match!r} any more",)
    return error


def _fetch_resolved(
    client: Client,
    key: str,
    start: int,
    end: int | None,
    if_match: str | None,
    if_none_match: str | None,
) -> Effects[Fetched]:
    """A range that needs the size: negative with an end, empty, or at the very end."""
    while True:
        info = yield from stat(client, key)
        if if_match is not None and info.etag != if_match:
            raise ErrPreconditionFailed(f"the ETag is {info.etag!r}, not {if_match!r}")
        if if_none_match is not None and info.etag == if_none_match:
            raise ErrNotModified(f"the ETag is still {info.etag!r}")
        first, stop = resolve_range(start, end, info.size)
        if first == stop:
            return Fetched(b"", info)
        try:
            return (yield from fetch(client, key, first, stop, info.etag, None, True))
        except ErrPreconditionFailed:
            if if_match is not None:
                raise
            # replaced in between: the size, and so the range, is another now


def fetch_part(client: Client, info: ObjectInfo, start: int, stop: int) -> Effects[bytes]:
    """Bytes of this version; `ErrPreconditionFailed` if there is another one, or none."""
    try:
        fetched = yield from fetch(client, info.key, start, stop, info.etag, None)
    except ErrNotExist as exc:
        raise ErrPreconditionFailed("the object was deleted while it was read") from exc
    return fetched.data


def get_ranges(client: Client, key: str, pairs: Sequence[tuple[int, int]]) -> Effects[list[bytes]]:
    """Ranges (start, end) of one version; near ones in one request, several beside each other."""
    if not pairs:
        yield from stat(client, key)
        return []
    blocks = coalesce([pair for pair in pairs if pair[0] < pair[1]], GAP)
    if len(blocks) == 1:
        # One request tells it all, the size included.
        (start, stop) = blocks[0]
        fetched = yield from fetch(client, key, start, stop, None, None)
        info, found = fetched.info, [fetched.data]
    else:
        info = yield from stat(client, key)
    for start, _ in pairs:
        resolve_range(start, None, info.size)
    if len(blocks) != 1:
        blocks = [(start, min(stop, info.size)) for start, stop in blocks if start < info.size]
        found = yield from fetch_all(
            partial(fetch_part, client, info), blocks, 2 * client.options.parts_in_flight
        )
    firsts = [start for start, _ in blocks]
    results = []
    for start, stop in pairs:
        number = bisect_right(firsts, start) - 1
        if number < 0 or stop <= start:
            results.append(b"")
        else:
            results.append(found[number][start - firsts[number] : stop - firsts[number]])
    return results


class ObjectBody:
    """One version of an object, read from any place; the logic behind readers.

    A request asks for more each time reading goes on where it stopped, and
    for little after a jump. Where one connection turns out to be slow, what is
    far from its end is read in parts beside each other. A body cut short is
    asked for again from there, by `If-Match`: `ErrPreconditionFailed` if it was
    replaced meanwhile.
    """

    WINDOWS = (256 * 1024, 2 * 1024 * 1024, 16 * 1024 * 1024, None)
    # Bytes a second above which more connections bring nothing: a server nearby
    # is bound by its processor or its disk, one far away by the way there.
    QUICK = 64 * 1024 * 1024

    def __init__(self, client: Client, key: str, info: ObjectInfo | None = None) -> None:
        self._client = client
        self._key = key
        self._path = quote_key(client.options.prefix + key)
        self._info = info
        self._reply: Reply | None = None
        self._place = 0  # of the next byte in the reply
        self._stop = 0  # of the reply
        self._grown = 0 if info is not None else len(self.WINDOWS) - 1
        self._crc: int | None = None
        self._kept: str | None = None
        self._ahead: Ahead | None = None
        self._received = 0  # in this reply, in `_waited` seconds
        self._waited = 0.0

    @property
    def info(self) -> ObjectInfo:
        """The version being read; known after `start` or when given."""
        if self._info is None:
            raise ErrUnavailable("nothing was read yet")
        return self._info

    def start(self) -> Effects[ObjectInfo]:
        """Ask for all of it from the first byte; says which version that is."""
        yield from self._ask(0, 1)
        return self.info

    def read(self, place: int, n: int) -> Effects[bytes]:
        """At most `n` bytes at `place`, empty only at the end of the object."""
        if self._info is not None and (n == 0 or place >= self._info.size):
            yield from self._check_whole(place)
            return b""
        if self._ahead is not None and place == self._place:
            try:
                data = yield from self._ahead.read(n)
            except BaseException:
                yield from self.close()  # whoever reads on begins here anew
                raise
        else:
            data = yield from self._receive(place, n)
        if self._crc is not None:
            self._crc = crc32(data, self._crc)
        self._place += len(data)
        reply = self._reply
        if reply is not None:
            if self._place >= self._stop:
                yield from self._finish(reply)
            elif self._is_slow():
                yield from self._read_ahead()
        return data

    def _receive(self, place: int, n: int) -> Effects[bytes]:
        """The same of one reply's body, asked for again when it is cut."""
        retries: Retries | None = None
        while True:
            try:
                if self._reply is None or place != self._place:
                    yield from self._ask(place, n)
                reply = self._reply
                if reply is None:  # answered in full, as nothing was there
                    return b""
                began = time.monotonic()
                data: bytes = yield ReadBody(reply, min(n, self._stop - self._place))
                if not data:
                    raise TransportError("the body ended early", sent="all")
            except TransportError as exc:
                self._reply = None
                cause = (ErrTimeout if exc.timeout else ErrUnavailable)(str(exc))
                cause.__cause__ = exc
                retries = retries or Retries(self._client.options, self._client.budget)
                yield Sleep(retries.pause(cause))
                continue
            self._waited += time.monotonic() - began
            self._received += len(data)
            return data

    def _is_slow(self) -> bool:
        """Whether a part's worth came slowly, and there are parts enough to come."""
        part = self._client.options.part_size
        return (
            self._received >= part
            and self.info.size - self._place >= 2 * part
            and self._received < self.QUICK * self._waited
            and self._client.options.parts_in_flight > 1
            and not self._client.is_here
        )

    def _read_ahead(self) -> Effects[None]:
        options, info = self._client.options, self.info
        yield from self.close()
        self._ahead = Ahead(
            partial(fetch_part, self._client, info),
            self._place,
            info.size,
            options.part_size,
            options.parts_in_flight,
        )

    def _finish(self, reply: Reply) -> Effects[None]:
        """See the reply's end, so that its connection can be used again."""
        self._reply = None
        try:
            more = yield ReadBody(reply, 1)
        except TransportError:
            return  # all that was asked for is here
        if more:
            yield Close(reply)
            raise ErrIntegrity("the server sent more than was asked for")

    def _check_whole(self, place: int) -> Effects[None]:
        """After the last byte of an unbroken read: is it what was stored?"""
        if self._crc is not None and place == self._place == self.info.size:
            crc, self._crc = self._crc, None
            if crc32_text(crc) != self._kept:
                yield from self.close()
                raise ErrIntegrity("the checksum differs from the one the server keeps")

    def _ask(self, place: int, n: int) -> Effects[None]:
        sequential = place == self._place
        if not sequential:
            self._grown, self._crc = 0, None
        yield from self.close()
        self._received, self._waited = 0, 0.0
        info = self._info
        headers: list[tuple[str, str]] = []
        if info is not None:
            headers.append(("if-match", quoted(info.etag)))
        window = self.WINDOWS[self._grown]
        end = None if window is None else place + max(window, n)
        if place or end is not None:
            headers.append(("range", _range(place, end)))
        elif self._client.options.checksum != "none":
            headers.append(_CHECKSUM_MODE)
        self._grown = min(self._grown + 1, len(self.WINDOWS) - 1)
        reply: Reply = yield from self._client.call("GET", self._path, "", headers, stream=True)
        if place or end is not None:
            _correct(reply)
        if reply.status not in (200, 206):
            if info is not None and reply.status == 404:
                raise ErrPreconditionFailed("the object was deleted while it was read")
            if info is not None and reply.status == 416:
                raise ErrInvalidRange(f"the range starts at {place}; the object is shorter now")
            raise _read_error(self._client, reply, info.etag if info is not None else None)
        new = info_of(self._key, reply)
        if info is None:
            self._info = info = new
        elif new.etag != info.etag or new.size != info.size:
            yield Close(reply)
            raise ErrPreconditionFailed("the object was replaced while it was read")
        if reply.status == 200 and place:
            yield Close(reply)
            raise ErrIntegrity("the server sent the whole object when asked for a part")
        if reply.status == 206:
            try:
                _check_place(reply, place)
            except ErrIntegrity:
                yield Close(reply)
                raise
        self._place = place
        self._stop = info.size if end is None else min(end, info.size)
        if self._stop > place:
            self._reply = reply
        else:
            yield from self._finish(reply)
        kept = reply.headers.get("x-amz-checksum-crc32")
        if place == 0 and reply.status == 200 and kept is not None and "-" not in kept:
            self._crc, self._kept = 0, kept

    def close(self) -> Effects[None]:
        """Give up what was asked for and not read."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            yield from ahead.close()
        reply, self._reply = self._reply, None
        if reply is not None:
            yield Close(reply)
