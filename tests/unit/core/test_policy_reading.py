"""Reading a stored policy, whatever the API server has let in."""

from __future__ import annotations

from typing import Any

import pytest

from cse_operator.api.policy import PolicyStatus
from cse_operator.core.policy_status import policy_status
from support.policies import ask, fleet, member, policy, utc

NOW = utc("2026-12-05T12:00")


def freeze(start: str, end: str) -> dict[str, Any]:
    return {"from": start, "to": end}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (
            {"freezes": [freeze("9999-12-31T23:00:00-12:00", "9999-12-31T23:30:00-12:00")]},
            "is no moment in UTC",
        ),
        (
            {"freezes": [freeze("2026-12-20T00:00:00Z", "2200-01-01T00:00:00Z")]},
            "to must be before the year 2200",
        ),
        (
            {"freezes": [freeze("2026-12-20T00:00:00Z", "2026-12-20T00:00:00Z")]},
            "from must be before to",
        ),
        (
            {"selector": {"matchExpressions": [{"key": "tier", "operator": "In"}]}},
            "In and NotIn need values",
        ),
        (
            {"windows": [{"name": "w", "schedule": "0 2 1 * SAT", "duration": "1h"}]},
            "the day of month or of week, not both",
        ),
    ],
)
def test_a_stored_policy_that_a_newer_rule_refuses_is_invalid(
    spec: dict[str, Any], why: str
) -> None:
    """The policy holds the engines that it selects, and its status can be written."""
    made = policy(**spec)
    assert why in (made.invalid or "")
    assert ask(member(), made, now=NOW) == ["PolicyInvalid"]
    status = policy_status(made, fleet(member(), policies=[made], now=NOW), PolicyStatus())
    assert status.model_dump(mode="json")["gate"] == "Closed"


def test_the_moments_of_a_freeze_are_compared_and_shown_in_utc() -> None:
    made = policy(freezes=[freeze("2026-12-06T08:00:00+08:00", "2026-12-07T08:00:00+08:00")])
    period = made.freezes.at(utc("2026-12-06T00:00"))
    assert (period.open, period.until) == (False, utc("2026-12-07T00:00"))
