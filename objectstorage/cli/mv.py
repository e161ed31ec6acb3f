"""Move an object, or with -r all below a folder, within a store or between two.

Atomic within a folder store; on S3 and between stores it is a copy, then a
delete of the version that was copied. DST is as for 'cp'.
"""

from __future__ import annotations

from argparse import Namespace

from objectstorage.cli import _copying
from objectstorage.cli._copying import configure
from objectstorage.cli._output import Output
from objectstorage.cli._session import Session

__all__ = ["configure", "run"]


def run(args: Namespace, session: Session, out: Output) -> None:
    """Move; see the module."""
    _copying.run(args, session, out, move=True)
