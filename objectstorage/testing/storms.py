"""Clients that use the same few keys at random, so that their histories can be judged.

    with ThreadPoolExecutor(6) as pool:
        parts = pool.map(lambda i: use(store, ["k"], f"client {i}", 50, i), range(6))
    print(judge([*parts, last_look(store, ["k"])]))

The clients may be threads, or processes with stores of their own.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from objectstorage.storage import Storage
from objectstorage.testing.linear import Operation, Register, Version, check

__all__ = ["Histories", "Tally", "judge", "last_look", "use"]

Histories: TypeAlias = dict[str, list[Operation]]
"""What was asked for and heard, by key."""


class Tally(NamedTuple):
    """How many histories were judged, of how many operations; how many outcomes were unknown."""

    histories: int
    operations: int
    unknown: int


def use(
    store: Storage,
    keys: Sequence[str],
    client: str,
    steps: int,
    seed: int,
    *,
    without: Collection[str] = (),
) -> Histories:
    """Do `steps` things to the keys, chosen at random, by what the store's conditions allow.

    without: kinds of `Operation` to leave out.
    """
    chance = random.Random(seed)
    found: Histories = {key: [] for key in keys}
    conditions = store.probe().conditions
    weights = {"read": 30, "put": 12, "delete": 6}
    if conditions is not None:
        weights["create"] = 20 if "put" in conditions.create else 0
        weights["replace"] = 25 if "put" in conditions.replace else 0
        weights["delete version"] = 7 if conditions.delete else 0
    weights = {kind: weight for kind, weight in weights.items() if kind not in without}
    registers = {key: Register(store, key, found[key], client) for key in keys}
    known: dict[str, Version | None] = dict.fromkeys(keys)
    for number in range(steps):
        key = chance.choice(list(keys))
        (kind,) = chance.choices(list(weights), list(weights.values()))
        known[key] = _step(registers[key], kind, known[key], f"{client}.{number}".encode())
    return found


def _step(register: Register, kind: str, known: Version | None, value: bytes) -> Version | None:
    """One thing -> the version that the client knows of after it."""
    if kind == "read" or (known is None and kind in ("replace", "delete version")):
        return register.read()
    if kind == "delete":
        register.delete()
        return known  # to be refused, if it is used
    if kind == "delete version":
        register.delete(known)
        return None
    version = known if kind == "replace" else None
    return register.write(value, create=kind == "create", version=version) or known


def last_look(store: Storage, keys: Iterable[str]) -> Histories:
    """What is there when all is over: an acknowledged write that is lost shows."""
    found: Histories = {key: [] for key in keys}
    for key, history in found.items():
        Register(store, key, history, "last look").read()
        if not history:
            raise AssertionError(f"{key!r} can't be read when all is over")
    return found


def judge(parts: Iterable[Histories]) -> Tally:
    """Put the clients' histories together and check those of each key; `NotLinearizable`."""
    together: Histories = {}
    for part in parts:
        for key, history in part.items():
            together.setdefault(key, []).extend(history)
    for history in together.values():
        check(history)
    everything = [operation for history in together.values() for operation in history]
    unknown = sum(operation.outcome == "unknown" for operation in everything)
    return Tally(len(together), len(everything), unknown)
