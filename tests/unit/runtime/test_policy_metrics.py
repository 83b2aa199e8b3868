"""A scrape shows the figures that were computed for the policies' statuses, and computes none."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from cse_operator.api.policy import PolicyStatus
from cse_operator.core.policies import Policy, PolicySet
from cse_operator.core.policy_status import policy_status
from cse_operator.runtime.policy_metrics import PolicyMetrics
from support.policies import failed, fleet, member, policy, utc

NOW = utc("2026-12-05T12:00")
FREEZE = {"from": "2026-12-05T00:00:00Z", "to": "2026-12-06T00:00:00Z"}
FIRST = policy(name="first", freezes=[FREEZE], maxFailures=0, maxConcurrent=3)
SECOND = policy(name="second")


def values(shown: dict[Policy, PolicyStatus], *, leading: bool = True) -> dict[Any, float]:
    """The samples by their metric, policy and state."""
    nobody: Any = ()
    metrics = PolicyMetrics(
        lambda: PolicySet((FIRST, SECOND)),
        shown.get,
        nobody,
        lambda: leading,
        resource_limit=10,
        clock=lambda: NOW,
    )
    registry = CollectorRegistry()
    registry.register(metrics)
    metrics.prepare()
    return {
        (sample.name.removeprefix("cse_operator_policy_"), *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_the_figures_of_a_policy_are_those_of_its_status() -> None:
    members = [failed("a"), member("b", held_since=NOW), member("c", in_flight=True)]
    status = policy_status(FIRST, fleet(*members, policies=[FIRST], now=NOW), PolicyStatus())
    found = values({FIRST: status})
    named = ("UpgradePolicy", "payments", "first")
    assert found["gate_open", *named] == 0
    assert found["freeze_ends_timestamp_seconds", *named] == utc("2026-12-06T00:00").timestamp()
    assert found["next_open_timestamp_seconds", *named] == utc("2026-12-06T00:00").timestamp()
    assert found["failures_exceeded", *named] == 1
    assert (found["in_flight", *named], found["limit", *named]) == (1, 3)
    states = {state: found["engines", *named, state] for state in ("selected", "failed", "waiting")}
    assert states == {"selected": 3, "failed": 1, "waiting": 1}


def test_a_policy_without_a_status_shows_nothing_and_hides_no_other() -> None:
    """Its status could not be computed: the scrape neither fails for that nor tries again."""
    found = values({SECOND: PolicyStatus(gate="Open")})
    assert {name[3] for name in found} == {"second"}
    assert found["gate_open", "UpgradePolicy", "payments", "second"] == 1


def test_a_standby_shows_none() -> None:
    assert values({SECOND: PolicyStatus(gate="Open")}, leading=False) == {}
