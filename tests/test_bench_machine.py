"""Runs compared as if the machine had been at one speed, and the samples that tell of it."""

from __future__ import annotations

import json
import math
import random
from math import exp

import pytest

from objectstorage import ErrBadRequest, open_storage
from objectstorage.bench import Config, layer_target, load, run, stats, storage_target
from objectstorage.bench.adjusted import adjusted, machine_speed, widened
from objectstorage.bench.compare import Side, compare
from objectstorage.bench.html import render
from objectstorage.bench.machine import Machine, Part
from objectstorage.bench.report import comparison_table
from objectstorage.bench.results import Result
from objectstorage.bench.runner import new_report
from objectstorage.bench.stats import Ratio

FAST, SLOW = 0.00035, 0.00065


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
            parts.append([reference, 25.0, 25.0 / each, 20.0])
        operations = round(sum(part[2] for part in parts))
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
                latency={"all": {"min": time, "p50": 1000 / operations, "max": 2 * time}},
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
        assert adjusted(a, b, "throughput") == pytest.approx((0.5, 0.5, 0.5), rel=1e-3)

    def test_a_machine_of_one_speed_leaves_the_plain_ratio(self):
        a, b = measured(0.001, 0, noise=0), measured(0.002, 0, noise=0)
        assert adjusted(a, b, "throughput").value == pytest.approx(0.5)

    def test_slower_on_a_faster_machine_is_noise_not_a_slope(self):
        a, b = (measured(0.001, share, slope=-1, seed=3, noise=0) for share in (0.2, 0.8))
        plain = stats.median(r.seconds / r.operations for r in a) / stats.median(
            r.seconds / r.operations for r in b
        )
        assert adjusted(a, b, "throughput").value == pytest.approx(plain, rel=1e-3)

    def test_few_repeats_have_no_interval(self):
        a, b = measured(0.001, 0.5, repeats=5), measured(0.001, 0.5, repeats=9)
        assert adjusted(a, b, "throughput")[1:] == (0.0, math.inf)

    def test_the_interval_holds_as_often_as_it_says(self, monkeypatch):
        monkeypatch.setattr(stats, "_RESAMPLES", 300)
        found = []
        for n in range(200):
            a = measured(0.001, 0.3, slope=0.8, repeats=7, seed=2 * n)
            b = measured(0.0011, 0.6, slope=0.8, repeats=7, seed=2 * n + 1)
            found.append(adjusted(a, b, "throughput"))
        held = sum(r.low <= 1 / 1.1 <= r.high for r in found)
        assert held >= 0.93 * len(found)

    def test_a_run_of_which_nobody_looked_is_compared_as_it_is(self):
        a, b = measured(0.001, 0.1, seed=1), measured(0.002, 0.1, seed=2)
        for result in b:
            result.parts.clear()
        assert adjusted(a, b, "throughput") is None
        ((found,), _) = compare(side(a, "a"), side(b, "b"))
        assert (found.machine, found.verdict) == (None, "slower")

    def test_layers_that_took_turns_are_compared_as_they_are(self):
        a, b = measured(0.001, 0.1, seed=1), measured(0.001, 0.9, seed=2)
        ((found,), _) = compare(side(a, "one"), side(b, "one"))
        assert (found.machine, found.verdict) == (None, "slower")


class TestWidened:
    def test_a_latency_that_the_machine_may_have_made_is_inconclusive(self):
        a, b = measured(0.001, 0.1, seed=1), measured(0.001, 0.9, seed=2)
        ((found,), _) = compare(side(a, "a"), side(b, "b"), metric="p50")
        assert found.speed.value < 0.75
        assert found.verdict == "inconclusive"

    def test_one_that_it_can_not_have_made_is_slower(self):
        a, b = measured(0.001, 0.1, seed=1), measured(0.010, 0.9, seed=2)
        ((found,), _) = compare(side(a, "a"), side(b, "b"), metric="p50")
        assert found.verdict == "slower"

    def test_memory_is_as_much_on_a_slow_machine(self):
        a, b = measured(0.001, 0.1, seed=1), measured(0.001, 0.9, seed=2)
        for results in (a, b):
            results[:] = [Result(**{**vars(r), "peak_memory": 10**6}) for r in results]
        ((found,), _) = compare(side(a, "a"), side(b, "b"), metric="memory")
        assert (found.machine, found.verdict) == (None, "same")

    @pytest.mark.parametrize("machine", [None, 1.0, 1.04, 0.97])
    def test_the_usual_noise_widens_nothing(self, machine):
        assert widened(Ratio(1.0, 0.9, 1.1), machine) == Ratio(1.0, 0.9, 1.1)

    @pytest.mark.parametrize(("machine", "bounds"), [(0.5, (0.9, 2.2)), (2.0, (0.45, 1.1))])
    def test_all_of_it_may_be_the_machine(self, machine, bounds):
        assert widened(Ratio(1.0, 0.9, 1.1), machine) == Ratio(1.0, *bounds)


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
        # time stood still for the samples, but for what led up to the first one
        assert sum(part.seconds for part in parts) <= result.seconds
        assert result.cpu_seconds >= 0.5 * sum(part.cpu_seconds for part in parts)
        assert all(part.reference > 0 for part in parts)

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

    def test_what_only_fails_has_none(self):
        machine = Machine(alone=True)
        machine.sample(0.0, 0.0)
        assert machine.parts([], 1.0, 1.0) == []

    def test_the_time_of_the_samples_is_nobodys(self):
        machine = Machine(alone=False)
        held = [machine.sample(0.0, 0.0) for _ in range(3)]
        first, second, third = machine._samples
        assert held == [0.0, 0.0, 0.0]
        assert first.began < first.ended < second.began < second.ended < third.began
        assert machine.cpu == first.took + second.took + third.took
        between = [(first.ended + second.began) / 2, (second.began + second.ended) / 2]
        (part,) = machine.parts(between, third.ended, third.cpu)
        assert (part.operations, part.seconds) == (1, second.began - first.ended)
        assert part.reference == (first.took + second.took) / 2

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
            [[1.0, 1.0, 0, 1.0]],
            [[1.0, 1.0, 5, -1.0]],
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
