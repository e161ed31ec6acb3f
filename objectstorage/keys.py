"""What a key is, on every store, and what more a store may refuse.

A key is a non-empty string of valid UTF-8, at most 1,024 bytes, without NUL
and without a leading `/`. Keys are exact: nothing here changes one.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from objectstorage.errors import ErrInvalidKey, ErrInvalidMetadata

__all__ = [
    "MAX_KEY",
    "MAX_METADATA",
    "KeyRules",
    "check_content_type",
    "check_key",
    "check_metadata",
    "check_prefix",
    "check_start_after",
]

MAX_KEY = 1024
"""Bytes of UTF-8 a key may have, a store's own prefix included."""

MAX_METADATA = 2048
"""Bytes of all metadata names and values together."""


class KeyRules(NamedTuple):
    """What a store can't hold of what a key may be, as data.

    `parent_child` tells of `a` beside `a/b`: "both" are held, the second is
    "refused" (`ErrConflict`), or `a/b` is "hidden" from listings.
    `max_segment` is in bytes; `reserved` names top segments that are the
    store's own; `max_key` is what its prefix leaves of 1,024 bytes; `refused` are
    characters that the server loses or turns into others.
    """

    dot_segments: bool = True
    empty_segments: bool = True
    trailing_slash: bool = True
    max_segment: int | None = None
    parent_child: Literal["both", "refused", "hidden"] = "both"
    reserved: tuple[str, ...] = ()
    max_key: int = MAX_KEY
    refused: frozenset[str] = frozenset()

    def check(self, key: str) -> bytes:
        """The key's UTF-8 bytes; `ErrInvalidKey` if this store can't hold it.

        >>> KeyRules(dot_segments=False).check("a/../b")
        Traceback (most recent call last):
        ...
        objectstorage.errors.ErrInvalidKey: 'a/../b': this store holds no segment '..'
        """
        raw = check_key(key, self.max_key)
        if self.refused and not self.refused.isdisjoint(key):
            bad = next(c for c in key if c in self.refused)
            raise ErrInvalidKey(f"this store holds no key with the character {bad!r}", key=key)
        if self.dot_segments and self.empty_segments and self.trailing_slash and not self.reserved:
            if self.max_segment is None:
                return raw
        segments = raw.split(b"/")
        if not segments[-1] and not self.trailing_slash:
            raise ErrInvalidKey("this store holds no key that ends in '/'", key=key)
        last = len(segments) - 1
        for i, segment in enumerate(segments):
            if not segment and not self.empty_segments and i != last:
                raise ErrInvalidKey("this store holds no empty segment ('//')", key=key)
            if segment in (b".", b"..") and not self.dot_segments:
                raise ErrInvalidKey(f"this store holds no segment {segment.decode()!r}", key=key)
            if self.max_segment is not None and len(segment) > self.max_segment:
                raise ErrInvalidKey(
                    f"the segment {segment[:24].decode(errors='replace')!r}… has {len(segment)} "
                    f"bytes; this store holds {self.max_segment}",
                    key=key,
                )
        if segments[0].decode() in self.reserved:
            raise ErrInvalidKey(
                f"the top segment {segments[0].decode()!r} is the store's own", key=key
            )
        return raw


def check_key(key: str, max_key: int = MAX_KEY) -> bytes:
    """The key's UTF-8 bytes; `ErrInvalidKey` for what is no key on any store.

    >>> check_key("logs/1")
    b'logs/1'
    """
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, not {type(key).__name__}")
    raw = _encode(key, "key")
    if not raw:
        raise ErrInvalidKey("a key is not empty", key=key)
    if len(raw) > max_key:
        raise ErrInvalidKey(f"the key has {len(raw)} bytes; at most {max_key} are held", key=key)
    if raw[0] == 0x2F:
        raise ErrInvalidKey("a key does not begin with '/'", key=key)
    return raw


def check_prefix(prefix: str) -> bytes:
    """The prefix's UTF-8 bytes; `ErrInvalidKey` for one that no key can have."""
    if not isinstance(prefix, str):
        raise TypeError(f"a prefix is a str, not {type(prefix).__name__}")
    raw = _encode(prefix, "prefix")
    if raw[:1] == b"/":
        raise ErrInvalidKey("no key begins with '/', so no prefix does", key=prefix)
    return raw


def check_start_after(start_after: str | None) -> str:
    """Where a listing starts: any text, it need not be a key; None is the start."""
    if start_after is None:
        return ""
    if not isinstance(start_after, str):
        raise TypeError(f"start_after is a str, not {type(start_after).__name__}")
    _encode(start_after, "start_after")
    return start_after


def _encode(text: str, what: str) -> bytes:
    try:
        raw = text.encode()
    except UnicodeEncodeError as exc:
        raise ErrInvalidKey(f"the {what} is not valid UTF-8: {exc.reason}", key=text) from exc
    if b"\0" in raw:
        raise ErrInvalidKey(f"the {what} contains NUL", key=text)
    return raw


def check_metadata(metadata: dict[str, str] | None) -> dict[str, str]:
    """A copy of the metadata; `ErrInvalidMetadata` if no store could keep it.

    Names are `[a-z0-9][a-z0-9-]*`, values printable ASCII without outer
    spaces and not empty (some servers lose empty ones), 2,048 bytes in all.

    >>> check_metadata({"owner": "ci"})
    {'owner': 'ci'}
    """
    if not metadata:
        return {}
    total = 0
    for name, value in metadata.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ErrInvalidMetadata("metadata names and values are str")
        if not name or name[0] == "-" or name.strip("abcdefghijklmnopqrstuvwxyz0123456789-"):
            raise ErrInvalidMetadata(f"the metadata name {name!r} is not [a-z0-9][a-z0-9-]*")
        if not value:
            raise ErrInvalidMetadata(f"the metadata value of {name!r} is empty; S3 servers lose it")
        _check_header_value(value, f"the metadata value of {name!r}")
        total += len(name) + len(value)
    if total > MAX_METADATA:
        raise ErrInvalidMetadata(f"the metadata has {total} bytes; at most {MAX_METADATA} are kept")
    return dict(metadata)


def check_content_type(content_type: str | None) -> str | None:
    """The content type, if every store can keep it; else `ErrInvalidMetadata`."""
    if content_type is None:
        return None
    if not isinstance(content_type, str) or not content_type or len(content_type) > 255:
        raise ErrInvalidMetadata("a content type is a str of 1 to 255 characters")
    _check_header_value(content_type, "the content type")
    return content_type


def _check_header_value(value: str, what: str) -> None:
    # `isprintable` alone lets non-ASCII pass; together they leave 0x20 to 0x7e.
    # The value itself stays out of the message: it may be a secret.
    if not (value.isascii() and (value.isprintable())):
        raise ErrInvalidMetadata(f"{what} is not printable ASCII")
    if value != value.strip():
        raise ErrInvalidMetadata(f"{what} has outer spaces, which do not survive HTTP")
