"""Thousands of operations, and nothing of them is left in the process: no descriptor,
no thread, no connection, no memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import exercise
import pytest
from conftest import Tried
from long import much

from objectstorage.testing.servers import S3Server

pytestmark = pytest.mark.faults

every_face = pytest.mark.parametrize("face", ["sync", "async"])


def check(face: str, url: str, options: dict[str, Any], tried: Tried, count: int = 10_000) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", exercise.__file__, face, url, str(count)],
        input=json.dumps(options),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    before, first, second, end = (found[at] for at in ("before", "first", "second", "end"))
    assert count / 10 < found["failed"] < count / 2, "too much or too little goes wrong"
    # Between the two, only a pool that has not met its bound may have grown.
    assert second["descriptors"] - first["descriptors"] <= 4, found
    assert second["threads"] <= 20, found
    assert second["blocks"] - first["blocks"] < count / 20, found
    # A thread's first allocation takes megabytes at once; below that it is a leak of C.
    assert second["KiB"] - first["KiB"] < 12_000, found
    for what in ("descriptors", "threads"):
        assert end[what] == before[what], found
    tried("resources", "operations after which nothing was leaked", count)


@every_face
def test_memory(face: str, tried: Tried) -> None:
    check(face, "memory://", {}, tried)


@every_face
def test_posix(face: str, tmp_path: Path, tried: Tried) -> None:
    check(face, f"posix://{tmp_path}/store", {"durable": False}, tried)


@every_face
def test_s3(face: str, seaweedfs: S3Server, tried: Tried) -> None:
    check(face, seaweedfs.fresh_url(), seaweedfs.options(), tried, much(2_000, 10_000))
