"""One bucket of one S3 server, by asyncio: obstore and opendal beside this library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.peers.goals import OURS
from benchmarks.peers.s3 import obstore_store, opendal_options, ours
from objectstorage.bench.layers import async_target
from objectstorage.bench.targets import Target
from objectstorage.bench.tasks import TaskDriver
from objectstorage.testing.servers import S3Server

__all__ = ["TARGETS", "make"]


def make(layer: str, server: S3Server) -> Target:
    """The layer's target in the server's bucket; what is not timed is done by this library."""
    if layer == OURS:
        return async_target(server.open(f"s3://{server.bucket}"), layer=OURS)
    blocking, tasks = ours(server), TaskDriver()

    def close() -> None:
        tasks.close()
        blocking.close()

    timed = TARGETS[layer](server)
    return replace(
        blocking, layer=layer, url=server.endpoint, timed=timed, driver=tasks, close=close
    )


def _obstore(server: S3Server) -> Target:
    import obstore

    store = obstore_store(server)

    async def get(key: str) -> Any:
        return await (await obstore.get_async(store, key)).bytes_async()

    return Target(
        layer="obstore",
        url=server.endpoint,
        put=lambda key, data: obstore.put_async(store, key, data),
        get=get,
        stat=lambda key: obstore.head_async(store, key),
        list=lambda prefix: obstore.list(store, prefix),
        delete=lambda key: obstore.delete_async(store, key),
    )


def _opendal(server: S3Server) -> Target:
    import opendal

    operator = opendal.AsyncOperator("s3", **opendal_options(server))
    return Target(
        layer="opendal",
        url=server.endpoint,
        put=operator.write,
        get=operator.read,
        stat=operator.stat,
        list=operator.list,
        delete=operator.delete,
    )


TARGETS: dict[str, Callable[[S3Server], Target]] = {"obstore": _obstore, "opendal": _opendal}
"""Rival to how its timed verbs are made."""
