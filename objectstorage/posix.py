"""`PosixStorage`: a directory tree as a store; keys are paths below it.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder, PosixStorage(folder) as store:
...     v1 = store.put("logs/1", b"one")
...     v2 = store.put("logs/1", b"two", if_match=v1.etag)
...     [info.key for info in store.list()], store.get("logs/1")
(['logs/1'], b'two')
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from objectstorage.errors import ErrInvalidURL, StorageError
from objectstorage.keys import MAX_KEY, KeyRules, check_prefix
from objectstorage.local.failures import read_error
from objectstorage.local.naming import Naming
from objectstorage.local.root import HIDDEN
from objectstorage.local.store import LocalStorage
from objectstorage.local.walk import level
from objectstorage.storage import ObjectInfo, Prefix
from objectstorage.urls import parse_bool

__all__ = ["PosixStorage"]

_LONGEST_NAME = 255

_RULES = KeyRules(
    dot_segments=False,
    empty_segments=False,
    trailing_slash=False,
    max_segment=_LONGEST_NAME,
    parent_child="refused",
    reserved=(HIDDEN,),
)

# Keys of the common kind, which need no second look: short, ASCII, each segment
# beginning with something else than a dot.
_PLAIN = re.compile(r"[!-\-0-~][!-.0-~]*(?:/[!-\-0-~][!-.0-~]*)*").fullmatch


class _Paths:
    """Keys as they are: a key is a path, its folders are directories."""

    layout = "posix"
    rules = _RULES
    longest_path = MAX_KEY
    plain = True
    folds_case_safely = False

    def path(self, key: str) -> bytes:
        """See `Naming.path`."""
        if isinstance(key, str) and len(key) <= 255 and _PLAIN(key):
            return key.encode()
        return _RULES.check(key)

    def place(self, prefix: str) -> tuple[bytes, str, str] | None:
        """See `Naming.place`."""
        folder, slash, rest = prefix.rpartition("/")
        if not folder:
            return b"", "", rest
        try:
            return _RULES.check(folder), folder + slash, rest
        except StorageError:
            return None

    def text(self, key: str) -> str:
        """See `Naming.text`. Code points sort as UTF-8 bytes do."""
        return key

    def entries(self, names: list[str], base: str) -> list[str]:
        """See `Naming.entries`."""
        room = MAX_KEY - len(base.encode())
        try:
            # All at once: names that are not UTF-8 or too long are rare.
            "".join(names).encode()
            if room > _LONGEST_NAME:
                return names
        except UnicodeEncodeError:
            pass
        return [name for name in names if _fits(name, room)]

    def adds(self, entry: str) -> str:
        """See `Naming.adds`."""
        return entry

    def name(self, entry: str) -> str:
        """See `Naming.name`."""
        return entry.rstrip("/")

    def key(self, text: str) -> str:
        """See `Naming.key`."""
        return text


def _fits(name: str, room: int) -> bool:
    try:
        return len(name.encode()) <= room
    except UnicodeEncodeError:
        return False


_NAMING: Naming = _Paths()


class PosixStorage(LocalStorage):
    """Objects as files below the directory `root`; keys are paths.

    The directory is made with the first write, unless `create_root` is false;
    its entry `.objectstorage` is the store's own. `durable` is what `put` does
    unless told otherwise: see `Storage.put`. A key can't be a folder of another
    (`ErrConflict`). Files that other programs put there are objects too.
    """

    OPTIONS = ("create_root", "durable")

    def __init__(
        self, root: str | os.PathLike[str], *, durable: bool = True, create_root: bool = True
    ) -> None:
        super().__init__(absolute(root), _NAMING, durable=durable, create_root=create_root)

    @classmethod
    def from_url(cls, netloc: str, path: str, options: dict[str, Any]) -> PosixStorage:
        """The store of a `posix:` URL (see `objectstorage.urls`)."""
        if netloc:
            raise ErrInvalidURL(
                f"posix://{netloc} names a host; write posix:///path with three slashes, "
                "or posix:path for a directory below the current one"
            )
        return cls(path, **{name: parse_bool(name, value) for name, value in options.items()})

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._directory, self._durable, self._create_root)

    @property
    def url(self) -> str:
        """`posix:///the/directory`."""
        return "posix://" + quote(os.fsencode(self._directory))

    def list_level(self, prefix: str = "") -> Iterator[ObjectInfo | Prefix]:
        """See `Storage.list_level`. Reads one directory, and looks into those in it."""
        try:
            self._check_open("list_level")
            check_prefix(prefix)
        except StorageError as exc:
            raise exc.at(key=prefix, operation="list_level", storage=self.url)
        return self._level(prefix)

    def _level(self, prefix: str) -> Iterator[ObjectInfo | Prefix]:
        try:
            root = self._listed_root()
            if root is not None:
                yield from level(root, _NAMING, prefix)
        except StorageError as exc:
            raise exc.at(key=prefix, operation="list_level", storage=self.url)
        except OSError as exc:
            raise read_error(exc).at(key=prefix, operation="list_level", storage=self.url) from exc


def absolute(root: str | os.PathLike[str]) -> str:
    """The directory's absolute path; no I/O. `ErrInvalidURL` for one that is none."""
    path = os.fspath(root)
    if not isinstance(path, str):
        raise TypeError(f"a store's directory is a str or a path, not {type(path).__name__}")
    if not path:
        raise ErrInvalidURL("posix: names no directory; write posix:///path, or posix:. for this")
    if "\0" in path:
        raise ErrInvalidURL("a directory's name contains no NUL")
    try:
        os.fsencode(path)
    except UnicodeEncodeError as exc:
        raise ErrInvalidURL("a directory's name contains no lone surrogate") from exc
    return os.path.abspath(path)


def _rebuild(cls: Any, directory: str, durable: bool, create_root: bool) -> Any:
    return cls(directory, durable=durable, create_root=create_root)
