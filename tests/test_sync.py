"""Synchronising folders and stores: what moves, what doesn't, what is refused."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time

import pytest

from objectstorage import sync as module
from objectstorage._sync.comparing import Verdict, compare
from objectstorage._sync.names import Names
from objectstorage._sync.sides import FolderSide, Item, Listeners, StoreSide
from objectstorage._sync.work import Work
from objectstorage.errors import (
    ErrBackend,
    ErrBadRequest,
    ErrConcurrency,
    ErrIntegrity,
    ErrInvalidKey,
    ErrNotExist,
    ErrPermission,
    ErrUnavailable,
)
from objectstorage.memory import MemoryStorage
from objectstorage.posix import PosixStorage
from objectstorage.storage import ObjectInfo
from objectstorage.sync import DeletionRefused, sync
from objectstorage.wrappers import ForwardingStorage, ObservedStorage, PrefixStorage

NAMES = ["a", "t-/1", "t/1", "t/2/3", "t0", "space and +", "é", "%2F"]


@pytest.fixture
def memory():
    with MemoryStorage() as store:
        yield store


other = memory


@pytest.fixture
def tree(tmp_path):
    fill(tmp_path / "tree", *NAMES)
    return tmp_path / "tree"


def fill(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def contents(place):
    """Names and bytes, of a folder or a store."""
    if hasattr(place, "list"):
        return {info.key: place.get(info.key) for info in place.list()}
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file()
    }


def age(root, seconds):
    """Make all files that much older."""
    for path in root.rglob("*"):
        then = time.time() - seconds
        os.utime(path, (then, then))


class Changes(list):
    """What was reported."""

    @property
    def errors(self):
        return {change.name: change.error for change in self if change.error is not None}

    @property
    def done(self):
        return [(change.action, change.name) for change in self if change.error is None]


@pytest.fixture
def changes():
    return Changes()


def test_there_and_back(store, tree, tmp_path):
    size = sum(map(len, contents(tree).values()))
    assert sync(tree, store)[:3] == (len(NAMES), size, 0)
    assert contents(store) == contents(tree)
    assert sync(tree, store)[:3] == (0, 0, len(NAMES))
    back = tmp_path / "back"
    assert sync(store, back)[:3] == (len(NAMES), size, 0)
    assert contents(back) == contents(tree)
    assert sync(store, back)[:3] == (0, 0, len(NAMES))
    # and one that was changed, with as many bytes, in the same moment
    (tree / "t/1").write_bytes(b"T/1")
    assert sync(tree, store).copied == 1
    assert sync(store, back).copied == 1
    assert contents(back) == contents(tree)


def test_old_files_are_told_by_their_times_alone(memory, tree):
    age(tree, 3600)
    sync(tree, memory)
    opened = []
    observed = ObservedStorage(memory, lambda event: opened.append(event.operation))
    assert sync(tree, observed)[:3] == (0, 0, len(NAMES))
    assert set(opened) == {"clock", "list"}


def test_fetched_files_bear_the_time_of_their_objects(tree, tmp_path):
    with PosixStorage(tmp_path / "store") as store:
        sync(tree, store)
        age(tmp_path / "store", 3600)
        back = tmp_path / "back"
        sync(store, back)
        modified = {info.key: info.last_modified for info in store.list()}
        for name in NAMES:
            assert (back / name).stat().st_mtime == pytest.approx(modified[name].timestamp())
        opened = []
        observed = ObservedStorage(store, lambda event: opened.append(event.operation))
        assert sync(observed, back).same == len(NAMES)
        assert set(opened) == {"clock", "list"}
        # a file that was changed since is made right again
        (back / "a").write_bytes(b"A")
        assert sync(store, back).copied == 1
        assert contents(back) == contents(tree)


def test_what_was_fetched_at_once_is_read_once_more_at_most(memory, tmp_path):
    opened = []
    observed = ObservedStorage(memory, lambda event: opened.append(event.operation))
    memory.put("a", b"1")
    memory.put("b", b"2")
    target = tmp_path / "t"
    sync(observed, target)
    # the objects were too new for the files to bear their times; once they are older, they do
    source, copy = StoreSide(memory, ""), FolderSide(str(target), make=False)
    source.ahead = 4 * 10**9
    copy.begin()
    listeners = Listeners(pytest.fail, pytest.fail)
    pairs = list(zip(source.items(listeners), copy.items(listeners), strict=True))
    for dry_run in (True, False):
        work = Work(source, copy, False, False, dry_run, lambda count: None)
        assert not any(work.known_same(*pair) for pair in pairs)
        assert not any(work(*pair) for pair in pairs)
        opened.clear()
        assert sync(observed, target).same == 2
        assert (set(opened) == {"clock", "list"}) is not dry_run
    # what was written since the listing keeps its time
    os.utime(target / "a", (1, 1))
    work(*pairs[0])
    assert os.stat(target / "a").st_mtime == 1
    copy.close()


def test_checksum_sees_what_times_hide(memory, tree):
    age(tree, 3600)
    sync(tree, memory)
    before = os.stat(tree / "a")
    (tree / "a").write_bytes(b"A")
    os.utime(tree / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert sync(tree, memory).copied == 0
    assert sync(tree, memory, checksum=True).copied == 1
    assert memory.get("a") == b"A"


@pytest.mark.parametrize("ahead", [-7200, 0, 7200])
def test_clocks_that_differ_are_reckoned_with(memory, tmp_path, ahead):
    source, target = FolderSide(str(tmp_path), make=False), StoreSide(memory, "")
    second = 10**9
    target.ahead = ahead * second

    def verdict(younger):
        file = Item("a", 1, 10**6 * second)
        copy = Item("a", 1, file.modified + round(younger * second) + target.ahead)
        return compare(source, file, target, copy, checksum=False)

    assert verdict(3) is Verdict.SAME
    assert verdict(1) is Verdict.UNSURE
    assert verdict(-3) is Verdict.UNSURE


def test_etags_of_equal_contents(tree, moto):
    with moto.open() as one, moto.open() as two:
        sync(tree, one)
        assert sync(one, two).copied == len(NAMES)
        # neither times nor contents: equal ETags are enough
        operations = []
        observed = ObservedStorage(one, lambda event: operations.append(event.operation))
        assert sync(two, observed, checksum=True).copied == 0
        assert set(operations) == {"clock", "list"}


def test_between_stores_with_metadata_and_prefixes(memory, other):
    memory.put("p/a", b"1", content_type="text/plain", metadata={"owner": "me"})
    memory.put("q", b"2")
    assert sync((memory, "p"), (other, "x/y/")).copied == 1
    info = other.stat("x/y/a")
    assert (info.content_type, info.metadata) == ("text/plain", {"owner": "me"})
    # within one store
    assert sync((memory, "p/"), (memory, "z")).copied == 1
    assert memory.stat("z/a").metadata == {"owner": "me"}


def test_delete(memory, tree, changes):
    sync(tree, memory)
    fill(tree, "new")
    (tree / "a").unlink()
    (tree / "t/2/3").unlink()
    assert sync(tree, memory, delete=True, report=changes.append)[3:] == (2, 0, 0)
    assert changes.done == [("copy", "new"), ("delete", "a"), ("delete", "t/2/3")]
    assert contents(memory) == contents(tree)


def test_delete_in_a_folder_takes_empty_folders_along(memory, tree):
    memory.put("t/1", b"t/1")
    (tree / "link").symlink_to("a")
    sync(memory, tree, delete=True)
    assert contents(tree) == {"t/1": b"t/1"}
    assert sorted(os.listdir(tree)) == ["link", "t"]
    assert os.listdir(tree / "t") == ["1"]


@pytest.mark.parametrize(("was", "becomes"), [("a/x", "a"), ("a", "a/x")])
@pytest.mark.parametrize("kind", ["folder", "store"])
def test_a_file_in_the_place_of_a_folder_deletes_nothing(memory, tmp_path, was, becomes, kind):
    with PosixStorage(tmp_path / "store") as store:
        target = store if kind == "store" else tmp_path / "folder"
        memory.put(was, b"1")
        memory.put("gone", b"2")
        memory.put("stays", b"3")
        sync(memory, target)
        memory.move(was, becomes)
        memory.delete("gone")
        for _ in range(2):
            assert sync(memory, target, delete=True) == (0, 0, 1, 0, 2, 1)
            assert contents(target) == {was: b"1", "gone": b"2", "stays": b"3"}
        # once that is out of the way
        sync(memory, target, delete=True, wanted=lambda name: name != becomes)
        assert sync(memory, target, delete=True).copied == 1
        assert contents(target) == {becomes: b"1", "stays": b"3"}


def test_delete_many(memory, other):
    memory.put("only", b"")
    for i in range(1200):
        other.put(f"{i:04}", b"")
    with pytest.raises(DeletionRefused):
        sync(memory, other, delete=True, max_delete=1199)
    assert len(contents(other)) == 1201
    assert sync(memory, other, delete=True, max_delete=1200).deleted == 1200
    assert contents(other) == {"only": b""}


def test_names_put_aside_are_exact():
    names = ["a\nb", "\r\x85\u2028", '"', "é" * 300_000, "\U0001f600"]
    with Names() as put_aside:
        for name in names:
            put_aside.add(name)
        assert len(put_aside) == len(names)
        assert list(put_aside) == names


def test_an_empty_source_deletes_only_by_force(memory, tmp_path):
    memory.put("k", b"")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DeletionRefused):
        sync(empty, memory, delete=True)
    assert memory.exists("k")
    assert sync(empty, memory).copied == 0
    assert sync(empty, memory, delete=True, force=True).deleted == 1


def test_a_missing_source_aborts(memory, tmp_path):
    memory.put("k", b"")
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "none", memory, delete=True, force=True)
    with pytest.raises(ErrNotExist):
        sync((memory, "none"), tmp_path / "back", delete=True)
    assert memory.exists("k")
    assert not (tmp_path / "back").exists()


class Breaking(ForwardingStorage):
    """Its listing breaks after two keys."""

    def list(self, prefix="", *, start_after=None, ordered=True):
        for count, info in enumerate(super().list(prefix, start_after=start_after)):
            if count == 2:
                raise ErrUnavailable("it broke", operation="list", storage=self.url)
            yield info


def test_a_listing_that_breaks_deletes_nothing(memory, other):
    for key in "abc":
        memory.put(key, b"")
    for key in "aBCD":
        other.put(key, b"")
    for source, target in ((Breaking(memory), other), (memory, Breaking(other))):
        with pytest.raises(ErrUnavailable):
            sync(source, target, delete=True)
        assert {"B", "C", "D", "a"} <= set(contents(other))


def test_a_folder_that_cannot_be_read_deletes_nothing(memory, tree, changes, monkeypatch):
    sync(tree, memory)
    scandir = os.scandir

    def failing(path):
        if str(path).endswith("/t"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    summary = sync(tree, memory, delete=True, report=changes.append)
    assert (summary.deleted, summary.kept, summary.failed) == (0, 2, 1)
    assert list(changes.errors) == [str(tree / "t")]
    assert len(contents(memory)) == len(NAMES)


class Shuffled(ForwardingStorage):
    """Breaks the promise of key order."""

    def list(self, prefix="", *, start_after=None, ordered=True):
        yield from reversed([*super().list(prefix, start_after=start_after)])


def test_a_listing_without_order_is_an_error(memory, other):
    for store in (memory, other):
        store.put("a", b"")
        store.put("b", b"")
    with pytest.raises(ErrBackend):
        sync(memory, Shuffled(other), delete=True)
    assert list(contents(other)) == ["a", "b"]


def test_names_that_lead_outside_are_refused_and_named(memory, tmp_path, changes):
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    (target / "link").symlink_to(outside)
    fill(outside, "victim")
    (target / "file").symlink_to(outside / "victim")
    (target / "old").write_bytes(b"")
    hostile = ["../x", "/etc/x", "a/../../b", "a//b", "./c", "link/x", "file"]
    for name in [*hostile, "good", "z/good"]:
        memory.put("p/" + name, b"data")
    for dry_run in (True, False):
        changes.clear()
        summary = sync((memory, "p"), target, delete=True, report=changes.append, dry_run=dry_run)
        assert (summary.copied, summary.failed, summary.deleted, summary.kept) == (2, 7, 0, 1)
        assert set(changes.errors) == set(hostile)
        for name, err in changes.errors.items():
            assert isinstance(err, ErrPermission)
            assert repr(name) in str(err)
            assert err.operation == "sync"
    assert contents(outside) == {"victim": b"victim"}
    assert sorted(os.listdir(tmp_path)) == ["outside", "target"]
    assert (target / "z/good").read_bytes() == b"data"


def test_a_symlink_in_the_source_is_left_out(memory, tree):
    (tree / "link").symlink_to("/etc")
    skipped = []
    sync(tree, memory, skipped=lambda *what: skipped.append(what))
    assert skipped == [(str(tree / "link"), "symbolic link")]
    assert contents(memory).keys() == set(NAMES)


def test_a_file_whose_name_is_no_key(memory, tree, changes):
    (tree / os.fsdecode(b"\xff")).write_bytes(b"")
    summary = sync(tree, memory, report=changes.append)
    assert (summary.copied, summary.failed) == (len(NAMES), 1)
    assert isinstance(changes.errors["\udcff"], ErrInvalidKey)


def test_objects_that_stand_for_folders(memory, tmp_path):
    for key in ("p/", "p/empty/", "p/full/", "p/full/a"):
        memory.put(key, b"")
    target = tmp_path / "t"
    assert sync((memory, "p"), target, dry_run=True).copied == 3
    assert sync((memory, "p"), target).copied == 3
    assert (target / "empty").is_dir()
    assert sync((memory, "p"), target).copied == 0
    # a folder has none of them, and takes none away
    assert sync(target, (memory, "p"), delete=True)[:4] == (0, 0, 1, 0)


def test_a_folder_is_counted_before_a_file_makes_it(memory, tmp_path):
    marks = [f"{i}/" for i in range(100)]
    for mark in marks:
        memory.put(mark, b"")
        memory.put(f"{mark}a", b"")
    assert sync(memory, tmp_path / "t").copied == 2 * len(marks)


def test_one_in_the_other_is_refused(memory, tmp_path):
    link = tmp_path / "link"
    link.symlink_to("s")
    with PosixStorage(tmp_path / "s") as posix, PosixStorage(link) as linked:
        for source, target in (
            ((memory, "a"), (memory, "a/b")),
            ((memory, "a/b"), memory),
            (memory, memory),
            (tmp_path, posix),
            (posix, tmp_path / "s/back"),
            (linked, (posix, "b")),
            (memory, PrefixStorage(memory, "b")),
            (PrefixStorage(memory, "b/"), (memory, "b/c")),
            (PrefixStorage(ForwardingStorage(posix), "a"), tmp_path / "s/a/b"),
        ):
            with pytest.raises(ErrBadRequest):
                sync(source, target)
        apart = PrefixStorage(memory, "a"), PrefixStorage(memory, "b")
        memory.put("a/k", b"")
        assert sync(*apart).copied == 1


def test_what_is_not_wanted_is_neither_copied_nor_deleted(memory, tree):
    memory.put("other.log", b"")
    summary = sync(tree, memory, delete=True, wanted=lambda name: name.startswith("t"))
    assert (summary.copied, summary.deleted) == (4, 0)
    assert set(contents(memory)) == {"t-/1", "t/1", "t/2/3", "t0", "other.log"}


def test_what_is_planned_is_what_is_moved(memory, tree):
    age(tree, 3600)
    fill(tree, "new", "newer")
    memory.put("a", b"a")
    heard, moved = [], []
    sync(tree, memory, planned=lambda *plan: heard.append(plan), moved=moved.append)
    size = sum(map(len, contents(tree).values())) - 1
    assert heard == [(size, len(NAMES) + 1)]
    assert sum(moved) == size


def test_a_dry_run_changes_nothing_and_says_all(memory, tree, changes):
    sync(tree, memory)
    memory.put("old", b"")
    fill(tree, "new")
    before = contents(memory)
    planned = sync(tree, memory, delete=True, dry_run=True, report=changes.append)
    assert contents(memory) == before
    said = changes.done
    changes.clear()
    assert sync(tree, memory, delete=True, report=changes.append) == planned
    assert changes.done == said == [("copy", "new"), ("delete", "old")]


def test_a_dry_run_into_a_folder_that_is_not_there(memory, tmp_path, changes):
    memory.put("a", b"")
    assert sync(memory, tmp_path / "t", dry_run=True).copied == 1
    assert not (tmp_path / "t").exists()


def test_a_file_that_changes_meanwhile_is_not_stored(memory, tmp_path, changes):
    fill(tmp_path / "tree", "b")
    path = tmp_path / "tree/a"
    path.write_bytes(b"1" * 3_000_000)

    def moved(count):
        if path.stat().st_size == 3_000_000:
            with path.open("ab") as file:
                file.write(b"2")

    summary = sync(tmp_path / "tree", memory, jobs=1, moved=moved, report=changes.append)
    assert (summary.copied, summary.failed) == (1, 1)
    assert isinstance(changes.errors["a"], ErrConcurrency)
    assert list(contents(memory)) == ["b"]


class Corrupting(ForwardingStorage):
    """Stores something else."""

    def put(self, key, data, **options):
        return super().put(key, data.read()[::-1], content_type=options["content_type"])


def test_verify(memory, other, tmp_path, changes):
    for key in ("ab", "cc"):
        memory.put(key, key.encode())
    summary = sync(memory, Corrupting(other), verify=True, report=changes.append)
    assert (summary.copied, summary.failed) == (1, 1)
    assert isinstance(changes.errors["ab"], ErrIntegrity)
    assert sync(memory, tmp_path / "t", verify=True).copied == 2


class CopyingBadly(MemoryStorage):
    """Its own copies are wrong, and its ETags those of one part on S3."""

    @property
    def capabilities(self):
        return super().capabilities._replace(etag_kind="content")

    def list(self, prefix="", *, start_after=None, ordered=True):
        for info in super().list(prefix, start_after=start_after):
            etag = hashlib.md5(self.get(info.key)).hexdigest()
            yield ObjectInfo(info.key, info.size, info.last_modified, etag)

    def copy(self, src, dst, *, create=False):
        return super().put(dst, self.get(src)[::-1])


def test_verify_within_one_store(changes):
    with CopyingBadly() as store:
        for name in ("ab", "cc"):
            store.put(f"from/{name}", name.encode())
        summary = sync((store, "from"), (store, "to"), verify=True, report=changes.append)
        assert (summary.copied, summary.failed) == (1, 1)
        assert isinstance(changes.errors["ab"], ErrIntegrity)


def test_what_a_verification_found_is_copied_again_by_checksum(memory, tmp_path, changes):
    fill(tmp_path / "tree", "ab")
    age(tmp_path / "tree", 3600)
    sync(tmp_path / "tree", Corrupting(memory), verify=True, report=changes.append)
    assert "run again with checksum" in str(changes.errors["ab"])
    assert sync(tmp_path / "tree", memory, verify=True).same == 1
    assert sync(tmp_path / "tree", memory, verify=True, checksum=True).copied == 1
    assert memory.get("ab") == b"ab"


def test_interrupted_and_resumed(memory, tree):
    counted = []

    def moved(count):
        counted.append(count)
        if len(counted) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sync(tree, memory, moved=moved, jobs=1)
    done = len(contents(memory))
    assert 0 < done < len(NAMES)
    assert sync(tree, memory)[:3:2] == (len(NAMES) - done, done)
    assert contents(memory) == contents(tree)


def test_what_dead_transfers_left_is_swept(memory, tmp_path):
    memory.put("d/a", b"1")
    target = tmp_path / "t"
    (target / "d").mkdir(parents=True)
    dead = target / "d" / f".objectstorage-{'0' * 16}.part"
    alive = target / "d" / f".objectstorage-{'1' * 16}.part"
    dead.write_bytes(b"")
    with alive.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        sync(memory, target, dry_run=True)
        assert dead.exists()
        sync(memory, target, delete=True)
        assert not dead.exists()
        assert alive.exists()
    # as a source they are no files of the folder's
    with MemoryStorage() as back:
        sync(target, back)
        assert list(contents(back)) == ["d/a"]


def test_the_store_s_trouble_is_told_once(memory, tree):
    class Down(ForwardingStorage):
        def put(self, key, data, **options):
            raise ErrUnavailable("down", key=key, operation="put", storage=self.url)

    with pytest.raises(ErrUnavailable):
        sync(tree, Down(memory))


def test_the_public_names():
    assert all(hasattr(module, name) for name in module.__all__)
