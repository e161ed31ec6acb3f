"""Error replies: what a service's JSON says, and the error that a client raises for it.

The package's error tree is the one thing that the client shares with the rest
of it: the kinds are what callers match by, so a second tree that says the same
would make `is_err_not_exist(err)` true for one half of the errors only.

>>> body = b'{"code": "not_exist", "message": "log doesn\\'t exist", "details": {"log": "a"}}'
>>> err = error_of(404, body)
>>> err
ErrFromRemote("log doesn't exist", status=404, code='not_exist')
>>> errors.is_err_not_exist(err), err.details
(True, {'log': 'a'})
>>> error_of(502, b"<html>")
ErrFromRemote('unknown api error (502)', status=502)
"""

from __future__ import annotations

import json
import re
from typing import Any

from objectstorage import errors
from objectstorage.errors import ErrFromRemote, StorageError

__all__ = ["CODES", "CODE_HEADER", "code_of", "error_of"]

CODE_HEADER = "error-code"
"""The reply's header with the code, for replies without a body (HEAD)."""

# Not on the wire: one is the wrapper of what came from it, the other is many.
_NOT_SENT = (errors.ErrFromRemote, errors.ErrPartial)


def _code(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.removeprefix("Err")).lower()


CODES: dict[str, type[StorageError]] = {
    _code(name): kind
    for name in errors.__all__
    if name.startswith("Err") and (kind := getattr(errors, name)) not in _NOT_SENT
}
"""Code to kind; `ErrNotExist` is "not_exist"."""

_BY_KIND = {kind: code for code, kind in CODES.items()}

# Codes of the server itself, before any service: they are no kind's.
_SERVERS = {"no_such_route": errors.ErrBadRequest, "method_not_allowed": errors.ErrBadRequest}

_BY_STATUS: dict[int, type[StorageError]] = {
    400: errors.ErrBadRequest,
    401: errors.ErrUnauthorized,
    403: errors.ErrForbidden,
    404: errors.ErrNotExist,
    409: errors.ErrConflict,
    412: errors.ErrPreconditionFailed,
    416: errors.ErrInvalidRange,
    501: errors.ErrUnsupported,
    503: errors.ErrUnavailable,
    504: errors.ErrTimeout,
}


def code_of(kind: type[BaseException]) -> str | None:
    """The kind's code, or its nearest base's; None for what is no kind.

    >>> code_of(errors.ErrExist), code_of(RuntimeError)
    ('exist', None)
    """
    return next((_BY_KIND[base] for base in kind.__mro__ if base in _BY_KIND), None)


def error_of(status: int, body: bytes, code: str | None = None) -> ErrFromRemote:
    """The error for a reply that is no success; its cause is what the remote said.

    `code` is the header's, for a reply that can't have a body. A reply that is
    not a service's own (a proxy's page) has no cause: it tells nothing of the
    kind. A code that isn't known yet has the kind of its status.
    """
    message = (code or "").replace("_", " ")
    details: dict[str, Any] = {}
    if body:
        code, message, details = _parse(body)
    if not code:
        return ErrFromRemote(f"unknown api error ({status})", status=status)
    kind = _SERVERS.get(code) or CODES.get(code) or _BY_STATUS.get(status) or _family(status)
    error = ErrFromRemote(message, status=status, code=code, details=details)
    error.__cause__ = kind(message, details=details)
    return error


def _family(status: int) -> type[StorageError]:
    return errors.ErrBadRequest if 400 <= status < 500 else errors.ErrInternal


def _parse(body: bytes) -> tuple[str, str, dict[str, Any]]:
    """Code, message and details; empty if the body is not a service's error."""
    try:
        fields = json.loads(body)
    except ValueError:
        return "", "", {}
    if not isinstance(fields, dict):
        return "", "", {}
    code, message, details = (fields.get(name) for name in ("code", "message", "details"))
    if not isinstance(code, str) or not isinstance(message, str):
        return "", "", {}
    return code, message, details if isinstance(details, dict) else {}
