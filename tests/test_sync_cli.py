"""The command `sync`: what it prints, its exit codes, and its death half way."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import uuid

import pytest
from long import much

from objectstorage import open_storage
from objectstorage.cli.__main__ import main
from objectstorage.memory import MemoryStorage


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch, tmp_path):
    for name in ("OBJECTSTORAGE_URL", "OBJECTSTORAGE_CONFIG", "OBJECTSTORAGE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))


@pytest.fixture
def store():
    with MemoryStorage(f"sync-{uuid.uuid4().hex}") as store:
        yield store


@pytest.fixture
def cli(capsys):
    """Run `sync`; exit code, lines of output, messages."""

    def run(*argv):
        code = main(["sync", *map(str, argv)])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    return run


@pytest.fixture
def tree(tmp_path):
    for name in ("a", "sub/b"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "tree"


def contents(place):
    if hasattr(place, "list"):
        return {info.key: place.get(info.key) for info in place.list()}
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file()
    }


def test_both_ways(cli, store, tree, tmp_path):
    code, lines, err = cli(tree, f"{store.url}/p")
    assert (code, lines, err) == (0, [], "copied 2 objects, 6 B; 0 were the same\n")
    assert contents(store) == {"p/a": b"a", "p/sub/b": b"sub/b"}
    code, lines, err = cli(f"{store.url}/p/", tmp_path / "back")
    assert (code, err) == (0, "copied 2 objects, 6 B; 0 were the same\n")
    assert contents(tmp_path / "back") == contents(tree)
    code, lines, err = cli(tree, f"{store.url}/p", "--delete")
    assert (code, err) == (0, "copied 0 objects, 0 B; 2 were the same; deleted 0\n")
    assert cli(f"{store.url}/p/", f"{store.url}/q", "-q") == (0, [], "")
    assert store.get("q/sub/b") == b"sub/b"


def test_one_job_tells_in_order(cli, store, tmp_path):
    names = [f"{n:03}" for n in range(200)]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    code, lines, _ = cli(tmp_path, store.url, "--jobs", "1", "--json")
    assert code == 0
    assert [json.loads(line)["name"] for line in lines[:-1]] == names


def test_dry_run_and_json(cli, store, tree):
    store.put("old", b"")
    code, lines, err = cli(tree, store.url, "--delete", "-n", "--jobs", "1")
    assert (code, lines) == (0, ["copy a", "copy sub/b", "delete old"])
    assert err.startswith("would have copied 2 objects")
    assert contents(store) == {"old": b""}
    code, lines, err = cli(tree, store.url, "--delete", "--json", "--jobs", "1")
    assert (code, err) == (0, "")
    *changes, summary = map(json.loads, lines)
    assert [(change["action"], change["name"], change["size"]) for change in changes] == [
        ("copy", "a", 1),
        ("copy", "sub/b", 5),
        ("delete", "old", 0),
    ]
    assert all(change["schema"] == 1 and not change["dry_run"] for change in changes)
    assert {name: summary[name] for name in ("copied", "size", "same", "deleted", "failed")} == {
        "copied": 2,
        "size": 6,
        "same": 0,
        "deleted": 1,
        "failed": 0,
    }
    assert contents(store) == contents(tree)


def test_filters(cli, store, tree):
    store.put("x.log", b"")
    assert cli(tree, store.url, "--exclude", "sub/**", "--exclude", "*.log", "--delete")[0] == 0
    assert set(contents(store)) == {"a", "x.log"}
    assert cli(tree, store.url, "--include", "**/b", "--checksum", "--verify")[0] == 0
    assert set(contents(store)) == {"a", "sub/b", "x.log"}


def test_exit_codes(cli, store, tree, tmp_path):
    for name in ("1", "2"):
        store.put(name, b"")
    (tmp_path / "empty").mkdir()
    code, _, err = cli(tmp_path / "empty", store.url, "--delete")
    assert code == 7
    assert "2 would be deleted" in err
    assert cli(tree, store.url, "--delete", "--max-delete", "1")[0] == 7
    assert {"1", "2"} < set(contents(store))
    assert cli(tmp_path / "none", store.url)[0] == 3
    assert cli(f"{store.url}/none", tmp_path / "x")[0] == 3
    assert cli(store.url, f"{store.url}/x")[0] == 2
    assert cli(tree, tmp_path / "x")[0] == 2
    assert cli("a", "b", "--store", store.url)[0] == 2
    assert cli(tree, store.url, "--max-delete", "-1")[0] == 2
    assert cli(tmp_path / "empty", store.url, "--delete", "--force")[0] == 0
    assert contents(store) == {}


def test_hostile_keys(cli, store, tmp_path):
    for key in ("p/../x", "p//etc/x", "p/good"):
        store.put(key, b"")
    store.put("p/old", b"")
    code, _, err = cli(f"{store.url}/p", tmp_path / "t", "--delete")
    assert code == 1
    assert "'../x'" in err
    assert "'/etc/x'" in err
    assert set(contents(tmp_path / "t")) == {"good", "old"}
    assert os.listdir(tmp_path) == ["t"]
    (tmp_path / "t/extra").write_bytes(b"")
    code, _, err = cli(f"{store.url}/p", tmp_path / "t", "--delete")
    assert code == 1
    assert "1 that SRC lacks were not deleted" in err
    code, lines, err = cli(f"{store.url}/p", tmp_path / "t", "--json", "--jobs", "1")
    assert [json.loads(line)["key"] for line in err.splitlines()] == ["../x", "/etc/x"]


def test_bare_keys_of_a_given_store(cli, tree, tmp_path):
    url = f"posix://{tmp_path}/new"
    assert cli("--store", url, tree, "p")[0] == 0
    with open_storage(url) as store:
        assert set(contents(store)) == {"p/a", "p/sub/b"}
    # from now on the root is found by its marker
    assert cli(f"{url}/p/sub", tmp_path / "back")[0] == 0
    assert contents(tmp_path / "back") == {"b": b"sub/b"}


class Killed:
    """The command as a process, killed once it has told of some changes."""

    def __init__(self, server, *argv, after):
        env = os.environ | {
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }
        where = ["--endpoint", server.endpoint, "--region", server.region]
        command = [sys.executable, "-m", "objectstorage", "sync", *where, *map(str, argv)]
        with subprocess.Popen(
            [*command, "--json"], env=env | {"PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE
        ) as process:
            deadline = threading.Timer(much(120, 900), process.kill)
            deadline.start()
            self.told = [process.stdout.readline() for _ in range(after)]
            process.send_signal(signal.SIGKILL)
            process.stdout.read()
            deadline.cancel()
        self.code = process.returncode


@pytest.mark.timeout(much(300, 3600))
def test_killed_half_way_and_resumed(seaweedfs, cli, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweedfs.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweedfs.secret_key)
    rng = random.Random(5)
    tree, count = tmp_path / "tree", much(3000, 20_000)
    for i in range(count):
        path = tree / f"{i % 7}" / f"{i % 50}-" / f"{i:05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(rng.randrange(3000)))
    (tree / "large").write_bytes(rng.randbytes(20_000_000))
    count += 1
    address = f"s3://{seaweedfs.bucket}/sync-{uuid.uuid4().hex}"
    where = ["--endpoint", seaweedfs.endpoint, "--region", seaweedfs.region, "--json"]

    def resumed(*argv):
        code, lines, err = cli(*where, *argv)
        assert code == 0, err
        summary = json.loads(lines[-1])
        assert summary["copied"] + summary["same"] == count
        return summary["copied"]

    for source, target in ((tree, address), (address, tmp_path / "back")):
        killed = Killed(seaweedfs, source, target, after=count // 2)
        assert killed.code == -signal.SIGKILL
        assert all(json.loads(line)["action"] == "copy" for line in killed.told)
        assert 0 < resumed(source, target) <= count - len(killed.told)
        assert resumed(source, target) == 0
    # nothing of the dead process is left either
    assert contents(tmp_path / "back") == contents(tree)
    store = seaweedfs.open(address)
    with store:
        assert [info.key for info in store.list()] == sorted(contents(tree))
    code, lines, err = cli(*where, address, tree, "--checksum", "--delete")
    assert (code, json.loads(lines[-1])["copied"], json.loads(lines[-1])["deleted"]) == (0, 0, 0)
