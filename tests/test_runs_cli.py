"""The commands `runservice`, `executor` and `logs`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fleet import Fleet, until

from objectstorage import open_storage
from objectstorage.cli.__main__ import main
from objectstorage.datamanager import DataManager
from objectstorage.wrappers import PrefixStorage


def test_a_log_is_followed_through_the_death_of_the_service(tmp_path: Path) -> None:
    url = f"posix://{tmp_path}/store"
    with Fleet(url, {}, tmp_path) as fleet:
        service, address = fleet.service()
        executor, name = fleet.executor(address.replace("//", "//me:s3cret@"))
        assert not any("s3cret" in line for line in executor.lines)
        wait = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
        steps = [{"run": f"echo begin; {wait}; echo end"}, {"run": "echo second"}]
        run = fleet.client(address).runs.start({"tasks": {"t": {"steps": steps}}}).value.id
        follower = fleet.start("logs", "-f", run, "t", "--url", address)
        lines = [follower.read() for _ in range(5)]
        assert lines[0] == f"executor {name}, claim 1\n"
        assert lines[4] == "begin\n"
        service.kill()
        service, same = fleet.service("--port", address.rpartition(":")[2])
        assert same == address
        (tmp_path / "go").touch()
        assert [follower.read() for _ in range(3)] == ["end\n", "second\n", ""]
        follower.said(f"task {run}/t: success")
        assert follower.wait() == 0
        one = fleet.start("logs", run, "t", "2", "--url", address)
        assert [one.read(), one.read()] == ["second\n", ""]
        assert one.wait() == 0
        missing = fleet.start("logs", run, "no-such", "--url", address)
        missing.said("task doesn't exist")
        assert missing.wait() == 3
        assert executor.terminate() == 0
        assert service.terminate() == 0
    with open_storage(url) as store:
        assert DataManager(PrefixStorage(store, "state/")).verify().problems == ()


def test_told_to_end_an_executor_hands_back(tmp_path: Path) -> None:
    """At once if it is told twice; the log's follower is told, and follows the next claim's."""
    with Fleet(f"posix://{tmp_path}/store", {}, tmp_path) as fleet:
        secret = {"OBJECTSTORAGE_TOKEN": "secret"}
        _, address = fleet.service(**secret)
        client = fleet.client(address, authorization="Bearer secret")
        # asked before it says a word: what the test does then is for the next claim
        stays = f"stays=yes; [ ! -e {tmp_path}/go ] || stays=no"
        step = {"run": f"{stays}; echo $RUN_TASK; [ $stays = no ] || sleep 1000"}
        run = client.runs.start({"tasks": {"t": {"steps": [step]}}}).value.id
        executor, _ = fleet.executor(address, **secret)
        follower = fleet.start("logs", "-f", run, "t", "1", "--url", address, **secret)
        assert follower.read() == "t\n"
        (tmp_path / "go").touch()
        executor.process.terminate()
        executor.said("told again")
        assert executor.terminate() == 0
        assert until(lambda: client.runs.task(run, "t")).value.status.phase == "pending"
        fleet.executor(address, **secret)
        assert [follower.read() for _ in range(2)] == ["t\n", ""]
        follower.said("begun anew")
        assert follower.wait() == 0


@pytest.mark.parametrize("command", [["runservice"], ["executor"], ["logs", "r", "t"]])
@pytest.mark.parametrize("package", ["httpx", "starlette", "uvicorn"])
def test_without_the_extra_it_says_what_is_missing(
    package: str,
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert main(command) == 2
    assert "pip install 'objectstorage[services]'" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_without_a_token_it_listens_here_only(
    host: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OBJECTSTORAGE_TOKEN", raising=False)
    assert main(["runservice", "--host", host]) == 2
    assert "OBJECTSTORAGE_TOKEN" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["99999", "-1", "http"])
def test_a_port_that_is_none_is_a_usage_error(
    port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runservice", "--port", port]) == 2
    assert "--port" in capsys.readouterr().err
