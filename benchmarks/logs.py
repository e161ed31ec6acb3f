"""Many followers of one log: `python -m benchmarks.logs`.

A service in a process of its own, writers in another, and followers over HTTP
in this one. Every line carries the time it was written at; a follower notes how
old it is when it comes, and checks in the end that it has every byte.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

LINE = "{:019d} {:06d} " + "x" * 72 + "\n"


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.logs", description=__doc__)
    parser.add_argument("--store", help="a URL; a fresh directory without it")
    parser.add_argument("--seaweedfs", action="store_true", help="a server of its own, S3")
    parser.add_argument("--followers", type=int, default=200, help="of one log")
    parser.add_argument("--writers", type=int, default=20, help="each of a log of its own")
    parser.add_argument("--lines", type=int, default=10, help="a second and writer")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--role", choices=("serve", "write"), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def serve(url: str) -> None:
    import uvicorn

    from objectstorage import aio
    from objectstorage.logs.aio import AsyncLogHub
    from objectstorage.services.logs import logs_routes
    from objectstorage.services.wire import application

    store = aio.open_storage(url)
    hub = AsyncLogHub(store)

    @asynccontextmanager
    async def lifespan(app: Any) -> Any:
        yield
        await hub.close()
        await store.close()

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1024)
        print(listening.getsockname()[1], flush=True)
        config = uvicorn.Config(
            application(logs_routes(hub), lifespan=lifespan), log_level="warning"
        )
        uvicorn.Server(config).run([listening])


def write(url: str, options: argparse.Namespace) -> None:
    """All logs, each by a thread; begins at a line on standard input."""
    from objectstorage import open_storage
    from objectstorage.logs import LogWriter

    with open_storage(url) as store:
        writers = [LogWriter(store, f"log/{i}") for i in range(options.writers)]
        for writer in writers:
            writer.open()
        print("open", flush=True)
        sys.stdin.readline()

        def run(number: int, writer: LogWriter) -> str:
            digest = hashlib.sha256()
            begin = time.monotonic() + number / options.writers / options.lines
            for i in range(int(options.seconds * options.lines)):
                time.sleep(max(0.0, begin + i / options.lines - time.monotonic()))
                line = LINE.format(time.time_ns(), i).encode()
                digest.update(line)
                writer.write(line)
            writer.close()
            return digest.hexdigest()

        digests = [""] * len(writers)

        def note(number: int) -> None:
            digests[number] = run(number, writers[number])

        threads = [threading.Thread(target=note, args=(i,)) for i in range(len(writers))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(json.dumps(digests), flush=True)


class Follower:
    """One client, of few words, so that the figures are the service's."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ages: list[float] = []
        self.digest = hashlib.sha256()
        self.began = asyncio.Event()

    async def run(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /logs?name={self.name}&follow=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n")[0], head
        self.began.set()
        while size := int(await reader.readline(), 16):
            data = await reader.readexactly(size)
            now = time.time_ns()
            await reader.readexactly(2)
            self.digest.update(data)
            self.ages += [
                (now - int(line[:19])) / 1e9 for line in data.split(b"\n") if len(line) >= 19
            ]
        writer.close()


def cpu_and_peak(pid: int) -> tuple[float, float]:
    """CPU seconds and the most MiB that were resident."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    with open(f"/proc/{pid}/status") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), peak / 1024


async def measure(options: argparse.Namespace, port: int, server: int, writers: Any) -> Any:
    """What a run shows, as a dictionary."""
    await asyncio.to_thread(writers.stdout.readline)
    before, idle = cpu_and_peak(server)
    followers = [Follower("log/0") for _ in range(options.followers)]
    followers += [Follower(f"log/{i}") for i in range(1, options.writers)]
    running = [asyncio.ensure_future(follower.run(port)) for follower in followers]
    await asyncio.gather(*(follower.began.wait() for follower in followers))
    writers.stdin.write("go\n")
    writers.stdin.flush()
    begin = time.monotonic()
    await asyncio.gather(*running)
    elapsed = time.monotonic() - begin
    digests = json.loads(await asyncio.to_thread(writers.stdout.readline))
    after, peak = cpu_and_peak(server)
    whole = [f.digest.hexdigest() == digests[int(f.name.split("/")[1])] for f in followers]
    ages = sorted(age for follower in followers for age in follower.ages)
    return {
        "followers": len(followers),
        "whole": sum(whole),
        "lines": len(ages),
        "p50 s": ages[len(ages) // 2],
        "p99 s": ages[int(len(ages) * 0.99)],
        "max s": ages[-1],
        "service CPU, of one core": (after - before) / elapsed,
        "service CPU µs a line": (after - before) * 1e6 / len(ages),
        "service MiB": peak,
        "service MiB before": idle,
    }


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    if options.role == "serve":
        serve(options.store)
        return 0
    if options.role == "write":
        write(options.store, options)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        if not options.seaweedfs:
            return run(options, options.store or f"posix://{folder}")
    from objectstorage.testing.servers import seaweedfs

    with seaweedfs() as server:
        server.open(create_bucket=True).put("made", b"")
        os.environ["AWS_ACCESS_KEY_ID"] = server.access_key
        os.environ["AWS_SECRET_ACCESS_KEY"] = server.secret_key
        query = urlencode({"endpoint": server.endpoint, "region": server.region})
        return run(options, f"{server.fresh_url()}?{query}")


def run(options: argparse.Namespace, url: str) -> int:
    """Start the processes, measure, print."""
    command = [sys.executable, "-m", "benchmarks.logs", "--store", url]
    sizes = [f"--{name}={getattr(options, name)}" for name in ("writers", "lines", "seconds")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        subprocess.Popen([*command, "--role=serve"], **pipes) as server,
        subprocess.Popen([*command, "--role=write", *sizes], **pipes) as writers,
    ):
        try:
            port = int(server.stdout.readline())
            result = asyncio.run(measure(options, port, server.pid, writers))
        finally:
            server.terminate()
            writers.terminate()
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(
                f"{name:26} {value:12,.3f}"
                if isinstance(value, float)
                else f"{name:26} {value:12,}"
            )
    return 0 if result["whole"] == result["followers"] else 1


if __name__ == "__main__":
    sys.exit(main())
