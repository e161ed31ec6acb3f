"""Large objects in bounded memory, whole and unharmed, each in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from long import much

from objectstorage.testing.servers import S3Server

SIZE = much(128 << 20, 1 << 30)
MOST = 64 << 20  # bytes that a streamed transfer may add to what the process takes

# The chunks differ, so that one that is lost, doubled or moved is seen.
_PROGRAM = """
import asyncio, hashlib, json, resource, sys
import objectstorage
from objectstorage import aio

url, options, size, path, way = json.loads(sys.argv[1])
CHUNK = 1 << 20


def chunk(number):
    return number.to_bytes(8, "big") * (CHUNK // 8)


def chunks():
    for number in range(size // CHUNK):
        yield chunk(number)


async def achunks():
    for piece in chunks():
        yield piece


def digest(pieces):
    total = hashlib.sha256()
    for piece in pieces:
        total.update(piece)
    return total.hexdigest()


def pieces_of(file):
    while piece := file.read(CHUNK):
        yield piece


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


expected = digest(chunks())
store = objectstorage.open_storage(url, **options)
store.put("small", b"x" * CHUNK)
store.get("small")


async def on_a_loop():
    async with aio.open_storage(url, **options) as face:
        await face.put("k", achunks())
        total = hashlib.sha256()
        async for piece in face.stream("k"):
            total.update(piece)
        return total.hexdigest()


before = peak()
if way == "generator":
    store.put("k", chunks())
    found = digest(store.stream("k"))
elif way == "sized generator":
    store.put("k", chunks(), size=size)
    found = digest(store.stream("k"))
elif way == "writer":
    with store.writer("k") as writer:
        for piece in chunks():
            writer.write(piece)
    with store.open("k") as file:
        found = digest(pieces_of(file))
elif way == "files":
    with open(path, "wb") as file:
        for piece in chunks():
            file.write(piece)
    store.upload("k", path)
    store.download("k", path + ".back")
    with open(path + ".back", "rb") as file:
        found = digest(pieces_of(file))
else:
    found = asyncio.run(on_a_loop())
assert store.stat("k").size == size
print(json.dumps([found == expected, peak() - before]))
"""


@pytest.mark.parametrize("way", ["generator", "sized generator", "writer", "files", "loop"])
def test_a_large_object_takes_little_memory(way: str, seaweedfs: S3Server, tmp_path: Path) -> None:
    given = [seaweedfs.fresh_url(), seaweedfs.options(), SIZE, str(tmp_path / "file"), way]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps(given)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=much(120, 280),
    )
    same, grown = json.loads(done.stdout)
    assert same
    assert grown < MOST
