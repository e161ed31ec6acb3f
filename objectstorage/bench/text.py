"""Numbers for people."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["count_text", "metric_text", "seconds_text", "short_count", "size_text", "sparkline"]


def size_text(size: float) -> str:
    """Bytes for people.

    >>> size_text(1536), size_text(64 * 1024 * 1024)
    ('1.5 KiB', '64 MiB')
    """
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} GiB"


def seconds_text(seconds: float) -> str:
    """A duration for people.

    >>> seconds_text(0.0000042), seconds_text(0.25)
    ('4.2 µs', '250 ms')
    """
    for factor, unit in ((1e9, "ns"), (1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def count_text(count: float) -> str:
    """A number of things, or of things a second, for people.

    >>> count_text(0.5), count_text(950), count_text(123456)
    ('0.5', '950', '123,000')
    """
    if count >= 1000:
        digits = len(str(int(count))) - 3
        return f"{round(count, -digits):,.0f}"
    return f"{count:.3g}"


def metric_text(metric: str, value: float) -> str:
    """A value of one of the metrics, with its unit.

    >>> metric_text("throughput", 1200), metric_text("p50", 0.002), metric_text("memory", 2048)
    ('1,200/s', '2 ms', '2 KiB')
    """
    if metric == "throughput":
        return f"{count_text(value)}/s"
    return size_text(value) if metric == "memory" else seconds_text(value)


def sparkline(values: Sequence[float]) -> str:
    """A row of bars from zero up to the largest value.

    >>> sparkline([0, 4, 8])
    '▁▄█'
    """
    bars = "▁▂▃▄▅▆▇█"
    top = max(values, default=0)
    if top <= 0:
        return bars[0] * len(values)
    return "".join(bars[max(0, round(value / top * len(bars)) - 1)] for value in values)


def short_count(count: float) -> str:
    """A number on an axis.

    >>> short_count(0), short_count(2500), short_count(120000)
    ('0', '2.5k', '120k')
    """
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{count / factor:.3g}{unit}"
    return f"{count:.3g}"
