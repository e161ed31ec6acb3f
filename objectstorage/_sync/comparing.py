"""Whether two items are the same: by what listings tell, or else by their contents."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import Enum
from typing import BinaryIO

from objectstorage._sync.feed import CHUNK
from objectstorage._sync.sides import Item, Side

__all__ = ["MARGIN", "Verdict", "compare", "same_contents"]

MARGIN = 2_000_000_000
"""Nanoseconds within which the times of two clocks, one in whole seconds, say nothing."""


class Verdict(Enum):
    """What the listings tell of two items of one name."""

    SAME = "same"
    DIFFERENT = "different"
    UNSURE = "unsure"


def compare(source: Side, a: Item, target: Side, b: Item, *, checksum: bool) -> Verdict:
    """Sizes and ETags, then times unless `checksum` forbids to trust those.

    A copy that bears its source's time is the same if it still does; a copy
    that bears its own, if it is the younger one.
    """
    if a.size != b.size:
        return Verdict.DIFFERENT
    if a.digest is not None and b.digest is not None:
        # ETags of encrypted objects look like an MD5 and are none
        return Verdict.SAME if a.digest == b.digest else Verdict.UNSURE
    if checksum:
        return Verdict.UNSURE
    if target.keeps_times:
        return Verdict.SAME if a.modified == b.modified else Verdict.UNSURE
    younger = (b.modified - target.ahead) - (a.modified - source.ahead)
    return Verdict.SAME if younger > MARGIN else Verdict.UNSURE


def same_contents(
    source: Side, a: Item, target: Side, b: Item, *, check: Callable[[], None]
) -> bool:
    """Whether two items of one size hold the same bytes; reads as little as will tell.

    `check` is called now and then, and may raise.
    """
    for digest, side, item in ((b.digest, source, a), (a.digest, target, b)):
        if digest is not None:
            with side.open(item) as opened:
                if _md5(opened.file, check) == digest:
                    return True
            break
    with source.open(a) as one, target.open(b) as other:
        while True:
            check()
            piece = one.file.read(CHUNK)
            if piece != other.file.read(CHUNK):
                return False
            if not piece:
                return True


def _md5(file: BinaryIO, check: Callable[[], None]) -> str:
    md5 = hashlib.md5(usedforsecurity=False)
    while chunk := file.read(CHUNK):
        check()
        md5.update(chunk)
    return md5.hexdigest()
