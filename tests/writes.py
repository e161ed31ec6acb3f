"""Every way to change a local store, and what must be so when one of them fails.

As a program it tries them all on a store that is there already, in a process
that has limits, is another user's, or sits under strace:

    python tests/writes.py DIRECTORY posix|posixflat [none|EFBIG|EMFILE|EACCES]
"""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import json
import os
import resource
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from objectstorage.errors import ErrDurabilityUnknown, ErrPartial, StorageError
from objectstorage.local.store import LocalStorage
from objectstorage.posix import PosixStorage
from objectstorage.posixflat import PosixFlatStorage
from objectstorage.storage import Storage

STORES: dict[str, type[PosixStorage] | type[PosixFlatStorage]] = {
    "posix": PosixStorage,
    "posixflat": PosixFlatStorage,
}

DATA = bytes(range(256)) * 400
META = {"m": "1"}


def _write(store: Storage, key: str, **options: object) -> None:
    with store.writer(key, metadata=META, **options) as writer:  # type: ignore[arg-type]
        for _ in range(4):
            writer.write(DATA[: len(DATA) // 4])


# Each on keys of its own, that `fill` makes where they must be there.
WRITES: dict[str, Callable[[Storage], object]] = {
    "put": lambda store: store.put("new/put", DATA, metadata=META),
    "put over": lambda store: store.put("d/over", DATA, metadata=META),
    "put pieces": lambda store: store.put("d/pieces", iter([DATA[:5], DATA[5:]]), metadata=META),
    "put a file": lambda store: store.put("d/file", io.BytesIO(DATA), size=len(DATA)),
    "create": lambda store: store.put("new/deep/create", DATA, create=True),
    "if match": lambda store: store.put("d/match", DATA, if_match=store.stat("d/match").etag),
    "writer": lambda store: _write(store, "d/writer"),
    "writer create": lambda store: _write(store, "new/writer", create=True),
    "upload": lambda store: store.upload("d/upload", __file__, metadata=META),
    "copy": lambda store: store.copy("d/large", "d/copy"),
    "copy create": lambda store: store.copy("d/large", "new/copy", create=True),
    "update": lambda store: store.update("d/update", lambda old: DATA),
    "update none": lambda store: store.update("new/update", lambda old: DATA),
}
"""Those that need room."""

MOVES: dict[str, Callable[[Storage], object]] = {
    "move": lambda store: store.move("d/move", "d/moved"),
    "move over": lambda store: store.move("d/mover", "d/over"),
    "move create": lambda store: store.move("e/move", "d/created", create=True),
}
DELETES: dict[str, Callable[[Storage], object]] = {
    "delete": lambda store: store.delete("d/delete"),
    "delete if match": lambda store: store.delete("d/gone", if_match=store.stat("d/gone").etag),
    "delete many": lambda store: store.delete_many(["d/many", "e/many"]),
}
ALL = WRITES | MOVES | DELETES

_HELD = (
    *("over", "pieces", "file", "match", "writer", "upload", "copy", "update"),
    *("move", "mover", "delete", "gone", "many"),
)


def fill(store: Storage) -> None:
    """Make what the writes expect to be there."""
    for name in _HELD:
        store.put(f"d/{name}", b"old", metadata=META)
    for name in ("move", "many"):
        store.put(f"e/{name}", b"old")
    store.put("d/large", DATA, metadata=META)


def contents(store: Storage) -> dict[str, tuple[bytes, str]]:
    """What is there, to the version."""
    found = {}
    for info in store.list():
        data, about = store.fetch(info.key)
        assert about.size == len(data)
        found[info.key] = data, about.etag
    return found


def _files() -> list[str]:
    """What is open; directories are held on purpose, some of them."""
    names = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # that of the list itself
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                names.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sorted(names)


def attempt(store: Storage, name: str, root: Path) -> str:
    """How the write went: "ok", or the error's kind and number.

    `AssertionError` for an error after which anything has changed, a temporary
    or a descriptor left; the kind that says that it is visible is believed.
    """
    # Not what can't be read by now, for want of whatever is missing.
    with _healthy():
        before = contents(store)
        opened = _files()
    try:
        ALL[name](store)
        said = "ok"
    except StorageError as exc:
        failed = exc.exceptions[0] if isinstance(exc, ErrPartial) else exc
        said = f"{type(failed).__name__} {errno.errorcode.get(failed.errno or 0, '')}".strip()
        visible = isinstance(failed, ErrDurabilityUnknown)
    except OSError as exc:
        if exc.filename != __file__:
            raise
        said, visible = "the source's own", False
    else:
        visible = True
    with _healthy():
        if _files() != opened:
            gc.collect()  # an error may wait for it, with what it has seen
        assert _files() == opened, f"{name}: descriptors left: {_files()}"
        assert (contents(store) == before) != visible, f"{name}: {said}, but that is not so"
        tmp = root / ".objectstorage/tmp"
        assert not tmp.exists() or os.listdir(tmp) == [], f"{name}: temporaries left"
    return said


_limit = resource.getrlimit(resource.RLIMIT_NOFILE)


@contextlib.contextmanager
def _healthy() -> Iterator[None]:
    now = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_limit[0], now[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, now)


def _without_descriptors(store: LocalStorage, name: str, root: Path) -> str:
    """With one more to spare each time, until there are enough."""
    said = set()
    for spare in range(40):
        # Known directories are held, which would be given up one by one.
        store._root.chains.close()  # type: ignore[union-attr]  # it has been used
        highest = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + spare, _limit[1]))
        said.add(attempt(store, name, root))
        resource.setrlimit(resource.RLIMIT_NOFILE, _limit)
        if "ok" in said:
            return ", ".join(sorted(said - {"ok"}))
    raise AssertionError(f"{name}: never enough: {said}")


def main(where: str, kind: str, limit: str = "none") -> dict[str, str]:
    """All of them, and how they went."""
    root = Path(where)
    store = STORES[kind](root)
    if limit == "EFBIG":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        # Prepared: what is tried is the write, and the store marks itself with its first.
        store.put("d/prepared", b"")
    if limit == "EMFILE":
        store.put("d/prepared", b"")
        return {name: _without_descriptors(store, name, root) for name in ALL}
    if limit == "EACCES":
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    said = {}
    for name in ALL:
        if limit == "EFBIG":
            resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, resource.RLIM_INFINITY))
        said[name] = attempt(store, name, root)
        if limit == "EFBIG":
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    return said


if __name__ == "__main__":
    # By another call than the `write` that may be made to fail.
    os.writev(1, [json.dumps(main(*sys.argv[1:])).encode()])
