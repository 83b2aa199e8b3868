"""Which policies the real API server accepts, and its messages for the others."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from cse_operator.cli.manifests import read_text
from cse_operator.cli.planning.policy_checks import refusal_of_policy
from support.kubectl import Kubectl
from support.policies import policy_manifest

CRON = ": write five cron fields in upper case, such as 0 2 * * SAT; minute and hour are numbers"
MOST_WORDS = 600
"""Characters of a refusal: a long pattern would hide what is wrong."""
ZONE = ": use UTC or an IANA name such as Asia/Shanghai"


def window(**changes: Any) -> dict[str, Any]:
    return {"name": "night", "schedule": "0 2 * * SAT", "duration": "4h"} | changes


def freeze(start: str, end: str) -> dict[str, Any]:
    return {"freezes": [{"from": start, "to": end}]}


def wave(**changes: Any) -> dict[str, Any]:
    return {"name": "canary"} | changes


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (
        "zone_typo",
        {"windows": [window(timeZone="Asia/Shangai")]},
        f"Shangai evaluating rule{ZONE}",
    ),
    ("zone_local", {"windows": [window(timeZone="Local")]}, f'"Local"{ZONE}'),
    ("zone_posix", {"windows": [window(timeZone="posix/Asia/Shanghai")]}, ZONE),
    ("zone_offset", {"windows": [window(timeZone="+08:00")]}, f'"+08:00"{ZONE}'),
    ("six_fields", {"windows": [window(schedule="0 0 2 * * SAT")]}, f'"0 0 2 * * SAT"{CRON}'),
    ("at_weekly", {"windows": [window(schedule="@weekly***")]}, f'"@weekly***"{CRON}'),
    ("cron_tz_prefix", {"windows": [window(schedule="CRON_TZ=UTC 0 2 * * SAT")]}, CRON),
    ("every_hour", {"windows": [window(schedule="0 * * * SAT")]}, f'"0 * * * SAT"{CRON}'),
    ("every_minute", {"windows": [window(schedule="* 2 * * SAT")]}, f'"* 2 * * SAT"{CRON}'),
    ("every_other_minute", {"windows": [window(schedule="*/2 2 * * SAT")]}, CRON),
    ("lower_case", {"windows": [window(schedule="0 2 * * sat")]}, f'"0 2 * * sat"{CRON}'),
    ("both_days", {"windows": [window(schedule="0 2 1-7 * SAT")]}, "or the day of week"),
    ("no_duration", {"windows": [{"name": "a", "schedule": "0 2 * * SAT"}]}, "duration: Required"),
    ("too_short", {"windows": [window(duration="4m")]}, "from 5m to 168h"),
    ("too_long", {"windows": [window(duration="169h")]}, "from 5m to 168h"),
    ("days", {"windows": [window(duration="1d")]}, "duration"),
    ("cutoff_of_all", {"windows": [window(cutoff="4h")]}, "cutoff must be shorter"),
    ("no_windows", {"windows": []}, "spec.windows"),
    ("two_of_a_name", {"windows": [window(), window(duration="5h")]}, "Duplicate value"),
    (
        "freeze_for_ever",
        freeze("2026-12-20T00:00:00Z", "2200-01-01T00:00:00Z"),
        "before the year 2200",
    ),
    ("date_without_zone", freeze("2026-12-20", "2027-01-05T00:00:00Z"), "date-time"),
    ("backwards", freeze("2027-01-05T00:00:00Z", "2026-12-20T00:00:00Z"), "from must be before to"),
    ("approval", {"approval": "Perhaps"}, "spec.approval"),
    ("no_engine_at_all", {"maxConcurrent": 0}, "spec.maxConcurrent"),
    ("less_than_none", {"maxFailures": -1}, "spec.maxFailures"),
    ("two_waves_of_a_name", {"waves": [wave(), wave(soak="1h")]}, "Duplicate value"),
    ("long_soak", {"waves": [wave(soak="721h")]}, "at most 720h"),
    (
        "in_without_values",
        {"selector": {"matchExpressions": [{"key": "tier", "operator": "In"}]}},
        "In and NotIn need values",
    ),
    (
        "exists_with_values",
        {"selector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
        "In and NotIn need values",
    ),
    (
        "operator_of_nobody",
        {"selector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}},
        "operator",
    ),
    ("misspelt", {"maxConcurent": 2}, 'unknown field "spec.maxConcurent"'),
    ("namespaces_of_others", {"namespaceSelector": {}}, 'unknown field "spec.namespaceSelector"'),
]


@pytest.mark.parametrize(("spec", "said"), [pytest.param(s, t, id=i) for i, s, t in REFUSED])
def test_what_a_schema_can_refuse_is_refused_with_a_sentence(
    kubectl: Kubectl, namespace: str, spec: dict[str, Any], said: str
) -> None:
    manifest = yaml.safe_dump(policy_manifest(namespace, **spec))
    result = kubectl.run("create", "--dry-run=server", "-f", "-", stdin=manifest)
    assert result.returncode != 0
    assert said in result.stderr
    assert len(result.stderr) < MOST_WORDS


@pytest.mark.parametrize("spec", [pytest.param(spec, id=name) for name, spec, _ in REFUSED])
def test_what_the_api_server_refuses_a_plan_refuses(spec: dict[str, Any]) -> None:
    [manifest] = read_text(yaml.safe_dump(policy_manifest("payments", **spec)))
    assert refusal_of_policy(manifest) is not None


def test_a_policy_with_all_that_there_is_comes_in_at_its_largest(
    kubectl: Kubectl, namespace: str
) -> None:
    labels = {f"label-{n}": "x" * 63 for n in range(32)}
    requirements = [
        {"key": f"key-{n}", "operator": "In", "values": [f"v{v}" for v in range(64)]}
        for n in range(32)
    ]
    selector = {"matchLabels": labels, "matchExpressions": requirements}
    spec = {
        "selector": selector,
        "suspend": True,
        "approval": "Manual",
        "approvedVersions": [f"2.4.{n}" for n in range(64)],
        "windows": [window(name=f"w{n}", cutoff="1h", timeZone="Asia/Shanghai") for n in range(16)],
        "freezes": [
            {"from": "2026-12-20T00:00:00Z", "to": f"2027-01-05T00:{n:02}:00+08:00", "reason": "x"}
            for n in range(60)
        ],
        "maxConcurrent": 2,
        "waves": [wave(name=f"w{n}", selector=selector, soak="30m") for n in range(16)],
        "maxFailures": 0,
    }
    assert_it_comes_in(kubectl, policy_manifest(namespace, **spec))


@pytest.mark.parametrize(
    "schedule", ["0,30 2-4,22 * * 1-5", "5 0 L * *", "0 2 1,15 JAN-MAR *", "0 2 * * SAT#1"]
)
def test_cron_that_says_fixed_minutes_and_hours_comes_in(
    kubectl: Kubectl, namespace: str, schedule: str
) -> None:
    assert_it_comes_in(kubectl, policy_manifest(namespace, windows=[window(schedule=schedule)]))


def assert_it_comes_in(kubectl: Kubectl, manifest: dict[str, Any]) -> None:
    written = yaml.safe_dump(manifest)
    kubectl("create", "--dry-run=server", "-f", "-", stdin=written)
    [read] = read_text(written)
    assert refusal_of_policy(read) is None
