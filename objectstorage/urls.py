"""From a URL and options to a store: the one explicit list of stores.

    posix:///var/lib/app                       a directory
    s3://bucket/prefix?endpoint=http://…       a bucket on S3, MinIO, SeaweedFS …
    memory://, memory://name                   this process's memory

Paths and options are percent-encoded as in any URL (`?` is %3F, `#` is %23).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from objectstorage.errors import ErrInvalidURL

if TYPE_CHECKING:
    from objectstorage.storage import Storage

__all__ = ["SCHEMES", "SECRET_OPTIONS", "open_storage", "parse_bool", "parse_number", "split_url"]

SCHEMES: dict[str, tuple[str, str]] = {
    "memory": ("objectstorage.memory", "MemoryStorage"),
    "posix": ("objectstorage.posix", "PosixStorage"),
    "s3": ("objectstorage.s3", "S3Storage"),
}
"""What a URL can name: scheme to module and class, imported on first use."""

# Refused in a URL, which ends in logs, process lists and histories.
SECRET_OPTIONS = frozenset(
    ("access_key", "secret_key", "session_token", "credentials", "sse_key", "password")
)


def open_storage(url: str, **options: Any) -> Storage:
    """The store that `url` names; no I/O happens until it is used.

    Options stand in the URL's query or are keywords; one in both places, or
    unknown to the store, is `ErrInvalidURL`, as is a URL with credentials.

    >>> open_storage("memory://")
    <MemoryStorage memory://>
    """
    scheme, netloc, path, merged = split_url(url, options)
    cls = store_class(scheme)
    unknown = sorted(set(merged) - set(cls.OPTIONS))
    if unknown:
        raise ErrInvalidURL(
            f"{scheme} has no option {', '.join(map(repr, unknown))}; "
            f"its options are {', '.join(sorted(cls.OPTIONS)) or 'none'}"
        )
    store: Storage = cls.from_url(netloc, path, merged)
    return store


def store_class(scheme: str) -> Any:
    """The class behind a scheme; `ErrInvalidURL` names what can be chosen."""
    if scheme not in SCHEMES:
        raise ErrInvalidURL(f"no store {scheme!r}; there are {', '.join(sorted(SCHEMES))}")
    import importlib

    module, name = SCHEMES[scheme]
    return getattr(importlib.import_module(module), name)


def split_url(
    url: str, options: dict[str, Any] | None = None
) -> tuple[str, str, str, dict[str, Any]]:
    """Scheme, authority, decoded path, and the options of query and keywords together."""
    from urllib.parse import parse_qsl, unquote  # here: `import objectstorage` is to be quick

    if not isinstance(url, str):
        raise TypeError(f"a storage URL is a str, not {type(url).__name__}")
    scheme, colon, rest = url.partition(":")
    if not colon or not scheme or "/" in scheme:
        raise ErrInvalidURL(
            f"a storage URL begins with one of {', '.join(f'{s}:' for s in sorted(SCHEMES))}"
        )
    rest, _, query = rest.partition("?")
    if "#" in rest or "#" in query:
        raise ErrInvalidURL("'#' means nothing in a storage URL; write %23 for the character")
    netloc = ""
    if rest.startswith("//"):
        netloc, slash, path = rest[2:].partition("/")
        rest = slash + path
    if "@" in netloc:
        # The message leaves the URL out: what stands before the @ is a secret.
        raise ErrInvalidURL(
            "a storage URL holds no credentials; pass them as options or in the environment"
        )
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
        path, netloc = unquote(rest, errors="strict"), unquote(netloc, errors="strict")
    except ValueError as exc:
        raise ErrInvalidURL(
            "a storage URL is UTF-8, percent-encoded, its query name=value&name=value"
        ) from exc
    merged = dict(options or {})
    for name, value in pairs:
        if name.lower() in SECRET_OPTIONS:
            raise ErrInvalidURL(
                f"{name!r} does not belong in a URL; pass it as an option or in the environment"
            )
        if name in merged:
            raise ErrInvalidURL(f"the option {name!r} is given twice")
        merged[name] = value
    if "\0" in path or "\0" in netloc:
        raise ErrInvalidURL("a storage URL contains no NUL")
    return scheme.lower(), netloc, path, merged


def parse_bool(name: str, value: Any) -> bool:
    """An option's value as a bool: a bool, or one of true false yes no 1 0."""
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text in ("true", "yes", "1", "on"):
        return True
    if text in ("false", "no", "0", "off"):
        return False
    raise ErrInvalidURL(f"the option {name!r} is true or false, not {value!r}")


def parse_number(
    name: str,
    value: Any,
    kind: Callable[[Any], Any] = float,
    *,
    least: float = 0,
    most: float = float("inf"),
) -> Any:
    """An option's value as a number of `kind` within bounds."""
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError) as exc:
        raise ErrInvalidURL(f"the option {name!r} is a number, not {value!r}") from exc
    # written so that NaN fails too
    if not least <= number <= most:
        raise ErrInvalidURL(f"the option {name!r} is {value!r}; it lies from {least} to {most}")
    return number
