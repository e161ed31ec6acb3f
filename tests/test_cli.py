"""The commands, run in this process on the memory store."""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import signal
import stat
import sys
import threading
import time
from datetime import UTC, datetime
from typing import ClassVar, NamedTuple

import pytest

from objectstorage import errors
from objectstorage.cli.__main__ import main
from objectstorage.cli._globs import compile_glob
from objectstorage.memory import MemoryStorage
from objectstorage.posix import PosixStorage
from objectstorage.storage import ObjectInfo, Reader
from objectstorage.urls import SCHEMES


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch, tmp_path):
    for name in ("OBJECTSTORAGE_URL", "OBJECTSTORAGE_CONFIG", "OBJECTSTORAGE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))


class Result(NamedTuple):
    """What a command left."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self):
        return self.raw.decode(errors="backslashreplace")

    @property
    def records(self):
        return [json.loads(line) for line in self.raw.splitlines()]


_names = itertools.count()


@pytest.fixture
def store():
    with MemoryStorage(f"cli-{next(_names)}") as store:
        yield store


other = store


@pytest.fixture
def cli(store, capsysbinary, monkeypatch):
    """Run a command with the fixture's store as the default one."""

    def run(*argv, stdin=b""):
        monkeypatch.setenv("OBJECTSTORAGE_URL", store.url)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main([str(word) for word in argv])
        captured = capsysbinary.readouterr()
        return Result(code, captured.out, captured.err.decode())

    return run


def keys(store, prefix=""):
    return [info.key for info in store.list(prefix)]


def fill(store, *names):
    for name in names:
        store.put(name, name.encode())


def fails(result, code, *words):
    """Whether it failed with that code and one sentence that has the words."""
    assert result.code == code, result
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert all(word in lines[0] for word in words), lines
    return True


# -- put -------------------------------------------------------------------------------


def test_put_stores_a_file_under_its_key(cli, store, tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"data")
    result = cli(
        "put",
        path,
        "a/k",
        "--content-type",
        "text/plain",
        "--metadata",
        "owner=ci=x",
        "--no-durable",
    )
    assert (result.code, result.out, result.err) == (0, "", "")
    info = store.stat("a/k")
    assert (info.size, info.content_type, info.metadata) == (4, "text/plain", {"owner": "ci=x"})


@pytest.mark.parametrize(("target", "key"), [("a/", "a/f.txt"), ("", "f.txt"), ("a", "a")])
def test_put_into_a_folder_keeps_the_name(cli, store, tmp_path, target, key):
    (tmp_path / "f.txt").write_bytes(b"data")
    assert cli("put", tmp_path / "f.txt", target).code == 0
    assert keys(store) == [key]


def test_put_takes_standard_input(cli, store):
    assert cli("put", "-", "k", stdin=b"from a pipe").code == 0
    assert store.get("k") == b"from a pipe"
    assert fails(cli("put", "-", "folder/"), 2, "standard input")


def test_put_conditions(cli, store, tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"new")
    etag = store.put("k", b"old").etag
    assert fails(cli("put", "--create", path, "k"), 6, "'k'", store.url, "taken")
    assert fails(cli("put", "--if-match", "other", path, "k"), 6, "'k'")
    assert store.get("k") == b"old"
    assert cli("put", path, "k", "--if-match", etag).code == 0
    assert store.get("k") == b"new"
    assert fails(cli("put", path, path, "d/", "--if-match", etag), 2, "--if-match")


def test_put_a_folder(cli, store, tmp_path):
    (tmp_path / "d" / "sub").mkdir(parents=True)
    for name in ("d/a", "d/sub/b", "d/sub-c"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "d" / "link").symlink_to(tmp_path / "d" / "a")
    os.mkfifo(tmp_path / "d" / "pipe")
    result = cli("put", "-r", tmp_path / "d", "x")
    assert result.code == 0
    assert keys(store) == ["x/a", "x/sub-c", "x/sub/b"]
    assert "link' is left out: symbolic link" in result.err
    assert "pipe' is left out" in result.err
    assert "stored 3 objects" in result.err
    assert cli("put", "-r", "-q", tmp_path / "d", "x").err == ""


def test_put_several_folders_keeps_them_apart(cli, store, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_bytes(name.encode())
    (tmp_path / "file").write_bytes(b"")
    result = cli("put", "-r", tmp_path / "one", tmp_path / "two", tmp_path / "file", "x")
    assert result.code == 0
    assert keys(store) == ["x/file", "x/one/f", "x/two/f"]


def test_put_filters(cli, store, tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.txt", "b.log", "sub/c.txt", "sub/[d].txt"):
        (tmp_path / name).write_bytes(b"")
    filters = ("--include", "**/*.txt", "--exclude", "sub/[*")
    assert cli("put", "-r", *filters, tmp_path, "").code == 0
    assert keys(store) == ["a.txt", "sub/c.txt"]


def test_put_goes_on_when_a_file_fails(cli, store, tmp_path):
    (tmp_path / "good").write_bytes(b"")
    result = cli("put", tmp_path / "missing", tmp_path / "good", "x/")
    assert fails_among(result, "missing")
    assert keys(store) == ["x/good"]


def fails_among(result, *words):
    """Whether some failed, named on standard error, while others went on."""
    assert result.code == 1, result
    assert all(word in result.err for word in words), result.err
    return True


def test_put_of_a_folder_that_is_missing(cli, store, tmp_path):
    assert fails(cli("put", "-r", tmp_path / "missing", "x/"), 3, "missing")
    (tmp_path / "good").write_bytes(b"")
    assert fails_among(cli("put", "-r", tmp_path / "missing", tmp_path / "good", "x/"), "missing")
    assert keys(store) == ["x/good"]


def test_put_names_a_file_name_that_is_no_key(cli, store, tmp_path):
    with open(os.fsencode(tmp_path) + b"/\xff", "wb"):
        pass
    (tmp_path / "good").write_bytes(b"")
    assert fails_among(cli("put", "-r", tmp_path, ""), r"\udcff", "UTF-8")
    assert keys(store) == ["good"]


@pytest.mark.parametrize(
    ("argv", "code", "word"),
    [
        (["put", "{tmp}", "k"], 2, "-r"),
        (["put", "{tmp}/missing", "k"], 3, "missing"),
        (["put", "memory://x/a", "k"], 2, "cp"),
        (["put", "{tmp}/a", "{tmp}/b", "k"], 2, "'/'"),
        (["put", "k"], 2, "usage: objectstorage put [OPTION]... SRC... DST"),
        (["put", "--metadata", "x", "{tmp}/a", "k"], 2, "NAME=VALUE"),
        (["put", "--jobs", "0", "{tmp}/a", "k"], 2, "at least 1"),
        (["put", "{tmp}/a/f", "{tmp}/b/f", "d/"], 2, "named 'f'"),
        (["put", "-r", "{tmp}/a/d", "{tmp}/b/../d/", "x"], 2, "named 'd'"),
    ],
)
def test_put_usage(cli, store, tmp_path, argv, code, word):
    assert fails(cli(*(part.format(tmp=tmp_path) for part in argv)), code, word)
    assert keys(store) == []


# -- get -------------------------------------------------------------------------------


def test_get_writes_a_file(cli, store, tmp_path):
    store.put("a/k", b"data")
    assert cli("get", "a/k", tmp_path / "f").code == 0
    assert cli("get", "a/k", tmp_path).code == 0
    assert cli("get", "a/k", f"{tmp_path}/new/").code == 0
    assert [(tmp_path / name).read_bytes() for name in ("f", "k", "new/k")] == [b"data"] * 3
    assert cli("get", "a/k", "-").raw == b"data"


def test_get_leaves_a_device_a_device(cli, store, tmp_path):
    store.put("k", b"data")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert cli("get", "k", pipe).code == 0
    assert os.read(reader, 10) == b"data"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


def test_get_leaves_a_link_a_link(cli, store, tmp_path):
    store.put("k", b"data")
    (tmp_path / "f").write_bytes(b"old")
    for name, target in (("link", "f"), ("dangling", "new")):
        (tmp_path / name).symlink_to(target)
        assert cli("get", "k", tmp_path / name).code == 0
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / target).read_bytes() == b"data"


def test_get_a_missing_object_leaves_the_file(cli, tmp_path):
    (tmp_path / "f").write_bytes(b"old")
    assert fails(cli("get", "nope", f"{tmp_path}/new/folder/"), 3, "'nope'")
    assert fails(cli("get", "nope", tmp_path / "f"), 3, "'nope'")
    assert os.listdir(tmp_path) == ["f"]
    assert (tmp_path / "f").read_bytes() == b"old"


def test_get_a_name_that_is_no_file_name(cli, store, tmp_path):
    fill(store, "a/..", "a/")
    for key in ("a/..", "a/"):
        assert fails(cli("get", key, tmp_path), 7, repr(key))
    assert os.listdir(tmp_path) == []


def test_get_a_folder(cli, store, tmp_path):
    fill(store, "x/a", "x/s/b", "x/s/t/c", "xy", "y")
    store.put("x/s/empty/", b"")
    assert cli("get", "-r", "x", tmp_path / "d").code == 0
    found = sorted(str(p.relative_to(tmp_path / "d")) for p in (tmp_path / "d").rglob("*"))
    assert found == ["a", "s", "s/b", "s/empty", "s/t", "s/t/c"]
    assert (tmp_path / "d/s/t/c").read_bytes() == b"x/s/t/c"
    assert fails(cli("get", "-r", "nope", tmp_path / "e"), 3, "'nope/'")


HOSTILE = (
    "p/../up",
    "p/a/../../up",
    "p//up",
    "p/./up",
    "p/..",
    "p/a/",
    "p//etc/up",
    "p/\x1b[2Jé/..",
)


def test_get_refuses_keys_that_lead_outside_and_goes_on(cli, store, tmp_path):
    fill(store, *HOSTILE, "p/good", "p/a/good")
    target = tmp_path / "d"
    result = cli("get", "-r", "p", target)
    assert result.code == 1
    lines = result.err.splitlines()
    for key in HOSTILE:
        assert [line for line in lines if f"{key!r} is not fetched" in line], key
    assert "\x1b" not in result.err
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["good", "good"]
    assert os.listdir(tmp_path) == ["d"]


def test_get_never_follows_a_symbolic_link(cli, store, tmp_path):
    fill(store, "p/dir/up", "p/file", "p/good")
    outside, target = tmp_path / "outside", tmp_path / "d"
    outside.mkdir()
    target.mkdir()
    (outside / "file").write_bytes(b"untouched")
    (target / "dir").symlink_to(outside)
    (target / "file").symlink_to(outside / "file")
    result = cli("get", "-r", "p", target)
    assert result.code == 1
    assert "'p/dir/up' is not fetched: 'dir'" in result.err
    assert "'p/file' is not fetched: 'file'" in result.err
    assert os.listdir(outside) == ["file"]
    assert (outside / "file").read_bytes() == b"untouched"
    assert (target / "file").is_symlink()
    assert (target / "good").read_bytes() == b"p/good"


def test_get_names_what_no_tree_can_hold(cli, store, tmp_path):
    fill(store, "p/a", "p/a/b", "p/" + "n" * 300)
    result = cli("get", "-r", "--jobs", "1", "p", tmp_path / "d")
    assert result.code == 1
    assert os.strerror(errno.ENOTDIR) in result.err
    assert os.strerror(errno.ENAMETOOLONG) in result.err
    assert os.listdir(tmp_path / "d") == ["a"]


def test_get_leaves_no_part_of_a_broken_object(cli, store, tmp_path, monkeypatch):
    monkeypatch.setitem(SCHEMES, "short", (__name__, "ShortStorage"))
    result = cli("get", "-r", "short://x/p", tmp_path / "d")
    assert result.code == 1
    assert "1 of 2 bytes" in result.err
    assert os.listdir(tmp_path / "d") == []


class ShortStorage(MemoryStorage):
    """Opens every object as one byte of two."""

    @classmethod
    def from_url(cls, netloc, path, options):
        store = cls()
        store.put("p/k", b"12")
        return store

    def open(self, key):
        reader = super().open(key)
        reader.seek(1)
        return reader


# -- cat, ls, stat ---------------------------------------------------------------------


def test_cat(cli, store):
    store.put("a", b"\x00\xff")
    store.put("b", b"0123456789")
    assert cli("cat", "a", "b").raw == b"\x00\xff0123456789"
    assert fails(cli("cat", "nope"), 3, "'nope'", store.url)
    result = cli("cat", "nope", "b")
    assert (result.code, result.raw) == (1, b"0123456789")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2:5", b"234"),
        ("7:", b"789"),
        (":2", b"01"),
        ("-3:", b"789"),
        ("-3:8", b"7"),
        ("-99:", b"0123456789"),
        ("4:99", b"456789"),
        ("10:", b""),
        ("3:3", b""),
    ],
)
def test_cat_a_range(cli, store, text, expected):
    store.put("k", b"0123456789")
    result = cli("cat", f"--range={text}", "k")
    assert (result.code, result.raw) == (0, expected)


def test_cat_a_range_that_is_none(cli, store):
    store.put("k", b"0123456789")
    assert fails(cli("cat", "--range", "11:", "k"), 2, "'k'")
    assert fails(cli("cat", "--range", "x", "k"), 2, "A:B")
    assert fails(cli("cat", "--range", "1:1", "nope"), 3, "'nope'")


def test_cat_a_long_range_in_pieces(cli, store):
    data = bytes(range(256)) * (9 * 4096)
    store.put("k", data)
    assert cli("cat", "--range", "100:", "k").raw == data[100:]
    assert cli("cat", f"--range=-{len(data) - 5}:", "k").raw == data[5:]


def test_ls(cli, store):
    fill(store, "a/b", "a/c/d", "a-", "b")
    assert cli("ls").out == "a-\na/\nb\n"
    assert cli("ls", "a").out == "a-\na/\n"
    assert cli("ls", "a/").out == "a/b\na/c/\n"
    assert cli("ls", "-r", "a").out == "a-\na/b\na/c/d\n"
    assert cli("ls", "-0", "a/").out == "a/b\0a/c/\0"
    assert cli("ls", "--glob", "a/**").out == "a/b\na/c/d\n"
    assert fails(cli("ls", "--glob", "x*"), 3, "'x*'")
    assert cli("ls", "nothing").code == 0
    size, time, key = cli("ls", "-l", "b").out.split()
    assert (size, key) == ("1", "b")
    assert time.endswith("Z")


def test_ls_as_json_is_exact(cli, store):
    key = "\x1b[2J\n\u202e[a*]#?é"
    store.put(key, b"123")
    store.put("z/1", b"")
    first, second = cli("ls", "--json").records
    assert first == {
        "schema": 1,
        "key": key,
        "size": 3,
        "last_modified": store.stat(key).last_modified.isoformat(),
        "etag": store.stat(key).etag,
    }
    assert second == {"schema": 1, "prefix": "z/"}
    assert cli("ls", "--json").out.isascii()


def test_a_key_can_not_drive_the_terminal(cli, store):
    key = "\x1b[2J\x07\n\x9b\u202e"
    store.put(key, b"")
    for result in (cli("ls"), cli("ls", "-l"), cli("stat", key), cli("cat", key + "x")):
        shown = result.out + result.err
        assert r"\x1b[2J\x07\n\x9b\u202e" in shown
        assert all(c.isprintable() or c == "\n" for c in shown)
    assert cli("ls", "-0").raw == f"{key}\0".encode()


def test_stat(cli, store):
    store.put("k", b"12", content_type="text/plain", metadata={"owner": "ci"})
    store.put("l", b"")
    out = cli("stat", "k").out
    for word in ("k", store.url, "2", store.stat("k").etag, "text/plain", "owner=ci"):
        assert word in out
    record = cli("stat", "--json", "k", "l").records[0]
    assert (record["key"], record["size"], record["metadata"]) == ("k", 2, {"owner": "ci"})
    assert [r["key"] for r in cli("stat", "--json", "--glob", "?").records] == ["k", "l"]
    assert cli("stat", "k", "nope").code == 1


# -- cp, mv, rm ------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["cp", "mv"])
def test_copy_and_move_within_a_store(cli, store, command):
    store.put("a/k", b"data", metadata={"owner": "ci"})
    assert cli(command, "a/k", "b/").code == 0
    assert store.get("b/k") == b"data"
    assert store.stat("b/k").metadata == {"owner": "ci"}
    assert store.exists("a/k") == (command == "cp")
    store.put("c", b"other")
    assert fails(cli(command, "--create", "c", "b/k"), 6, "taken")
    assert fails(cli(command, "nope", "x"), 3, "'nope'")


@pytest.mark.parametrize("command", ["cp", "mv"])
def test_copy_and_move_between_stores(cli, store, other, command):
    store.put("a/k", b"data", content_type="text/plain")
    fill(store, "a/s/t", "ab")
    result = cli(command, "-r", "--json", "a", "x", "--store", store.url)
    assert [r["key"] for r in result.records] == ["x/k", "x/s/t"]
    assert [r["source"] for r in result.records] == ["a/k", "a/s/t"]
    assert ("a/k" in keys(store)) == (command == "cp")
    assert "ab" in keys(store)
    assert cli(command, "x/k", other.url + "/").code == 0
    assert other.stat("k").content_type == "text/plain"
    assert store.exists("x/k") == (command == "cp")


@pytest.mark.parametrize(("source", "target"), [("a", "a/b"), ("a/b", "a"), ("a", "a"), ("", "a")])
def test_a_folder_is_not_copied_into_itself(cli, store, source, target):
    fill(store, "a/b/c")
    assert fails(cli("cp", "-r", source, target), 2, "one in the other")
    assert keys(store) == ["a/b/c"]


def test_two_names_of_one_store_are_noticed(cli, store):
    fill(store, "a/b", "k")
    alias = store.url.replace("cli", "%63li")
    assert fails(cli("mv", "--store", alias, f"{store.url}/k", "k"), 2, "onto itself")
    assert fails(cli("cp", "-r", "--store", alias, f"{store.url}/a", "a/c"), 2, "in the other")
    assert keys(store) == ["a/b", "k"]


@pytest.mark.parametrize("command", ["cp", "mv"])
def test_a_store_behind_a_symbolic_link_is_noticed(cli, tmp_path, command):
    (tmp_path / "link").symlink_to("store")
    with PosixStorage(tmp_path / "store") as store:
        fill(store, "a/b", "k")
        alias = f"posix://{tmp_path}/link"
        assert fails(cli(command, "--store", store.url, "k", f"{alias}/k"), 2, "onto itself")
        argv = (command, "-r", "--store", store.url, "a", f"{alias}/a/c")
        assert fails(cli(*argv), 2, "in the other")
        assert keys(store) == ["a/b", "k"]


def test_a_copy_between_stores_is_interrupted(cli, store, monkeypatch):
    monkeypatch.setitem(SCHEMES, "endless", (__name__, "EndlessStorage"))
    result = cli("cp", "-r", "endless://x/d", "to")
    assert (result.code, keys(store), Endless.waited) == (130, [], False)


class EndlessStorage(MemoryStorage):
    """Its object never ends, and its first bytes come with Ctrl-C."""

    @classmethod
    def from_url(cls, netloc, path, options):
        return cls()

    def list(self, prefix="", *, start_after=None, ordered=True):
        Endless.wanted.clear()
        yield self.info
        Endless.wanted.set()

    def open(self, key, **options):
        return Reader(Endless(), self.info)

    info = ObjectInfo("d/k", 1 << 40, datetime(2024, 1, 1, tzinfo=UTC), "etag")


class Endless(io.RawIOBase):
    """Zeros, for longer than it takes to notice."""

    waited: ClassVar[bool] = False
    wanted: ClassVar[threading.Event] = threading.Event()
    """The command has started the copy, and asks for what comes next."""

    def __init__(self):
        self.end = time.monotonic() + 30
        self.interrupted = False

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self.interrupted:
            self.interrupted = self.wanted.wait(60)
            os.kill(os.getpid(), signal.SIGINT)
        if time.monotonic() > self.end:
            Endless.waited = True
            raise OSError(errno.EIO, "nobody ended it")
        buffer[:1] = b"0"
        return 1


def test_move_between_stores_keeps_what_was_replaced_meanwhile(cli, store, other, monkeypatch):
    monkeypatch.setitem(SCHEMES, "busy", (__name__, "BusyStorage"))
    BusyStorage.source = store
    store.put("k", b"old")
    assert fails(cli("mv", "k", "busy://x/k"), 6, "'k'")
    assert store.get("k") == b"new"


class BusyStorage(MemoryStorage):
    """While something is put here, the source is replaced."""

    source: ClassVar[MemoryStorage]

    @classmethod
    def from_url(cls, netloc, path, options):
        return cls()

    def put(self, key, data, **options):
        result = super().put(key, data, **options)
        self.source.put("k", b"new")
        return result


def test_rm(cli, store):
    fill(store, "a", "b", "c/d", "c/e", "ce", "-x", "*")
    assert cli("rm", "a").code == 0
    assert fails(cli("rm", "a"), 3, "'a'")
    assert cli("rm", "--missing-ok", "a").code == 0
    assert fails(cli("rm", "c"), 3, "'c'")
    assert cli("rm", "-r", "-n", "c").out == "c/d\nc/e\n"
    assert cli("rm", "-n", "b").out == "b\n"
    assert keys(store) == ["*", "-x", "b", "c/d", "c/e", "ce"]
    assert [r["key"] for r in cli("rm", "-r", "c", "--json").records] == ["c/d", "c/e"]
    assert fails(cli("rm", "-r", "c"), 3, "'c/'")
    assert cli("rm", "-r", "--missing-ok", "c").code == 0
    assert fails(cli("rm", "-x"), 2, "'-x'")
    assert cli("rm", "--", "-x").code == 0
    assert cli("rm", "*").code == 0
    assert keys(store) == ["b", "ce"]
    assert cli("rm", "--glob", "c*").code == 0
    assert keys(store) == ["b"]


def test_patterns_that_match_nothing(cli, store):
    fill(store, "a", "b", "c")
    assert fails_among(cli("cat", "--glob", "x*", "a", "y*"), "'x*'", "'y*'")
    assert fails_among(cli("rm", "--glob", "x*", "a", "y*"), "'x*'", "'y*'")
    assert keys(store) == ["b", "c"]
    assert fails(cli("rm", "--glob", "x*"), 3, "'x*'")
    assert cli("rm", "--glob", "--missing-ok", "x*").code == 0
    assert cli("rm", "--glob", "--missing-ok", "x*", "b").code == 0
    assert keys(store) == ["c"]


def test_rm_of_everything_needs_a_word_more(cli, store):
    fill(store, "a", "b/c")
    assert fails(cli("rm", "-r", ""), 7, store.url, "--force")
    assert keys(store) == ["a", "b/c"]
    assert cli("rm", "-r", "--force", "").code == 0
    assert keys(store) == []


def test_rm_filters(cli, store):
    fill(store, "d/a.txt", "d/b.log", "d/e/c.txt")
    assert cli("rm", "-r", "d", "--include", "*.txt").code == 0
    assert keys(store) == ["d/b.log", "d/e/c.txt"]


def test_rm_names_each_key_that_stays(cli, store, monkeypatch):
    monkeypatch.setitem(SCHEMES, "guarded", (__name__, "GuardedStorage"))
    result = cli("rm", "-r", "--json", "guarded://x/d")
    assert result.code == 1
    assert [r["key"] for r in result.records] == ["d/b"]
    assert json.loads(result.err)["key"] == "d/a"


class GuardedStorage(MemoryStorage):
    """Lets `d/a` not go."""

    @classmethod
    def from_url(cls, netloc, path, options):
        store = cls()
        fill(store, "d/a", "d/b")
        return store

    def delete(self, key, **options):
        if key == "d/a":
            raise errors.ErrPermission("it stays", key=key)
        super().delete(key, **options)


# -- what all commands share -----------------------------------------------------------


class FailingStorage(MemoryStorage):
    """Fails as it is told."""

    error: ClassVar[BaseException]

    @classmethod
    def from_url(cls, netloc, path, options):
        return cls()

    def stat(self, key):
        raise self.error


def _caused(err, cause):
    err.__cause__ = cause
    return err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ErrNotExist("x"), 3),
        (_caused(errors.ErrInternal("x"), errors.ErrNotExist("y")), 3),
        (errors.ErrPermission("x"), 4),
        (errors.ErrForbidden("x"), 4),
        (errors.ErrUnauthorized("x"), 4),
        (errors.ErrUnavailable("x", attempts=["a", "b"]), 5),
        (errors.ErrTimeout("x"), 5),
        (errors.ErrPreconditionFailed("x"), 6),
        (errors.ErrExist("x"), 6),
        (errors.ErrInvalidKey("x"), 2),
        (errors.ErrInvalidURL("x"), 2),
        (errors.ErrInvalidMetadata("x"), 2),
        (errors.ErrInvalidRange("x"), 2),
        (errors.ErrConflict("x"), 1),
        (errors.ErrUnsupported("x"), 1),
        (errors.ErrIntegrity("x"), 1),
        (errors.ErrOutcomeUnknown("x"), 1),
        (errors.ErrIO("x", errno=errno.ENOSPC), 1),
        (errors.ErrBackend("x", status=418), 1),
        (RuntimeError("a bug"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
@pytest.mark.parametrize("json_too", [(), ("--json",)])
def test_exit_codes(cli, monkeypatch, error, code, json_too):
    monkeypatch.setitem(SCHEMES, "failing", (__name__, "FailingStorage"))
    monkeypatch.setattr(FailingStorage, "error", error, raising=False)
    result = cli("stat", "failing://x/k", *json_too)
    assert fails(result, code)
    assert "Traceback" not in result.err
    assert result.out == ""
    if json_too:
        record = json.loads(result.err)
        assert (record["schema"], record["error"]) == (1, type(error).__name__)


class GoneStorage(MemoryStorage):
    """Takes objects until it is gone."""

    before: ClassVar[int]

    @classmethod
    def from_url(cls, netloc, path, options):
        return cls()

    def put(self, key, data, **options):
        if len(list(self.list())) >= self.before:
            raise errors.ErrUnavailable("gone", key=key, operation="put", storage=self.url)
        return super().put(key, data, **options)


@pytest.mark.parametrize(("before", "code", "lines"), [(0, 5, 1), (1, 1, 40)])
def test_a_store_that_is_not_there_is_told_once(cli, tmp_path, monkeypatch, before, code, lines):
    monkeypatch.setitem(SCHEMES, "gone", (__name__, "GoneStorage"))
    monkeypatch.setattr(GoneStorage, "before", before, raising=False)
    for i in range(40):
        (tmp_path / f"{i:02}").write_bytes(b"")
    result = cli("put", "-r", "--jobs", "1", tmp_path, "gone://x/")
    assert result.code == code
    # 39 errors and the summary, if one went well
    assert len(result.err.splitlines()) == lines


def test_a_traceback_on_request(cli, monkeypatch):
    monkeypatch.setitem(SCHEMES, "failing", (__name__, "FailingStorage"))
    monkeypatch.setattr(FailingStorage, "error", RuntimeError("a bug"), raising=False)
    monkeypatch.setenv("OBJECTSTORAGE_DEBUG", "1")
    with pytest.raises(RuntimeError, match="a bug"):
        cli("stat", "failing://x/k")


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["bogus"], "there is no command 'bogus'"),
        (["cat"], "usage: objectstorage cat [OPTION]... KEY..."),
        (["ls", "a", "b"], "'b'"),
        (["ls", "--bogus=s3cret", "a"], "--bogus"),
        (["cat", "--rang", "1:2", "k"], "--rang"),
        (["ls", "--store"], "--store"),
        (["ls", "--store", "nope://x"], "nope"),
        (["ls", "--option", "x", "k"], "NAME=VALUE"),
        (["ls", "--option", "secret_key=s3cret", "k"], "environment"),
        (["ls", "--region", "a", "--option", "region=b", "k"], "twice"),
        (["ls", "--endpoint", "http://h", "k"], "no option 'endpoint'"),
        (["ls", "memory://user:s3cret@host/k"], "credentials"),
        (["stat", "posix://relative/k"], "three slashes"),
        (["stat", ""], "not empty"),
        (["stat", "/k"], "'/k'"),
    ],
)
def test_usage_errors(cli, argv, word):
    result = cli(*argv)
    assert fails(result, 2, word)
    assert "s3cret" not in result.err
    if argv[0] == "cat" or len(argv) > 1:
        assert json.loads(cli(*argv, "--json").err)["schema"] == 1


def test_options_stand_anywhere(cli, store):
    fill(store, "--json", "-", "-1")
    assert cli("stat", "-q", "-1").code == 2
    assert cli("stat", "-", "--json").records[0]["key"] == "-"
    assert "--json" in cli("stat", "--", "--json").out
    assert cli("cp", "--", "-1", "--").code == 0
    assert store.get("--") == b"-1"
    assert cli("cp", "-1", "x").code == 2


def test_without_a_store_the_message_says_how(capsys):
    assert main(["ls", "k"]) == 2
    assert "--store URL" in capsys.readouterr().err


def test_an_address_is_literal(cli, store):
    key = "a b%20c?d#e&f=g"
    store.put(key, b"literal")
    assert cli("cat", f"{store.url}/{key}").raw == b"literal"


def test_help_and_version(cli):
    from objectstorage import __version__
    from objectstorage.cli._registry import COMMANDS, GROUPS

    for argv in ([], ["-h"], ["--help"]):
        result = cli(*argv)
        assert result.code == 0
        assert all(name in result.out for name in COMMANDS)
    assert cli("--version").out == f"objectstorage {__version__}\n"
    members = [f"{group} {name}" for group, names in GROUPS.items() for name in names]
    for name in [name for name in COMMANDS if name not in GROUPS] + members:
        result = cli(*name.split(), "--help")
        assert result.code == 0
        assert result.out.startswith(f"usage: objectstorage {name} [OPTION]...")


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("*", ["a", ""], ["a/b"]),
        ("**", ["a", "a/b", ""], []),
        ("a/*/c", ["a/b/c", "a//c"], ["a/b/d/c", "a/c"]),
        ("a/**/c", ["a/c", "a/b/c", "a/b/d/c"], ["ab/c", "a/bc"]),
        ("?.txt", ["a.txt"], ["/.txt", "ab.txt", "a.txt/", "a0txt"]),
        ("[a]{b}", ["[a]{b}"], ["a", "ab"]),
        ("a*\n", ["ab\n", "a\n\n"], ["ab"]),
        ("*a?b*/*b", ["axb/b", "aaab.b/xbb", "ab_aXb/b"], ["a/b/b", "aab", "axb/c"]),
        ("a*a", ["aa", "aba", "aaa"], ["a", "a/a"]),
        ("**/x*y*", ["xy", "q/xxyy", "p/q/x-y-"], ["q/yx", "xy/q"]),
        # every way to share the a's among the stars would take forever
        ("*a" * 20 + "b", ["a" * 20 + "b"], ["a" * 1000]),
    ],
)
def test_patterns(pattern, matches, others):
    glob = compile_glob(pattern)
    assert [key for key in matches if not glob.fullmatch(key)] == []
    assert [key for key in others if glob.fullmatch(key)] == []


# -- profiles --------------------------------------------------------------------------


@pytest.fixture
def config(monkeypatch, tmp_path):
    path = tmp_path / "config.toml"
    monkeypatch.setenv("OBJECTSTORAGE_CONFIG", str(path))
    return path


class OptionStorage(MemoryStorage):
    """Shows its options as a key."""

    OPTIONS = ("endpoint", "region", "secret_key")

    @classmethod
    def from_url(cls, netloc, path, options):
        store = cls()
        shown = {name: value for name, value in options.items() if name != "secret_key"}
        store.put(f"{netloc}:" + ",".join(f"{n}={v}" for n, v in sorted(shown.items())), b"")
        return store


def test_profiles(cli, config, monkeypatch):
    monkeypatch.setitem(SCHEMES, "opt", (__name__, "OptionStorage"))
    config.write_text(
        '[default]\nurl = "opt://d"\n'
        '[p]\nurl = "opt://b"\noptions = { region = "r", secret_key = "s3cret" }\n'
    )
    assert cli("ls", "--profile", "p").out == "b:region=r\n"
    assert cli("ls", "--profile", "p", "--region", "q").out == "b:region=q\n"
    assert cli("ls", "--profile", "p", "opt://c/").out == "c:region=r\n"
    assert cli("ls", "--profile", "p", "--store", "opt://e").out == "e:region=r\n"
    assert cli("ls", "--endpoint", "h", "opt://f/").out == "f:endpoint=h\n"
    assert cli("ls").out == ""  # OBJECTSTORAGE_URL comes before the default profile
    assert fails(cli("ls", "--profile", "nope"), 2, "'nope'", "'default', 'p'")


def test_the_default_profile(config, monkeypatch, capsys):
    monkeypatch.setitem(SCHEMES, "opt", (__name__, "OptionStorage"))
    config.write_text('[default]\nurl = "opt://d"\n')
    assert main(["ls"]) == 0
    assert capsys.readouterr().out == "d:\n"


@pytest.mark.parametrize(
    "text",
    ["not toml", "p = 1", "[p]", "[p]\nurl = 1", '[p]\nurl = "memory://"\nsecret = "s3cret"'],
)
def test_profiles_that_are_none(cli, config, text):
    config.write_text(text)
    result = cli("ls", "--profile", "p")
    assert fails(result, 2, str(config))
    assert "s3cret" not in result.err


def test_a_configuration_that_is_named_must_be_there(cli, config):
    assert fails(cli("ls"), 2, str(config))
