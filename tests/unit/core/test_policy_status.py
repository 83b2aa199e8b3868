"""The status of a policy, and windows that passed unused."""

from __future__ import annotations

from cse_operator.api.policy import PolicyStatus
from cse_operator.core import policies as policies_module
from cse_operator.core.fleet import Fleet
from cse_operator.core.policy_status import missed_window, policy_status
from support.policies import cluster_policy, done, failed, fleet, member, policy, utc

NOW = utc("2026-12-05T12:00")
NIGHT = {"name": "w", "schedule": "0 2 * * *", "duration": "4h"}


def shown(p, *members, others=(), now=NOW, old=None):
    f = fleet(*members, policies=[p, *others], now=now)
    return policy_status(p, f, old or PolicyStatus())


def conditions(status):
    return {c.type: (c.status, c.message) for c in status.conditions}


def test_it_counts_what_it_selects():
    waves = [{"name": "canary", "selector": {"matchLabels": {"wave": "canary"}}}, {"name": "rest"}]
    p = policy(waves=waves, maxConcurrent=1)
    upgrading = member("busy", in_flight=True, reason="Upgrading")
    waits = member("waits", held_since=NOW)
    canary = done(labels={"wave": "canary"})
    status = shown(p, canary, failed("bad", suspended=True), upgrading, waits)
    assert (status.selected, status.reached, status.in_flight) == (4, 1, 1)
    assert (status.waiting, status.failed) == (1, 0)
    assert [(w.name, w.engines, w.reached) for w in status.waves] == [
        ("canary", 1, 1),
        ("rest", 3, 0),
    ]
    assert status.next == ("waits",)
    assert status.slots == ("busy",)
    assert shown(p, failed("bad")).failed == 1


def test_the_gate_and_its_next_moments():
    p = policy(windows=[NIGHT])
    closed = shown(p)
    assert (closed.gate, closed.next_open) == ("Closed", utc("2026-12-06T02:00"))
    opened = shown(p, now=utc("2026-12-06T03:00"))
    assert (opened.gate, opened.next_close) == ("Open", utc("2026-12-06T06:00"))
    assert shown(policy()).gate == "Open"
    assert shown(policy(suspend=True)).gate == "Closed"


def test_opposite_wave_orders():
    """Each of two policies that block one another names the other."""
    a, b = ({"matchLabels": {"wave": wave}} for wave in "ab")
    one = policy(waves=[{"name": "x", "selector": a}, {"name": "y", "selector": b}])
    other = cluster_policy(waves=[{"name": "x", "selector": b}, {"name": "y", "selector": a}])
    pair = [member("a", labels={"wave": "a"}), member("b", labels={"wave": "b"})]
    told = conditions(shown(one, *pair, others=[other]))["WaveCycle"]
    assert told == (
        "True",
        "a goes before b here, and after it in cluster policy cluster: neither can start",
    )
    assert "policy production" in conditions(shown(other, *pair, others=[one]))["WaveCycle"][1]
    assert "WaveCycle" not in conditions(shown(one, *pair))


def test_an_empty_wave_an_open_gate_and_one_that_never_opens_are_warned_of():
    p = policy(waves=[{"name": "cnary", "selector": {"matchLabels": {"wave": "cnary"}}}])
    assert "cnary" in conditions(shown(p, member()))["EmptyWave"][1]
    daily = policy(windows=[{"name": "w", "schedule": "0 0 * * *", "duration": "24h"}])
    assert "AlwaysOpen" in conditions(shown(daily))
    freeze = {"from": "2026-01-01T00:00:00Z", "to": "2199-01-01T00:00:00Z"}
    assert "NeverOpens" in conditions(shown(policy(freezes=[freeze])))


def test_canary_of_other_type_only():
    """The wave passes for a type without engines in it. As a misspelt label does the same, warn."""
    p = policy(waves=[{"name": "canary", "selector": {"matchLabels": {"wave": "canary"}}}])
    nacos = member("nacos", labels={"wave": "canary"}, type="Nacos")
    told = conditions(shown(p, nacos, member()))["EmptyWave"]
    assert told == (
        "True",
        "no engine of type CSE is waited for in wave canary: the next wave may go",
    )
    unseen = member("unseen", labels={"wave": "canary"}, type=None)
    assert "EmptyWave" not in conditions(shown(p, nacos, unseen, member()))


def test_canary_suspended():
    """A suspended engine is named when the wave waits for no other."""
    p = policy(waves=[{"name": "canary", "selector": {"matchLabels": {"wave": "canary"}}}])
    canary = member("canary", labels={"wave": "canary"}, suspended=True)
    told = conditions(shown(p, canary, member()))["EmptyWave"][1]
    assert told == ("no engine is waited for in wave canary (canary excused): the next wave may go")
    other = member("other", labels={"wave": "canary"})
    assert "EmptyWave" not in conditions(shown(p, canary, other, member()))


def test_daily_24h():
    """A window that is always open causes a warning: its author thought that it closes."""
    daily = policy(windows=[NIGHT | {"schedule": "0 0 * * *", "duration": "24h"}])
    assert conditions(shown(daily))["AlwaysOpen"][0] == "True"
    assert "AlwaysOpen" not in conditions(shown(policy(windows=[NIGHT])))


def test_what_cannot_be_evaluated_says_why():
    status, message = conditions(shown(policy(approval="FourEyes")))["Valid"]
    assert status == "False"
    assert "spec.approval" in message


def test_a_condition_keeps_the_moment_of_its_last_change():
    p = policy(windows=[NIGHT])
    first = shown(p)
    later = shown(p, now=utc("2026-12-05T13:00"), old=first)
    assert later == first


def test_operator_down_all_window():
    """A missed window is found from the statuses, also after a restart."""
    p = policy(windows=[NIGHT])
    waited = member("waited", held_since=utc("2026-12-04T00:00"))
    late = member("late", held_since=utc("2026-12-05T03:00"))
    assert missed_window(p, [waited, late], NOW) == (utc("2026-12-05T06:00"), [waited])
    assert missed_window(p, [late], NOW) is None
    assert missed_window(p, [waited], utc("2026-12-06T03:00")) is None  # the window is open now
    status = shown(p, waited)
    assert status.window_missed == utc("2026-12-05T06:00")
    assert shown(p, late, old=status).window_missed == status.window_missed


def test_only_opposite_orders_of_two_policies_are_a_wave_cycle():
    a, b, c = ({"matchLabels": {"wave": wave}} for wave in "abc")
    one = policy(waves=[{"name": "x", "selector": a}, {"name": "y"}])
    other = cluster_policy(
        waves=[{"name": "x", "selector": a}, {"name": "y", "selector": c}, {"name": "z"}]
    )
    agree = [member(name, labels={"wave": name}) for name in "abc"]
    assert "WaveCycle" not in conditions(shown(one, *agree, others=[other]))
    turned = cluster_policy("turned", waves=[{"name": "x", "selector": b}, {"name": "y"}])
    told = conditions(shown(one, *agree, others=[other, turned]))["WaveCycle"][1]
    assert told.startswith("a goes before b here, and after it in cluster policy turned")


def test_engines_alike_are_looked_at_once_and_their_labels_compared_once(monkeypatch):
    """Each status of each policy pays for these comparisons."""
    compared = []
    real = policies_module.matches

    def matches(selector, labels):
        compared.append(selector)
        return real(selector, labels)

    monkeypatch.setattr(policies_module, "matches", matches)
    waves = [{"name": "x", "selector": {"matchLabels": {"wave": "a"}}}, {"name": "y"}]
    some = [policy(name=f"p{n}", waves=waves) for n in range(20)]
    members = [member(f"e{n}", labels={"wave": "ab"[n % 2], "app": f"e{n}"}) for n in range(100)]
    f = fleet(*members, policies=some, now=NOW)
    policy_status(some[0], f, PolicyStatus())
    assert len({f.selection(m) for m in members}) == 2
    compared.clear()
    for p in some:
        policy_status(p, f, PolicyStatus())
    policy_status(some[0], Fleet(members, f.policies, NOW), PolicyStatus())
    assert compared == []
