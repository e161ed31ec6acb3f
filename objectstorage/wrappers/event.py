"""What an observed store tells its hook."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Event"]


class Event(NamedTuple):
    """One operation that is over.

    `operation` is the method's name; `key` the object's, a listing's prefix, or
    None. `bytes` went or came, of the objects' own data. `seconds` is the time
    spent in the store, not in between. `outcome` is "ok", "aborted" (a writer)
    or the name of the error's class, and `error` that error. `storage` is the
    store's URL, without secrets.
    """

    operation: str
    key: str | None
    bytes: int
    seconds: float
    outcome: str
    error: BaseException | None
    storage: str
