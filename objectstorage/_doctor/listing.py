"""Keys, their order, and ETags."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from objectstorage._doctor.hostile import GROUPS, split
from objectstorage._doctor.patient import (
    RACERS,
    Check,
    Differs,
    Patient,
    always,
    expect,
    expect_error,
)
from objectstorage.errors import ErrConflict, ErrInvalidKey

__all__ = ["CHECKS"]


def _order(p: Patient) -> None:
    folder = p.key("order") + "/"
    names = ["t", "t-", "t-/x", "t/x", "t0", "é", "\uffee", "\U0001f600"]
    keys, _ = split([folder + name for name in names], p.known.key_rules)
    for key in reversed(keys):
        p.store.put(p.key(key.removeprefix(p.base)), b"")
    keys.sort(key=str.encode)
    listed = [info.key for info in p.store.list(folder)]
    expect(listed == keys, f"listed as {_names(listed, folder)}")
    for i, key in enumerate(keys):
        rest = [info.key for info in p.store.list(folder, start_after=key)]
        expect(rest == keys[i + 1 :], f"after {key[len(folder) :]!r}: {_names(rest, folder)}")


def _names(keys: list[str], folder: str) -> str:
    return ", ".join(repr(key.removeprefix(folder)) for key in keys)


def _flat(p: Patient) -> str:
    rule = p.known.key_rules.parent_child
    parent = p.key()
    child = p.key(parent.removeprefix(p.base) + "/b")
    p.store.put(parent, b"parent")
    if rule == "refused":
        expect_error(ErrConflict, partial(p.store.put, child, b""), "'a/b' was taken beside 'a'")
        return rule
    p.store.put(child, b"child")
    expect(p.store.get(parent) == b"parent", "'a' is lost once there is 'a/b'")
    expect(p.store.get(child) == b"child", "'a/b' is not there beside 'a'")
    if rule == "both":
        listed = [info.key for info in p.store.list(parent)]
        expect(listed == [parent, child], f"listed as {_names(listed, p.base)}")
    return rule


def _fidelity(p: Patient) -> str:
    count = 0
    for group, names in GROUPS.items():
        folder = f"{p.base}keys-{group}/"
        # the longest leave no room for the doctor's own prefix
        given = [folder + name for name in names if len(name.encode()) < 900]
        held, refused = split(given, p.known.key_rules)
        with ThreadPoolExecutor(RACERS) as pool:
            list(pool.map(lambda key: p.store.put(p.key(key[len(p.base) :]), key.encode()), held))
            for key, data in zip(held, pool.map(p.store.get, held), strict=True):
                expect(data == key.encode(), f"{key!r} holds another key's bytes")
        listed = [info.key for info in p.store.list(folder)]
        expected = sorted(held, key=str.encode)
        if listed != expected:
            odd = sorted(set(listed) ^ set(expected)) or listed
            raise Differs(f"{group}: not listed as put: {_names(odd[:3], folder)}")
        for key in refused:
            expect_error(ErrInvalidKey, partial(p.store.put, key, b""), f"{key!r} was not refused")
        count += len(held)
    return f"{count} keys"


def _strong(p: Patient) -> None:
    key = p.key()
    etags = set()
    for i in range(20):
        made = p.store.put(key, b"%02d" % i, durable=False)
        info = p.store.stat(key)
        expect(made.etag == info.etag, f"put says {made.etag!r}, stat {info.etag!r}")
        etags.add(made.etag)
    [listed] = p.store.list(key)
    expect(listed.etag == info.etag, f"list says {listed.etag!r}, stat {info.etag!r}")
    expect(len(etags) == 20, f"20 contents in a row had {len(etags)} ETags")


def _versions(p: Patient) -> None:
    key = p.key()
    etags = {p.store.put(key, b"same", durable=False).etag for _ in range(20)}
    expect(len(etags) == 20, f"20 equal rewrites had {len(etags)} ETags")


CHECKS: tuple[Check, ...] = (
    Check("key_rules", "a beside a/b", always, _flat),
    Check("key_rules", "hostile keys", always, _fidelity),
    Check(
        "ordered_listing",
        "order, start_after",
        lambda known, _: known.ordered_listing,
        _order,
        lambda p: list(p.store.list(p.base)),
    ),
    Check("strong_etags", "new bytes, new ETag", lambda known, _: known.strong_etags, _strong),
    Check(
        "etag_kind",
        "each write a new ETag",
        lambda known, _: known.etag_kind == "version",
        _versions,
    ),
)
