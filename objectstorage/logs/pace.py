"""How often one who follows a log looks for more."""

from __future__ import annotations

__all__ = ["Pace"]

FIRST = 0.02
LONGEST = 0.25


class Pace:
    """Pauses between looks: none after something was found, then longer and longer.

    >>> pace = Pace()
    >>> [round(pace.after(data), 2) for data in (b"a", b"", b"", b"b", b"")]
    [0.0, 0.02, 0.04, 0.0, 0.02]
    """

    def __init__(self) -> None:
        self._next = FIRST

    def after(self, data: bytes) -> float:
        """Seconds to wait after a look that found `data`."""
        if data:
            self._next = FIRST
            return 0.0
        seconds, self._next = self._next, min(self._next * 2, LONGEST)
        return seconds
