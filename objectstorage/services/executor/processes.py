"""A step's process: in a group of its own, with a time limit, killed as a group.

Between the executor and a step stands a shell that first leaves a watcher in
the group. Its input is a pipe whose other end only the executor has: when the
executor dies, by whatever, the watcher kills the group.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Mapping, Sequence

__all__ = ["Lifeline", "Process"]

_CHUNK = 64 * 1024
_GRACE = 5.0
"""Seconds between being told to end and being killed, and for what a group leaves behind."""

_WATCHED = (
    'exec 3<&0 </dev/null; (read -r line <&3; kill -KILL 0) >/dev/null 2>&1 & exec 3<&-; exec "$@"'
)


class Lifeline:
    """The pipe by which steps learn that the executor is gone."""

    def __init__(self) -> None:
        # Neither end is inherited, but as the input of a step.
        self.reading, self._writing = os.pipe()

    def close(self) -> None:
        """Let go; what steps there are die."""
        os.close(self._writing)
        os.close(self.reading)


class Process:
    """A command and all that it starts, unless that leaves the group."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        transport: asyncio.ReadTransport,
    ) -> None:
        self._process = process
        self._reader = reader
        self._transport = transport
        self._stopping: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, words: Sequence[str], folder: str, environment: Mapping[str, str], lifeline: Lifeline
    ) -> Process:
        """Start it in `folder`, with that environment and nothing of the executor's own."""
        reading, writing = os.pipe()
        output = os.fdopen(reading, "rb", 0)
        try:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                _WATCHED,
                "sh",
                *words,
                cwd=folder,
                env=dict(environment),
                stdin=lifeline.reading,
                stdout=writing,
                stderr=writing,
                start_new_session=True,
            )
        except BaseException:
            output.close()
            raise
        finally:
            os.close(writing)
        reader = asyncio.StreamReader(_CHUNK)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), output
        )
        return cls(process, reader, transport)

    async def output(self) -> AsyncGenerator[bytes, None]:
        """What it writes, standard output and error as one, until it has ended."""
        ended = asyncio.ensure_future(self._ended())
        reading: asyncio.Future[bytes] | None = None
        try:
            while True:
                reading = asyncio.ensure_future(self._reader.read(_CHUNK))
                await asyncio.wait((reading, ended), return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    # one that left the group may keep the pipe open for ever
                    await asyncio.wait((reading,), timeout=_GRACE)
                if not reading.done() or not (data := reading.result()):
                    return
                yield data
        finally:
            ended.cancel()
            if reading is not None:
                reading.cancel()
            self._transport.close()

    async def _ended(self) -> None:
        """The group goes with its leader."""
        await self._process.wait()
        self._signal(signal.SIGKILL)

    async def end(self) -> int:
        """Its exit code, negative for a signal, once it has ended."""
        code = await self._process.wait()
        self._signal(signal.SIGKILL)
        if self._stopping is not None:
            self._stopping.cancel()
        return code

    def stop(self) -> None:
        """Tell the group to end, and kill it a few seconds later."""
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._stop())

    async def _stop(self) -> None:
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), _GRACE)
        except TimeoutError:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # all of it is gone; macOS says the latter of what is dying
