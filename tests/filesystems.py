"""Small file systems of a test's own, to be filled up; they need root to be mounted."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import needs

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system: needs root")


@contextlib.contextmanager
def tmpfs(where: Path, options: str) -> Iterator[Path]:
    """A tmpfs on the directory, which is made."""
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(where)], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


@contextlib.contextmanager
def btrfs(where: Path, *, quota: str | None = None) -> Iterator[Path]:
    """A btrfs on the directory, which is made; with a quota of that many bytes in its root."""
    image = where.with_suffix(".image")
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run(
        [needs("mkfs.btrfs", "btrfs-progs"), "-q", str(image)], check=True, capture_output=True
    )
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "btrfs", "-o", "loop", str(image), str(where)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no btrfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        if quota is None:
            yield where
        else:
            for command in (
                ["quota", "enable", str(where)],
                ["subvolume", "create", str(where / "limited")],
                ["qgroup", "limit", quota, str(where / "limited")],
            ):
                subprocess.run(["btrfs", *command], check=True, capture_output=True)
            yield where / "limited"
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)
        image.unlink()
