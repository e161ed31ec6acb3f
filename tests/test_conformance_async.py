"""The same contract through the asynchronous face, over every store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import uvloop

from objectstorage import aio
from objectstorage.aio.local import ThreadedStorage
from objectstorage.aio.s3 import AsyncS3Storage
from objectstorage.memory import MemoryStorage
from objectstorage.posix import PosixStorage
from objectstorage.posixflat import PosixFlatStorage
from objectstorage.storage import Storage
from objectstorage.testing.blocking import BlockingStorage
from objectstorage.testing.servers import S3Server
from objectstorage.testing.suite import StorageSuite
from objectstorage.testing.suite.lifecycle import Lifecycle
from objectstorage.testing.suite.reading import Reading
from objectstorage.testing.suite.writers import Writers
from objectstorage.testing.suite.writing import Writing


class _Async(StorageSuite):
    pickles = False
    forks = False  # a thread does not survive; the stores below are forked in the sync suite

    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        assert aio.open_storage


class TestMemory(_Async):
    tally = "aio memory"
    in_memory = True
    many = 20_000

    def open_store(self, place: Any) -> Storage:
        return BlockingStorage(lambda: ThreadedStorage(MemoryStorage(place)))


class TestPosix(_Async):
    tally = "aio posix"

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        path = tmp_path.parent / f"{tmp_path.name}-store"
        path.mkdir()
        return path

    def open_store(self, place: Any) -> Storage:
        return BlockingStorage(lambda: ThreadedStorage(PosixStorage(place)))


class TestPosixFlat(TestPosix):
    tally = "aio posixflat"

    def open_store(self, place: Any) -> Storage:
        return BlockingStorage(lambda: ThreadedStorage(PosixFlatStorage(place)))


class _S3(_Async):
    part_size = 5 * 1024 * 1024
    server: S3Server

    @pytest.fixture
    def place(self) -> str:
        return self.server.fresh_url()

    def open_store(self, place: Any) -> Storage:
        return BlockingStorage(
            lambda: AsyncS3Storage(self.server.open(place, part_size=self.part_size))  # type: ignore[arg-type]  # an S3 server's
        )

    def secrets(self, place: Any) -> list[str]:
        return [self.server.secret_key]


class TestS3SeaweedFS(_S3):
    tally = "aio s3-seaweedfs"

    @pytest.fixture(autouse=True)
    def _server(self, seaweedfs: S3Server) -> None:
        self.server = seaweedfs


class TestS3Moto(_S3):
    tally = "aio s3-moto"

    @pytest.fixture(autouse=True)
    def _server(self, moto: S3Server) -> None:
        self.server = moto


class TestS3OnUvloop(Writing, Writers, Reading, Lifecycle):
    """What sends and receives, on another event loop than asyncio's own."""

    tally = "aio s3-seaweedfs uvloop"
    pickles = False
    forks = False

    @pytest.fixture(autouse=True)
    def _server(self, seaweedfs: S3Server) -> None:
        self.server = seaweedfs

    @pytest.fixture
    def place(self) -> str:
        return self.server.fresh_url()

    def open_store(self, place: Any) -> Storage:
        return BlockingStorage(
            lambda: aio.open_storage(
                place, **{**self.server.options(), "part_size": 5 * 1024 * 1024}
            ),
            uvloop.new_event_loop,
        )

    def secrets(self, place: Any) -> list[str]:
        return [self.server.secret_key]
