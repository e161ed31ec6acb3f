"""Many processes on one data manager, some of them killed: sums exact, everything whole."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest
from both_faces import fresh_place
from conftest import Tried
from long import much

from objectstorage import open_storage
from objectstorage.datamanager import DataManager, Limits

PROCESSES = 8
KILLED = 3
ROUNDS = much(8, 200)

# Small, so that checkpoints, payload objects and many files happen.
LIMITS = Limits(inline_bytes=300, file_bytes=4000, block_bytes=500, checkpoint_commits=40)

_WORKER = """
import json, random, sys
from objectstorage import errors, open_storage
from objectstorage.datamanager import DataManager, Limits, Put
url, options, limits, me, rounds = json.loads(sys.argv[1])
store = open_storage(url, **options)
data = DataManager(store, limits=Limits(**limits))
random.seed(me)

def number(snapshot, group):
    try:
        return int(snapshot.read("counter", group).data)
    except errors.ErrNotExist:
        return 0

def commit(name, groups):
    while True:
        try:
            snapshot = data.snapshot()
            actions = [Put("counter", g, b"%d" % (number(snapshot, g) + 1)) for g in groups]
            padding = bytes(random.randrange(600))
            actions.append(Put("done", name, json.dumps(groups).encode() + padding))
            data.write(actions, groups=groups, token=snapshot.seq)
            return
        except (errors.ErrConcurrency, errors.ErrCompacted):
            pass
        except errors.ErrCommitUnknown as exc:
            if data.committed(exc.commit_id, exc.seq):
                return

for n in range(rounds):
    own, shared = f"own-{me}", f"shared-{random.randrange(2)}"
    groups = random.choice([[own], [own], [shared], [own, shared]])
    commit(f"{me}-{n}", groups)
    print(f"{me}-{n}", flush=True)
store.close()
"""

# A round begins once somebody has written since the last one. Without that wait a
# writer that is slow loses to this loop for ever: each of its attempts finds the
# slot taken by a sweep or the log collected up to its token, and leaves a payload
# for the next sweep. With the default ages no collection is that greedy.
_KEEPER = """
import json, sys
from objectstorage import open_storage
from objectstorage.datamanager import DataManager, Limits
url, options, limits = json.loads(sys.argv[1])
data = DataManager(open_storage(url, **options), limits=Limits(**limits))
seen = rounds = 0
while True:
    for commit in data.watch(after=seen, poll=0.01):
        if commit.kind == "write":
            break
    data.checkpoint()
    data.collect(0)
    data.sweep(0)
    seen = data.head()
    rounds += 1
    print(rounds, flush=True)
"""


def start(script: str, *arguments: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, json.dumps(arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.faults
@pytest.mark.parametrize("store", ["posix", "s3-seaweedfs"])
def test_sums_are_exact(store: str, request: pytest.FixtureRequest, tried: Tried) -> None:
    url, options = fresh_place(store, request)
    if store == "posix":
        options["durable"] = False  # processes die here, not the machine
    limits = LIMITS._asdict()
    keeper = start(_KEEPER, url, options, limits)
    # those that are killed would go on for ever
    rounds = [10**9] * KILLED + [ROUNDS] * (PROCESSES - KILLED)
    workers = [start(_WORKER, url, options, limits, *args) for args in enumerate(rounds)]
    try:
        done: set[str] = set()
        for me, worker in enumerate(workers[:KILLED]):
            assert worker.stdout is not None
            for _ in range(ROUNDS // 2 + me):
                done.add(worker.stdout.readline().strip())
            worker.kill()
            done.update(worker.stdout.read().split())
        outputs = [worker.communicate(timeout=240)[0] for worker in workers]
        codes = [worker.returncode for worker in workers]
        assert codes == [-signal.SIGKILL] * KILLED + [0] * (PROCESSES - KILLED)
        assert keeper.stdout is not None
        assert keeper.stdout.readline()  # one round at least came to its end
    finally:
        for process in (keeper, *workers):
            process.kill()
            process.communicate()
    done.update(*(output.split() for output in outputs))
    with open_storage(url, **options) as opened:
        data = DataManager(opened, limits=LIMITS)
        check(data, done)
        data.checkpoint()
        data.collect(0)
        data.sweep(0)
        check(data, done)
        assert data.verify().orphans == 0
    tried("data manager", "processes killed while they commit", KILLED)


def check(data: DataManager, done: set[str]) -> None:
    """Every commit that was acknowledged is there, at most one more of each who was killed."""
    report = data.verify()
    assert report.problems == ()
    sums: dict[str, int] = {}
    there = set()
    for entry in data.list("done"):
        there.add(entry.id)
        for group in json.loads(entry.data.rstrip(b"\0")):
            sums[group] = sums.get(group, 0) + 1
    assert done <= there
    assert len(there - done) <= KILLED
    assert {entry.id: int(entry.data) for entry in data.list("counter")} == sums
