"""Bounded memory, unfinished uploads, signed URLs (contract, sections 1, 4, 6)."""

from __future__ import annotations

import hashlib
import itertools
import tracemalloc
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from objectstorage.errors import ErrBadRequest, ErrNotExist, ErrUnsupported
from objectstorage.storage import Storage, Upload
from objectstorage.testing.suite.base import SuiteBase, keys_of, refused
from objectstorage.testing.suite.listing import fill

__all__ = ["Limits"]

MIB = 1024 * 1024


@contextmanager
def peak_below(limit: int) -> Iterator[None]:
    """The block allocates at most `limit` bytes at a time, in Python's own heap."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak} bytes were held at once"


class Limits(SuiteBase):
    """What must stay small, and what only some stores have."""

    in_memory: bool = False
    """Whether the store itself holds the objects in this process."""

    @pytest.mark.parametrize("size_known", [True, False])
    def test_streams_in_bounded_memory(self, store: Storage, size_known: bool) -> None:
        # A few parts, never the whole.
        parts = 16
        size = parts * self.part_size
        chunk = bytes(64 * 1024)
        count = size // len(chunk)
        limit = 6 * self.part_size + 4 * MIB
        if self.in_memory:
            limit += 3 * size
        with peak_below(limit):
            chunks = itertools.repeat(chunk, count)
            store.put("k", chunks, size=size if size_known else None)
            assert store.stat("k").size == size
            with store.writer("w") as writer:
                for _ in range(count):
                    writer.write(chunk)
            store.delete("w")
            digest = hashlib.sha256()
            for piece in store.stream("k", chunk_size=256 * 1024):
                digest.update(piece)
        assert digest.digest() == hashlib.sha256(bytes(size)).digest()
        # and what is given whole is not copied over and over
        with peak_below(limit), store.open("k") as reader:
            while reader.read(256 * 1024):
                pass

    def test_listings_in_bounded_memory(self, store: Storage) -> None:
        fill(store, (f"{i // 100:03}/{i:06}" for i in range(self.many)))
        with peak_below(3 * MIB):
            count = sum(1 for _ in store.list())
        assert count == self.many

    # -- unfinished uploads ----------------------------------------------------

    def test_unfinished_uploads(self, store: Storage) -> None:
        assert list(store.list_uploads()) == []
        writer = store.writer("a/big")
        try:
            for _ in range(4):
                writer.write(bytes(self.part_size))
            uploads = list(store.list_uploads())
            # a store that has no such thing has none, not one that can't be ended
            assert [upload.key for upload in uploads] in ([], ["a/big"])
            assert list(store.list_uploads("b/")) == []
            for upload in uploads:
                assert list(store.list_uploads("a/")) == [upload]
                assert upload.initiated.utcoffset() == timedelta(0)
                store.abort_upload(upload)
            assert list(store.list_uploads()) == []
        finally:
            writer.abort()
        assert keys_of(store.list()) == []

    def test_an_upload_that_is_not_there(self, store: Storage) -> None:
        upload = Upload("k", "0123456789abcdef", datetime.now(UTC))
        with refused(store, ErrNotExist, "k"):
            store.abort_upload(upload)

    # -- signed URLs -----------------------------------------------------------

    def test_presign(self, store: Storage) -> None:
        if not store.probe().presign:
            for method in ("GET", "PUT"):
                with refused(store, ErrUnsupported, "k"):
                    store.presign("k", method=method)
            return
        key = "a b/é+%2F?#&"
        request = urllib.request.Request(
            store.presign(key, method="PUT", expires=60),
            data=b"data",
            # or urllib says that it is a form, and some servers then read it as one
            headers={"Content-Type": "application/octet-stream"},
            method="PUT",
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            assert reply.status == 200
        assert store.get(key) == b"data"
        with urllib.request.urlopen(store.presign(key), timeout=30) as reply:
            assert reply.read() == b"data"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(store.presign("none"), timeout=30)
        assert caught.value.code == 404
        caught.value.close()
        refusals: list[Callable[[], str]] = [
            lambda: store.presign(key, expires=0),
            lambda: store.presign(key, expires=8 * 24 * 3600),
            lambda: store.presign(key, method="nonsense"),
        ]
        for call in refusals:
            with refused(store, ErrBadRequest, key):
                call()
