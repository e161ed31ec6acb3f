"""The fsspec file systems: what fsspec's own suite doesn't ask."""

from __future__ import annotations

import json
import pickle
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest
from conftest import STORES, make_target
from fsspec.registry import known_implementations

import objectstorage
from objectstorage import (
    ErrExist,
    ErrInvalidURL,
    ErrIO,
    ErrNotExist,
    ErrPermission,
    ErrPreconditionFailed,
    ErrUnavailable,
    ErrUnsupported,
    Storage,
)
from objectstorage.filesystem import (
    MemoryFileSystem,
    ObjectStorageFileSystem,
    PosixFileSystem,
    S3FileSystem,
    StorageFileSystem,
)
from objectstorage.memory import MemoryStorage

DATA = bytes(range(256)) * 8


@pytest.fixture(params=STORES)
def fs(request: pytest.FixtureRequest) -> Iterator[StorageFileSystem]:
    """A file system over a fresh, empty store of every kind in turn."""
    target = make_target(request.param, request)
    with target.open(target.fresh()) as store:
        yield StorageFileSystem(store)


@pytest.fixture
def memory() -> StorageFileSystem:
    return StorageFileSystem(MemoryStorage())


# -- names -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "url", "name"),
    [
        (ObjectStorageFileSystem, "objectstorage://a/b", "a/b"),
        (ObjectStorageFileSystem, "/a/b/", "a/b"),
        (ObjectStorageFileSystem, "objectstorage://", ""),
        (S3FileSystem, "objectstorage+s3://bucket/a//b?c#d%20[e]", "bucket/a//b?c#d%20[e]"),
        (S3FileSystem, "objectstorage+s3://bucket/", "bucket"),
        (MemoryFileSystem, "objectstorage+memory://name/a", "name/a"),
        (PosixFileSystem, "objectstorage+posix:///dir/a", "/dir/a"),
        (PosixFileSystem, "/dir/a/", "/dir/a"),
        (PosixFileSystem, "objectstorage+posix:///", "/"),
    ],
)
def test_stripping_a_protocol(cls: Any, url: str, name: str) -> None:
    assert cls._strip_protocol(url) == name
    assert cls._strip_protocol(name) == name
    assert cls._strip_protocol([url, name]) == [name, name]
    assert cls._get_kwargs_from_urls(url) == {}
    assert cls._strip_protocol(cls.unstrip_protocol(cls, name)) == name


def test_the_protocols_are_registered() -> None:
    assert isinstance(fsspec.filesystem("objectstorage+memory"), MemoryFileSystem)
    assert fsspec.get_filesystem_class("objectstorage") is ObjectStorageFileSystem
    assert fsspec.get_filesystem_class("objectstorage+posix") is PosixFileSystem
    assert fsspec.get_filesystem_class("objectstorage+s3") is S3FileSystem
    for name in ("s3", "file"):  # by name: whoever they belong to need not be installed
        assert "objectstorage" not in known_implementations[name]["class"]


def test_a_store_by_url_or_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = f"posix://{tmp_path}"
    with objectstorage.open_storage(url) as store:
        store.put("a/b", DATA)
    monkeypatch.delenv("OBJECTSTORAGE_URL", raising=False)
    with pytest.raises(ErrInvalidURL, match="store_url"):
        fsspec.filesystem("objectstorage")
    fs = fsspec.filesystem("objectstorage", store_url=url, durable=False)
    assert fs.cat("objectstorage://a/b") == DATA
    monkeypatch.setenv("OBJECTSTORAGE_URL", url)
    with fsspec.open("objectstorage://a/b") as file:
        assert file.read() == DATA
    with pytest.raises(ErrInvalidURL, match="no option 'colour'"):
        fsspec.filesystem("objectstorage", store_url=url, colour="red").exists("a")


def test_a_posix_store_is_found_by_its_mark(tmp_path: Path) -> None:
    root = tmp_path / "app"
    fs = PosixFileSystem()
    assert not fs.exists(f"{root}/a")
    with pytest.raises(ErrNotExist, match="store_root"):
        fs.pipe_file(f"{root}/a", b"")
    assert not root.exists(), "a mistyped path makes no store"
    PosixFileSystem(store_root=str(root)).pipe_file(f"{root}/a/b", DATA)
    assert (root / "a" / "b").read_bytes() == DATA
    assert fs.cat_file(f"objectstorage+posix://{root}/a/b") == DATA
    assert fs.ls(str(root), detail=False) == [f"{root}/a"]
    with pytest.raises(ErrNotExist, match="is not in the store"):
        PosixFileSystem(store_root=str(root)).cat_file("/etc/hostname")
    PosixFileSystem(store_root=str(tmp_path)).pipe_file(f"{tmp_path}/c", b"")
    with pytest.raises(ErrInvalidURL, match="more than one store"):
        fs.cat_file(f"{root}/a/b")


@pytest.mark.parametrize("key", ["a b", "a[1]", "a*b", "a?b", "a#b", "100%", "a%2Fb", "ä/€/𝄞"])
def test_odd_keys_are_exact(fs: StorageFileSystem, key: str) -> None:
    fs.pipe_file("other", b"")
    fs.pipe_file(f"dir/{key}", DATA)
    assert [info.key for info in fs.store.list("dir/")] == [f"dir/{key}"]
    assert fs.cat(f"dir/{key}") == DATA
    assert fs.info(f"dir/{key}")["name"] == f"dir/{key}"
    assert fs.find("dir") == [f"dir/{key}"]
    fs.rm(f"dir/{key}")
    assert fs.find("") == ["other"]


def test_a_pattern_that_is_a_key_means_the_key(memory: StorageFileSystem) -> None:
    memory.pipe({"a[1]": b"exact", "a1": b"matched"})
    assert memory.cat("a[1]") == b"exact"
    memory.rm("a[1]")
    assert memory.find("") == ["a1"]
    assert memory.cat("a[1]") == {"a1": b"matched"}


# -- looking and listing -----------------------------------------------------------


def test_info(fs: StorageFileSystem) -> None:
    fs.pipe_file("dir/sub/file", DATA, content_type="text/plain", metadata={"owner": "ci"})
    info = fs.info("objectstorage://dir/sub/file")
    stat = fs.store.stat("dir/sub/file")
    assert (info["name"], info["size"], info["type"]) == ("dir/sub/file", len(DATA), "file")
    assert (info["ETag"], info["mtime"]) == (stat.etag, stat.last_modified.timestamp())
    assert (info["content_type"], info["metadata"]) == ("text/plain", {"owner": "ci"})
    assert fs.info("dir/sub/") == {"name": "dir/sub", "size": 0, "type": "directory"}
    assert fs.info("")["type"] == "directory"
    with pytest.raises(FileNotFoundError):
        fs.info("dir/su")
    assert [fs.isdir(name) for name in ("dir", "dir/sub/file", "nothing")] == [True, False, False]
    assert [fs.isfile(name) for name in ("dir", "dir/sub/file", "nothing")] == [False, True, False]
    assert fs.sizes(["dir/sub/file", "dir/sub/file"]) == [len(DATA)] * 2
    assert fs.modified("dir/sub/file") == fs.created("dir/sub/file") == stat.last_modified
    assert fs.modified("dir/sub/file").tzinfo is UTC


def test_keys_of_change(fs: StorageFileSystem) -> None:
    fs.pipe({"a": b"1", "b": b"1"})
    before = fs.ukey("a"), fs.checksum("a")
    assert before == (fs.ukey("a"), fs.checksum("a"))
    assert before[0] != fs.ukey("b")
    fs.pipe_file("a", b"2")
    assert fs.ukey("a") != before[0]
    assert fs.checksum("a") != before[1]


def test_listings_are_never_remembered(fs: StorageFileSystem) -> None:
    fs.store.put("dir/a", b"")
    assert fs.ls("dir", detail=False) == ["dir/a"]
    fs.store.put("dir/b", b"12")
    assert [(e["name"], e["size"]) for e in fs.ls("dir")] == [("dir/a", 0), ("dir/b", 2)]
    fs.store.delete_many(["dir/a", "dir/b"])
    with pytest.raises(FileNotFoundError):
        fs.ls("dir")
    assert fs.ls("") == []


def test_find_walk_and_glob(fs: StorageFileSystem) -> None:
    names = ["a", "d/1", "d/e/2", "d/e/f/3", "g/4"]
    fs.pipe(dict.fromkeys(names, b"x"))
    assert fs.find("") == names
    assert fs.find("d") == ["d/1", "d/e/2", "d/e/f/3"]
    assert fs.find("d", maxdepth=1) == ["d/1"]
    assert fs.find("d", maxdepth=2, withdirs=True) == ["d", "d/1", "d/e", "d/e/2", "d/e/f"]
    assert fs.find("d", withdirs=True) == ["d", "d/1", "d/e", "d/e/2", "d/e/f", "d/e/f/3"]
    assert fs.find("a") == ["a"]
    assert fs.find("nothing") == []
    assert fs.find("a", detail=True)["a"]["size"] == 1
    assert fs.find("d", detail=True, withdirs=True)["d/e"]["type"] == "directory"
    assert list(fs.walk("d")) == [
        ("d", ["e"], ["1"]),
        ("d/e", ["f"], ["2"]),
        ("d/e/f", [], ["3"]),
    ]
    assert fs.glob("d/*") == ["d/1", "d/e"]
    assert fs.glob("**/[23]") == ["d/e/2", "d/e/f/3"]
    assert fs.glob("d/*/") == ["d/e"]
    assert fs.du("d") == 3


class Failing(MemoryStorage):
    """A store that does not answer."""

    def stat(self, key: str) -> Any:
        raise ErrUnavailable("no answer", key=key)

    def list_level(self, prefix: str = "") -> Any:
        raise ErrPermission("not yours", key=prefix)


def test_a_failure_is_not_taken_for_absence() -> None:
    fs = StorageFileSystem(Failing())
    for look in (fs.exists, fs.isfile, fs.isdir, fs.info):
        with pytest.raises(ErrUnavailable):
            look("a")
    with pytest.raises(ErrPermission):
        list(fs.walk("a"))
    with pytest.raises(ErrPermission):
        fs.find("a", maxdepth=3)


# -- reading -----------------------------------------------------------------------

ENDS = (None, 0, 1, 5, 9, 10, 11, 99, -1, -5, -10, -11)


def test_cat_file_is_a_slice(fs: StorageFileSystem) -> None:
    data = b"0123456789"
    fs.pipe_file("a", data)
    pairs = [(start, end) for start in ENDS for end in ENDS]
    for start, end in pairs:
        assert fs.cat_file("a", start, end) == data[start:end], (start, end)
    starts, ends = [start for start, _ in pairs], [end for _, end in pairs]
    wanted = [data[start:end] for start, end in pairs]
    assert fs.cat_ranges(["a"] * len(pairs), starts, ends) == wanted
    plain = [i for i, (s, e) in enumerate(pairs) if (s or 0) >= 0 and e is not None and e >= 0]
    found = fs.cat_ranges(["a"] * len(plain), [starts[i] for i in plain], [ends[i] for i in plain])
    assert found == [wanted[i] for i in plain]


def test_cat_ranges_of_many(fs: StorageFileSystem) -> None:
    fs.pipe({"a": DATA, "b": DATA[::-1]})
    found = fs.cat_ranges(["a", "b", "none", "a"], [0, -4, 1, 100], [4, None, 2, 104])
    assert found[:2] == [DATA[:4], DATA[::-1][-4:]]
    assert isinstance(found[2], ErrNotExist)
    assert found[3] == DATA[100:104]
    with pytest.raises(ErrNotExist):
        fs.cat_ranges(["a", "none"], 0, 1, on_error="raise")
    assert isinstance(fs.cat_ranges(["none"], [3], [3])[0], ErrNotExist)


class Counting(MemoryStorage):
    """Counts fetches."""

    fetches = 0

    def fetch(self, key: str, **kwargs: Any) -> Any:
        self.fetches += 1
        return super().fetch(key, **kwargs)


def test_ranges_near_each_other_are_read_together() -> None:
    store = Counting()
    fs = StorageFileSystem(store)
    fs.pipe_file("a", DATA)
    assert fs.cat_ranges(["a"] * 3, [0, 10, 2000], [5, 15, 2005], max_gap=100) == [
        DATA[0:5],
        DATA[10:15],
        DATA[2000:2005],
    ]
    assert store.fetches == 2


class Changing(MemoryStorage):
    """Replaces the object after every fetch."""

    def fetch(self, key: str, **kwargs: Any) -> Any:
        found = super().fetch(key, **kwargs)
        self.put(key, DATA)
        return found


def test_ranges_of_two_versions_are_never_mixed() -> None:
    fs = StorageFileSystem(Changing())
    fs.pipe_file("a", DATA)
    with pytest.raises(ErrPreconditionFailed):
        fs.cat_ranges(["a", "a"], [0, 2000], [5, 2005], max_gap=0, on_error="raise")


def test_cat_of_one_and_of_many(fs: StorageFileSystem) -> None:
    fs.pipe({"d/a": b"1", "d/b": b"2", "d/e/c": b"3"})
    assert fs.cat("d/a") == b"1"
    assert fs.cat(["d/a"]) == {"d/a": b"1"}
    assert fs.cat(["d/a", "d/b"]) == fs.cat("d/?", on_error="omit") == {"d/a": b"1", "d/b": b"2"}
    assert fs.cat("d", recursive=True) == {"d/a": b"1", "d/b": b"2", "d/e/c": b"3"}
    with pytest.raises(FileNotFoundError):
        fs.cat(["d/a", "none"])
    found = fs.cat(["d/a", "none"], on_error="return")
    assert isinstance(found.pop("none"), ErrNotExist)
    assert found == fs.cat(["d/a", "none"], on_error="omit") == {"d/a": b"1"}
    assert fs.head("d/a", 5) == fs.tail("d/a", 5) == b"1"


def test_an_open_file(fs: StorageFileSystem) -> None:
    fs.pipe_file("a", DATA)
    with fs.open("a", block_size=100, cache_type="none") as file:
        assert (file.size, file.mode, file.path, file.fs) == (len(DATA), "rb", "a", fs)
        assert file.full_name == "objectstorage://a"
        assert file.info()["ETag"] == fs.info("a")["ETag"]
        assert file.seek(-3, 2) == len(DATA) - 3
        assert file.read() == DATA[-3:]
        file.seek(250)
        assert file.read(10) == DATA[250:260]
    assert fs.read_block("a", 10, 20) == DATA[10:30]
    with pytest.raises(FileNotFoundError):
        fs.open("none")
    with pytest.raises(ErrUnsupported):
        fs.open("a", "r+b")


def test_a_pickled_file_is_the_same_version(tmp_path: Path) -> None:
    fs = PosixFileSystem(store_root=str(tmp_path))
    fs.pipe_file(f"{tmp_path}/a", DATA)
    with fs.open(f"{tmp_path}/a") as file:
        file.seek(7)
        text = pickle.dumps(file)
        with pickle.loads(text) as again:
            assert (again.tell(), again.read()) == (7, DATA[7:])
    fs.pipe_file(f"{tmp_path}/a", DATA)
    with pytest.raises(ErrPreconditionFailed):
        pickle.loads(text)


# -- writing and removing ------------------------------------------------------------


def test_creating_only(fs: StorageFileSystem) -> None:
    fs.pipe_file("a", b"1", mode="create")
    for write in (
        lambda: fs.pipe_file("a", b"2", mode="create"),
        lambda: fs.open("a", "xb"),
        lambda: fs.open("a", "x"),
        lambda: fs.touch("a", truncate=False),
    ):
        with pytest.raises((FileExistsError, NotImplementedError)):
            write()
    assert fs.cat("a") == b"1"
    fs.touch("b", truncate=False)
    fs.touch("a")
    assert fs.cat(["a", "b"]) == {"a": b"", "b": b""}


def test_a_race_to_create_has_one_winner(memory: StorageFileSystem) -> None:
    with memory.open("a", "xb") as file:
        file.write(b"late")
        memory.pipe_file("a", b"first")
        with pytest.raises(ErrExist):
            file.close()
    assert memory.cat("a") == b"first"


def test_appending(fs: StorageFileSystem) -> None:
    for text in ("one\n", "two\n"):
        with fs.open("log", "a") as file:
            file.write(text)
    assert fs.read_text("log") == "one\ntwo\n"
    file = fs.open("log", "ab")
    file.write(b"three")
    fs.pipe_file("log", b"someone else's")
    with pytest.raises(ErrPreconditionFailed):
        file.close()
    assert fs.cat("log") == b"someone else's"


def test_copying_and_moving(fs: StorageFileSystem) -> None:
    fs.pipe_file("d/a", DATA, content_type="text/plain")
    fs.pipe_file("d/e/b", b"b")
    fs.copy("d", "c", recursive=True)
    assert fs.find("") == ["c/a", "c/e/b", "d/a", "d/e/b"]
    assert fs.info("c/a")["content_type"] == "text/plain"
    fs.mv("d", "m", recursive=True)
    assert fs.find("") == ["c/a", "c/e/b", "m/a", "m/e/b"]
    fs.mv("m/a", "n")
    fs.mv("n", "n")
    assert fs.cat("n") == DATA
    for change in (fs.mv, fs.copy):
        with pytest.raises(FileNotFoundError):
            change("none", "x")
    assert not fs.exists("x")


def test_between_stores() -> None:
    fs = MemoryFileSystem()
    fs.pipe_file("fs-one/a", DATA, metadata={"owner": "ci"})
    fs.cp_file("fs-one/a", "fs-two/a")
    assert fs.info("fs-two/a")["metadata"] == {"owner": "ci"}
    fs.mv("fs-two/a", "fs-three/b")
    assert fs.find("fs-two") == []
    assert fs.cat("fs-three/b") == DATA


def test_removing(fs: StorageFileSystem) -> None:
    fs.pipe(dict.fromkeys(["a", "b", "d/1", "d/e/2", "f/g/3"], b""))
    with pytest.raises(FileNotFoundError):
        fs.rm("none")
    with pytest.raises(FileNotFoundError):
        fs.rm("none", recursive=True)
    with pytest.raises(FileNotFoundError):
        fs.rm("d")
    with pytest.raises(OSError, match="not empty") as caught:
        fs.rmdir("d")
    assert isinstance(caught.value, ErrIO)
    fs.rm("d", recursive=True)
    fs.rm(["a", "f"], recursive=True)
    assert fs.find("") == ["b"]
    fs.mkdir("new")
    fs.rmdir("new")
    fs.makedirs("new/er", exist_ok=True)
    with pytest.raises(FileExistsError):
        fs.makedirs("b")
    fs.rm_file("b")
    assert fs.find("") == []
    mapper = fs.get_mapper("map")
    mapper["k"] = b"v"
    assert (dict(mapper), len(mapper)) == ({"k": b"v"}, 1)
    del mapper["k"]
    with pytest.raises(KeyError):
        mapper["k"]


def test_marks_of_directories(memory: StorageFileSystem) -> None:
    store: Storage = memory.store
    for key in ("d/", "d/a", "d/e/"):
        store.put(key, b"")
    assert memory.ls("d", detail=False) == ["d/a", "d/e"]
    assert memory.isdir("d/e")
    assert memory.find("") == ["d/a"]
    memory.rmdir("d/e")
    memory.rm("d", recursive=True)
    assert list(store.list()) == []


def test_files_there_and_back(fs: StorageFileSystem, tmp_path: Path) -> None:
    here = tmp_path / "here"
    (here / "sub").mkdir(parents=True)
    (here / "a").write_bytes(DATA)
    (here / "sub" / "b").write_bytes(b"b")
    seen = fsspec.callbacks.Callback()
    fs.put(str(here), "there", recursive=True, callback=seen)
    assert (seen.size, seen.value) == (4, 4)
    assert fs.find("there") == ["there/a", "there/sub/b"]
    back = tmp_path / "back"
    seen = fsspec.callbacks.Callback()
    fs.get("there", str(back), recursive=True, callback=seen)
    assert seen.size == seen.value
    assert (back / "a").read_bytes() == DATA
    assert (back / "sub" / "b").read_bytes() == b"b"
    one = fsspec.callbacks.Callback()
    fs.get_file("there/a", str(back / "c"), callback=one)
    assert one.size == one.value == len(DATA)
    with open(back / "d", "wb") as file:
        fs.get_file("there/a", file)
    assert (back / "d").read_bytes() == DATA
    fs.get_file("there/sub", str(back / "folder"))
    assert (back / "folder").is_dir()
    with pytest.raises(FileExistsError):
        fs.put_file(str(here / "a"), "there/a", mode="create")
    with pytest.raises(FileNotFoundError):
        fs.get_file("none", str(back / "none"))
    assert not (back / "none").exists()


# -- instances ---------------------------------------------------------------------


def test_instances_are_shared_and_rebuilt(tmp_path: Path) -> None:
    fs = PosixFileSystem(store_root=str(tmp_path), durable=False)
    assert PosixFileSystem(store_root=str(tmp_path), durable=False) is fs
    assert PosixFileSystem(store_root=str(tmp_path)) is not fs
    assert pickle.loads(pickle.dumps(fs)) == fs
    assert fsspec.AbstractFileSystem.from_json(fs.to_json()) == fs
    fs.pipe_file(f"{tmp_path}/a", DATA)
    assert pickle.loads(pickle.dumps(fs)).cat_file(f"{tmp_path}/a") == DATA


def test_stores_that_are_alike_are_told_apart() -> None:
    one, two = StorageFileSystem(MemoryStorage()), StorageFileSystem(MemoryStorage())
    assert one != two
    assert one == StorageFileSystem(one.store)
    one.pipe_file("a", b"")
    assert not two.exists("a")
    with pytest.raises(TypeError):
        one.to_json()


def test_secrets_are_where_the_user_put_them_only() -> None:
    fs = S3FileSystem(endpoint="http://127.0.0.1:1", access_key="AK", secret_key="hush-hush")
    assert "hush-hush" not in repr(fs) + str(fs.info("")) + fs.to_json(include_password=False)
    assert json.loads(fs.to_json(include_password=False))["endpoint"] == "http://127.0.0.1:1"
    assert fsspec.AbstractFileSystem.from_json(fs.to_json()) == fs
    bare = S3FileSystem(endpoint="http://127.0.0.1:1")
    assert "key" not in bare.to_json()


def test_what_clients_pass_to_all_file_systems_is_tolerated(memory: StorageFileSystem) -> None:
    fs = MemoryFileSystem(asynchronous=True, use_listings_cache=True, listings_expiry_time=1)
    fs.pipe_file("fs-tolerant/a", b"a", acl="private")
    assert fs.cat_file("fs-tolerant/a", version_id=None) == b"a"
    assert fs.ls("fs-tolerant", refresh=True, detail=False) == ["fs-tolerant/a"]
    assert fs.info("fs-tolerant/a", version_id=None)["size"] == 1
    assert fs.exists("fs-tolerant/a", refresh=True)
    with pytest.raises(ErrUnsupported, match="list of stores"):
        fs.ls("")
    assert fs.isdir("")


def test_signed_urls(seaweedfs: Any) -> None:
    with seaweedfs.open() as store:
        fs = StorageFileSystem(store)
        fs.pipe_file("a", DATA)
        with urllib.request.urlopen(fs.sign("a", expiration=60)) as reply:
            assert reply.read() == DATA
    with pytest.raises(NotImplementedError):
        StorageFileSystem(MemoryStorage()).sign("a")


def test_a_missing_bucket(seaweedfs: Any) -> None:
    options = {**seaweedfs.options(), "create_bucket": False}
    fs = S3FileSystem(**options)
    assert not fs.exists("no-such-bucket-here")
    with pytest.raises(FileNotFoundError):
        fs.ls("no-such-bucket-here")
    with pytest.raises(FileNotFoundError):
        fs.cat_file("no-such-bucket-here/a")


def test_times_are_utc(memory: StorageFileSystem) -> None:
    memory.pipe_file("a", b"")
    entry = memory.info("a")
    assert datetime.fromtimestamp(entry["mtime"], UTC) == entry["LastModified"]
