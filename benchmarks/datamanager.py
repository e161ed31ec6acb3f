"""`python -m benchmarks.datamanager`: how fast commits, reads and checkpoints are.

    python -m benchmarks.datamanager            a folder, beside SQLite in the same folder
    python -m benchmarks.datamanager --s3       SeaweedFS, or the server the environment names

Every commit is durable, on both sides. `store: create an object` is what the
store itself does, one create-only put: no commit can be faster.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import tempfile
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from itertools import count, islice
from time import perf_counter
from typing import Any, NamedTuple

from objectstorage import ErrConcurrency, Storage, open_storage
from objectstorage.datamanager import DataManager, Put
from objectstorage.datamanager.db import Database, Transaction
from objectstorage.testing.servers import external, seaweedfs

_VALUE = os.urandom(1024)
_WRITERS = 8
_barrier: Any  # where the writers of one measurement begin together


class Place(NamedTuple):
    """Where to measure; opened anew in every process."""

    open: Callable[[], Storage]
    folder: str

    def data(self) -> DataManager:
        """The data there."""
        return DataManager(self.open())


# -- what a writer does, again and again ---------------------------------------------


def create_objects(place: Place, number: int) -> Generator[bool, None, None]:
    """The store's own: an object that was not there."""
    with place.open() as store:
        for name in count():
            store.put(f"plain/{os.getpid()}/{name}", _VALUE, create=True)
            yield True


def disjoint_commits(place: Place, number: int) -> Generator[bool, None, None]:
    """A commit in a group of its own, with a token."""
    data = place.data()
    token = data.head()
    for name in count():
        action = Put("entry", f"{number}-{name % 1000}", _VALUE)
        token = data.write([action], groups=[f"group-{number}"], token=token).seq
        yield True


def conflicting_commits(place: Place, number: int) -> Generator[bool, None, None]:
    """A commit in everybody's group; False for one that somebody else's was before."""
    data = place.data()
    for name in count():
        action = Put("entry", f"{number}-{name % 1000}", _VALUE)
        try:
            data.write([action], groups=["group"], token=data.head())
        except ErrConcurrency:
            yield False
        else:
            yield True


def sqlite_commits(place: Place, number: int) -> Generator[bool, None, None]:
    """A row in a transaction of its own."""
    with Database(os.path.join(place.folder, "beside.db")) as db:
        db.do(lambda tx: tx.execute("CREATE TABLE IF NOT EXISTS t (id TEXT PRIMARY KEY, data)"))
        for name in count():
            row = [f"{number}-{name % 1000}", _VALUE]

            def put(tx: Transaction, row: list[Any] = row) -> None:
                tx.execute("REPLACE INTO t VALUES (?, ?)", row)

            db.do(put)
            yield True


Work = Callable[[Place, int], Generator[bool, None, None]]


class Rate(NamedTuple):
    """What writers did: so many a second, the median of one in seconds, the share that failed."""

    per_second: float
    median: float
    failed: float


def measure(work: Work, place: Place, writers: int, seconds: float) -> Rate:
    """The rate of `writers` processes, all at work for as long."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(writers, timeout=60)
    with ProcessPoolExecutor(writers, context, _meet_at, (barrier,)) as pool:
        running = [pool.submit(_write, work, place, number, seconds) for number in range(writers)]
        found = [future.result() for future in running]
    done = sum(done for done, _ in found)
    times = [took for _, times in found for took in times]
    return Rate(done / seconds, statistics.median(times), 1 - done / len(times))


def _meet_at(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def _write(work: Work, place: Place, number: int, seconds: float) -> tuple[int, list[float]]:
    """How many were done, and how long each one took, those that failed included."""
    with closing(work(place, number)) as steps:
        for _ in range(5):
            next(steps)
        _barrier.wait()
        begun = last = perf_counter()
        done, times = 0, []
        while last - begun < seconds:
            done += next(steps)
            now = perf_counter()
            times.append(now - last)
            last = now
        return done, times


def batches(place: Place, size: int, seconds: float) -> float:
    """Entries a second in commits of `size` entries of 100 bytes, one writer."""
    data = place.data()
    names = (f"batch-{name:06}" for name in count())
    data.write([Put("entry", next(names), _VALUE[:100])])
    begun = perf_counter()
    commits = 0
    while perf_counter() - begun < seconds:
        data.write([Put("entry", name, _VALUE[:100]) for name in islice(names, size)])
        commits += 1
    return commits * size / (perf_counter() - begun)


# -- reading, checkpoint, memory -------------------------------------------------------


class Big(NamedTuple):
    """What a million entries cost; seconds and bytes."""

    load: float
    checkpoint: float
    again: float
    scan: float
    cold: float
    warm: float
    fill: float
    memory: int


def big(place: Place, entries: int) -> Big:
    """Load, checkpoint, change a little, checkpoint again, scan, read; in this process."""
    data = place.data()
    begun = perf_counter()
    for start in range(0, entries, 5000):
        data.write(
            [
                Put("entry", f"{name:08}", _VALUE[:100])
                for name in range(start, min(start + 5000, entries))
            ]
        )
    load = perf_counter() - begun
    begun = perf_counter()
    data.checkpoint()
    checkpoint = perf_counter() - begun
    data.write(
        [Put("entry", f"{name:08}", b"new") for name in range(0, entries, max(1, entries // 100))]
    )
    begun = perf_counter()
    data.checkpoint()
    again = perf_counter() - begun
    begun = perf_counter()
    found = sum(1 for _ in place.data().list("entry"))
    scan = perf_counter() - begun
    assert found == entries, f"{found} of {entries} entries"
    names = [f"{name * 7919 % entries:08}" for name in range(50)]
    cold = statistics.median(_time(partial(_read_first, place, name)) for name in names)
    warm = statistics.median(_time(partial(data.read, "entry", name)) for name in names)
    fill = _index(place)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Big(load, checkpoint, again, scan, cold, warm, fill, memory)


def _read_first(place: Place, name: str) -> None:
    place.data().read("entry", name)


def _index(place: Place) -> float:
    from objectstorage.datamanager.index import ReadIndex

    def apply(tx: Transaction, action: Any) -> None:
        tx.execute("REPLACE INTO entries VALUES (?, ?)", [action.id, action.data])

    tables = ["CREATE TABLE entries (id TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID"]
    with ReadIndex(place.data(), os.path.join(place.folder, "index.db"), tables, apply) as index:
        return _time(index.catch_up)


def _time(call: Callable[[], object]) -> float:
    begun = perf_counter()
    call()
    return perf_counter() - begun


def apart(function: Callable[..., Any], *args: Any) -> Any:
    """Call it in a fresh process, whose memory is its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(function, args)


# -- the tables ------------------------------------------------------------------------


def table(title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print rows as Markdown; the first is the head."""
    print(f"\n{title}\n")
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("| " + " | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def rates(place: Place, seconds: float, *, sqlite: bool) -> None:
    """Commits a second, of one writer and of eight."""
    works: list[tuple[str, Work]] = [
        ("store: create an object", create_objects),
        ("commit, each writer a group", disjoint_commits),
        ("commit, all in one group", conflicting_commits),
    ]
    if sqlite:
        works.append(("SQLite: a transaction", sqlite_commits))
    rows = [["1 KiB each, durable", "1 writer", "median", f"{_WRITERS} writers", "median", "lost"]]
    for name, work in works:
        alone = measure(work, place, 1, seconds)
        many = measure(work, place, _WRITERS, seconds)
        rows.append(
            [
                name,
                f"{alone.per_second:,.0f}/s",
                f"{alone.median * 1e3:.2f} ms",
                f"{many.per_second:,.0f}/s",
                f"{many.median * 1e3:.1f} ms",
                f"{many.failed:.0%}",
            ]
        )
    table(f"Commits a second: {place.open().url.partition(':')[0]}", rows)
    rows = [["entries of 100 bytes a commit", "entries/s"]]
    for size in (1, 10, 100, 1000):
        rows.append([f"{size:,}", f"{batches(place, size, seconds):,.0f}"])
    table("One writer, batches", rows)


def sizes(place: Place, entries: int) -> None:
    """What many entries cost."""
    cost: Big = apart(big, place, entries)
    rows = [
        [f"{entries:,} entries of 100 bytes", ""],
        ["load, 5,000 a commit, checkpoints on the way", f"{cost.load:.1f} s"],
        ["last checkpoint", f"{cost.checkpoint:.1f} s"],
        ["checkpoint after 100 changes", f"{cost.again:.2f} s"],
        ["scan all", f"{cost.scan:.1f} s"],
        ["read one, first of a process", f"{cost.cold * 1e3:.2f} ms"],
        ["read one, later", f"{cost.warm * 1e3:.2f} ms"],
        ["fill a read index", f"{cost.fill:.1f} s"],
        ["memory of the process, at most", f"{cost.memory / 2**20:.0f} MiB"],
    ]
    table("Reads and checkpoints", rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.datamanager", description=__doc__)
    parser.add_argument("--s3", action="store_true", help="on S3 instead of a folder")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each rate; 0: no rates")
    parser.add_argument(
        "--entries", type=int, default=1_000_000, help="for the checkpoint; 0: none"
    )
    args = parser.parse_args()
    with ExitStack() as stack:
        # not /tmp, which may be memory
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp"))

        def fresh(name: str) -> Place:
            if args.s3:
                return Place(partial(server.open, server.fresh_url()), folder)
            return Place(partial(open_storage, f"posix://{folder}/{name}"), folder)

        if args.s3:
            server = external() or stack.enter_context(seaweedfs())
        if args.seconds:
            rates(fresh("rates"), args.seconds, sqlite=not args.s3)
        if args.entries:
            sizes(fresh("sizes"), args.entries)


if __name__ == "__main__":
    main()
