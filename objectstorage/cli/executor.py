"""Run tasks of a run service, as processes of this user, until SIGTERM or Ctrl-C.

Its store has to be the run service's: logs and caches go straight there. Told to
end, it claims nothing more and lets what is running end for --grace seconds;
then, or told again, it stops it and hands it back for others to begin anew.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import tempfile
from argparse import Namespace
from contextlib import AsyncExitStack

from objectstorage.cli._output import Output
from objectstorage.cli._parser import Parser, positive, sequence
from objectstorage.cli._services import (
    add_service,
    headers_of,
    need_services,
    open_services_store,
    token,
)
from objectstorage.cli._session import Session


def configure(parser: Parser) -> None:
    """The options of `executor`."""
    parser.operands()
    add_service(parser)
    parser.add_argument(
        "--tasks", type=positive, default=2, metavar="N", help="so many at a time (2)"
    )
    parser.add_argument(
        "--folder", metavar="DIR", help="tasks get folders in it; without it, a temporary one"
    )
    parser.add_argument(
        "--grace",
        type=sequence,
        default=30,
        metavar="SECONDS",
        help="for running tasks to end by themselves (30)",
    )


def run(args: Namespace, session: Session, out: Output) -> None:
    """Run tasks."""
    need_services()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    asyncio.run(_execute(args, session, out))


async def _execute(args: Namespace, session: Session, out: Output) -> None:
    import httpx

    from objectstorage.client.aio import AsyncClient
    from objectstorage.services.executor import Executor

    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        folder = args.folder
        if folder is None:
            made = tempfile.TemporaryDirectory(prefix="objectstorage-", ignore_cleanup_errors=True)
            folder = stack.enter_context(made)
        store = await stack.enter_async_context(open_services_store(args, session))
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
        client = AsyncClient(args.url, http, headers=headers_of(token()))
        executor = Executor(store, client, folder, slots=args.tasks)

        def told(again: bool = False) -> None:
            if again:
                executor.hand_back()
                return
            out.message("ending; told again, it hands back what is running")
            executor.drain()
            loop.call_later(args.grace, executor.hand_back)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, told, True)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told)
        out.message(f"executor {executor.name}, run service {client.calls.url}, store {store.url}")
        await executor.run()
