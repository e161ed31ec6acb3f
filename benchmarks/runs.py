"""Many executors, several run services, one store: `python -m benchmarks.runs`.

The services are processes of their own, the executors are simulated in this one:
each heartbeats, claims a task, reports it running and then finished, over HTTP,
with no step in between. So the figures are those of the coordination: how many
tasks a second can begin and end, what one costs the services, and how long a
claim takes; for each number of services, with the same executors.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from typing import Any

from benchmarks.logs import cpu_and_peak


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runs", description=__doc__)
    parser.add_argument("--store", help="a URL; a fresh directory without it")
    parser.add_argument("--seaweedfs", action="store_true", help="a SeaweedFS of its own")
    parser.add_argument("--services", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--executors", type=int, default=20)
    parser.add_argument("--tasks", type=int, default=300, help="at least, for each measurement")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(argv)


class Service:
    """A run service in a process."""

    def __init__(self, words: list[str], env: dict[str, str]) -> None:
        command = [sys.executable, "-m", "objectstorage", "runservice", "--port", "0", *words]
        self.process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        self.url = line.split()[3].rstrip(",")

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.terminate()
        self.process.communicate()


async def executor(client: Any, name: str, claims: list[float], tasks: list[float]) -> None:
    """Until there is nothing left."""
    from objectstorage.client import Status

    await client.executors.heartbeat(name)
    while True:
        begin = time.perf_counter()
        claimed = (await client.executors.claim(name, 1)).value
        if not claimed:
            return
        claims.append(time.perf_counter() - begin)
        for phase in ("running", "success"):
            await client.executors.report(claimed[0].spec, Status(phase))
        tasks.append(time.perf_counter() - begin)


async def measure(options: argparse.Namespace, services: list[Service]) -> dict[str, Any]:
    """One row."""
    import httpx

    from objectstorage.client.aio import AsyncClient

    claims: list[float] = []
    tasks: list[float] = []
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=60, limits=limits) as http:
        clients = [AsyncClient(service.url, http) for service in services]
        left = options.tasks
        while left > 0:
            steps = {"steps": [{"run": "true"}]}
            configuration = {"tasks": {f"t{i:04}": steps for i in range(min(left, 500))}}
            await clients[0].runs.start(configuration)
            left -= 500
        before = [cpu_and_peak(service.process.pid)[0] for service in services]
        begin = time.perf_counter()
        await asyncio.gather(
            *(
                executor(clients[i % len(clients)], f"e{len(services)}-{i}", claims, tasks)
                for i in range(options.executors)
            )
        )
        elapsed = time.perf_counter() - begin
    after = [cpu_and_peak(service.process.pid) for service in services]
    cpu = sum(cpu for cpu, _ in after) - sum(before)
    claims.sort()
    return {
        "services": len(services),
        "executors": options.executors,
        "tasks": len(tasks),
        "tasks_per_second": round(len(tasks) / elapsed, 1),
        "claim_p50_ms": round(claims[len(claims) // 2] * 1000, 1),
        "claim_p95_ms": round(claims[len(claims) * 95 // 100] * 1000, 1),
        "service_cpu_ms_per_task": round(cpu / len(tasks) * 1000, 2),
        "service_peak_mib": round(max(peak for _, peak in after)),
    }


def commits(url: str, options: dict[str, Any]) -> int:
    from objectstorage import open_storage
    from objectstorage.datamanager import DataManager
    from objectstorage.wrappers import PrefixStorage

    with open_storage(url, **options) as store:
        return DataManager(PrefixStorage(store, "state/")).head()


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    with ExitStack() as stack:
        env, store_options = dict(os.environ), {}
        if options.seaweedfs:
            from objectstorage.testing.servers import seaweedfs

            server = stack.enter_context(seaweedfs())
            url, store_options = server.fresh_url(), server.options()
            words = ["--endpoint", server.endpoint, "--region", server.region]
            env |= {"AWS_ACCESS_KEY_ID": server.access_key}
            env |= {"AWS_SECRET_ACCESS_KEY": server.secret_key}
            with server.open(url) as store:
                store.put("warm", b"")  # makes the bucket
        else:
            folder = tempfile.mkdtemp(prefix="runs-")
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            url, words = options.store or f"posix://{folder}", []
        for number in options.services:
            with ExitStack() as services:
                # nobody dies here, however busy the machine
                command = ["--store", url, *words, "--dead-after", "86400"]
                started = [services.enter_context(Service(command, env)) for _ in range(number)]
                before = commits(url, store_options)
                row = asyncio.run(measure(options, started))
            row["commits_per_task"] = round(
                (commits(url, store_options) - before) / row["tasks"], 2
            )
            if options.json:
                print(json.dumps(row), flush=True)
            else:
                print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
