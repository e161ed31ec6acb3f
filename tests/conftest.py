"""Servers for the tests, the stores to run over, and the suite's tally.

A server is started by the first test that asks for it and lives to the end of
the session. Each worker of a parallel run has its own: starting one takes
seconds, and the cases of one server are then spread over the cores.
"""

from __future__ import annotations

import gc
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from long import LONG

from objectstorage.storage import Storage
from objectstorage.testing import servers
from objectstorage.testing.servers import S3Server

# What a shell starts in the background ignores Ctrl-C, and so would every process of
# the tests that try it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

STORES = ["memory", "posix", "posixflat", "s3-seaweedfs", "s3-moto"]
if servers.external() is not None:
    STORES.append("s3-external")


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[S3Server]:
    with servers.seaweedfs() as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    with servers.moto() as server:
        yield server


@pytest.fixture(scope="session")
def rclone() -> Iterator[S3Server]:
    with servers.rclone() as server:
        yield server


@pytest.fixture(scope="session")
def external_s3() -> S3Server:
    """The server that `OBJECTSTORAGE_TEST_S3_ENDPOINT` names."""
    server = servers.external()
    assert server is not None, "OBJECTSTORAGE_TEST_S3_ENDPOINT is not set"
    return server


class Target(NamedTuple):
    """A kind of store: `fresh` makes a place, `open` a store there."""

    name: str
    fresh: Callable[[], Any]
    open: Callable[[Any], Storage]


def make_target(name: str, request: pytest.FixtureRequest) -> Target:
    """The target of one of `STORES`; starts its server."""
    if name == "memory":
        from objectstorage.memory import MemoryStorage

        return Target(name, lambda: uuid.uuid4().hex, MemoryStorage)
    if name.startswith("s3-"):
        fixture = {"s3-external": "external_s3"}.get(name, name.removeprefix("s3-"))
        server: S3Server = request.getfixturevalue(fixture)
        return Target(name, server.fresh_url, server.open)
    root: Path = request.getfixturevalue("tmp_path")

    def fresh() -> Path:
        path = root / uuid.uuid4().hex
        path.mkdir()
        return path

    if name == "posix":
        from objectstorage.posix import PosixStorage

        return Target(name, fresh, lambda path: PosixStorage(path))
    from objectstorage.posixflat import PosixFlatStorage

    return Target(name, fresh, lambda path: PosixFlatStorage(path))


@pytest.fixture(params=STORES)
def target(request: pytest.FixtureRequest) -> Target:
    """Every kind of store in turn."""
    return make_target(request.param, request)


@pytest.fixture
def store(target: Target) -> Iterator[Storage]:
    """A fresh, empty store of every kind in turn."""
    with target.open(target.fresh()) as store:
        yield store


Tried = Callable[[str, str, int], None]
"""`tried(group, what, count)`: so many were tried, and all ended well if the test does."""


@pytest.fixture
def tried(record_property: Callable[[str, object], None]) -> Tried:
    """Counts for the summary of faults."""

    def record(group: str, what: str, count: int) -> None:
        record_property("tried", (group, what, count))

    return record


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if LONG and item.get_closest_marker("faults") is not None:
            item.add_marker(pytest.mark.timeout(3600))
        cls = getattr(item, "cls", None)
        suite = getattr(cls, "tally", None)
        if suite is not None:
            item.user_properties.append(("suite", suite))
        by = getattr(cls, "tallied_by", None)
        if by is not None:
            item.user_properties.append(("fsspec", item.callspec.params[by]))  # type: ignore[attr-defined]


def pytest_collection() -> None:
    gc.disable()  # until all is collected; here, since processes of tests import this file, too


def pytest_collection_finish() -> None:
    # What was imported and collected stays: no garbage collection need look at it again.
    gc.enable()
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many cases of the suite each store passed, and how many faults were survived."""
    _suite_summary(terminalreporter, "suite", "conformance suite, cases by store")
    _suite_summary(terminalreporter, "fsspec", "fsspec.tests.abstract, cases by store")
    _fault_summary(terminalreporter)


def _fault_summary(terminalreporter: Any) -> None:
    counts: dict[str, dict[str, int]] = {}
    for report in terminalreporter.stats.get("passed", ()):
        for name, value in getattr(report, "user_properties", ()):
            if name == "tried":
                group, what, count = value
                row = counts.setdefault(group, {})
                row[what] = row.get(what, 0) + count
    if counts:
        terminalreporter.section("faults tried, all of them survived")
        for group, row in sorted(counts.items()):
            terminalreporter.write_line(f"{group}:")
            for what, count in sorted(row.items()):
                terminalreporter.write_line(f"{count:12,} {what}")


def _suite_summary(terminalreporter: Any, of: str, title: str) -> None:
    counts: dict[str, dict[str, int]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, value in getattr(report, "user_properties", ()):
                if name == of:
                    row = counts.setdefault(
                        value, dict.fromkeys(("passed", "failed", "skipped"), 0)
                    )
                    row["failed" if outcome == "error" else outcome] += 1
    if counts:
        terminalreporter.section(title)
        for store, row in counts.items():
            text = ", ".join(f"{count} {outcome}" for outcome, count in row.items())
            terminalreporter.write_line(f"{store:14} {text}")
