"""One request of S3, with the one policy of retries, redirects and renewals.

Retried: what the network or a busy server did, within `attempts` and
`retry_time`, with full jitter, honouring `Retry-After`. Put right once each:
the region, an expired token, a skewed clock. All else is the operation's to map.
"""

from __future__ import annotations

import logging
import random
import ssl
import time
from typing import TYPE_CHECKING, Any

from objectstorage.errors import (
    ErrInvalidURL,
    ErrOutcomeUnknown,
    ErrTimeout,
    ErrUnavailable,
    StorageError,
)
from objectstorage.s3.dialect import DIALECTS, Dialect, dialect_of
from objectstorage.s3.effects import Block, Close, Connect, Effects, Send, Sleep
from objectstorage.s3.encoding import EMPTY, Payload
from objectstorage.s3.replies import error_of, http_date
from objectstorage.s3.signing import REGION, Credentials, Headers, Signer
from objectstorage.s3.transport import Exchange, Reply, TransportError
from objectstorage.s3.xml import MAX_DOCUMENT, parse_error

if TYPE_CHECKING:
    from objectstorage.s3.options import Options

__all__ = ["Client", "Trace"]

_log = logging.getLogger("objectstorage")

# Worth another try: overload, and what a proxy says of a server that went away.
_BUSY = frozenset((429, 500, 502, 503, 504))
_BUSY_CODES = frozenset(("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable"))
# Said by S3 before it does anything; any other 5xx may come after the work was done.
_REJECTED_CODES = frozenset(("SlowDown", "RequestTimeout", "ServiceUnavailable"))
# A write that raced another one; S3 asks to send it again.
_RACED_CODES = frozenset(("ConditionalRequestConflict", "OperationAborted"))
_EXPIRED_CODES = frozenset(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"))
_BASE_DELAY = 0.05
_MAX_DELAY = 5.0
_RENEW_BEFORE = 300.0  # seconds a set of credentials must still be good for


class Trace:
    """What became of one write's attempts.

    `uncertain`: an attempt may have been carried out although no reply said so.
    `began` is on the monotonic clock.
    """

    __slots__ = ("attempts", "began", "uncertain")

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.uncertain = False
        self.attempts: list[str] = []

    def stopped(self, exc: BaseException, sent: bool) -> None:
        """Interrupted, cancelled, or failed on this side: before the last byte nothing happened.

        After it, or after an earlier attempt's, that can't be told: `ErrOutcomeUnknown`.
        """
        self.uncertain = self.uncertain or (sent and not isinstance(exc, Exception))
        if self.uncertain:
            raise ErrOutcomeUnknown(
                "interrupted after the request was sent: the write may or may not have happened"
            ) from exc

    def checked(self, error: StorageError) -> StorageError:
        """The error of the last attempt, unless an earlier one may have been carried out."""
        if not self.uncertain:
            return error
        unknown = ErrOutcomeUnknown(
            "a reply was lost, and another try failed: the write may or may not have happened"
        )
        unknown.__cause__ = self.lost(error)
        return unknown

    def lost(self, error: StorageError) -> ErrUnavailable:
        """The lost replies, as what led to the error of the attempt after them."""
        lost = ErrUnavailable("no reply came, or none that says", attempts=self.attempts)
        lost.__cause__ = error
        return lost


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
        self._find = options.provider()
        self._signer: Signer | None = None

    # -- as whom ---------------------------------------------------------------

    @property
    def host(self) -> str:
        """The `Host` header."""
        return self.origin.partition("://")[2]

    def sign_in(self) -> Effects[Signer]:
        """Find credentials, which may block, and make them the signer."""
        credentials: Credentials | None = yield Block(self._find)
        self._signer = Signer(credentials, self._region, self.host, self.skew)
        return self._signer

    def signer(self) -> Effects[Signer]:
        """The signer, with credentials that are good for a while."""
        signer = self._signer
        if signer is None or _ends_soon(signer):
            signer = yield from self.sign_in()
        return signer

    def _sign_again(self) -> None:
        """The same credentials for another region, host or clock."""
        if self._signer is not None:
            credentials = self._signer.credentials
            self._signer = Signer(credentials, self._region, self.host, self.skew)

    # -- one request -----------------------------------------------------------

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
    ) -> Effects[Reply]:
        """Send until there is a reply that is not for us to put right.

        key: encoded, below the store's prefix; "" is the bucket.
        trace: given for writes, whose outcome matters when no reply comes.
        deadline: on the monotonic clock. raced: a 409 is sent again, too.
        Errors: `ErrUnavailable`, `ErrTimeout`; for a write that may have been
        carried out, `ErrOutcomeUnknown` caused by one of them.
        """
        options = self.options
        attempts: list[str] = []
        began = 0.0
        put_right: set[str] = set()
        if deadline is None and options.timeout is not None:
            deadline = time.monotonic() + options.timeout
        while True:
            signer = self._signer
            if signer is None or _ends_soon(signer):
                signer = yield from self.sign_in()
            every: Headers = headers
            if options.headers or payload.headers:
                every = (*options.headers, *headers, *payload.headers)
            head = signer.head(
                method,
                f"{self.path}/{key}" if key else self.path or "/",
                query,
                every,
                payload.hash,
                payload.length,
            )
            exchange = Exchange(
                method,
                head,
                payload.body(),
                stream=stream,
                deadline=deadline,
                into=into,
                # Only an object may be large; the other replies are documents.
                max_body=None if method == "GET" and key and not query else MAX_DOCUMENT,
            )
            pause: float | None = None
            try:
                reply: Reply = yield Send(exchange)
            except TransportError as exc:
                cause: StorageError = (ErrTimeout if exc.timeout else ErrUnavailable)(str(exc))
                cause.__cause__ = exc
                if trace is not None and exc.sent == "all":
                    trace.uncertain = True
                if isinstance(exc.__cause__, ssl.SSLCertVerificationError):
                    raise ErrUnavailable(
                        "the server's TLS certificate does not verify", attempts=[str(exc)]
                    ) from exc
            except BaseException as exc:
                if trace is not None:
                    trace.stopped(exc, exchange.sent == "all")
                raise
            else:
                self._learn(reply)
                status = reply.status
                if status == 200 and method == "GET" and "content-range" in reply.headers:
                    # `rclone serve s3` answers ranges with the wrong number.
                    status = reply.status = 206
                if status < 300:
                    self.bucket_seen = True
                    return reply
                if status == 404 or status == 412:
                    return reply
                found = parse_error(bytes(reply.body))
                code = found.code if found is not None else ""
                cause = error_of(reply, options.bucket)
                if status in _BUSY or code in _BUSY_CODES or (raced and code in _RACED_CODES):
                    pause = _retry_after(reply)
                    if trace is not None and status >= 500 and code not in _REJECTED_CODES:
                        trace.uncertain = True
                elif (yield from self._put_right(method, reply, code, found, signer, put_right)):
                    if payload.repeatable:
                        continue
                    raise ErrUnavailable("the data can't be read again for another try") from cause
                else:
                    return reply
            attempts.append(cause.message or type(cause).__name__)
            if trace is not None:
                trace.attempts = attempts
            now = time.monotonic()
            began = began or now
            if pause is None:
                limit = min(_MAX_DELAY, _BASE_DELAY * 2 ** (len(attempts) - 1))
                pause = random.uniform(0, limit)
            late = deadline is not None and now + pause >= deadline
            if (
                late
                or len(attempts) >= options.attempts
                or now + pause - began > options.retry_time
                or not payload.repeatable
            ):
                self._give_up(cause, attempts, trace, late, payload.repeatable)
            _log.debug("%s %s: %s; again in %.3f s", method, options.url, attempts[-1], pause)
            try:
                yield Sleep(pause)
            except BaseException as exc:
                if trace is not None:
                    trace.stopped(exc, False)
                raise

    def _give_up(
        self,
        cause: StorageError,
        attempts: list[str],
        trace: Trace | None,
        late: bool,
        repeatable: bool,
    ) -> None:
        kind = ErrTimeout if late or isinstance(cause, ErrTimeout) else ErrUnavailable
        message = "the deadline passed" if late else "no success within the limits of retrying"
        if not repeatable:
            message = "it failed, and the data can't be read again for another try"
        error = kind(
            message,
            attempts=attempts,
            status=cause.status,
            code=cause.code,
            request_id=cause.request_id,
        )
        error.__cause__ = cause
        if trace is not None and trace.uncertain:
            raise ErrOutcomeUnknown(
                "the request was sent, no reply came: the write may or may not have happened"
            ) from error
        raise error

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
            yield from self.sign_in()
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
        if self.dialect is None:
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


def _ends_soon(signer: Signer) -> bool:
    credentials = signer.credentials
    return (
        credentials is not None
        and credentials.expires is not None
        and credentials.expires - _RENEW_BEFORE < time.time()
    )


def _retry_after(reply: Reply) -> float | None:
    """Seconds the server asks to wait, bounded; None if it does not."""
    text = reply.headers.get("retry-after", "")
    return min(float(text), 20.0) if text.isdecimal() else None


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
