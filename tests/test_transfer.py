"""`copy` between two stores, in both faces."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from objectstorage import aio, copy, open_storage
from objectstorage.storage import Progress

SIZE = 3_000_000


class Stopped(Exception):
    """What a progress may raise."""


def copied(face: str, progress: Progress | None) -> bytes:
    """What is in the target, by way of one store that both faces see."""
    with open_storage("memory://transfer") as source, open_storage("memory://") as target:
        source.put("k", b"0" * SIZE)
        if face == "blocking":
            copy(source, "k", target, "k", progress=progress)
            return target.get("k")

    async def run() -> bytes:
        async with (
            aio.open_storage("memory://transfer") as source,
            aio.open_storage("memory://") as target,
        ):
            await source.put("k", b"0" * SIZE)
            try:
                await aio.copy(source, "k", target, "k", progress=progress)
            finally:
                assert await target.exists("k") is (progress is not stop)
            return await target.get("k")

    return asyncio.run(run())


def stop(done: int, total: int | None) -> None:
    raise Stopped


@pytest.mark.parametrize("face", ["blocking", "async"])
def test_progress_is_told_and_may_end_it(face: str) -> None:
    told: list[tuple[int, int | None]] = []
    assert copied(face, lambda *said: told.append(said)) == copied(face, None) == b"0" * SIZE
    assert told == sorted(told)
    assert told[0] < told[-1] == (SIZE, SIZE)
    with pytest.raises(Stopped):
        copied(face, stop)


def test_the_faces_take_the_same_arguments() -> None:
    assert (
        inspect.signature(copy).parameters.keys() == inspect.signature(aio.copy).parameters.keys()
    )
