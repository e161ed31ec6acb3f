"""What is measured: each workload prepares objects and yields timed operations."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, cycle, repeat
from time import perf_counter
from typing import Any, ClassVar, NamedTuple

from objectstorage.bench.targets import Target
from objectstorage.bench.workspace import Workspace
from objectstorage.errors import ErrIntegrity, ErrUnsupported

__all__ = ["WORKLOADS", "Moved", "Operation", "Site", "Workload"]

_KIB, _MIB = 1024, 1024 * 1024
_PAYLOAD_POOL = 64 * _MIB
_RANGE = _KIB
_BULK = 100
_DRAWN = 4096


class Moved(NamedTuple):
    """What an operation did."""

    bytes: int = 0
    items: int = 1
    """Objects listed or deleted; 1 for an operation on one object."""
    first_byte: float | None = None
    """When, by `time.perf_counter`, a streamed body's first bytes were there."""


class Operation(NamedTuple):
    """One timed call. `check` looks at its result afterwards, off the clock."""

    kind: str
    call: Callable[..., Any]
    args: tuple[Any, ...]
    check: Callable[[Any], Moved]


@dataclass(frozen=True)
class Site:
    """Where one cell runs: its target, and its own part of the workspace."""

    target: Target
    workspace: Workspace
    name: str
    size: int
    concurrency: int
    objects: int
    seed: int

    def key(self, name: str) -> str:
        """A key of this cell's own, recorded as written."""
        return self.workspace.key(f"{self.name}/{name}")

    @property
    def prefix(self) -> str:
        """What all keys of this cell begin with."""
        return f"{self.workspace.prefix}{self.name}/"


def _random(size: int, seed: int) -> Iterator[list[bytes]]:
    """Random payloads to take turns with, in chunks: no store can compress or share them."""
    rng = random.Random(seed)
    for _ in range(max(1, min(16, _PAYLOAD_POOL // max(size, 1)))):
        yield [rng.randbytes(min(_MIB, size - at)) for at in range(0, size, _MIB)]


# The layers of a cell share them, so that large ones are in memory once.
@lru_cache(maxsize=8)
def _payloads(size: int, seed: int) -> list[bytes]:
    return [b"".join(chunks) for chunks in _random(size, seed)]


@lru_cache(maxsize=8)
def _chunked(size: int, seed: int) -> list[list[bytes]]:
    return list(_random(size, seed))


class Workload(ABC):
    """One cell's work.

    The runner calls `prepare` once; then, for each round, `begin` and, timed,
    what `operations` yields for each worker; `verify` at the end. A round ends
    when the time is up or every worker's operations are exhausted, in which
    case another one follows: so a delete can be measured without the put.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    default_size: ClassVar[int] = _KIB

    def __init__(self, site: Site) -> None:
        self.site = site
        self.target = site.target
        self.timed = site.target.timed or site.target
        self.awaited = site.target.driver is not None
        for verb in self.needs:
            if getattr(self.timed, verb) is None:
                raise ErrUnsupported(f"{self.target.layer} has no {verb}")
        self.load()

    def load(self) -> None:
        """Have ready what is written, whole."""
        self.payloads = _payloads(self.site.size, self.site.seed)

    def prepare(self) -> None:
        """Write what the operations will need; here nothing."""
        return

    def begin(self) -> None:
        """Set up for a round; here nothing."""
        return

    @abstractmethod
    def operations(self, worker: int) -> Iterator[Operation]:
        """The timed calls of one worker, called from the worker's thread."""

    def verify(self) -> None:
        """Look at what is there now; `ErrIntegrity` if the work was not done."""
        return

    def fill(self, names: Iterable[str]) -> list[str]:
        """Put an object for each name; their keys."""
        payloads = cycle(self.payloads)
        keys = []
        for name in names:
            key = self.site.key(name)
            self.target.put(key, next(payloads))
            keys.append(key)
        return keys

    def rng(self, worker: int) -> random.Random:
        """A worker's own random numbers, the same for the same seed."""
        return random.Random(self.site.seed * 1_000_003 + worker)

    @property
    def retries(self) -> int | None:
        """How often an operation had to be tried again so far; None if unknown."""
        return None

    def need(self, verb: str) -> Callable[..., Any]:
        """The verb to time, known to be there."""
        call: Callable[..., Any] = getattr(self.timed, verb)
        return call

    def untimed(self, verb: str) -> Callable[..., Any]:
        """The verb for setting up and looking after; `ErrUnsupported` if there is none."""
        call: Callable[..., Any] | None = getattr(self.target, verb)
        if call is None:
            raise ErrUnsupported(f"{self.target.layer} has no {verb}")
        return call

    def shares(self, keys: list[str]) -> list[list[str]]:
        """The keys dealt out to the workers."""
        return [keys[worker :: self.site.concurrency] for worker in range(self.site.concurrency)]


def _sized(size: int) -> Callable[[Any], Moved]:
    moved = Moved(size)

    def check(result: Any) -> Moved:
        if len(result) != size:
            raise ErrIntegrity(f"{size} bytes were asked for, {len(result)} came")
        return moved

    return check


def _counted(expected: int) -> Callable[[Any], Moved]:
    moved = Moved(items=expected)

    def check(result: Any) -> Moved:
        if result != expected:
            raise ErrIntegrity(f"{expected} entries were there, {result} were listed")
        return moved

    return check


def _always(moved: Moved) -> Callable[[Any], Moved]:
    return lambda _: moved


class _OnPopulation(Workload):
    """Reads, at random, of `objects` objects that stay as they are."""

    def prepare(self) -> None:
        self.keys = self.fill(f"{n:06}" for n in range(self.site.objects))

    def drawn(self, worker: int) -> list[str]:
        """Random keys to take turns with, drawn beforehand: it costs as much as a fast stat."""
        return self.rng(worker).choices(self.keys, k=_DRAWN // self.site.concurrency)


class Get(_OnPopulation):
    name = "get"
    needs = ("get",)

    def operations(self, worker: int) -> Iterator[Operation]:
        call, check = self.need("get"), _sized(self.site.size)
        return cycle([Operation("get", call, (key,), check) for key in self.drawn(worker)])


class Range(_OnPopulation):
    """1 KiB, or the whole of a smaller object, from a random place."""

    name = "range"
    needs = ("get_range",)
    default_size = _MIB

    def operations(self, worker: int) -> Iterator[Operation]:
        rng, call, size = self.rng(worker), self.need("get_range"), self.site.size
        length = min(_RANGE, size)
        check = _sized(length)
        return cycle(
            [
                Operation("range", call, (key, rng.randrange(size - length + 1), length), check)
                for key in self.drawn(worker)
            ]
        )


class Stat(_OnPopulation):
    name = "stat"
    needs = ("stat",)

    def operations(self, worker: int) -> Iterator[Operation]:
        call, check = self.need("stat"), _always(Moved())
        return cycle([Operation("stat", call, (key,), check) for key in self.drawn(worker)])


class Copy(_OnPopulation):
    name = "copy"
    needs = ("copy",)

    def operations(self, worker: int) -> Iterator[Operation]:
        rng, call, check = self.rng(worker), self.need("copy"), _always(Moved(self.site.size))
        for n in count():
            # a bounded number of copies, so that space is bounded too
            target = self.site.key(f"copies/{worker}-{n % self.site.objects:06}")
            yield Operation("copy", call, (rng.choice(self.keys), target), check)


def _exhaust(entries: Callable[[str], Iterable[Any]], prefix: str) -> int:
    return sum(1 for _ in entries(prefix))


async def _exhaust_async(entries: Callable[[str], AsyncIterable[Any]], prefix: str) -> int:
    found = 0
    async for _ in entries(prefix):
        found += 1
    return found


class List(_OnPopulation):
    """All objects below a prefix, in one run through."""

    name = "list"
    needs = ()

    def operations(self, worker: int) -> Iterator[Operation]:
        check = _counted(self.site.objects)
        exhaust = _exhaust_async if self.awaited else _exhaust
        return repeat(Operation("list", exhaust, (self.timed.list, self.site.prefix), check))


class ListLevel(Workload):
    """One level whose entries are objects and common prefixes, half and half."""

    name = "list-level"
    needs = ("list_level",)

    def prepare(self) -> None:
        self.fill(f"{n:06}" if n % 2 else f"{n:06}/below" for n in range(self.site.objects))

    def operations(self, worker: int) -> Iterator[Operation]:
        call, check = self.need("list_level"), _counted(self.site.objects)
        exhaust = _exhaust_async if self.awaited else _exhaust
        return repeat(Operation("list-level", exhaust, (call, self.site.prefix), check))


class Put(Workload):
    """New objects; each round's are deleted, off the clock, before the next."""

    name = "put"
    needs = ()

    def begin(self) -> None:
        self.names = [f"{n:06}" for n in range(max(self.site.objects, self.site.concurrency))]
        self.site.workspace.delete(f"{self.site.prefix}{name}" for name in self.names)

    def operations(self, worker: int) -> Iterator[Operation]:
        check = _always(Moved(self.site.size))
        payloads = cycle(self.payloads)
        for name in self.shares(self.names)[worker]:
            yield Operation("put", self.timed.put, (self.site.key(name), next(payloads)), check)


class Delete(Workload):
    """Each object once; those deleted are put again, off the clock, before the next round."""

    name = "delete"
    needs = ()

    def prepare(self) -> None:
        objects = max(self.site.objects, self.site.concurrency)
        self.names = [f"{n:06}" for n in range(objects)]
        self.gone = self.names

    def begin(self) -> None:
        self.fill(self.gone)
        self.gone = []

    def operations(self, worker: int) -> Iterator[Operation]:
        check = _always(Moved())
        for name in self.shares(self.names)[worker]:
            self.gone.append(name)
            yield Operation("delete", self.timed.delete, (self.site.key(name),), check)


class DeleteBulk(Workload):
    """Batches of 100 keys."""

    name = "delete-bulk"
    needs = ("delete_many",)

    def begin(self) -> None:
        objects = max(self.site.objects, self.site.concurrency)
        self.keys = self.fill(f"{n:06}" for n in range(objects))

    def operations(self, worker: int) -> Iterator[Operation]:
        mine = self.shares(self.keys)[worker]
        for start in range(0, len(mine), _BULK):
            batch = mine[start : start + _BULK]
            yield Operation(
                "delete-bulk",
                self.need("delete_many"),
                (batch,),
                _always(Moved(items=len(batch))),
            )


class Mixed(Workload):
    """45 get, 30 stat, 15 put, 10 delete in a hundred.

    Each worker has its own share of the objects, so that none reads what
    another deleted; a put restores a deleted object before it replaces one.
    """

    name = "mixed"
    needs = ("get", "stat")

    def prepare(self) -> None:
        objects = max(self.site.objects, 2 * self.site.concurrency)
        self.keys = self.fill(f"{n:06}" for n in range(objects))
        # across rounds and warm-up, what is deleted stays deleted
        self.live = self.shares(self.keys)
        self.dead: list[list[str]] = [[] for _ in self.live]

    def operations(self, worker: int) -> Iterator[Operation]:
        rng, payloads = self.rng(worker), cycle(self.payloads)
        get, stat = self.need("get"), self.need("stat")
        live, dead = self.live[worker], self.dead[worker]
        read, written, touched = _sized(self.site.size), _always(Moved(self.site.size)), Moved()
        while True:
            draw = rng.random()
            at = rng.randrange(len(live))
            if draw < 0.45:
                yield Operation("get", get, (live[at],), read)
            elif draw < 0.75:
                yield Operation("stat", stat, (live[at],), _always(touched))
            elif draw < 0.90 or len(live) == 1:
                key = dead[-1] if dead else live[at]
                yield Operation("put", self.timed.put, (key, next(payloads)), written)
                if dead:
                    live.append(dead.pop())
            else:
                live[at], live[-1] = live[-1], live[at]
                dead.append(live.pop())
                yield Operation("delete", self.timed.delete, (dead[-1],), _always(touched))


class Streamed(Workload):
    """Payloads in chunks of 1 MiB, as bytes: some clients take no views, and would copy them."""

    default_size = 64 * _MIB

    def load(self) -> None:
        self.chunked = _chunked(self.site.size, self.site.seed)


class MultipartPut(Streamed):
    """A stream of known size."""

    name = "multipart-put"
    needs = ("put_stream",)

    def operations(self, worker: int) -> Iterator[Operation]:
        call, size, check = self.need("put_stream"), self.site.size, _always(Moved(self.site.size))
        key = self.site.key(f"{worker}")
        for chunks in cycle(self.chunked):
            yield Operation("multipart-put", call, (key, iter(chunks), size), check)


def _drain(call: Callable[[str], Iterable[Any]], key: str) -> tuple[int, float]:
    """The length of a body, and when its first bytes were there."""
    size, first = 0, 0.0
    for chunk in call(key):
        if not size:
            first = perf_counter()
        size += len(chunk)
    return size, first


async def _drain_async(call: Callable[[str], AsyncIterable[Any]], key: str) -> tuple[int, float]:
    size, first = 0, 0.0
    async for chunk in call(key):
        if not size:
            first = perf_counter()
        size += len(chunk)
    return size, first


class MultipartGet(Streamed):
    """A stream read to its end; the time to the first byte is kept apart."""

    name = "multipart-get"
    needs = ("get_stream",)

    def prepare(self) -> None:
        self.keys = []
        for n in range(min(self.site.objects, self.site.concurrency)):
            key, chunks = self.site.key(f"{n:06}"), self.chunked[n % len(self.chunked)]
            self.untimed("put_stream")(key, iter(chunks), self.site.size)
            self.keys.append(key)

    def operations(self, worker: int) -> Iterator[Operation]:
        call, size = self.need("get_stream"), self.site.size

        def check(result: tuple[int, float]) -> Moved:
            if result[0] != size:
                raise ErrIntegrity(f"{size} bytes were asked for, {result[0]} came")
            return Moved(size, first_byte=result[1] or None)  # an empty one has none

        drain = _drain_async if self.awaited else _drain
        for key in cycle(self.keys[worker % len(self.keys) :] or self.keys):
            yield Operation("multipart-get", drain, (call, key), check)


class Contention(Workload):
    """All workers count up one object by compare-and-swap; retries are counted."""

    name = "contention"
    needs = ("update",)

    def prepare(self) -> None:
        self.get = self.untimed("get")
        self.counter = self.site.key("counter")
        self.target.put(self.counter, b"0")
        self.tries = [0] * self.site.concurrency
        self.wins = [0] * self.site.concurrency

    @property
    def retries(self) -> int:
        return sum(self.tries) - sum(self.wins)

    def operations(self, worker: int) -> Iterator[Operation]:
        def count_up(old: bytes | None) -> bytes:
            self.tries[worker] += 1
            return b"%d" % (int(old or 0) + 1)

        def check(_: Any) -> Moved:
            self.wins[worker] += 1
            return Moved()

        return repeat(Operation("update", self.need("update"), (self.counter, count_up), check))

    def verify(self) -> None:
        value = int(bytes(self.get(self.counter)))
        # a write whose outcome is unknown was tried, and may have counted
        if not sum(self.wins) <= value <= sum(self.tries):
            raise ErrIntegrity(
                f"the counter is {value} after {sum(self.wins)} updates", key=self.counter
            )


WORKLOADS: dict[str, type[Workload]] = {
    cls.name: cls
    for cls in (
        Put,
        Get,
        Range,
        Stat,
        List,
        ListLevel,
        Delete,
        DeleteBulk,
        Copy,
        Mixed,
        MultipartPut,
        MultipartGet,
        Contention,
    )
}
"""Every workload, by name."""
