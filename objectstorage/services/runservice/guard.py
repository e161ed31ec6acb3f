"""Who may call: whoever has the token; without one, only programs of this machine."""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from objectstorage.errors import ErrForbidden, ErrUnauthorized, StorageError
from objectstorage.services.wire import error_response

__all__ = ["LOOPBACK", "Guard"]

LOOPBACK = frozenset(("127.0.0.1", "::1", "localhost"))


class Guard:
    """Middleware that takes requests with `Authorization: Bearer <token>`.

    With no token, those that come from this machine and whose Host is its: a
    web page can make a browser call a service here under the page's own name,
    but under no other.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await error_response(refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> StorageError | None:
        headers = Headers(scope=scope)
        if self._expected is not None:
            given = headers.get("authorization", "").encode()
            if hmac.compare_digest(given, self._expected):
                return None
            return ErrUnauthorized("the token is missing or wrong")
        try:
            host = urlsplit(f"//{headers.get('host', '')}").hostname
        except ValueError:
            host = None
        if host in LOOPBACK and _is_here(scope.get("client")):
            return None
        return ErrForbidden("without a token: only from this machine")


def _is_here(client: tuple[str, int] | None) -> bool:
    if client is None:
        return True  # a Unix socket's
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
