"""One request of S3, with the one policy of retries, redirects and renewals.

Retried: what the network or a busy server did, as `retrying` allows. Put right once each:
the region, an expired token, a skewed clock. All else is the operation's to map.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from objectstorage.errors import (
    ErrInvalidURL,
    ErrTimeout,
    ErrUnavailable,
    StorageError,
)
from objectstorage.s3.dialect import DIALECTS, Dialect, dialect_of
from objectstorage.s3.effects import Block, Close, Connect, Effects, Sleep
from objectstorage.s3.encoding import EMPTY, Payload
from objectstorage.s3.exchange import NO_LIMIT
from objectstorage.s3.replies import error_of, http_date
from objectstorage.s3.retrying import Budget, Retries, Trace, retry_after
from objectstorage.s3.signing import REGION, Credentials, Headers, Signer
from objectstorage.s3.transport import Exchange, Reply, TransportError
from objectstorage.s3.xml import MAX_DOCUMENT, parse_error

if TYPE_CHECKING:
    from objectstorage.s3.options import Options
    from objectstorage.s3.shortcut import Shortcut

__all__ = ["Client"]

_T = TypeVar("_T")

_log = logging.getLogger("objectstorage")

# Worth another try: overload, and what a proxy says of a server that went away.
_BUSY = frozenset((429, 500, 502, 503, 504))
_BUSY_CODES = frozenset(("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable"))
# Said by S3 before it does anything; any other 5xx may come after the work was done.
_REJECTED_CODES = frozenset(("SlowDown", "RequestTimeout", "ServiceUnavailable"))
# A write that raced another one; S3 asks to send it again.
_RACED_CODES = frozenset(("ConditionalRequestConflict", "OperationAborted"))
_EXPIRED_CODES = frozenset(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"))
_RENEW_BEFORE = 300.0  # seconds a set of credentials must still be good for
_RENEW_PAUSE = 30.0  # and between two looks for better ones


class Client:
    """What all operations of one store share: where to, as whom, by which rules."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.dialect: Dialect | None = DIALECTS.get(options.dialect)
        self.server = ""
        self.bucket_seen = False
        self.skew = 0.0
        self.origin, self.path = _place(options, options.region)
        self._region = options.region
        self.budget = Budget(options.retry_budget)
        self._find = options.provider()
        self._finding = threading.Lock()
        self._signer: Signer | None = None
        self._renew_at = 0.0

    # -- as whom ---------------------------------------------------------------

    @property
    def host(self) -> str:
        """The `Host` header."""
        return self.origin.partition("://")[2]

    @property
    def is_here(self) -> bool:
        """Whether the server shares this machine's processors."""
        host = urlsplit(self.origin).hostname or ""
        return host == "localhost" or host.startswith("127.") or host == "::1"

    def sign_in(self, former: Signer | None) -> Effects[Signer]:
        """Find credentials, which may block, and make them the signer.

        former: whose credentials won't do. Of many that ask at once, one looks;
        the others get what it found. What still holds is kept when nothing new
        is to be had.
        """

        def find() -> Signer:
            with self._finding:
                signer = self._signer
                now = time.time()
                if signer is not None and (
                    former is None
                    or signer.credentials is not former.credentials
                    # somebody has looked, and found nothing new
                    or (not former.refused and now < self._renew_at)
                ):
                    return signer
                try:
                    credentials: Credentials | None = self._find()
                except StorageError as exc:
                    if former is None or former.good_until <= now or former.refused:
                        raise
                    _log.warning("%s: the credentials end soon: %s", self.options.url, exc)
                    credentials = former.credentials
                signer = Signer(credentials, self._region, self.host, self.skew)
                # Some providers hand out the old ones until they end.
                until = signer.good_until
                soon = max(now + 1, min(now + _RENEW_PAUSE, until))
                self._renew_at = max(until - _RENEW_BEFORE, soon)
                self._signer = signer
                return signer

        signer: Signer = yield Block(find)
        return signer

    def signer(self) -> Effects[Signer]:
        """The signer, with credentials that are good for a while."""
        signer = self._signer
        if signer is None or time.time() >= self._renew_at:
            signer = yield from self.sign_in(signer)
        return signer

    def _sign_again(self) -> None:
        """The same credentials for another region, host or clock."""
        if self._signer is not None:
            credentials = self._signer.credentials
            self._signer = Signer(credentials, self._region, self.host, self.skew)

    def after_fork(self) -> None:
        """In a child: whoever was looking for credentials is not here."""
        self._finding = threading.Lock()

    # -- one request -----------------------------------------------------------

    def steady(self) -> Signer | None:
        """The signer, if there is nothing to find out and nothing to make up for first."""
        budget = self.budget
        if (
            self.dialect is None
            or not self.bucket_seen
            or budget.left < budget.size
            or time.time() >= self._renew_at
        ):
            return None
        return self._signer

    def deadline(self, timeout: float | None = None) -> float | None:
        """Of an operation that begins now, on the monotonic clock.

        timeout: in seconds, instead of the store's.
        """
        if timeout is None:
            timeout = self.options.timeout
        return None if timeout is None else time.monotonic() + timeout

    def exchange(
        self,
        signer: Signer,
        method: str,
        key: str,
        query: str = "",
        headers: Headers = (),
        payload: Payload = EMPTY,
        deadline: float | None = None,
        stream: bool = False,
        into: memoryview | None = None,
    ) -> Exchange:
        """One request, signed; as `call` has it."""
        options = self.options
        every = headers
        if options.headers or payload.headers:
            every = [*options.headers, *headers, *payload.headers]
        head = signer.head(
            method,
            f"{self.path}/{key}" if key else self.path or "/",
            query,
            every,
            payload.hash,
            payload.length,
            payload.checksum,
        )
        # Only an object may be large; the other replies are documents.
        most = NO_LIMIT if method == "GET" and key and not query else MAX_DOCUMENT
        return Exchange(method, head, payload.body(), stream, deadline, into, most)

    def call(
        self,
        method: str,
        key: str,
        query: str = "",
        headers: Headers = (),
        payload: Payload = EMPTY,
        *,
        trace: Trace | None = None,
        stream: bool = False,
        into: memoryview | None = None,
        deadline: float | None = None,
        raced: bool = False,
        attempt: Shortcut[Any] | None = None,
    ) -> Effects[Reply]:
        """Send until there is a reply that is not for us to put right.

        key: encoded, below the store's prefix; "" is the bucket.
        trace: given for writes, whose outcome matters when no reply comes.
        deadline: on the monotonic clock. raced: a 409 is sent again, too.
        attempt: the first one, which was made already.
        Errors: `ErrUnavailable`, `ErrTimeout`; for a write that may have been
        carried out, `ErrOutcomeUnknown` caused by one of them.
        """
        options, budget = self.options, self.budget
        retries: Retries | None = None
        put_right: set[str] = set()
        if attempt is not None:
            deadline = attempt.exchange.deadline
        elif deadline is None:
            deadline = self.deadline()
        while True:
            made, attempt = attempt, None
            if made is not None:
                signer, exchange = made.signer, made.exchange
            else:
                known = self._signer
                if known is None or time.time() >= self._renew_at:
                    known = yield from _traced(self.sign_in(known), trace)
                signer = known
                exchange = self.exchange(
                    signer, method, key, query, headers, payload, deadline, stream, into
                )
            asked: float | None = None
            try:
                reply: Reply = (yield exchange) if made is None else made.reply()
            except TransportError as exc:
                cause: StorageError = (ErrTimeout if exc.timeout else ErrUnavailable)(str(exc))
                cause.__cause__ = exc
                if trace is not None and exc.sent == "all":
                    trace.uncertain = True
                if isinstance(exc.__cause__, ssl.SSLCertVerificationError):
                    error = ErrUnavailable(
                        "the server's TLS certificate does not verify", attempts=[str(exc)]
                    )
                    error.__cause__ = exc
                    raise error if trace is None else trace.checked(error)
            except BaseException as exc:
                if trace is not None:
                    trace.stopped(exc, exchange.sent == "all")
                raise
            else:
                if self.dialect is None:
                    self._learn(reply)
                status = reply.status
                if status < 300:
                    self.bucket_seen = True
                    if budget.left < budget.size:
                        budget.succeeded()
                    return reply
                if status == 404 or status == 412:
                    return reply
                found = parse_error(bytes(reply.body))
                code = found.code if found is not None else ""
                cause = error_of(reply, options.bucket)
                if status in _BUSY or code in _BUSY_CODES or (raced and code in _RACED_CODES):
                    asked = retry_after(reply.headers)
                    if trace is not None and status >= 500 and code not in _REJECTED_CODES:
                        trace.uncertain = True
                elif (
                    yield from _traced(
                        self._put_right(method, reply, code, found, signer, put_right), trace
                    )
                ):
                    if payload.repeatable:
                        continue
                    raise ErrUnavailable("the data can't be read again for another try") from cause
                else:
                    return reply
            retries = retries or Retries(options, budget, deadline, trace)
            pause = retries.pause(cause, asked, repeatable=payload.repeatable)
            _log.debug(
                "%s %s: %s; again in %.3f s", method, options.url, retries.attempts[-1], pause
            )
            try:
                yield Sleep(pause)
            except BaseException as exc:
                if trace is not None:
                    trace.stopped(exc, False)
                raise

    def _put_right(
        self,
        method: str,
        reply: Reply,
        code: str,
        document: Any,
        signer: Signer,
        done: set[str],
    ) -> Effects[bool]:
        """Mend what the server says is wrong with us, each thing once."""
        region = reply.headers.get("x-amz-bucket-region") or (
            document.region if document is not None else None
        )
        if (
            reply.status in (301, 307, 400)
            and region
            and REGION.fullmatch(region)
            and region != signer.region
            and "region" not in done
        ):
            done.add("region")
            if region == self._region:
                return True  # another request has been told the same meanwhile
            # Never `Location`: the host is built from the region that was named.
            self._region = region
            origin, self.path = _place(self.options, region)
            if origin != self.origin:
                self.origin = origin
                yield Connect(origin)
            self._sign_again()
            return True
        if code in _EXPIRED_CODES and "token" not in done:
            done.add("token")
            signer.refused = True
            yield from self.sign_in(signer)
            return True
        if code == "RequestTimeTooSkewed" and "clock" not in done:
            done.add("clock")
            self.skew = http_date(reply.headers.get("date")).timestamp() - time.time()
            self._sign_again()
            return True
        if method == "HEAD" and reply.status in (400, 403) and "asked" not in done:
            # It has no body that could say why; the reply to a GET has.
            done.add("asked")
            try:
                told = yield from self.call("GET", "", "location=")
            except StorageError:
                return False
            error = error_of(told, self.options.bucket)
            if error.code in _EXPIRED_CODES or error.code == "RequestTimeTooSkewed":
                raise error
            return self._signer is not signer
        return False

    def _learn(self, reply: Reply) -> None:
        """Who is answering, on dialect `auto`."""
        self.server = reply.headers.get("server", "")
        self.dialect = dialect_of(self.server)

    def expect(self, reply: Reply, *statuses: int) -> Reply:
        """The reply if it has one of these statuses, else its error."""
        if reply.status in statuses:
            return reply
        raise error_of(reply, self.options.bucket)

    def drop(self, reply: Reply) -> Effects[None]:
        """Give up a streamed reply."""
        yield Close(reply)


def _traced(steps: Effects[_T], trace: Trace | None) -> Effects[_T]:
    """What is done between attempts; where it fails, one before may have been carried out."""
    try:
        return (yield from steps)
    except BaseException as exc:
        if trace is not None:
            trace.stopped(exc, False)
        raise


def _place(options: Options, region: str) -> tuple[str, str]:
    """Origin and path of the bucket, by minio's rules for hosts and styles."""
    from minio.helpers import BaseURL

    endpoint = options.endpoint or "https://s3.amazonaws.com"
    try:
        base = BaseURL(endpoint, region)
        if options.addressing != "auto":
            base.virtual_style_flag = options.addressing == "virtual"
        url = base.build(method="GET", region=region, bucket_name=options.bucket)
    except ValueError as exc:
        raise ErrInvalidURL(f"the endpoint can't be used: {exc}") from exc
    return f"{url.scheme}://{url.netloc}", url.path.rstrip("/")
