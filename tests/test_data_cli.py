"""`objectstorage data`, as a process of its own: what goes in and out, and the exit codes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from objectstorage import open_storage
from objectstorage.cli.__main__ import main
from objectstorage.datamanager import DataManager, Delete, Put
from objectstorage.wrappers import PrefixStorage

COMMAND = [sys.executable, "-m", "objectstorage", "data"]


class Result(NamedTuple):
    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.decode().splitlines()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Result]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if "OBJECTSTORAGE" not in name}
    return env | {
        "XDG_CONFIG_HOME": str(tmp_path / "no-config"),
        "OBJECTSTORAGE_URL": f"posix://{tmp_path}/store",
        "PYTHONWARNINGS": "error",
    }


@pytest.fixture
def process(env: dict[str, str]) -> Run:
    """Run a command in a process."""

    def run(*argv: Any, stdin: bytes = b"") -> Result:
        done = subprocess.run(
            [*COMMAND, *map(str, argv)],
            input=stdin,
            env=env,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr.decode())

    return run


@pytest.fixture
def run(
    env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> Run:
    """Run a command in this process, which takes a tenth of the time."""
    for name in [name for name in os.environ if "OBJECTSTORAGE" in name]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", env["XDG_CONFIG_HOME"])

    def run(*argv: Any, stdin: bytes = b"", store: str = env["OBJECTSTORAGE_URL"]) -> Result:
        monkeypatch.setenv("OBJECTSTORAGE_URL", store)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(["data", *map(str, argv)])
        captured = capsysbinary.readouterr()
        return Result(code, captured.out, captured.err.decode())

    return run


@pytest.fixture
def data(tmp_path: Path) -> DataManager:
    """What the commands work on, from this process."""
    return DataManager(open_storage(f"posix://{tmp_path}/store"))


def test_an_entrys_life(run: Run, data: DataManager, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"\x00from a file\xff")
    for argv, stdin in (
        (("put", "t", "a-b"), b"from a pipe"),
        (("put", "t", "a/b", tmp_path / "in", "--group", "g", "--group", "h"), b""),
    ):
        result = run(*argv, stdin=stdin)
        assert (result.code, result.out) == (0, b"")
        assert result.err.startswith("commit ")
    assert [c.groups for c in data.watch(after=0, follow=False)] == [(), ("g", "h")]
    assert run("ls").lines == ["t"]
    assert run("ls", "t").lines == ["a-b", "a/b"]
    assert run("ls", "t", "-0", "--prefix", "a", "--start-after", "a-b").out == b"a/b\0"
    assert [line.split() for line in run("ls", "-l", "t").lines] == [
        ["11", "1", "a-b"],
        ["13", "2", "a/b"],
    ]
    assert [
        (r["type"], r["id"], r["size"], r["seq"]) for r in run("ls", "t", "--json").records
    ] == [
        ("t", "a-b", 11, 1),
        ("t", "a/b", 13, 2),
    ]
    assert run("get", "t", "a/b").out == b"\x00from a file\xff"
    (tmp_path / "link").symlink_to("out")
    assert run("get", "t", "a-b", tmp_path / "link").out == b""
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "out").read_bytes() == b"from a pipe"
    assert run("rm", "-n", "t", "a-b").lines == ["a-b"]
    assert run("rm", "t", "a-b", "a/b", "--json").records[0]["seq"] == 3
    assert run("ls").lines == []


def test_what_fails_says_so_by_its_exit_code(run: Run, data: DataManager) -> None:
    data.write([Put("t", "a", b"1")], groups=["g"])
    data.write([Put("t", "a", b"2")], groups=["g"])
    assert run("get", "t", "b").code == 3
    assert run("rm", "t", "a", "b").code == 3
    assert data.read("t", "a").data == b"2"  # all or none
    assert run("rm", "t", "b", "--missing-ok").code == 0
    lost = run("put", "t", "a", "--group", "g", "--token", "1", stdin=b"3")
    assert lost.code == 6
    assert "commit 2 changed 'g' first" in lost.err
    assert run("put", "t", "a", "--token", "-1").code == 2
    assert run("put", "t" * 81, "a").code == 2
    assert run("ls", "--prefix", "a").code == 2
    assert run("maintenance", "maybe").code == 2
    assert run("nothing").code == 2
    assert run("checkpoint", store="memory://").code == 3


def test_status_and_history(run: Run, data: DataManager) -> None:
    before = run("status")
    assert before.code == 0
    assert "nothing was ever written" in before.out.decode()
    data.write([Put("t", "a", b"1"), Put("t", "b", b"1"), Delete("t", "c")], groups=["g"])
    assert "checkpoint   none yet" in run("status").lines
    assert "checkpoint 1 of sequence 1: 2 entries" in run("checkpoint").err
    data.fence()
    (record,) = run("status", "--json").records
    assert (record["seq"], record["epoch"], record["boundary"]) == (2, 1, 0)
    assert record["checkpoint"]["entries"] == 2
    assert record["store_id"] == data.store_id()
    assert "checkpoint   1, of sequence 1" in run("status").lines
    first, *actions, second = run("history", "-v").lines
    assert first.split()[0::2] == ["1", "+2", "g"]
    assert [line.split() for line in actions] == [["+", "t", "a"], ["+", "t", "b"], ["-", "t", "c"]]
    assert second.split()[0::2] == ["2", "fence"]
    records = run("history", "--json", "--after", "1").records
    assert [(r["seq"], r["kind"], r["actions"]) for r in records] == [(2, "fence", [])]


def test_history_that_is_followed_ends_when_it_is_told_to(
    env: dict[str, str], data: DataManager
) -> None:
    data.write([Put("t", "a", b"1")])
    command = [*COMMAND, "history", "--follow", "--json"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["seq"] == 1
        data.write([Put("t", "a", b"2")])
        assert json.loads(process.stdout.readline())["seq"] == 2
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_a_copy_by_export_and_import(run: Run, data: DataManager, tmp_path: Path) -> None:
    entries = [("t", f"{n:03}", os.urandom(50)) for n in range(300)] + [("u", "\U0001f600", b"")]
    data.write([Put(*entry) for entry in entries])
    exported = run("export").out
    assert run("export", tmp_path / "all").out == b""
    assert (tmp_path / "all").read_bytes() == exported
    other = f"posix://{tmp_path}/other"
    dry = run("import", "-n", tmp_path / "all", store=other)
    assert dry.lines == ["would import 301 entries"]
    assert run("ls", store=other).lines == []
    assert run("verify", store=other).code == 0
    assert run("import", stdin=exported[:-10], store=other).code == 2
    assert run("ls", store=other).lines == []
    assert run("import", stdin=exported, store=other).code == 0
    copy = DataManager(open_storage(other))
    assert [e[:3] for t in copy.types() for e in copy.list(t)] == entries
    refused = run("import", stdin=exported, store=other)
    assert refused.code == 7
    assert "--replace" in refused.err
    copy.write([Put("t", "more", b"")])
    assert run("import", "--replace", "-", stdin=exported, store=other).code == 0
    assert len(list(copy.list("t"))) == 300
    kinds = [r["kind"] for r in run("history", "--json", store=other).records]
    assert kinds == ["import", "write", "import"]
    assert run("verify", store=other).code == 0


def test_what_is_superfluous_goes(run: Run, data: DataManager, tmp_path: Path) -> None:
    for number in range(5):
        data.write([Put("t", "a", b"%d" % number)])
    run("checkpoint")
    data.write([Delete("t", "a")])
    run("checkpoint")
    (dry,) = run("gc", "--min-age", "0", "--dry-run", "--json").records
    assert dry["dry_run"]
    assert dry["slots"] > 0
    assert run("gc", "-n", "--min-age", "0").lines[0].startswith("would delete")
    assert len(list((tmp_path / "store" / "wal").iterdir())) == 6
    assert run("gc").code == 0  # too young
    assert len(list((tmp_path / "store" / "wal").iterdir())) == 6
    (done,) = run("gc", "--min-age", "0", "--json").records
    assert done["slots"] == dry["slots"]
    assert run("gc", "--min-age", "0").err.startswith("deleted 0 commits")
    assert run("ls", "t").lines == []
    result = run("verify")
    assert result.code == 0, result.out
    assert run("history", "--after", "1").code == 1
    assert run("history").code == 0


def test_what_is_torn_is_named(run: Run, data: DataManager, tmp_path: Path) -> None:
    data.write([Put("t", f"{n}", os.urandom(100)) for n in range(100)])
    data.checkpoint()
    good = run("verify")
    assert good.code == 0
    assert "100 entries in the checkpoint, 1 commits" in good.lines[-1]
    (torn,) = (tmp_path / "store" / "data" / "t").glob("*.data")
    torn.write_bytes(torn.read_bytes()[:-50])
    bad = run("verify")
    assert bad.code == 1
    key = f"data/t/{torn.name}"
    assert [line for line in bad.lines if line.startswith(f"{key}: ")]
    records = run("verify", "--json").records
    assert key in [record.get("key") for record in records]
    assert records[-1]["problems"] >= 1


def test_maintenance(run: Run, data: DataManager) -> None:
    data.write([Put("t", "a", b"1")])
    assert run("maintenance").lines == ["off"]
    assert run("maintenance", "on", "moving house").lines == ["on: moving house"]
    refused = run("put", "t", "a", stdin=b"2")
    assert refused.code == 5
    assert "moving house" in refused.err
    assert run("maintenance", "--json").records[0]["maintenance"] == "moving house"
    assert run("maintenance", "off").lines == ["off"]
    assert run("put", "t", "a", stdin=b"2").code == 0


def test_through_pipes_and_processes(process: Run, data: DataManager, tmp_path: Path) -> None:
    entries = [Put("t", f"{n:04}", os.urandom(400)) for n in range(1000)]
    data.write(entries)
    assert process("put", "t", "x", stdin=b"\x00\xff").err == "commit 2\n"
    assert process("get", "t", "x").out == b"\x00\xff"
    exported = process("export")
    assert exported.code == 0
    process("rm", "t", *(entry.id for entry in entries))
    assert process("import", "--replace", stdin=exported.out).code == 0
    assert len(process("ls", "t").lines) == 1001
    (tmp_path / "store" / "wal" / f"{2:020}.json").write_bytes(b"{}")
    torn = process("verify", "--json")
    assert (torn.code, torn.records[0]["key"]) == (1, f"wal/{2:020}.json")


def test_where_the_data_lies(run: Run, tmp_path: Path) -> None:
    with open_storage(f"posix://{tmp_path}/store") as store:
        DataManager(PrefixStorage(store, "app/data/")).write([Put("t", "a", b"1")])
    for place in ("app/data", "app/data/", f"posix://{tmp_path}/store/app/data"):
        assert run("get", "t", "a", "--at", place).out == b"1"
    assert run("get", "t", "a").code == 3


def test_the_group_has_its_own_help(run: Run) -> None:
    for argv in ((), ("-h",)):
        result = run(*argv)
        assert result.code == 0
        assert result.lines[0] == "usage: objectstorage data COMMAND [OPTION]... ARGUMENT..."
        assert any(line.startswith("  verify ") for line in result.lines)
