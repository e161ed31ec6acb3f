"""What a dry run tells of."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Action"]


class Action(NamedTuple):
    """One change that was not made.

    `operation` is "put", "writer", "copy", "move", "delete" or "abort_upload";
    `size` in bytes of what `key` would hold, None where nothing is written;
    `source` the key that is copied or moved from.
    """

    operation: str
    key: str
    size: int | None = None
    source: str | None = None
