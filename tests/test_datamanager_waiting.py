"""Many who wait for one commit: together, and each with a fate of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from objectstorage import aio
from objectstorage.datamanager import DataManager, Put
from objectstorage.datamanager.aio import AsyncDataManager
from objectstorage.errors import (
    ErrBackend,
    ErrCommitUnknown,
    ErrConcurrency,
    ErrDurabilityUnknown,
    ErrOutcomeUnknown,
    ErrPermission,
    ErrTimeout,
    ErrUnavailable,
    StorageError,
    is_err_outcome_unknown,
)
from objectstorage.memory import MemoryStorage
from objectstorage.wrappers import ForwardingStorage
from objectstorage.wrappers.aio import AsyncForwardingStorage


class Gate(AsyncForwardingStorage):
    """A store whose slots wait at a gate, before they are created or after it."""

    def __init__(self, place: str) -> None:
        super().__init__(aio.open_storage("memory://"))
        self._place = place
        self.arrived = asyncio.Event()
        self.opened = asyncio.Event()

    async def put(self, key: str, data: Any, **options: Any) -> Any:
        if not key.startswith("wal/") or self.opened.is_set():
            return await super().put(key, data, **options)
        if self._place == "after":
            await super().put(key, data, **options)
        self.arrived.set()
        await self.opened.wait()
        return await super().put(key, data, **options)


def put(name: str) -> list[Put]:
    return [Put("t", name, name.encode())]


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_cancelled_leader_harms_nobody(place: str) -> None:
    async def main() -> None:
        async with Gate(place) as store:
            data = AsyncDataManager(store)
            tasks = [asyncio.create_task(data.write(put(str(n)))) for n in range(5)]
            await store.arrived.wait()
            tasks[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks[0]
            store.opened.set()
            commits = await asyncio.gather(*tasks[1:])
            assert len({(commit.seq, commit.id) for commit in commits}) == 1
            found = [entry.id async for entry in AsyncDataManager(store).list("t")]
            assert set(found) >= {"1", "2", "3", "4"}
            written = [
                action.id
                async for commit in data.watch(after=0, follow=False)
                for action in commit.actions
            ]
            assert sorted(written) == sorted(found)  # each at most once
            assert (await data.verify()).problems == ()

    asyncio.run(main())


def test_who_gave_up_waiting_is_not_committed() -> None:
    async def main() -> None:
        async with Gate("before") as store:
            data = AsyncDataManager(store)
            first = asyncio.create_task(data.write(put("first")))
            await store.arrived.wait()
            begun = [asyncio.Event(), asyncio.Event()]

            async def wait(number: int, timeout: float | None) -> None:
                begun[number].set()
                await data.write(put(str(number)), timeout=timeout)

            second = asyncio.create_task(wait(0, None))
            third = asyncio.create_task(wait(1, 0))
            for event in begun:
                await event.wait()
            second.cancel()
            store.opened.set()
            await first
            with pytest.raises(asyncio.CancelledError):
                await second
            with pytest.raises(ErrTimeout):
                await third
            await data.write(put("fourth"))
            found = [entry.id async for entry in data.list("t")]
            assert found == ["first", "fourth"]

    asyncio.run(main())


def test_those_who_would_conflict_stay_apart() -> None:
    async def main() -> None:
        async with Gate("before") as store:
            data = AsyncDataManager(store)
            tasks = [
                asyncio.create_task(data.write(put(str(n)), groups=["g"], token=0))
                for n in range(4)
            ]
            await store.arrived.wait()
            store.opened.set()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert sum(isinstance(result, ErrConcurrency) for result in results) == 3
            assert len([entry async for entry in data.list("t")]) == 1

    asyncio.run(main())


class Slots(ForwardingStorage):
    """A store that treats the creation of slots in a way of its own."""

    def __init__(self, act: Callable[[Callable[[], Any]], Any]) -> None:
        super().__init__(MemoryStorage())
        self.act: Callable[[Callable[[], Any]], Any] | None = act

    def put(self, key: str, data: Any, **options: Any) -> Any:
        def create() -> Any:
            return super(Slots, self).put(key, data, **options)

        return create() if self.act is None or not key.startswith("wal/") else self.act(create)


def failing(error: StorageError, done: bool = False) -> Callable[[Callable[[], Any]], Any]:
    def act(create: Callable[[], Any]) -> Any:
        if done:
            try:
                create()
            except StorageError:
                pass
        raise error

    return act


@pytest.mark.parametrize("error", [ErrOutcomeUnknown("?"), ErrTimeout("?"), ErrBackend("?")])
def test_a_store_that_never_says_leaves_it_unknown(error: StorageError) -> None:
    for done in (False, True):
        store = Slots(failing(error, done))
        data = DataManager(store)
        with pytest.raises(ErrCommitUnknown) as caught:
            data.write(put("a"))
        assert is_err_outcome_unknown(caught.value)
        assert caught.value.seq == 1
        assert caught.value.__cause__ is error
        assert data.committed(caught.value.commit_id, 1) is done
        assert data.head() == int(done)
        store.act = None
        assert data.write(put("b")).seq == 1 + done
        assert data.committed(caught.value.commit_id, 1) is done


def test_a_reply_that_was_lost_is_settled() -> None:
    store = Slots(lambda create: None)
    lost: list[str] = []

    def act(create: Callable[[], Any]) -> Any:
        create()
        if len(lost) % 2 == 0:
            lost.append("reply")
            raise ErrOutcomeUnknown("the reply was lost")
        lost.append("")

    store.act = act
    data = DataManager(store)
    for number in range(1, 10):
        assert data.write(put(str(number))).seq == number


def test_a_commit_that_may_not_be_durable_is_not_acknowledged() -> None:
    data = DataManager(Slots(failing(ErrDurabilityUnknown("fsync failed"), done=True)))
    with pytest.raises(ErrCommitUnknown, match="power loss"):
        data.write(put("a"))
    assert data.read("t", "a").data == b"a"


def test_a_refusal_is_no_doubt() -> None:
    data = DataManager(Slots(failing(ErrPermission("denied"))))
    with pytest.raises(ErrPermission) as caught:
        data.write(put("a"))
    assert not is_err_outcome_unknown(caught.value)
    assert data.head() == 0


def test_each_who_waited_gets_an_error_of_its_own() -> None:
    barrier = threading.Event()

    def act(create: Callable[[], Any]) -> Any:
        barrier.wait()
        raise ErrPermission("denied")

    data = DataManager(Slots(act))
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            data.write(put(name))
        except ErrPermission as exc:
            errors.append(exc)

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(6)]
    for thread in threads:
        thread.start()
    barrier.set()
    for thread in threads:
        thread.join()
    assert len({id(error) for error in errors}) == 6
    assert data.head() == 0


def test_a_head_that_can_not_be_read_after_a_commit_leaves_it_unknown() -> None:
    class Blind(ForwardingStorage):
        """Loses the boundary once a slot is there."""

        blind = False

        def put(self, key: str, data: Any, **options: Any) -> Any:
            result = super().put(key, data, **options)
            self.blind = self.blind or key.startswith("wal/")
            return result

        def fetch(self, key: str, **options: Any) -> Any:
            if self.blind and key.startswith("gc/"):
                raise ErrUnavailable("gone", key=key)
            return super().fetch(key, **options)

    store = Blind(MemoryStorage())
    data = DataManager(store)
    with pytest.raises(ErrCommitUnknown):
        data.write(put("a"))
    store.blind = False
    assert data.read("t", "a").data == b"a"
