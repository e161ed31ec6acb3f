"""The commit protocol under simulated clients; and that broken protocols don't pass.

What the model found while the protocol was written stands here as a mutation:
take the remedy out, and a schedule shows why it is there.
"""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Tried
from long import much
from simulated_data import run_world

from objectstorage.datamanager._async import collecting, committing, log, tail
from objectstorage.datamanager.records import Payload, Slot, pack_slot, slot_key
from objectstorage.errors import ErrExist, ErrOutcomeUnknown, ErrUnavailable, StorageError
from objectstorage.testing.simulation import Faults

PARTS = 8
SCHEDULES = much(1_000, 100_000)


@pytest.mark.faults
@pytest.mark.parametrize("part", range(PARTS))
def test_schedules(part: int, tried: Tried) -> None:
    """Serialisable by change group; nothing acknowledged lost, nothing half there."""
    commits = 0
    count = SCHEDULES // PARTS
    for seed in range(part * count, (part + 1) * count):
        try:
            commits += run_world(seed).counts["commits"]
        except (AssertionError, StorageError, KeyError) as exc:
            raise AssertionError(f"seed {seed}") from exc
    assert commits > 4 * count
    tried("data manager", "schedules of simulated clients", count)


def test_a_seed_is_a_schedule() -> None:
    for seed in range(20):
        first, second = run_world(seed), run_world(seed)
        assert first.simulation.steps == second.simulation.steps
        assert first.slots == second.slots
        assert first.counts == second.counts


# -- protocols that are broken ---------------------------------------------------

Committer, Tail = committing.AsyncCommitter, tail.AsyncTail
Log, Collector = log.AsyncLog, collecting.AsyncCollector
_payload, _create = Committer._payload, Log.create

SLEEP = Faults(stall=0.12, delay=300, crash=0.002)


async def no_boundary_check(self: Any, slot: Slot) -> bool:
    return True


async def readers_trust_slots(self: Any, after: int) -> None:
    return None


async def no_second_put(self: Any, members: Any, sweep: int) -> Payload:
    if self._placed is not None and self._placed[0] == members:
        return self._placed[2]  # whatever was swept meanwhile
    return await _payload(self, members, sweep)


async def payload_unchecked(self: Any, payload: Payload, key: str) -> bytes:
    if payload.data is not None:
        return payload.data
    return (await self.store.fetch(key)).data


async def taken_means_lost(self: Any, slot: Slot, deadline: float | None) -> bool:
    for _ in range(5):
        try:
            await self._log.create(slot_key(slot.seq), pack_slot(slot))
        except ErrExist:
            return False  # though it may be ours, of an earlier request
        except (ErrOutcomeUnknown, ErrUnavailable):
            continue
        return await self._counts(slot)
    raise committing._unknown(slot, "")


async def one_look_settles(self: Any, slot: Slot, deadline: float | None) -> bool:
    try:
        await self._log.create(slot_key(slot.seq), pack_slot(slot))
    except ErrExist:
        return False
    except (ErrOutcomeUnknown, ErrUnavailable):
        found = await self._log.slot(slot.seq)  # the request may be under way yet
        return found is not None and found.id == slot.id
    return await self._counts(slot)


async def no_conflicts(self: Any, proposal: Any, head: Any) -> None:
    return None


async def boundary_after_deletes(self: Any, boundary: int, batch: list[int]) -> bool:
    for seq in batch:
        await self._log.delete(slot_key(seq))
    if batch[-1] > boundary:
        await self._log.raise_boundary(boundary, batch[-1])
    return True


async def sweep_by_age(self: Any, min_age: float, dry_run: bool) -> int:
    oldest = await self._before(min_age)
    named = await self._named(0, (await self._tail.refresh()).head.seq)
    async for info in self._log.store.list("waldata/"):
        if info.last_modified <= oldest and info.key not in named:
            await self._log.delete(info.key)  # no commit that fences slow writers off
    return 0


async def status_replaced(self: Any, key: str, data: bytes, timeout: float | None = None) -> None:
    if key.startswith("status/"):
        await self.store.put(key, data)
    else:
        await _create(self, key, data, timeout=timeout)


async def all_unnamed_files_go(self: Any, gone: list[int], dry_run: bool) -> int:
    named = await self._named(0, 0)
    async for info in self._log.store.list("data/"):
        if collecting._name(info.key) not in named:
            await self._log.delete(info.key)  # those of a checkpoint under way too
    return 0


@pytest.mark.parametrize(
    ("place", "name", "broken", "weather"),
    [
        (Committer, "_counts", no_boundary_check, SLEEP),
        (Tail, "check", readers_trust_slots, SLEEP),
        (Committer, "_payload", no_second_put, SLEEP),
        (Log, "payload", payload_unchecked, Faults(damaged=0.2)),
        (Committer, "_create", taken_means_lost, None),
        (Committer, "_create", one_look_settles, None),
        (Committer, "_refusal", no_conflicts, None),
        (Collector, "_drop", boundary_after_deletes, SLEEP),
        (Collector, "sweep", sweep_by_age, SLEEP),
        (Log, "create", status_replaced, None),
        (Collector, "_old_files", all_unnamed_files_go, None),
    ],
)
def test_a_broken_protocol_is_found(
    monkeypatch: pytest.MonkeyPatch, place: type, name: str, broken: Any, weather: Faults | None
) -> None:
    monkeypatch.setattr(place, name, broken)
    with pytest.raises((AssertionError, StorageError, KeyError)):
        for seed in range(3_000):
            run_world(seed, weather)
