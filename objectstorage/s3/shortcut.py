"""Operations that one request nearly always carries out, without a generator for it.

Running it as a generator is a tenth of a get's instructions, the network left
out, and an eighth of a put's. So get, fetch, stat, put and delete are tried as
one exchange first. What it comes to, if that is anything but plain success, is
handed to the operation's generator as its first attempt: there is one policy of
retries, and one mapping of errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from objectstorage.s3.exchange import Exchange, Reply
from objectstorage.s3.signing import quote_key

if TYPE_CHECKING:
    from objectstorage.s3.client import Client
    from objectstorage.s3.effects import Effects
    from objectstorage.s3.signing import Headers, Signer

__all__ = ["MORE", "Shortcut"]

_T = TypeVar("_T")

MORE: Any = object()
"""What `Shortcut.finish` gives when the reply is not the end of it."""


class Shortcut(Generic[_T]):
    """A first attempt: the driver sends `exchange`, and leaves what came of it in `outcome`.

    That is a `Reply`, or the exception instead of one. `signer` made the signature.
    A request without a body needs no `__init__` of its own: `CHECKED` are headers
    that are sent if checksums are wanted and no others are given.
    """

    __slots__ = ("client", "exchange", "key", "outcome", "signer")

    METHOD: ClassVar[str]
    CHECKED: ClassVar[Headers] = ()

    exchange: Exchange
    outcome: Reply | BaseException | None

    def __init__(
        self, client: Client, signer: Signer, key: str, headers: Headers | None = None
    ) -> None:
        self.client = client
        self.signer = signer
        self.key = key
        options = client.options
        if headers is None:
            headers = self.CHECKED if options.checksum != "none" else ()
        self.exchange = client.exchange(
            signer,
            self.METHOD,
            quote_key(options.prefix + key),
            "",
            headers,
            deadline=client.deadline(),
        )

    def finish(self, reply: Reply) -> Any:
        """The operation's result, or `MORE`."""
        raise NotImplementedError

    def resume(self) -> Effects[_T]:
        """The operation, which goes on from the outcome."""
        raise NotImplementedError

    def reply(self) -> Reply:
        """The reply, or the exception instead; once."""
        outcome, self.outcome = self.outcome, None  # no exception holds itself
        if isinstance(outcome, Reply):
            return outcome
        assert outcome is not None
        raise outcome
