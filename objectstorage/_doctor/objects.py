"""What is stored beside the bytes, what is done with them, and how fast."""

from __future__ import annotations

import statistics
import time
import urllib.request
from datetime import UTC, datetime
from functools import partial
from typing import Any

from objectstorage._doctor.patient import RACERS, Check, Patient, always, expect, expect_error
from objectstorage.errors import ErrInvalidRange, ErrNotExist, StorageError
from objectstorage.storage import ObjectInfo

__all__ = ["CHECKS"]


def _ranges(p: Patient) -> None:
    key, _ = p.put(b"0123456789")
    get = p.store.get_range
    cases: tuple[tuple[dict[str, int], bytes], ...] = (
        ({"start": 2, "end": 5}, b"234"),
        ({"start": 8, "length": 99}, b"89"),
        ({"start": -3}, b"789"),
        ({"start": -99}, b"0123456789"),
        ({"start": 10}, b""),
        ({"start": 4, "end": 4}, b""),
    )
    for asked, data in cases:
        found = get(key, **asked)
        expect(found == data, f"{asked} gave {found!r}")
    expect_error(ErrInvalidRange, partial(get, key, start=11), "a start past the end was taken")


def _metadata(p: Patient) -> None:
    given = {"owner": "ci", "x-0": 'a b, c=d; "e" ~!@#$%^&*()'}
    key, _ = p.put(b"", content_type="text/x-test", metadata=given)
    _same_metadata(p.store.stat(key), given)


def _same_metadata(info: ObjectInfo, given: dict[str, str]) -> None:
    expect(info.content_type == "text/x-test", f"the content type came as {info.content_type!r}")
    expect(info.metadata == given, f"the metadata came as {info.metadata!r}")


def _copies(p: Patient) -> None:
    options: dict[str, Any] = {}
    if p.known.metadata:
        options = {"content_type": "text/x-test", "metadata": {"owner": "ci"}}
    key, _ = p.put(b"data", **options)
    dst = p.key()
    made = p.store.copy(key, dst)
    data, info = p.store.fetch(dst)
    expect(data == b"data", f"the copy holds {data!r}")
    expect(info.etag == made.etag, "copy tells another ETag than the object has")
    if options:
        _same_metadata(info, options["metadata"])


def _moves(p: Patient) -> None:
    key, _ = p.put(b"data")
    dst = p.key()
    p.store.move(key, dst)
    expect(p.store.get(dst) == b"data", "the moved object holds other bytes")
    expect(not p.store.exists(key), "the object is still where it was")


def _race_to_move(p: Patient) -> str:
    key, _ = p.put(b"data")
    targets = [p.key() for _ in range(RACERS)]
    moves = [partial(p.store.move, key, target) for target in targets]
    outcomes = p.together(moves)
    for value in outcomes:
        if isinstance(value, StorageError) and not isinstance(value, ErrNotExist):
            raise value
    moved = [dst for dst in targets if p.store.exists(dst)]
    won = sum(not isinstance(value, StorageError) for value in outcomes)
    expect(won == len(moved) == 1, f"{won} of {RACERS} at once won, {len(moved)} objects are there")
    return f"1 of {RACERS}"


def _presigned(p: Patient) -> None:
    key = p.key("a b+c%é")
    for method, body, expected in (("PUT", b"signed", b""), ("GET", None, b"signed")):
        url = p.store.presign(key, method=method, expires=60)
        request = urllib.request.Request(url, body, method=method)  # noqa: S310  # the store's own
        request.add_header("Content-Type", "application/octet-stream")
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310  # as above
            found = reply.read()
        expect(found == expected, f"{method} gave {found[:80]!r}")


def _uploads(p: Patient) -> None:
    expect(not list(p.store.list_uploads(p.base)), "an upload was left unfinished")


def _no_way(p: Patient) -> str:
    return "not tried"


def _deletes(p: Patient) -> None:
    key, _ = p.put()
    other, _ = p.put()
    p.store.delete(key)
    p.store.delete(key)
    expect(not p.store.exists(key), "the object is still there")
    expect_error(
        ErrNotExist, partial(p.store.delete, key, must_exist=True), "must_exist was ignored"
    )
    p.store.delete_many([key, other])
    expect(not p.store.exists(other), "delete_many left an object there")


def _clock(p: Patient) -> str:
    before = datetime.now(UTC)
    told = p.store.clock()
    after = datetime.now(UTC)
    if before <= told <= after:
        return "in step"
    # servers tell whole seconds
    skew = (told - before - (after - before) / 2).total_seconds()
    return "in step" if abs(skew) < 1 else f"{skew:+.0f} s"


def _latency(p: Patient) -> str:
    key, _ = p.put(bytes(1024 * 1024))
    samples = []
    for _ in range(10):
        since = time.perf_counter()
        p.store.get_range(key, start=0, length=1)
        samples.append(time.perf_counter() - since)
    return f"{statistics.median(samples) * 1000:.1f} ms"


CHECKS: tuple[Check, ...] = (
    Check(
        "metadata",
        "kept",
        lambda known, _: known.metadata,
        _metadata,
        lambda p: p.put(metadata={"owner": "ci"}),
    ),
    Check("atomic_move", "race to move", lambda known, _: known.atomic_move, _race_to_move),
    Check(
        "presign",
        "PUT and GET by urllib",
        lambda known, _: known.presign,
        _presigned,
        lambda p: p.store.presign(p.key()),
    ),
    Check("contract", "ranges", always, _ranges),
    Check("contract", "copying", always, _copies),
    Check("contract", "moving", always, _moves),
    Check("contract", "deleting", always, _deletes),
    Check("contract", "unfinished uploads", always, _uploads),
    # no call can tell these
    Check(
        "server_side_copy", "declared", lambda known, _: known.server_side_copy, _no_way, info=True
    ),
    Check("durable_puts", "declared", lambda known, _: known.durable_puts, _no_way, info=True),
    Check("contract", "clock", always, _clock, info=True),
    Check("contract", "first byte", always, _latency, info=True),
)
