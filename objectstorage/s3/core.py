"""All operations of an S3 store as generators: what both faces run.

A face adds a driver, its readers and writers, and says in errors where they
happened; nothing of the contract is decided there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from objectstorage._plans import check_errors_option, check_ranges, outcome
from objectstorage.bodies import Source, as_buffer, as_source, check_size
from objectstorage.errors import (
    ErrBadRequest,
    ErrInvalidKey,
    ErrInvalidMetadata,
    ErrInvalidURL,
    ErrPermission,
    ErrPreconditionFailed,
    ErrUnsupported,
    StorageError,
)
from objectstorage.keys import (
    MAX_KEY,
    KeyRules,
    check_content_type,
    check_key,
    check_metadata,
    check_prefix,
    check_start_after,
)
from objectstorage.ranges import check_range
from objectstorage.s3 import copying, deleting, listing, reading
from objectstorage.s3.client import Client
from objectstorage.s3.dialect import CONTROL, DIALECTS, RESERVED, Dialect
from objectstorage.s3.effects import Effects, Pull
from objectstorage.s3.encoding import BufferPayload, StreamPayload
from objectstorage.s3.gathering import Gathering
from objectstorage.s3.multipart import put_parts
from objectstorage.s3.options import Options
from objectstorage.s3.probing import probe_conditions, refuse
from objectstorage.s3.replies import META, WRITE_ID, error_of, http_date
from objectstorage.s3.shortcut import Shortcut
from objectstorage.s3.signing import query_of, quote_key
from objectstorage.s3.writing import Condition, Put, object_headers, put_payload
from objectstorage.s3.xml import ListPage, parse_list
from objectstorage.storage import (
    UNSET,
    Capabilities,
    Conditions,
    Fetched,
    ObjectInfo,
    PutResult,
    Unset,
    Upload,
    check_condition,
)

__all__ = ["Core"]

_T = TypeVar("_T")

_MIB = 1024 * 1024
# What `info.etag` can be: quotes only in a weak one, and no wildcard.
_ETAG = re.compile(r'W/"[!#-~]*"|(?!W/)(?!\*\Z)[!#-~]+')
# Up to here an object of known size is one request: S3's own limit is 5 GiB.
_ONE_PUT = 64 * _MIB
_MAX_ONE_PUT = 5 * 1024 * _MIB
# A key of plain segments, short enough for every limit: nothing more to check.
_PLAIN = re.compile(
    r"(?:[A-Za-z0-9_~=+@,:%-][A-Za-z0-9_.~=+@,:% -]*/)*"
    r"[A-Za-z0-9_~=+@,:%-][A-Za-z0-9_.~=+@,:% -]*"
)
# What every dialect holds: keys within these need no look at the server first.
_STRICT = KeyRules(
    dot_segments=False,
    empty_segments=False,
    trailing_slash=False,
    max_segment=255,
    reserved=(RESERVED,),
    refused=CONTROL | {"\\"},
)

# What probes found, by origin, bucket and what the server calls itself: the
# next store on the same bucket need not ask again.
_probed: dict[tuple[str, str, str], tuple[Conditions, Dialect | None]] = {}


def _check_metadata(given: dict[str, str] | None) -> dict[str, str]:
    """Metadata as any store has it, without the one name that is the store's own."""
    metadata = check_metadata(given)
    if WRITE_ID.removeprefix(META) in metadata:
        raise ErrInvalidMetadata(f"{WRITE_ID.removeprefix(META)!r} is the store's own name")
    return metadata


class Core:
    """One bucket and prefix, and everything that can be done there."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.client = Client(options)
        self.conditions: Conditions | None = (
            self.client.dialect.conditions if self.client.dialect is not None else None
        )
        self._make_bucket = options.create_bucket
        self._max_key = MAX_KEY - len(options.prefix.encode())
        self._strict = _STRICT._replace(max_key=self._max_key)
        self._plain = min(self._max_key, 255)
        # A prefix that some servers can't hold is looked at before the first key.
        self._odd_prefix = bool(options.prefix) and not _PLAIN.fullmatch(options.prefix[:-1])
        if self._odd_prefix:
            self._plain = 0

    @property
    def url(self) -> str:
        """The store's URL, without secrets."""
        return self.options.url

    @property
    def capabilities(self) -> Capabilities:
        """What is declared, and what of it has been asked of the server so far."""
        dialect = self.client.dialect or DIALECTS["generic"]
        return Capabilities(
            conditions=self.conditions,
            key_rules=dialect.key_rules._replace(max_key=self._max_key),
            ordered_listing=dialect.ordered,
            etag_kind=dialect.etag_kind,
            metadata=True,
            server_side_copy=True,
            atomic_move=False,
            presign=not self.options.anonymous,
            strong_etags=True,
            durable_puts=True,
        )

    # -- before an operation ---------------------------------------------------

    def _ready(self) -> Effects[None]:
        """Make the bucket, if that was asked for, once."""
        if self._make_bucket:
            region = self.options.region
            body = b"" if region == "us-east-1" else _LOCATION % region.encode()
            reply = yield from self.client.call("PUT", "", "", (), BufferPayload(body, signed=True))
            if reply.status >= 300:
                error = error_of(reply, self.options.bucket)
                if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise error
            self._make_bucket = False

    def _dialect(self) -> Effects[Dialect]:
        """Who is answering; asked with a cheap request when nothing was sent yet."""
        if self.client.dialect is None:
            reply = yield from self.client.call("GET", "", "location=")
            if self.client.dialect is None:
                raise error_of(reply, self.options.bucket)
        if self._odd_prefix:
            rules = self.client.dialect.key_rules._replace(reserved=())
            try:
                rules.check(self.options.prefix[:-1])
            except ErrInvalidKey as exc:
                raise ErrInvalidURL(f"this server can't hold the prefix: {exc.message}") from exc
            self._odd_prefix = False
        return self.client.dialect

    def _is_plain(self, key: str) -> bool:
        """Whether any server holds the key; what nearly all are, told in one look."""
        return type(key) is str and len(key) <= self._plain and _PLAIN.fullmatch(key) is not None

    def _checked(self, key: str, steps: Effects[_T]) -> Effects[_T]:
        """The steps, after a look at their key if it needs one."""
        return steps if self._is_plain(key) else self._check_first(key, steps)

    def _check_first(self, key: str, steps: Effects[_T]) -> Effects[_T]:
        yield from self._check(key)
        return (yield from steps)

    def _check(self, key: str) -> Effects[None]:
        """Refuse a key that this server can't hold, before it is sent."""
        if self._odd_prefix:
            yield from self._dialect()
        try:
            self._strict.check(key)
        except ErrInvalidKey:
            check_key(key, self._max_key)
            dialect = yield from self._dialect()
            dialect.key_rules._replace(max_key=self._max_key).check(key)

    def probe(self) -> Effects[Conditions]:
        """Which conditions hold; asked once."""
        if self.conditions is None:
            yield from self._ready()
            yield from self._dialect()
            client = self.client
            place = (client.origin, self.options.bucket, client.server)
            if place not in _probed:
                conditions = yield from probe_conditions(client)
                _probed[place] = conditions, client.dialect
            self.conditions, client.dialect = _probed[place]
        return self.conditions

    def _require(self, verb: str, condition: str) -> Effects[None]:
        conditions = yield from self.probe()
        refuse(verb, condition, conditions)

    @staticmethod
    def _etag(if_match: str | Unset, create: bool = False) -> str | None:
        etag = check_condition(if_match, create)
        if etag is not None and not _ETAG.fullmatch(etag):
            # no header can hold it, or it is a wildcard: no version has it
            raise ErrPreconditionFailed(f"no version has the ETag {etag!r}")
        return etag

    # -- writing ---------------------------------------------------------------

    def put(
        self,
        key: str,
        data: Any,
        size: int | None,
        content_type: str | None,
        metadata: dict[str, str] | None,
        create: bool,
        if_match: str | Unset,
        timeout: float | None,
    ) -> Effects[PutResult] | Shortcut[PutResult]:
        """See `Storage.put`. `data` may be a `Source` already."""
        deadline = self.client.deadline(timeout)
        if (
            type(data) is bytes
            and size is None
            and content_type is None
            and metadata is None
            and not create
            and if_match is UNSET
            and len(data) <= _ONE_PUT
            and not self._make_bucket
            and self._is_plain(key)
        ):
            # As most are: nothing is left to check.
            signer = self.client.steady()
            if signer is not None:
                return Put(self.client, signer, key, data, deadline)
        return self._put(key, data, size, content_type, metadata, create, if_match, deadline)

    def _put(
        self,
        key: str,
        data: Any,
        size: int | None,
        content_type: str | None,
        metadata: dict[str, str] | None,
        create: bool,
        if_match: str | Unset,
        deadline: float | None,
    ) -> Effects[PutResult]:
        condition: Condition | None = None
        if create or if_match is not UNSET:
            condition = Condition.of(create, self._etag(if_match, create))
        content_type = check_content_type(content_type)
        metadata = _check_metadata(metadata) if metadata is not None else {}
        buffer: bytes | memoryview | None = None
        source: Source | None = None
        if type(data) is bytes and size is None:
            buffer = data
        else:
            check_size(size)
            if isinstance(data, Source):
                source = data
            else:
                buffer = as_buffer(data, size)
                if buffer is None:
                    source = as_source(data, size)
        if not self._is_plain(key):
            yield from self._check(key)
        if self._make_bucket:
            yield from self._ready()
        if condition is not None and self.conditions is None:
            yield from self.probe()
        options = self.options
        length = len(buffer) if buffer is not None else source.size if source is not None else None
        first: Any = None
        if (
            buffer is None
            and source is not None
            and (length is None or length <= options.part_size)
        ):
            # Small, or nobody knows: one part's worth tells.
            first = yield Pull(source, options.part_size if length is None else length + 1)
            if length is not None or len(first) < options.part_size:
                buffer, length = memoryview(first), len(first)
        one = length is not None and (
            length <= _ONE_PUT or (condition is not None and length <= _MAX_ONE_PUT)
        )
        if one and source is not None and buffer is None and not source.rewindable:
            # Parts can be sent again one by one; a stream that can't be rewound, as one, can't.
            one = condition is not None
        if one and options.sign_payload and buffer is None:
            one = False
        if one and length is not None:
            if condition is not None:
                yield from self._require("put", condition.verb)
            payload: BufferPayload | StreamPayload
            checksum = options.checksum != "none"
            if buffer is not None:
                payload = BufferPayload(buffer, checksum=checksum, signed=options.sign_payload)
            else:
                assert source is not None  # one of the two holds the data
                payload = StreamPayload(source, length, checksum=checksum)
            headers = object_headers(
                self.client,
                content_type,
                metadata,
                condition.write_id if condition is not None else None,
            )
            return (
                yield from put_payload(
                    self.client, key, payload, length, headers, condition, deadline
                )
            )
        if condition is not None:
            yield from self._require("multipart", condition.verb)
        return (
            yield from put_parts(
                self.client,
                key,
                source if source is not None else as_source(buffer),
                first,
                content_type,
                metadata,
                condition,
                deadline,
            )
        )

    def begin_writer(
        self,
        key: str,
        content_type: str | None,
        metadata: dict[str, str] | None,
        create: bool,
        if_match: str | Unset,
    ) -> Effects[Gathering]:
        """Check a writer's arguments; its condition is decided at close."""
        etag = self._etag(if_match, create)
        content_type, metadata = check_content_type(content_type), _check_metadata(metadata)
        if not self._is_plain(key):
            yield from self._check(key)
        yield from self._ready()
        condition = Condition.of(create, etag)
        if condition is not None:
            yield from self._require("put", condition.verb)

        def require() -> None:
            if condition is not None and self.conditions is not None:
                refuse("multipart", condition.verb, self.conditions)

        return Gathering(self.client, key, content_type, metadata, condition, require)

    # -- reading ---------------------------------------------------------------

    def fetch(
        self,
        key: str,
        start: int,
        end: int | None,
        if_match: str | Unset,
        if_none_match: str | Unset,
    ) -> Effects[Fetched] | Shortcut[Fetched]:
        """See `Storage.fetch`."""
        if (
            if_match is UNSET
            and if_none_match is UNSET
            and type(start) is int
            and start >= 0
            and (end is None or (type(end) is int and end > start))
            and self._is_plain(key)
            and (signer := self.client.steady()) is not None
        ):
            return reading.Fetch(self.client, signer, key, start, end)
        return self._fetch(key, start, end, if_match, if_none_match)

    def _fetch(
        self,
        key: str,
        start: int,
        end: int | None,
        if_match: str | Unset,
        if_none_match: str | Unset,
    ) -> Effects[Fetched]:
        check_range(start, end)
        match, none_match = self._etag(if_match), check_condition(if_none_match)
        if none_match is not None and not _ETAG.fullmatch(none_match):
            none_match = None  # no version has it, so it is another one
        if not self._is_plain(key):
            yield from self._check(key)
        return (yield from reading.fetch(self.client, key, start, end, match, none_match))

    def get(self, key: str) -> Effects[bytes] | Shortcut[bytes]:
        """See `Storage.get`."""
        if self._is_plain(key) and (signer := self.client.steady()) is not None:
            return reading.Get(self.client, signer, key)
        return self._checked(key, reading.get(self.client, key))

    def get_ranges(
        self,
        key: str,
        starts: Sequence[int],
        ends: Sequence[int] | None,
        lengths: Sequence[int] | None,
    ) -> Effects[list_[bytes]]:
        """See `Storage.get_ranges`."""
        pairs = check_ranges(starts, ends, lengths)
        if not self._is_plain(key):
            yield from self._check(key)
        return (yield from reading.get_ranges(self.client, key, pairs))

    def stat(self, key: str) -> Effects[ObjectInfo] | Shortcut[ObjectInfo]:
        """See `Storage.stat`."""
        if self._is_plain(key) and (signer := self.client.steady()) is not None:
            return reading.Stat(self.client, signer, key)
        return self._checked(key, reading.stat(self.client, key))

    def open(self, key: str) -> Effects[reading.ObjectBody]:
        """A body to read from any place of the version that is there now."""
        info = yield from self._checked(key, reading.stat(self.client, key))
        return reading.ObjectBody(self.client, key, info)

    def open_whole(self, key: str) -> Effects[reading.ObjectBody]:
        """A body to read from first byte to last, asked for in one request."""
        if not self._is_plain(key):
            yield from self._check(key)
        body = reading.ObjectBody(self.client, key)
        yield from body.start()
        return body

    # -- listing ---------------------------------------------------------------

    def check_prefix(self, operation: str, prefix: str) -> None:
        """Refuse at once, before the listing is iterated, what no key begins with."""
        try:
            check_prefix(prefix)
        except StorageError as exc:
            raise exc.at(key=prefix, operation=operation, storage=self.url)

    def list(self, prefix: str, start_after: str | None, ordered: bool) -> Effects[None]:
        """See `Storage.list`; emits batches of `ObjectInfo`."""
        yield from self._ready()
        dialect = yield from self._dialect()
        if ordered and not dialect.ordered:
            raise ErrUnsupported("this server lists in no order; ordered=False takes any")
        yield from listing.list_objects(
            self._page,
            prefix,
            check_start_after(start_after),
            folder_order=dialect.folder_order,
            check_order=ordered,
        )

    def list_level(self, prefix: str) -> Effects[None]:
        """See `Storage.list_level`; emits batches of `ObjectInfo` and `Prefix`."""
        yield from self._ready()
        dialect = yield from self._dialect()
        yield from listing.list_level(self._page, prefix, probe_folders=dialect.folder_order)

    def _page(
        self,
        prefix: str,
        delimiter: str | None = None,
        start_after: str | None = None,
        token: str | None = None,
        max_keys: int = 1000,
    ) -> Effects[ListPage]:
        """One request of ListObjectsV2, without the store's prefix and own keys."""
        own = self.options.prefix
        pairs = [
            ("list-type", "2"),
            ("encoding-type", "url"),
            ("max-keys", str(max_keys)),
            ("prefix", own + prefix),
        ]
        if delimiter:
            pairs.append(("delimiter", delimiter))
        if token is not None:
            pairs.append(("continuation-token", token))
        elif start_after:
            pairs.append(("start-after", own + start_after))
        reply = yield from self.client.call("GET", "", query_of(pairs))
        self.client.expect(reply, 200)
        page = parse_list(bytes(reply.body), own=own)
        hidden = RESERVED + "/"
        if hidden.startswith(prefix) or prefix.startswith(hidden):
            page = page._replace(
                objects=[info for info in page.objects if not info.key.startswith(hidden)],
                prefixes=[name for name in page.prefixes if not name.startswith(hidden)],
            )
        return page

    # -- deleting, copying, moving ---------------------------------------------

    def delete(
        self, key: str, if_match: str | Unset, must_exist: bool
    ) -> Effects[None] | Shortcut[None]:
        """See `Storage.delete`."""
        if if_match is UNSET:
            if (
                not must_exist
                and self._is_plain(key)
                and (signer := self.client.steady()) is not None
            ):
                return deleting.Delete(self.client, signer, key)
            return self._checked(key, deleting.delete(self.client, key, None, must_exist))
        return self._delete_matching(key, if_match, must_exist)

    def _delete_matching(self, key: str, if_match: str | Unset, must_exist: bool) -> Effects[None]:
        etag = self._etag(if_match)
        if not self._is_plain(key):
            yield from self._check(key)
        yield from self._require("delete", "delete")
        yield from deleting.delete(self.client, key, etag, must_exist)

    def delete_many(
        self, keys: Iterable[str], errors: Literal["raise", "return"]
    ) -> Effects[dict[str, StorageError]]:
        """See `Storage.delete_many`."""
        check_errors_option(errors)
        dialect = yield from self._dialect()
        rules = dialect.key_rules._replace(max_key=self._max_key)
        failed, count = yield from deleting.delete_many(self.client, keys, rules.check)
        for error in failed.values():
            error.at(operation="delete_many", storage=self.url)
        return outcome(failed, count, errors, self.url)

    def copy(self, src: str, dst: str, create: bool) -> Effects[PutResult]:
        """Copy between two different keys."""
        yield from self._check(src)
        yield from self._check(dst)
        if create:
            yield from self._require("copy", "create")
        return (yield from copying.copy_object(self.client, src, dst, create))

    def move(self, src: str, dst: str, create: bool) -> Effects[PutResult]:
        """Copy, then delete: a crash in between leaves both."""
        result = yield from self.copy(src, dst, create)
        yield from deleting.delete(self.client, src, None, False)
        return result

    # -- the rest --------------------------------------------------------------

    def list_uploads(self, prefix: str) -> Effects[None]:
        """See `Storage.list_uploads`; emits batches of `Upload`."""
        yield from self._dialect()
        yield from deleting.list_uploads(self.client, prefix)

    def abort_upload(self, upload: Upload) -> Effects[None]:
        """See `Storage.abort_upload`."""
        return deleting.abort_upload(self.client, upload)

    def clock(self) -> Effects[datetime]:
        """The `Date` of a cheap reply."""
        reply = yield from self.client.call("GET", "", "location=")
        if "date" not in reply.headers:
            raise error_of(reply, self.options.bucket)
        return http_date(reply.headers.get("date"))

    def presign(self, key: str, method: str, expires: int) -> Effects[str]:
        """See `Storage.presign`: minio's signer over the store's own host and path."""
        from minio.credentials import Credentials as MinioCredentials
        from minio.signer import presign_v4

        if method not in ("GET", "PUT", "HEAD", "DELETE"):
            raise ErrBadRequest(f"method is GET, PUT, HEAD or DELETE, not {method!r}")
        if isinstance(expires, bool) or not isinstance(expires, int) or not 0 < expires <= 604800:
            raise ErrBadRequest("expires is 1 to 604,800 seconds (seven days)")
        if not self._is_plain(key):
            yield from self._check(key)
        signer = yield from self.client.signer()
        if signer.credentials is None:
            raise ErrPermission("an anonymous store has nothing to sign with")
        path = f"{self.client.path}/{quote_key(self.options.prefix + key)}"
        signed = presign_v4(
            method=method,
            url=urlsplit(f"{self.client.origin}{path}"),
            region=signer.region,
            credentials=MinioCredentials(
                signer.credentials.access_key,
                signer.credentials.secret_key,
                signer.credentials.session_token,
            ),
            date=datetime.now(UTC) + timedelta(seconds=self.client.skew),
            expires=expires,
        )
        return signed.geturl()


_LOCATION = (
    b'<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>"
)

list_ = list  # `list` is a method's name inside the class
