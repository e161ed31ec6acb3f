"""Plots as inline SVG, coloured by the page's custom properties.

Colours are `--series-1` … `--series-6`, `--ink`, `--muted`, `--grid`; the page
that holds a plot defines them, for light and for dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

__all__ = ["COLOURS", "Line", "Row", "interval_plot", "line_plot"]

COLOURS = 6
"""How many series can be told apart by colour."""

_WIDTH = 400
_LABELS = 118
_TICKS = 4


class Line(NamedTuple):
    """A line: its name, the number of its colour from 0, its points."""

    name: str
    colour: int
    points: Sequence[tuple[float, float]]


class Row(NamedTuple):
    """A row of a plot of intervals.

    marks: a value and what it is, each; the line reaches from `low` to `high`.
    """

    name: str
    colour: str
    low: float
    high: float
    marks: Sequence[tuple[float, str]]
    note: str = ""


def line_plot(
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str,
    y_text: Callable[[float], str],
    x_ticks: Sequence[float] | None = None,
) -> str:
    """Lines over a linear axis that begins at zero.

    x_ticks: the places to name, spaced evenly whatever their values; None for a
        linear axis.
    """
    left, right, top, bottom, height = 52, 12, 12, 34, 190
    most = max((y for line in lines for _, y in line.points), default=0) or 1
    ticks = _linear_ticks(most)
    most = max(most, ticks[-1])
    if x_ticks is None:
        last = max((x for line in lines for x, _ in line.points), default=1) or 1
        places = {x: x / last for line in lines for x, _ in line.points}
        named = [x for x in _linear_ticks(last) if x <= last]
        at = {**{x: x / last for x in named}, **places}
    else:
        named = list(x_ticks)
        at = {x: (i / (len(named) - 1) if len(named) > 1 else 0.5) for i, x in enumerate(named)}

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + at[x] * (_WIDTH - left - right),
            height - bottom - y / most * (height - top - bottom),
        )

    parts = []
    for tick in ticks:
        _, y = place(named[0], tick)
        parts.append(_grid(left, y, _WIDTH - right, y))
        parts.append(_text(left - 6, y + 3.5, y_text(tick), "end"))
    for x_tick in named:
        x, _ = place(x_tick, 0)
        parts.append(_text(x, height - bottom + 14, f"{x_tick:g}", "middle"))
    parts.append(_text((left + _WIDTH - right) / 2, height - 4, x_label, "middle"))
    for line in lines:
        colour = f"var(--series-{line.colour % COLOURS + 1})"
        points = [place(x, y) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), (x_value, y_value) in zip(points, line.points, strict=True):
            tip = f"{line.name}: {y_text(y_value)} at {x_value:g}"
            parts.append(_dot(x, y, 3, colour, tip))
    return _svg(title, height, parts)


def interval_plot(
    title: str, rows: Sequence[Row], *, text: Callable[[float], str], centre: float | None = None
) -> str:
    """Intervals with marks over a logarithmic axis.

    centre: a value to draw a line at, with as much room on either side.
    """
    right, top, row_height, bottom = 96 if any(row.note for row in rows) else 26, 8, 22, 24
    height = top + row_height * len(rows) + bottom
    low, high = min(row.low for row in rows), max(row.high for row in rows)
    if centre is not None:
        # a little room, and both ends as far away as the farther one
        span = max(high / centre, centre / low, 1.1) ** 1.05
        low, high = centre / span, centre * span
    elif low == high:
        low, high = low / 2, high * 2
    scale = (_WIDTH - _LABELS - right) / math.log(high / low)

    def place(value: float) -> float:
        return _LABELS + math.log(value / low) * scale

    parts = []
    end = height - bottom
    for tick in _log_ticks(low, high) if centre is None else _ratio_ticks(low, high):
        x = place(tick)
        parts.append(_grid(x, top, x, end))
        parts.append(_text(x, end + 15, text(tick), "middle"))
    if centre is not None:
        x = place(centre)
        parts.append(
            f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{end}" stroke="var(--muted)"/>'
        )
    for n, row in enumerate(rows):
        y = top + row_height * (n + 0.5)
        parts.append(_text(_LABELS - 8, y + 3.5, row.name, "end", ink=True))
        parts.append(
            f'<line x1="{place(row.low):.1f}" y1="{y}" x2="{place(row.high):.1f}" y2="{y}" '
            f'stroke="{row.colour}" stroke-width="2" stroke-linecap="round"/>'
        )
        for value, name in row.marks:
            parts.append(_dot(place(value), y, 4, row.colour, f"{row.name}: {name} {text(value)}"))
        if row.note:
            parts.append(_text(_WIDTH - right + 10, y + 3.5, row.note, "start", ink=True))
    return _svg(title, height, parts)


def _linear_ticks(most: float) -> list[float]:
    """Round numbers from 0 to about `most`."""
    raw = most / _TICKS
    power = 10 ** math.floor(math.log10(raw))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= raw)
    return [step * i for i in range(math.ceil(most / step - 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [10.0**power for power in powers]
    if math.log10(high / low) < 2:
        ticks = [n * tick for tick in ticks for n in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    # None at all if both lie between two of them.
    return ticks[:: -(-len(ticks) // 5)] if ticks else [low]


def _ratio_ticks(low: float, high: float) -> list[float]:
    far = [n * 10.0**power for power in range(4) for n in (1, 2, 5)]
    above = [tick for tick in (1.1, 1.25, 1.5, *far[1:]) if tick <= high]
    above = above[-1:] if len(above) < 3 else above[len(above) // 2 - 1 :: len(above) // 2]
    return [*(1 / tick for tick in reversed(above)), 1.0, *above]


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def _grid(x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        'stroke="var(--grid)" stroke-width="1"/>'
    )


def _dot(x: float, y: float, radius: float, colour: str, tip: str) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}">'
        f"<title>{escape(tip)}</title></circle>"
    )


def _text(x: float, y: float, text: str, anchor: str, *, ink: bool = False) -> str:
    colour = "var(--ink)" if ink else "var(--muted)"
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">'
        f"{escape(text)}</text>"
    )
