"""PosixStorage where it differs from other stores: its directory, its files, its versions."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import shutil
import socket
import stat
import threading
import time
import warnings
from pathlib import Path

import pytest

import objectstorage
from objectstorage import errors
from objectstorage.local import locks, ops
from objectstorage.posix import PosixStorage
from objectstorage.storage import ObjectInfo, Prefix


def tree(root: Path) -> list[str]:
    """Everything below `root` but the store's own."""
    return sorted(
        str(path.relative_to(root))
        for path in root.rglob("*")
        if ".objectstorage" not in path.parts
    )


def descriptors() -> int:
    """How many are open, once those that earlier tests left to the collector are not."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def leftovers(root: Path) -> list[str]:
    return os.listdir(root / ".objectstorage" / "tmp")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> PosixStorage:
    return PosixStorage(root, durable=False)


# -- the directory -------------------------------------------------------------


def test_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert objectstorage.open_storage("posix:///var/lib/app").url == "posix:///var/lib/app"
    relative = objectstorage.open_storage("posix:data")
    monkeypatch.chdir("/")
    assert relative.url == f"posix://{tmp_path}/data"
    odd = objectstorage.open_storage("posix:///a%20b%3Fc%25d?durable=false")
    assert odd.url == "posix:///a%20b%3Fc%25d"
    assert not odd.capabilities.durable_puts
    assert objectstorage.open_storage("posix:.").capabilities.durable_puts


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("posix://host/path", "three slashes"),
        ("posix:", "names no directory"),
        ("posix:///d?durable=perhaps", "true or false"),
        ("posix:///d?sync=true", "no option 'sync'"),
        ("posix:///d%00", "NUL"),
        ("posixflat:///d", "memory, posix, s3"),
    ],
)
def test_bad_urls(url: str, says: str) -> None:
    with pytest.raises(errors.ErrInvalidURL, match=says):
        objectstorage.open_storage(url)


def test_the_constructor_does_no_io(root: Path) -> None:
    store = PosixStorage(root)
    assert not root.exists()
    assert store.capabilities.atomic_move
    with pytest.raises(TypeError):
        PosixStorage(b"/bytes")  # type: ignore[arg-type]  # that is the point


def test_reading_makes_nothing(root: Path, store: PosixStorage) -> None:
    assert list(store.list()) == []
    assert list(store.list_level()) == []
    assert not store.exists("a")
    store.delete("a")
    with pytest.raises(errors.ErrNotExist):
        store.get("a")
    with pytest.raises(errors.ErrPreconditionFailed):
        store.delete("a", if_match="x")
    assert not root.exists()
    store.put("a", b"1")
    assert store.get("a") == b"1"


def test_create_root_off(root: Path) -> None:
    store = PosixStorage(root, create_root=False)
    with pytest.raises(errors.ErrNotExist, match="create_root"):
        store.put("a", b"")
    assert not root.exists()
    root.mkdir()
    store.put("a", b"")
    assert tree(root) == ["a"]


def test_the_first_write_leaves_a_marker(root: Path, store: PosixStorage) -> None:
    store.put("a", b"")
    assert (root / ".objectstorage/format").read_text() == "objectstorage posix 1\n"
    assert leftovers(root) == []
    assert [info.key for info in store.list()] == ["a"]
    assert [info.key for info in store.list(".")] == []
    assert [info.key for info in store.list(".objectstorage/")] == []


def test_another_layout_is_refused(root: Path) -> None:
    (root / ".objectstorage").mkdir(parents=True)
    (root / ".objectstorage/format").write_text("objectstorage posix 2\n")
    store = PosixStorage(root)
    for call in (lambda: store.get("a"), lambda: store.put("a", b""), lambda: list(store.list())):
        with pytest.raises(errors.ErrUnsupported, match="posix 2"):
            call()
    # a marker whose bytes a power loss took is written again
    (root / ".objectstorage/format").write_text("")
    store.put("a", b"")
    assert (root / ".objectstorage/format").read_text() == "objectstorage posix 1\n"


def test_a_file_where_the_directory_should_be(root: Path, store: PosixStorage) -> None:
    root.write_bytes(b"x")
    for call in (lambda: store.get("a"), lambda: store.put("a", b""), lambda: list(store.list())):
        with pytest.raises(errors.ErrIO) as caught:
            call()
        assert caught.value.errno == errno.ENOTDIR
    assert root.read_bytes() == b"x"


def test_a_removed_directory_is_found_anew(root: Path, store: PosixStorage) -> None:
    store.put("a", b"1")
    shutil.rmtree(root)
    assert list(store.list()) == []
    assert not store.exists("a")
    store.put("a", b"2")
    assert store.get("a") == b"2"
    shutil.rmtree(root)
    PosixStorage(root).put("b", b"3")
    assert store.get("b") == b"3"


def test_close(store: PosixStorage) -> None:
    store.put("a", b"12")
    reader = store.open("a")
    store.close()
    for call in (
        lambda: store.get("a"),
        lambda: store.put("a", b""),
        lambda: store.delete("a"),
        lambda: list(store.list()),
        lambda: store.list_level(),
        lambda: store.writer("a"),
        lambda: store.move("a", "b"),
    ):
        with pytest.raises(errors.ErrClosed):
            call()
    with reader:
        assert reader.read() == b"12"


def test_pickle(root: Path) -> None:
    store = PosixStorage(root, durable=False, create_root=False)
    again = pickle.loads(pickle.dumps(store))
    assert (again.url, again.capabilities) == (store.url, store.capabilities)
    with pytest.raises(errors.ErrNotExist):
        again.put("a", b"")


def test_no_descriptor_is_leaked(root: Path) -> None:
    before = descriptors()
    with PosixStorage(root) as store:
        for i in range(50):
            store.put(f"d{i % 7}/{i}", b"x")
            store.get(f"d{i % 7}/{i}")
        with pytest.raises(errors.ErrConflict):
            store.put("d1", b"")
        with pytest.raises(errors.ErrConflict):
            store.put("d1/1/x", b"")
        with pytest.raises(errors.ErrExist):
            store.put("d1/1", b"", create=True)
        with pytest.raises(errors.ErrPreconditionFailed):
            store.put("d1/1", b"", if_match="no")
        assert len(list(store.list())) == 50
        next(store.list())
        store.copy("d1/1", "e/f/g")
        store.move("e/f/g", "e/h")
        for info in store.list():
            store.delete(info.key)
    del store
    assert descriptors() == before


# -- keys ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", "a/../b", "..", ".", "./a", "a/.", "a\0b", "a/" + "x" * 256]
    + ["é" * 128, "x/" * 512 + "x", "\ud800", ".objectstorage", ".objectstorage/tmp/x"],
)
def test_bad_keys_touch_nothing(root: Path, store: PosixStorage, key: str) -> None:
    for call in (
        lambda: store.put(key, b""),
        lambda: store.get(key),
        lambda: store.stat(key),
        lambda: store.delete(key),
        lambda: store.open(key),
        lambda: store.writer(key),
        lambda: store.copy(key, "b"),
        lambda: store.move("b", key),
    ):
        with pytest.raises(errors.ErrInvalidKey):
            call()
    assert not root.exists()


def test_bad_arguments_touch_nothing(root: Path, store: PosixStorage) -> None:
    with pytest.raises(TypeError):
        store.put("a", "text")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(TypeError):
        store.put("a", root)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(errors.ErrBadRequest):
        store.put("a", b"", if_match="")
    with pytest.raises(errors.ErrInvalidMetadata):
        store.put("a", b"", metadata={"A": "b"})
    with pytest.raises(errors.ErrIntegrity):
        store.put("a", b"12", size=3)
    assert not root.exists()


def test_long_and_deep_keys(store: PosixStorage) -> None:
    deep = "/".join("d" * 512)
    long = "/".join(["x" * 255] * 4)
    for key in (deep, long):
        assert len(key) in (1023,)
        store.put(key, key.encode())
        assert store.get(key) == key.encode()
    assert [info.key for info in store.list()] == [deep, long]
    assert [entry.key for entry in store.list_level()] == ["d/", "x" * 255 + "/"]
    store.delete(deep)
    assert [info.key for info in store.list()] == [long]


def test_conflicts_both_ways(root: Path, store: PosixStorage) -> None:
    store.put("a", b"1")
    store.put("b/c", b"1")
    for call in (
        lambda: store.put("a/b", b""),
        lambda: store.put("a/b/c", b"", create=True),
        lambda: store.put("b", b""),
        lambda: store.put("b", b"", create=True),
        lambda: store.copy("a", "b"),
        lambda: store.move("a", "b"),
        lambda: store.move("a", "a/b"),
        lambda: store.move("b/c", "b"),
        lambda: store.writer("b").close(),
    ):
        with pytest.raises(errors.ErrConflict):
            call()
    assert tree(root) == ["a", "b", "b/c"]
    assert leftovers(root) == []
    for key in ("b", "a/b"):
        assert not store.exists(key)
        store.delete(key)
        with pytest.raises(errors.ErrNotExist):
            store.get(key)
        with pytest.raises(errors.ErrPreconditionFailed):
            store.put(key, b"", if_match="x")


def test_a_taken_key_is_found_before_anything_is_written(root: Path, store: PosixStorage) -> None:
    store.put("a", b"1")
    store.put("b", b"2")
    temporaries = root / ".objectstorage/tmp"
    before = temporaries.stat().st_mtime_ns
    for call in (
        lambda: store.put("b", b"3", create=True),
        lambda: store.put("b", iter([b"3"]), create=True),
        lambda: store.copy("a", "b", create=True),
    ):
        with pytest.raises(errors.ErrExist):
            call()
    assert temporaries.stat().st_mtime_ns == before
    assert store.get("b") == b"2"


def test_empty_directories_are_nothing(root: Path, store: PosixStorage) -> None:
    store.put("z", b"")
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/d").mkdir()
    assert [info.key for info in store.list()] == ["z"]
    assert [entry.key for entry in store.list_level()] == ["z"]
    store.put("a", b"now a file")
    assert store.get("a") == b"now a file"
    (root / "e/f").mkdir(parents=True)
    store.put("e", b"", create=True)
    (root / "g/f").mkdir(parents=True)
    store.move("e", "g")
    assert tree(root) == ["a", "g", "z"]


def test_delete_prunes(root: Path, store: PosixStorage) -> None:
    store.put("a/b/c/d", b"")
    store.put("a/x", b"")
    store.delete("a/b/c/d")
    assert tree(root) == ["a", "a/x"]
    store.move("a/x", "y")
    assert tree(root) == ["y"]
    with pytest.raises(errors.ErrNotExist):
        store.delete("a/x", must_exist=True)


# -- versions ------------------------------------------------------------------


def test_every_write_has_its_own_etag(store: PosixStorage) -> None:
    seen = {store.put("a", b"same").etag for _ in range(3000)}
    assert len(seen) == 3000
    assert store.stat("a").etag in seen


def test_etags_where_the_kernel_reuses_inodes(tmp_path: Path) -> None:
    shm = Path("/dev/shm") / f"objectstorage-{os.getpid()}"
    store = PosixStorage(shm, durable=False)
    try:
        assert len({store.put("a", b"same").etag for _ in range(3000)}) == 3000
    finally:
        shutil.rmtree(shm)


def test_a_foreign_file_is_an_object(root: Path, store: PosixStorage) -> None:
    store.put("a", b"")
    (root / "d").mkdir()
    (root / "d/f").write_bytes(b"foreign")
    os.utime(root / "d/f", ns=(0, 1_000_000_001_500))
    info = store.stat("d/f")
    assert (info.size, info.metadata, info.content_type) == (7, {}, None)
    assert info.last_modified.isoformat() == "1970-01-01T00:16:40.000001+00:00"
    store.put("d/f", b"ours", if_match=info.etag)
    with pytest.raises(errors.ErrPreconditionFailed):
        store.put("d/f", b"ours", if_match=info.etag)
    os.utime(root / "d/f", (0, 2**40))
    assert store.stat("d/f").last_modified.year in range(2038, 10000)


def test_metadata_is_one_attribute(root: Path, store: PosixStorage) -> None:
    store.put("a", b"", content_type="text/plain", metadata={"owner": "ci"})
    assert os.getxattr(root / "a", "user.objectstorage") == (
        b'{"type":"text/plain","meta":{"owner":"ci"}}'
    )
    store.put("a", b"")
    assert os.listxattr(root / "a") == []
    os.setxattr(root / "a", "user.objectstorage", b"not ours")
    assert store.stat("a").metadata == {}


def test_the_time_tells_who_need_not_be_asked_for_metadata(
    store: PosixStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("bare", b"")
    store.put("rich", b"", metadata={"a": "1"})
    store.copy("rich", "copied")
    store.move("rich", "moved")
    asked: list[int] = []
    listxattr = ops.listxattr
    monkeypatch.setattr(ops, "listxattr", lambda fd: (asked.append(fd), listxattr(fd))[1])
    assert store.stat("bare").metadata == {}
    assert not asked
    for key in ("copied", "moved"):
        assert store.stat(key).metadata == {"a": "1"}
    assert len(asked) == 2


@pytest.mark.parametrize("granularity", [1, 100, 1000, 10**9])
def test_metadata_stays_whatever_others_do_to_the_time(
    root: Path, store: PosixStorage, granularity: int
) -> None:
    for n in range(50):
        store.put("a", b"", metadata={"n": str(n)})
        written = (root / "a").stat().st_mtime_ns
        kept = written - written % granularity  # as another file system would
        os.utime(root / "a", ns=(kept, kept))
        assert store.fetch("a").info.metadata == {"n": str(n)}
    for _ in range(50):
        os.utime(root / "a")
        assert store.stat("a").metadata == {"n": "49"}
    (root / "a").write_bytes(b"in place")
    with store.open("a") as file:
        assert file.info.metadata == {"n": "49"}


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": '"' * 2047},
        {"a": '\\"' * 1023},
        {f"{i:03x}": "1" for i in range(512)},  # 2,048 bytes, most of the JSON is quotes
        {"a": "".join(chr(33 + i * 7919 % 94) for i in range(2047))},
    ],
)
def test_as_much_metadata_as_is_allowed(store: PosixStorage, metadata: dict[str, str]) -> None:
    store.put("a", b"", metadata=metadata, content_type='"' * 255)
    info = store.stat("a")
    assert (info.metadata, info.content_type) == (metadata, '"' * 255)


def test_copy_and_move_keep_what_belongs_to_the_object(root: Path, store: PosixStorage) -> None:
    data = os.urandom(3_000_000)
    store.put("a", data, content_type="x/y", metadata={"m": "1"})
    copied = store.copy("a", "b/c")
    assert os.stat(root / "a").st_ino != os.stat(root / "b/c").st_ino
    assert os.stat(root / "a").st_nlink == 1
    moved = store.move("b/c", "d/e/f")
    info = store.stat("d/e/f")
    assert copied.size == moved.size == info.size == len(data)
    assert moved.etag == info.etag
    assert (info.content_type, info.metadata) == ("x/y", {"m": "1"})
    assert store.get("d/e/f") == data
    assert tree(root) == ["a", "d", "d/e", "d/e/f"]
    with pytest.raises(errors.ErrExist):
        store.move("a", "d/e/f", create=True)
    with pytest.raises(errors.ErrExist):
        store.copy("a", "d/e/f", create=True)
    with pytest.raises(errors.ErrNotExist):
        store.move("none", "x/y")
    assert tree(root) == ["a", "d", "d/e", "d/e/f"]


def test_a_reader_goes_on_with_its_version(store: PosixStorage) -> None:
    old, new = b"o" * 2_000_000, b"n" * 3_000_000
    store.put("a", old)
    with store.open("a") as reader:
        assert reader.read(10) == old[:10]
        chunks = store.stream("a", chunk_size=300_000)
        first = next(chunks)
        store.put("a", new)
        assert reader.read() == old[10:]
        assert first + b"".join(chunks) == old
        store.delete("a")
        reader.seek(-5, os.SEEK_END)
        buffer = bytearray(10)
        assert reader.readinto(buffer) == 5


# -- what is no object ---------------------------------------------------------


def test_special_files_are_no_objects(root: Path, store: PosixStorage) -> None:
    store.put("plain", b"")
    os.mkfifo(root / "pipe")
    sock = socket.socket(socket.AF_UNIX)
    with sock:
        sock.bind(str(root / "socket"))
    (root / b"\xff".decode(errors="surrogateescape")).write_bytes(b"not UTF-8")
    for key in ("pipe", "socket"):
        assert not store.exists(key)
        for call in (store.get, store.open, store.stat, lambda k: store.copy(k, "x")):
            with pytest.raises(errors.ErrNotExist):
                call(key)
        store.delete(key)
        assert stat.S_ISFIFO((root / "pipe").stat().st_mode)
    assert [info.key for info in store.list()] == ["plain"]
    assert [entry.key for entry in store.list_level()] == ["plain"]


# -- writing -------------------------------------------------------------------


def test_a_failing_source_leaves_nothing(root: Path, store: PosixStorage) -> None:
    store.put("a", b"old")

    def broken() -> object:
        yield b"x" * 100_000
        raise OSError(5, "the caller's own")

    with pytest.raises(OSError, match="caller's own") as caught:
        store.put("a", broken())  # type: ignore[arg-type]  # an iterator all the same
    assert not isinstance(caught.value, errors.StorageError)
    with pytest.raises(errors.ErrIntegrity):
        store.put("new/dir/b", iter([b"12"]), size=3)
    assert store.get("a") == b"old"
    assert tree(root) == ["a"]
    assert leftovers(root) == []


def test_writer(root: Path, store: PosixStorage) -> None:
    with store.writer("d/a", metadata={"m": "1"}) as writer:
        for i in range(1000):
            writer.write(b"%03d" % i)
        writer.write(memoryview(b"x" * 1_000_000))
        assert list(store.list()) == []
        assert tree(root) == []
    assert writer.result == (*store.stat("d/a")[:2], store.stat("d/a").etag)
    assert store.get("d/a") == b"".join(b"%03d" % i for i in range(1000)) + b"x" * 1_000_000
    with pytest.raises(RuntimeError), store.writer("d/a") as writer:
        writer.write(b"no")
        raise RuntimeError
    with pytest.warns(ResourceWarning):
        store.writer("e/f").write(b"forgotten")
    late = store.writer("late", create=True)
    store.put("late", b"first")
    with pytest.raises(errors.ErrExist):
        late.close()
    assert leftovers(root) == []
    assert tree(root) == ["d", "d/a", "late"]


def test_timeouts(root: Path, store: PosixStorage) -> None:
    store.put("d/a", b"old")

    def slow() -> object:
        while True:
            yield b"x"

    with pytest.raises(errors.ErrTimeout):
        store.put("d/a", slow(), timeout=0.05)  # type: ignore[arg-type]  # an iterator
    fd = os.open(root / "d", os.O_RDONLY)
    try:
        locks.lock(fd, exclusive=True)
        with pytest.raises(errors.ErrTimeout, match="lock"):
            store.put("d/a", b"new", timeout=0.05)
        store.put("e", b"another directory is free", timeout=5)
        locks.unlock(fd)
    finally:
        os.close(fd)
    assert store.get("d/a") == b"old"
    assert leftovers(root) == []
    store.put("d/a", b"new", timeout=5)


def test_compare_and_swap_by_threads(store: PosixStorage) -> None:
    store.put("n", b"0")

    def work() -> None:
        for _ in range(100):
            store.update("n", lambda old: b"%d" % (int(old or b"0") + 1))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("n") == b"400"


# -- fork ----------------------------------------------------------------------


def in_child(work: object) -> int:
    """Fork, run, and give the child's exit code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of the test runner
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = work()  # type: ignore[operator]  # a callable
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_fork(root: Path, store: PosixStorage) -> None:
    store.put("a", b"1")
    writer = store.writer("w")
    writer.write(b"x" * 100_000)

    def child() -> int:
        assert store.get("a") == b"1"
        store.put("child/b", b"2")
        try:
            writer.close()
        except errors.ErrClosed:
            return 7
        return 1

    assert in_child(child) == 7
    writer.close()
    assert store.stat("w").size == 100_000
    assert store.get("child/b") == b"2"


def test_a_forked_child_holds_no_lock(root: Path, store: PosixStorage) -> None:
    store.put("d/a", b"1")
    fd = os.open(root / "d", os.O_RDONLY)
    locks.lock(fd, exclusive=True)
    release, ended = os.pipe()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(ended)
        os.read(release, 1)  # until the parent closes its end
        os._exit(0)
    try:
        os.close(fd)  # as the parent's death would, without unlocking
        store.put("d/a", b"2", timeout=5)
        assert store.get("d/a") == b"2"
    finally:
        os.close(ended)
        os.close(release)
        os.waitpid(pid, 0)
        locks._held.discard(fd)


# -- levels --------------------------------------------------------------------


def test_levels_stand_in_key_order(store: PosixStorage) -> None:
    for key in ("t0", "t/x", "t/y/z", "t-", "t", "u/v/w"):
        if key != "t":
            store.put(key, b"1")
    found = list(store.list_level())
    assert [(type(e).__name__, e.key) for e in found] == [
        ("LocalInfo", "t-"),
        ("Prefix", "t/"),
        ("LocalInfo", "t0"),
        ("Prefix", "u/"),
    ]
    assert isinstance(found[0], ObjectInfo)
    assert isinstance(found[1], Prefix)
    assert [e.key for e in store.list_level("t")] == ["t-", "t/", "t0"]
    assert [e.key for e in store.list_level("t/")] == ["t/x", "t/y/"]
    assert [e.key for e in store.list_level("t/y")] == ["t/y/"]
    assert [e.key for e in store.list_level("none/")] == []
    assert time.time() - found[0].last_modified.timestamp() < 3600
