"""Random walks over every store, beside a dict."""

from __future__ import annotations

from conftest import Target
from long import much

from objectstorage.testing.stateful import run_machine


def test_a_random_walk(target: Target) -> None:
    # a server on the same two cores is slower than a directory
    examples = much(15, 100) if target.name.startswith("s3-") else much(25, 200)
    run_machine(target.fresh, target.open, examples=examples)
