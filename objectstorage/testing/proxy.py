"""A proxy that makes things go wrong between a client and a real S3 server.

    with FaultProxy("127.0.0.1", server_port) as proxy:
        proxy.on(method="PUT", path="/key", nth=1).swallow_reply()
        store = open_storage(url, endpoint=proxy.endpoint, ...)
        ...
        proxy.requests      # what came, in order
        proxy.forwarded     # what the server got to see

Requests are passed on unchanged: the signature covers the `Host` header, and
servers check it against the one they receive.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Self

from objectstorage.testing._calls import LIMIT, Answer, Call, Request
from objectstorage.testing.faults import Rule, pass_on

__all__ = ["Answer", "FaultProxy", "Request", "Rule"]


class FaultProxy:
    """A proxy on loopback, in a thread of its own, before the server at `host`:`port`.

    listen: the port to listen on; 0 takes a free one.
    """

    def __init__(self, host: str, port: int, *, listen: int = 0) -> None:
        self.upstream = (host, port)
        self._listen = listen
        self.requests: list[Request] = []
        self.forwarded: list[Request] = []
        self._rules: list[Rule] = []
        self._errors: list[Exception] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)

    def on(
        self,
        *,
        method: str | None = None,
        path: str = "",
        where: Callable[[Request], bool] | None = None,
        nth: int | None = 1,
        times: int | None = 1,
    ) -> Rule:
        """A rule for requests of `method` with `path` in their path or query, that meet `where`.

        Of those, `times` of them from the `nth` on (`times=None`: all from
        there; `nth=None`: all). The first rule that claims a request has it.
        """
        rule = Rule(method, path, where, nth, times)
        self._rules.append(rule)
        return rule

    def forget(self, rule: Rule) -> None:
        """Drop one rule, while others go on."""
        self._rules.remove(rule)

    def clear(self) -> None:
        """Forget the rules and what was seen."""
        self._rules.clear()
        self.requests.clear()
        self.forwarded.clear()

    @property
    def endpoint(self) -> str:
        """Where clients find it: http://127.0.0.1:port."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._errors:
            raise self._errors[0]
        return self

    def __exit__(self, kind: object, exc: object, traceback: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        # a fault of the proxy itself must not pass for one of the client
        if self._errors and exc is None:
            raise self._errors[0]

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception as error:
            self._errors.append(error)
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._client, "127.0.0.1", self._listen, limit=LIMIT)
        self.port: int = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._serve(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # either side may leave at any time, and the test may end
        except Exception as error:
            self._errors.append(error)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether another may follow."""
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        method, path, _ = first.split(" ", 2)
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        request = Request(method, path, headers)
        self.requests.append(request)
        call = Call(self.upstream, self.forwarded, request, head, reader, writer)
        # every rule counts, the first one acts
        claims = [rule for rule in list(self._rules) if rule.claims(request)]
        await (claims[0].apply(call) if claims else pass_on(call))
        return call.going
