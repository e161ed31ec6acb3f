"""Content type and metadata: one extended attribute of the object's file.

It is set on the temporary, so it appears with the bytes. `cp`, plain `tar` and
`rsync -a` lose it; `cp -a`, `mv` and `rsync -aX` keep it.
"""

from __future__ import annotations

import errno
import json
import zlib
from typing import Any

from objectstorage.local import ops

__all__ = ["ATTRIBUTE", "decode", "encode", "read", "read_raw"]

ATTRIBUTE = "user.objectstorage"

# ext4 has room for 4,040 bytes, which the escapes of 2,048 bytes of quotes exceed.
_PLAIN = 2800

# It has none, the file system keeps none, or it went away in between.
_NONE = (errno.ENODATA, errno.ENOTSUP, errno.ENOSYS)
_LIMIT = 64 * 1024


def encode(content_type: str | None, metadata: dict[str, str]) -> bytes | None:
    """The attribute's value, JSON, deflated when long; None if nothing is to be kept.

    >>> encode("text/plain", {"owner": "ci"})
    b'{"type":"text/plain","meta":{"owner":"ci"}}'
    """
    if content_type is None and not metadata:
        return None
    fields: dict[str, Any] = {}
    if content_type is not None:
        fields["type"] = content_type
    if metadata:
        fields["meta"] = metadata
    raw = json.dumps(fields, separators=(",", ":")).encode()
    return raw if len(raw) <= _PLAIN else zlib.compress(raw, 9)


def decode(raw: bytes) -> tuple[str | None, dict[str, str]]:
    """Content type and metadata. What another program wrote there is nothing.

    >>> decode(b'{"meta":{"owner":"ci"}}'), decode(b"garbage")
    ((None, {'owner': 'ci'}), (None, {}))
    """
    try:
        if raw[:1] != b"{":
            raw = zlib.decompressobj().decompress(raw, _LIMIT)
        fields = json.loads(raw)
        content_type, metadata = fields.get("type"), fields.get("meta", {})
        if content_type is not None and not isinstance(content_type, str):
            return None, {}
        if not all(isinstance(value, str) for value in metadata.values()):
            return None, {}
        return content_type, metadata
    except (ValueError, zlib.error, AttributeError, RecursionError):
        return None, {}


def read(fd: int) -> tuple[str | None, dict[str, str]]:
    """Content type and metadata of an open file."""
    # Most files have no attribute, and a list costs less than an exception.
    try:
        if ATTRIBUTE in ops.listxattr(fd):
            return decode(ops.getxattr(fd, ATTRIBUTE))
    except OSError as exc:
        if exc.errno not in _NONE:
            raise
    return None, {}


def read_raw(fd: int) -> bytes | None:
    """The attribute's value, to be set on a copy; None if there is none."""
    try:
        return ops.getxattr(fd, ATTRIBUTE)
    except OSError as exc:
        if exc.errno not in _NONE:
            raise
        return None
