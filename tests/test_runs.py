"""Run service and executor in one process: what each promises, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fleet import TLS, until
from http_server import running

from objectstorage import aio, errors, open_storage
from objectstorage.client import Client, ExecutorTask, Status
from objectstorage.client.aio import AsyncClient
from objectstorage.datamanager import DataManager, Put
from objectstorage.errors import ErrUnavailable, StorageError
from objectstorage.logs import LogReader, LogWriter
from objectstorage.services.executor import Executor
from objectstorage.services.runservice import RunService, application_of
from objectstorage.services.runservice.guard import Guard
from objectstorage.services.runservice.upkeep import every
from objectstorage.wrappers import PrefixStorage

NEVER = 3600.0


class Kit:
    """Services over one store in this process' memory, and executors in threads."""

    def __init__(self, tmp_path: Path, **options: Any) -> None:
        self.url = f"memory://{uuid.uuid4().hex}"
        self.folder = tmp_path / "work"
        self.folder.mkdir()
        self.options = {"dead_after": NEVER, **options}
        self._tmp = tmp_path
        self._closing: list[Any] = []
        self.http = self._entered(httpx.Client(verify=TLS, timeout=60))
        self.store = self._entered(open_storage(self.url))
        self.address = self.serve()
        self.client = Client(self.address, self.http)

    def _entered(self, context: Any) -> Any:
        self._closing.append(context)
        return context.__enter__()

    def serve(self, token: str | None = None) -> str:
        index = self._tmp / f"index-{uuid.uuid4().hex}"
        service = RunService(aio.open_storage(self.url), index, **self.options)
        return self._entered(running(application_of(service, token)))

    def executor(self, address: str | None = None, **options: Any) -> Work:
        work = Work(self, address or self.address, options)
        self._closing.append(work)
        return work

    def start(self, *steps: Any, **fields: Any) -> str:
        """A run of one task `t`; its id."""
        task = {"steps": [{"run": step} if isinstance(step, str) else step for step in steps]}
        configuration = {"tasks": {"t": task | fields.pop("task", {})}, **fields}
        return self.client.runs.start(configuration).value.id

    def task(self, run: str, task: str = "t") -> ExecutorTask:
        return self.client.runs.task(run, task).value

    def final(self, run: str, task: str = "t") -> ExecutorTask:
        def look() -> ExecutorTask | None:
            found = self.task(run, task)
            return found if found.status.final else None

        found = until(look)
        assert found is not None
        return found

    def log(self, task: ExecutorTask, step: str | int = 1) -> bytes:
        return LogReader(PrefixStorage(self.store, "logs/"), task.spec.log(step)).read()

    def close(self) -> None:
        for context in reversed(self._closing):
            context.__exit__(None, None, None)


class Work:
    """An executor on an event loop in a thread."""

    def __init__(self, kit: Kit, address: str, options: dict[str, Any]) -> None:
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.executor: Executor
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(kit, address, options))
        self._thread.start()
        self._ready.wait()

    def _run(self, kit: Kit, address: str, options: dict[str, Any]) -> None:
        async def work() -> None:
            store = aio.open_storage(kit.url)
            async with httpx.AsyncClient(verify=TLS, timeout=60) as http:
                client = AsyncClient(address, http)
                options.setdefault("poll", 0.05)
                self.executor = Executor(store, client, str(kit.folder), **options)
                self._ready.set()
                await self.executor.run()

        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(work())
            except StorageError as exc:
                self.error = exc

    def tell(self, name: str) -> None:
        try:
            self._loop.call_soon_threadsafe(getattr(self.executor, name))
        except RuntimeError:
            pass  # it has ended

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()

    def __exit__(self, *exc: object) -> None:
        self.tell("hand_back")
        self.join()


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path)
    yield kit
    kit.close()


@pytest.fixture
def by_hand(kit: Kit) -> Any:
    """A client that plays the executor `hand`."""
    kit.client.executors.heartbeat("hand")
    return kit.client.executors


# -- what steps are ----------------------------------------------------------


def test_steps_run_one_after_the_other_until_one_fails(kit: Kit) -> None:
    kit.executor()
    run = kit.start("echo one; echo err >&2", "exit 3", "echo never")
    task = kit.final(run)
    assert (task.status.phase, task.status.error) == ("failed", "step 2: exit code 3")
    assert [step.phase for step in task.status.steps] == ["success", "failed", "pending"]
    assert task.status.steps[1].exit_code == 3
    assert kit.log(task, 1) == b"one\nerr\n"
    assert b"claim 1\n" in kit.log(task, "setup")
    assert LogReader(PrefixStorage(kit.store, "logs/"), task.spec.log(2)).stat().status == (
        "failed: exit code 3"
    )
    with pytest.raises(errors.ErrNotExist):
        kit.log(task, 3)
    assert kit.client.runs.get(run).value.phase == "failed"
    assert list(kit.folder.iterdir()) == []


def test_a_steps_environment_is_the_configurations(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the executor's own")
    kit.executor()
    step = {"run": ["env"], "environment": {"C": "step", "EMPTY": ""}}
    environment = dict.fromkeys("ABC", "run")
    task = {"environment": dict.fromkeys("BC", "task")}
    run = kit.start(step, environment=environment, task=task)
    lines = kit.log(kit.final(run)).decode().splitlines()
    found = dict(line.split("=", 1) for line in lines)
    assert (found["A"], found["B"], found["C"], found["EMPTY"]) == ("run", "task", "step", "")
    assert (found["RUN_ID"], found["RUN_TASK"]) == (run, "t")
    known = {"A", "B", "C", "EMPTY", "RUN_ID", "RUN_TASK", "HOME", "LANG", "PATH", "PWD"}
    assert set(found) - known <= {"OLDPWD", "SHLVL", "_"}


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_a_step_that_takes_too_long_goes_with_all_it_started(kit: Kit, tmp_path: Path) -> None:
    kit.executor()
    # the child ignores the first signal, and only its group tells whose it is
    stubborn = f"(trap '' TERM; echo $$; while :; do sleep 1; done) & echo $! > {tmp_path}/pid; "
    run = kit.start({"run": stubborn + "echo begun; wait", "timeout": 0.5}, "echo never")
    task = kit.final(run)
    assert task.status.phase == "failed"
    assert task.status.error == "step 1: took longer than 0.5 seconds"
    assert b"begun\n" in kit.log(task)
    pid = int((tmp_path / "pid").read_text())
    until(lambda: not alive(pid))


def test_what_a_step_leaves_behind_ends_with_it(kit: Kit, tmp_path: Path) -> None:
    """And does not keep the task from ending, though it holds the output open."""
    kit.executor()
    run = kit.start(f"sleep 1000 & echo $! > {tmp_path}/pid; echo done")
    task = kit.final(run)
    assert (task.status.phase, kit.log(task)) == ("success", b"done\n")
    until(lambda: not alive(int((tmp_path / "pid").read_text())))


def test_the_tasks_time_is_for_all_steps(kit: Kit) -> None:
    kit.executor()
    run = kit.start("sleep 0.3", "sleep 1000", task={"timeout": 0.6})
    status = kit.final(run).status
    assert [step.phase for step in status.steps] == ["success", "failed"]
    assert "took longer than" in status.error


def test_a_long_log_is_whole(kit: Kit) -> None:
    kit.executor()
    run = kit.start("head -c 3000000 /dev/zero | tr '\\0' x")
    task = kit.final(run)
    assert kit.log(task) == b"x" * 3_000_000
    assert kit.client.logs.stat(task.spec.log(1)).value.archived


def test_a_command_that_is_not_there(kit: Kit) -> None:
    kit.executor()
    task = kit.final(kit.start({"run": ["no-such-command"]}))
    assert task.status.phase == "failed"
    assert b"no-such-command" in kit.log(task)


# -- caches ------------------------------------------------------------------


def test_caches_are_shared_within_a_group(kit: Kit) -> None:
    kit.executor()
    save = ("mkdir -p d/e; echo 1 > d/e/f; ln -s /bin/sh d/l", {"save_cache": "k-1", "path": "d"})
    assert kit.final(kit.start(*save, project="p")).status.phase == "success"
    again = kit.final(kit.start(*save, project="p"))
    assert kit.log(again, 2) == b"cache k-1 is there already\n"
    restore = ({"restore_cache": ["k-2", "k-"]}, "cat d/e/f; readlink d/l")
    same = kit.final(kit.start(*restore, project="p"))
    assert kit.log(same, 1) == b"cache k-1 restored\n"
    assert kit.log(same, 2) == b"1\n/bin/sh\n"
    for fields in ({"project": "q"}, {"user": "p"}):
        other = kit.final(kit.start(*restore, **fields))
        assert kit.log(other, 1) == b"there is no such cache\n"
    shared = kit.final(kit.start(*restore, project="q", cache_group="project/p"))
    assert shared.status.phase == "success"


def test_a_path_that_is_not_there_is_a_failure(kit: Kit) -> None:
    kit.executor()
    task = kit.final(kit.start({"save_cache": "k", "path": "no-such"}))
    assert task.status.phase == "failed"
    assert b"no-such" in kit.log(task)


def test_what_nobody_foresaw_fails_the_task(kit: Kit) -> None:
    """Never reported, it would be given to the executor for ever."""
    run = kit.start("true")
    odd = {"tasks": {"t": {"steps": [{"run": ["echo", 1]}]}}}
    kit.store.put(f"configurations/{run}.json", json.dumps(odd).encode())
    kit.executor()
    task = kit.final(run)
    assert (task.status.phase, task.spec.claim) == ("failed", 1)
    assert task.status.error == "internal error of the executor"


# -- claims and their fences -------------------------------------------------


def test_a_task_taken_and_given_again_while_it_still_runs(kit: Kit, tmp_path: Path) -> None:
    """The end of the former claim does not make the executor forget the later one."""
    waits = "until [ -e {0}/{1} ]; do sleep 0.02; done"
    one, two = waits.format(tmp_path, "one"), waits.format(tmp_path, "two")
    run = kit.start(
        f"if mkdir {tmp_path}/first; then {one}; else touch {tmp_path}/second; {two}; fi"
    )
    kit.executor(slots=2)
    until((tmp_path / "first").exists)
    kit.client.executors.hand_back(kit.task(run).spec)  # as if it had been taken for dead
    until((tmp_path / "second").exists)
    (tmp_path / "one").touch()
    kit.final(kit.start("true"))  # in the place of the former claim
    (tmp_path / "two").touch()
    task = kit.final(run)
    assert (task.status.phase, task.spec.claim) == ("success", 2)


def test_a_claim_is_fenced(kit: Kit, by_hand: Any) -> None:
    kit.start("true", cache_group="g", environment={"A": "1"})
    (task,) = by_hand.claim("hand", 10).value
    assert (task.spec.executor, task.spec.claim, task.status.phase) == ("hand", 1, "running")
    assert task.spec_data.cache_group == "g"
    assert task.spec_data.environment["A"] == "1"
    assert task.spec_data.steps == ({"run": "true"},)
    handed = by_hand.hand_back(task.spec).value
    assert (handed.spec.executor, handed.status.phase) == ("", "pending")
    with pytest.raises(StorageError) as caught:
        by_hand.report(task.spec, Status("success"))
    assert errors.is_err_concurrency(caught.value)
    assert caught.value.message == "task is another claim's"
    (again,) = by_hand.claim("hand", 10).value
    assert again.spec.claim == 2
    with pytest.raises(StorageError) as caught:  # of the same executor, but of the former claim
        by_hand.report(task.spec, Status("success"))
    assert errors.is_err_concurrency(caught.value)
    assert by_hand.report(again.spec, Status("success")).value.status.phase == "success"


def test_a_task_finishes_once(kit: Kit, by_hand: Any) -> None:
    run = kit.start("true")
    (task,) = by_hand.claim("hand", 1).value
    by_hand.report(task.spec, Status("failed", "why"))
    by_hand.report(task.spec, Status("failed", "why"))  # its reply was lost
    for change in (
        lambda: by_hand.report(task.spec, Status("success")),
        lambda: by_hand.hand_back(task.spec),
    ):
        with pytest.raises(StorageError) as caught:
            change()
        assert errors.is_err_concurrency(caught.value)
    assert kit.client.runs.cancel(run).value.tasks == {"failed": 1}


def test_a_claim_whose_reply_was_lost_is_given_again(kit: Kit, by_hand: Any) -> None:
    kit.start("true")
    (task,) = by_hand.claim("hand", 1).value
    assert by_hand.claim("hand", 1).value == [task]
    assert by_hand.claim("hand", 1, holding=[task.spec.id]).value == []
    assert by_hand.heartbeat("hand").value.tasks == (task.spec,)


def test_a_claim_of_large_tasks_comes_in_several_replies(kit: Kit, by_hand: Any) -> None:
    large = {"steps": [{"run": "true"}], "environment": {"A": "x" * 900_000}}
    for _ in range(3):
        kit.client.runs.start({"tasks": {f"t{i}": large for i in range(4)}})
    holding: list[str] = []
    replies = []
    while tasks := by_hand.claim("hand", 100, holding=holding).value:
        replies.append(len(tasks))
        holding += [task.spec.id for task in tasks]
        assert all(len(task.spec_data.environment["A"]) == 900_000 for task in tasks)
    assert replies == [9, 3]
    assert len(set(holding)) == 12


def test_many_claim_at_once_from_two_services(kit: Kit) -> None:
    steps = {"steps": [{"run": "true"}]}
    kit.client.runs.start({"tasks": {f"t{i}": steps for i in range(60)}})
    addresses = [kit.address, kit.serve()]
    found: list[tuple[str, int]] = []

    def work(number: int) -> None:
        name = f"e{number}"
        executors = Client(addresses[number % 2], kit.http).executors
        executors.heartbeat(name)
        held: set[str] = set()
        while tasks := executors.claim(name, 3, held).value:
            held |= {task.spec.id for task in tasks}
            found.extend((task.spec.id, task.spec.claim) for task in tasks)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # some may give up where others are faster; nothing is ever given twice
    kit.client.executors.heartbeat("last")
    rest = kit.client.executors.claim("last", 100).value
    found += [(task.spec.id, task.spec.claim) for task in rest]
    assert len(found) == 60
    assert len(set(found)) == 60
    assert {claim for _, claim in found} == {1}


# -- what goes wrong ---------------------------------------------------------


def test_a_dead_executors_task_is_taken_over(tmp_path: Path) -> None:
    kit = Kit(tmp_path, dead_after=2.5)
    try:
        run = kit.start("echo alive")
        kit.client.executors.heartbeat("dead")
        (task,) = kit.client.executors.claim("dead", 1).value
        log = LogWriter(PrefixStorage(kit.store, "logs/"), task.spec.log("setup"))
        log.open()
        kit.executor()
        final = kit.final(run)
        assert (final.spec.claim, final.spec.lost, final.status.phase) == (2, 1, "success")
        assert kit.log(final) == b"alive\n"
        with pytest.raises(StorageError) as caught:
            kit.client.executors.report(task.spec, Status("success"))
        assert errors.is_err_concurrency(caught.value)
        # its followers come to an end, and it can't write any more
        assert kit.client.logs.stat(log.name).value.status == "executor lost"
        with pytest.raises(errors.ErrConcurrency):
            log.write(b"late")
            log.flush()
        log.abandon()
    finally:
        kit.close()


def test_a_task_that_executors_die_of_fails(tmp_path: Path) -> None:
    kit = Kit(tmp_path, dead_after=0.2)
    try:
        run = kit.start("true")

        def claim() -> bool:
            name = uuid.uuid4().hex  # that is never heard of again
            kit.client.executors.heartbeat(name)
            kit.client.executors.claim(name, 1)
            return kit.task(run).status.final

        until(claim)
        task = kit.task(run)
        assert (task.status.phase, task.status.error) == ("failed", "3 executors died on it")
    finally:
        kit.close()


def test_an_executor_taken_for_dead_stops(tmp_path: Path) -> None:
    """Its heartbeat tells it, and it says nothing more of the task."""
    kit = Kit(tmp_path, dead_after=2.0)
    try:
        kit.executor(name="slow")
        run = kit.start(f"echo $$ > {tmp_path}/pid; exec sleep 1000")
        pid = until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        task = kit.task(run)
        kit.client.executors.hand_back(task.spec)  # as if another service had taken it
        kit.client.runs.cancel(run)
        until(lambda: not alive(int(pid)))
        assert kit.final(run).status.phase == "cancelled"
    finally:
        kit.close()


def test_cancelling(tmp_path: Path) -> None:
    kit = Kit(tmp_path, dead_after=3.0)
    try:
        kit.executor(slots=1)
        steps = [{"run": "echo begun; sleep 1000"}, {"run": "echo never"}]
        tasks = {"a": {"steps": steps}, "b": {"steps": steps}}
        run = kit.client.runs.start({"tasks": tasks}).value.id
        until(lambda: kit.task(run, "a").status.steps)
        kit.client.runs.cancel(run)
        assert kit.task(run, "b").status.phase == "cancelled"  # nobody ran it
        task = kit.final(run, "a")
        assert [step.phase for step in task.status.steps] == ["cancelled", "pending"]
        assert kit.client.runs.get(run).value.phase == "cancelled"
    finally:
        kit.close()


def test_deleting(kit: Kit) -> None:
    run = kit.start("echo hello", environment={"A": "1"})
    kept = kit.start("echo hello")
    with pytest.raises(StorageError) as caught:
        kit.client.runs.delete(run)
    assert errors.is_err_conflict(caught.value)
    kit.executor()
    task = kit.final(run)
    kit.final(kept)
    assert kit.client.runs.delete(run).value is None
    for call in (
        lambda: kit.client.runs.get(run),
        lambda: kit.client.runs.task(run, "t"),
        lambda: kit.client.runs.delete(run),
        lambda: kit.client.logs.stat(task.spec.log(1)),
    ):
        with pytest.raises(StorageError) as caught:
            call()
        assert errors.is_err_not_exist(caught.value)
    rest = [info.key for info in kit.store.list() if not info.key.startswith("state/")]
    assert not [key for key in rest if run in key]
    assert [run.id for run in kit.client.runs.list()] == [kept]
    assert kit.log(kit.task(kept)) == b"hello\n"
    assert DataManager(PrefixStorage(kit.store, "state/")).verify().problems == ()


def test_handing_back(kit: Kit, tmp_path: Path) -> None:
    first = kit.executor(name="first")
    run = kit.start(f"echo $RUN_TASK; [ -e {tmp_path}/go ] || sleep 1000")
    until(lambda: kit.task(run).spec.executor)
    first.tell("hand_back")
    first.join()
    assert kit.task(run).status.phase == "pending"
    (tmp_path / "go").touch()
    kit.executor(name="second")
    task = kit.final(run)
    assert (task.spec.executor, task.spec.claim, task.spec.lost) == ("second", 2, 0)
    assert kit.log(task) == b"t\n"


def test_draining_lets_what_runs_end(kit: Kit, tmp_path: Path) -> None:
    work = kit.executor()
    run = kit.start(f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done")
    until(lambda: kit.task(run).spec.executor)
    work.tell("drain")
    (tmp_path / "go").touch()
    work.join()
    assert kit.task(run).status.phase == "success"


def test_another_stores_executor_is_refused(kit: Kit) -> None:
    other = Kit.__new__(Kit)
    other.url, other.folder = f"memory://{uuid.uuid4().hex}", kit.folder
    work = Work(other, kit.address, {})
    work.join()
    assert isinstance(work.error, errors.ErrBadRequest)
    assert "another store" in str(work.error)


def test_services_restart_with_an_index_of_before(tmp_path: Path) -> None:
    url, index = f"memory://{uuid.uuid4().hex}", tmp_path / "index"

    async def start() -> str:
        async with RunService(aio.open_storage(url), index) as service:
            return (await service.start({"tasks": {"t": {"steps": [{"run": "true"}]}}})).id

    async def look() -> list[str]:
        async with RunService(aio.open_storage(url), index) as service:
            return [run.id for run in (await service.runs(None, None, 10)).items]

    first, second = asyncio.run(start()), asyncio.run(start())
    assert sorted(asyncio.run(look())) == sorted([first, second])


# -- HTTP --------------------------------------------------------------------


def test_pages(kit: Kit) -> None:
    tasks = {f"t{i}": {"steps": [{"run": "true"}]} for i in range(5)}
    runs = [
        kit.client.runs.start({"name": f"n{i}", "project": f"p{i % 2}", "tasks": tasks}).value.id
        for i in range(5)
    ]
    page = kit.client.runs.page(limit=2).value
    assert [run.id for run in page.items] == sorted(runs)[:-3:-1]
    rest = kit.client.runs.page(token=page.token).value
    assert [run.id for run in rest.items] == sorted(runs)[2::-1]
    assert rest.token is None
    assert {run.name for run in kit.client.runs.list("p1")} == {"n1", "n3"}
    found = kit.client.runs.tasks_page(runs[0], limit=3).value
    assert [task.spec.task for task in found.items] == ["t0", "t1", "t2"]
    more = kit.client.runs.tasks_page(runs[0], token=found.token).value
    assert [task.spec.task for task in more.items] == ["t3", "t4"]
    assert more.token is None
    assert found.items[0].spec_data is None


STEP: dict[str, Any] = {"run": "true"}


@pytest.mark.parametrize(
    ("field", "configuration"),
    [
        ("configuration", []),
        ("tasks", {}),
        ("tasks", {"tasks": {}}),
        ("tasks", {"tasks": {"a/b": {"steps": [STEP]}}}),
        ("tasks.t.steps", {"tasks": {"t": {"steps": []}}}),
        ("tasks.t.steps[0]", {"tasks": {"t": {"steps": [{}]}}}),
        ("tasks.t.steps[1].run", {"tasks": {"t": {"steps": [STEP, {"run": ""}]}}}),
        ("tasks.t.steps[0].run", {"tasks": {"t": {"steps": [{"run": "a\0b"}]}}}),
        ("tasks.t.steps[0].path", {"tasks": {"t": {"steps": [{"save_cache": "k"}]}}}),
        (
            "tasks.t.steps[0].path",
            {"tasks": {"t": {"steps": [{"save_cache": "k", "path": "a/../../b"}]}}},
        ),
        ("tasks.t.steps[0].timeout", {"tasks": {"t": {"steps": [STEP | {"timeout": 0}]}}}),
        ("tasks.t.timeout", {"tasks": {"t": {"steps": [STEP], "timeout": 10**400}}}),
        ("tasks.t.wrong", {"tasks": {"t": {"steps": [STEP], "wrong": 1}}}),
        ("environment", {"environment": {"A=B": ""}, "tasks": {"t": {"steps": [STEP]}}}),
        ("user", {"user": "u", "project": "p", "tasks": {"t": {"steps": [STEP]}}}),
    ],
)
def test_a_configuration_that_is_none(kit: Kit, field: str, configuration: Any) -> None:
    with pytest.raises(StorageError) as caught:
        kit.client.runs.start(configuration)
    assert errors.is_err_bad_request(caught.value)
    assert caught.value.details["field"] == field
    assert kit.client.runs.page().value.items == []


SURROGATE = {"run": "echo \ud800"}


@pytest.mark.parametrize(
    "configuration",
    [
        {"name": "\ud800", "tasks": {"t": {"steps": [STEP]}}},
        {"tasks": {"t": {"steps": [SURROGATE]}}},
        {"environment": {"A": "\ud800"}, "tasks": {"t": {"steps": [STEP]}}},
    ],
)
def test_text_that_no_reply_could_say(kit: Kit, configuration: Any) -> None:
    reply = kit.http.post(
        kit.address + "/runs",
        content=json.dumps(configuration),
        headers={"content-type": "application/json"},
    )
    assert reply.status_code == 400
    assert kit.client.runs.page().value.items == []


@pytest.mark.parametrize(
    ("client", "served"),
    [
        (("127.0.0.1", 1), True),
        (("::ffff:127.0.0.1", 1), True),
        (None, True),
        (("203.0.113.9", 1), False),
        (("odd", 1), False),
    ],
)
def test_without_a_token_nobody_from_elsewhere(client: Any, served: bool) -> None:
    """Whatever the Host says, and wherever it listens."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append("served")

    async def send(message: Any) -> None:
        seen.append(message.get("status"))

    scope = {"type": "http", "headers": [(b"host", b"localhost")], "client": client}
    asyncio.run(Guard(app, None)(scope, None, send))  # type: ignore[arg-type]
    assert seen[0] == ("served" if served else 403)


def test_upkeep_goes_on_whatever_is_raised() -> None:
    class Enough(BaseException):
        pass

    raised = iter([RuntimeError("unforeseen"), Enough()])

    async def do() -> None:
        raise next(raised)

    with pytest.raises(Enough):
        asyncio.run(every(0, do))


def test_a_reply_that_cannot_be_decoded() -> None:
    """As a broken proxy sends it; an executor's heartbeats go on after it."""
    transport = httpx.MockTransport(
        lambda request: httpx.Response(
            200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip")
        )
    )
    http = httpx.Client(transport=transport, verify=TLS)
    with http, pytest.raises(ErrUnavailable, match="DecodingError"):
        Client("http://service", http).executors.heartbeat("e")


def test_what_is_not_there(kit: Kit) -> None:
    run = kit.start("true")
    for call in (
        lambda: kit.client.runs.get("none"),
        lambda: kit.client.runs.cancel("none"),
        lambda: kit.client.runs.tasks_page("none"),
        lambda: kit.client.runs.task(run, "none"),
    ):
        with pytest.raises(StorageError) as caught:
            call()
        assert errors.is_err_not_exist(caught.value)


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/runs", {"content-type": "text/plain"}, b"{}", 400),
        ("/runs", {"content-type": "application/json"}, b"{", 400),
        ("/runs", {"content-type": "application/json"}, b" " * 5_000_000, 400),
        ("/runs", {"content-type": "application/json", "host": "evil.example"}, b"{}", 403),
        ("/executors/e/claim", {"content-type": "application/json"}, b'{"most": 1}', 400),
        ("/executors/e/claim", {"content-type": "application/json"}, b"[]", 400),
        (
            "/executors/e/claim",
            {"content-type": "application/json"},
            b'{"most": 0, "holding": []}',
            400,
        ),
        (
            "/executors/e/claim",
            {"content-type": "application/json"},
            b'{"most": 1e999, "holding": []}',
            400,
        ),
        (
            "/executors/e/report",
            {"content-type": "application/json"},
            b'{"task": "a/b", "claim": 1, "status": {"phase": "odd"}}',
            400,
        ),
        (
            "/executors/e/report",
            {"content-type": "application/json"},
            json.dumps(
                {"task": "a/b", "claim": 1, "status": Status("failed", "x" * 1001).fields()}
            ).encode(),
            400,
        ),
    ],
)
def test_bad_requests(
    kit: Kit, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    reply = kit.http.post(kit.address + path, headers=headers, content=body)
    assert reply.status_code == status
    assert set(reply.json()) == {"code", "message", "details"}


def test_a_token(kit: Kit) -> None:
    address = kit.serve(token="secret")
    with pytest.raises(StorageError) as caught:
        Client(address, kit.http).runs.page()
    assert errors.is_err_unauthorized(caught.value)
    headers = {"authorization": "Bearer secret", "host": "ci.example"}
    assert Client(address, kit.http, headers=headers).runs.page().value.items == []


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    data = DataManager(PrefixStorage(open_storage(url), "state/"))
    data.write([Put("service", "format", json.dumps({"format": 2}).encode())])

    async def enter() -> None:
        async with RunService(aio.open_storage(url), tmp_path / "index"):
            pass

    with pytest.raises(errors.ErrUnsupported, match="format 2"):
        asyncio.run(enter())


def test_forty_tasks_in_memory_with_an_executor_lost(tmp_path: Path) -> None:
    """As end to end on files and S3, where one process holds it all."""
    kit = Kit(tmp_path, dead_after=5.0)
    try:
        tasks = {f"t{i:02}": {"steps": [{"run": f"seq {i} 50"}]} for i in range(40)}
        run = kit.client.runs.start({"tasks": tasks}).value.id
        kit.client.executors.heartbeat("dead")
        assert len(kit.client.executors.claim("dead", 5).value) == 5
        for _ in range(2):
            kit.executor(kit.serve(), slots=4)
        until(lambda: kit.client.runs.get(run).value.phase == "success")
        for number, task in enumerate(kit.client.runs.tasks(run)):
            expected = "".join(f"{i}\n" for i in range(number, 51))
            assert kit.log(task) == expected.encode()
            assert task.spec.lost >= (number < 5)
        assert DataManager(PrefixStorage(kit.store, "state/")).verify().problems == ()
    finally:
        kit.close()
        assert os.listdir(kit.folder) == []
