"""Runs from end to end: services and executors as processes, two of them killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from both_faces import fresh_place
from fleet import Fleet, until

from objectstorage import open_storage
from objectstorage.client import ExecutorTask
from objectstorage.datamanager import DataManager, Put
from objectstorage.errors import ErrNotExist
from objectstorage.logs import LogReader
from objectstorage.storage import Storage
from objectstorage.wrappers import PrefixStorage

TASKS = 200
LINES = 100
CONFIGURATION = {
    "project": "shop",
    "cache_group": "some-cache-group",
    "environment": {"MARK": "some-environment"},
    "tasks": {
        f"t{i:03}": {
            "steps": [
                {
                    "run": f"echo $RUN_TASK begins; sometimes-stays {i}; "
                    f"i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo $MARK $i; done"
                }
            ]
        }
        for i in range(TASKS)
    },
}


def expected_log(task: ExecutorTask) -> bytes:
    lines = [f"{task.spec.task} begins", *(f"some-environment {i + 1}" for i in range(LINES))]
    return "".join(line + "\n" for line in lines).encode()


@pytest.fixture
def path_of(tmp_path: Path) -> Iterator[Any]:
    """A search path on which `sometimes-stays` stays for ever with every n-th task; pids kept."""
    pids = tmp_path / "pids"
    pids.mkdir()

    def make(name: str, every: int) -> str:
        folder = tmp_path / name
        folder.mkdir()
        script = folder / "sometimes-stays"
        stays = f'[ $(($1 % {every})) -ne 0 ] || {{ echo > "{pids}/$$"; sleep 1000; }}'
        script.write_text(f"#!/bin/sh\n{stays if every else ':'}\n")
        script.chmod(0o755)
        return f"{folder}:{os.environ['PATH']}"

    yield make
    for pid in pids.iterdir():
        until(lambda pid=pid: not running(int(pid.name)))  # with its executor
    assert list(pids.iterdir())


def running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
    return "sometimes-stays" in status and "State:\tZ" not in status


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["posix", "s3-seaweedfs"])
def test_two_of_three_executors_are_killed(
    kind: str, tmp_path: Path, path_of: Any, request: pytest.FixtureRequest
) -> None:
    url, options = fresh_place(kind, request)
    with open_storage(url, **options) as store, Fleet(url, options, tmp_path) as fleet:
        store.put("warm", b"")  # makes the bucket
        _, first = fleet.service("--dead-after", "8")
        _, second = fleet.service("--dead-after", "8")
        client = fleet.client(first)
        run = client.runs.start(CONFIGURATION).value
        stays, goes = path_of("stays", 7), path_of("goes", 0)
        victims = [fleet.executor(first, "--tasks", "4", PATH=stays) for _ in range(2)]
        fleet.executor(second, "--tasks", "4", PATH=goes)

        def victims_are_busy() -> bool:
            tasks = [task for task in client.runs.tasks(run.id) if not task.status.final]
            busy = {task.spec.executor for task in tasks if task.spec.executor}
            done = TASKS - len(tasks)
            return done >= 40 and busy >= {name for _, name in victims}

        for victim, _ in victims:
            until(victims_are_busy, every=0.3)
            victim.kill()
            victims = victims[1:]
        until(lambda: fleet.client(second).runs.get(run.id).value.phase == "success", every=0.3)
        tasks = list(client.runs.tasks(run.id))
        assert len(tasks) == TASKS
        assert sum(task.spec.lost for task in tasks) >= 2
        check_logs(PrefixStorage(store, "logs/"), tasks)
        check_state(PrefixStorage(store, "state/"), tasks)


def check_logs(logs: Storage, tasks: list[ExecutorTask]) -> None:
    for task in tasks:
        log = LogReader(logs, task.spec.log(1))
        assert log.read() == expected_log(task)
        info = log.stat()
        assert (info.finished, info.status) == (True, "success")
        for claim in range(1, task.spec.claim):
            for step in ("setup", 1):
                lost = LogReader(logs, task.spec._replace(claim=claim).log(step))
                try:
                    assert lost.stat().finished  # so that who follows it comes to an end
                except ErrNotExist:
                    pass  # killed before it began


def check_state(state: Storage, tasks: list[ExecutorTask]) -> None:
    data = DataManager(state)
    assert data.verify().problems == ()
    ends: dict[str, int] = {}
    stored = b""  # all that was ever committed, as the slots' own encoding has it
    for commit in data.watch(after=0, follow=False):
        for action in commit.actions:
            assert isinstance(action, Put)
            stored += action.data
            if action.type == "executortask":
                assert action.id not in ends, "changed after it had finished"
                task = ExecutorTask.parse(json.loads(action.data))
                if task.status.final:
                    ends[action.id] = commit.seq
    assert sorted(ends) == sorted(task.spec.id for task in tasks)
    assert b'"spec"' in stored
    for spec_data in (b"some-environment", b"some-cache-group", b"sometimes-stays", b"echo"):
        assert spec_data not in stored
