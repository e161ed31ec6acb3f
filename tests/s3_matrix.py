"""Every operation on S3, every fault, and what must come of it: as data.

An `Operation` names the requests it makes (`strikes`); the kind of the request that is
struck decides, with the fault, what the caller hears (`expected`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple

from objectstorage.storage import Storage
from objectstorage.testing.proxy import Rule

OLD, NEW, SRC = b"old " * 700, b"new, longer " * 300, b"source " * 500
PART = 64 * 1024  # a multipart upload of one part may be as small as that
LARGE = b"0123456789abcdef" * (PART // 16)
FILE = b"0123456789abcdef" * 64 * 1024  # 1 MiB: sent piece by piece


class Scene(NamedTuple):
    """Where an operation runs: the store behind the proxy, one that is not, a folder."""

    store: Storage
    direct: Storage
    folder: Path
    etag: str  # of "key" as it was


Strike = tuple[str, str]
"""The kind of a request, and what its method and path look like."""

HEAD, GET, RANGE = ("head", r"HEAD [^?]*/key$"), ("read", r"GET .*/key$"), ("range", r"GET .*/key$")
STREAM = ("stream", GET[1])
HEAD_SRC = ("head", r"HEAD [^?]*/src$")
BEGIN, PART_1 = ("begin", r"POST .*\?uploads="), ("part", r"PUT .*[?&]partNumber=1&")
COMPLETE = ("complete", r"POST .*\?uploadId=")
LIST = ("list", r"GET .*[?&]list-type=2")


class Operation(NamedTuple):
    """One thing to do.

    changes: what is stored afterwards, by key (None: nothing). answer: what it
    gives (for a write, its size). needs: the conditions it rests on. says: the
    operation's name in errors. uploads: it works by parts. slow: megabytes a try.
    """

    name: str
    run: Callable[[Scene], Any]
    strikes: tuple[Strike, ...]
    answer: Any = None
    changes: dict[str, bytes | None] = {}
    before: dict[str, bytes] = {"key": OLD}
    needs: tuple[tuple[str, str], ...] = ()
    says: str = ""
    uploads: bool = False
    options: dict[str, Any] = {}
    slow: bool = False


def put(name: str, method: Strike, changes: bytes, run: Callable[[Scene], Any], **rest: Any) -> Any:
    return Operation(name, run, (method,), len(changes), {"key": changes}, says="put", **rest)


def pieces(data: bytes, n: int = 16 * 1024) -> Iterator[bytes]:
    return (data[i : i + n] for i in range(0, len(data), n))


def written(scene: Scene, data: bytes, **options: Any) -> Any:
    with scene.store.writer("key", **options) as file:
        for piece in pieces(data):
            file.write(piece)
    return file.result


def opened(scene: Scene) -> bytes:
    with scene.store.open("key") as file:
        file.seek(100)
        return file.read(2000)


def uploaded(scene: Scene) -> Any:
    path = scene.folder / "up"
    path.write_bytes(NEW)
    return scene.store.upload("key", path)


def downloaded(scene: Scene) -> bytes:
    path = scene.folder / "down"
    try:
        scene.store.download("key", path)
        return path.read_bytes()
    finally:
        assert [name.name for name in scene.folder.iterdir() if name != path] == []
        path.unlink(missing_ok=True)


def unfinished(scene: Scene) -> Any:
    """An upload that somebody has left behind."""
    client = scene.direct._core.client  # type: ignore[attr-defined]
    from objectstorage.s3.multipart import PartsUpload

    upload = PartsUpload(client, "left", None, {}, None)
    scene.direct._driver.run(upload._begin())  # type: ignore[attr-defined]
    (found,) = scene.direct.list_uploads()
    return found


PUT_KEY, PUT_DST = r"PUT [^?]*/key$", r"PUT [^?]*/dst$"
COPY: dict[str, bytes | None] = {"dst": SRC}
TO_COPY = {"src": SRC}

OPERATIONS = [
    Operation("get", lambda s: s.store.get("key"), (GET,), OLD),
    Operation("fetch", lambda s: s.store.fetch("key").data, (GET,), OLD),
    Operation(
        "fetch a range",
        lambda s: s.store.fetch("key", start=5, end=1500).data,
        (RANGE,),
        OLD[5:1500],
        says="fetch",
    ),
    Operation(
        "get_ranges",
        lambda s: s.store.get_ranges("key", starts=[0, 1000], lengths=[10, 20]),
        (RANGE,),  # one, as they are near each other
        [OLD[:10], OLD[1000:1020]],
        says="get_ranges",
    ),
    Operation("stream", lambda s: b"".join(s.store.stream("key")), (STREAM,), OLD),
    Operation("open", opened, (HEAD, RANGE), OLD[100:2100], says="open|read"),
    Operation("download", downloaded, (STREAM,), OLD, says="open|read|download"),
    Operation("stat", lambda s: s.store.stat("key").size, (HEAD,), len(OLD)),
    Operation(
        "exists", lambda s: s.store.exists("key"), (("exists", HEAD[1]),), True, says="stat|exists"
    ),
    Operation("list", lambda s: [i.key for i in s.store.list()], (LIST,), ["key"]),
    Operation("list_level", lambda s: [i.key for i in s.store.list_level()], (LIST,), ["key"]),
    put("put", ("put", PUT_KEY), NEW, lambda s: s.store.put("key", NEW)),
    put("put a file", ("large", PUT_KEY), FILE, lambda s: s.store.put("key", io.BytesIO(FILE))),
    Operation(
        "put of unknown length",
        lambda s: s.store.put("key", pieces(LARGE)),
        (BEGIN, PART_1, COMPLETE),
        len(LARGE),
        {"key": LARGE},
        says="put",
        uploads=True,
    ),
    put("upload", ("put", PUT_KEY), NEW, uploaded),
    Operation(
        "writer",
        lambda s: written(s, NEW),
        (("put", PUT_KEY),),
        len(NEW),
        {"key": NEW},
    ),
    put(
        "create",
        ("conditional", PUT_KEY),
        NEW,
        lambda s: s.store.put("key", NEW, create=True),
        before={},
        needs=(("create", "put"),),
    ),
    put(
        "replace",
        ("conditional", PUT_KEY),
        NEW,
        lambda s: s.store.put("key", NEW, if_match=s.etag),
        needs=(("replace", "put"),),
    ),
    put(
        "create from an iterator",
        ("once", PUT_KEY),
        FILE,
        lambda s: s.store.put("key", pieces(FILE), size=len(FILE), create=True),
        before={},
        needs=(("create", "put"),),
    ),
    Operation(
        "create by parts",
        lambda s: s.store.put("key", pieces(LARGE), create=True),
        (BEGIN, PART_1, ("temporary", COMPLETE[1]), ("conditional", PUT_KEY)),
        len(LARGE),
        {"key": LARGE},
        {},
        needs=(("create", "put"), ("create", "multipart")),
        says="put",
        uploads=True,
    ),
    Operation(
        "update",
        lambda s: s.store.update("key", lambda old: (old or b"") + NEW, timeout=4),
        (("update-read", GET[1]), ("update", PUT_KEY)),
        len(OLD + NEW),
        {"key": OLD + NEW},
        needs=(("replace", "put"), ("create", "put")),
        says="fetch|put|update",
    ),
    Operation(
        "copy",
        lambda s: s.store.copy("src", "dst"),
        (HEAD_SRC, ("copy", PUT_DST)),
        len(SRC),
        COPY,
        TO_COPY,
    ),
    Operation(
        "copy create-only",
        lambda s: s.store.copy("src", "dst", create=True),
        (HEAD_SRC, ("copy-create", PUT_DST)),
        len(SRC),
        COPY,
        TO_COPY,
        needs=(("create", "copy"),),
        says="copy",
    ),
    Operation(
        "copy by parts",
        lambda s: s.store.copy("src", "dst"),
        (BEGIN, ("part-copy", PART_1[1]), COMPLETE),
        len(SRC),
        COPY,
        TO_COPY,
        says="copy",
        uploads=True,
        options={"copy_limit": 100},
    ),
    Operation(
        "move",
        lambda s: s.store.move("src", "dst"),
        (HEAD_SRC, ("copy", PUT_DST), ("delete", r"DELETE .*/src$")),
        len(SRC),
        {"dst": SRC, "src": None},
        TO_COPY,
    ),
    Operation(
        "delete",
        lambda s: s.store.delete("key"),
        (("delete", r"DELETE .*/key$"),),
        None,
        {"key": None},
    ),
    Operation(
        "delete one version",
        lambda s: s.store.delete("key", if_match=s.etag),
        (("head-if", HEAD[1]), ("delete-if", r"DELETE .*/key$")),
        None,
        {"key": None},
        needs=(("delete", "delete"),),
        says="delete",
    ),
    Operation(
        "delete_many",
        lambda s: s.store.delete_many(["key", "none"]),
        (("batch", r"POST .*\?delete="),),
        {},
        {"key": None},
    ),
    Operation(
        "list_uploads",
        lambda s: list(s.store.list_uploads()),
        (("uploads", r"GET .*[?&]uploads="),),
        [],
    ),
    Operation(
        "abort_upload",
        lambda s: s.store.abort_upload(unfinished(s)),
        (("abort", r"DELETE .*\?uploadId="),),
        uploads=True,
    ),
    Operation(
        "clock",
        lambda s: s.store.clock().tzinfo is not None,
        (("ask", r"GET .*\?location="),),
        True,
    ),
    Operation(
        "put an iterator of known length",
        lambda s: s.store.put("key", pieces(5 * FILE + LARGE), size=len(5 * FILE + LARGE)),
        (BEGIN, PART_1, ("part", r"PUT .*[?&]partNumber=2&"), COMPLETE),
        len(5 * FILE + LARGE),
        {"key": 5 * FILE + LARGE},
        says="put",
        uploads=True,
        options={"part_size": 5 * len(FILE), "read_timeout": 10.0},
        slow=True,
    ),
    Operation(
        "writer by parts",
        lambda s: written(s, 5 * FILE + LARGE),
        (BEGIN, PART_1, ("part", r"PUT .*[?&]partNumber=2&"), COMPLETE),
        len(5 * FILE + LARGE),
        {"key": 5 * FILE + LARGE},
        says="writer",
        uploads=True,
        options={"part_size": 5 * len(FILE), "read_timeout": 10.0},
        slow=True,
    ),
]


class Fault(NamedTuple):
    """What goes wrong. group: what it is to the client; done: the server carries it out."""

    name: str
    group: str
    apply: Callable[[Rule], Any]
    done: bool = False
    options: dict[str, Any] = {}
    kinds: str = ""  # only requests of these kinds, if not all


HASTY = {"read_timeout": 1.0}  # so that a wait in vain takes little time


def skewed(rule: Rule) -> Rule:
    return rule.skewed_clock(formatdate(usegmt=True))


FAULTS = [
    Fault("reset before", "lost", lambda r: r.reset_before()),
    Fault("reset during", "lost", lambda r: r.reset_during(2000)),
    Fault("reset after", "lost", lambda r: r.reset_after()),
    Fault("stall", "silent", lambda r: r.stall(), options=HASTY),
    Fault("swallow the reply", "lost", lambda r: r.swallow_reply(), True),
    Fault("hold the reply", "silent", lambda r: r.hold_reply(), True, options=HASTY),
    Fault("cut the head", "lost", lambda r: r.cut_head(), True),
    Fault("truncate", "cut", lambda r: r.truncate(-10), True),
    Fault("truncate and reset", "cut", lambda r: r.truncate(0, reset=True), True),
    Fault("slow drip", "harmless", lambda r: r.drip(50_000), True),
    Fault("request sent twice", "twice", lambda r: r.duplicate(), True),
    Fault("reply sent twice", "harmless", lambda r: r.trail(), True),
    Fault("trailing garbage", "harmless", lambda r: r.trail(b"garbage\r\n\r\n"), True),
    Fault("500", "unsure", lambda r: r.error(500, "InternalError")),
    Fault("502", "unsure", lambda r: r.answer(502, "bad gateway")),
    Fault("500 instead of the reply", "unsure", lambda r: r.replace(status=500, body=""), True),
    Fault("503", "busy", lambda r: r.slow_down()),
    Fault("503 and Retry-After", "busy", lambda r: r.slow_down(0)),
    Fault("429", "busy", lambda r: r.error(429, "TooManyRequests")),
    Fault("429 and Retry-After", "busy", lambda r: r.error(429, "", {"retry-after": "0"})),
    Fault("403", "denied", lambda r: r.error(403, "AccessDenied")),
    Fault("404", "missing", lambda r: r.error(404, "NoSuchKey")),
    Fault("corrupt a byte", "corrupt", lambda r: r.corrupt(), True),
    Fault("200 with an error", "hidden", lambda r: r.hidden_error()),
    Fault("301", "moved", lambda r: r.redirect(301, "http://evil.invalid/", "eu-west-1")),
    Fault("307", "moved", lambda r: r.redirect(307, "http://evil.invalid/", "eu-west-1")),
    Fault("expired token", "expired", lambda r: r.expired_token()),
    Fault("skewed clock", "expired", skewed),
    Fault("no advance", "endless", lambda r: r.never_advance(), True, kinds="list uploads"),
]

WRITES = frozenset(
    ("put", "large", "conditional", "update", "once", "copy", "copy-create", "delete", "delete-if")
    + ("batch", "complete", "abort")
)
# A write id tells whose the object is, once the reply was lost.
NAMED = frozenset(("conditional", "update", "once", "copy-create", "complete", "temporary"))
DOCUMENTS = frozenset(
    (
        "list",
        "uploads",
        "begin",
        "complete",
        "temporary",
        "copy",
        "copy-create",
        "part-copy",
        "batch",
    )
)
ALWAYS = ("once", "always", "from then on")
"""How long it goes wrong: for one request, for all like it, for all that follow too."""


def expected(fault: Fault, kind: str, mode: str) -> set[str]:
    """What the caller may hear.

    "ok", or the kind of the error: "unavailable", "timeout", "unknown" (it may
    have happened or not), "permission", "absent", "refused" (a condition),
    "integrity", "backend" (a reply that no S3 server gives).
    """
    group, write = fault.group, kind in WRITES
    once = mode == "once"
    if group == "harmless":
        return {"ok"}
    if group == "twice":
        # The server says of the second what it does not know to be ours.
        return {"delete-if": {"refused"}, "abort": {"absent", "ok"}}.get(kind, {"ok"})
    if group == "endless":
        return {"backend"}
    if group == "denied":
        return {"permission"}
    if group == "missing":
        # A range is of a version that was there, and an update tries again.
        others = {
            "conditional": {"refused", "absent"},
            "delete-if": {"refused"},
            "head-if": {"refused"},
        }
        others |= {
            "range": {"refused", "absent"},
            "update": {"timeout", "unknown"},
            "update-read": {"timeout", "unknown"},
        }
        others |= {"delete": {"ok"}, "exists": {"ok"}, "uploads": {"unsupported"}}
        return others.get(kind, {"absent"})
    if group in ("moved", "expired"):
        if kind == "once":
            return {"unavailable"}
        if kind == "ask":
            return {"ok", "permission", "backend"}  # an error has a date, too
        return {"ok"} if once else {"backend"} if group == "moved" else {"permission"}
    if group == "busy":
        return {"ok"} if once and kind != "once" else {"unavailable"}
    if group == "hidden":
        return {"unavailable", "backend", "unknown"} if write else {"unavailable", "backend"}
    if group == "corrupt":
        if kind in ("read", "update-read"):
            return {"ok"} if once else {"integrity"}
        if kind == "stream":
            return {"integrity"}  # what was given out can't be taken back
        if kind not in DOCUMENTS:
            return {"ok"}  # it has no body, or nobody looks at it
        return _in_doubt(kind, mode) if write or kind == "temporary" else {"backend"}
    if group == "cut" and kind not in DOCUMENTS | {"read", "update-read", "stream", "range", "ask"}:
        return {"ok"}  # it has no body
    # The reply is lost, or is one that says nothing of what was done.
    if once:
        if kind == "delete-if" and (fault.done or fault.name == "reset during"):
            return {"unknown", "ok"} if not fault.done else {"unknown"}
        if kind != "once":
            return {"ok"}
    if group == "silent" and kind in NAMED and write:
        return {"ok", "unknown"}  # by whether the look at the object is answered in time
    if fault.done and (write or (kind == "temporary" and mode == "always")):
        return _in_doubt(kind, mode)
    if kind in ("large", "once"):
        return {"unknown", "unavailable", "timeout"}  # by whether all of it was sent
    if write:
        # Of a request without a body the server has got all there is.
        perhaps = fault.name == "reset during" and kind in NAMED
        return {"ok", "unknown"} if perhaps else {"unknown"}
    if kind == "temporary" and fault.name == "reset during":
        return {"ok", "unavailable"}  # the bytes that went through may be all there are
    if group == "cut" and kind in ("read", "stream", "range"):
        return {"ok", "unavailable"}  # a stream gets on by some bytes a try
    return {"timeout"} if group == "silent" else {"unavailable"}


def _in_doubt(kind: str, mode: str) -> set[str]:
    """It was done, and no reply says so."""
    return {"ok"} if kind in NAMED and mode != "from then on" else {"unknown"}


def matches(pattern: str) -> Callable[[Any], bool]:
    """Whether a request is the one that is struck."""
    compiled = re.compile(pattern)
    return lambda request: compiled.match(f"{request.method} {request.path}") is not None
