"""`python -m benchmarks.peers`: measure, and print the table of targets."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks.peers import parts
from benchmarks.peers.tables import Part, headline, replace_part, text
from objectstorage.bench import Report
from objectstorage.testing.servers import external, seaweedfs

_PARTS = ("import", "posix", "s3")


def main() -> int:
    """Measure what is asked for; 1 if a target was missed, or not measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--only", choices=_PARTS, help="one part of it")
    parser.add_argument("--quick", action="store_true", help="two minutes, less exact")
    parser.add_argument("--save", metavar="FOLDER", help="every measurement, as JSON lines")
    parser.add_argument(
        "--markdown",
        metavar="FILE",
        help="put each part's tables between its marks, <!-- benchmarks: PART --> and "
        "<!-- /benchmarks: PART -->, as soon as it is measured",
    )
    args = parser.parse_args()
    print(headline(), end="\n\n", flush=True)
    passed = True
    for name in _PARTS if args.only is None else (args.only,):
        part = _measure(name, args.quick, _saver(args.save))
        print(text(part), end="\n\n", flush=True)
        if args.markdown is not None:
            with open(args.markdown, "r+", encoding="utf-8") as file:
                document = replace_part(file.read(), part)
                file.seek(0)
                file.write(document)
                file.truncate()
        passed &= part.passed
    return 0 if passed else 1


def _measure(name: str, quick: bool, save: Callable[[str, Report], None]) -> Part:
    with ExitStack() as stack:
        if name == "import":
            return parts.imports(quick)
        if name == "posix":
            # not /tmp, which may be memory
            root = stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp"))
            return parts.local(root, quick, save)
        return parts.server(external() or stack.enter_context(seaweedfs()), quick, save)


def _saver(folder: str | None) -> Callable[[str, Report], None]:
    def save(name: str, report: Report) -> None:
        if folder is not None:
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, f"{name}.jsonl"), "w", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in report.lines())

    return save


if __name__ == "__main__":
    sys.exit(main())
