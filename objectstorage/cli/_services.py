"""What the commands of the services share: which store, which service, which token."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import TYPE_CHECKING

from objectstorage.cli._output import Usage
from objectstorage.cli._parser import Parser

if TYPE_CHECKING:
    from objectstorage.aio.storage import AsyncStorage
    from objectstorage.cli._session import Session

__all__ = [
    "PORT",
    "add_service",
    "headers_of",
    "need_services",
    "open_services_store",
    "token",
]

PORT = 8470


def need_services() -> None:
    """`Usage` if the packages of `[services]` are not there."""
    try:
        import httpx  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as exc:
        raise Usage(f"{exc.name} is missing: pip install 'objectstorage[services]'") from exc


def add_service(parser: Parser) -> None:
    """The option that names the run service."""
    parser.add_argument(
        "--url",
        default=os.environ.get("OBJECTSTORAGE_RUNSERVICE", f"http://127.0.0.1:{PORT}"),
        help=f"the run service's; or OBJECTSTORAGE_RUNSERVICE (http://127.0.0.1:{PORT})",
    )


def token() -> str | None:
    """What the run service asks of its callers; None if it asks for nothing."""
    return os.environ.get("OBJECTSTORAGE_TOKEN") or None


def headers_of(secret: str | None) -> dict[str, str]:
    """The headers that bring it."""
    return {} if secret is None else {"authorization": f"Bearer {secret}"}


def open_services_store(args: Namespace, session: Session) -> AsyncStorage:
    """The store that is named, or a directory of the user's own."""
    from objectstorage import aio

    url, options = session.default_url(f"posix://{_state_home()}/objectstorage/services")
    session.check_options()
    return aio.open_storage(url, **options)


def _state_home() -> str:
    return os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
