"""Every operation × every fault × both faces, before real servers (see `s3_matrix`).

Whatever goes wrong: no wrong answer; stored is the old or the new object, whole, and it
agrees with what the caller heard; errors are typed and say where; no connection and no
upload is left behind unseen; and the connection pool serves what is asked next.
"""

from __future__ import annotations

import itertools
import tempfile
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from conftest import Tried
from long import LONG
from s3_matrix import ALWAYS, FAULTS, OPERATIONS, WRITES, Fault, Operation, Scene, expected, matches

from objectstorage import (
    ErrBackend,
    ErrIntegrity,
    ErrNotExist,
    ErrOutcomeUnknown,
    ErrPartial,
    ErrPermission,
    ErrPreconditionFailed,
    ErrTimeout,
    ErrUnavailable,
    ErrUnsupported,
    StorageError,
    aio,
    errors,
    open_storage,
)
from objectstorage.storage import PutResult, Storage
from objectstorage.testing.blocking import BlockingStorage
from objectstorage.testing.proxy import FaultProxy, Request
from objectstorage.testing.servers import S3Server

FACES = ["sync", "async"]
_OUTCOMES: list[tuple[type[StorageError], str]] = [
    (ErrOutcomeUnknown, "unknown"),
    (ErrTimeout, "timeout"),
    (ErrUnavailable, "unavailable"),
    (ErrPermission, "permission"),
    (ErrNotExist, "absent"),
    (ErrPreconditionFailed, "refused"),
    (ErrIntegrity, "integrity"),
    (ErrBackend, "backend"),
    (ErrUnsupported, "unsupported"),
]
_cells = itertools.count()


class Place(NamedTuple):
    """A server, the proxy before it, and what it keeps."""

    server: S3Server
    proxy: FaultProxy
    dialect: str

    def open(self, face: str, url: str, **options: Any) -> Storage:
        given = {**self.server.options(), "create_bucket": False, "dialect": self.dialect}
        given |= {"endpoint": self.proxy.endpoint, "part_size": 64 * 1024, "retry_time": 10}
        given |= options
        if face == "sync":
            return open_storage(url, **given)
        return BlockingStorage(lambda: aio.open_storage(url, **given))


@pytest.fixture(scope="module", params=["seaweedfs", "moto"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    server: S3Server = request.getfixturevalue(request.param)
    parts = urlsplit(server.endpoint)
    with (
        FaultProxy(parts.hostname or "", parts.port or 0) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        # thousands of retries, each of which is to wait for next to nothing
        patch.setattr("objectstorage.s3.retrying._BASE_DELAY", 0.002)
        yield Place(server, proxy, "seaweedfs" if server.name == "seaweedfs" else "generic")


def outcome_of(error: BaseException) -> str:
    if isinstance(error, ErrPartial):
        return outcome_of(error.exceptions[0])
    return next((name for kind, name in _OUTCOMES if isinstance(error, kind)), repr(error))


def transport_of(store: Storage) -> Any:
    own: Any = store._own if isinstance(store, BlockingStorage) else store
    return own._driver._transport


class Cell:
    """One operation with one fault at one of its requests."""

    def __init__(
        self, place: Place, face: str, operation: Operation, strike: int, fault: Fault, mode: str
    ) -> None:
        self.place, self.face = place, face
        self.operation, self.fault, self.mode = operation, fault, mode
        self.kind, pattern = operation.strikes[strike]
        self._times = 1
        if self.kind in ("head", "exists", "head-if") and fault.group == "expired":
            # A HEAD's error has no body; why it came is what a GET is asked.
            pattern = rf"(?:{pattern})|(?:GET .*\?location=)"
            self._times = 2
        self._matches = matches(pattern)
        self._name = f"{next(_cells)}"
        self._struck = False

    def __str__(self) -> str:
        name = self.operation.name
        return f"{name}, {self.kind} request: {self.fault.name}, {self.mode}"

    def claims(self, request: Request) -> bool:
        if request.headers.get("x-cell") != self._name:
            return False
        if self.mode == "from then on" and self._struck:
            return True
        match = self._matches(request)
        self._struck = self._struck or match
        return match

    def run(self, folder: Path) -> str | None:
        """What is wrong, if anything is."""
        for _ in range(3):
            wrong = self._try(folder)
            if self._struck:
                break
            # not yet: a request before it took too long for a hasty client
        return wrong

    def _try(self, folder: Path) -> str | None:
        url = self.place.server.fresh_url()
        folder = Path(tempfile.mkdtemp(dir=folder))
        options: dict[str, Any] = {"headers": {"x-cell": self._name}}
        options["attempts"] = 4 if self.mode == "once" else 2
        options |= {**self.fault.options, **self.operation.options}
        with (
            closing(self.place.server.open(url, dialect=self.place.dialect)) as direct,
            closing(self.place.open(self.face, url, **options)) as store,
        ):
            etags = {key: direct.put(key, data).etag for key, data in self.operation.before.items()}
            if self.operation.needs:
                store.probe()
            nth = 1 if self.mode == "once" else None
            rule = self.place.proxy.on(where=self.claims, nth=nth, times=self._times)
            self.fault.apply(rule)
            error: Exception | None = None
            try:
                answer = self.operation.run(Scene(store, direct, folder, etags.get("key", "")))
                heard = "ok"
            except Exception as exc:
                heard, error = outcome_of(exc), exc
            finally:
                self.place.proxy.forget(rule)
            try:
                assert rule.hits, "the fault did not strike"
                assert heard in expected(self.fault, self.kind, self.mode), f"heard: {heard}"
                if error is None:
                    self._check_answer(answer, direct)
                else:
                    self._check_error(error, store)
                self._check_stored(heard, direct)
                self._check_left_behind(store, direct)
                self._check_next(store, direct)
            except AssertionError as exc:
                text = "".join(traceback.format_exception(error)) if error is not None else ""
                return f"{self}: {exc}\n{text}"
            except StorageError as exc:
                return f"{self}: after it: {exc!r}"
        return None

    def _check_answer(self, answer: Any, direct: Storage) -> None:
        wanted = self.operation.answer
        if self.kind == "exists" and self.fault.group == "missing":
            wanted = False
        if isinstance(answer, PutResult):
            info = direct.stat(answer.key)
            assert (answer.size, answer.etag) == (wanted, info.etag), f"{answer} but {info}"
        elif self.fault.group == "corrupt" and self.kind == "range":
            pass  # no checksum covers a range: that is not promised
        else:
            assert answer == wanted, f"a wrong answer: {answer!r}"

    def _check_error(self, error: BaseException, store: Storage) -> None:
        if isinstance(error, ErrPartial):
            assert error.operation == "delete_many"
            for one in error.exceptions:
                self._check_error(one, store)
            return
        assert isinstance(error, StorageError)
        says = (self.operation.says or self.operation.name).split("|")
        assert error.operation in says, f"operation {error.operation!r}"
        assert error.storage == store.url, f"storage {error.storage!r}"
        assert error.key is not None or says == ["clock"], "no key"
        text = "".join(traceback.format_exception(error))
        assert self.place.server.secret_key not in text
        assert "Signature" not in text
        unavailable = errors.as_(error, ErrUnavailable)
        if isinstance(error, ErrUnavailable | ErrOutcomeUnknown) and self.fault.group in (
            *("lost", "silent", "unsure", "busy"),
        ):
            assert unavailable is not None, "no attempts in the chain"
            assert unavailable.attempts, "no attempts"

    def _check_stored(self, heard: str, direct: Storage) -> None:
        operation = self.operation
        stored = {key: find(direct, key) for key in {**operation.before, **operation.changes}}
        old = {**dict.fromkeys(operation.changes), **operation.before}
        new = {**old, **operation.changes}
        allowed = [new] if heard == "ok" else [old, new] if heard == "unknown" else [old]
        if self.fault.group == "twice" and self.kind == "delete-if":
            allowed = [new]  # a delete has no id by which to tell whose it was
        if self.fault.group == "missing" and self.kind == "delete":
            allowed.append(old)  # the server's own word was that it is gone
        if operation.name == "move" and heard != "ok":
            allowed.append({**old, "dst": new["dst"]})  # copy, then delete
        if operation.name == "move" and self.fault.group == "missing":
            allowed.append({**old, "dst": new["dst"]})
        assert stored in allowed, f"{heard}, and stored is {shortened(stored)}"

    def _check_left_behind(self, store: Storage, direct: Storage) -> None:
        in_use = transport_of(store).stats.in_use
        assert in_use == 0, f"{in_use} connections leaked"
        if self.operation.uploads:
            left = list(direct.list_uploads())
            may = self.mode == "from then on" or self.kind in ("begin", "abort")
            # a part that comes in after the end makes SeaweedFS keep the upload
            may = may or (self.kind == "part" and self.fault.group == "silent")
            assert may or not left, f"uploads left: {left}"
            for upload in left:
                direct.abort_upload(upload)
            # one more may begin even now: the server carries out a request it got before the reset
            aborted = {upload.upload_id for upload in left}
            assert aborted.isdisjoint(upload.upload_id for upload in direct.list_uploads())

    def _check_next(self, store: Storage, direct: Storage) -> None:
        """What is asked next gets its own reply, and no other."""
        if not self.operation.before:
            direct.put("next", b"the next one")
            assert store.get("next") == b"the next one"
            return
        key = next(iter(self.operation.before))
        assert store.exists(key) == (find(direct, key) is not None)


def find(direct: Storage, key: str) -> bytes | None:
    try:
        return direct.get(key)
    except ErrNotExist:
        return None


def shortened(stored: dict[str, bytes | None]) -> dict[str, object]:
    return {key: data and (len(data), data[:8]) for key, data in stored.items()}


def cells(place: Place, face: str, operation: Operation) -> list[Cell]:
    """All that is to be tried; by default a part of what takes long, the same one each time."""
    every = list(all_cells(place, face, operation))
    if not LONG and (operation.slow or place.server.name != "seaweedfs"):
        shift = FACES.index(face)
        every = every[shift :: 16 if operation.slow else 12]
        every = [cell for cell in every if not (operation.slow and cell.fault.group == "silent")]
    # what waits in vain goes first, the others fill the time
    return sorted(every, key=lambda cell: cell.fault.group != "silent")


def all_cells(place: Place, face: str, operation: Operation) -> Iterator[Cell]:
    for strike, fault, mode in itertools.product(range(len(operation.strikes)), FAULTS, ALWAYS):
        kind = operation.strikes[strike][0]
        if fault.kinds and kind not in fault.kinds.split():
            continue
        if fault.group == "corrupt" and place.server.name != "seaweedfs":
            continue  # moto keeps no checksum to tell it by
        if fault.name == "slow drip" and kind == "update-read":
            continue  # how much of the operation's own deadline that takes is the machine's affair
        if mode == "from then on":
            # what matters then is how a write is settled
            if fault.group not in ("lost", "silent", "unsure", "denied"):
                continue
            if not (LONG or kind in WRITES):
                continue
        if mode == "once" and fault.group in ("denied", "missing", "hidden", "endless"):
            continue  # once is enough to fail: the same as always
        yield Cell(place, face, operation, strike, fault, mode)


@pytest.mark.faults
@pytest.mark.parametrize(
    "operation", OPERATIONS, ids=[o.name.replace(" ", "-") for o in OPERATIONS]
)
@pytest.mark.parametrize("face", FACES)
def test_whatever_goes_wrong(
    place: Place,
    face: str,
    operation: Operation,
    tmp_path: Path,
    tried: Tried,
) -> None:
    with closing(place.open("sync", place.server.fresh_url())) as probed:
        conditions = probed.probe().conditions
    assert conditions is not None
    if not all(verb in getattr(conditions, condition) for condition, verb in operation.needs):
        with closing(place.open(face, place.server.fresh_url())) as store:
            store.put("src", b"src")
            etag = store.put("key", b"key").etag
            with pytest.raises(ErrUnsupported):
                operation.run(Scene(store, store, tmp_path, etag))
            assert store.get("key") == b"key"
        return
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda cell: cell.run(tmp_path), cells(place, face, operation)))
    wrong = [text for text in found if text is not None]
    assert not wrong, f"{len(wrong)} of {len(found)}:\n" + "\n".join(wrong)
    tried("S3 through the fault proxy", "operations with a fault in their way", len(found))
