"""Lost replies and broken reads, many times over: never a wrong answer; both faces."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import Tried
from long import much
from s3_bench import AsyncFace, Bench, SyncFace, benches, data

from objectstorage import ErrOutcomeUnknown, ErrPreconditionFailed
from objectstorage.testing.proxy import Request
from objectstorage.testing.servers import S3Server

pytestmark = pytest.mark.faults


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
def bench(request: pytest.FixtureRequest, seaweedfs: S3Server) -> Iterator[Bench]:
    with benches(seaweedfs, request.param) as made:
        yield made


KINDS = ["create", "replace", "copy", "delete"]
RIVALS = ["nobody else", "a rival after it", "not carried out", "not carried out, and a rival"]


class Try:
    """One conditional write whose first reply does not come."""

    def __init__(self, bench: Bench, kind: str, rival: str, number: int) -> None:
        self.bench, self.kind, self.rival = bench, kind, rival
        self.key = f"{kind}-{number}"
        self.ours, self.theirs = b"ours %d" % number, b"the rival's %d" % number
        self._seen = 0

    def _hears(self, request: Request) -> bool:
        """Before the write comes a second time, the rival has written."""
        if request.method not in ("PUT", "DELETE") or not request.path.endswith(f"/{self.key}"):
            return False
        self._seen += 1
        if self._seen == 2 and "rival" in self.rival:
            self.bench.direct.put(self.key, self.theirs)
        return self._seen == 1

    def run(self, store: Any) -> str:
        direct, key = self.bench.direct, self.key
        etag = direct.put(key, b"old").etag if self.kind in ("replace", "delete") else ""
        if self.kind == "copy":
            direct.put(f"{key}-source", self.ours)
        rule = self.bench.proxy.on(where=self._hears, nth=None)
        done = self.rival in RIVALS[:2]
        (rule.swallow_reply if done else rule.reset_after)()
        try:
            if self.kind == "create":
                store.put(key, self.ours, create=True)
            elif self.kind == "replace":
                store.put(key, self.ours, if_match=etag)
            elif self.kind == "copy":
                store.copy(f"{key}-source", key, create=True)
            else:
                store.delete(key, if_match=etag)
        except ErrOutcomeUnknown:
            heard = "unknown"
        else:
            heard = "done"
        self.bench.proxy.forget(rule)
        assert rule.hits == 1
        wanted = None if self.kind == "delete" else self.ours
        there = direct.get(key) if direct.exists(key) else None
        assert there == (self.theirs if "rival" in self.rival else wanted)
        return heard


@pytest.mark.parametrize("rival", RIVALS)
def test_a_lost_reply_is_settled_or_said_to_be_unknown(
    bench: Bench, rival: str, tried: Tried
) -> None:
    """Unknown only where no server can tell: another one has written since, or a
    delete, which leaves nothing to tell by, was carried out."""
    bench.store.probe()
    count = much(26, 200)
    tries = [Try(bench, KINDS[n % 4], rival, n) for n in range(count)]
    # a store shares a budget of retries among its operations, and here all need one
    stores = [bench.open() for _ in range(0, count, 10)]
    with ThreadPoolExecutor(6 if isinstance(bench.store, SyncFace) else 1) as pool:
        heard = list(pool.map(lambda n: tries[n].run(stores[n // 10]), range(count)))
    for one, said in zip(tries, heard, strict=True):
        open_question = "rival" in rival or (one.kind == "delete" and rival == "nobody else")
        assert said == ("unknown" if open_question else "done"), (one.kind, rival)
    tried("S3 through the fault proxy", "conditional writes whose reply was lost", count)


SIZE = much(8 << 20, 64 << 20)


@pytest.fixture(scope="module")
def content() -> bytes:
    return data(SIZE)


def digest(pieces: Any) -> bytes:
    sha = hashlib.sha256()
    for piece in pieces:
        sha.update(piece)
    return sha.digest()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_read_that_breaks_anywhere(
    bench: Bench, replaced: bool, content: bytes, tried: Tried
) -> None:
    """Resumed to the same bytes; if the object was replaced meanwhile, an error."""
    count = much(12, 50)
    whole = hashlib.sha256(content).digest()
    bench.direct.put("whole", content)
    chance = random.Random(seed := random.randrange(1 << 32))
    print(f"seed {seed}")
    for number in range(count):
        key = "whole"
        if replaced:
            key = f"copy-{number}"
            bench.direct.copy("whole", key)
        gets = iter(range(count))
        replacing = threading.Event()

        def hears(request: Request, key: str = key, gets: Any = gets, to: Any = replacing) -> bool:
            if request.method != "GET" or not request.path.endswith(f"/{key}"):
                return False
            first = next(gets) == 0
            if replaced and not first and not to.is_set():
                to.set()
                bench.direct.put(key, b"another one")
            return first

        rule = bench.proxy.on(where=hears, nth=None)
        rule.truncate(chance.randrange(SIZE), reset=chance.random() < 0.5)
        if replaced:
            with pytest.raises(ErrPreconditionFailed):
                bench.store.stream(key)
            bench.direct.delete(key)
        else:
            assert digest([bench.store.stream(key)]) == whole
        assert rule.hits == 1
        bench.proxy.forget(rule)
    what = f"streams of {SIZE >> 20} MiB cut" + (", and replaced meanwhile" if replaced else "")
    tried("S3 through the fault proxy", what, count)
