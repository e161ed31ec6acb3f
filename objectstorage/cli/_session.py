"""From addresses, options, environment and profile to stores and keys."""

from __future__ import annotations

import os
import re
from argparse import Namespace
from typing import Any, NamedTuple, Self
from urllib.parse import quote

from objectstorage.cli._config import Profile, load_profile
from objectstorage.cli._output import Usage
from objectstorage.storage import Storage
from objectstorage.urls import SECRET_OPTIONS, open_storage, store_class

__all__ = ["Place", "Session", "find_root", "is_address"]

_MARKER = ".objectstorage"
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.IGNORECASE | re.DOTALL)


class Place(NamedTuple):
    """A key, or a prefix, in a store."""

    store: Storage
    key: str

    @property
    def folder(self) -> str:
        """The key as the prefix of what lies below it: empty, or ending in `/`."""
        return self.key if not self.key or self.key.endswith("/") else self.key + "/"

    def target(self, source_key: str) -> str:
        """The key of a copy of `source_key` here: its last segment goes below a folder.

        >>> Place(None, "a/").target("x/y"), Place(None, "b").target("x/y")
        ('a/y', 'b')
        """
        if self.key and not self.key.endswith("/"):
            return self.key
        return self.key + source_key.rpartition("/")[2]


class Session:
    """The stores a command uses; closes them. One store a URL."""

    def __init__(self, args: Namespace) -> None:
        self._profile: Profile | None = load_profile(args.profile)
        self._options = _explicit_options(args)
        self._used: set[str] = set()
        self._schemes: set[str] = set()
        self._stores: dict[str, Storage] = {}
        self.chosen: str | None = args.store or (
            self._profile.url if self._profile and args.profile else None
        )
        """The URL of the store named on this command line, if any."""
        self._default = (
            self.chosen
            or os.environ.get("OBJECTSTORAGE_URL")
            or (self._profile.url if self._profile else None)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for store in self._stores.values():
            store.close()

    def places(self, *texts: str) -> list[Place]:
        """The places that addresses, or keys of the default store, name.

        All of a command at once, so that an option that none of the stores
        has is refused.
        """
        found = [self._place(text) for text in texts]
        self.check_options()
        return found

    def place(self, text: str) -> Place:
        """The place that one address names."""
        return self.places(text)[0]

    def check_options(self) -> None:
        """Refuse options that none of the stores opened so far has."""
        unused = sorted(set(self._options) - self._used)
        if unused:
            schemes = sorted(self._schemes)
            raise Usage(f"{' and '.join(schemes)} has no option {', '.join(map(repr, unused))}")

    def open(self, url: str) -> Storage:
        """The store of a URL, with the options given for its kind."""
        if url not in self._stores:
            self._stores[url] = open_storage(url, **self._options_of(url))
        return self._stores[url]

    def default_url(self, fallback: str) -> tuple[str, dict[str, Any]]:
        """URL and options of the default store, or of `fallback`, for who opens it himself."""
        url = self._default or fallback
        return url, self._options_of(url)

    def _options_of(self, url: str) -> dict[str, Any]:
        scheme = url.partition(":")[0].lower()
        self._schemes.add(scheme)
        options: dict[str, Any] = {}
        if self._profile is not None and self._profile.scheme == scheme:
            options.update(self._profile.options)
        for name, value in self._options.items():
            if name in store_class(scheme).OPTIONS:
                options[name] = value
                self._used.add(name)
        return options

    def _place(self, text: str) -> Place:
        match = _ADDRESS.fullmatch(text)
        if match is None:
            if self._default is None:
                raise Usage(
                    f"{text!r} is in no store: write s3://bucket/key or posix:///dir/key, "
                    "or name the store with --store URL"
                )
            return Place(self.open(self._default), text)
        scheme, rest = match[1].lower(), match[2]
        if scheme == "posix":
            root, key = find_root(rest)
            return Place(self.open(f"posix://{quote(root)}"), key)
        authority, _, key = rest.partition("/")
        # "@" stays as it is: it is refused there, by words that show no secret
        return Place(self.open(f"{scheme}://{quote(authority, safe='@')}"), key)


def is_address(text: str) -> bool:
    """Whether it names a store, as opposed to a file or a bare key."""
    return _ADDRESS.fullmatch(text) is not None


def find_root(path: str) -> tuple[str, str]:
    """A posix store's root on the way up from `path`, and the key below it."""
    if not path.startswith("/"):
        raise Usage("a posix address has three slashes: posix:///dir/key")
    ends = [at for at, c in enumerate(path) if c == "/" and at] + [len(path)]
    roots = [path[:at] for at in ends if os.path.isdir(os.path.join(path[:at], _MARKER))]
    # `//` and a trailing `/` name the same directory twice
    if roots and len({os.path.normpath(root) for root in roots}) > 1:
        raise Usage(
            f"{path!r} lies in more than one store ({', '.join(roots)}); "
            "say which with --store posix://ROOT and bare keys"
        )
    if not roots:
        folder = os.path.dirname(path.rstrip("/")) or "/"
        raise Usage(
            f"no store holds {path!r}: no folder above it has a {_MARKER} marker; "
            f"name the root, as in --store posix://{quote(folder)}, and give bare keys"
        )
    return roots[0], path[len(roots[0]) + 1 :]


def _explicit_options(args: Namespace) -> dict[str, str]:
    options: dict[str, str] = {}
    named = [(name, getattr(args, name)) for name in ("endpoint", "region")]
    for name, value in [*((n, v) for n, v in named if v is not None), *args.option]:
        if name.lower() in SECRET_OPTIONS:
            raise Usage(
                f"{name!r} does not belong on a command line; "
                "put it in the environment or a profile"
            )
        if name in options:
            raise Usage(f"the option {name!r} is given twice")
        options[name] = value
    return options
