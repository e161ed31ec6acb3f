"""What goes wrong below a posix store, and what must then happen.

The order of system calls and the faults of the kernel are seen through strace,
which these tests need (`apt-get install strace`); some need root, to mount a
small file system or to become another user, and say so where they are skipped.
"""

from __future__ import annotations

import errno
import gc
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import needs

from objectstorage import errors
from objectstorage.local import ops
from objectstorage.posix import PosixStorage

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def tree(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.name != "format")


def run(script: str, *args: str, prefix: list[str] | None = None) -> str:
    head = "import os, resource, sys\nfrom objectstorage import errors\n"
    head += "from objectstorage.posix import PosixStorage\n"
    done = subprocess.run(
        [*(prefix or []), sys.executable, "-W", "error", "-c", head + script, *args],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- the order of a write ------------------------------------------------------

_CALLS = (
    "openat,openat2,write,utimensat,fsync,fdatasync,close,dup,flock,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,fsetxattr"
)


def strace(*options: str) -> list[str]:
    return [needs("strace", "strace"), "-f", "-qq", "-s", "200", *options]


def traced(tmp_path: Path, script: str, *args: str) -> list[str]:
    """The system calls between the script's marks, with paths for descriptors."""
    log = tmp_path / "strace.log"
    run(script, *args, prefix=strace("-y", "-e", f"trace={_CALLS}", "-o", str(log)))
    lines = [re.sub(r"^\d+\s+", "", line) for line in log.read_text().splitlines()]
    begin = next(i for i, line in enumerate(lines) if "BEGIN" in line)
    end = next(i for i, line in enumerate(lines) if "END" in line)
    return [line for line in lines[begin + 1 : end] if not line.startswith("---")]


_PUT = """
store = PosixStorage(sys.argv[1], durable=sys.argv[2] == "True")
store.put("first", b"x")
os.write(1, b"BEGIN")
for _ in range(int(sys.argv[4])):
    store.put("a/b/k", b"payload", create=sys.argv[3] == "True", metadata={"m": "1"})
os.write(1, b"END")
"""


def steps(lines: list[str], root: Path) -> list[str]:
    """The calls that matter, each as its name and what it is about."""
    found = []
    for line in lines:
        name = line.split("(")[0]
        if "ENOENT" in line or "EEXIST" in line:
            continue
        if name in ("write", "utimensat", "fsetxattr", "flock"):
            found.append(name)
        elif name.startswith("rename"):
            found.append("publish")
        elif name == "fsync":
            about = re.search(r"<(.*?)(?: \(deleted\))?>", line)
            assert about is not None
            path = os.path.relpath(about[1], root)
            found.append(f"fsync {'file' if path.startswith('.objectstorage/tmp/') else path}")
        elif name.startswith("mkdir"):
            found.append("mkdir")
    return found


@pytest.mark.parametrize("create", [False, True])
def test_the_order_of_a_durable_put(tmp_path: Path, create: bool) -> None:
    root = tmp_path / "store"
    lines = traced(tmp_path, _PUT, str(root), "True", str(create), "1")
    assert steps(lines, root) == [
        "flock",  # the temporary, against sweepers
        "write",
        "fsetxattr",
        "utimensat",
        "fsync file",
        "mkdir",
        "mkdir",
        "flock",  # the directory, shared
        "publish",
        "flock",
        "fsync a/b",
        "fsync a",
        "fsync .",
    ]
    # the descriptor that was written to is closed before the publish, with its lock kept
    publish = next(i for i, line in enumerate(lines) if line.startswith("rename"))
    assert any(line.startswith("close(") and "/tmp/" in line for line in lines[:publish])
    assert any(line.startswith("close(") and "a/b/k" in line for line in lines[publish:])


def test_known_directories_are_synced_once(tmp_path: Path) -> None:
    root = tmp_path / "store"
    lines = traced(tmp_path, _PUT, str(root), "True", "False", "2")
    synced = [step for step in steps(lines, root) if step.startswith("fsync")]
    assert synced == ["fsync file", "fsync a/b", "fsync a", "fsync .", "fsync file", "fsync a/b"]


def test_nothing_is_synced_when_not_durable(tmp_path: Path) -> None:
    lines = traced(tmp_path, _PUT, str(tmp_path / "store"), "False", "False", "2")
    assert [line for line in lines if "sync(" in line] == []
    assert any(line.startswith("rename") for line in lines)


# -- faults injected into system calls -----------------------------------------

_FAULTY = """
store = PosixStorage(sys.argv[1])
try:
    store.put("d/k", b"new")
except errors.StorageError as exc:
    print(type(exc).__name__, exc.errno, exc.key, exc.operation)
print(store.get("d/k").decode())
print(os.listdir(sys.argv[1] + "/.objectstorage/tmp"))
"""


@pytest.mark.parametrize(
    ("fault", "says", "left"),
    [
        # the store exists and is marked, so the first fsync is the file's
        ("fsync:error=EIO:when=1", "ErrIO 5 d/k put", "old"),
        ("fsync:error=EIO:when=2", "ErrDurabilityUnknown 5 d/k put", "new"),
        ("fsync:error=EIO:when=3", "ErrDurabilityUnknown 5 d/k put", "new"),
        ("fsync:error=ENOSPC:when=1", "ErrIO 28 d/k put", "old"),
        ("rename,renameat,renameat2:error=EIO:when=1", "ErrIO 5 d/k put", "old"),
        ("rename,renameat,renameat2:error=EROFS:when=1", "ErrIO 30 d/k put", "old"),
        ("rename,renameat,renameat2:error=EDQUOT:when=1", "ErrIO 122 d/k put", "old"),
    ],
)
def test_injected_faults(tmp_path: Path, fault: str, says: str, left: str) -> None:
    root = tmp_path / "store"
    with PosixStorage(root) as store:
        store.put("d/k", b"old")
    log = tmp_path / "strace.log"
    name = fault.split(":", maxsplit=1)[0]
    prefix = strace("-e", f"trace={name}", "-e", f"inject={fault}", "-o", str(log))
    assert run(_FAULTY, str(root), prefix=prefix).splitlines() == [says, left, "[]"]
    if fault.startswith("fsync") and left == "old":
        # a file whose sync failed is thrown away, not synced again
        assert len([line for line in log.read_text().splitlines() if "fsync(" in line]) == 1


def test_an_interrupt_after_the_publish_is_not_swallowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PosixStorage(tmp_path)
    store.put("d/k", b"old")
    real = ops.fsync

    def interrupted(fd: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            raise KeyboardInterrupt
        real(fd)

    monkeypatch.setattr(ops, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.put("d/k", b"new")
    assert store.get("d/k") == b"new"


def test_stopped_at_every_operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in place of the n-th operation, for every n: old or new, never a trace."""

    class Stop(BaseException):
        pass

    names = "open close dup write fstat fsync setxattr utime rename rename_exclusive mkdir flock"
    seen = set()
    gc.collect()  # what earlier tests left must not close its files among these operations
    for number in range(1000):
        root = tmp_path / str(number)
        PosixStorage(root, durable=False).put("d/k", b"old")
        left = number

        def step(real: object, left_name: str) -> object:
            def operation(*args: object, **options: object) -> object:
                nonlocal left
                left -= 1
                if left == -1:
                    seen.add(left_name)
                    raise Stop
                return real(*args, **options)  # type: ignore[operator]  # a function

            return operation

        store = PosixStorage(root)
        done = False
        with monkeypatch.context() as patch:
            for name in names.split():
                patch.setattr(ops, name, step(getattr(ops, name), name))
            try:
                store.put("d/k", b"new", metadata={"m": "1"})
                done = True
            except Stop:
                pass
            except errors.ErrDurabilityUnknown:
                pass
        fresh = PosixStorage(root, durable=False)
        assert fresh.get("d/k") in ((b"new",) if done else (b"old", b"new"))
        assert [info.key for info in fresh.list()] == ["d/k"]
        fresh.put("other", b"")
        if done:
            break
    assert done
    assert {"open", "write", "fsync", "setxattr", "utime", "rename", "flock", "dup"} <= seen


# -- limits --------------------------------------------------------------------


def test_no_more_descriptors(tmp_path: Path) -> None:
    script = """
store = PosixStorage(sys.argv[1])
store.put("a/b/k", b"old")
store._root.chains.close()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open("/", os.O_RDONLY))
except OSError:
    pass
free = 0
while True:
    try:
        store.put("a/b/k", b"new %d" % free)
    except errors.ErrIO as exc:
        assert exc.errno == 24, exc
    else:
        break
    for call in (lambda: store.get("a/b/k"), lambda: list(store.list())):
        try:
            call()
        except errors.ErrIO as exc:
            assert exc.errno == 24, exc
    os.close(held.pop())
    free += 1
assert 2 <= free < 10
count = len(os.listdir("/proc/self/fd"))
for _ in range(20):
    store.put("a/b/k", b"new")
assert len(os.listdir("/proc/self/fd")) == count
print(store.get("a/b/k").decode(), os.listdir(sys.argv[1] + "/.objectstorage/tmp"))
"""
    assert run(script, str(tmp_path)).splitlines() == ["new []"]


# -- another user --------------------------------------------------------------

_NOBODY = """
os.setgroups([]); os.setgid(65534); os.setuid(65534)
store = PosixStorage(sys.argv[1])
def tried(call):
    try:
        print("ok", call())
    except errors.StorageError as exc:
        print(type(exc).__name__)
"""


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Path]:
    """A directory that another user can reach."""
    folder = Path("/tmp") / f"objectstorage-{os.getpid()}"  # noqa: S108  # tmp_path is private
    folder.mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


@needs_root
def test_another_user(public: Path) -> None:
    root = public / "store"
    with PosixStorage(root) as store:
        store.put("open/a", b"fine")
        store.put("shut/a", b"no")
    (root / "shut").chmod(0o700)
    (root / "open/private").write_bytes(b"no")
    (root / "open/private").chmod(0o600)
    script = """
tried(lambda: store.get("open/a"))
tried(lambda: store.get("open/private"))
tried(lambda: store.stat("open/private"))
tried(lambda: store.exists("shut/a"))
tried(lambda: list(store.list("shut/")))
tried(lambda: [i.key for i in store.list("open/")])
tried(lambda: store.put("new", b""))
tried(lambda: store.delete("open/a"))
tried(lambda: store.move("open/a", "open/b"))
tried(lambda: PosixStorage(sys.argv[1] + "/open").put("a", b""))
"""
    assert run(_NOBODY + script, str(root)).splitlines() == [
        "ok b'fine'",
        "ErrPermission",
        "ErrPermission",
        "ErrPermission",
        "ErrPermission",
        "ok ['open/a', 'open/private']",
        "ErrPermission",
        "ErrPermission",
        "ErrPermission",
        "ErrPermission",
    ]
    assert tree(root / "open") == ["a", "private"]


@needs_root
def test_a_read_only_file_system(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        with PosixStorage(disk) as store:
            store.put("d/k", b"fine")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        before = tree(disk)
        with PosixStorage(disk) as store:
            assert store.get("d/k") == b"fine"
            assert [info.key for info in store.list()] == ["d/k"]
            assert store.stat("d/k").metadata == {}
            for call in (
                lambda: store.put("new", b""),
                lambda: store.delete("d/k"),
                lambda: store.move("d/k", "k"),
                lambda: store.copy("d/k", "k"),
                lambda: store.writer("k"),
            ):
                with pytest.raises(errors.ErrIO) as caught:
                    call()
                assert caught.value.errno == errno.EROFS
        assert tree(disk) == before
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
