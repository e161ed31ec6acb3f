"""How much of what: sizes that bound memory and decide when work is done."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DEFAULTS", "Limits"]


class Limits(NamedTuple):
    """Bytes and counts; the defaults fit what they are for.

    inline_bytes: payloads up to this lie within their slot, one write less.
    file_bytes: a data file is cut beyond this; one is in memory when it is made.
    block_bytes: what reading one entry reads of a data file.
    checkpoint_bytes, checkpoint_commits: so much log since the last checkpoint,
        and the writer that made it so makes a checkpoint. Bytes are what it takes
        in memory: 200 are added for each action.
    log_bytes: so much log since the last checkpoint, and a writer must make a
        checkpoint before it commits. This bounds what a reader holds in memory.
    requests: at once, when there is much to read: a client that starts late.
    """

    inline_bytes: int = 32 * 1024
    file_bytes: int = 8 * 1024 * 1024
    block_bytes: int = 16 * 1024
    checkpoint_bytes: int = 16 * 1024 * 1024
    checkpoint_commits: int = 2048
    log_bytes: int = 48 * 1024 * 1024
    requests: int = 16


DEFAULTS = Limits()
