"""The tables: for a terminal, or into a Markdown file, each part in its place."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from objectstorage.errors import ErrBadRequest

__all__ = ["Part", "Table", "headline", "markdown", "replace_part", "text"]

_PACKAGES = ("obstore", "opendal", "fsspec", "boto3", "minio", "s3fs")


class Table(NamedTuple):
    """Columns and rows of texts, and whether every target in it was reached."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    passed: bool


@dataclass(frozen=True)
class Part:
    """What one part of the measurements found."""

    name: str
    tables: Sequence[Table]
    notes: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        """Whether every target was reached."""
        return all(table.passed for table in self.tables)


def text(part: Part) -> str:
    """For a terminal."""
    blocks = []
    for table in part.tables:
        lines = [table.columns, *table.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
        blocks.append("\n".join(_line(line, widths) for line in lines))
    return "\n\n".join([*blocks, *part.notes])


def _line(texts: Iterable[str], widths: Iterable[int]) -> str:
    first, *others = zip(texts, widths, strict=True)
    cells = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]
    return "  ".join(cells)


def markdown(part: Part) -> str:
    """As Markdown, headed by when and where.

    >>> print(markdown(Part("x", [Table(("cell", "target"), [("get", "pass")], True)])).split()[0])
    Measured
    """
    blocks = [headline()]
    for table in part.tables:
        lines = [table.columns, ["---", *["--:"] * (len(table.columns) - 1)], *table.rows]
        blocks.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
    blocks += part.notes
    return "\n\n".join(blocks)


def replace_part(document: str, part: Part) -> str:
    """The document with the part's tables between its two marks.

    >>> marked = "a\\n<!-- benchmarks: x -->\\nold\\n<!-- /benchmarks: x -->\\nb\\n"
    >>> [line for line in replace_part(marked, Part("x", [])).split("\\n") if len(line) == 1]
    ['a', 'b']
    """
    begin, end = f"<!-- benchmarks: {part.name} -->", f"<!-- /benchmarks: {part.name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(document):
        raise ErrBadRequest(f"the file has no lines {begin} and {end}")
    return pattern.sub(lambda _: f"{begin}\n{markdown(part)}\n{end}", document, count=1)


def headline() -> str:
    """When and where: the day, the machine, the versions."""
    versions = [f"{name} {found}" for name in _PACKAGES if (found := _version(name))]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"Measured {date.today()} on {cores} cores ({_processor()}), {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}; {', '.join(versions)}."
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()
