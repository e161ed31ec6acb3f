"""Every workload on every kind of store, one operation a round, by pytest-benchmark.

    pytest benchmarks --benchmark-only

The operations are those of `objectstorage bench`; what they need is set up
between the rounds, off the clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from objectstorage import Storage, open_storage
from objectstorage.bench import WORKLOADS, Workspace, storage_target
from objectstorage.bench.workloads import Operation, Site
from objectstorage.testing.servers import S3Server, external, seaweedfs

_ROUNDS = {"memory": 500, "posix": 300, "s3": 50}
_LARGE = 1 << 20


@pytest.fixture(scope="session")
def server() -> Iterator[S3Server]:
    """The server that the environment names, else SeaweedFS."""
    given = external()
    if given is not None:
        yield given
        return
    with seaweedfs() as started:
        yield started


@pytest.fixture(params=["memory", "posix", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Storage]:
    """A fresh store of each kind."""
    if request.param == "s3":
        opened = request.getfixturevalue("server").open()
    else:
        opened = open_storage("memory://" if request.param == "memory" else f"posix://{tmp_path}")
    with opened:
        yield opened


@pytest.mark.parametrize("workload", WORKLOADS)
def test_workload(benchmark: Any, store: Storage, workload: str) -> None:
    """One operation of the workload."""
    kind = store.url.partition(":")[0]
    size = _LARGE if workload.startswith("multipart") else 1024
    space = Workspace(storage_target(store))
    job = WORKLOADS[workload](Site(space.target, space, workload, size, 1, 100, 0))
    operations: Iterator[Operation] = iter(())
    current: list[Operation] = []

    def setup() -> None:
        nonlocal operations
        operation = next(operations, None)
        if operation is None:  # the first, or all that was set up is used
            job.begin()
            operations = job.operations(0)
            operation = next(operations)
        current[:] = [operation]

    def step() -> Any:
        return current[0].call(*current[0].args)

    try:
        job.prepare()
        benchmark.group = f"{workload} on {kind}"
        result = benchmark.pedantic(step, setup=setup, rounds=_ROUNDS[kind], warmup_rounds=5)
        current[0].check(result)
    finally:
        space.clean()
    assert not list(store.list())
