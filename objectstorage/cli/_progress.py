"""A progress bar on standard error, while somebody watches: by rich, else plain."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

from objectstorage.cli._output import Output, bytes_text

__all__ = ["Cancelled", "Progress", "Transfer"]


class Cancelled(Exception):
    """The command ends; a transfer under way is given up."""


class Transfer:
    """One object's bytes; a callback as `upload` and `download` take it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.done = 0

    def __call__(self, done: int, total: int | None) -> None:
        progress = self._progress
        if progress.cancelled:
            raise Cancelled
        if progress.size is None and progress.count == 1:
            progress.size = total
        progress.add(done - self.done)
        self.done = done

    def more(self, count: int) -> None:
        """That many bytes more."""
        self(self.done + count, None)


class _Bar(Protocol):
    """What is on the terminal."""

    def draw(self, progress: Progress) -> None:
        """Show where things stand."""

    def say(self, text: str) -> None:
        """A line above."""

    def close(self) -> None:
        """Leave the terminal as it was found."""


class Progress:
    """Counts bytes, objects and failures of a long operation; safe across threads.

    Totals are None while they are unknown. Shows nothing unless `out` is
    watched; then bytes, rate, time left and failures.
    """

    def __init__(
        self, out: Output, label: str, *, size: int | None = None, count: int | None = None
    ) -> None:
        self.label = label
        self.size, self.count = size, count
        self.bytes = self.objects = self.failures = 0
        self.started = time.monotonic()
        self.cancelled = False
        self._out = out
        self._lock = threading.Lock()
        self._bar: _Bar | None = None

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started

    def add(self, count: int) -> None:
        """That many bytes more; fewer, when a transfer starts again."""
        with self._lock:
            self.bytes += count
            if self._bar is not None:
                self._bar.draw(self)

    @contextmanager
    def transfer(self) -> Iterator[Transfer]:
        """One object's bytes: counted as they come, taken back if it fails."""
        transfer = Transfer(self)
        try:
            yield transfer
        except BaseException:
            self.add(-transfer.done)
            raise

    def finished(self, *, failed: bool = False) -> None:
        """One object more is done, or has failed."""
        with self._lock:
            self.objects += not failed
            self.failures += failed
            if self._bar is not None:
                self._bar.draw(self)

    def __enter__(self) -> Self:
        if self._out.interactive:
            self._bar = _bar(self)
            self._out.above(self._bar.say)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: object, trace: TracebackType | None
    ) -> None:
        with self._lock:
            bar, self._bar = self._bar, None
        if bar is not None:
            bar.draw(self)
            bar.close()
            self._out.above(None)


def _bar(progress: Progress) -> _Bar:
    try:
        return _RichBar(progress)
    except ImportError:
        return _PlainBar()


class _RichBar:
    def __init__(self, progress: Progress) -> None:
        # imported here: it takes longer than most commands
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        # No highlighting and no markup: a key in a message is just text.
        console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._progress = RichProgress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[facts]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=console,
            refresh_per_second=10,
            transient=True,
        )
        self._task = self._progress.add_task(
            progress.label, total=_total(progress), facts=_facts(progress)
        )
        self._progress.start()

    def draw(self, progress: Progress) -> None:
        done = progress.objects if progress.size is None else progress.bytes
        self._progress.update(
            self._task, completed=done, total=_total(progress), facts=_facts(progress)
        )

    def say(self, text: str) -> None:
        self._progress.console.print(text, soft_wrap=True)

    def close(self) -> None:
        self._progress.stop()


class _PlainBar:
    """One line, rewritten a few times a second."""

    def __init__(self) -> None:
        self._drawn = 0.0
        self._width = 0

    def draw(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._drawn < 0.2:
            return
        self._drawn = now
        text = f"{progress.label} {_facts(progress)}"
        if progress.size and progress.bytes:
            left = progress.seconds * (progress.size - progress.bytes) / progress.bytes
            text += f", {max(0, left):.0f} s left"
        sys.stderr.write(f"\r{text:<{self._width}}")
        sys.stderr.flush()
        self._width = len(text)

    def say(self, text: str) -> None:
        sys.stderr.write(f"\r{text:<{self._width}}\n")
        self._drawn = 0.0

    def close(self) -> None:
        sys.stderr.write(f"\r{'':<{self._width}}\r")
        sys.stderr.flush()


def _total(progress: Progress) -> int | None:
    """What the bar measures: bytes, or objects while bytes are unknown."""
    return progress.count if progress.size is None else progress.size


def _facts(progress: Progress) -> str:
    rate = progress.bytes / max(progress.seconds, 0.001)
    size = "" if progress.size is None else f"/{bytes_text(progress.size)}"
    count = "" if progress.count is None else f"/{progress.count}"
    facts = [f"{progress.objects}{count} objects"]
    if progress.bytes or progress.size is not None:
        facts += [f"{bytes_text(progress.bytes)}{size}", f"{bytes_text(rate)}/s"]
    if progress.failures:
        facts.append(f"{progress.failures} failed")
    return ", ".join(facts)
