"""How much the proofs try: by default what fits into CI, with `OBJECTSTORAGE_TEST_LONG=1` all.

The long form of every proof, and its counts:

    OBJECTSTORAGE_TEST_LONG=1 python -m pytest -n 3 -m faults
"""

from __future__ import annotations

import os
from typing import TypeVar

__all__ = ["LONG", "much"]

_T = TypeVar("_T")

LONG = os.environ.get("OBJECTSTORAGE_TEST_LONG", "0") not in ("", "0")
"""Whether the long forms were asked for."""


def much(usual: _T, long: _T) -> _T:
    """How often, how many or how long: usually, and in the long form."""
    return long if LONG else usual
