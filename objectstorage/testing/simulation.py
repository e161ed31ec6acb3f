"""Several clients of one store, stepped one storage operation at a time, by a seed.

    simulation = Simulation(seed, Faults(lost_reply=0.02, crash=0.002))
    simulation.spawn(client(simulation.store()))        # any coroutine
    simulation.run()

No event loop, no threads, no time but the simulation's own: each client runs
until it asks the store for something; then the seed decides whose operation
happens next, and what goes wrong with it. The same seed gives the same run, to
the last step. Write protocols as coroutines over `AsyncStorage`, and this finds
the interleavings that break them.

Clients await nothing but the store. What a client must not do is checked by
whoever spawns it: an exception that leaves a client ends the run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any, NamedTuple

from objectstorage.aio.storage import AsyncData, AsyncReader, AsyncStorage, AsyncWriter
from objectstorage.errors import ErrNotExist, ErrOutcomeUnknown, ErrUnavailable, ErrUnsupported
from objectstorage.memory import MemoryStorage
from objectstorage.storage import (
    UNSET,
    Capabilities,
    Fetched,
    ObjectInfo,
    Prefix,
    PutResult,
    Unset,
    Upload,
)

__all__ = ["Faults", "SimulatedStorage", "Simulation"]

_EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
_PAGE = 4  # keys that one step of a listing sees at once


class Faults(NamedTuple):
    """How likely each fault is, at each operation.

    lost_request: nothing happens, and the client is told that nobody knows.
    lost_reply: it happens, and the client is told that nobody knows.
    late: the client is told that nobody knows; it happens up to `delay` steps later.
    repeated: it happens twice at once, and the client gets the second reply.
    again: it happens, and once more up to `delay` steps later.
    damaged: what is read comes with a bit flipped, or cut short.
    crash: the client is gone, before the operation or after it.
    stall: the client sleeps for up to `delay` steps.
    """

    lost_request: float = 0.0
    lost_reply: float = 0.0
    late: float = 0.0
    repeated: float = 0.0
    again: float = 0.0
    damaged: float = 0.0
    crash: float = 0.0
    stall: float = 0.0
    delay: int = 100


class _Call(Awaitable[Any]):
    """One operation, waiting for its turn."""

    __slots__ = ("action", "key", "writes")

    def __init__(self, action: Callable[[], Any], key: str | None, writes: bool) -> None:
        self.action = action
        self.key = key
        self.writes = writes

    def __await__(self) -> Generator[_Call, Any, Any]:
        return (yield self)


class _Pause(_Call):
    """Time that passes: a client may sleep through it or die, nothing else."""


class _Client:
    def __init__(
        self, coroutine: Coroutine[Any, Any, None], crashed: Callable[[], None] | None
    ) -> None:
        self.coroutine = coroutine
        self.crashed = crashed
        self.call: _Call | None = None
        self.awake = 0


class Simulation:
    """One run. `steps` operations have happened so far; each took a second.

    `space` holds the objects: look, or put in what should be there, at any
    time. `wrote(key)` is called after each write that happened, by whomever.
    """

    def __init__(self, seed: int, faults: Faults = Faults()) -> None:  # noqa: B008  # immutable
        self.random = Random(seed)
        self.misfortune(faults)
        self.space = MemoryStorage()
        self.steps = 0
        self.wrote: Callable[[str], None] = lambda key: None
        self._times: dict[str, datetime] = {}
        self._clients: list[_Client] = []
        self._later: list[tuple[int, _Call]] = []

    def misfortune(self, faults: Faults) -> None:
        """From now on, these faults."""
        self.faults = faults
        self._any = sum(faults[:-1])

    def store(self) -> SimulatedStorage:
        """A client's store; all share `space`."""
        return SimulatedStorage(self)

    def now(self) -> datetime:
        """The store's clock."""
        return _EPOCH + timedelta(seconds=self.steps)

    def new_id(self) -> str:
        """A name nobody else has, the same in each run of a seed."""
        return f"{self.random.getrandbits(64):016x}"

    def spawn(
        self, coroutine: Coroutine[Any, Any, None], crashed: Callable[[], None] | None = None
    ) -> None:
        """Add a client; `crashed` is called when it was made to crash."""
        client = _Client(coroutine, crashed)
        self._clients.append(client)
        self._resume(client, None, None)

    def run(self, steps: int = 100_000) -> None:
        """Until every client is done; `AssertionError` if that takes more steps."""
        limit = self.steps + steps
        while self._clients:
            assert self.steps < limit, "the clients come to no end"
            self.steps += 1
            while self._later and self._later[0][0] <= self.steps:
                self._quietly(self._later.pop(0)[1])
            ready = [client for client in self._clients if client.awake <= self.steps]
            if ready:
                self._step(self.random.choice(ready))
        for _, call in self._later:
            self._quietly(call)
        self._later.clear()

    def close(self) -> None:
        """Drop clients that are left, after a run that failed."""
        for client in self._clients:
            client.coroutine.close()
        self._clients.clear()

    # -- one step --------------------------------------------------------------

    def _step(self, client: _Client) -> None:
        call = client.call
        assert call is not None
        fault = self._pick()
        if isinstance(call, _Pause) and fault not in ("stall", "crash"):
            fault = ""
        if fault == "stall":
            client.awake = self.steps + self.random.randint(1, self.faults.delay)
            return
        if fault == "crash":
            if self.random.random() < 0.5:
                self._quietly(call)
            self._clients.remove(client)
            client.coroutine.close()
            if client.crashed is not None:
                client.crashed()
            return
        if fault in ("lost_request", "lost_reply", "late"):
            if fault == "lost_reply":
                self._quietly(call)
            elif fault == "late":
                self._schedule(call)
            kind = ErrOutcomeUnknown if call.writes else ErrUnavailable
            self._resume(client, None, kind("the reply was lost", key=call.key))
            return
        if fault == "repeated":
            self._quietly(call)
        elif fault == "again":
            self._schedule(call)
        try:
            value = self._do(call)
        except Exception as exc:
            self._resume(client, None, exc)
            return
        if fault == "damaged" and isinstance(value, Fetched):
            value = self._damaged(value)
        self._resume(client, value, None)

    def _pick(self) -> str:
        """The fault of this step, "" for none."""
        number = self.random.random()
        if number >= self._any:
            return ""
        for name, chance in zip(Faults._fields[:-1], self.faults[:-1], strict=True):
            if number < chance:
                return name
            number -= chance
        return ""

    def _schedule(self, call: _Call) -> None:
        self._later.append((self.steps + self.random.randint(1, self.faults.delay), call))
        self._later.sort(key=lambda item: item[0])

    def _do(self, call: _Call) -> Any:
        value = call.action()
        if call.writes and call.key is not None:
            self._times[call.key] = self.now()
            self.wrote(call.key)
        return value

    def _quietly(self, call: _Call) -> None:
        """Let it happen; whoever asked does not hear of it."""
        if call.writes:
            try:
                self._do(call)
            except AssertionError:
                raise
            except Exception:
                pass  # the reply that nobody gets

    def _damaged(self, value: Fetched) -> Fetched:
        data = bytearray(value.data)
        if data and self.random.random() < 0.5:
            data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        else:
            del data[self.random.choice([0, len(data) // 2, max(0, len(data) - 1)]) :]
        return Fetched(bytes(data), value.info)

    def _resume(self, client: _Client, value: Any, error: Exception | None) -> None:
        try:
            if error is not None:
                client.call = client.coroutine.throw(error)
            else:
                client.call = client.coroutine.send(value)
        except StopIteration:
            self._clients.remove(client)

    def placed(self, info: ObjectInfo) -> ObjectInfo:
        """What is known of an object, by the simulation's clock."""
        time = self._times.get(info.key, _EPOCH)
        return ObjectInfo(info.key, info.size, time, info.etag, info.content_type, info.metadata)


class SimulatedStorage(AsyncStorage):
    """A client's view of the simulation's store; each operation waits for its turn."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._space = simulation.space

    @property
    def url(self) -> str:
        """`memory://`: that is where the objects are."""
        return self._space.url

    @property
    def capabilities(self) -> Capabilities:
        """The memory store's."""
        return self._space.capabilities

    async def put(
        self,
        key: str,
        data: AsyncData,
        *,
        size: int | None = None,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        create: bool = False,
        if_match: str | Unset = UNSET,
        durable: bool | None = None,
        timeout: float | None = None,
    ) -> PutResult:
        """See `Storage.put`. Bytes only: what is sent again must be the same."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise ErrUnsupported("the simulation takes bytes", key=key, operation="put")
        content = bytes(data)[:size]
        return await _Call(
            lambda: self._space.put(
                key,
                content,
                size=size,
                content_type=content_type,
                metadata=metadata,
                create=create,
                if_match=if_match,
            ),
            key,
            True,
        )

    async def fetch(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        if_match: str | Unset = UNSET,
        if_none_match: str | Unset = UNSET,
    ) -> Fetched:
        """See `Storage.fetch`."""

        def action() -> Fetched:
            data, info = self._space.fetch(
                key, start=start, end=end, if_match=if_match, if_none_match=if_none_match
            )
            return Fetched(data, self._simulation.placed(info))

        return await _Call(action, key, False)

    async def stat(self, key: str) -> ObjectInfo:
        """See `Storage.stat`."""
        return await _Call(lambda: self._simulation.placed(self._space.stat(key)), key, False)

    async def open(self, key: str) -> AsyncReader:
        """Not here: clients of a simulation fetch."""
        raise ErrUnsupported("the simulation has no files", key=key, operation="open")

    async def writer(
        self,
        key: str,
        *,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        create: bool = False,
        if_match: str | Unset = UNSET,
        durable: bool | None = None,
    ) -> AsyncWriter:
        """Not here: clients of a simulation put."""
        raise ErrUnsupported("the simulation has no files", key=key, operation="writer")

    async def list(
        self, prefix: str = "", *, start_after: str | None = None, ordered: bool = True
    ) -> AsyncIterator[ObjectInfo]:
        """See `Storage.list`; others may write between two pages of a few keys."""
        while True:
            page = await _Call(partial(self._page, prefix, start_after), prefix, False)
            for info in page:
                yield info
            if len(page) < _PAGE:
                return
            start_after = page[-1].key

    def _page(self, prefix: str, start_after: str | None) -> list_[ObjectInfo]:
        found = []
        for info in self._space.list(prefix, start_after=start_after):
            found.append(self._simulation.placed(info))
            if len(found) == _PAGE:
                break
        return found

    async def list_level(self, prefix: str = "") -> AsyncIterator[ObjectInfo | Prefix]:
        """See `Storage.list_level`; seen in one step."""
        for entry in await _Call(lambda: list_(self._space.list_level(prefix)), prefix, False):
            yield self._simulation.placed(entry) if isinstance(entry, ObjectInfo) else entry

    async def delete(
        self, key: str, *, if_match: str | Unset = UNSET, must_exist: bool = False
    ) -> None:
        """See `Storage.delete`."""
        await _Call(
            lambda: self._space.delete(key, if_match=if_match, must_exist=must_exist), key, True
        )

    async def _copy_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        return await _Call(lambda: self._space.copy(src, dst, create=create), dst, True)

    async def _move_within(self, src: str, dst: str, *, create: bool) -> PutResult:
        return await _Call(lambda: self._space.move(src, dst, create=create), dst, True)

    async def clock(self) -> datetime:
        """The simulation's clock."""
        return await _Call(self._simulation.now, None, False)

    async def list_uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        """None: nothing is uploaded in parts."""
        for upload in await _Call(lambda: list_(self._space.list_uploads(prefix)), prefix, False):
            yield upload

    async def abort_upload(self, upload: Upload) -> None:
        """See `Storage.abort_upload`."""
        raise ErrNotExist("no such upload", key=upload.key, operation="abort_upload")

    async def _pause(self, seconds: float) -> None:
        await _Pause(lambda: None, None, False)


list_ = list  # `list` is a method's name inside the class
