"""fsspec's own suite for implementations, over every kind of store; nothing is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import STORES, make_target
from fsspec.tests import abstract

from objectstorage.filesystem import (
    MemoryFileSystem,
    PosixFileSystem,
    S3FileSystem,
    StorageFileSystem,
)
from objectstorage.testing.servers import S3Server

STORES_OF_USERS = [name for name in STORES if name != "posixflat"]


class Fixtures(abstract.AbstractFixtures):
    """What fsspec's cases need to know of this implementation."""

    @pytest.fixture
    def fs_join(self) -> Any:
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False


class ByUrl(Fixtures):
    """Through the class that a URL's protocol leads to."""

    tallied_by = "place"

    @pytest.fixture(params=STORES_OF_USERS)
    def place(self, request: pytest.FixtureRequest) -> tuple[Any, str]:
        target = make_target(request.param, request)
        where = target.fresh()
        if request.param == "memory":
            return MemoryFileSystem(), where
        if request.param == "posix":
            return PosixFileSystem(store_root=str(where), durable=False), str(where)
        server: S3Server = request.getfixturevalue(request.param.removeprefix("s3-"))
        return S3FileSystem(**server.options()), where.removeprefix("s3://")

    @pytest.fixture
    def fs(self, place: tuple[Any, str]) -> Any:
        return place[0]

    @pytest.fixture
    def fs_path(self, place: tuple[Any, str]) -> str:
        return place[1]


class TestCopy(abstract.AbstractCopyTests, ByUrl):
    pass


class TestGet(abstract.AbstractGetTests, ByUrl):
    pass


class TestPut(abstract.AbstractPutTests, ByUrl):
    pass


class TestPipe(abstract.AbstractPipeTests, ByUrl):
    pass


class TestOpen(abstract.AbstractOpenTests, ByUrl):
    pass


class OverAStore(Fixtures):
    """Through a store that is open, with paths that are keys; also the flat layout."""

    @pytest.fixture(params=["memory", "posixflat"])
    def fs(self, request: pytest.FixtureRequest) -> Iterator[StorageFileSystem]:
        target = make_target(request.param, request)
        with target.open(target.fresh()) as store:
            yield StorageFileSystem(store)

    @pytest.fixture
    def fs_path(self) -> str:
        return "work"


class TestCopyOverAStore(abstract.AbstractCopyTests, OverAStore):
    pass


class TestGetOverAStore(abstract.AbstractGetTests, OverAStore):
    pass


class TestPutOverAStore(abstract.AbstractPutTests, OverAStore):
    pass
