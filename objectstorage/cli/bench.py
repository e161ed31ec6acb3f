"""Measure a store: throughput, latencies, the client's CPU and memory.

Everything happens below a fresh prefix, which is empty again at the end and
after Ctrl-C; nothing else in the store is touched.
"""

from __future__ import annotations

from argparse import Namespace

from objectstorage.bench.html import render
from objectstorage.bench.layers import layer_target
from objectstorage.cli._benching import (
    add_run_options,
    config_of,
    print_report,
    run_targets,
    write_html,
)
from objectstorage.cli._output import Output
from objectstorage.cli._parser import Parser
from objectstorage.cli._session import Session


def configure(parser: Parser) -> None:
    """The options of `bench`."""
    parser.operands("URL")
    add_run_options(parser)


def run(args: Namespace, session: Session, out: Output) -> None:
    """Run the workloads and print what was measured."""
    config = config_of(args)
    store = session.open(args.operands[0])
    session.check_options()
    out.message(f"measuring {store.url}: {len(config.cells())} cells, {config.repeats} repeats")
    targets = [layer_target(store, name, durable=config.durable) for name in args.layers]
    report = run_targets(targets, config, args, out)
    print_report(report, out)
    write_html(args.html, lambda: render(report))
