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
_TICKS = 4
_LETTER = 6.2  # of the page's 11 px type, on the average
_APART = 44  # between the ticks of an axis, so that their texts are


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

    centre: a value to draw a line at, with room on either side.
    """
    left = max(len(row.name) for row in rows) * _LETTER + 16
    right = max(len(row.note) for row in rows) * _LETTER + 24
    top, row_height, bottom = 8, 22, 24
    width = max(_WIDTH, left + right + 240)
    height = top + row_height * len(rows) + bottom
    low, high = min(row.low for row in rows), max(row.high for row in rows)
    if centre is not None:
        low, high = min(low / 1.05, centre / 1.2), max(high * 1.05, centre * 1.2)
    elif low == high:
        low, high = low / 2, high * 2
    scale = (width - left - right) / math.log(high / low)

    def place(value: float) -> float:
        return left + math.log(value / low) * scale

    parts = []
    end = height - bottom
    ticks = _log_ticks(low, high) if centre is None else _ratio_ticks(low, high, centre)
    for tick in _spaced(ticks, place):
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
        parts.append(_text(left - 8, y + 3.5, row.name, "end", ink=True))
        parts.append(
            f'<line x1="{place(row.low):.1f}" y1="{y}" x2="{place(row.high):.1f}" y2="{y}" '
            f'stroke="{row.colour}" stroke-width="2" stroke-linecap="round"/>'
        )
        for value, name in row.marks:
            parts.append(_dot(place(value), y, 4, row.colour, f"{row.name}: {name} {text(value)}"))
        if row.note:
            parts.append(_text(width - right + 10, y + 3.5, row.note, "start", ink=True))
    return _svg(title, height, parts, width)


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
    # None at all if both lie between two of them.
    return [tick for tick in ticks if low <= tick <= high] or [low]


def _ratio_ticks(low: float, high: float, centre: float) -> list[float]:
    """The centre, and round multiples and fractions of it, the nearer ones first."""
    steps = (1.1, 1.25, 1.5, *(n * 10.0**power for power in range(5) for n in (1, 2, 5)))
    around = (tick for step in steps for tick in (centre * step, centre / step))
    return [centre, *dict.fromkeys(t for t in around if low <= t <= high and t != centre)]


def _spaced(ticks: Sequence[float], place: Callable[[float], float]) -> list[float]:
    """Those that leave room for their texts; what comes first goes before."""
    kept: list[float] = []
    for tick in ticks:
        if all(abs(place(tick) - place(other)) >= _APART for other in kept):
            kept.append(tick)
    return kept


def _svg(title: str, height: float, parts: Sequence[str], width: float = _WIDTH) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}">'
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
