"""Exact key order from a server that lists folder by folder (SeaweedFS).

Such a server compares keys segment by segment: `t/x` comes before `t-`, since
`t` is before `t-`. In key order it is the other way round, for "-" is before
"/". So each level is read by itself, in the order of its names, and a folder
is held back until the name that follows comes after the folder's own string,
`t/`. Held folders' names are prefixes of one another, so they are few.

A request per folder would be slow, so before going into a folder a *window* is
read: one page without a delimiter, beginning where the folder does. Every
folder that lies whole in it is sorted here and costs nothing more; the one it
breaks off in takes what it has of it along. Memory: one page a level.

Traps of SeaweedFS 4.48, all met in tests: a full page without a delimiter that
ends at the object `b` is continued after the folder `b/`, or even said to be
the last, so windows are never continued and full ones never last;
`start-after=b` passes over `b` and all of `b/`; `start-after` and prefixes with
`//` make keys up; a folder whose objects are deleted stays as a common prefix;
a key that ends in "/" is a folder, not an object.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from operator import itemgetter
from typing import Any, NamedTuple, NoReturn, TypeAlias

from objectstorage.errors import ErrBackend
from objectstorage.s3.effects import Effects, Emit
from objectstorage.s3.pages import MAX_KEYS, Page, Tokens, check_asked
from objectstorage.s3.xml import ListPage
from objectstorage.storage import ObjectInfo, Prefix

__all__ = ["list_folders", "list_level"]

_key = itemgetter(0)

# A name that goes on with this sorts before the folder's "/" and after nearly all
# that also do; what little follows it is told from the keys.
_BEFORE_SLASH = ".\U0010ffff"
# Names that no folder can have.
_NO_FOLDERS = ("", ".", "..")


class _Ask(NamedTuple):
    """Arguments of one request for a page."""

    prefix: str
    delimiter: str | None = None
    start_after: str | None = None
    token: str | None = None
    max_keys: int = MAX_KEYS


class _Into(NamedTuple):
    """Go through a folder before going on with the level."""

    prefix: str
    after: str | None
    window: _Window | None


_Level: TypeAlias = Generator[_Ask | _Into, Any, None]
"""The listing of one level: asks for pages, goes into folders."""


class _Held(NamedTuple):
    """A folder whose time has not come.

    `before` is the name that precedes it in its level, "" at the start; None
    for a folder that is only guessed at.
    """

    name: str
    before: str | None


class _Window:
    """A stretch of a level read in one page, by folders.

    It begins after the name `start`. Folders before the name `end` are whole;
    at `end` the page broke off, None if it went to the end of the level.
    """

    def __init__(self, base: str, start: str, objects: list[ObjectInfo], breaks_off: bool) -> None:
        folders: dict[str, list[ObjectInfo]] = {}
        cut = len(base)
        last = ""
        for info in objects:
            key = info[0]
            name, slash, _ = key[cut:].partition("/")
            if name < last:
                _out_of_order(base + last, key)
            last = name
            if slash and key[-1] != "/":
                folders.setdefault(name, []).append(info)
        self._folders = folders
        self._start = start
        self._end = last if breaks_off else None

    def is_whole(self, name: str) -> bool:
        """Whether all of the folder is here, if only to say that it is empty."""
        return self._start < name and (self._end is None or name < self._end)

    def shows(self, name: str) -> bool:
        """Whether something is known of the folder: all, or its beginning."""
        return self.is_whole(name) or (self._start < name == self._end and name in self._folders)

    def take(self, name: str) -> list[ObjectInfo]:
        """The folder's objects, in the server's order; they are here no longer."""
        return self._folders.pop(name, [])


def list_folders(
    page: Page, prefix: str, start_after: str = "", *, page_size: int = MAX_KEYS
) -> Effects[None]:
    """Emit batches of `ObjectInfo` in key order; as `listing.list_objects`.

    `start_after` begins with `prefix`, or is empty. page_size: the most keys to
    ask for at once.
    """
    batch: list[ObjectInfo] = []
    return _run(page, prefix, _deep(prefix, start_after or None, None, batch), batch, page_size)


def list_level(page: Page, prefix: str, *, page_size: int = MAX_KEYS) -> Effects[None]:
    """Emit batches of `ObjectInfo` and `Prefix`; as `listing.list_level`.

    Folders without an object are left out. To tell costs a small request a
    folder where folders are big, and one for many folders where they are small.
    """
    batch: list[ObjectInfo | Prefix] = []
    return _run(page, prefix, _shallow(prefix, batch), batch, page_size)


def _run(page: Page, prefix: str, level: _Level, batch: list[Any], page_size: int) -> Effects[None]:
    """Do what levels ask for, and emit what they put into `batch` in between."""
    if any(name in _NO_FOLDERS for name in prefix.split("/")[:-1]):
        return
    # A stack of its own: keys may have 500 levels, Python's has 1,000 calls.
    levels = [level]
    reply: ListPage | None = None
    while levels:
        try:
            wanted = levels[-1].send(reply)
        except StopIteration:
            levels.pop()
            reply = None
            continue
        reply = None
        if isinstance(wanted, _Into):
            levels.append(_deep(*wanted, batch))
            continue
        if batch:
            yield Emit(batch.copy())
            batch.clear()
        asked = min(wanted.max_keys, page_size)
        reply = yield from page(*wanted._replace(max_keys=asked))
        check_asked(reply, wanted.prefix, wanted.delimiter)
        if wanted.delimiter is None and reply.listed >= asked:
            reply = reply._replace(truncated=True)  # whatever it says itself
    if batch:
        yield Emit(batch)


def _deep(
    prefix: str, after: str | None, window: _Window | None, batch: list[ObjectInfo]
) -> _Level:
    """Put into `batch` what begins with `prefix` and comes after `after`, in key order."""
    base = prefix[: prefix.rfind("/") + 1]
    held: list[_Held] = []
    start = ""
    if after is not None:
        start, slash, _ = after[len(base) :].partition("/")
        # Folders whose name comes before `start`, and whose keys come after it.
        held = [
            _Held(start[:i], None)
            for i in range(max(1, len(prefix) - len(base)), len(start))
            if start[i] < "/"
        ]
        if slash:
            if start not in _NO_FOLDERS:
                yield _Into(f"{base}{start}/", after, None)
            start += _BEFORE_SLASH
        elif start:
            held.append(_Held(start, None))
    elif window is None:
        found: ListPage = yield _Ask(prefix)
        if not found.truncated:
            objects = [info for info in found.objects if info[0][-1] != "/"]
            batch += sorted(objects, key=_key)
            return
        window = _Window(base, "", found.objects, True)

    def give(folder: _Held) -> _Level:
        """All of one folder: from the window if it is whole there, else by going into it."""
        nonlocal window
        name, before = folder
        if window is None or not window.shows(name):
            if before is None:
                yield _Into(f"{base}{name}/", None, None)
                return
            found: ListPage = yield _Ask(prefix, start_after=base + before if before else None)
            window = _Window(base, before, found.objects, found.truncated)
        if window.is_whole(name):
            batch.extend(sorted(window.take(name), key=_key))
        elif window.shows(name):
            inner = f"{base}{name}/"
            yield _Into(inner, None, _Window(inner, "", window.take(name), True))
        else:
            yield _Into(f"{base}{name}/", None, None)

    yield from _merged(prefix, start, after, held, batch, give)


def _shallow(prefix: str, batch: list[ObjectInfo | Prefix]) -> _Level:
    """Put into `batch` one level: objects, and folders with an object in them."""
    base = prefix[: prefix.rfind("/") + 1]
    window: _Window | None = None
    size = 16

    def give(folder: _Held) -> _Level:
        """The folder's prefix, unless it is empty."""
        nonlocal window, size
        name, before = folder
        if window is None or not window.shows(name):
            start_after = base + before if before else None
            found: ListPage = yield _Ask(prefix, start_after=start_after, max_keys=size)
            window = _Window(base, before or "", found.objects, found.truncated)
            # As many keys as it takes to see many folders at once, if that is to be had.
            size = min(MAX_KEYS, size * 2) if window.is_whole(name) else max(1, size // 2)
        if window.shows(name):
            holds = bool(window.take(name))
        else:
            holds = yield from _any_object(f"{base}{name}/")
        if holds:
            batch.append(Prefix(f"{base}{name}/"))

    yield from _merged(prefix, "", None, [], batch, give)


def _any_object(folder: str) -> Generator[_Ask, ListPage, bool]:
    """Whether there is an object in a folder that no window shows."""
    tokens = Tokens()
    token: str | None = None
    while True:
        found = yield _Ask(folder, token=token)
        if any(info[0][-1] != "/" for info in found.objects):
            return True
        token = tokens.following(found)
        if token is None:
            return False


def _merged(
    prefix: str,
    start: str,
    after: str | None,
    held: list[_Held],
    batch: list[Any],
    give: Callable[[_Held], _Level],
) -> _Level:
    """Read a level from the name `start` on; objects into `batch`, folders to `give`.

    In the order of the strings, in which a folder's ends in "/".
    """
    base = prefix[: prefix.rfind("/") + 1]
    tokens = Tokens()
    token: str | None = None
    before = current = start  # the last two names
    last = ("", False)
    while True:
        start_after = base + start if start and token is None else None
        found = yield _Ask(prefix, "/", start_after, token)
        token = tokens.following(found)
        entries = _entries(base, found)
        if entries and entries[0][:2] <= last:
            _out_of_order(base + last[0], base + entries[0][0])
        for name, is_folder, info in entries:
            if name != current:
                before, current = current, name
            while held and f"{held[-1].name}/" < name:
                yield from give(held.pop())
            if info is not None:
                if after is None or info[0] > after:
                    batch.append(info)
            elif name > start and (after is None or f"{base}{name}/" > after):
                held.append(_Held(name, before))  # else it is held already, or comes before
            last = (name, is_folder)
        if token is None:
            break
    while held:
        yield from give(held.pop())


def _entries(base: str, found: ListPage) -> list[tuple[str, bool, ObjectInfo | None]]:
    """The names of a page of a level in their order, an object before its namesake folder."""
    cut = len(base)
    entries: list[tuple[str, bool, ObjectInfo | None]] = [
        (info[0][cut:], False, info) for info in found.objects if info[0][-1] != "/"
    ]
    entries += [(name[cut:-1], True, None) for name in found.prefixes]
    entries.sort(key=itemgetter(0, 1))
    return entries


def _out_of_order(first: str, second: str) -> NoReturn:
    raise ErrBackend(
        f"the server does not list folder by folder: {first!r} came before {second!r}; "
        "if it lists in key order, say so by the option dialect=generic",
        key=second,
    )
