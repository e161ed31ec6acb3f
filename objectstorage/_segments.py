"""Names that callers choose, as segments of keys that every store holds.

A segment is escaped byte by byte, so a prefix of a name is a prefix of its
segment. What stands between segments and what the layers add themselves (`/`,
`=`, `!`) is always escaped within them: no name can meet another's objects.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from objectstorage.errors import ErrInvalidKey

__all__ = ["MAX_SEGMENT", "escape", "escape_path", "escape_start", "unescape"]

MAX_SEGMENT = 220
"""Bytes of an escaped segment; what is added to one stays below a file name's 255."""


def escape(name: str, what: str) -> str:
    """One name as one segment; `what` says in an `ErrInvalidKey` which name it was.

    >>> escape("a/b c", "group"), escape("..", "group")
    ('a%2Fb%20c', '%2E.')
    """
    segment = escape_start(name, what)
    if not segment:
        raise ErrInvalidKey(f"the {what} is empty")
    if len(segment) > MAX_SEGMENT:
        raise ErrInvalidKey(
            f"the {what} has {len(segment)} bytes when escaped; at most {MAX_SEGMENT} are held"
        )
    return segment


def escape_start(prefix: str, what: str) -> str:
    """How the segment of every name that begins with `prefix` begins."""
    if not isinstance(prefix, str):
        raise TypeError(f"the {what} is a str, not {type(prefix).__name__}")
    try:
        segment = quote(prefix, safe="")
    except UnicodeEncodeError as exc:
        raise ErrInvalidKey(f"the {what} is not valid UTF-8") from exc
    if "%00" in segment:
        raise ErrInvalidKey(f"the {what} contains NUL")
    # a leading dot: `.` and `..` are no names of files
    return "%2E" + segment[1:] if segment.startswith(".") else segment


def escape_path(name: str, what: str) -> str:
    """A name with `/` between its segments, each of them escaped.

    >>> escape_path("run/1/step 2", "log's name")
    'run/1/step%202'
    """
    if not isinstance(name, str):
        raise TypeError(f"the {what} is a str, not {type(name).__name__}")
    if not name:
        raise ErrInvalidKey(f"the {what} is empty")
    return "/".join(escape(segment, f"segment of the {what}") for segment in name.split("/"))


def unescape(segment: str) -> str:
    """The name (or the path of names) that became this.

    >>> unescape(escape(".a/b", "key"))
    '.a/b'
    """
    return unquote(segment, errors="strict")
