"""How S3 servers differ, as data. The `dialect` option chooses; `auto` looks.

Measured on SeaweedFS 4.48, moto 5.2 and `rclone serve s3` 1.75; AWS and MinIO
as documented.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from objectstorage.keys import KeyRules
from objectstorage.storage import ALL_CONDITIONS, Conditions

__all__ = ["CONTROL", "DIALECTS", "RESERVED", "Dialect", "dialect_of"]

RESERVED = ".objectstorage"
"""The top segment that is the store's own: probes, and data on its way in."""


class Dialect(NamedTuple):
    """One kind of server.

    `conditions`: None means: probe them. `multipart_condition`: where the
    condition of a multipart write is decided: by "complete", which must be
    atomic, or by a conditional "copy" from a temporary key. `folder_order`:
    lists folder by folder. `ordered`: lists in key order at all.
    """

    name: str
    key_rules: KeyRules
    conditions: Conditions | None = None
    multipart_condition: Literal["complete", "copy"] = "complete"
    folder_order: bool = False
    ordered: bool = True
    etag_kind: Literal["version", "content"] = "content"


_FLAT = KeyRules(reserved=(RESERVED,))
# What no XML can name; moto's URLs lose more of them, and it knows no encoding-type.
CONTROL = frozenset(map(chr, range(0x20))) | frozenset("\x7f\ufffe\uffff")

DIALECTS: dict[str, Dialect] = {
    "aws": Dialect("aws", _FLAT, conditions=ALL_CONDITIONS),
    "minio": Dialect(
        "minio",
        _FLAT._replace(
            dot_segments=False, empty_segments=False, max_segment=255, parent_child="hidden"
        ),
        conditions=ALL_CONDITIONS._replace(
            create=frozenset({"put", "multipart"}), delete=frozenset()
        ),
    ),
    "seaweedfs": Dialect(
        "seaweedfs",
        _FLAT._replace(
            dot_segments=False,
            empty_segments=False,
            trailing_slash=False,
            max_segment=255,
            refused=frozenset("\\"),  # becomes a slash
        ),
        multipart_condition="copy",
        folder_order=True,
    ),
    "moto": Dialect("moto", _FLAT._replace(refused=CONTROL)),
    "generic": Dialect("generic", _FLAT),
}


def dialect_of(server: str) -> Dialect:
    """The dialect of a reply's `Server` header; a positive hint only.

    >>> dialect_of("SeaweedFS 30GB 4.48").name, dialect_of("nginx").name
    ('seaweedfs', 'generic')
    """
    lowered = server.lower()
    if lowered.startswith("seaweedfs"):
        return DIALECTS["seaweedfs"]
    if lowered.startswith("minio"):
        return DIALECTS["minio"]
    if lowered.startswith("werkzeug"):
        return DIALECTS["moto"]
    # "AmazonS3" is claimed by many; what it promises is probed like anybody's
    return DIALECTS["generic"]
