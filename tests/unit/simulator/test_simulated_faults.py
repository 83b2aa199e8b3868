"""Which calls a fault rule catches, and which rules are invalid."""

from __future__ import annotations

import pytest

from cse_simulator.vendor import wire
from cse_simulator.vendor.calls import Call
from cse_simulator.vendor.faults import Fault, Faults

ENGINES = "/v2/p/enginemgr/engines"
SHOW = Call.received("GET", f"{ENGINES}/e-1", {}, b"", "")
PUT = Call.received("PUT", f"{ENGINES}/e-1/upgrade", {}, b"", "")


def caught(fault: Fault, *calls: Call) -> list[bool]:
    faults = Faults()
    faults.add(fault)
    return [faults.catching(call) is not None for call in calls]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(times=None), [True, True]),
        (Fault(operation="Upgrade"), [False, True]),
        (Fault(method="GET"), [True, False]),
        (Fault(engine_id="e-1", times=None), [True, True]),
        (Fault(engine_id="e-2", times=None), [False, False]),
        (Fault(project="p", times=None), [True, True]),
        (Fault(project="q", times=None), [False, False]),
    ],
)
def test_a_rule_catches_what_it_names(fault, expected):
    assert caught(fault, SHOW, PUT) == expected


def test_a_rule_skips_then_catches_its_number_of_calls():
    assert caught(Fault(operation="ShowEngine", skip=1, times=2), *[SHOW, PUT] * 5) == [
        False, False, True, False, True, False, False, False, False, False,
    ]  # fmt: skip


def test_the_same_seed_throws_the_same_dice():
    def throw(seed):
        return caught(Fault(probability=0.5, times=None, seed=seed), *[SHOW] * 50)

    assert throw(1) == throw(1) != throw(2)
    assert 5 < sum(throw(1)) < 45


def test_the_oldest_rule_wins_and_the_next_follows_when_it_is_used_up():
    faults = Faults()
    first, second = faults.add(Fault(delay_ms=1)), faults.add(Fault(delay_ms=2))
    assert [faults.catching(SHOW) for _ in range(3)] == [first, second, None]


def test_cleared_rules_catch_nothing_and_let_go_what_hangs():
    faults = Faults()
    one, other = faults.add(Fault(hang=True)), faults.add(Fault(hang=True))
    assert faults.clear(one.id) == 1
    assert one.released.is_set()
    assert not other.released.is_set()
    assert faults.catching(SHOW) is other
    assert faults.clear() == 1
    assert faults.all() == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"operation": "Update"}, "'Update' is none of"),
        ({"probability": 2}, "between 0 and 1"),
        ({"retryAfter": 3}, "belong to a status"),
        ({"status": 500, "replace": {"id": 1}}, "alter the vendor's answer"),
        ({"reset": True, "deliverTwice": "first"}, "needs afterEffect"),
        ({"deliverTwice": "third"}, "one of"),
        ({"delayMs": "soon"}, "must be a float"),
        ({"explode": True}, "'explode' is unknown"),
        ([], "mapping"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_the_reason(wrong, words):
    with pytest.raises(ValueError, match=words):
        wire.read(Fault, wrong)


def test_a_rule_survives_the_way_over_the_wire():
    fault = Fault(
        operation="Upgrade",
        times=None,
        delay_ms=3,
        replace={"jobId": "1"},
        drop=("name", "id"),
        deliver_twice="second",
    )
    assert wire.read(Fault, wire.write(fault)) == fault
