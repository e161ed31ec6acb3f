"""The S3 store's options: what they mean, and what is refused before any I/O."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from objectstorage.errors import ErrInvalidURL, ErrPermission
from objectstorage.keys import KeyRules, check_prefix
from objectstorage.s3.dialect import DIALECTS
from objectstorage.s3.signing import REGION, Credentials
from objectstorage.urls import parse_bool, parse_number

__all__ = ["OPTION_NAMES", "Options", "parse_options"]

_MIB = 1024 * 1024

OPTION_NAMES = (
    "endpoint",
    "region",
    "dialect",
    "addressing",
    "access_key",
    "secret_key",
    "session_token",
    "credentials",
    "profile",
    "anonymous",
    "create_bucket",
    "ca_bundle",
    "proxy",
    "connect_timeout",
    "read_timeout",
    "timeout",
    "attempts",
    "retry_time",
    "retry_budget",
    "connections",
    "part_size",
    "parts_in_flight",
    "copy_limit",
    "copy_part",
    "checksum",
    "sign_payload",
    "sse",
    "sse_kms_key",
    "headers",
    "durable",
)

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_WORD = re.compile(r"[!-~]+")
_HEADER = re.compile(r"[a-z0-9][a-z0-9-]*")
_SECRET_HEADER = re.compile("auth|cookie|key|password|secret|token")
# Ours to set: an option that replaced one would break signing or framing, or
# make every request conditional or partial.
_OWN_HEADERS = frozenset(
    [
        "host",
        "authorization",
        "date",
        "x-amz-date",
        "x-amz-content-sha256",
        "x-amz-security-token",
        "content-length",
        "content-encoding",
        "content-md5",
        "transfer-encoding",
        "connection",
        "expect",
        "range",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
    ]
)


@dataclass(frozen=True)
class Options:
    """Everything an S3 store was told. Times in seconds, sizes in bytes."""

    bucket: str
    prefix: str
    endpoint: str
    region: str
    dialect: str = "auto"
    addressing: Literal["auto", "path", "virtual"] = "auto"
    credentials: Any = field(default=None, repr=False)
    profile: str | None = None
    anonymous: bool = False
    create_bucket: bool = False
    ca_bundle: str | None = None
    proxy: str | None = field(default=None, repr=False)
    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    timeout: float | None = None
    attempts: int = 5
    retry_time: float = 30.0
    retry_budget: int = 100
    connections: int = 64
    part_size: int = 8 * _MIB
    parts_in_flight: int = 4
    copy_limit: int = 5 * 1024 * _MIB
    copy_part: int = 512 * _MIB
    checksum: Literal["crc32", "none"] = "crc32"
    sign_payload: bool = False
    sse: str | None = None
    sse_kms_key: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def url(self) -> str:
        """The store's URL, without secrets."""
        endpoint = f"?endpoint={self.endpoint}" if self.endpoint else ""
        joiner = "&" if endpoint else "?"
        return f"s3://{self.bucket}/{self.prefix}{endpoint}{joiner}region={self.region}"

    @property
    def holds_secrets(self) -> bool:
        """Whether a secret was given in code: credentials, a proxy's password, a header."""
        return (
            self.credentials is not None
            or "@" in (self.proxy or "")
            or any(_SECRET_HEADER.search(name) for name, _ in self.headers)
        )

    def tls_context(self, origin: str) -> ssl.SSLContext | None:
        """A context that verifies, with the CA bundle asked for; None for plain HTTP."""
        if not origin.startswith("https://"):
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_bundle)
        except OSError as exc:
            raise ErrInvalidURL(f"the ca_bundle {self.ca_bundle!r} can't be read: {exc}") from exc

    def provider(self) -> Callable[[], Credentials | None]:
        """A function that finds credentials; it may block, and may be called again."""
        if self.anonymous:
            return lambda: None
        if isinstance(self.credentials, Credentials):
            fixed = self.credentials
            return lambda: fixed
        return _finder(self.credentials, self.profile)


def _finder(given: Any, profile: str | None) -> Callable[[], Credentials | None]:
    """Credentials from a minio provider, or from where the field's tools look."""
    from minio.credentials import (
        AWSConfigProvider,
        ChainedProvider,
        EnvAWSProvider,
        EnvMinioProvider,
        IamAwsProvider,
    )

    def find() -> Credentials | None:
        if given is not None:
            chain = given
        elif profile is not None:
            chain = AWSConfigProvider(profile=profile)
        else:
            providers = [EnvAWSProvider(), EnvMinioProvider(), AWSConfigProvider()]
            if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true":
                # made anew each time: it would hand out what it has cached
                providers.append(IamAwsProvider(http_client=_metadata_pool()))
            chain = ChainedProvider(providers)
        try:
            found = chain.retrieve()
        except Exception as exc:
            raise ErrPermission(
                "no credentials: none in options, environment, profile or instance metadata "
                "(anonymous=true asks for none)"
            ) from exc
        for value in (found.access_key, found.secret_key, found.session_token or "-"):
            if not _WORD.fullmatch(value):
                raise ErrPermission("the credentials found hold blanks or control characters")
        expires = getattr(found, "_expiration", None)
        return Credentials(
            found.access_key,
            found.secret_key,
            found.session_token,
            expires.timestamp() if expires is not None else None,
        )

    return find


def _metadata_pool() -> Any:
    import urllib3

    # On machines that have no such service, nothing answers: do not wait long.
    return urllib3.PoolManager(timeout=urllib3.Timeout(connect=1, read=5), retries=False)


def parse_options(bucket: str, path: str, options: dict[str, Any]) -> Options:
    """Options from a URL's authority, its path and what was given beside it."""
    options = {name: value for name, value in options.items() if value is not None}
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise ErrInvalidURL(f"{bucket!r} is no bucket name: 3 to 63 of a-z 0-9 . - _")
    prefix = path[1:] if path.startswith("/") else path
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    check_prefix(prefix)
    if len(prefix.encode()) > KeyRules().max_key - 64:
        raise ErrInvalidURL("the prefix leaves no room for keys")
    endpoint = _endpoint(options)
    dialect = str(options.get("dialect", "auto"))
    if dialect != "auto" and dialect not in DIALECTS:
        raise ErrInvalidURL(f"no dialect {dialect!r}; there are auto, {', '.join(DIALECTS)}")
    if dialect == "auto" and not endpoint:
        dialect = "aws"
    part_size = parse_number("part_size", options.get("part_size", 8 * _MIB), int, least=1)
    if dialect == "aws" and part_size < 5 * _MIB:
        raise ErrInvalidURL("S3 takes parts of at least 5 MiB (part_size)")
    region = str(
        options.get("region")
        or os.environ.get("AWS_REGION")
        or os.environ.get("AWS_DEFAULT_REGION")
        or "us-east-1"
    )
    if not REGION.fullmatch(region):
        raise ErrInvalidURL(f"{region!r} is no region")
    timeout = options.get("timeout")
    return Options(
        bucket=bucket,
        prefix=prefix,
        endpoint=endpoint,
        region=region,
        dialect=dialect,
        addressing=_one_of(options, "addressing", "auto", "path", "virtual"),
        credentials=_credentials(options),
        profile=options.get("profile"),
        anonymous=parse_bool("anonymous", options.get("anonymous", False)),
        create_bucket=parse_bool("create_bucket", options.get("create_bucket", False)),
        ca_bundle=options.get("ca_bundle") or os.environ.get("AWS_CA_BUNDLE"),
        proxy=options.get("proxy"),
        connect_timeout=parse_number("connect_timeout", options.get("connect_timeout", 5.0)),
        read_timeout=parse_number("read_timeout", options.get("read_timeout", 30.0)),
        timeout=None if timeout is None else parse_number("timeout", timeout),
        attempts=parse_number("attempts", options.get("attempts", 5), int, least=1, most=100),
        retry_time=parse_number("retry_time", options.get("retry_time", 30.0)),
        retry_budget=parse_number(
            "retry_budget", options.get("retry_budget", 100), int, least=0, most=1_000_000
        ),
        connections=parse_number(
            "connections", options.get("connections", 64), int, least=1, most=10_000
        ),
        part_size=part_size,
        parts_in_flight=parse_number(
            "parts_in_flight", options.get("parts_in_flight", 4), int, least=1, most=64
        ),
        copy_limit=parse_number(
            "copy_limit", options.get("copy_limit", 5 * 1024 * _MIB), int, least=1
        ),
        copy_part=parse_number("copy_part", options.get("copy_part", 512 * _MIB), int, least=1),
        checksum=_one_of(options, "checksum", "crc32", "none"),
        sign_payload=parse_bool("sign_payload", options.get("sign_payload", False)),
        sse=_word(options, "sse"),
        sse_kms_key=_word(options, "sse_kms_key"),
        headers=_headers(options.get("headers")),
    )


def _word(options: dict[str, Any], name: str) -> str | None:
    """What goes into a header as it is."""
    value = options.get(name)
    if value is not None and not (isinstance(value, str) and _WORD.fullmatch(value)):
        raise ErrInvalidURL(f"{name} is a word of ASCII, not {value!r}")
    return value


def _one_of(options: dict[str, Any], name: str, default: str, *others: str) -> Any:
    value = options.get(name, default)
    if value != default and value not in others:
        raise ErrInvalidURL(f"{name} is one of {', '.join((default, *others))}, not {value!r}")
    return value


def _endpoint(options: dict[str, Any]) -> str:
    """The endpoint as scheme://host[:port]; empty means AWS by region."""
    endpoint = str(
        options.get("endpoint")
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or ""
    )
    if not endpoint:
        return ""
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        # the cause is left out: it quotes what may be a misplaced password
        raise ErrInvalidURL("the endpoint's port is no number") from None
    if parts.username is not None or parts.password is not None:
        raise ErrInvalidURL("an endpoint holds no credentials")
    if parts.scheme not in ("http", "https") or not parts.hostname or not parts.hostname.isascii():
        raise ErrInvalidURL(f"the endpoint {endpoint!r} is not http(s)://host[:port]")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ErrInvalidURL(f"the endpoint {endpoint!r} has more than a host and a port")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port is None or port == {"http": 80, "https": 443}[parts.scheme]:
        return f"{parts.scheme}://{host}"
    return f"{parts.scheme}://{host}:{port}"


def _credentials(options: dict[str, Any]) -> Any:
    access, secret = options.get("access_key"), options.get("secret_key")
    if (access is None) != (secret is None):
        raise ErrInvalidURL("access_key and secret_key go together")
    given = options.get("credentials")
    if access is None or secret is None:
        return given
    if given is not None:
        raise ErrInvalidURL("give credentials or access_key and secret_key, not both")
    for value in (access, secret, options.get("session_token") or "-"):
        if not isinstance(value, str) or not _WORD.fullmatch(value):
            # no repr: it may be a secret
            raise ErrInvalidURL("an access key, secret key or token is a word of ASCII")
    return Credentials(access, secret, options.get("session_token"))


def _headers(given: Any) -> tuple[tuple[str, str], ...]:
    """Extra headers for every request, such as a payer or a tenant."""
    if given is None:
        return ()
    if not isinstance(given, dict):
        raise ErrInvalidURL("headers is a dict of names and values")
    result = []
    for name, value in given.items():
        name = str(name).lower()
        if not _HEADER.fullmatch(name) or name in _OWN_HEADERS:
            raise ErrInvalidURL(f"{name!r} can't be sent as an extra header")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise ErrInvalidURL(f"the value of the extra header {name!r} is not printable ASCII")
        result.append((name, value.strip()))
    return tuple(sorted(result))
