"""Keys that stores get wrong, by what is wrong with them.

Which of them a store must hold, and which it must refuse, is decided by its
`capabilities.key_rules` alone: `split` asks those.
"""

from __future__ import annotations

from collections.abc import Iterable

from objectstorage.errors import ErrInvalidKey
from objectstorage.keys import MAX_KEY, KeyRules

__all__ = ["GROUPS", "NO_KEYS", "ORDER", "independent", "split"]

ORDER = ["T", "a b", "a+b", "e\u0301", "t", "t%2Fx", "t-", "t-/x", "t/x", "t0", "é", "\U0001f600"]
"""Keys whose order tells UTF-8 bytes from folders, locales, UTF-16 and URLs."""

NO_KEYS = ["", "/", "/a", "a\0b", "\0", "\ud800", "a" * (MAX_KEY + 1), "é" * (MAX_KEY // 2 + 1)]
"""What is no key on any store."""


def _long(count: int, max_segment: int = 200) -> str:
    """A key of exactly `count` bytes in segments that file systems hold."""
    text = ("/" + "k" * (max_segment - 1)) * (count // max_segment + 1)
    return "k" + text[1:count].removesuffix("/").ljust(count - 1, "k")


GROUPS: dict[str, list[str]] = {
    "order": ORDER,
    "ascii": [f"x{chr(code)}y" for code in range(0x20, 0x7F) if chr(code) != "/"],
    "first": [f"{chr(code)}y" for code in range(0x20, 0x7F) if chr(code) != "/"],
    "last": [f"x{chr(code)}" for code in range(0x20, 0x7F) if chr(code) != "/"],
    "single": [chr(code) for code in range(0x20, 0x7F) if chr(code) not in "./"],
    "control": [f"c{chr(code)}d" for code in [*range(1, 0x20), 0x7F]] + ["c\r\nd", "\n", "e\t"],
    "encoded": ["%2F", "a%2Fb", "a%252Fb", "a%00b", "%", "%zz", "a%20b", "a+b", "a b", "a%2Bb"],
    "url": ["a?b", "a?b=c&d=e", "a#b", "a&b", "a=b", "a;b", "a:b", "s3:", "http:", "C:", "~", "~a"],
    "quoting": ["a'b", 'a"b', "a\\b", "a`b", "$HOME", "$(a)", "a|b", "<a>", "&amp;", "]]>", "{a}"],
    "globs": ["[", "[a]", "a*", "a?", "*", "**", "!a", "{a,b}"],
    "unicode": [
        *("é", "e\u0301", "ﬁ", "fi", "ß", "ss", "İ", "i\u0307", "\u212a", "K", "Å", "A\u030a"),
        *("日本語/キー", "\U0001f600", "👩\u200d🔬", "\ufeffa", "\u202ea", "\u2028", "\uffff"),
        *("\U0010ffff", "\u00a0", "\u0085", "a\u0301\u0301\u0301"),
    ],
    "case": ["Case", "case", "CASE", "cAsE/x", "CaSe/x", "ä", "Ä"],
    "spaces": [" ", "  ", " a", "a ", "a  b", "a. ", "a.", "a/ /b"],
    "names": ["...", "..a", "a..", "a/...", ".a", "a/.b", "-", "--", "-rf", "con", "nul.txt", "a~"],
    "dots": [".", "..", "a/.", "a/..", "a/./b", "a/../b", "../a", "./a", "../../etc/passwd"],
    "slashes": ["s/", "s//t", "s///t", "s/t/", "s//", "s/t//u/"],
    "long": [
        *("l" * 255, "m" * 256, _long(MAX_KEY), _long(MAX_KEY - 1), "o/" * 100 + "o"),
        *("é" * 127, "p" * MAX_KEY, "\U0001f600" * 63),
    ],
}
"""Keys by the trouble they make. Within a group all can be held side by side."""


def split(keys: Iterable[str], rules: KeyRules) -> tuple[list[str], list[str]]:
    """The keys that a store with these rules holds, and those that it refuses."""
    held: list[str] = []
    refused: list[str] = []
    for key in keys:
        try:
            rules.check(key)
        except ErrInvalidKey:
            refused.append(key)
        else:
            held.append(key)
    return independent(held) if rules.parent_child != "both" else held, refused


def independent(keys: Iterable[str]) -> list[str]:
    """The keys without those below another: `a/b` goes if `a` is there.

    >>> independent(["a/b", "a", "a-", "c/d"])
    ['a', 'a-', 'c/d']
    """
    kept = set(keys)
    return sorted(
        key for key in kept if not any(key[:i] in kept for i, char in enumerate(key) if char == "/")
    )
