"""Runs compared as if the machine had been at one speed, and the samples that tell of it."""

from __future__ import annotations

import itertools
import json
import math
import random
from math import exp
from time import thread_time
from types import SimpleNamespace

import pytest
from long import much

from objectstorage import ErrBadRequest, open_storage
from objectstorage.bench import (
    Config,
    driver,
    layer_target,
    load,
    machine,
    run,
    stats,
    storage_target,
    tasks,
)
from objectstorage.bench.adjusted import adjusted, machine_speed
from objectstorage.bench.compare import Side, compare
from objectstorage.bench.driver import Pace, Record
from objectstorage.bench.html import render
from objectstorage.bench.machine import Machine, Part
from objectstorage.bench.report import comparison_table
from objectstorage.bench.results import Result
from objectstorage.bench.runner import new_report
from objectstorage.bench.stats import Ratio, ratio
from objectstorage.bench.workloads import Moved, Operation

FAST, SLOW = 0.00035, 0.00065
PLAIN = Ratio(1.0, 0.9, 1.1)


def measured(
    time: float,
    share: float,
    *,
    slope: float = 1.0,
    repeats: int = 12,
    seed: int = 0,
    noise: float = 1.0,
) -> list[Result]:
    """Repeats of an operation that takes so long on the machine while it is fast.

    share: of the time that the machine is slow, for some parts in a row.
    slope: how much of that the operation feels, as an exponent.
    noise: of samples, parts and repeats, as a multiple of what was seen on a virtual machine.
    """
    rng = random.Random(seed)
    results = []
    for repeat in range(repeats):
        mood, parts, slow = exp(rng.gauss(0, 0.02 * noise)), [], rng.random() < share
        for _ in range(40):
            if rng.random() < 0.05:
                slow = rng.random() < share
            took = SLOW if slow else FAST
            reference = took * exp(rng.gauss(0, 0.08 * noise))
            each = time * mood * (took / FAST) ** slope * exp(rng.gauss(0, 0.03 * noise))
            parts.append([reference, 25.0, float(round(25.0 / each)), 20.0])
        operations = int(sum(part[2] for part in parts))
        results.append(
            Result(
                layer="sync",
                workload="get",
                size=64,
                concurrency=1,
                repeat=repeat,
                operations=operations,
                items=operations,
                seconds=1000.0,
                cpu_seconds=800.0,
                latency={"all": {"min": time, "p50": 1000 / operations, "p99": 2000 / operations}},
                parts=parts,
            )
        )
    return results


def side(results, run_id):
    report = new_report([storage_target(open_storage("memory://"))], Config(workloads=("get",)))
    report.run, report.results = run_id, results
    return Side(report, "sync")


class TestAdjusted:
    @pytest.mark.parametrize("slope", [0.0, 0.7, 1.0])
    @pytest.mark.parametrize("metric", ["throughput", "cpu"])
    def test_what_the_machine_made_is_no_difference(self, slope, metric):
        a = measured(0.001, 0.3, slope=slope, repeats=20, seed=1)
        b = measured(0.001, 0.7, slope=slope, repeats=20, seed=2)
        ((found,), _) = compare(side(a, "a"), side(b, "b"), metric=metric)
        assert found.machine < 0.9
        assert found.verdict == "same"

    @pytest.mark.parametrize(("factor", "says"), [(1.15, "slower"), (0.85, "faster")])
    def test_what_the_store_made_is(self, factor, says):
        a = measured(0.001, 0.5, seed=1)
        for share in (0.1, 0.9):
            b = measured(0.001 * factor, share, seed=2)
            ((found,), _) = compare(side(a, "a"), side(b, "b"))
            assert found.verdict == says
            assert found.speed.value == pytest.approx(1 / factor, rel=0.05)

    def test_without_noise_it_is_exact(self):
        a = measured(0.001, 0.3, slope=0.6, seed=1, noise=0)
        b = measured(0.002, 0.7, slope=0.6, seed=2, noise=0)
        assert adjusted(PLAIN, a, b, "throughput") == pytest.approx((0.5, 0.5, 0.5), rel=1e-3)

    @pytest.mark.parametrize("noise", [0, 1])
    def test_a_machine_of_one_speed_leaves_the_plain_ratio(self, noise):
        a, b = measured(0.001, 0, noise=noise), measured(0.002, 0, noise=noise, seed=1)
        plain = ratio(
            [r.operations / r.seconds for r in a],
            [r.operations / r.seconds for r in b],
            paired=False,
        )
        assert adjusted(PLAIN, a, b, "throughput") == pytest.approx(plain, rel=0.02)

    @pytest.mark.parametrize("metric", ["throughput", "cpu", "p50", "p99"])
    @pytest.mark.parametrize(("factor", "says"), [(1.0, "inconclusive"), (4.0, "slower")])
    def test_one_that_changed_between_the_runs_alone_may_have_made_it(self, factor, says, metric):
        # nothing tells how much of that the operation feels
        a, b = measured(0.001, 0.0, seed=1), measured(0.001 * factor, 1.0, seed=2)
        ((found,), _) = compare(side(a, "a"), side(b, "b"), metric=metric)
        assert found.machine == pytest.approx(0.54, abs=0.02)
        assert found.speed.value == pytest.approx(0.54 / factor, rel=0.05)
        assert found.verdict == says

    def test_the_time_of_what_fails_counts(self):
        a, b = measured(0.001, 0.5, seed=1), measured(0.001, 0.5, seed=1)
        for result in b:
            for part in result.parts[::2]:
                part[2] = 0.0
        assert adjusted(PLAIN, a, b, "throughput").value == pytest.approx(0.5, rel=0.05)
        for result in b:
            for part in result.parts:
                part[2] = 0.0
        assert adjusted(PLAIN, a, b, "throughput") == PLAIN

    def test_an_operation_may_be_many_objects(self):
        a, b = measured(0.001, 0.5, seed=1), measured(0.001, 0.5, seed=1)
        b = [Result(**{**vars(r), "items": 3 * r.items}) for r in b]
        for metric in ("throughput", "cpu"):
            assert adjusted(PLAIN, a, b, metric).value == pytest.approx(3)

    def test_nothing_feels_the_machine_twice_as_much_as_the_reference_work(self):
        a, b = (measured(0.001, share, slope=3, seed=3, noise=0) for share in (0.2, 0.8))
        assert adjusted(PLAIN, a, b, "throughput").value < 0.95

    def test_slower_on_a_faster_machine_is_noise_not_a_slope(self):
        a, b = (measured(0.001, share, slope=-1, seed=3, noise=0) for share in (0.2, 0.8))
        plain = stats.median(r.seconds / r.operations for r in a) / stats.median(
            r.seconds / r.operations for r in b
        )
        assert adjusted(PLAIN, a, b, "throughput").value == pytest.approx(plain, rel=1e-3)

    def test_few_repeats_have_no_interval(self):
        a, b = measured(0.001, 0.5, repeats=5), measured(0.001, 0.5, repeats=9)
        assert adjusted(PLAIN, a, b, "throughput")[1:] == (0.0, math.inf)

    def test_the_interval_holds_as_often_as_it_says(self, monkeypatch):
        monkeypatch.setattr(stats, "_RESAMPLES", 300)
        found = []
        for n in range(much(70, 200)):
            a = measured(0.001, 0.3, slope=0.8, repeats=7, seed=2 * n)
            b = measured(0.0011, 0.6, slope=0.8, repeats=7, seed=2 * n + 1)
            found.append(adjusted(PLAIN, a, b, "throughput"))
        held = sum(r.low <= 1 / 1.1 <= r.high for r in found)
        assert held >= 0.93 * len(found)

    def test_a_run_of_which_nobody_looked_is_compared_as_it_is(self):
        a, b = measured(0.001, 0.1, seed=1), measured(0.002, 0.1, seed=2)
        for result in b:
            result.parts.clear()
        assert adjusted(PLAIN, a, b, "throughput") == PLAIN
        ((found,), _) = compare(side(a, "a"), side(b, "b"))
        assert (found.machine, found.verdict) == (None, "slower")

    def test_layers_that_took_turns_are_compared_as_they_are(self):
        a, b = measured(0.001, 0.1, seed=1), measured(0.001, 0.9, seed=2)
        ((found,), _) = compare(side(a, "one"), side(b, "one"))
        assert (found.machine, found.verdict) == (None, "slower")


class TestWidened:
    @pytest.mark.parametrize(
        ("metric", "shares"), [("p50", (0.4, 0.75)), ("p50", (0.1, 0.9)), ("p99", (0.002, 0.05))]
    )
    @pytest.mark.parametrize(("factor", "says"), [(1, "inconclusive"), (10, "slower")])
    def test_a_percentile_jumps_from_one_speed_to_another(self, metric, shares, factor, says):
        a = measured(0.001, shares[0], seed=1)
        b = measured(0.001 * factor, shares[1], seed=2)
        for results, time in ((a, 0.001), (b, 0.001 * factor * SLOW / FAST)):
            results[:] = [
                Result(**{**vars(r), "latency": {"all": {metric: time + r.repeat * 1e-7}}})
                for r in results
            ]
        ((found,), _) = compare(side(a, "a"), side(b, "b"), metric=metric)
        assert found.speed.value == pytest.approx(FAST / SLOW / factor, rel=0.01)
        assert found.verdict == says

    @pytest.mark.parametrize("metric", ["p50", "p99"])
    def test_on_a_steady_machine_it_is_plainly_slower(self, metric):
        a, b = measured(0.001, 0, seed=1), measured(0.0012, 0, seed=2)
        ((found,), _) = compare(side(a, "a"), side(b, "b"), metric=metric)
        assert found.verdict == "slower"

    def test_whether_it_is_steady_takes_several_samples(self):
        a, b = measured(0.001, 0, seed=1), measured(0.0012, 0, seed=2)
        for result in (*a, *b):
            del result.parts[1:]
        ((found,), _) = compare(side(a, "a"), side(b, "b"), metric="p50")
        assert found.verdict == "inconclusive"

    def test_memory_is_as_much_on_a_slow_machine(self):
        a, b = measured(0.001, 0.1, seed=1), measured(0.001, 0.9, seed=2)
        for results in (a, b):
            results[:] = [Result(**{**vars(r), "peak_memory": 10**6}) for r in results]
        ((found,), _) = compare(side(a, "a"), side(b, "b"), metric="memory")
        assert (found.machine, found.verdict) == (None, "same")

    def test_the_usual_noise_widens_nothing(self):
        a, b = measured(0.001, 0, seed=1), measured(0.001, 0, seed=2)
        assert adjusted(PLAIN, a, b, "p50") == PLAIN

    def test_all_of_it_may_be_the_machine(self):
        fast, slow = measured(0.001, 0, noise=0), measured(0.001, 1, noise=0)
        factor = SLOW / FAST
        bounds = (1.0, 0.9 / factor, 1.1 * factor)
        assert adjusted(PLAIN, fast, slow, "p50") == pytest.approx(bounds)


class TestParts:
    def one(self, face="sync", **options):
        options = {"workloads": ("get",), "sizes": (64,), "objects": 12, "repeats": 1} | options
        target = layer_target(open_storage("memory://"), face)
        try:
            return run([target], Config(warmup=0, **options)).results[0]
        finally:
            target.close()

    @pytest.mark.parametrize("face", ["sync", "async"])
    @pytest.mark.parametrize("workload", ["get", "delete"])  # one round, and many
    def test_they_are_all_that_was_measured(self, face, workload):
        result = self.one(face, workloads=(workload,), count=3000)
        parts = [Part.of(numbers) for numbers in result.parts]
        assert sum(part.operations for part in parts) == result.operations == 3000
        # time stood still for the samples, and the first one was at once
        assert 0.9 * result.seconds < sum(part.seconds for part in parts) <= result.seconds + 1e-6
        assert all(part.reference > 0 for part in parts)

    def test_the_samples_take_nobodys_cpu(self, monkeypatch):
        def work():
            end = thread_time() + 0.1
            while thread_time() < end:
                pass

        monkeypatch.setattr(machine, "_reference_work", work)
        result = self.one(count=40)
        assert result.parts[0][0] >= 0.1
        assert result.cpu_seconds < 0.1
        assert sum(part[3] for part in result.parts) < 0.1

    def test_the_cpu_of_many_rounds_goes_on(self):
        result = self.one(workloads=("delete",), count=20_000)
        assert len(result.parts) > 2
        for part in map(Part.of, result.parts):
            assert part.cpu_seconds <= 1.5 * part.seconds + 0.01

    @pytest.mark.parametrize("face", ["sync", "async"])
    def test_a_long_measurement_has_many(self, face):
        result = self.one(face, duration=0.5)
        assert len(result.parts) >= 5
        assert sum(part[2] for part in result.parts) == result.operations

    @pytest.mark.parametrize("face", ["sync", "async"])
    def test_one_worker_of_several_looks(self, face):
        result = self.one(face, count=3000, concurrency=(3,))
        assert result.parts
        # what ended while it looked belongs to no part
        assert sum(part[2] for part in result.parts) <= result.operations

    @pytest.mark.parametrize("face", ["sync", "async"])
    def test_operations_at_a_rate_are_not_held_up(self, face):
        assert self.one(face, count=20, rate=2000.0).parts == []

    def test_a_clock_that_ticks_rarely_takes_none(self, monkeypatch):
        coarse = SimpleNamespace(resolution=0.0156)
        monkeypatch.setattr(machine, "get_clock_info", lambda _: coarse)
        assert self.one(count=100).parts == []

    def test_they_are_saved_and_loaded(self):
        target = storage_target(open_storage("memory://"))
        report = run([target], Config(workloads=("get",), count=3000, repeats=1, warmup=0))
        assert load(report.lines()).results == report.results
        assert report.results[0].parts

    @pytest.mark.parametrize(
        "parts",
        [
            [[1.0, 1.0, 5]],
            [[1.0, 1.0, 5, 1.0, 1.0]],
            [[0.0, 1.0, 5, 1.0]],
            [[1.0, 0, 5, 1.0]],
            [[1.0, 1.0, 0.5, 1.0]],
            [[1.0, 1.0, 5, -1.0]],
            [[1e-300, 1.0, 5, 1.0]],
            [[1.0, 1e300, 5, 1.0]],
            [[1.0, 1.0, 10**400, 1.0]],
            [1.0],
            {"parts": []},
        ],
    )
    def test_what_no_run_writes_is_refused(self, parts):
        report = side(measured(0.001, 0.5, repeats=1), "a").report
        header, line = report.lines()
        assert load([header, line]).results
        with pytest.raises(ErrBadRequest, match="line 2"):
            load([header, json.dumps(json.loads(line) | {"parts": parts})])


class Clocks:
    """Wall, CPU and thread time that pass when told to."""

    def __init__(self, monkeypatch, module):
        self.wall = self.cpu = self.thread = 100.0
        monkeypatch.setattr(module, "perf_counter", lambda: self.wall)
        monkeypatch.setattr(module, "process_time", lambda: self.cpu)
        if module is machine:
            monkeypatch.setattr(module, "thread_time", lambda: self.thread)
            monkeypatch.setattr(module, "_reference_work", lambda: self.go(0.5, 0.4, 0.25))

    def go(self, wall, cpu, thread=0.0):
        self.wall, self.cpu, self.thread = self.wall + wall, self.cpu + cpu, self.thread + thread


class TestClock:
    @pytest.mark.parametrize("alone", [True, False])
    def test_samples_of_two_rounds(self, alone, monkeypatch):
        clocks = Clocks(monkeypatch, machine)
        looks = Machine(alone=alone)
        held = 0.5 if alone else 0.0
        start, cpu = clocks.wall, clocks.cpu
        assert looks.sample(start, cpu) == held
        clocks.go(2.0, 1.0)
        assert looks.sample(start + held, cpu) == held
        clocks.go(1.0, 0.5)
        # what lies between the rounds is nobody's
        base, base_cpu = clocks.wall - start - 2 * held, clocks.cpu - cpu
        looks.begin_round(base, base_cpu)
        clocks.go(7.0, 7.0)
        start, cpu = clocks.wall, clocks.cpu
        clocks.go(1.0, 0.5)
        looks.sample(start, cpu)
        clocks.go(3.0, 2.0)
        end = base + clocks.wall - start - held
        first = 0.5 - held
        ends = [first + 1.0, first + 2.0, base + 0.5, base + 1.0, end]
        parts = looks.parts(ends, end, base_cpu + clocks.cpu - cpu)
        assert parts == [
            Part(0.25, pytest.approx(2.0), 2, pytest.approx(1.0)),
            Part(0.25, pytest.approx(2.0), 2, pytest.approx(1.0)),
            Part(0.25, pytest.approx(3.0), 1, pytest.approx(2.0)),
        ]
        assert looks.cpu == pytest.approx(0.75)

    @pytest.mark.parametrize("alone", [True, False])
    def test_a_sample_behind_a_rounds_last_operation_is_at_its_end(self, alone, monkeypatch):
        clocks = Clocks(monkeypatch, machine)
        looks = Machine(alone=alone)
        start = clocks.wall
        start += looks.sample(start, clocks.cpu)
        clocks.go(4.0, 4.0)  # an operation, until 1.0, and a while in which others ran
        looks.sample(start, clocks.cpu)
        looks.begin_round(1.0, 5.0)
        start = clocks.wall
        held = looks.sample(start, clocks.cpu)
        clocks.go(2.0, 2.0)
        end = 1.0 + clocks.wall - start - held
        parts = looks.parts([1.0, 2.0, end], end, 7.0)
        assert [part.operations for part in parts] == [1, 2]

    @pytest.mark.parametrize("face", ["threads", "tasks"])
    def test_time_stands_still_for_the_only_worker(self, face, monkeypatch):
        clocks = Clocks(monkeypatch, driver)
        monkeypatch.setattr(tasks, "perf_counter", lambda: clocks.wall)

        class Looks(Machine):
            def sample(self, start, start_cpu):
                clocks.go(20.0, 0.0)
                self.due = clocks.wall + 2.5
                return 20.0

        def work():
            clocks.go(1.0, 0.0)

        async def awaited():
            work()

        record = Record()
        pace = Pace(1, seconds=9.5, count=None, rate=None, machine=Looks(alone=True))
        call = work if face == "threads" else awaited
        loop = tasks.TaskDriver()
        drive = driver.drive_threads if face == "threads" else loop
        operation = Operation("x", call, (), lambda _: Moved())
        drive(lambda _: itertools.repeat(operation), pace, [record])
        loop.close()
        assert list(record.ends) == [pytest.approx(n + 1) for n in range(10)]
        assert clocks.wall == pytest.approx(100 + 10 + 4 * 20)


def test_the_table_and_the_page_tell_how_fast_the_machine_was() -> None:
    a, b = side(measured(0.001, 0.0, noise=0), "a"), side(measured(0.001, 1.0, noise=0), "b")
    compared, _ = compare(a, b)
    table = comparison_table(compared, "throughput")
    assert table.rows[0][list(table.columns).index("machine")] == "0.54×"
    page = render(a.report, b.report, compared, "throughput", ("sync", "sync"))
    assert "<th>machine</th>" in page
    assert "<td>0.54×</td>" in page
    assert machine_speed(a.report.results, b.report.results) == pytest.approx(FAST / SLOW)
    turns = compare(a, Side(a.report, "sync"))[0]
    assert comparison_table(turns, "p50").rows[0][list(table.columns).index("machine")] == "-"
