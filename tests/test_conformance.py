"""The storage contract, over every store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from objectstorage.memory import MemoryStorage
from objectstorage.storage import Storage
from objectstorage.testing import servers
from objectstorage.testing.servers import S3Server
from objectstorage.testing.suite import StorageSuite


class TestMemory(StorageSuite):
    tally = "memory"
    in_memory = True
    many = 20_000

    def open_store(self, place: Any) -> Storage:
        return MemoryStorage(place)


class _Local(StorageSuite):
    many = 20_000

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        # beside what the cases themselves write into tmp_path
        path = tmp_path.parent / f"{tmp_path.name}-store"
        path.mkdir()
        return path


class TestPosix(_Local):
    tally = "posix"

    def open_store(self, place: Any) -> Storage:
        from objectstorage.posix import PosixStorage

        return PosixStorage(place)


class TestPosixFlat(_Local):
    tally = "posixflat"

    def open_store(self, place: Any) -> Storage:
        from objectstorage.posixflat import PosixFlatStorage

        return PosixFlatStorage(place)


class _S3(StorageSuite):
    pickles = False
    part_size = 5 * 1024 * 1024  # the least they take
    server: S3Server

    @pytest.fixture
    def place(self) -> str:
        return self.server.fresh_url()

    def open_store(self, place: Any) -> Storage:
        return self.server.open(place, part_size=self.part_size)

    def secrets(self, place: Any) -> list[str]:
        return [self.server.secret_key]


class TestS3SeaweedFS(_S3):
    tally = "s3-seaweedfs"
    part_size = 5 * 1024 * 1024  # the least it takes

    @pytest.fixture(autouse=True)
    def _server(self, seaweedfs: S3Server) -> None:
        self.server = seaweedfs


class TestS3Moto(_S3):
    tally = "s3-moto"

    @pytest.fixture(autouse=True)
    def _server(self, moto: S3Server) -> None:
        self.server = moto


if servers.external() is not None:

    class TestS3External(_S3):
        tally = "s3-external"

        @pytest.fixture(autouse=True)
        def _server(self, external_s3: S3Server) -> None:
            self.server = external_s3
