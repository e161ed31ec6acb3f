"""Tables: by rich on a terminal, in plain columns elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from objectstorage.cli._output import Output, escape

__all__ = ["print_table"]


def print_table(out: Output, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The rows under their columns; the first column to the left, the others to the right."""
    if sys.stdout is not None and sys.stdout.isatty():
        try:
            _rich_table(columns, rows)
            return
        except ImportError:
            pass
    lines = [columns, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        first, *others = (
            text.rjust(width) if i else text.ljust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        out.line("  ".join((first, *others)).rstrip())


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    for row in rows:
        table.add_row(*(Text(escape(text)) for text in row))
    Console(highlight=False).print(table)
