"""Show where the data stands: the newest commit, the log, the last checkpoint."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from objectstorage.cli._data import add_data, open_data
from objectstorage.cli._output import Output, bytes_text
from objectstorage.cli._parser import Parser
from objectstorage.cli._session import Session
from objectstorage.datamanager import DataManager
from objectstorage.errors import ErrNoDataStatus


def configure(parser: Parser) -> None:
    """The options of `data status`."""
    add_data(parser)


def run(args: Namespace, session: Session, out: Output) -> None:
    """Print what is known without reading the entries."""
    facts = _facts(open_data(args, session))
    if out.as_json:
        out.record(facts)
        return
    out.line(f"store        {facts['storage']}")
    out.line(f"id           {facts['store_id'] or '- (nothing was ever written)'}")
    out.line(f"sequence     {facts['seq']:,}")
    out.line(f"epoch        {facts['epoch']}")
    out.line(f"maintenance  {facts['maintenance'] or '-'}")
    out.line(f"log          {facts['seq'] - facts['boundary']:,} commits")
    last = facts["checkpoint"]
    if last is None:
        out.line("checkpoint   none yet")
    else:
        out.line(f"checkpoint   {last['checkpoint']}, of sequence {last['seq']:,}")
        out.line(f"  made       {last['time']:%Y-%m-%dT%H:%M:%SZ}")
        out.line(f"  entries    {last['entries']:,}")
        out.line(f"  size       {bytes_text(last['size'])} in {last['files']:,} files")


def _facts(data: DataManager) -> dict[str, Any]:
    try:
        checkpoint = data.last_data_status()._asdict()
    except ErrNoDataStatus:
        checkpoint = None
    return {
        "storage": data.url,
        "store_id": data.store_id(),
        "seq": data.head(),
        "epoch": data.epoch(),
        "maintenance": data.in_maintenance(),
        "boundary": data.boundary(),
        "checkpoint": checkpoint,
    }
