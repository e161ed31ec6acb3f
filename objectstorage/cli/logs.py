"""Write the logs of a task, or of one of its steps, to standard output.

STEP is 'setup' or a number from 1; without it, all of them one after the other.
With -f it waits for what comes, to the task's end, through the death of an
executor too: then the next one's follow.
"""

from __future__ import annotations

import time
from argparse import Namespace
from itertools import chain, count
from typing import TYPE_CHECKING

from objectstorage.cli._output import Output
from objectstorage.cli._parser import Parser
from objectstorage.cli._services import add_service, headers_of, need_services, token
from objectstorage.cli._session import Session
from objectstorage.errors import ErrNotExist, StorageError, is_err_not_exist, is_err_unavailable

if TYPE_CHECKING:
    from objectstorage.client import Client, ExecutorTask, Spec

_PAUSE = 0.3
_TRIES = 20


def configure(parser: Parser) -> None:
    """The options of `logs`."""
    parser.operands("RUN", "TASK", "[STEP]")
    add_service(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="wait for what comes")


def run(args: Namespace, session: Session, out: Output) -> None:
    """Write them."""
    need_services()
    import httpx

    from objectstorage.client import Client

    run_id, task, *step = args.operands
    with httpx.Client(timeout=30) as http:
        client = Client(args.url, http, headers=headers_of(token()))
        _Logs(client, run_id, task, step[0] if step else None, out).write(args.follow)


class _Logs:
    def __init__(self, client: Client, run: str, task: str, step: str | None, out: Output) -> None:
        self._client = client
        self._which = (run, task)
        self._step = step
        self._out = out

    def write(self, follow: bool) -> None:
        """All there is; with `follow`, all that comes."""
        seen = 0
        while True:
            task = self._task()
            if task.spec.claim > seen:
                if seen:
                    self._out.message("the executor was lost; it is begun anew")
                seen = task.spec.claim
                self._write_claim(task.spec, follow)
            elif task.status.final or not follow:
                error = f": {task.status.error}" if task.status.error else ""
                self._out.message(f"task {task.spec.id}: {task.status.phase}{error}")
                return
            else:
                time.sleep(_PAUSE)

    def _write_claim(self, spec: Spec, follow: bool) -> None:
        """The logs that one claim wrote, or will write."""
        steps = chain(("setup",), map(str, count(1))) if self._step is None else (self._step,)
        for step in steps:
            if not self._exists(spec, step, wait=follow):
                if self._step is not None and not follow:
                    raise ErrNotExist(f"step {step} has no log")
                return
            if self._step is None:
                self._out.message(f"-- {step if step == 'setup' else f'step {step}'}")
            self._write_log(spec.log(step), follow)

    def _exists(self, spec: Spec, step: str, *, wait: bool) -> bool:
        """Whether there is that log; waits until there is, or can't be any more."""
        over = not wait
        while True:
            try:
                self._client.logs.stat(spec.log(step))
                return True
            except StorageError as exc:
                if not is_err_not_exist(exc):
                    raise
            if over:
                return False
            task = self._task()
            over = task.status.final or task.spec.claim != spec.claim or not task.spec.executor
            if not over:
                time.sleep(_PAUSE)

    def _write_log(self, name: str, follow: bool) -> None:
        """Its bytes, each once; a connection that breaks is made again."""
        offset = tries = 0
        while True:
            try:
                logs = self._client.logs
                opened = logs.follow if follow else logs.read
                with opened(name, offset=offset) as stream:
                    for chunk in stream:
                        self._out.raw(chunk)
                        self._out.flush()
                        offset, tries = stream.offset, 0
                return
            except StorageError as exc:
                tries += 1
                if not is_err_unavailable(exc) or tries == _TRIES:
                    raise
                time.sleep(_PAUSE)

    def _task(self) -> ExecutorTask:
        tries = 0
        while True:
            try:
                return self._client.runs.task(*self._which).value
            except StorageError as exc:
                tries += 1
                if not is_err_unavailable(exc) or tries == _TRIES:
                    raise
                time.sleep(_PAUSE)
