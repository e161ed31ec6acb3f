"""The table of targets: who is the best rival, and what is enough."""

from __future__ import annotations

import pytest

from benchmarks.peers.goals import Goal, judge, row

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
    assert judge(goal, medians) == expected


def test_row():
    assert row(_RATE, ["objectstorage", "a", "b"], {"objectstorage": 40.0, "a": 10.0}) == [
        "list",
        "throughput",
        "40/s",
        "10/s",
        "-",
        "4.00× a",
        "2.00×",
        "pass",
    ]
