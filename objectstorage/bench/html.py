"""The results as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from objectstorage.bench.compare import Comparison, Side, differences
from objectstorage.bench.config import Cell
from objectstorage.bench.overhead import overhead_lines, overhead_table, overheads
from objectstorage.bench.report import (
    Table,
    comparison_table,
    difference_table,
    fact_text,
    notes,
    ratio_text,
    result_table,
)
from objectstorage.bench.results import Report, Result, every
from objectstorage.bench.stats import Ratio, median
from objectstorage.bench.svg import COLOURS, Line, Row, interval_plot, line_plot
from objectstorage.bench.text import seconds_text, short_count, size_text

__all__ = ["render"]

_STYLE = """
:root { color-scheme: light dark; --page: #fcfcfb; --ink: #1a1a19; --muted: #5f5e58;
  --grid: #e4e3dd; --series-1: #2a78d6; --series-2: #1a8f65; --series-3: #b87700;
  --series-4: #4a3aa7; --series-5: #d03b3b; --series-6: #b8447e;
  --faster: #1a8f65; --slower: #d03b3b; --same: #5f5e58; --inconclusive: #8f8e86; }
@media (prefers-color-scheme: dark) { :root { --page: #1a1a19; --ink: #f2f1ec;
  --muted: #b4b3aa; --grid: #383835; --series-1: #5a9ff0; --series-2: #2fb587;
  --series-3: #d99a26; --series-4: #9d92f0; --series-5: #ec7272; --series-6: #e07fb0;
  --faster: #2fb587; --slower: #ec7272; --same: #b4b3aa; --inconclusive: #8f8e86; } }
body { background: var(--page); color: var(--ink); margin: 0 auto; max-width: 1240px;
  padding: 24px; font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; } h2 { font-size: 18px; margin: 36px 0 8px; }
h3 { font-size: 14px; margin: 0 0 4px; }
p, li { max-width: 80ch; } .muted { color: var(--muted); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 14px 4px 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--grid); }
th { color: var(--muted); font-weight: 500; }
th:first-child, td:first-child { text-align: left; }
table.facts th, table.facts td { text-align: left; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 28px; }
figure { margin: 0; } svg { width: 100%; height: auto; display: block; }
svg text { font: 11px system-ui, sans-serif; }
.legend { font-size: 12px; color: var(--muted); margin: 0 0 4px; }
.legend span { margin-right: 14px; white-space: nowrap; }
.legend i { display: inline-block; width: 14px; height: 3px; border-radius: 2px;
  margin-right: 5px; vertical-align: middle; }
.wide { max-width: 620px; margin-bottom: 20px; }
"""


def render(
    report: Report,
    other: Report | None = None,
    compared: Sequence[Comparison] = (),
    metric: str = "throughput",
    layers: tuple[str, str] | None = None,
) -> str:
    """The page of one report, or of two and how their cells compare.

    layers: what was compared, A's and B's; the first one of A and the last of B if None.
    """
    reports = [report] if other is None or other is report else [report, other]
    body = [f"<h1>Benchmark of {escape(_names(reports))}</h1>"]
    if other is not None:
        sides = layers or (report.layers[0], other.layers[-1])
        body += _compared(Side(report, sides[0]), Side(other, sides[1]), compared, metric)
    elif len(report.layers) > 1:
        body += _overhead(report)
    for n, each in enumerate(reports):
        side = f" of {'AB'[n]}" if len(reports) > 1 else ""
        body += _one(each, side)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Benchmark of {escape(_names(reports))}</title>"
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _names(reports: Sequence[Report]) -> str:
    return " and ".join(dict.fromkeys(url for each in reports for url in each.stores.values()))


def _compared(a: Side, b: Side, compared: Sequence[Comparison], metric: str) -> Iterator[str]:
    sides = (a, b)
    yield "<h2>B against A</h2>"
    for side, name in zip(sides, "AB", strict=True):
        yield f"<p><b>{name}</b> is {escape(side.report.stores[side.layer])}</p>"
    differing = differences(*sides)
    if differing:
        yield _table(difference_table(differing), "facts")
    if not compared:
        return
    yield (
        f"<p class=\"muted\">B's speed as a multiple of A's, by {escape(metric)}: the median of "
        "the repeats and the interval that holds it with 95 %. Right of 1, B is faster.</p>"
    )
    rows = []
    for c in compared:
        rows.append(
            Row(
                str(c.cell),
                f"var(--{c.verdict})",
                *_shown(c.speed),
                [(c.speed.value, ratio_text(c.speed))],
                c.verdict,
            )
        )
    plot = interval_plot("B's speed relative to A's", rows, text=_times, centre=1.0)
    yield f'<figure class="wide">{plot}</figure>'
    yield _table(comparison_table(compared, metric))


def _overhead(report: Report) -> Iterator[str]:
    yield f"<h2>What the layers cost over {escape(report.layers[0])}</h2>"
    yield "".join(f"<p>{escape(line)}.</p>" for line in overhead_lines(report))
    layers = report.layers[1:]
    for layer in layers:
        rows = [
            Row(
                str(o.cell),
                f"var(--series-{report.layers.index(layer) % COLOURS + 1})",
                *_shown(o.time),
                [(o.time.value, ratio_text(o.time))],
                f"{o.time.value:.2f}×",
            )
            for o in overheads(report)
            if o.layer == layer
        ]
        if rows:
            title = f"{layer}: times as long as {report.layers[0]}"
            plot = interval_plot(title, rows, text=_times, centre=1.0)
            yield f'<figure class="wide"><h3>{escape(title)}</h3>{plot}</figure>'
    yield _table(overhead_table(report))


def _shown(ratio: Ratio) -> tuple[float, float]:
    """The ends of its interval; a point where too few repeats tell none."""
    if ratio.high == float("inf"):
        return ratio.value, ratio.value
    return ratio.low, ratio.high


def _one(report: Report, side: str) -> Iterator[str]:
    yield f"<h2>Results{side}</h2>"
    yield '<p class="muted">Medians of the repeats; times are of one operation.</p>'
    yield _table(result_table(report))
    found = notes(report)
    if found:
        yield "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in found) + "</ul>"
    for title, plots in (
        ("Throughput over time", _over_time(report)),
        ("Latency", _latencies(report)),
        ("Scaling with concurrency", _scaling(report)),
    ):
        figures = list(plots)
        if figures:
            yield f"<h2>{title}{side}</h2>"
            if title == "Latency":
                yield (
                    '<p class="muted">From the fastest to the slowest operation, on a '
                    "logarithmic axis; the points are p50, p90, p99 and p99.9 where the samples "
                    "allow.</p>"
                )
            yield '<div class="plots">' + "".join(figures) + "</div>"
    yield f"<h2>What was run{side}</h2>"
    facts = {**report.stores, **report.environment, **report.config}
    yield _table(
        Table(("", ""), [(name, fact_text(value)) for name, value in facts.items()]), "facts"
    )


_Group = list[tuple[str, int, Cell, list[Result]]]


def _groups(report: Report) -> Iterator[tuple[str, _Group]]:
    """The series of each plot, name and colour first: one plot a workload and size."""
    groups: dict[tuple[str, int], _Group] = {}
    layered = len(report.layers) > 1
    for (layer, cell), results in report.cells().items():
        group = groups.setdefault((cell.workload, cell.size), [])
        name = f"{layer} ×{cell.concurrency}" if layered else f"×{cell.concurrency}"
        colour = report.layers.index(layer) if layered else len(group)
        group.append((name, colour, cell, results))
    for (workload, size), group in groups.items():
        yield f"{workload}, {size_text(size)}", group


def _over_time(report: Report) -> Iterator[str]:
    """The median repeat; one plot a workload and size, with layers also a concurrency."""
    layered = len(report.layers) > 1
    plots: dict[str, list[Line]] = {}
    for (layer, cell), results in report.cells().items():
        ranked = sorted(results, key=lambda r: r.metric("throughput") or 0)
        counts = ranked[len(ranked) // 2].per_second
        if len(counts) < 2:
            continue
        title = f"{cell.workload}, {size_text(cell.size)}"
        name = layer if layered else f"×{cell.concurrency}"
        lines = plots.setdefault(f"{title}, ×{cell.concurrency}" if layered else title, [])
        points = [(float(i + 1), float(count)) for i, count in enumerate(counts)]
        lines.append(Line(name, report.layers.index(layer) if layered else len(lines), points))
    for title, lines in plots.items():
        plot = line_plot(title, lines, x_label="second", y_text=short_count)
        yield _figure(f"{title}, operations/s", plot, lines)


def _latencies(report: Report) -> Iterator[str]:
    for title, group in _groups(report):
        rows = []
        for name, n, _, results in group:
            found: dict[str, float] = {}
            for mark in ("min", "p50", "p90", "p99", "p99.9", "max"):
                values = every(results, mark)
                if values and min(values) > 0:
                    found[mark] = median(values)
            if "min" in found and "max" in found:
                marks = [(v, mark) for mark, v in found.items() if mark not in ("min", "max")]
                colour = f"var(--series-{n % COLOURS + 1})"
                rows.append(Row(name, colour, found["min"], found["max"], marks))
        if rows:
            yield _figure(title, interval_plot(title, rows, text=seconds_text), ())


def _scaling(report: Report) -> Iterator[str]:
    for title, group in _groups(report):
        layers: dict[str, list[tuple[float, float]]] = {}
        for layer in report.layers:
            for _, _, cell, results in group:
                values = [
                    v
                    for r in results
                    if r.layer == layer and (v := r.metric("throughput")) is not None
                ]
                if values:
                    layers.setdefault(layer, []).append((float(cell.concurrency), median(values)))
        lines = [
            Line(layer, report.layers.index(layer), sorted(points))
            for layer, points in layers.items()
            if len(points) > 1
        ]
        if lines:
            ticks = sorted({x for line in lines for x, _ in line.points})
            plot = line_plot(title, lines, x_label="in flight", y_text=short_count, x_ticks=ticks)
            yield _figure(f"{title}, objects/s", plot, lines)


def _figure(title: str, plot: str, lines: Sequence[Line]) -> str:
    legend = ""
    if len(lines) > 1:
        legend = "".join(
            f'<span><i style="background: var(--series-{line.colour % COLOURS + 1})"></i>'
            f"{escape(line.name)}</span>"
            for line in lines
        )
        legend = f'<p class="legend">{legend}</p>'
    return f"<figure><h3>{escape(title)}</h3>{legend}{plot}</figure>"


def _table(table: Table, kind: str = "") -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in table.rows
    )
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _times(value: float) -> str:
    return f"{value:.3g}×"
