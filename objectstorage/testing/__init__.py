"""Tests for stores, for whoever writes one: the contract as code, and what tries to break it.

Needs the extra `testing` (pytest and hypothesis). For any store:

`suite` -- the contract as a pytest class, sync or (by `blocking`) async:

    class TestMyStorage(StorageSuite):
        def open_store(self, place):
            return MyStorage(place)

`stateful` -- a random walk over the store beside a dict, by Hypothesis:

    run_machine(fresh=lambda: uuid4().hex, open_store=MyStorage)

`hostile` -- keys that are keys and yet break things, and texts that are no keys:

    held, refused = hostile.split(hostile.GROUPS["url"], store.capabilities.key_rules)

`blocking` -- an asynchronous store as a blocking one, so that one test does for both faces:

    store = BlockingStorage(lambda: aio.open_storage(url))

`linear` -- whether what many clients saw of a key could have happened at all:

>>> from objectstorage.memory import MemoryStorage
>>> from objectstorage.testing.linear import Operation, Register, check
>>> history: list[Operation] = []
>>> register = Register(MemoryStorage(), "key", history, client="a")
>>> register.write(b"1", create=True) is not None
True
>>> len(check(history))
1

`storms` -- clients that use the same few keys at random, and their histories judged:

    parts = pool.map(lambda i: use(store, ["k"], f"client {i}", 50, i), range(6))
    print(judge([*parts, last_look(store, ["k"])]))

`simulation` -- clients stepped one operation at a time by a seed, for protocols over a store:

    simulation = Simulation(seed, Faults(lost_reply=0.02, crash=0.002))
    simulation.spawn(client(simulation.store()))
    simulation.run()

For stores that speak to a server:

`servers` -- real S3 servers on loopback; `proxy`, with the rules of `faults` -- what goes wrong
on the way to one:

    with servers.seaweedfs() as server, FaultProxy("127.0.0.1", port) as proxy:
        proxy.on(method="PUT", nth=1).swallow_reply()

For stores on files whose every operation goes through `objectstorage.local.ops`, that is, for
subclasses of `LocalStorage`; `open_store(path, durable)` opens one. Each takes the scenarios of
`crash`, which are steps and what each of them changes, and checks the store afterwards:

`crash_stop` -- the process dies before each operation on files in turn:

>>> import pathlib, tempfile
>>> from objectstorage.posix import PosixStorage
>>> from objectstorage.testing.crash import SCENARIOS
>>> from objectstorage.testing.crash_stop import stop_everywhere
>>> def open_store(root, durable):
...     return PosixStorage(root, durable=durable)
>>> with tempfile.TemporaryDirectory() as folder:
...     deaths = stop_everywhere(SCENARIOS[0], pathlib.Path(folder), open_store)
>>> deaths > 10
True

`crash_power` -- the power fails after each, and `crash_disk`'s file system keeps or loses what
was not synced, in every order:

    recording = record(scenario, folder / "recorded", open_store)
    states = cut_power_everywhere(recording, scenario, folder / "states", open_store)

`crash_fail` -- each operation fails in turn, with an error of one's choice:

    failures = fail_everywhere(scenario, folder, open_store, errno.EIO)

`crash_kill` -- real writers, killed and replaced at any moment:

    kill_writers(open_store, folder, writers=4, kills=300, chance=random.Random(seed))
"""

import pytest

# Before the suite's modules are imported: its asserts then explain themselves.
pytest.register_assert_rewrite("objectstorage.testing.suite", "objectstorage.testing.stateful")
