"""`PosixFlatStorage`: every key side by side, `a` and `a/b`, `.` and `..`, in a directory.

Keys are escaped, so the tree is for this store alone; no URL reaches it. Names
use only characters that every file system takes and no file system folds:

>>> path_of("Logs/1")
b'=4cogs.d/1.o'

Each byte of a key has a code of its own, none of which begins another, and
which sort as the bytes do: so names sort as keys. A `/` ends a directory `X.d`;
80 bytes without one make a continuation `X.c`; the object is a file `X.o`.
"""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import quote

from objectstorage.keys import MAX_KEY, KeyRules, check_key
from objectstorage.local.naming import Naming
from objectstorage.local.store import LocalStorage
from objectstorage.posix import _rebuild, absolute

__all__ = ["PosixFlatStorage", "key_of", "path_of"]

_RULES = KeyRules()
_CHUNK = 80  # bytes of a key in one name, 242 bytes at most when all are escaped
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_`")


def _code(byte: int) -> str:
    """The code of one byte: itself, or a lead that sorts where the byte does and its hex."""
    if byte in _PLAIN:
        return chr(byte)
    lead = "!" if byte < 0x2D else "." if byte < 0x30 else "=" if byte < 0x5F else "~"
    return f"{lead}{byte:02x}"


_CODES = {byte: _code(byte) for byte in range(256)}
_SLASH = _CODES[0x2F]
# What encoding gives, and nothing else, so that a name has one key at most; the
# slash is not in it, since it is the end of a directory; nor is NUL.
_CANONICAL = re.compile(
    "(?:"
    + "|".join(re.escape(code) for byte, code in _CODES.items() if byte not in (0, 0x2F))
    + ")*"
).fullmatch
_ESCAPE = re.compile(r"[!.=~](..)")


def _encode(raw: bytes) -> str:
    return raw.decode("latin-1").translate(_CODES)


def _decode(text: str) -> bytes:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text).encode("latin-1")


def _split(raw: bytes) -> tuple[list[str], bytes]:
    """The directories that all keys beginning with `raw` are in, and what is left of it."""
    names = []
    *folders, last = raw.split(b"/")
    for folder in folders:
        while len(folder) >= _CHUNK:
            names.append(_encode(folder[:_CHUNK]) + ".c")
            folder = folder[_CHUNK:]
        names.append(_encode(folder) + ".d")
    while len(last) >= _CHUNK:
        names.append(_encode(last[:_CHUNK]) + ".c")
        last = last[_CHUNK:]
    return names, last


def path_of(key: str) -> bytes:
    """The file of a key, below the root; `ErrInvalidKey` for what is no key."""
    names, last = _split(check_key(key))
    return "/".join([*names, _encode(last) + ".o"]).encode()


def key_of(path: bytes) -> str | None:
    """The key of a file; None for one that `path_of` never gives.

    >>> key_of(b"=4cogs.d/1.o"), key_of(b"Logs.d/1.o")
    ('Logs/1', None)
    """
    naming = _Escaped()
    *folders, last = path.decode("latin-1").split("/")
    entries = naming.entries([f"{name}/" for name in folders], "")
    ends = naming.entries([last], "")
    if len(entries) != len(folders) or not ends:
        return None
    return naming.key("".join(map(naming.adds, entries)) + ends[0])


class _Escaped:
    """Keys escaped as the module says."""

    layout = "posixflat"
    rules = _RULES
    longest_path = 4 * MAX_KEY
    plain = False
    folds_case_safely = True

    def path(self, key: str) -> bytes:
        """See `Naming.path`."""
        return path_of(key)

    def place(self, prefix: str) -> tuple[bytes, str, str] | None:
        """See `Naming.place`."""
        raw = prefix.encode()
        if len(raw) > MAX_KEY:
            return None
        names, rest = _split(raw)
        done = raw[: len(raw) - len(rest)]
        return "/".join(names).encode(), _encode(done), _encode(rest)

    def text(self, key: str) -> str:
        """See `Naming.text`."""
        return _encode(key.encode())

    def entries(self, names: list[str], base: str) -> list[str]:
        """See `Naming.entries`."""
        found = []
        for name in names:
            entry = _entry(name)
            if entry is not None:
                found.append(entry)
        return found

    def adds(self, entry: str) -> str:
        """See `Naming.adds`."""
        return entry[:-1]

    def name(self, entry: str) -> str:
        """See `Naming.name`."""
        if entry[-1:] != "/":
            return entry + ".o"
        if entry.endswith(_SLASH + "/"):
            return entry[: -len(_SLASH) - 1] + ".d"
        return entry[:-1] + ".c"

    def key(self, text: str) -> str | None:
        """See `Naming.key`."""
        raw = _decode(text)
        if not raw or len(raw) > MAX_KEY or raw[0] == 0x2F:
            return None
        try:
            return raw.decode()
        except UnicodeDecodeError:  # a continuation may split a character, the whole may not
            return None


def _entry(name: str) -> str | None:
    """What a name adds, `/` behind a directory's; None unless it is canonical."""
    if name[-1:] != "/":
        text, kind = name[:-2], name[-2:]
        if kind != ".o" or not _CANONICAL(text) or _length(text) >= _CHUNK:
            return None
        return text
    text, kind = name[:-3], name[-3:-1]
    if kind not in (".c", ".d") or not _CANONICAL(text):
        return None
    if kind == ".d":
        return f"{text}{_SLASH}/" if _length(text) < _CHUNK else None
    return text + "/" if _length(text) == _CHUNK else None


def _length(text: str) -> int:
    """Bytes of the key that a canonical text stands for."""
    return len(text) - 2 * sum(map(text.count, "!.=~"))


_NAMING: Naming = _Escaped()


class PosixFlatStorage(LocalStorage):
    """Objects as files below the directory `root`, under escaped names; holds every key.

    Options as `objectstorage.posix.PosixStorage`'s. Files whose names are not
    the store's are left alone and never show.
    """

    def __init__(
        self, root: str | os.PathLike[str], *, durable: bool = True, create_root: bool = True
    ) -> None:
        super().__init__(absolute(root), _NAMING, durable=durable, create_root=create_root)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._directory, self._durable, self._create_root)

    @property
    def url(self) -> str:
        """`posixflat:///the/directory`, to be shown; `open_storage` does not take it."""
        return "posixflat://" + quote(os.fsencode(self._directory))
