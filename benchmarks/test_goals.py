"""The table of targets: who is the best rival, and what is enough."""

from __future__ import annotations

import pytest

from benchmarks.peers.goals import Goal, judge, row
from benchmarks.peers.tables import Part, Table, headline, markdown, replace_part, text
from objectstorage import ErrBadRequest
from objectstorage.bench.stats import Ratio

_LATENCY = Goal("get", "get", "p50", ("a", "b"), 4.0)
_RATE = Goal("list", "list", "throughput", ("a", "b"), 2.0)


@pytest.mark.parametrize(
    ("goal", "medians", "expected"),
    [
        # less is better: the best rival is the smallest
        (_LATENCY, {"objectstorage": 1.0, "a": 5.0, "b": 4.0}, ("b", 4.0, "pass")),
        (_LATENCY, {"objectstorage": 1.0, "a": 5.0, "b": 3.9}, ("b", 3.9, "short")),
        (_RATE, {"objectstorage": 40.0, "a": 10.0, "b": 20.0}, ("b", 2.0, "pass")),
        (_RATE, {"objectstorage": 39.0, "a": 10.0, "b": 20.0}, ("b", 1.95, "short")),
        # others than the rivals don't count
        (_RATE, {"objectstorage": 40.0, "a": 10.0, "os": 999.0}, ("a", 4.0, "pass")),
        # nothing is reached by not being measured
        (_RATE, {"a": 10.0}, (None, None, "not measured")),
        (_RATE, {"objectstorage": 40.0}, (None, None, "not measured")),
    ],
)
def test_judge(goal, medians, expected):
    best, speed, verdict = judge(goal, {name: [value] for name, value in medians.items()})
    assert (best, speed and speed.value, verdict) == expected


def test_repeats_that_took_turns_are_compared_in_pairs():
    # a machine that gets slower and slower, for both
    ours = [float(n) for n in range(1, 9)]
    samples = {"objectstorage": ours, "a": [5 * value for value in ours], "b": []}
    best, speed, verdict = judge(_LATENCY, samples)
    assert (best, speed, verdict) == ("a", Ratio(5.0, 5.0, 5.0), "pass")
    assert row(_LATENCY, ["a"], samples)[3] == "5.00× a (5.00–5.00)"


def test_row():
    assert row(_RATE, ["objectstorage", "a", "b"], {"objectstorage": [40.0], "a": [10.0]}) == [
        "list",
        "throughput",
        "40/s",
        "10/s",
        "-",
        "4.00× a",
        "2.00×",
        "pass",
    ]


_PART = Part("posix", [Table(("cell", "by", "target"), [("get", "p50", "pass")], True)], ["a note"])


def test_text():
    assert text(_PART).splitlines() == ["cell   by  target", "get   p50    pass", "", "a note"]


def test_markdown_takes_its_place():
    marks = "<!-- benchmarks: {} -->", "<!-- /benchmarks: {} -->"
    document = "\n".join(mark.format(name) for name in ("import", "posix") for mark in marks)
    written = replace_part(document, _PART)
    assert written.startswith("\n".join(mark.format("import") for mark in marks))
    assert headline() in written
    assert "\n| cell | by | target |\n| --- | --: | --: |\n| get | p50 | pass |\n" in written
    assert replace_part(written, _PART) == written
    assert replace_part(written, Part("import", [])).count(markdown(_PART)) == 1


def test_markdown_without_a_place_is_refused():
    with pytest.raises(ErrBadRequest, match="benchmarks: posix"):
        replace_part("# Read me\n", _PART)


def test_a_part_passes_when_all_its_tables_do():
    assert _PART.passed
    missed = Table(("cell",), [("get",)], False)
    assert not Part("posix", [*_PART.tables, missed]).passed
