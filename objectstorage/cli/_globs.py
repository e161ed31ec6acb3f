"""Patterns over keys: `*` and `?` stop at `/`, `**` crosses it, all else is itself."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence

from objectstorage.cli._output import Output
from objectstorage.cli._parser import Parser
from objectstorage.cli._session import Place
from objectstorage.errors import ErrNotExist
from objectstorage.storage import ObjectInfo

__all__ = ["add_filters", "compile_glob", "expand", "filters", "objects"]

_TOKENS = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")
_WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def compile_glob(pattern: str) -> re.Pattern[str]:
    """The pattern for `fullmatch` on a key.

    >>> glob = compile_glob("logs/**/*.txt")
    >>> [bool(glob.fullmatch(key)) for key in ("logs/a.txt", "logs/x/y/b.txt", "logs/[a]")]
    [True, True, False]
    """
    *segments, last = pattern.split("/")
    parts = [_segment(segment, "/") for segment in segments]
    return re.compile("".join(parts) + _segment(last, ""), re.DOTALL)


def _segment(text: str, end: str) -> str:
    if "**" in text:
        return _fixed(text + end)
    first, *others = text.split("*")
    if not others:
        return _fixed(text + end)
    # atomic: within a segment the first place for a piece leaves most to the others, so no
    # name, however long and however repetitive, makes the match try every combination
    middle = "".join(f"(?>[^/]*?{_fixed(piece)})" for piece in others[:-1])
    return f"{_fixed(first)}{middle}[^/]*{_fixed(others[-1] + end)}"


def _fixed(text: str) -> str:
    return "".join(_WILD.get(token) or re.escape(token) for token in _TOKENS.findall(text))


def expand(place: Place, *, missing_ok: bool = False) -> Iterator[ObjectInfo]:
    """The objects whose key matches the place's; `ErrNotExist` if there are none."""
    pattern = place.key
    glob = compile_glob(pattern)
    prefix = re.split(r"[*?]", pattern, maxsplit=1)[0]
    found = missing_ok
    for info in place.store.list(prefix):
        if glob.fullmatch(info.key):
            found = True
            yield info
    if not found:
        raise ErrNotExist("no key matches", key=pattern, operation="glob", storage=place.store.url)


def objects(
    places: Sequence[Place], out: Output, *, glob: bool, missing_ok: bool = False
) -> Iterator[Place]:
    """The places themselves, or with `glob` those whose keys match theirs.

    Of several patterns one may match nothing while the others go on.
    """
    if not glob:
        yield from places
        return
    for place in places:
        try:
            for info in expand(place, missing_ok=missing_ok):
                yield Place(place.store, info.key)
        except ErrNotExist as exc:
            if len(places) == 1:
                raise
            out.failed(exc)


def add_filters(parser: Parser) -> None:
    """The options that `filters` reads."""
    group = parser.add_argument_group(
        "filters, with -r",
        "Patterns of the name below the folder: * and ? stop at /, ** crosses it.",
    )
    group.add_argument("--include", metavar="GLOB", action="append", default=[], help="only these")
    group.add_argument("--exclude", metavar="GLOB", action="append", default=[], help="not these")


def filters(args: Namespace) -> Callable[[str], bool]:
    """Whether a name below the folder is wanted: by --include and --exclude."""
    include = [compile_glob(pattern) for pattern in args.include]
    exclude = [compile_glob(pattern) for pattern in args.exclude]

    def wanted(name: str) -> bool:
        if include and not any(glob.fullmatch(name) for glob in include):
            return False
        return not any(glob.fullmatch(name) for glob in exclude)

    return wanted
