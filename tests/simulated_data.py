"""Simulated clients of one data manager, and an observer who knows what happened.

The observer sees every write to the store as it happens. The first creation of
each slot is the commit; from these it makes the history, checks it, and holds
every answer that a client gets against it.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, NamedTuple

from objectstorage.datamanager import Delete, Limits, Put
from objectstorage.datamanager.aio import AsyncDataManager, AsyncSnapshot
from objectstorage.datamanager.frames import entries_of, unpack_actions
from objectstorage.datamanager.model import Action
from objectstorage.datamanager.records import (
    Slot,
    number_of,
    unpack_slot,
    unpack_types,
)
from objectstorage.errors import (
    ErrCommitUnknown,
    ErrCompacted,
    ErrNotExist,
    StorageError,
    as_,
)
from objectstorage.testing.simulation import Faults, Simulation

__all__ = ["WEATHER", "World", "run_world"]

_MIXED = Faults(
    lost_request=0.01,
    lost_reply=0.02,
    late=0.01,
    repeated=0.01,
    again=0.01,
    damaged=0.01,
    crash=0.005,
    stall=0.02,
    delay=200,
)
WEATHER = [
    _MIXED,
    Faults(*(4 * chance for chance in _MIXED[:-1]), delay=60),
    Faults(stall=0.08, delay=500, crash=0.002),
    Faults(late=0.05, again=0.1, delay=500, stall=0.02),
]
"""Of everything a little; much; clients that sleep long; a network that keeps and repeats."""

_LIMITS = Limits(
    inline_bytes=150,
    file_bytes=300,
    block_bytes=80,
    checkpoint_bytes=100_000,
    checkpoint_commits=100_000,
    log_bytes=1_000_000,
    requests=1,  # a simulated client asks for one thing at a time
)

State = dict[tuple[str, str], bytes]


class Promise(NamedTuple):
    """What a client asked for with one commit."""

    groups: tuple[str, ...]
    token: int | None
    epoch: int | None
    actions: tuple[Action, ...]


class World:
    """One simulation, its clients, and the history as it really happened."""

    def __init__(self, seed: int, weather: Faults | None = None) -> None:
        self.simulation = Simulation(seed)
        self.random = self.simulation.random
        self.simulation.misfortune(weather or self.random.choice(WEATHER))
        self.simulation.wrote = self._wrote
        self.slots: list[Slot] = []
        self.states: list[State] = [{}]
        self.commits: list[tuple[Action, ...]] = []
        self.promises: dict[str, Promise] = {}
        self.acknowledged = 0  # the highest sequence anybody was told of
        self.refused: set[str] = set()
        self.counts = {"commits": 0, "leftovers": 0, "unknown": 0, "refused": 0, "reads": 0}
        self.crashes_left = 4

    # -- the observer ----------------------------------------------------------

    def _wrote(self, key: str) -> None:
        space = self.simulation.space
        seq = number_of(key)
        if seq is None or not key.startswith("wal/") or not space.exists(key):
            return
        slot = unpack_slot(space.get(key), seq, self.simulation.now())
        head = len(self.slots)
        if seq <= head:
            self.counts["leftovers"] += slot.id != self.slots[seq - 1].id
            return
        assert seq == head + 1, f"commit {seq} came after {head}"
        self._committed(slot)

    def _committed(self, slot: Slot) -> None:
        before = self.slots[-1] if self.slots else None
        assert slot.previous == (before.id if before else ""), "the chain is broken"
        if slot.kind == "write":
            assert before is None or before.control.maintenance is None, "written in maintenance"
        state = dict(self.states[-1])
        actions: tuple[Action, ...] = ()
        if slot.payload is not None:
            data = slot.payload.data
            if data is None:
                data = self.simulation.space.get(str(slot.payload.key))
            if slot.kind == "import":
                state = self._imported(data)
            else:
                actions = unpack_actions(data, "payload")
        for action in actions:
            if isinstance(action, Put):
                state[action.type, action.id] = action.data
            else:
                state.pop((action.type, action.id), None)
        if actions:
            self._check_promise(slot, self.promises[actions[0].id], actions)
        self.slots.append(slot)
        self.states.append(state)
        self.commits.append(actions)
        self.counts["commits"] += 1

    def _check_promise(self, slot: Slot, promise: Promise, actions: tuple[Action, ...]) -> None:
        assert actions == promise.actions, "a commit is not what was asked for"
        assert slot.groups == promise.groups
        if promise.epoch is not None:
            assert slot.control.epoch == promise.epoch, "an epoch was passed"
        if promise.token is not None:
            for other in self.slots[promise.token :]:
                assert other.kind != "import", "an import was overlooked"
                assert not set(other.groups) & set(promise.groups), (
                    f"commit {slot.seq}, read at {promise.token}, overlooked {other.seq}"
                )

    def _imported(self, manifest: bytes) -> State:
        space = self.simulation.space
        return {
            (type, entry.id): entry.data
            for type, refs in unpack_types(manifest, "manifest").items()
            for ref in refs
            for entry in entries_of(space.get(ref.name + ".data"), type, ref.name)
        }

    def told(self, seq: int) -> None:
        """A client was told that this much is committed."""
        assert seq <= len(self.slots), f"{seq} was acknowledged, the head is {len(self.slots)}"
        self.acknowledged = max(self.acknowledged, seq)

    # -- clients ---------------------------------------------------------------

    def manager(self) -> AsyncDataManager:
        """A new client's."""
        return AsyncDataManager(
            self.simulation.store(), limits=_LIMITS, new_id=self.simulation.new_id
        )

    def spawn(self, role: str, rounds: int) -> None:
        """A client of that role; when it crashes, another takes over."""
        client: Coroutine[Any, Any, None] = getattr(self, role)(self.manager(), rounds)

        def crashed() -> None:
            if self.crashes_left:
                self.crashes_left -= 1
                self.spawn(role, rounds)

        self.simulation.spawn(client, crashed)

    async def writer(self, data: AsyncDataManager, rounds: int) -> None:
        """Reads counters and raises them, alone or two at once; puts and deletes blindly."""
        epoch: int | None = None
        for _ in range(rounds):
            try:
                if self.random.random() < 0.1:
                    epoch = self.random.choice([None, await data.epoch()])
                await self._write(data, epoch)
            except StorageError:
                epoch = None

    async def _write(self, data: AsyncDataManager, epoch: int | None) -> None:
        name = self.simulation.new_id()
        groups = self.random.sample("abcd", self.random.choice([1, 1, 2]))
        size = self.random.choice([0, 0, 200])
        actions: list[Action] = [Put("op", name, bytes(size))]
        token: int | None = None
        if self.random.random() < 0.2:
            actions.append(Delete("op", self.random.choice(list(self.promises) or ["none"])))
        else:
            floor = self.acknowledged
            snapshot = await data.snapshot()
            token = snapshot.seq
            self.told(token)
            assert token >= floor, "a read went back in time"
            for group in groups:
                try:
                    old = int((await snapshot.read("counter", group)).data)
                except ErrNotExist:
                    old = 0
                actions.append(Put("counter", group, b"%d" % (old + 1)))
        self.promises[name] = Promise(tuple(sorted(groups)), token, epoch, tuple(actions))
        try:
            commit = await data.write(actions, groups=groups, token=token, epoch=epoch)
        except StorageError as exc:
            unknown = as_(exc, ErrCommitUnknown)
            if unknown is None:
                self.refused.add(name)
                self.counts["refused"] += 1
                raise
            self.counts["unknown"] += 1
            await self._settle(data, name, unknown)
            return
        self.told(commit.seq)
        assert self.slots[commit.seq - 1].id == commit.id, "acknowledged, and not committed"
        assert self.commits[commit.seq - 1] == tuple(actions)

    async def _settle(self, data: AsyncDataManager, name: str, error: ErrCommitUnknown) -> None:
        stands = await data.committed(error.commit_id, error.seq)
        head = await data.head()
        if stands:
            assert self.slots[error.seq - 1].id == error.commit_id
        elif head >= error.seq:
            assert self.slots[error.seq - 1].id != error.commit_id
            assert (await data.committed(error.commit_id, error.seq)) is False

    async def reader(self, data: AsyncDataManager, rounds: int) -> None:
        """Reads everything, from one client or from new ones."""
        for _ in range(rounds):
            if self.random.random() < 0.3:
                data = self.manager()
            try:
                floor = self.acknowledged
                snapshot = await data.snapshot()
                assert snapshot.seq >= floor, "a snapshot went back in time"
                self.told(snapshot.seq)
                found = await _content(snapshot)
            except StorageError:
                continue
            self.counts["reads"] += 1
            assert found == self.states[snapshot.seq], f"the state at {snapshot.seq} is another"

    async def watcher(self, data: AsyncDataManager, rounds: int) -> None:
        """Follows the log; starts again from a snapshot when it was left behind."""
        seq = 0
        for _ in range(rounds):
            try:
                async for commit in data.watch(after=seq, follow=False):
                    assert commit.seq == seq + 1, "a commit was left out"
                    seq = commit.seq
                    assert self.slots[seq - 1].id == commit.id
                    assert self.commits[seq - 1] == commit.actions
            except ErrCompacted:
                try:
                    seq = (await data.snapshot()).seq
                except StorageError:
                    continue
            except StorageError:
                continue

    async def keeper(self, data: AsyncDataManager, rounds: int) -> None:
        """Checkpoints, collects, sweeps, fences, toggles maintenance."""
        for _ in range(rounds):
            try:
                await self._keep(data)
            except StorageError:
                data = self.manager()

    async def _keep(self, data: AsyncDataManager) -> None:
        age = self.random.choice([0.0, 0.0, 30.0])
        what = self.random.random()
        if what < 0.35:
            await data.checkpoint()
        elif what < 0.65:
            await data.collect(age)
        elif what < 0.85:
            await data.sweep(age)
        elif what < 0.9:
            await data.fence()
        elif what < 0.95:
            await data.maintenance("a reason")
            await data.maintenance(None)
        else:
            await data.import_(b"".join([chunk async for chunk in data.export()]), replace=True)

    # -- the end ---------------------------------------------------------------

    async def last(self) -> None:
        """Without faults: what is left is what the history says, and whole."""
        data = self.manager()
        if await data.in_maintenance() is not None:
            await data.maintenance(None)
        head = await data.head()
        assert head == len(self.slots)
        assert await _content(await self.manager().snapshot()) == self.states[-1]
        report = await data.verify()
        assert report.problems == (), report.problems
        if head:
            await data.checkpoint()
        await data.collect(0)
        await data.sweep(0)
        report = await data.verify()
        assert report.problems == (), report.problems
        assert report.orphans == 0, "something was left over"
        assert await _content(await data.snapshot()) == self.states[-1]

    def check_history(self) -> None:
        """No counter lost a count, and nobody was refused what was committed."""
        names = {actions[0].id for actions in self.commits if actions}
        assert not names & self.refused, "refused, and committed"
        counts: dict[str, int] = {}
        for slot, actions, state in zip(self.slots, self.commits, self.states[1:], strict=True):
            if slot.kind == "import":
                counts = _counters(state)
            for action in actions:
                if action.type == "counter":
                    counts[action.id] = counts.get(action.id, 0) + 1
        assert _counters(self.states[-1]) == counts, "a count was lost"


def _counters(state: State) -> dict[str, int]:
    return {id: int(data) for (type, id), data in state.items() if type == "counter"}


async def _content(snapshot: AsyncSnapshot) -> State:
    found: State = {}
    for type in ("counter", "op"):
        before = ""
        async for entry in snapshot.list(type):
            assert entry.id > before
            before = entry.id
            found[type, entry.id] = entry.data
    return found


def run_world(seed: int, weather: Faults | None = None) -> World:
    """One schedule; `AssertionError` if anything was not as promised.

    `weather`: the faults; by default of the seed's choice.
    """
    world = World(seed, weather)
    try:
        random = world.random
        for _ in range(random.randint(1, 3)):
            world.spawn("writer", random.randint(2, 6))
        for role in ("reader", "watcher", "keeper", "keeper"):
            if random.random() < 0.75:
                world.spawn(role, random.randint(2, 6))
        world.simulation.run()
        world.simulation.misfortune(Faults())
        world.simulation.spawn(world.last())
        world.simulation.run()
        world.check_history()
    except BaseException:
        world.simulation.close()
        raise
    return world
