"""Local directories: the bare calls, obstore, opendal, fsspec.

Puts are atomic everywhere but in fsspec, which has no such thing; with
`durable`, only this library and the bare calls are there to compare.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from objectstorage.bench.raw import directory_target
from objectstorage.bench.targets import Target, filesystem_target, storage_target

__all__ = ["TARGETS", "make"]

_CHUNK = 1 << 20


def make(layer: str, root: str, durable: bool = False) -> Target:
    """The layer's target on a directory of its own below `root`."""
    place = os.path.join(root, f"{layer}-{'durable' if durable else 'plain'}")
    os.makedirs(place, exist_ok=True)
    return TARGETS[layer](place, durable)


def _ours(root: str, durable: bool) -> Target:
    from objectstorage import open_storage

    return storage_target(open_storage(f"posix://{root}"), layer="objectstorage", durable=durable)


def _bare(root: str, durable: bool) -> Target:
    return directory_target(root, url=root, durable=durable, layer="os")


def _obstore(root: str, durable: bool) -> Target:
    from obstore.store import LocalStore

    return obstore_target(LocalStore(root), root)


def obstore_target(store: Any, url: str) -> Target:
    """obstore's functions on one of its stores."""
    import obstore

    def find(prefix: str) -> Iterator[Any]:
        for batch in obstore.list(store, prefix, chunk_size=1000):
            yield from batch

    def get_stream(key: str) -> Iterator[Any]:
        return iter(obstore.get(store, key).stream(min_chunk_size=_CHUNK))

    def delete(key: str) -> None:
        try:
            obstore.delete(store, key)
        except FileNotFoundError:  # on local directories
            pass

    return Target(
        layer="obstore",
        url=url,
        put=lambda key, data: obstore.put(store, key, data),
        get=lambda key: obstore.get(store, key).bytes(),
        get_range=lambda key, start, length: obstore.get_range(
            store, key, start=start, length=length
        ),
        stat=lambda key: obstore.head(store, key),
        list=find,
        delete=delete,
        copy=lambda src, dst: obstore.copy(store, src, dst),
        put_stream=lambda key, chunks, size: obstore.put(store, key, chunks),
        get_stream=get_stream,
    )


def _opendal(root: str, durable: bool) -> Target:
    import opendal

    temporary = root + "-tmp"  # its own atomic writes want a folder beside
    os.makedirs(temporary, exist_ok=True)
    return opendal_target(opendal.Operator("fs", root=root, atomic_write_dir=temporary), root)


def opendal_target(operator: Any, url: str) -> Target:
    """opendal's methods."""

    def put_stream(key: str, chunks: Iterable[bytes], size: int) -> None:
        with operator.open(key, "wb") as file:
            for chunk in chunks:
                file.write(chunk)

    def get_stream(key: str) -> Iterator[bytes]:
        with operator.open(key, "rb") as file:
            while data := file.read(_CHUNK):
                yield data

    def find(prefix: str) -> Iterator[Any]:
        entries = operator.list(prefix, recursive=True)
        return (entry for entry in entries if not entry.path.endswith("/"))

    return Target(
        layer="opendal",
        url=url,
        put=operator.write,
        get=operator.read,
        get_range=lambda key, start, length: operator.read(key, offset=start, size=length),
        stat=operator.stat,
        list=find,
        delete=operator.delete,
        put_stream=put_stream,
        get_stream=get_stream,
    )


def _fsspec(root: str, durable: bool) -> Target:
    import fsspec

    filesystem = fsspec.filesystem("file", auto_mkdir=True)
    return filesystem_target(filesystem, layer="fsspec", url=root, root=f"{root}/")


TARGETS: dict[str, Callable[[str, bool], Target]] = {
    "objectstorage": _ours,
    "os": _bare,
    "obstore": _obstore,
    "opendal": _opendal,
    "fsspec": _fsspec,
}
"""Layer to how its target is made."""
