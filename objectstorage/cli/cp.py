"""Copy an object, or with -r all below a folder, within a store or between two.

DST is the new key, or a folder if it ends in '/' or is the store itself. Files
are copied by 'put' and 'get'.
"""

from __future__ import annotations

from argparse import Namespace

from objectstorage.cli import _copying
from objectstorage.cli._copying import configure
from objectstorage.cli._output import Output
from objectstorage.cli._session import Session

__all__ = ["configure", "run"]


def run(args: Namespace, session: Session, out: Output) -> None:
    """Copy; see the module."""
    _copying.run(args, session, out, move=False)
