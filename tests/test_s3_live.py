"""What the conformance suite can't say of S3: servers told apart, processes, own keys."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from typing import Any

import pytest

from objectstorage import ErrExist, ErrInvalidKey, ErrUnsupported, Storage, is_err_unsupported
from objectstorage.storage import Conditions
from objectstorage.testing.servers import S3Server


def requests_to(store: Any) -> int:
    """How many exchanges a store's transport has made."""
    stats = store._driver._transport.stats
    return int(stats.opened + stats.reused)


def test_rclone_ignores_conditions_and_is_found_out_by_one_probe(rclone: S3Server) -> None:
    with rclone.open() as store:
        store.put("taken", b"old")
        assert store.capabilities.conditions is None, "not asked yet"
        with pytest.raises(ErrUnsupported, match="ignores the condition 'create'"):
            store.put("taken", b"new", create=True)
        assert store.get("taken") == b"old"
        assert store.capabilities.conditions == Conditions()
        before = requests_to(store)
        with pytest.raises(ErrUnsupported):
            store.put("taken", b"new", create=True)
        with pytest.raises(ErrUnsupported):
            store.put("taken", b"new", if_match="0" * 32)
        with pytest.raises(ErrUnsupported) as caught:
            store.delete("taken", if_match="0" * 32)
        assert requests_to(store) == before, "what is known is not asked again"
        assert is_err_unsupported(caught.value)
        assert [info.key for info in store.list()] == ["taken"], "the probe left nothing"


def test_rclone_answers_ranges_with_200_and_is_understood(rclone: S3Server) -> None:
    with rclone.open() as store:
        store.put("k", b"0123456789")
        assert store.get_range("k", start=2, end=5) == b"234"
        assert store.get_range("k", start=-3) == b"789"
        with store.open("k") as reader:
            reader.seek(4)
            assert reader.read(3) == b"456"
        with pytest.raises(ErrUnsupported, match="lists no uploads"):
            list(store.list_uploads())


def test_servers_are_told_apart(seaweedfs: S3Server, moto: S3Server, rclone: S3Server) -> None:
    found = {}
    for server in (seaweedfs, moto, rclone):
        with server.open() as store:
            conditions = store.probe().conditions
            assert conditions is not None
            found[server.name] = (
                store.capabilities.key_rules.empty_segments,
                "put" in conditions.create,
                "multipart" in conditions.create,
            )
    assert found[seaweedfs.name] == (False, True, True)
    assert found[moto.name] == (True, True, False)
    assert found[rclone.name] == (True, False, False)


def test_a_named_dialect_is_not_probed(seaweedfs: S3Server) -> None:
    with seaweedfs.open(dialect="aws") as store:
        assert store.capabilities.conditions is not None
        store.put("a", b"", create=True)
        assert requests_to(store) == 2, "the bucket, and the put"


INCREMENTS = 500
PROCESSES = 8

_COUNT = """
import sys
from objectstorage import open_storage
store = open_storage(sys.argv[1], endpoint=sys.argv[2])
for _ in range(int(sys.argv[3])):
    store.update("counter", lambda old: str(int(old or b"0") + 1).encode())
"""


def test_increments_of_eight_processes_are_all_counted(seaweedfs: S3Server) -> None:
    url = seaweedfs.fresh_url()
    with seaweedfs.open(url) as store:
        store.put("counter", b"0")
        environment = {
            **os.environ,
            "AWS_ACCESS_KEY_ID": seaweedfs.access_key,
            "AWS_SECRET_ACCESS_KEY": seaweedfs.secret_key,
        }
        command = [sys.executable, "-c", _COUNT, url + "?dialect=auto", seaweedfs.endpoint]
        running = [
            subprocess.Popen([*command, str(INCREMENTS)], env=environment) for _ in range(PROCESSES)
        ]
        assert [process.wait() for process in running] == [0] * PROCESSES
        assert store.get("counter") == str(PROCESSES * INCREMENTS).encode()


def test_the_stores_own_keys_are_hidden_and_refused(moto: S3Server) -> None:
    url = moto.fresh_url()
    with moto.open(url) as outer, moto.open(url + "/inner") as inner:
        inner.put(".objectstorage-like", b"")
        outer.put("inner2", b"")
        witness = outer._core.client  # straight to the server, past the store's own rules
        outer._driver.run(witness.call("PUT", f"{outer._options.prefix}.objectstorage/tmp/x"))
        assert [info.key for info in outer.list()] == ["inner/.objectstorage-like", "inner2"]
        assert [entry.key for entry in outer.list_level()] == ["inner/", "inner2"]
        assert list(outer.list(".objectstorage/")) == []
        with pytest.raises(ErrInvalidKey, match="own"):
            outer.put(".objectstorage/x", b"")


def test_copy_above_the_limit_goes_by_parts(seaweedfs: S3Server) -> None:
    data = os.urandom(11 << 20)
    with seaweedfs.open(copy_limit=5 << 20, copy_part=5 << 20) as store:
        store.put("src", data, content_type="text/x", metadata={"owner": "ci"})
        result = store.copy("src", "dst")
        info = store.stat("dst")
        assert (result.size, result.etag) == (len(data), info.etag)
        assert (info.content_type, info.metadata) == ("text/x", {"owner": "ci"})
        assert store.get("dst") == data
        assert list(store.list_uploads()) == []


def test_a_conditional_multipart_write_leaves_no_temporary(seaweedfs: S3Server) -> None:
    data = os.urandom(6 << 20)
    with seaweedfs.open(part_size=5 << 20) as store:
        store.put("big", iter([data]), create=True, metadata={"owner": "ci"})
        assert store.get("big") == data
        assert store.stat("big").metadata == {"owner": "ci"}
        with pytest.raises(ErrExist):
            store.put("big", iter([data]), create=True)
        own = store._options.prefix + ".objectstorage/"
        reply = store._driver.run(
            store._core.client.call("GET", "", f"list-type=2&prefix={own.replace('/', '%2F')}")
        )
        assert b"<Key>" not in reply.body


def _in_child(store: Storage, queue: Any) -> None:
    queue.put(store.get("a"))


def test_a_forked_child_has_connections_of_its_own(seaweedfs: S3Server) -> None:
    with seaweedfs.open() as store:
        store.put("a", b"hello")
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        child = context.Process(target=_in_child, args=(store, queue))
        child.start()
        assert queue.get(timeout=30) == b"hello"
        child.join()
        assert child.exitcode == 0
        assert store.get("a") == b"hello", "the parent's connection is as it was"
