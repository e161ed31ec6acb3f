"""What a command prints, and the exit code that goes with it."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, BinaryIO

from objectstorage import errors
from objectstorage.errors import StorageError

__all__ = [
    "EXIT_BROKEN_PIPE",
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_REFUSED",
    "EXIT_REGRESSION",
    "EXIT_USAGE",
    "Output",
    "Refused",
    "Usage",
    "bytes_text",
    "escape",
    "exit_code",
    "standard_input",
]

SCHEMA = 1
"""The version of every JSON object's fields."""

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REFUSED = 7
EXIT_REGRESSION = 8
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

# The first that matches; what else fails is EXIT_FAILED.
_EXITS: tuple[tuple[Callable[[BaseException], bool], int], ...] = (
    (lambda err: isinstance(err, Usage), EXIT_USAGE),
    (lambda err: isinstance(err, Refused), EXIT_REFUSED),
    (errors.is_err_not_exist, 3),
    (errors.is_err_forbidden, 4),
    (errors.is_err_unauthorized, 4),
    (errors.is_err_unavailable, 5),
    (errors.is_err_precondition_failed, 6),
    (errors.is_err_concurrency, 6),
    (errors.is_err_bad_request, EXIT_USAGE),
    (errors.is_err_invalid_range, EXIT_USAGE),
    (lambda err: isinstance(err, FileNotFoundError), 3),
    (lambda err: isinstance(err, PermissionError), 4),
    (lambda err: isinstance(err, FileExistsError), 6),
)


class Usage(Exception):
    """The command line means nothing; exit code 2."""


class Refused(Exception):
    """Possible, but not without a word more or not safely; exit code 7."""


def exit_code(err: BaseException) -> int:
    """The exit code of an error that ends a command."""
    return next((code for matches, code in _EXITS if matches(err)), EXIT_FAILED)


def escape(text: str) -> str:
    r"""Text that can't drive a terminal: what doesn't print is shown as its code.

    >>> escape("a\x1b[2Jb\n")
    'a\\x1b[2Jb\\n'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def bytes_text(count: float) -> str:
    """A number of bytes for people.

    >>> bytes_text(999), bytes_text(1536), bytes_text(5 * 2**30)
    ('999 B', '1.5 KiB', '5.0 GiB')
    """
    units = iter(("KiB", "MiB", "GiB", "TiB"))
    unit = "B"
    # 1023.95 would round to 1024.0
    while count >= 1023.95 and (larger := next(units, None)):
        count, unit = count / 1024, larger
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"


class Output:
    """Results on standard output, messages and errors on standard error.

    `code` is the exit code so far. Used from one thread only.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.code = 0
        self._above: Callable[[str], None] | None = None

    @property
    def interactive(self) -> bool:
        """Whether somebody watches standard error, and wants to see progress there."""
        return not (self.as_json or self.quiet) and sys.stderr is not None and sys.stderr.isatty()

    def line(self, text: str, end: str = "\n") -> None:
        """A line of results for people; escaped unless it ends in NUL."""
        if end == "\0":
            # exact, whatever the locale's encoding is
            self.raw((text + end).encode())
        else:
            self._print(escape(text) + end)

    def record(self, fields: dict[str, Any]) -> None:
        """A result as JSON, exact."""
        self._print(_json(fields))

    def raw(self, data: bytes | memoryview) -> None:
        """An object's bytes."""
        if sys.stdout is None:
            raise _closed("output")
        sys.stdout.buffer.write(data)

    def flush(self) -> None:
        """Let whoever reads have what was printed so far."""
        if sys.stdout is not None:
            sys.stdout.flush()

    def message(self, text: str) -> None:
        """A word on standard error that is no error; none with --json or --quiet."""
        if not (self.as_json or self.quiet):
            self._say(escape(text))

    def failed(self, err: Exception) -> None:
        """One of several failed; the others go on, and the exit code is 1."""
        self.error(err)
        self.code = EXIT_FAILED

    def error(self, err: BaseException, code: int = EXIT_FAILED) -> None:
        """A sentence, or an object, on standard error; sets the exit code."""
        self.code = code
        text = _sentence(err)
        if self.as_json:
            fields: dict[str, Any] = {"error": type(err).__name__, "message": text}
            if isinstance(err, StorageError):
                fields |= {"key": err.key, "operation": err.operation, "storage": err.storage}
            self._say(_json(fields).rstrip("\n"))
        else:
            self._say(f"objectstorage: {escape(text)}")

    def above(self, say: Callable[[str], None] | None) -> None:
        """Let messages go through `say` while a progress bar is on the terminal."""
        self._above = say

    def _say(self, text: str) -> None:
        if self._above is not None:
            self._above(text)
            return
        try:
            if sys.stderr is not None:
                sys.stderr.write(text + "\n")
        except OSError:
            pass  # nobody is left to tell; the exit code still does

    @staticmethod
    def _print(text: str) -> None:
        if sys.stdout is None:
            raise _closed("output")
        sys.stdout.write(text)


def _sentence(err: BaseException) -> str:
    if isinstance(err, StorageError | Usage | Refused):
        return str(err)
    if isinstance(err, OSError) and err.strerror:
        if isinstance(err.filename, str | bytes):
            return f"{os.fsdecode(err.filename)!r}: {err.strerror}"
        return err.strerror
    if isinstance(err, KeyboardInterrupt):
        return "interrupted"
    return f"{type(err).__name__}: {err} (OBJECTSTORAGE_DEBUG=1 shows where)"


def _json(fields: dict[str, Any]) -> str:
    return json.dumps({"schema": SCHEMA, **fields}, separators=(",", ":"), default=_plain) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value).__name__}")


def standard_input() -> BinaryIO:
    """Its bytes."""
    if sys.stdin is None:
        raise _closed("input")
    return sys.stdin.buffer


def _closed(what: str) -> OSError:
    """Python has no stream for a descriptor that was closed before it started."""
    return OSError(errno.EBADF, f"standard {what} is closed")
