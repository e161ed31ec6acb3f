"""Run services and executors as processes of their own, over one store."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from objectstorage.client import Client

_T = TypeVar("_T")
# not the default's, which reads all the system's certificates each time
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def until(look: Callable[[], _T], seconds: float = 240, every: float = 0.05) -> _T:
    """What `look` gives once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"still {found!r}"
        time.sleep(every)
    return found


class Command:
    """`objectstorage …` as a process; what it says on standard error is in `lines`."""

    def __init__(self, words: list[str], env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "objectstorage", *words],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self.lines.append(line)

    def read(self) -> str:
        """A line of its standard output; "" at the end."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def said(self, pattern: str) -> re.Match[str]:
        """The first line that matches; waits for it."""

        def look() -> re.Match[str] | None:
            ended = not self._reading.is_alive()  # asked first: no line comes after that
            lines = list(self.lines)
            found = next((m for line in lines if (m := re.search(pattern, line))), None)
            assert found is not None or not ended, lines
            return found

        return until(look)

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    def wait(self) -> int:
        code = self.process.wait(timeout=60)
        self._reading.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def terminate(self) -> int:
        self.process.terminate()
        return self.wait()


class Fleet:
    """All of one store."""

    def __init__(self, url: str, options: dict[str, Any], tmp_path: Path) -> None:
        self._words = ["--store", url]
        self._env = {name: value for name, value in os.environ.items() if "OBJECTST" not in name}
        self._env.pop("PYTHONDONTWRITEBYTECODE", None)  # they all start with the same modules
        self._env |= {"XDG_CONFIG_HOME": str(tmp_path / "no-config"), "PYTHONWARNINGS": "error"}
        for name in ("endpoint", "region"):
            if name in options:
                self._words += [f"--{name}", options[name]]
        if "access_key" in options:
            self._env |= {
                "AWS_ACCESS_KEY_ID": options["access_key"],
                "AWS_SECRET_ACCESS_KEY": options["secret_key"],
            }
        self._commands: list[Command] = []
        self._http = httpx.Client(timeout=60, verify=TLS)

    def start(self, *words: str, **env: str) -> Command:
        command = Command([words[0], *self._words, *words[1:]], self._env | env)
        self._commands.append(command)
        return command

    def service(self, *words: str, **env: str) -> tuple[Command, str]:
        """A run service and its URL."""
        port = () if "--port" in words else ("--port", "0")
        command = self.start("runservice", *port, *words, **env)
        return command, command.said(r"run service at (http://\S+),")[1]

    def executor(self, url: str, *words: str, **env: str) -> tuple[Command, str]:
        """An executor and its name."""
        command = self.start("executor", "--url", url, *words, **env)
        return command, command.said(r"executor (\S+), run service")[1]

    def client(self, url: str, **headers: str) -> Client:
        return Client(url, self._http, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()
        for command in self._commands:
            if command.process.poll() is None:
                command.process.send_signal(signal.SIGTERM)
                command.process.send_signal(signal.SIGTERM)
        for command in self._commands:
            command.wait()
