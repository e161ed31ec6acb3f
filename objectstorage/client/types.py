"""What the client gives: its own types, apart from the services'."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import unquote

import httpx

__all__ = ["Cache", "Log", "Page", "Result"]

_T = TypeVar("_T")


class Result(NamedTuple, Generic[_T]):
    """What a call gives: the parsed `value`, and the reply as it came."""

    value: _T
    response: httpx.Response


class Page(NamedTuple, Generic[_T]):
    """A part of a list; `token` gives the next one, None after the last."""

    items: list[_T]
    token: str | None


class Log(NamedTuple):
    """What is known of a log; `size` in bytes so far, `status` "" before it is finished."""

    size: int
    finished: bool
    archived: bool
    status: str
    created: datetime

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Log:
        """From a reply's headers."""
        return cls(
            int(headers["log-size"]),
            headers["log-finished"] == "true",
            headers["log-archived"] == "true",
            unquote(headers["log-status"]),
            datetime.fromisoformat(headers["log-created"]),
        )


class Cache(NamedTuple):
    """A saved cache; `size` in bytes, `saved` aware, UTC."""

    group: str
    key: str
    size: int
    saved: datetime

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Cache:
        """From a reply's headers."""
        return cls(
            unquote(headers["cache-group"]),
            unquote(headers["cache-key"]),
            int(headers["content-length"]),
            datetime.fromisoformat(headers["cache-saved"]),
        )

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Cache:
        """From JSON."""
        return cls(
            fields["group"], fields["key"], fields["size"], datetime.fromisoformat(fields["saved"])
        )
