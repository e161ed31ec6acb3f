"""Write the state of now into data files, so that 'data gc' can delete the log before it.

Writers do that by themselves once the log has grown.
"""

from __future__ import annotations

from argparse import Namespace

from objectstorage.cli._data import add_data, open_data
from objectstorage.cli._output import Output, bytes_text
from objectstorage.cli._parser import Parser
from objectstorage.cli._session import Session


def configure(parser: Parser) -> None:
    """The options of `data checkpoint`."""
    add_data(parser)


def run(args: Namespace, session: Session, out: Output) -> None:
    """Make one, unless the last one is of the newest commit."""
    data = open_data(args, session)
    status = data.checkpoint()
    if out.as_json:
        out.record({"operation": "checkpoint", **status._asdict(), "storage": data.url})
    else:
        out.message(
            f"checkpoint {status.checkpoint} of sequence {status.seq:,}: "
            f"{status.entries:,} entries, {bytes_text(status.size)} in {status.files:,} files"
        )
