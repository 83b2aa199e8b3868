"""Limits: never more than N upgrades at once in any order, and a queue that no engine blocks."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from cse_operator.core import policies as policies_module
from cse_operator.core.fleet import Fleet
from cse_operator.core.permit import ALLOWED, Held, let_go, permit
from cse_operator.core.policies import PolicySet
from support.policies import ask, cluster_policy, done, fleet, held, member, policy, utc

NOW = utc("2026-12-05T12:00")
SLOT = ["WaitingForSlot"]
ONE = {"maxConcurrent": 1}


def waiting(name: str, since: str = "10:00", **changes):
    """Return an engine that waits in the queue."""
    return member(name, held_since=utc(f"2026-12-05T{since}"), **changes)


def upgrading(name: str, **changes):
    return member(name, **({"in_flight": True, "reason": "Upgrading"} | changes))


def test_limit_1_two_due_in_one_tick():
    """An upgrade that this process has just allowed counts at once, before its intent is seen."""
    p, one, two = policy(**ONE), member("one"), member("two")
    assert ask(one, p, now=NOW, others=[two]) == []
    assert ask(two, p, now=NOW, others=[one], reserved=[one.key]) == SLOT


def test_killed_between_intent_and_answer():
    """Another process's intent counts until it is resolved, and keeps its slot."""
    p, open_intent = policy(**ONE), upgrading("killed", reason="VerifyingOutcome")
    assert ask(member(), p, now=NOW, others=[open_intent]) == SLOT
    assert ask(open_intent, p, now=NOW, others=[member()]) == []


def test_foreign_job():
    """A foreign job takes a slot; more than N foreign jobs are not stopped."""
    p = policy(maxConcurrent=2)
    foreign = [upgrading("a"), upgrading("b"), upgrading("c")]
    assert ask(member(), p, now=NOW, others=foreign) == SLOT
    assert ask(member(), p, now=NOW, others=foreign[:1]) == []


def test_limit_lowered():
    running = [upgrading("a"), upgrading("b")]
    assert ask(member(), policy(maxConcurrent=3), now=NOW, others=running) == []
    assert ask(member(), policy(maxConcurrent=1), now=NOW, others=running) == SLOT
    # A call is not repeated while others hold all slots.
    assert ask(running[0], policy(**ONE), now=NOW, others=running[1:]) == SLOT


def test_two_limits():
    """An engine needs a slot of both limits; if one is full, it leaves the other to the next."""
    labels = {"tier": "production"}
    mine = policy(selector={"matchLabels": labels}, **ONE)
    every = cluster_policy(maxConcurrent=2)
    busy = upgrading("busy", labels=labels)
    first = waiting("first", "09:00", labels=labels)
    second = waiting("second", "10:00")
    assert ask(first, mine, every, now=NOW, others=[busy, second]) == SLOT
    assert ask(second, mine, every, now=NOW, others=[busy, first]) == []


def test_held_elsewhere_first_in_line():
    labels = {"tier": "production"}
    closed = policy(name="closed", selector={"matchLabels": labels}, suspend=True)
    first = waiting("first", "08:00", labels=labels)
    assert ask(waiting("second"), policy(**ONE), closed, now=NOW, others=[first]) == []


def test_order_after_restart():
    """The order is priority, waiting since, name; all three are in the status."""
    line = [
        waiting("b", "09:00"),
        waiting("a", "09:00"),
        waiting("late", "11:00"),
        waiting("urgent", "11:30", priority=10),
    ]
    for seed in range(5):
        random.Random(seed).shuffle(line)
        order = [m.name for m in fleet(*line, policies=[policy(**ONE)], now=NOW).in_line()]
        assert order == ["urgent", "a", "b", "late"]
    assert ask(line[0], policy(**ONE), now=NOW, others=[]) == []


def test_a_newly_due_engine_queues_behind_those_that_wait():
    p = policy(**ONE)
    assert ask(member("new"), p, now=NOW, others=[waiting("old")]) == SLOT
    assert ask(waiting("old"), p, now=NOW, others=[member("new")]) == []
    assert "lets 1 upgrade at once" in held(member("n"), p, now=NOW, others=[waiting("o")]).text


def test_what_ended_does_not_count():
    assert ask(member(), policy(**ONE), now=NOW, others=[done("a"), done("b")]) == []


def test_a_sweep_lets_go_as_many_as_there_are_slots_and_names_the_next_moment():
    line = [waiting(f"e{n}") for n in range(9)]
    closed = waiting("closed", labels={"tier": "night"})
    night = policy(
        name="night",
        selector={"matchLabels": {"tier": "night"}},
        windows=[{"name": "w", "schedule": "0 2 * * *", "duration": "1h"}],
    )
    f = fleet(*line, closed, upgrading("x"), policies=[policy(maxConcurrent=4), night], now=NOW)
    winners, until = let_go(f)
    assert [m.name for m in winners] == ["e0", "e1", "e2"]
    assert until == utc("2026-12-06T02:00")


def test_engines_alike_are_asked_once():
    """Labels that no policy selects by make no difference."""
    line = [waiting(f"e{n}", labels={"app": f"e{n}"}) for n in range(50)]
    f = fleet(*line, policies=[policy(**ONE)], now=NOW)
    let_go(f)
    assert len(f.memo) == 2, "the holds of one kind of engine, and who is free"
    assert len({f.selection(m) for m in line}) == 1


@pytest.mark.parametrize("seed", range(30))
def test_no_start_outside_of_any_gate_and_no_engine_waits_for_ever(seed):
    """Random engines and policies run to their end, at the moments that each sweep names. At each
    start all gates are open and no limit is exceeded. In the end, an engine only waits for
    something that no time opens."""
    chance = random.Random(seed)
    policies = PolicySet(tuple(_random_policy(chance, n) for n in range(chance.randrange(1, 4))))
    engines = {f"e{n}": _random_engine(chance, f"e{n}") for n in range(12)}
    at, moments = NOW, 0
    while at is not None:
        moments += 1
        assert moments < 200, "an engine waits for ever"
        _start(engines, policies, at)
        flying = [name for name, m in engines.items() if m.in_flight]
        for name in flying:
            if chance.random() < 0.7:
                labels = dict(engines[name].labels)
                engines[name] = done(name, labels=labels, ready_since=at)
        _, until = let_go(Fleet(list(engines.values()), policies, at))
        at = at + timedelta(minutes=10) if flying else until
    _nobody_is_forgotten(engines, policies)


def _nobody_is_forgotten(engines, policies) -> None:
    f = Fleet(list(engines.values()), policies, NOW + timedelta(days=30))
    suspended = {p.name for p in policies.policies if p.spec.suspend}
    stuck = [m for m in engines.values() if not m.ready]
    told: set[str] = set()
    for m in stuck:
        answer = permit(m, f)
        assert isinstance(answer, Held)
        told |= {hold.reason.value for hold in answer.holds}
    assert "WaitingForSlot" not in told
    assert not stuck or suspended or "NeverOpens" in told


def _start(engines, policies, at) -> None:
    for name, m in list(engines.items()):
        if m.ready or m.in_flight:
            continue
        f = Fleet(list(engines.values()), policies, at)
        selected = f.selection(m).policies
        if permit(m, f) is not ALLOWED:
            engines[name] = waiting(name, "10:00", labels=dict(m.labels), priority=m.priority)
            continue
        for p in selected:
            assert not p.spec.suspend
            assert p.windows.at(at).open
            if p.spec.max_concurrent is not None:
                assert len(f.in_flight(p)) < p.spec.max_concurrent
        engines[name] = upgrading(name, labels=dict(m.labels))


def _random_engine(chance, name):
    return member(name, labels={"wave": chance.choice("abc")}, priority=chance.randrange(3))


def _random_policy(chance, number):
    spec = {"suspend": chance.random() < 0.1}
    if chance.random() < 0.5:
        spec["maxConcurrent"] = chance.randrange(1, 4)
    if chance.random() < 0.5:
        spec["windows"] = [
            {"name": "w", "schedule": f"0 {chance.randrange(24)} * * *", "duration": "12h"}
        ]
    if chance.random() < 0.4:
        spec["waves"] = [
            {"name": "first", "selector": {"matchLabels": {"wave": "a"}}, "soak": "1h"},
            {"name": "second", "selector": {"matchLabels": {"wave": "b"}}},
        ]
    if chance.random() < 0.3:
        spec["selector"] = {"matchLabels": {"wave": chance.choice("abc")}}
    return policy(name=f"p{number}", **spec)


def test_too_many_labels():
    """If it is unknown whether a policy selects an engine, the policy holds and counts it."""
    unknown = member("unknown", labels=None)
    mine, elsewhere = policy(**ONE), policy(namespace="shipping")
    answer = held(unknown, mine, elsewhere, now=NOW)
    assert [hold.reason.value for hold in answer.holds] == ["PoliciesUnknown"]
    assert "too many labels" in answer.text
    assert ask(unknown, elsewhere, now=NOW) == []
    running = upgrading("unknown", labels=None)
    assert ask(member(), mine, now=NOW, others=[running]) == SLOT


def test_too_many_labels_in_a_namespace_that_a_policy_does_not_select():
    unknown = member("unknown", labels=None)
    p = cluster_policy(namespaceSelector={"matchLabels": {"tier": "gold"}})
    assert ask(unknown, p, now=NOW, namespaces={"payments": {"tier": "silver"}}) == []
    for known in ({"payments": {"tier": "gold"}}, {}):
        assert ask(unknown, p, now=NOW, namespaces=known) == ["PoliciesUnknown"]


def test_labels_that_come_and_go_are_not_remembered_for_ever(monkeypatch):
    monkeypatch.setattr(policies_module, "MOST_REMEMBERED", 10)
    many = PolicySet((policy(),))
    for n in range(30):
        assert many.selecting("payments", frozenset({("pod", str(n))})).policies
    assert len(many._selections) == 10


def test_who_holds_a_slot_is_named():
    """This points to the engine whose call nobody can settle."""
    held_by_one = held(member(), policy(**ONE), now=NOW, others=[upgrading("stuck")])
    assert "and a slot is held by stuck" in held_by_one.text
    others = [upgrading("secret", namespace="other")]
    text = held(member(), cluster_policy(**ONE), now=NOW, others=others).text
    assert "and a slot is held by 1 in other namespaces" in text
