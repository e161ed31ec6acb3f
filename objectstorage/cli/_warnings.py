"""What stores log as warnings, told like the other messages of a command."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from objectstorage.cli._output import Output
from objectstorage.errors import ErrInvalidKey

__all__ = ["warnings_to"]

# Of so many a second time is noticed: with a progress bar things are listed twice.
_REMEMBERED = 10_000


@contextmanager
def warnings_to(out: Output) -> Iterator[None]:
    """Tell them through `out`; what a listing had to leave out is a failure."""
    log = logging.getLogger("objectstorage")
    handler = _Handler(out)
    propagate = log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.propagate = propagate
        log.removeHandler(handler)


class _Handler(logging.Handler):
    def __init__(self, out: Output) -> None:
        super().__init__(logging.WARNING)
        self._out = out
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Each key once."""
        key = getattr(record, "key", None)
        if key is None:
            self._out.message(record.getMessage())
        elif key not in self._told:
            if len(self._told) < _REMEMBERED:
                self._told.add(key)
            self._out.failed(
                ErrInvalidKey("left out of a listing: no valid key", key=key, operation="list")
            )
