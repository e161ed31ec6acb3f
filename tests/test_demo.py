"""`objectstorage demo`: what it shows, and that it sees what is wrong."""

from __future__ import annotations

import json
import os
from typing import ClassVar

import pytest

from objectstorage.cli.__main__ import main
from objectstorage.memory import MemoryStorage
from objectstorage.storage import Fetched
from objectstorage.urls import SCHEMES


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch, tmp_path):
    for name in ("OBJECTSTORAGE_URL", "OBJECTSTORAGE_CONFIG", "OBJECTSTORAGE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    (root / "t").mkdir(parents=True)
    (root / "empty").write_bytes(b"")
    (root / "t" / "x").write_bytes(b"in a folder")
    (root / "t-").write_bytes(b"sorts before the folder")
    (root / "t0 [a]?#%é").write_bytes(os.urandom(3 * 1024 * 1024 + 1))
    return root


class LentStorage(MemoryStorage):
    """A memory store that stays when the command is done; subclasses are wrong somewhere."""

    lent: ClassVar[MemoryStorage]

    @classmethod
    def from_url(cls, netloc, path, options):
        cls.lent = cls()
        cls.lent.put("somebody's", b"other object")
        return cls.lent

    def close(self):
        """Stays open for the test to look at."""

    def left(self):
        return [info.key for info in MemoryStorage.list(self)]


@pytest.fixture
def lend(monkeypatch):
    def lend(cls):
        monkeypatch.setitem(SCHEMES, "lent", (__name__, cls.__name__))
        return "lent://x"

    return lend


def test_it_shows_everything_and_leaves_nothing(lend, tree, capsys):
    assert main(["demo", str(tree), "--store", lend(LentStorage)]) == 0
    out = capsys.readouterr().out
    assert out.count("ok  ") == 8
    assert "NO" not in out
    for word in ("stored 4 files", "3.0 MiB", "ErrExist", "ErrPreconditionFailed", "ErrNotExist"):
        assert word in out
    assert out.endswith("Everything was verified.\n")
    assert LentStorage.lent.left() == ["somebody's"]


def test_keep_keeps(lend, tree, capsys):
    assert main(["demo", str(tree), "--keep", "--store", lend(LentStorage)]) == 0
    captured = capsys.readouterr()
    prefix = captured.err.split()[-1]
    names = [key.removeprefix(prefix) for key in LentStorage.lent.left()]
    assert names == [
        "checks/compare-and-swap",
        "checks/create-only",
        "files/empty",
        "files/t-",
        "files/t/x",
        "files/t0 [a]?#%é",
        "somebody's",
    ]


def test_json(lend, tree, capsys):
    assert main(["demo", str(tree), "--json", "--store", lend(LentStorage)]) == 0
    captured = capsys.readouterr()
    records = [json.loads(line) for line in captured.out.splitlines()]
    assert captured.err == ""
    assert {record["schema"] for record in records} == {1}
    checks = [record["check"] for record in records if "check" in record]
    steps = [record["step"] for record in records if "step" in record]
    expected = ["store", "list", "read", "range", "create", "replace", "missing", "remove"]
    assert checks == expected
    assert steps == ["store", "list", "read", "remove"]
    assert all(record["verified"] for record in records)


def test_the_sources_of_the_package_are_the_default(lend, capsys):
    assert main(["demo", "--json", "--store", lend(LentStorage)]) == 0
    steps = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    stored = next(record for record in steps if record.get("step") == "store")
    assert stored["objects"] > 20


# -- stores that are wrong somewhere ---------------------------------------------------


class CorruptingStorage(LentStorage):
    """Reads one byte wrongly."""

    def stream(self, key, *, chunk_size=1024):
        for chunk in super().stream(key, chunk_size=chunk_size):
            yield chunk.replace(b"folder", b"fOlder")


class TruncatingStorage(LentStorage):
    """Loses the last byte."""

    def stream(self, key, *, chunk_size=1024):
        yield b"".join(super().stream(key, chunk_size=chunk_size))[:-1]


class GrowingStorage(LentStorage):
    """Appends a byte."""

    def stream(self, key, *, chunk_size=1024):
        yield b"".join(super().stream(key, chunk_size=chunk_size)) + b"\0"


class FolderOrderStorage(LentStorage):
    """Lists in the order of folders: t/x before t-."""

    def list(self, prefix="", **options):
        infos = list(super().list(prefix, **options))
        return iter(sorted(infos, key=lambda info: info.key.replace("/", "\0")))


class ForgetfulStorage(LentStorage):
    """Lists all but one."""

    def list(self, prefix="", **options):
        return (info for info in super().list(prefix, **options) if not info.key.endswith("/x"))


class RepeatingStorage(LentStorage):
    """Lists one twice."""

    def list(self, prefix="", **options):
        for info in super().list(prefix, **options):
            yield info
            if info.key.endswith("/x"):
                yield info


class OverwritingStorage(LentStorage):
    """Ignores create=True."""

    def put(self, key, data, **options):
        return super().put(key, data, **{**options, "create": False})


class UnconditionalStorage(LentStorage):
    """Ignores if_match."""

    def put(self, key, data, *, if_match=None, **options):
        return super().put(key, data, **options)


class OffByOneStorage(LentStorage):
    """Gives one byte less of a range."""

    def fetch(self, key, *, start=0, end=None, **options):
        found = super().fetch(key, start=start, end=end, **options)
        return Fetched(found.data[:-1], found.info) if start else found


class InventingStorage(LentStorage):
    """Has every object."""

    def get(self, key):
        return b"" if key.endswith("not-there") else super().get(key)


class KeepingStorage(LentStorage):
    """Deletes nothing."""

    def delete(self, key, **options):
        """Says it did."""


@pytest.mark.parametrize(
    ("cls", "word"),
    [
        (CorruptingStorage, "read failed"),
        (TruncatingStorage, "read failed"),
        (GrowingStorage, "read failed"),
        (FolderOrderStorage, "where"),
        (ForgetfulStorage, "where"),
        (RepeatingStorage, "where"),
        (OverwritingStorage, "put(create=True)"),
        (UnconditionalStorage, "stale if_match"),
        (OffByOneStorage, "are not its file's"),
        (InventingStorage, "never stored"),
        (KeepingStorage, "still listed"),
    ],
)
def test_it_sees_what_is_wrong(lend, tree, capsys, cls, word):
    assert main(["demo", str(tree), "--store", lend(cls)]) == 1
    out = capsys.readouterr().out
    wrong = [line for line in out.splitlines() if line.startswith("NO  ")]
    assert any(word in line for line in wrong), out
    assert out.endswith("NOT everything was verified.\n")
    if cls is not KeepingStorage:
        assert cls.lent.left() == ["somebody's"]


class InterruptedStorage(LentStorage):
    """Ctrl-C while the third object is read."""

    opened = 0

    def open(self, key):
        self.opened += 1
        if self.opened == 3:
            raise KeyboardInterrupt
        return super().open(key)


def test_interrupted_it_cleans_up(lend, tree, capsys):
    assert main(["demo", str(tree), "--store", lend(InterruptedStorage)]) == 130
    captured = capsys.readouterr()
    assert captured.err.endswith("objectstorage: interrupted\n")
    assert "verified" not in captured.out
    assert InterruptedStorage.lent.left() == ["somebody's"]


class FullStorage(LentStorage):
    """Takes no large object."""

    def put(self, key, data, **options):
        from objectstorage.errors import ErrIO

        if "t0" in key:
            raise ErrIO("No space left on device", key=key, operation="put", storage=self.url)
        return super().put(key, data, **options)


def test_what_can_not_be_stored_is_named(lend, tree, capsys):
    assert main(["demo", str(tree), "--store", lend(FullStorage)]) == 1
    captured = capsys.readouterr()
    assert "No space left on device" in captured.err
    assert "NO  3 of 4 files" in captured.out
    assert FullStorage.lent.left() == ["somebody's"]


@pytest.mark.parametrize(("name", "code"), [("missing", 3), ("tree/t/x", 2), ("nothing", 2)])
def test_a_folder_that_is_none(lend, tree, tmp_path, capsys, name, code):
    (tmp_path / "nothing").mkdir()
    assert main(["demo", str(tmp_path / name), "--store", lend(LentStorage)]) == code
    assert name in capsys.readouterr().err
