"""Does this server keep conditions? Asked once, of the server itself, in races.

A condition that is merely read and then acted on looks right until two meet,
so every verb is raced: among several writers exactly one may win.
"""

from __future__ import annotations

import secrets

from objectstorage.errors import ErrUnavailable, ErrUnsupported, StorageError
from objectstorage.s3.client import Client
from objectstorage.s3.dialect import RESERVED
from objectstorage.s3.effects import Effects, Spawn, Task, WaitAny
from objectstorage.s3.encoding import BufferPayload
from objectstorage.s3.replies import unquoted
from objectstorage.s3.signing import Headers, query_of, quote_key, quoted
from objectstorage.s3.xml import complete_body, parse_error, parse_text
from objectstorage.storage import Conditions

__all__ = ["probe_conditions", "refuse"]

_RACERS = 4
_CREATE = ("if-none-match", "*")


class _Probe:
    """Requests under a prefix of the probe's own."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._base = f"{client.options.prefix}{RESERVED}/probe/{secrets.token_hex(8)}/"
        self.used: set[str] = set()
        self.uploads: list[tuple[str, str]] = []

    def path(self, name: str) -> str:
        self.used.add(name)
        return quote_key(self._base + name)

    def put(self, name: str, headers: Headers = ()) -> Effects[tuple[bool, str]]:
        """Whether it was written, and its ETag."""
        reply = yield from self._client.call(
            "PUT", self.path(name), "", headers, BufferPayload(secrets.token_bytes(16))
        )
        return self._won(reply.status, reply.body), unquoted(reply.headers.get("etag", ""))

    def copy(self, name: str, source: str, headers: Headers) -> Effects[tuple[bool, str]]:
        where = ("x-amz-copy-source", f"/{self._client.options.bucket}/{self.path(source)}")
        reply = yield from self._client.call(
            "PUT", self.path(name), "", (*headers, where), BufferPayload(b"")
        )
        return self._won(reply.status, reply.body), ""

    def delete(self, name: str, headers: Headers = ()) -> Effects[tuple[bool, str]]:
        reply = yield from self._client.call("DELETE", self.path(name), "", headers)
        return self._won(reply.status, reply.body), ""

    def exists(self, name: str) -> Effects[bool]:
        reply = yield from self._client.call("HEAD", self.path(name))
        return bool(reply.status == 200)

    def upload(self, name: str) -> Effects[tuple[str, BufferPayload]]:
        """An upload with its one part sent: the query and body that complete it."""
        path = self.path(name)
        reply = yield from self._client.call("POST", path, "uploads=", (), BufferPayload(b""))
        self._client.expect(reply, 200)
        upload_id = parse_text(bytes(reply.body), "UploadId").get("UploadId") or ""
        self.uploads.append((name, upload_id))
        reply = yield from self._client.call(
            "PUT",
            path,
            query_of([("partNumber", "1"), ("uploadId", upload_id)]),
            (),
            BufferPayload(secrets.token_bytes(16)),
        )
        self._client.expect(reply, 200)
        part = (1, unquoted(reply.headers.get("etag", "")), None)
        return query_of([("uploadId", upload_id)]), BufferPayload(
            complete_body([part]), signed=True
        )

    def complete(
        self, name: str, prepared: tuple[str, BufferPayload], headers: Headers
    ) -> Effects[tuple[bool, str]]:
        query, body = prepared
        reply = yield from self._client.call("POST", self.path(name), query, headers, body)
        return self._won(reply.status, reply.body), ""

    def _won(self, status: int, body: bytes | memoryview) -> bool:
        return status < 300 and (not body or parse_error(bytes(body)) is None)

    def race(self, attempts: list[Effects[tuple[bool, str]]]) -> Effects[bool]:
        """Whether exactly one of several at once wins."""
        tasks: list[Task] = []
        for attempt in attempts:
            tasks.append((yield Spawn(attempt)))
        wins = 0
        while tasks:
            done: list[Task] = yield WaitAny(tasks)
            tasks = [task for task in tasks if task not in done]
            wins += sum(task.result()[0] for task in done)
        return wins == 1

    def clean(self) -> Effects[None]:
        for name, upload_id in self.uploads:
            query = query_of([("uploadId", upload_id)])
            yield from self._client.call("DELETE", quote_key(self._base + name), query)
        for name in self.used:
            yield from self._client.call("DELETE", quote_key(self._base + name))


def probe_conditions(client: Client) -> Effects[Conditions]:
    """Which conditions hold; `ErrUnsupported` if the server would not let us ask."""
    probe = _Probe(client)
    try:
        written, etag = yield from probe.put("a")
        if not written or not etag:
            raise ErrUnsupported("conditional writes can't be probed: a plain write was refused")
        result = yield from _probe_all(client, probe, etag)
    except ErrUnavailable:
        raise  # says nothing about the server's ways
    except StorageError as exc:
        raise ErrUnsupported("conditional writes can't be probed on this server") from exc
    finally:
        yield from probe.clean()
    return result


def _probe_all(client: Client, probe: _Probe, etag: str) -> Effects[Conditions]:
    stale = ("if-match", quoted("0123456789abcdef0123456789abcdef"))
    create, replace, delete = set(), set(), set()
    if not (yield from probe.put("a", [_CREATE]))[0] and (
        yield from probe.race([probe.put("b", [_CREATE]) for _ in range(_RACERS)])
    ):
        create.add("put")
    if (
        not (yield from probe.put("a", [stale]))[0]
        and not (yield from probe.put("none", [stale]))[0]
        and (
            yield from probe.race(
                [probe.put("a", [("if-match", quoted(etag))]) for _ in range(_RACERS)]
            )
        )
    ):
        replace.add("put")
    if not (yield from probe.copy("a", "b", [_CREATE]))[0] and (
        yield from probe.race([probe.copy("c", "a", [_CREATE]) for _ in range(_RACERS)])
    ):
        create.add("copy")
    _, etag = yield from probe.put("d")
    yield from probe.delete("d", [stale])
    if (yield from probe.exists("d")):
        yield from probe.delete("d", [("if-match", quoted(etag))])
        if not (yield from probe.exists("d")):
            delete.add("delete")
    yield from _probe_multipart(client, probe, stale, create, replace)
    return Conditions(frozenset(create), frozenset(replace), frozenset(delete))


def _probe_multipart(
    client: Client, probe: _Probe, stale: tuple[str, str], create: set[str], replace: set[str]
) -> Effects[None]:
    dialect = client.dialect
    if "copy" in create:
        # A conditional copy from a temporary key publishes; it needs no Complete.
        if dialect is not None and dialect.multipart_condition != "copy":
            client.dialect = dialect._replace(multipart_condition="copy")
        create.add("multipart")
        _, etag = yield from probe.put("e")
        match = [("if-match", quoted(etag))]
        if not (yield from probe.copy("e", "a", [stale]))[0] and (
            yield from probe.race([probe.copy("e", "a", match) for _ in range(_RACERS)])
        ):
            replace.add("multipart")
        return
    if dialect is None or dialect.conditions is None:
        # A Complete that looks and then acts wins most races: none is proof
        # enough, so only where the server's makers promise it.
        return
    for header, declared, found in (
        (_CREATE, dialect.conditions.create, create),
        (stale, dialect.conditions.replace, replace),
    ):
        if "multipart" in declared:
            won, _ = yield from probe.complete("a", (yield from probe.upload("a")), [header])
            if not won:
                found.add("multipart")


def refuse(verb: str, condition: str, conditions: Conditions) -> None:
    """`ErrUnsupported` unless the condition holds for the verb."""
    if verb not in getattr(conditions, condition):
        raise ErrUnsupported(
            f"this server ignores the condition {condition!r} for {verb!r}, "
            "or does not keep it in a race"
        )
