"""The benchmark harness: its arithmetic, its manners, its verdicts. No timings."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import os
import random
import signal
import threading
import time
from array import array
from dataclasses import replace
from time import perf_counter

import pytest

from objectstorage import (
    ErrBadRequest,
    ErrConflict,
    ErrIntegrity,
    ErrUnavailable,
    ErrUnsupported,
    open_storage,
)
from objectstorage.bench import (
    LAYERS,
    WORKLOADS,
    Config,
    Workspace,
    layer_target,
    load,
    run,
    stats,
    storage_target,
    svg,
)
from objectstorage.bench.compare import Side, compare, differences, verdict
from objectstorage.bench.driver import Pace, Record, drive_threads
from objectstorage.bench.overhead import overhead_lines, overhead_table, overheads
from objectstorage.bench.results import Result
from objectstorage.bench.runner import new_report
from objectstorage.bench.stats import Ratio, median, per_second, percentiles, ratio
from objectstorage.bench.targets import Target
from objectstorage.bench.tasks import TaskDriver
from objectstorage.bench.workloads import Moved, Operation, Site

_NOT_RAW = {"delete-bulk", "contention", "copy", "list-level"}


def small(**options):
    options = {"count": 60, "objects": 12, "repeats": 1, "warmup": 0, "sizes": (64,)} | options
    return Config(**options)


def keys(store):
    return [info.key for info in store.list()]


class TestStats:
    @pytest.mark.parametrize(
        ("count", "present"),
        [
            (1, []),
            (19, []),
            (20, ["p50"]),
            (99, ["p50"]),
            (100, ["p50", "p90"]),
            (199, ["p50", "p90"]),
            (200, ["p50", "p90", "p95"]),
            (999, ["p50", "p90", "p95"]),
            (1000, ["p50", "p90", "p95", "p99"]),
            (9999, ["p50", "p90", "p95", "p99"]),
            (10000, ["p50", "p90", "p95", "p99", "p99.9"]),
        ],
    )
    def test_percentile_needs_ten_samples_beyond(self, count, present):
        assert list(percentiles(range(count))) == ["min", *present, "max"]

    def test_percentiles_are_samples_in_any_order(self):
        samples = array("d", reversed(range(1, 1001)))
        assert percentiles(samples) == {
            "min": 1,
            "p50": 500,
            "p90": 900,
            "p95": 950,
            "p99": 990,
            "max": 1000,
        }

    def test_nothing_of_nothing(self):
        assert percentiles([]) == {}
        with pytest.raises(ValueError, match="nothing"):
            median([])

    def test_per_second_leaves_a_broken_second_out(self):
        assert per_second([0.0, 0.999, 1.0, 2.5, 2.6], 2.7) == [2, 1]
        assert per_second([0.2], 0.9) == []

    def test_ratio_of_the_same_numbers_has_no_spread(self):
        for samples in ([5.0], [1.0, 9.0], [1.0, 50.0, 3.0]):
            for paired in (False, True):
                assert ratio(samples, samples, paired=paired) == Ratio(1.0, 1.0, 1.0)

    @pytest.mark.parametrize("repeats", [1, 2, 5])
    def test_few_repeats_have_no_interval(self, repeats):
        a, b = [1.0 + n / 10 for n in range(repeats)], [3.0] * repeats
        assert ratio(a, b, paired=False)[1:] == (0.0, float("inf"))

    @pytest.mark.parametrize("repeats", [6, 7, 12])
    @pytest.mark.parametrize("paired", [False, True])
    def test_the_interval_holds_as_often_as_it_says(self, repeats, paired, monkeypatch):
        monkeypatch.setattr(stats, "_RESAMPLES", 300)
        rng = random.Random(7)

        def noisy(value):
            return [value * math.exp(rng.gauss(0, 0.05)) for _ in range(repeats)]

        found = [ratio(noisy(1.0), noisy(1.1), paired=paired) for _ in range(200)]
        assert sum(r.low <= 1.1 <= r.high for r in found) >= 0.93 * len(found)

    def test_pairs_cancel_a_common_mood(self):
        a = [100.0, 50.0, 200.0, 25.0, 160.0, 70.0]
        b = [2 * x for x in a]
        paired, loose = ratio(a, b, paired=True), ratio(a, b, paired=False)
        assert paired == Ratio(2.0, 2.0, 2.0)
        assert loose.low < 1.5 < 2.5 < loose.high

    def test_ratio_is_repeatable(self):
        a, b = [10.0, 11.0, 12.0, 9.0] * 2, [14.0, 15.0, 13.0, 16.0] * 2
        assert ratio(a, b, paired=False, seed=1) == ratio(a, b, paired=False, seed=1)

    @pytest.mark.parametrize(("a", "b"), [([], [1.0]), ([0.0], [1.0]), ([1.0], [-1.0])])
    def test_ratio_refuses_what_has_none(self, a, b):
        with pytest.raises(ValueError, match="positive"):
            ratio(a, b, paired=False)

    @pytest.mark.parametrize(
        ("speed", "says"),
        [
            (Ratio(1.2, 1.1, 1.3), "faster"),
            (Ratio(0.8, 0.7, 0.9), "slower"),
            (Ratio(1.0, 1.0, 1.0), "same"),
            (Ratio(1.01, 0.98, 1.04), "same"),
            (Ratio(1.03, 1.01, 1.04), "same"),
            (Ratio(1.04, 1.01, 1.5), "inconclusive"),
            (Ratio(1.3, 0.9, 1.6), "inconclusive"),
            (Ratio(3.0, 0.0, float("inf")), "inconclusive"),
        ],
    )
    def test_verdict(self, speed, says):
        assert verdict(speed) == says


class TestConfig:
    @pytest.mark.parametrize(
        "options",
        [
            {"workloads": ("nope",)},
            {"workloads": ()},
            {"sizes": (-1,)},
            {"concurrency": (0,)},
            {"concurrency": ()},
            {"duration": 0},
            {"duration": float("nan")},
            {"count": 0},
            {"warmup": -1},
            {"repeats": 0},
            {"rate": 0},
            {"objects": 0},
        ],
    )
    def test_nonsense_is_refused(self, options):
        with pytest.raises(ErrBadRequest):
            Config(**options)

    def test_cells_are_every_combination_once(self):
        config = Config(workloads=("get", "put", "get"), sizes=(1, 2), concurrency=(1, 4))
        assert len(config.cells()) == 8
        assert {cell.size for cell in Config(workloads=("multipart-put",)).cells()} == {64 << 20}


class TestRun:
    @pytest.mark.parametrize("workload", WORKLOADS)
    @pytest.mark.parametrize("concurrency", [1, 3])
    @pytest.mark.parametrize("face", LAYERS)
    def test_every_workload_does_its_work_and_leaves_nothing(
        self, workload, concurrency, face, tmp_path
    ):
        store = open_storage(f"posix:{tmp_path}?durable=no" if face == "raw" else "memory://")
        store.put("mine", b"kept")
        config = small(workloads=(workload,), concurrency=(concurrency,), repeats=2)
        target = layer_target(store, face)
        report = run([target], config)
        lacking = {"fsspec": {"delete-bulk", "contention"}, "raw": _NOT_RAW}
        if workload in lacking.get(face, ()):
            assert [bool(result.skipped) for result in report.results] == [True]
            return
        assert [result.repeat for result in report.results] == [0, 1]
        for result in report.results:
            assert (result.errors, result.skipped) == ({}, None)
            assert result.operations == 60
            assert result.items >= 60
            assert result.latency["all"]["min"] <= result.latency["all"]["p50"]
        assert keys(store) == ["mine"]
        assert store.get("mine") == b"kept"
        if face == "raw":
            assert sorted(os.listdir(tmp_path)) == [".objectstorage", "mine"]
        target.close()

    def test_a_duration_ends_the_run(self):
        config = small(workloads=("get", "delete"), count=None, duration=0.05)
        report = run([storage_target(open_storage("memory://"))], config)
        assert all(result.operations for result in report.results)
        # to its last operation; one more would have ended too late
        first = report.results[0]
        assert first.seconds >= 0.05 - 2 * first.latency["all"]["max"]

    def test_mixed_keeps_its_proportions(self):
        config = small(workloads=("mixed",), count=4000, objects=50)
        (result,) = run([storage_target(open_storage("memory://"))], config).results
        assert set(result.latency) == {"all", "get", "stat", "put", "delete"}
        # bytes move by get and put alone: 60 in a hundred
        assert 0.55 < result.bytes / 64 / result.operations < 0.65

    def test_layers_take_turns(self):
        targets = [storage_target(open_storage("memory://"), layer=name) for name in "AB"]
        report = run(targets, small(workloads=("stat",), repeats=3))
        # what a cell leaves behind must not hit the same layer each time
        assert [result.layer for result in report.results] == list("ABBAAB")

    def test_repeats_are_spread_over_the_run(self):
        config = small(workloads=("stat", "get"), repeats=2)
        found = run([storage_target(open_storage("memory://"))], config).results
        assert [(result.workload, result.repeat) for result in found] == [
            ("stat", 0),
            ("get", 0),
            ("stat", 1),
            ("get", 1),
        ]

    def test_contention_counts_exactly_and_reports_its_retries(self):
        store = open_storage("memory://")
        meet, first = threading.Barrier(2), threading.local()
        fetch = store.fetch

        def fetch_together(key, **options):
            found = fetch(key, **options)
            if not hasattr(first, "seen"):  # both read the same version once, so one must retry
                first.seen = True
                meet.wait(10)
            return found

        store.fetch = fetch_together
        target = storage_target(store)
        plain = Target(
            layer="sync",
            url=store.url,
            put=target.put,
            delete=target.delete,
            list=target.list,
            get=lambda key: fetch(key).data,
            update=target.update,
        )
        config = small(workloads=("contention",), concurrency=(2,), count=10)
        (result,) = run([plain], config).results
        assert result.operations == 10
        assert result.retries >= 1

    def test_a_rate_is_kept_to_and_latency_counts_from_when_it_was_due(self):
        pace = Pace(2, seconds=None, count=6, rate=100.0)
        pace.start = 1000.0
        assert [pace.due(worker, n) for n in (0, 1) for worker in (0, 1)] == [
            1000.0,
            1000.01,
            1000.02,
            1000.03,
        ]
        assert [pace.limit(worker) for worker in (0, 1)] == [3, 3]
        config = small(workloads=("get",), count=20, rate=500.0)
        (result,) = run([storage_target(open_storage("memory://"))], config).results
        # the last of 20 is due after 19 intervals, and none starts before it is
        assert result.seconds >= 19 / 500

    def test_operations_that_fail_are_counted_by_kind(self):
        store = open_storage("memory://")
        target = storage_target(store)
        calls = iter(range(10**9))

        def get(key):
            if next(calls) % 3 == 0:
                raise ErrUnavailable("injected")
            return store.get(key)

        target = Target(
            layer="flaky", url="x", put=target.put, delete=target.delete, list=target.list, get=get
        )
        (result,) = run([target], small(workloads=("get",))).results
        assert result.errors == {"ErrUnavailable": 20}
        assert result.operations == 40

    def test_what_fails_takes_its_time_too(self):
        store = open_storage("memory://")
        calls = itertools.count()

        def get(key):
            if next(calls) >= 5:
                time.sleep(0.001)
                raise ErrUnavailable("injected")
            return store.get(key)

        target = replace(storage_target(store), get=get)
        (result,) = run([target], small(workloads=("get",))).results
        assert (result.operations, result.errors) == (5, {"ErrUnavailable": 55})
        assert result.seconds >= 55 * 0.001

    def test_a_rate_that_is_not_kept_to_ends_in_time(self):
        record, pace = Record(), Pace(1, seconds=0.02, count=None, rate=1e5)
        operation = Operation("x", time.sleep, (0.001,), lambda _: Moved())
        drive_threads(lambda _: itertools.repeat(operation), pace, [record])
        # 2,000 are due until the end, and each takes a millisecond
        assert 0 < len(record.ends) < 100

    def test_a_stream_comes_in_bytes_that_are_cut_once(self):
        store, pieces = open_storage("memory://"), []

        def put_stream(key, chunks, size):
            pieces.append(list(chunks))
            assert sum(map(len, pieces[-1])) == size

        target = replace(storage_target(store), put_stream=put_stream)
        config = small(workloads=("multipart-put",), sizes=(1_500_000,), count=20)
        (result,) = run([target], config).results
        assert result.errors == {}
        assert {type(piece) for chunks in pieces for piece in chunks} == {bytes}
        first, *others = (list(map(id, chunks)) for chunks in pieces)
        assert first in others

    def test_an_empty_body_has_no_first_byte(self):
        config = small(workloads=("multipart-get",), sizes=(0,))
        (result,) = run([storage_target(open_storage("memory://"))], config).results
        assert (result.operations, result.first_byte) == (60, {})

    @pytest.mark.parametrize(
        ("durable", "asked", "syncs"),
        [("yes", None, True), ("no", None, False), ("no", True, True)],
    )
    def test_what_lies_beneath_is_as_durable(self, tmp_path, monkeypatch, durable, asked, syncs):
        store = open_storage(f"posix:{tmp_path}?durable={durable}")
        target = layer_target(store, "raw", durable=asked)
        synced, fsync = [], os.fsync
        monkeypatch.setattr(os, "fsync", lambda fd: synced.append(fsync(fd)))
        target.timed.put("k", b"")
        assert bool(synced) is syncs

    def test_wrong_answers_are_errors(self):
        target = storage_target(open_storage("memory://"))
        short = Target(
            layer="short",
            url="x",
            put=target.put,
            delete=target.delete,
            list=target.list,
            get=lambda key: b"too short",
        )
        (result,) = run([short], small(workloads=("get",))).results
        assert result.operations == 0
        assert set(result.errors) == {"ErrIntegrity"}

    def test_a_stream_that_could_be_awaited_is_read_blocking(self):
        class Both(list):
            def __aiter__(self):
                raise AssertionError("no loop runs here")

        target = storage_target(open_storage("memory://"))
        both = replace(target, get_stream=lambda key: Both([target.get(key)]))
        for result in run([both], small(workloads=("multipart-get", "list"))).results:
            assert (result.operations, result.errors) == (60, {})

    def test_what_a_layer_lacks_is_skipped_with_its_reason(self):
        target = storage_target(open_storage("memory://"))
        bare = Target(layer="bare", url="x", put=target.put, delete=target.delete, list=target.list)
        report = run([bare], small(workloads=("copy", "put")))
        assert [result.skipped for result in report.results] == ["bare has no copy", None]

    def test_a_false_counter_is_found(self):
        target = storage_target(open_storage("memory://"))
        space = Workspace(target)
        job = WORKLOADS["contention"](Site(target, space, "c", 0, 1, 1, 0))
        job.prepare()
        job.wins[0] = 1  # claims an update that never was
        with pytest.raises(ErrIntegrity, match="counter is 0 after 1"):
            job.verify()


class TestManners:
    def test_only_recorded_keys_are_deleted(self):
        store = open_storage("memory://")
        space = Workspace(storage_target(store))
        store.put(space.key("ours"), b"")
        theirs = space.prefix + "theirs"
        store.put(theirs, b"precious")
        store.put("beside", b"precious")
        space.delete([theirs, "beside", space.prefix + "ours"])
        assert keys(store) == ["beside", theirs]
        space.clean()
        assert keys(store) == ["beside", theirs]

    def test_prefixes_are_fresh(self):
        store = open_storage("memory://")
        first, second = (Workspace(storage_target(store)) for _ in range(2))
        assert first.prefix != second.prefix
        store.put(first.prefix + "x", b"")
        second.claim()
        with pytest.raises(ErrConflict):
            first.claim()

    @pytest.mark.parametrize("concurrency", [1, 4])
    def test_an_interrupt_leaves_nothing_behind(self, concurrency):
        store = open_storage("memory://")
        target = storage_target(store)
        report = new_report([target], small())

        def on_result(result):
            raise KeyboardInterrupt

        config = small(workloads=("put", "get"), concurrency=(concurrency,))
        with pytest.raises(KeyboardInterrupt):
            run([target], config, report=report, on_result=on_result)
        assert len(report.results) == 1
        assert keys(store) == []

    def test_an_interrupt_of_the_first_write_leaves_nothing_behind(self):
        store = open_storage("memory://")

        def put(key, data):
            store.put(key, data)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run([replace(storage_target(store), put=put)], small())
        assert keys(store) == []

    def test_an_unreachable_store_is_an_error_before_anything_is_written(self):
        wrote = []

        def unreachable(prefix):
            raise ErrUnavailable("nobody answers")

        target = Target(
            layer="x",
            url="x",
            put=lambda *a: wrote.append(a),
            delete=wrote.append,
            list=unreachable,
        )
        with pytest.raises(ErrUnavailable):
            run([target], small())
        assert wrote == []

    def test_a_failing_worker_ends_the_others(self):
        def operations(worker):
            if worker == 0:
                raise RuntimeError("broken workload")
            while True:
                yield Operation("x", int, (), lambda _: Moved())

        pace = Pace(3, seconds=None, count=None, rate=None)
        with pytest.raises(RuntimeError, match="broken workload"):
            drive_threads(operations, pace, [Record() for _ in range(3)])
        assert not [t for t in threading.enumerate() if t.name.startswith("bench-")]


class TestTasks:
    def test_workers_are_in_flight_together(self):
        driver = TaskDriver()
        meeting = asyncio.Barrier(3)  # nobody leaves before all are there

        def operations(worker):
            yield Operation("x", meeting.wait, (), lambda _: Moved())

        records = [Record() for _ in range(3)]
        driver(operations, Pace(3, seconds=None, count=None, rate=None), records)
        assert [len(record.ends) for record in records] == [1, 1, 1]
        driver.close()

    def test_operations_that_fail_are_counted_by_kind(self):
        times = []

        async def fail():
            times.append(perf_counter())
            raise ErrUnavailable("injected")

        driver, record = TaskDriver(), Record()
        operations = [Operation("x", fail, (), lambda _: Moved())] * 5
        pace = Pace(1, seconds=None, count=None, rate=None)
        driver(lambda _: iter(operations), pace, [record])
        assert record.errors == {"ErrUnavailable": 5}
        assert not record.ends
        assert pace.start + record.last >= times[-1]
        driver.close()

    def test_a_rate_that_is_not_kept_to_ends_in_time(self):
        driver, record = TaskDriver(), Record()
        pace = Pace(1, seconds=0.02, count=None, rate=1e5)
        operation = Operation("x", asyncio.sleep, (0.001,), lambda _: Moved())
        driver(lambda _: itertools.repeat(operation), pace, [record])
        assert 0 < len(record.ends) < 100
        driver.close()

    def test_a_rate_is_kept_to_and_latency_counts_from_when_it_was_due(self):
        target = layer_target(open_storage("memory://"), "async")
        config = small(workloads=("get",), count=20, rate=500.0, concurrency=(2,))
        (result,) = run([target], config).results
        assert result.operations == 20
        assert result.seconds >= 19 / 500
        target.close()

    def test_a_failing_worker_ends_the_others(self):
        driver = TaskDriver()
        never, ended = asyncio.Event(), []

        async def wait(worker):
            try:
                await never.wait()
            finally:
                ended.append(worker)

        def operations(worker):
            if worker:
                yield Operation("x", wait, (worker,), lambda _: Moved())
            yield Operation("x", asyncio.sleep, (0,), lambda _: Moved())
            raise RuntimeError("broken workload")

        pace = Pace(3, seconds=None, count=None, rate=None)
        with pytest.raises(RuntimeError, match="broken workload"):
            driver(operations, pace, [Record() for _ in range(3)])
        assert sorted(ended) == [1, 2]
        driver.close()

    def test_an_interrupt_ends_the_run_and_cleans_up(self):
        store = open_storage("memory://")
        target = layer_target(store, "async")
        config = small(workloads=("put",), concurrency=(3,), objects=100, count=None)
        put, calls = store.put, []

        def interrupted(key, data, **options):
            calls.append(key)
            if len(calls) == 20:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            return put(key, data, **options)

        store.put = interrupted
        with pytest.raises(KeyboardInterrupt):
            run([target], config)
        assert keys(store) == []
        target.close()

    def test_an_unknown_layer_is_refused(self):
        with pytest.raises(ErrBadRequest, match="no layer 'cooked'"):
            layer_target(open_storage("memory://"), "cooked")


def made(throughputs, *, layer="sync", run_id="r", workload="get", **facts):
    """A report of one cell whose repeats had these throughputs."""
    report = new_report([storage_target(open_storage("memory://"), layer=layer)], small(**facts))
    report.run = run_id
    for repeat, throughput in enumerate(throughputs):
        report.results.append(
            Result(
                layer=layer,
                workload=workload,
                size=64,
                concurrency=1,
                repeat=repeat,
                operations=1000,
                items=1000,
                seconds=1000 / throughput,
                latency={"all": {"min": 0.5 / throughput, "p50": 1 / throughput, "max": 1.0}},
            )
        )
    return report


class TestCompare:
    @pytest.mark.parametrize(
        ("b", "says"),
        [
            ([200.0, 210.0, 190.0, 205.0, 195.0, 199.0], "faster"),
            ([50.0, 52.0, 49.0, 51.0, 48.0, 50.5], "slower"),
            ([100.0, 101.0, 99.0, 100.5, 99.5, 100.1], "same"),
            ([40.0, 300.0, 90.0, 110.0, 20.0, 100.0], "inconclusive"),
        ],
    )
    @pytest.mark.parametrize("metric", ["throughput", "p50"])
    def test_verdicts_on_known_numbers(self, b, says, metric):
        a = Side(made([100.0, 101.0, 99.0, 100.2, 99.8, 100.1]), "sync")
        ((found,), alone) = compare(a, Side(made(b, run_id="other"), "sync"), metric=metric)
        assert (found.verdict, alone) == (says, [])
        assert found.speed.low <= found.speed.value <= found.speed.high

    @pytest.mark.parametrize("throughputs", [[7.0], [1.0, 100.0, 10.0, 55.0]])
    def test_a_run_is_the_same_as_itself(self, throughputs):
        report = made(throughputs)
        ((found,), _) = compare(Side(report, "sync"), Side(report, "sync"))
        assert found.verdict == "same"

    def test_one_repeat_is_inconclusive(self):
        sides = [Side(made([n], run_id=str(n)), "sync") for n in (10.0, 99.0)]
        ((found,), _) = compare(*sides)
        assert found.verdict == "inconclusive"

    def test_cells_of_one_side_are_named(self):
        a, b = made([1.0]), made([1.0], workload="put", run_id="other")
        compared, alone = compare(Side(a, "sync"), Side(b, "sync"))
        assert compared == []
        assert [cell.workload for cell in alone] == ["get", "put"]

    def test_differences_are_told(self):
        a, b = made([1.0]), made([1.0], seed=7, layer="async")
        found = {d.name: (d.a, d.b) for d in differences(Side(a, "sync"), Side(b, "async"))}
        assert found == {"layer": ("sync", "async"), "seed": (0, 7)}

    def test_unknown_metrics_are_refused(self):
        side = Side(made([1.0]), "sync")
        with pytest.raises(ErrBadRequest, match="no metric"):
            compare(side, side, metric="beauty")


class TestOverhead:
    def both(self, base, other, **config):
        report = made(base, layer="raw", **config)
        report.stores["sync"] = report.stores["raw"]
        report.results += made(other, layer="sync").results
        return report

    def test_it_is_the_ratio_of_the_times(self):
        report = self.both([100.0, 50.0, 200.0] * 2, [80.0, 40.0, 160.0] * 2)
        ((layer, _, time),) = overheads(report)
        assert (layer, time) == ("sync", pytest.approx((1.25, 1.25, 1.25)))
        assert overhead_lines(report) == ["sync takes 1.25× the time of raw"]
        assert overhead_table(report).rows == [["get", "64 B", "1", "1.25×", "1.25–1.25"]]

    def test_at_a_rate_it_goes_by_latency(self):
        report = self.both([100.0] * 6, [100.0] * 6, rate=5.0)
        for result in report.results:
            if result.layer == "sync":
                result.latency["all"]["p50"] *= 3
        ((_, _, time),) = overheads(report)
        assert time.value == pytest.approx(3.0)

    def test_few_repeats_have_no_interval(self):
        report = self.both([100.0], [50.0])
        assert overhead_table(report).rows == [["get", "64 B", "1", "2.00×", "unknown"]]

    def test_one_layer_has_none(self):
        report = made([1.0])
        assert (overheads(report), overhead_lines(report)) == ([], [])
        assert overhead_table(report).rows == []

    def test_what_lies_beneath_is_not_always_known(self):
        with pytest.raises(ErrUnsupported, match="no layer raw"):
            layer_target(open_storage("memory://"), "raw")


class TestLines:
    def test_round_trip(self):
        config = small(workloads=("mixed", "multipart-get", "contention"))
        report = run([storage_target(open_storage("memory://"))], config)
        again = load(report.lines())
        assert again.results == report.results
        assert (again.run, again.config) == (report.run, report.config)

    @pytest.mark.parametrize(
        "lines",
        [
            [],
            ["not json"],
            ["[]"],
            ["{}"],
            ['{"schema":99,"type":"run"}'],
            ['{"schema":1,"type":"result","layer":"a"}'],
        ],
    )
    def test_anything_else_is_refused(self, lines):
        with pytest.raises(ErrBadRequest):
            load(lines)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"items": 0},
            {"size": "x"},
            {"size": True},
            {"operations": 1.5},
            {"seconds": -1.0},
            {"cpu_seconds": math.nan},
            {"latency": {"all": {"p50": None}}},
            {"latency": []},
            {"per_second": ["1"]},
            {"errors": {"ErrTimeout": "2"}},
            {"skipped": 1},
        ],
    )
    def test_what_no_run_writes_is_refused(self, wrong):
        header, line = made([1.0]).lines()
        assert load([header, line]).results
        with pytest.raises(ErrBadRequest, match="line 2"):
            load([header, json.dumps(json.loads(line) | wrong)])

    @pytest.mark.parametrize("wrong", [{"stores": ["a"]}, {"stores": {"a": 1}}, {"config": None}])
    def test_a_header_that_no_run_writes_is_refused(self, wrong):
        with pytest.raises(ErrBadRequest, match="line 1"):
            load([json.dumps(json.loads(made([1.0]).header()) | wrong)])

    def test_two_runs_in_one_file_are_refused(self):
        header = made([1.0]).header()
        with pytest.raises(ErrBadRequest, match="second run"):
            load([header, header])


def test_times_between_two_round_numbers_have_a_tick() -> None:
    assert svg._log_ticks(3.2e-5, 3.9e-5) == [3.2e-5]
