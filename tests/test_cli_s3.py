"""The commands on a real S3 server."""

from __future__ import annotations

import json
import os
import secrets

import boto3
import pytest

from objectstorage.cli.__main__ import main
from objectstorage.testing.servers import seaweedfs


@pytest.fixture(scope="module")
def server():
    with seaweedfs() as server:
        with server.open() as store:
            # the first write makes the bucket
            store.put("k", b"")
            store.delete("k")
        yield server


@pytest.fixture
def cli(server, monkeypatch, tmp_path, capsysbinary):
    """Run a command with the server's keys in the environment; code, output, messages."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))
    monkeypatch.delenv("OBJECTSTORAGE_CONFIG", raising=False)
    monkeypatch.delenv("OBJECTSTORAGE_URL", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)

    def run(*argv):
        options = ["--endpoint", server.endpoint, "--region", server.region]
        code = main([*map(str, argv[:1]), *options, *map(str, argv[1:])])
        captured = capsysbinary.readouterr()
        assert server.secret_key.encode() not in captured.out + captured.err
        return code, captured.out, captured.err.decode()

    return run


@pytest.fixture
def address(server):
    """A fresh folder in the server's bucket."""
    return f"s3://{server.bucket}/cli-{secrets.token_hex(6)}"


def test_demo(cli, server):
    code, out, err = cli("demo", "--store", f"s3://{server.bucket}")
    assert code == 0, err
    assert out.endswith(b"Everything was verified.\n")


def test_a_round_of_literal_keys(cli, address, tmp_path):
    names = ["plain", "sub/a b", "sub/100%25", "sub/what?#x", "sub/[a]*", "sub/+é"]
    for name in names:
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    assert cli("put", "-r", tmp_path / "tree", address)[0] == 0
    prefix = address.split("/", 3)[3]
    expected = "".join(f"{prefix}/{name}\n" for name in sorted(names))
    assert cli("ls", "-r", f"{address}/")[1].decode() == expected
    for name in names:
        assert cli("cat", f"{address}/{name}")[:2] == (0, name.encode())
    assert cli("get", "-r", address, tmp_path / "back")[0] == 0
    for name in names:
        assert (tmp_path / "back" / name).read_bytes() == name.encode()
    assert cli("mv", f"{address}/sub/what?#x", f"{address}/to/")[0] == 0
    assert cli("cat", "--range=-3:", f"{address}/to/what?#x")[1] == b"?#x"
    assert cli("rm", "-r", address)[0] == 0
    assert cli("ls", address)[:2] == (0, b"")


def test_between_a_server_and_memory(cli, address, tmp_path):
    (tmp_path / "f").write_bytes(b"data")
    name = f"memory://cli-s3-{secrets.token_hex(6)}"
    assert cli("put", "--metadata", "owner=ci", tmp_path / "f", f"{address}/k")[0] == 0
    assert cli("cp", f"{address}/k", f"{name}/k")[0] == 0
    assert cli("mv", f"{name}/k", f"{address}/l")[0] == 0
    assert b"owner=ci" in cli("stat", f"{address}/l")[1]
    assert cli("rm", f"{address}/k", f"{address}/l")[0] == 0


def test_exit_codes(cli, server, address, tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(b"data")
    assert cli("put", "--create", tmp_path / "f", f"{address}/k")[0] == 0
    assert cli("put", "--create", tmp_path / "f", f"{address}/k")[0] == 6
    assert cli("put", "--if-match", "other", tmp_path / "f", f"{address}/k")[0] == 6
    assert cli("rm", f"{address}/k")[0] == 0
    assert cli("rm", f"{address}/k")[0] == 3
    assert cli("cat", f"{address}/k")[0] == 3
    for command in ("ls", "stat"):
        code, _, err = cli(command, "s3://no-such-bucket-here/k")
        assert (code, "no-such-bucket-here" in err) == (3, True)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert cli("ls", f"{address}/")[0] == 4
    (tmp_path / "g").write_bytes(b"data")
    for argv in (("put", "-r", tmp_path, address), ("demo", "--store", address)):
        code, _, err = cli(*argv)
        # once for the whole command, not once a file
        assert (code, err.count("objectstorage: ")) == (4, 1)
        assert "wrong" not in err


def test_a_server_that_is_not_there(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    # port 9 is discard: nothing answers there
    options = ["--endpoint", "http://127.0.0.1:9", "--option", "attempts=2"]
    assert main(["stat", "s3://bucket/key", *options]) == 5
    err = capsys.readouterr().err
    assert "'key'" in err
    assert "s3cret" not in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", [("get", "-r"), ("sync", "--delete")])
def test_hostile_keys_of_a_bucket(moto, command, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", moto.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", moto.secret_key)
    client = boto3.client("s3", endpoint_url=moto.endpoint, region_name="us-east-1")
    bucket = f"hostile-{secrets.token_hex(6)}"
    client.create_bucket(Bucket=bucket)
    hostile = ["../x", "/etc/x", "a/../../b"]
    for key in (*hostile, "good", "sub/good"):
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    where = ["--endpoint", moto.endpoint, f"s3://{bucket}/", str(tmp_path / "in/to")]
    assert main([*command, *where]) == 1
    err = capsys.readouterr().err
    assert all(repr(key) in err for key in hostile)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert [name for name in files if not os.path.isdir(tmp_path / name)] == [
        "in/to/good",
        "in/to/sub/good",
    ]
    assert main([*command, "--json", *where]) == 1
    messages = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(messages) == len(hostile)
    assert main(["ls", "-r", *where[:3]]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == ["../x", "a/../../b", "good", "sub/good"]
    assert "'/etc/x'" in err
