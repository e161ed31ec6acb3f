"""What S3 logic may ask of the outside world, and the driver that blocks.

All S3 logic is generators that yield the effects below and are sent their
results; they do no I/O. An `Exchange` is an effect too: to send it and get its
`Reply`, the body read unless a stream was asked for. `BlockingDriver` runs them
here; the asynchronous face runs the same generators on an event loop. An effect
that fails is thrown into the generator as the exception it failed with.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from objectstorage.bodies import pull
from objectstorage.errors import ErrClosed, StorageError
from objectstorage.s3.exchange import Exchange
from objectstorage.s3.shortcut import MORE, Shortcut

if TYPE_CHECKING:
    from objectstorage.bodies import Source
    from objectstorage.s3.transport import Reply, Transport

__all__ = [
    "Block",
    "BlockingDriver",
    "Close",
    "Connect",
    "Effects",
    "Emit",
    "Pull",
    "ReadBody",
    "Sleep",
    "Spawn",
    "Task",
    "WaitAny",
]

_T = TypeVar("_T")
Effects: TypeAlias = Generator[Any, Any, _T]
"""A generator of effects that ends in a `_T`."""


class ReadBody:
    """At most `n` bytes of a streamed reply -> bytes; empty at its end."""

    __slots__ = ("n", "reply")

    def __init__(self, reply: Reply, n: int) -> None:
        self.reply = reply
        self.n = n


class Close:
    """Give up a streamed reply before its end -> None."""

    __slots__ = ("reply",)

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


class Pull:
    """Exactly `n` bytes of the caller's data, fewer only at its end -> bytes-like."""

    __slots__ = ("n", "source")

    def __init__(self, source: Source, n: int) -> None:
        self.source = source
        self.n = n


class Spawn:
    """Run a generator beside this one -> `Task`."""

    __slots__ = ("generator",)

    def __init__(self, generator: Effects[Any]) -> None:
        self.generator = generator


class WaitAny:
    """Wait until some of the tasks are done -> those."""

    __slots__ = ("tasks",)

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tasks


class Sleep:
    """Wait -> None."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Block:
    """Call a function that may block, such as a credential provider -> its result."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function


class Connect:
    """Send what follows to another origin, such as the bucket's own region -> None."""

    __slots__ = ("origin",)

    def __init__(self, origin: str) -> None:
        self.origin = origin


class Emit:
    """Hand a batch to whoever iterates -> None. Only in generators run by `iterate`."""

    __slots__ = ("batch",)

    def __init__(self, batch: Any) -> None:
        self.batch = batch


class Task:
    """A generator that runs beside another one; `result` raises what it raised."""

    __slots__ = ("future",)

    def __init__(self, future: Any) -> None:
        self.future = future

    def result(self) -> Any:
        """What it returned."""
        return self.future.result()

    def cancel(self) -> None:
        """Stop it where that can be done: on an event loop always, in a thread before it began."""
        self.future.cancel()

    def settle(self) -> BaseException | None:
        """What it failed with, once it is done."""
        if self.future.cancelled():
            return ErrClosed("the store was closed")
        error: BaseException | None = self.future.exception()
        return error


class BlockingDriver:
    """Runs effects by blocking; parts run in a pool of threads made on first use.

    Tasks never spawn tasks, so a bounded pool can't wait for itself.
    """

    def __init__(
        self, connect: Callable[[str], Transport], origin: str, workers: int, storage: str
    ) -> None:
        self._storage = storage
        self._connect = connect
        self._transport = connect(origin)
        self._former: list[Transport] = []
        self._workers = workers
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def run(
        self,
        steps: Effects[_T] | Shortcut[_T],
        operation: str | None = None,
        key: str | None = None,
    ) -> _T:
        """Run to the end and give the result; an error says what failed, and where."""
        try:
            if isinstance(steps, Shortcut):
                try:
                    steps.outcome = reply = self._transport.send(steps.exchange)
                except BaseException as exc:
                    steps.outcome = exc
                else:
                    result = steps.finish(reply)
                    if result is not MORE:
                        return result
                steps = steps.resume()
            send, throw = steps.send, steps.throw
            effect = send(None)
            while True:
                try:
                    value = (
                        self._transport.send(effect)
                        if type(effect) is Exchange
                        else self._perform(effect)
                    )
                except BaseException as exc:
                    effect = throw(exc)
                else:
                    effect = send(value)
        except StopIteration as stop:
            return stop.value
        except StorageError as exc:
            raise exc.at(key=key, operation=operation, storage=self._storage)

    def iterate(self, generator: Effects[Any]) -> Iterator[Any]:
        """Run, yielding each `Emit`'s batch; closing the iterator closes the generator."""
        try:
            try:
                effect = generator.send(None)
                while True:
                    if type(effect) is Emit:
                        yield effect.batch
                        effect = generator.send(None)
                        continue
                    try:
                        value = self._perform(effect)
                    except BaseException as exc:
                        effect = generator.throw(exc)
                    else:
                        effect = generator.send(value)
            except StopIteration:
                return
        finally:
            generator.close()

    def _perform(self, effect: Any) -> Any:
        kind = type(effect)
        if kind is Exchange:
            return self._transport.send(effect)
        if kind is ReadBody:
            return self._transport.read(effect.reply, effect.n)
        if kind is Pull:
            return pull(effect.source, effect.n)
        if kind is Spawn:
            return Task(self._executor().submit(self.run, effect.generator))
        if kind is WaitAny:
            done = wait([task.future for task in effect.tasks], return_when=FIRST_COMPLETED).done
            return [task for task in effect.tasks if task.future in done]
        if kind is Sleep:
            return time.sleep(effect.seconds)
        if kind is Close:
            return self._transport.abort(effect.reply)
        if kind is Block:
            return effect.function()
        if kind is Connect:
            # Others may still be receiving: the former transport closes with the store.
            self._former.append(self._transport)
            self._transport = self._connect(effect.origin)
            return None
        raise TypeError(f"no effect: {effect!r}")

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._workers, "objectstorage-s3")
            return self._pool

    def close(self) -> None:
        """Let threads and connections go."""
        for transport in (self._transport, *self._former):
            transport.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def after_fork(self) -> None:
        """In a child: the parent's threads are not here, its connections not ours."""
        self._pool = None
        self._lock = threading.Lock()
        for transport in (self._transport, *self._former):
            transport.after_fork()
