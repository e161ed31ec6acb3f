"""Local stores after every crash that can be thought of (see `objectstorage.testing.crash`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from objectstorage.posix import PosixStorage
from objectstorage.posixflat import PosixFlatStorage
from objectstorage.testing.crash import SCENARIOS, Open, Scenario
from objectstorage.testing.crash_stop import stop_everywhere

OPENERS: dict[str, Open] = {
    "posix": lambda root, durable: PosixStorage(root, durable=durable),
    "posixflat": lambda root, durable: PosixFlatStorage(root, durable=durable),
}

every_store = pytest.mark.parametrize("open_store", OPENERS.values(), ids=OPENERS)
every_scenario = pytest.mark.parametrize(
    "scenario", SCENARIOS, ids=[scenario.name.replace(" ", "-") for scenario in SCENARIOS]
)


@every_store
@every_scenario
def test_dying_at_every_operation(
    tmp_path: Path,
    scenario: Scenario,
    open_store: Open,
    record_property: Callable[[str, Any], None],
) -> None:
    deaths = stop_everywhere(scenario, tmp_path, open_store)
    record_property("crashes: deaths at an operation", deaths)
    assert deaths > 10
