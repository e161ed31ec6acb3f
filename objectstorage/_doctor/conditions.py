"""Conditional writes: refused when they must be, and one winner in a race."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from objectstorage._doctor.patient import RACERS, Check, Patient, expect, expect_error
from objectstorage.errors import ErrExist, ErrPreconditionFailed
from objectstorage.storage import Capabilities, Conditions

__all__ = ["CHECKS"]

ROUNDS = 3
STALE = "0123456789abcdef0123456789abcdef"
LARGE = 8 * 1024 * 1024 + 1
"""Bytes that S3 takes in two parts at the default part size."""


def _whole(data: bytes) -> bytes:
    return data


def _parts(data: bytes) -> Iterator[bytes]:
    """As a stream of unknown length, too long for one part."""
    yield data
    for at in range(0, LARGE, 1024 * 1024):
        yield bytes(min(1024 * 1024, LARGE - at))


def _double_create(shape: Callable[[bytes], Any]) -> Callable[[Patient], None]:
    def holds(p: Patient) -> None:
        key = p.key()
        p.store.put(key, shape(b"one"), create=True)
        expect_error(
            ErrExist,
            partial(p.store.put, key, shape(b"two"), create=True),
            "a second create was accepted",
        )
        expect(p.store.get_range(key, start=0, length=3) == b"one", "the second create wrote")

    return holds


def _race_to_create(p: Patient) -> str:
    for _ in range(ROUNDS):
        key = p.key()
        won = p.one_winner(
            [partial(p.store.put, key, b"%d" % i, create=True) for i in range(RACERS)]
        )
        expect(p.store.get(key) == b"%d" % won, "another's bytes are there than the winner's")
    return f"1 of {RACERS}"


def _copy_creates(p: Patient) -> str:
    src, _ = p.put(b"src")
    taken, _ = p.put(b"taken")
    expect_error(
        ErrExist, partial(p.store.copy, src, taken, create=True), "a copy replaced what was there"
    )
    expect(p.store.get(taken) == b"taken", "a refused copy wrote")
    dst = p.key()
    p.one_winner([partial(p.store.copy, src, dst, create=True)] * RACERS)
    expect(p.store.get(dst) == b"src", "the copy has other bytes")
    return f"1 of {RACERS}"


def _stale_if_match(shape: Callable[[bytes], Any]) -> Callable[[Patient], None]:
    def holds(p: Patient) -> None:
        key, old = p.put(b"one")
        etag = p.store.put(key, b"two").etag
        for stale in (old, STALE):
            expect_error(
                ErrPreconditionFailed,
                partial(p.store.put, key, shape(b"bad"), if_match=stale),
                "a stale If-Match was accepted",
            )
        expect(p.store.get(key) == b"two", "a refused write wrote")
        p.store.put(key, shape(b"new"), if_match=etag)
        expect(p.store.get_range(key, start=0, length=3) == b"new", "a matching write did not")

    return holds


def _if_match_on_nothing(shape: Callable[[bytes], Any]) -> Callable[[Patient], None]:
    def holds(p: Patient) -> None:
        key = p.key()
        expect_error(
            ErrPreconditionFailed,
            partial(p.store.put, key, shape(b"bad"), if_match=STALE),
            "If-Match on a missing key was accepted",
        )
        expect(not p.store.exists(key), "a refused write wrote")

    return holds


def _race_to_replace(p: Patient) -> str:
    for _ in range(ROUNDS):
        key, etag = p.put()
        won = p.one_winner(
            [partial(p.store.put, key, b"v%d" % i, if_match=etag) for i in range(RACERS)]
        )
        expect(p.store.get(key) == b"v%d" % won, "another's bytes are there than the winner's")
    return f"1 of {RACERS}"


def _conditional_delete(p: Patient) -> None:
    key, etag = p.put()
    for name in (key, p.key()):
        expect_error(
            ErrPreconditionFailed,
            partial(p.store.delete, name, if_match=STALE),
            "a stale If-Match was accepted, or one on a missing key",
        )
    expect(p.store.exists(key), "a refused delete deleted")
    p.store.delete(key, if_match=etag)
    expect(not p.store.exists(key), "a matching delete did not")


def _claims(condition: str, verb: str) -> Callable[[Capabilities, Conditions], bool]:
    return lambda _, conditions: verb in getattr(conditions, condition)


def _create(shape: Callable[[bytes], Any]) -> Callable[[Patient], object]:
    return lambda p: p.store.put(p.key(), shape(b""), create=True)


def _replace(shape: Callable[[bytes], Any]) -> Callable[[Patient], object]:
    return lambda p: p.store.put(p.put()[0], shape(b""), if_match=STALE)


def _checks() -> Iterator[Check]:
    shapes = (("put", _whole), ("multipart", _parts))
    for verb, shape in shapes:
        name = f"double create, {verb}"
        claims = _claims("create", verb)
        yield Check("conditions", name, claims, _double_create(shape), _create(shape))
    name, claims = "race to create", _claims("create", "put")
    yield Check("conditions", name, claims, _race_to_create, _create(_whole))
    yield Check(
        "conditions",
        "race to create, copy",
        _claims("create", "copy"),
        _copy_creates,
        lambda p: p.store.copy(p.put()[0], p.key(), create=True),
    )
    for verb, shape in shapes:
        claims = _claims("replace", verb)
        for name, holds in (
            ("stale If-Match", _stale_if_match(shape)),
            ("If-Match, no object", _if_match_on_nothing(shape)),
        ):
            yield Check("conditions", f"{name}, {verb}", claims, holds, _replace(shape))
    name, claims = "race to replace", _claims("replace", "put")
    yield Check("conditions", name, claims, _race_to_replace, _replace(_whole))
    yield Check(
        "conditions",
        "conditional delete",
        _claims("delete", "delete"),
        _conditional_delete,
        lambda p: p.store.delete(p.put()[0], if_match=STALE),
    )


CHECKS = tuple(_checks())
