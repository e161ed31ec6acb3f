"""Try on a live store whether it does what it says.

Everything happens below a fresh prefix, which is empty again at the end;
nothing else in the store is touched. The exit code is 1 if something promised
does not hold.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from objectstorage.cli._output import EXIT_FAILED, Output
from objectstorage.cli._parser import Parser
from objectstorage.cli._session import Session
from objectstorage.cli._tables import print_table
from objectstorage.doctor import Finding, Report, doctor


def configure(parser: Parser) -> None:
    """The operand of `doctor`."""
    parser.operands("URL")


def run(args: Namespace, session: Session, out: Output) -> int | None:
    """Print the findings, and what is wrong."""
    store = session.open(args.operands[0])
    session.check_options()
    out.message(f"examining {store.url}")
    report = doctor(store, on_finding=_record(out) if out.as_json else None)
    if out.as_json:
        fields = {name: _plain(value) for name, value in report.capabilities._asdict().items()}
        out.record({"storage": report.storage, "ok": report.ok, "capabilities": fields})
    else:
        _show(report, out)
    return None if report.ok else EXIT_FAILED


def _record(out: Output) -> Any:
    def record(finding: Finding) -> None:
        out.record(finding._asdict())

    return record


def _show(report: Report, out: Output) -> None:
    rows = [
        (
            f"{finding.capability}: {finding.check}",
            "yes" if finding.promised else "no",
            finding.found,
            finding.verdict,
        )
        for finding in report.findings
    ]
    print_table(out, ("", "promised", "found", "verdict"), rows)
    for why in dict.fromkeys(f.detail for f in report.findings if f.verdict == "absent"):
        if why:
            out.line(f"absent: {why}")
    broken = [finding for finding in report.findings if finding.verdict == "broken"]
    for finding in broken:
        out.line(f"{finding.capability}: {finding.check}: {finding.detail}")
    if not broken:
        out.line("everything promised holds")


def _plain(value: Any) -> Any:
    """A capability as JSON has it."""
    if hasattr(value, "_asdict"):
        return {name: _plain(item) for name, item in value._asdict().items()}
    if isinstance(value, frozenset | tuple):
        return sorted(value)
    return value
