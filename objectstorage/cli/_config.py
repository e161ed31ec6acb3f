"""The profile file: a TOML table a profile, each a store's URL and options.

    [default]
    url = "posix:///srv/objects"

    [minio]
    url = "s3://bucket"
    options = { endpoint = "http://127.0.0.1:9000", region = "us-east-1" }

`default` holds when no profile is asked for. A profile's options hold for all
stores of its URL's kind.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from objectstorage.cli._output import Usage

__all__ = ["Profile", "config_path", "load_profile"]


class Profile(NamedTuple):
    """A store's URL, and options that may hold secrets: never print them."""

    url: str
    options: dict[str, Any]

    @property
    def scheme(self) -> str:
        """The kind of store the options are for."""
        return self.url.partition(":")[0].lower()


def config_path() -> str:
    """OBJECTSTORAGE_CONFIG, or objectstorage/config.toml in the user's configuration."""
    path = os.environ.get("OBJECTSTORAGE_CONFIG")
    if path:
        return path
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.path.join(base, "objectstorage", "config.toml")


def load_profile(name: str | None) -> Profile | None:
    """The profile of that name, or `default` if there is one; `Usage` if it is no profile."""
    path = config_path()
    try:
        with open(path, "rb") as file:
            # imported here: most commands read no file
            import tomllib

            tables = tomllib.load(file)
    except FileNotFoundError:
        if name is None and not os.environ.get("OBJECTSTORAGE_CONFIG"):
            return None
        raise Usage(f"there is no configuration file {path!r}") from None
    except ValueError as exc:
        raise Usage(f"{path!r} is not TOML: {exc}") from exc
    table = tables.get(name or "default")
    if table is None:
        if name is None:
            return None
        raise Usage(f"{path!r} has no profile {name!r}; it has {', '.join(map(repr, tables))}")
    where = f"the profile {name or 'default'!r} of {path!r}"
    if not isinstance(table, dict) or set(table) - {"url", "options"}:
        raise Usage(f"{where} has a url and options, nothing else")
    url, options = table.get("url"), table.get("options", {})
    if not isinstance(url, str) or not isinstance(options, dict):
        raise Usage(f"{where} has a url (a string) and options (a table)")
    return Profile(url, options)
