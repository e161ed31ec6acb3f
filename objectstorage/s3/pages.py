"""How the listings get their pages, and what every page is checked for."""

from __future__ import annotations

from typing import Protocol

from objectstorage.errors import ErrBackend
from objectstorage.s3.effects import Effects
from objectstorage.s3.xml import ListPage

__all__ = ["MAX_KEYS", "Page", "Tokens", "check_asked"]


MAX_KEYS = 1000
"""Entries of a page; S3 gives no more."""


class Page(Protocol):
    """Asks the server for one page; knows requests and the store's own prefix."""

    def __call__(
        self,
        prefix: str,
        delimiter: str | None = None,
        start_after: str | None = None,
        token: str | None = None,
        max_keys: int = MAX_KEYS,
    ) -> Effects[ListPage]:
        """Keys with `prefix`; with a delimiter, common prefixes apart.

        `start_after` begins a listing, `token` goes on with one.
        """


class Tokens:
    """The tokens of one listing since it last advanced: one that comes back would loop."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def following(self, page: ListPage) -> str | None:
        """The token to go on with; None at the end."""
        token = page.token
        if token is None:
            return None
        if token in self._seen:
            raise ErrBackend("the server's listing does not advance: a token came twice")
        if page.objects or page.prefixes:
            self._seen.clear()
        self._seen.add(token)
        return token


def check_asked(page: ListPage, prefix: str, delimiter: str | None) -> None:
    """`ErrBackend` if a page holds what was not asked for: another prefix, a deeper level."""
    for key in [info[0] for info in page.objects]:
        if not key.startswith(prefix):
            raise ErrBackend(f"asked for {prefix!r}, the server listed {key[:200]!r}")
    if delimiter is None:
        return
    cut = len(prefix)
    for key in [info[0] for info in page.objects]:
        if "/" in key[cut:]:
            raise ErrBackend(f"asked for one level, the server listed {key[:200]!r}")
    for name in page.prefixes:
        if not name.startswith(prefix) or name.find("/", cut) != len(name) - 1:
            raise ErrBackend(f"asked for {prefix!r}, the server listed {name[:200]!r}")
