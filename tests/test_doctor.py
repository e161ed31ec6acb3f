"""The doctor: healthy stores, real servers told apart, and stores that lie."""

from __future__ import annotations

import json
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from objectstorage import errors
from objectstorage.cli.__main__ import main
from objectstorage.doctor import Finding, doctor
from objectstorage.memory import MemoryStorage
from objectstorage.posix import PosixStorage
from objectstorage.storage import ALL_CONDITIONS, UNSET, Capabilities, Conditions, Storage
from objectstorage.testing.servers import S3Server
from objectstorage.urls import SCHEMES
from objectstorage.wrappers import ForwardingStorage, PrefixStorage, ReadOnlyStorage


def verdicts(store: Storage) -> dict[str, Finding]:
    return {finding.check: finding for finding in doctor(store).findings}


def test_a_healthy_store_and_nothing_is_left(tmp_path: Path) -> None:
    store = PosixStorage(tmp_path)
    store.put("mine", b"stays")
    told: list[Finding] = []
    report = doctor(store, on_finding=told.append)
    assert report.ok, [finding for finding in told if finding.verdict == "broken"]
    assert report.findings == tuple(told)
    assert report.capabilities == store.capabilities
    assert {finding.capability for finding in told} - {"contract"} == set(Capabilities._fields), (
        "every field has a finding"
    )
    assert [info.key for info in store.list()] == ["mine"]
    assert (tmp_path / "mine").read_bytes() == b"stays"


def test_below_a_prefix(tmp_path: Path) -> None:
    assert doctor(PrefixStorage(PosixStorage(tmp_path), "some/where")).ok


class TestServers:
    """What each is: the claims differ, and what is claimed holds."""

    def test_seaweedfs(self, seaweedfs: S3Server) -> None:
        with seaweedfs.open() as store:
            report = doctor(store)
            assert report.ok, report.findings
            assert report.capabilities.conditions == ALL_CONDITIONS
            assert not report.capabilities.key_rules.dot_segments
            assert list(store.list()) == []

    def test_moto(self, moto: S3Server) -> None:
        with moto.open() as store:
            report = doctor(store)
            assert report.ok, report.findings
            conditions = report.capabilities.conditions
            assert conditions is not None
            assert "put" in conditions.create
            assert "copy" not in conditions.create
            assert report.capabilities.key_rules.dot_segments
            found = {finding.check: finding for finding in report.findings}
            assert found["race to create"].verdict == "holds"
            assert found["race to create, copy"].verdict == "absent"
            assert list(store.list()) == []

    def test_rclone(self, rclone: S3Server) -> None:
        with rclone.open() as store:
            report = doctor(store)
            assert report.capabilities.conditions == Conditions()
            found = {finding.check: finding for finding in report.findings}
            assert {
                finding.verdict for finding in report.findings if finding.capability == "conditions"
            } == {"absent"}
            assert "ignores the condition 'create' for 'put'" in found["double create, put"].detail
            # over a directory, and claimed by nobody: files beside folders of their name
            assert not report.ok
            assert found["a beside a/b"].verdict == "broken"
            assert found["kept"].verdict == "holds"
            assert list(store.list()) == []


class _IgnoresConditions(ForwardingStorage):
    def put(self, key: str, data: Any, **options: Any) -> Any:
        options |= {"create": False, "if_match": UNSET}
        return super().put(key, data, **options)

    def copy(self, src: str, dst: str, *, create: bool = False) -> Any:
        return super().copy(src, dst)

    def delete(self, key: str, *, if_match: Any = UNSET, must_exist: bool = False) -> None:
        super().delete(key, must_exist=must_exist)


class _LooksThenActs(ForwardingStorage):
    """Checks conditions, but not atomically: right until two meet."""

    def __init__(self) -> None:

        super().__init__(MemoryStorage())
        self._meeting = threading.Barrier(2)

    def put(self, key: str, data: Any, **options: Any) -> Any:

        if options.get("create"):
            if self._store.exists(key):
                raise errors.ErrExist("taken", key=key)
            # two that looked act together; one alone goes on after a moment
            try:
                self._meeting.wait(0.2)
            except threading.BrokenBarrierError:
                self._meeting.reset()
            options["create"] = False
        return super().put(key, data, **options)


class _ClaimsNothing(_IgnoresConditions):
    @property
    def capabilities(self) -> Capabilities:
        return super().capabilities._replace(
            conditions=Conditions(), metadata=False, ordered_listing=False
        )


class _Normalises(ForwardingStorage):
    def _down(self, operation: str, key: str) -> str:
        return unicodedata.normalize("NFC", key)


class _Folders(ForwardingStorage):
    """Lists in the order of a walk through folders: `t/x` before `t-`."""

    def list(self, prefix: str = "", **options: Any) -> Iterator[Any]:
        return iter(sorted(super().list(prefix, **options), key=lambda info: info.key.split("/")))


class _CutsShort(ForwardingStorage):
    def get_range(self, key: str, **options: Any) -> bytes:
        return super().get_range(key, **options)[:2]


class _DropsMetadata(ForwardingStorage):
    def put(self, key: str, data: Any, **options: Any) -> Any:
        options.pop("metadata", None)
        return super().put(key, data, **options)


class _RepeatsETags(ForwardingStorage):
    def put(self, *args: Any, **options: Any) -> Any:
        return super().put(*args, **options)._replace(etag="always")

    def _info(self, info: Any) -> Any:
        return type(info)(*info._fields()[:3], "always", *info._fields()[4:])


class _KeepsAll(ForwardingStorage):
    def delete_many(self, keys: Any, *, errors: Any = "raise") -> Any:
        return {}


class _ForgetsAll(ForwardingStorage):
    def get(self, key: str) -> bytes:
        raise errors.ErrUnavailable("gone fishing", key=key, operation="get", storage=self.url)


@pytest.mark.parametrize(
    ("make", "checks"),
    [
        (lambda: _IgnoresConditions(MemoryStorage()), ["double create, put", "race to replace"]),
        (lambda: _IgnoresConditions(MemoryStorage()), ["race to create, copy"]),
        (lambda: _IgnoresConditions(MemoryStorage()), ["stale If-Match, multipart"]),
        (lambda: _IgnoresConditions(MemoryStorage()), ["If-Match, no object, put"]),
        (lambda: _IgnoresConditions(MemoryStorage()), ["conditional delete"]),
        (_LooksThenActs, ["race to create"]),
        (lambda: _ClaimsNothing(MemoryStorage()), ["double create, put", "conditional delete"]),
        (lambda: _ClaimsNothing(MemoryStorage()), ["kept", "order, start_after"]),
        (lambda: _Normalises(MemoryStorage()), ["hostile keys"]),
        (lambda: _Folders(MemoryStorage()), ["order, start_after"]),
        (lambda: _CutsShort(MemoryStorage()), ["ranges"]),
        (lambda: _DropsMetadata(MemoryStorage()), ["kept"]),
        (
            lambda: _RepeatsETags(MemoryStorage()),
            ["new bytes, new ETag", "each write a new ETag"],
        ),
        (lambda: _KeepsAll(MemoryStorage()), ["deleting", "cleaning up"]),
        (lambda: _ForgetsAll(MemoryStorage()), ["a beside a/b", "hostile keys"]),
    ],
)
def test_a_lie_is_found(make: Callable[[], Storage], checks: list[str]) -> None:
    found = verdicts(make())
    for check in checks:
        assert found[check].verdict == "broken", found[check]
        assert found[check].detail


def test_a_store_that_refuses_to_be_written_to() -> None:
    found = verdicts(ReadOnlyStorage(MemoryStorage()))
    assert found["hostile keys"].verdict == "broken"
    assert found["double create, put"].verdict == "broken", "refused by another error than said"
    assert "cleaning up" not in found


def test_one_lie_does_not_taint_the_rest() -> None:
    found = verdicts(_Folders(MemoryStorage()))
    assert {check for check, finding in found.items() if finding.verdict == "broken"} <= {
        "order, start_after",
        "hostile keys",
        "a beside a/b",
    }


def test_a_store_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    store = MemoryStorage()
    store.close()
    with pytest.raises(errors.ErrClosed):
        doctor(ForwardingStorage(store))


# -- the command ---------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OBJECTSTORAGE_URL", "OBJECTSTORAGE_CONFIG", "OBJECTSTORAGE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))


def test_the_command_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "memory://"]) == 0
    out = capsys.readouterr().out
    assert "conditions: race to create" in out
    assert out.endswith("everything promised holds\n")


def test_the_command_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", "memory://"]) == 0
    *findings, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert last["ok"] is True
    assert last["capabilities"]["conditions"]["create"] == ["copy", "multipart", "put"]
    assert {finding["verdict"] for finding in findings} <= {"holds", "absent", "info"}


class LyingMemory(_CutsShort):
    """A memory store for the list of stores."""

    OPTIONS: tuple[str, ...] = ()

    @classmethod
    def from_url(cls, netloc: str, path: str, options: dict[str, Any]) -> LyingMemory:
        return cls(MemoryStorage(netloc))


def test_the_exit_code_of_a_lie(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCHEMES, "lying", (__name__, "LyingMemory"))
    assert main(["doctor", "lying://"]) == 1
    out = capsys.readouterr().out
    assert "contract: ranges: {'start': 2, 'end': 5} gave b'23'\n" in out
    assert "everything" not in out
