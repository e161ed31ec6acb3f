"""Checkpoint, scan, verify and export hold a data file and the log, never everything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from long import much

from objectstorage.datamanager import Limits

ENTRIES = much(30_000, 1_000_000)
BOUND = much(20, 200)
"""MiB more than the process had before; all entries, as Python keeps them, would be more."""

_LIMITS = much(
    Limits(file_bytes=1024 * 1024, checkpoint_bytes=3 * 1024 * 1024, log_bytes=9 * 1024 * 1024),
    Limits(),
)

_SCRIPT = r"""
import re, sys
from objectstorage.datamanager import DataManager, Limits, Put
from objectstorage.posix import PosixStorage

def peak():
    with open("/proc/self/status") as file:  # ru_maxrss has the parent's in it
        return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) // 1024

root, count, limits = sys.argv[1], int(sys.argv[2]), [int(arg) for arg in sys.argv[3:]]
data = DataManager(PosixStorage(root, durable=False), limits=Limits(*limits))
before = peak()
for start in range(0, count, 2000):
    # all over the place, so that every checkpoint touches every file
    numbers = range(start, min(start + 2000, count))
    data.write([Put("t", f"{n * 7919 % count:08}", b"x" * 1000) for n in numbers])
assert data.checkpoint().entries == count
assert sum(1 for _ in data.list("t")) == count
assert sum(map(len, data.export())) > 1000 * count
report = data.verify()
assert report.problems == () and report.entries == count
print(peak() - before)
"""


@pytest.mark.faults
def test_many_entries_in_bounded_memory(tmp_path: Path) -> None:
    arguments = [str(tmp_path), str(ENTRIES), *map(str, _LIMITS)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _SCRIPT, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert int(done.stdout) < BOUND
