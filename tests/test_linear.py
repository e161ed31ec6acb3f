"""The judge of histories itself: it accepts what was in order, and nothing else."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from long import much

from objectstorage.memory import MemoryStorage
from objectstorage.testing.linear import NotLinearizable, Operation, Register, check

KINDS = ["read", "put", "create", "replace", "delete", "delete version"]


def explained(order: Any, initial: bytes | None = None) -> bool:
    """Whether operations in this order do what they say; the definition, by hand."""
    there = initial
    for op in order:
        if op.kind == "read":
            fits = op.value == there
        elif op.kind == "create":
            fits = (there is None) == (op.outcome != "refused")
        elif op.kind in ("replace", "delete version"):
            fits = (there is not None and there == op.expected) == (op.outcome != "refused")
        else:
            fits = True
        if not fits:
            return False
        if op.kind != "read" and op.outcome != "refused":
            there = op.value
    return True


def in_time(order: Any) -> bool:
    return not any(b.returned < a.invoked for a, b in itertools.combinations(order, 2))


def by_force(history: list[Operation]) -> bool:
    """All orders of all choices of what became of the unknown ones."""
    certain = [op for op in history if op.outcome != "unknown"]
    unknown = [op for op in history if op.outcome == "unknown"]
    return any(
        in_time(order) and explained(order)
        for count in range(len(unknown) + 1)
        for chosen in itertools.combinations(unknown, count)
        for order in itertools.permutations([*certain, *chosen])
    )


def judged(history: list[Operation]) -> bool:
    try:
        order = check(history)
    except NotLinearizable:
        return False
    assert in_time(order)
    assert explained(order)
    assert {op for op in history if op.outcome != "unknown"} <= set(order)
    return True


VALUES = [b"1", b"2", b"3"]


@st.composite
def any_operation(draw: Any) -> Operation:
    kind = draw(st.sampled_from(KINDS))
    invoked = draw(st.integers(0, 12))
    returned = invoked + draw(st.integers(0, 6))
    value = draw(st.sampled_from([None, *VALUES] if kind == "read" else VALUES))
    expected = draw(st.sampled_from(VALUES)) if kind in ("replace", "delete version") else None
    outcomes = ["ok"]
    if kind not in ("read",):
        outcomes.append("unknown")
    if kind in ("create", "replace", "delete version"):
        outcomes.append("refused")
    outcome = draw(st.sampled_from(outcomes))
    return Operation(
        f"c{draw(st.integers(0, 99))}",
        kind,
        None if kind.startswith("delete") else value,
        expected,
        outcome,
        invoked,
        math.inf if outcome == "unknown" else returned,
    )


@settings(max_examples=much(150, 5000), deadline=None)
@given(st.lists(any_operation(), min_size=1, max_size=4, unique=True))
def test_it_judges_as_trying_everything_does(history: list[Operation]) -> None:
    assert judged(history) == by_force(history)


@st.composite
def serial(draw: Any, lost: bool = False) -> list[Operation]:
    """A true history: each operation took effect at one moment within its time."""
    there: bytes | None = None
    history = []
    versions: list[bytes] = [b"never written"]
    ends: dict[str, float] = {}
    for number in range(draw(st.integers(1, 25))):
        moment = 100.0 * (number + 1)
        client = f"c{draw(st.integers(0, 5))}"
        kind = draw(st.sampled_from(KINDS))
        value = None if kind.startswith("delete") else b"%d" % number
        expected = None
        outcome = "ok"
        if kind == "read":
            value = there
        elif kind in ("replace", "delete version"):
            expected = draw(st.sampled_from(versions[-3:]))
            outcome = "ok" if expected == there else "refused"
        elif kind == "create":
            outcome = "ok" if there is None else "refused"
        hears = not (lost and kind != "read" and outcome == "ok" and draw(st.booleans()))
        if kind != "read" and outcome == "ok" and (hears or draw(st.booleans())):
            there = value
            if value is not None:
                versions.append(value)
        began = max(ends.get(client, 0.0) + 1, moment - draw(st.integers(0, 400)))
        ended = moment + draw(st.integers(1, 99))  # before the client's next one
        if began > moment:
            began = moment
        ends[client] = ended
        if not hears:
            outcome, ended = "unknown", math.inf
        history.append(Operation(client, kind, value, expected, outcome, began, ended))
    return history


@settings(max_examples=much(50, 2000), deadline=None)
@given(serial(), st.randoms())
def test_what_was_in_order_is_accepted(history: list[Operation], random: Any) -> None:
    random.shuffle(history)  # the clients' parts come in any order
    assert judged(history)


@settings(max_examples=much(50, 2000), deadline=None)
@given(serial(lost=True))
def test_so_is_what_lost_replies(history: list[Operation]) -> None:
    assert judged(history)


def ops(*rows: tuple[Any, ...]) -> list[Operation]:
    """(kind, value, expected, outcome, invoked, returned) each."""
    return [Operation(f"c{i}", *row) for i, row in enumerate(rows)]


PUT_1 = ("put", b"1", None, "ok", 0, 10)
PUT_2 = ("put", b"2", None, "ok", 20, 30)
CREATE_1 = ("create", b"1", None, "ok", 0, 100)
LOST_CREATE = ("create", b"2", None, "unknown", 20, math.inf)
LOST_2 = ("put", b"2", None, "unknown", 20, math.inf)


@pytest.mark.parametrize(
    "rows",
    [
        [PUT_1, PUT_2, ("read", b"1", None, "ok", 40, 50)],
        [PUT_1, ("read", None, None, "ok", 20, 30)],
        [PUT_1, ("read", b"7", None, "ok", 20, 30)],
        [CREATE_1, ("create", b"2", None, "ok", 0, 100)],
        [("create", b"1", None, "refused", 0, 10)],
        [
            PUT_1,
            ("replace", b"2", b"1", "ok", 20, 90),
            ("replace", b"3", b"1", "ok", 20, 90),
        ],
        [PUT_1, ("replace", b"2", b"1", "refused", 20, 90)],
        [PUT_1, ("delete", None, None, "ok", 20, 30), ("read", b"1", None, "ok", 40, 50)],
        [
            PUT_1,
            ("delete version", None, b"1", "ok", 20, 90),
            ("delete version", None, b"1", "ok", 20, 90),
        ],
        # what was seen of a lost write does not go away
        [PUT_1, LOST_2, ("read", b"2", None, "ok", 40, 50), ("read", b"1", None, "ok", 60, 70)],
        # nor is a lost create-only write done over what is there
        [
            PUT_1,
            ("create", b"2", None, "unknown", 20, math.inf),
            ("read", b"2", None, "ok", 40, 50),
        ],
        # nor before it was asked for
        [PUT_1, ("read", b"2", None, "ok", 12, 15), LOST_2],
        # two reads beside a write that see the new one first
        [
            ("put", b"1", None, "ok", 0, 100),
            ("read", b"1", None, "ok", 10, 20),
            ("read", None, None, "ok", 30, 40),
        ],
    ],
)
def test_what_was_not_is_refused(rows: list[tuple[Any, ...]]) -> None:
    history = ops(*rows)
    assert not by_force(history)
    assert not judged(history)


def test_a_search_without_end_is_given_up() -> None:
    lost = [("put", b"%d" % i, None, "unknown", 0, math.inf) for i in range(20)]
    impossible = ("read", b"x", None, "ok", 10, 20)
    with pytest.raises(RuntimeError):
        check(ops(*lost, impossible), most=1000)


@settings(max_examples=much(50, 1000), deadline=None)
@given(serial(lost=True), st.data())
def test_one_stale_read_is_found(history: list[Operation], data: Any) -> None:
    late = max(op.invoked if op.outcome == "unknown" else op.returned for op in history) + 1
    new = Operation("late", "put", b"new", None, "ok", late, late + 1)
    heard = {op.value for op in history if op.outcome == "ok"}
    stale = data.draw(st.sampled_from([None, *sorted(heard - {None})]))
    read = Operation("late", "read", stale, None, "ok", late + 2, late + 3)
    assert judged([*history, new, read._replace(value=b"new")])
    gone = any(op.outcome == "unknown" and op.kind == "delete" for op in history)
    if not (gone and stale is None):  # that one may still come
        assert not judged([*history, new, read])


def test_a_register_records_what_it_hears() -> None:
    history: list[Operation] = []
    register = Register(MemoryStorage(), "k", history, "a")
    assert register.read() is None
    first = register.write(b"1", create=True)
    assert first is not None
    assert register.write(b"2", create=True) is None
    second = register.write(b"3", version=first)
    assert register.write(b"4", version=first) is None
    assert register.read() == second
    register.delete(first)
    register.delete(second)
    register.delete()
    register.store.close()
    register.write(b"5")
    assert register.failed == 1
    assert [op.kind for op in check(history)] == [op.kind for op in history]
    assert [op.outcome for op in history].count("refused") == 3
