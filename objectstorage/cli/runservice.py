"""Serve runs, their tasks and logs, and caches over HTTP, until SIGTERM or Ctrl-C.

The store is that of --store, --profile or OBJECTSTORAGE_URL, or else a
directory of yours. Any number of run services may serve one store, and each
executor (objectstorage executor) needs the same store.

With OBJECTSTORAGE_TOKEN set, who calls must have the same token. Without it the
service takes calls from this machine only, for who can start a run can run
commands.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import tempfile
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

from objectstorage.cli._output import EXIT_FAILED, Output, Usage
from objectstorage.cli._parser import Parser, positive, sequence
from objectstorage.cli._services import PORT, need_services, open_services_store, token
from objectstorage.cli._session import Session


def configure(parser: Parser) -> None:
    """The options of `runservice`."""
    parser.operands()
    parser.add_argument("--host", default="127.0.0.1", help="to listen at (127.0.0.1)")
    parser.add_argument(
        "--port", type=_port, default=PORT, metavar="N", help=f"{PORT}; 0 takes a free one"
    )
    parser.add_argument(
        "--index", metavar="FILE", help="keeps the read index; without it, it is made anew"
    )
    parser.add_argument(
        "--dead-after",
        type=positive,
        default=30,
        metavar="SECONDS",
        help="an executor not heard of for so long loses its tasks to others (30)",
    )


def _port(text: str) -> int:
    number = sequence(text)
    if number > 65535:
        raise ArgumentTypeError("it is at most 65535")
    return number


def run(args: Namespace, session: Session, out: Output) -> None:
    """Serve."""
    need_services()
    from objectstorage.services.runservice.guard import LOOPBACK

    if token() is None and args.host not in LOOPBACK:
        raise Usage("without OBJECTSTORAGE_TOKEN it listens on this machine only: --host 127.0.0.1")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((args.host, args.port))
        listening.listen(1024)
        asyncio.run(_serve(args, session, out, listening))


async def _serve(args: Namespace, session: Session, out: Output, listening: socket.socket) -> None:
    import uvicorn

    from objectstorage.services.runservice import RunService, application_of

    class Server(uvicorn.Server):
        """Says when it is up; ended by a signal as if that were nothing special."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                host, port = listening.getsockname()[:2]
                host = f"[{host}]" if ":" in host else host
                out.message(f"run service at http://{host}:{port}, store {store.url}")

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.handle_exit, number, None)
            yield

    async with AsyncExitStack() as stack:
        index = args.index
        if index is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="objectstorage-"))
            index = os.path.join(folder, "index.sqlite")
        store = await stack.enter_async_context(open_services_store(args, session))
        service = RunService(store, index, dead_after=args.dead_after)
        config = uvicorn.Config(
            application_of(service, token()),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,  # followers never end by themselves
        )
        server = Server(config)
        await server.serve([listening])
        if not server.started:
            out.code = EXIT_FAILED  # what failed is in the log
