"""Local stores after every crash that can be thought of (see `objectstorage.testing.crash`).

The long form explores twenty times as much where not everything can be
explored: large sets of disk states, and real kills.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Tried
from lean import lean
from long import much

from objectstorage.local import ops
from objectstorage.posix import PosixStorage
from objectstorage.posixflat import PosixFlatStorage
from objectstorage.testing.crash import SCENARIOS, Open, Scenario
from objectstorage.testing.crash_disk import Sync
from objectstorage.testing.crash_kill import kill_writers
from objectstorage.testing.crash_power import cut_power_everywhere, record
from objectstorage.testing.crash_stop import stop_everywhere

pytestmark = pytest.mark.faults

OPENERS: dict[str, Open] = {
    "posix": lambda root, durable: PosixStorage(root, durable=durable),
    "posixflat": lambda root, durable: PosixFlatStorage(root, durable=durable),
}

every_store = pytest.mark.parametrize("store", OPENERS)
every_scenario = pytest.mark.parametrize("name", [scenario.name for scenario in SCENARIOS])


def named(name: str) -> Scenario:
    return next(scenario for scenario in SCENARIOS if scenario.name == name)


def deaths_in(name: str, folder: Path, store: str) -> int:
    return stop_everywhere(named(name), folder, OPENERS[store])


@every_store
@every_scenario
def test_dying_at_every_operation(tmp_path: Path, name: str, store: str, tried: Tried) -> None:
    deaths = lean(deaths_in, name, tmp_path, store)
    tried("crashes", "deaths at an operation", deaths)
    assert deaths > 10


@every_store
@every_scenario
def test_power_lost_after_every_operation(
    tmp_path: Path, name: str, store: str, tried: Tried
) -> None:
    scenario = named(name)
    recording = record(scenario, tmp_path / "recorded", OPENERS[store])
    for atomic in (True, False):
        place = tmp_path / f"atomic-{atomic}"
        states = cut_power_everywhere(
            recording, scenario, place, OPENERS[store], atomic_renames=atomic, limit=much(40, 800)
        )
        tried("crashes", "disk states after a power loss", states)
        assert states > 2


# -- what the explorer would not see is no proof: each sync left out must show --


def syncs(scenario: Scenario, folder: Path) -> int:
    events = record(scenario, folder, OPENERS["posix"]).events
    return sum(isinstance(event, Sync) for event in events)


def shows(scenario: Scenario, folder: Path, lose: Callable[[int, str], bool]) -> bool:
    """Whether the power's loss does harm if a sync is left out."""
    recording = record(scenario, folder / "recorded", OPENERS["posix"], lose=lose)
    for atomic in (True, False):
        place = folder / f"atomic-{atomic}"
        try:
            cut_power_everywhere(
                recording, scenario, place, OPENERS["posix"], atomic_renames=atomic
            )
        except AssertionError:
            return True
    return False


def test_each_sync_of_a_new_key_is_needed(tmp_path: Path) -> None:
    scenario = named("put into new folders")
    scenario = scenario._replace(steps=scenario.steps[:1])
    count = syncs(scenario, tmp_path / "whole")
    assert count == 4  # the file, its directory, the one above, the root
    for number in range(count):
        assert shows(scenario, tmp_path / str(number), lambda n, _, number=number: n == number)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("put over", "store/a/b"),
        ("put into a new store", "store/new/deep"),
        ("put into a new store", "store/new"),
        ("put into a new store", "store"),
        ("put into a new store", ""),
        ("folders made without durability, then used with", "store/new"),
        ("delete", "store/a/b"),
        ("move", "store"),
        ("move", "store/a/b"),
        ("move what was put without durability", "store/a/k"),
        ("copy", "store/new"),
    ],
)
def test_a_sync_left_out_shows(tmp_path: Path, name: str, path: str) -> None:
    assert shows(named(name), tmp_path, lambda _, synced: synced == path)


@pytest.mark.parametrize("name", ["put over", "create", "put if match", "write", "copy"])
def test_an_unsynced_file_shows(tmp_path: Path, name: str) -> None:
    assert shows(named(name), tmp_path, lambda _, path: path.startswith("store/.objectstorage/tmp"))


# -- and so must a store that dies badly ---------------------------------------


def test_temporaries_left_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objectstorage.local.root.sweep", lambda tmp, **options: 0)
    with pytest.raises(AssertionError, match="temporaries of the dead"):
        stop_everywhere(named("put over"), tmp_path, OPENERS["posix"])


def test_a_publish_in_pieces_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(src: bytes, dst: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            ops.unlink(dst, dir_fd=dst_dir_fd)
        ops.link(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        ops.unlink(src, dir_fd=src_dir_fd)

    monkeypatch.setattr(ops, "rename", rename)
    with pytest.raises(AssertionError, match="expected one of"):
        stop_everywhere(named("put over"), tmp_path, OPENERS["posix"])


# -- real deaths ---------------------------------------------------------------


def kills_in(folder: Path, store: str, kills: int, times: int, seed: int) -> int:
    """How many writes were acknowledged; each time goes on with what the former has left."""
    chance = random.Random(seed)
    return sum(
        kill_writers(OPENERS[store], folder, writers=4, kills=kills, chance=chance)
        for _ in range(times)
    )


@every_store
def test_killed_writers(tmp_path: Path, store: str, tried: Tried) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    kills, times = 50, much(3, 60)
    acknowledged = lean(kills_in, tmp_path, store, kills, times, seed)
    tried("crashes", "writers killed", kills * times)
    tried("crashes", "acknowledged writes of killed writers", acknowledged)
    assert acknowledged > kills * times
