"""What a cached object looks like in the store that caches it.

One object holds all: a length, a header in JSON, the bytes. It is written and
read whole or not at all, which is what makes the cache safe across processes.
"""

from __future__ import annotations

import hashlib
import json
import re

__all__ = ["FOLDER", "LENGTH", "etag_of", "header", "is_entry", "name_of"]

FOLDER = "cached/"
"""Where entries are, in the store that caches."""

LENGTH = 4
"""Bytes at the front that tell how long the header is."""

_NAME = re.compile(r"cached/[0-9a-f]{2}/[0-9a-f]{64}")


def name_of(url: str, key: str) -> str:
    """The entry's key: any store holds it, whatever the object's key is like."""
    digest = hashlib.sha256(f"{url}\0{key}".encode()).hexdigest()
    return f"{FOLDER}{digest[:2]}/{digest}"


def is_entry(name: str) -> bool:
    """Whether it may be evicted; what others keep in the store may not."""
    return _NAME.fullmatch(name) is not None


def header(url: str, key: str, size: int, etag: str) -> bytes:
    """What stands before the object's bytes."""
    text = json.dumps({"url": url, "key": key, "size": size, "etag": etag}).encode()
    return len(text).to_bytes(LENGTH, "big") + text


def etag_of(text: bytes, url: str, key: str, left: int) -> str | None:
    """The ETag of the version that follows a header of `left` bytes; None if it isn't whole."""
    try:
        fields = json.loads(text)
        if (fields["url"], fields["key"], fields["size"]) == (url, key, left):
            return str(fields["etag"])
    except (ValueError, KeyError, TypeError):
        pass
    return None
