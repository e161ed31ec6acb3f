"""Compare two stores, measured in turns, or two files saved by `bench`.

Tells what differs between the two sides first, then, for each cell that both
have, B's speed as a multiple of A's, the interval that holds it with 95 %, and
whether B is faster, slower, the same, or whether that can't be said. Of two
runs, "machine" is how fast the machine itself was during B, as a multiple of
during A, and the speed is what remains without that.
"""

from __future__ import annotations

import os
from argparse import ArgumentTypeError, Namespace
from dataclasses import asdict

from objectstorage.bench.compare import (
    VERDICTS,
    Comparison,
    Difference,
    Side,
    compare,
    differences,
)
from objectstorage.bench.config import Cell
from objectstorage.bench.html import render
from objectstorage.bench.layers import layer_target
from objectstorage.bench.report import comparison_table, difference_table
from objectstorage.bench.results import METRICS, load
from objectstorage.cli._benching import (
    add_run_options,
    config_of,
    run_targets,
    show,
    write_html,
)
from objectstorage.cli._output import EXIT_REGRESSION, Output, Usage
from objectstorage.cli._parser import Parser
from objectstorage.cli._session import Session, is_address
from objectstorage.errors import ErrBadRequest


def configure(parser: Parser) -> None:
    """The options of `compare`."""
    parser.operands("A", "B")
    group = parser.add_argument_group("how to compare")
    group.add_argument(
        "--metric", choices=tuple(METRICS), default="throughput", help="default: throughput"
    )
    group.add_argument(
        "--tolerance",
        metavar="SHARE",
        type=float,
        default=0.05,
        help="how much of a difference is none (default 0.05)",
    )
    group.add_argument("--layer", metavar="NAME", help="of files that hold several")
    group.add_argument(
        "--fail-on",
        metavar="VERDICTS",
        type=_verdicts,
        default=(),
        help="exit with 8 if any cell is one of these, or only fails in B, of "
        f"{', '.join(VERDICTS)}",
    )
    add_run_options(parser)


def run(args: Namespace, session: Session, out: Output) -> int | None:
    """Measure or load both sides, and print how they compare."""
    addresses = [is_address(text) for text in args.operands]
    if any(addresses) != all(addresses):
        raise Usage("A and B are two stores, or two files of results")
    if all(addresses):
        a, b = _measured(args, session, out)
    else:
        a, b = (_loaded(path, args.layer) for path in args.operands)
    compared, alone = compare(a, b, metric=args.metric, tolerance=args.tolerance)
    _print(args.metric, differences(a, b), compared, alone, out)
    write_html(
        args.html,
        lambda: render(a.report, b.report, compared, args.metric, (a.layer, b.layer)),
    )
    if not compared:
        raise Usage("the two sides have no cell in common")
    failed = any(cell in _failing(b) and cell not in _failing(a) for cell in alone)
    if args.fail_on and (failed or any(c.verdict in args.fail_on for c in compared)):
        return EXIT_REGRESSION
    return None


def _failing(side: Side) -> set[Cell]:
    """The cells of which a repeat had failures and no success: they have no speed."""
    return {
        cell
        for (layer, cell), results in side.report.cells().items()
        if layer == side.layer and any(r.errors and not r.operations for r in results)
    }


def _measured(args: Namespace, session: Session, out: Output) -> tuple[Side, Side]:
    config = config_of(args)
    if args.layer is not None:
        raise Usage("--layer is for files of results; --layers is for stores")
    if len(args.layers) > 2:
        raise Usage("--layers has one layer for both sides, or A's and B's")
    stores = [session.open(url) for url in args.operands]
    session.check_options()
    out.message(f"measuring {stores[0].url} (A) and {stores[1].url} (B) in turns")
    faces = args.layers[0], args.layers[-1]
    names = "AB" if faces[0] == faces[1] else (f"A {faces[0]}", f"B {faces[1]}")
    targets = [
        layer_target(store, face, layer=name, durable=config.durable)
        for store, face, name in zip(stores, faces, names, strict=True)
    ]
    report = run_targets(targets, config, args, out)
    return Side(report, names[0]), Side(report, names[1])


def _loaded(path: str, layer: str | None) -> Side:
    with open(path, encoding="utf-8", errors="replace") as file:
        try:
            report = load(file)
            if layer is None:
                return Side.only(report)
            if layer not in report.layers:
                raise ErrBadRequest(f"there is no layer {layer!r} in it")
            return Side(report, layer)
        except ErrBadRequest as exc:
            raise Usage(f"{os.fsdecode(path)!r}: {exc.message}") from exc


def _print(
    metric: str,
    differing: list[Difference],
    compared: list[Comparison],
    alone: list[Cell],
    out: Output,
) -> None:
    if out.as_json:
        for difference in differing:
            out.record({"type": "difference", **difference._asdict()})
        for c in compared:
            out.record({"type": "comparison", "metric": metric, **_record(c)})
        return
    show(difference_table(differing), out)
    show(comparison_table(compared, metric), out)
    for cell in alone:
        out.line(f"{cell}: only one side has {metric}")


def _record(compared: Comparison) -> dict[str, object]:
    fields = asdict(compared)
    cell, speed = compared.cell, compared.speed
    bounded = speed.high != float("inf")
    # JSON has no infinity: without an interval there are no bounds
    fields["speed"] = {
        "value": speed.value,
        "low": speed.low if bounded else None,
        "high": speed.high if bounded else None,
    }
    del fields["cell"]
    return {**cell._asdict(), **fields}


def _verdicts(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in VERDICTS:
            raise ArgumentTypeError(f"no verdict {name!r}; there are {', '.join(VERDICTS)}")
    return names
