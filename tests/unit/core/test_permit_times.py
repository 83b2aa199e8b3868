"""Windows, zones, freezes, approval: each edge case of the rules under its own name."""

from __future__ import annotations

import random
import time as clock
from datetime import UTC, datetime, timedelta

import pytest
from cronsim import CronSim

from cse_operator.core.permit import ALLOWED, permit
from cse_operator.core.policies import MOST_LOOKS, PolicySet, read_policy
from cse_operator.core.windows import NOT_KNOWN, next_common_opening
from cse_operator.core.zones import TZDATA
from support.policies import ask, cluster_policy, fleet, held, member, policy, policy_manifest, utc


def windows(schedule: str, duration: str, zone: str = "UTC", **more):
    window = {"name": "w", "schedule": schedule, "duration": duration, "timeZone": zone}
    return [window | more]


def gate(schedule: str, duration: str, zone: str = "UTC", **more):
    made = policy(windows=windows(schedule, duration, zone, **more))
    assert made.invalid is None, made.invalid
    return made.windows


def starts(opening, begin: datetime, days: int) -> list[datetime]:
    found, at = [], begin
    while (at := opening.next_start(at)) is not None and at < begin + timedelta(days=days):
        found.append(at)
    return found


# -- clocks that change --------------------------------------------------------------------------


def test_spring_0230_new_york():
    """02:30 does not exist on 8 March 2026: it opens at 03:00 EDT, once."""
    w = gate("30 2 * * *", "1h", "America/New_York")
    assert starts(w.openings[0], utc("2026-03-08T00:00"), 1) == [utc("2026-03-08T07:00")]
    assert w.at(utc("2026-03-08T07:00")).open
    assert not w.at(utc("2026-03-08T06:59")).open


def test_autumn_0130_new_york():
    """01:30 comes twice on 1 November 2026: it opens at the first one only."""
    w = gate("30 1 * * *", "30m", "America/New_York")
    assert starts(w.openings[0], utc("2026-11-01T00:00"), 1) == [utc("2026-11-01T05:30")]
    assert not w.at(utc("2026-11-01T06:30")).open


def test_repeated_hour_before_wall_start():
    """At the second 01:15 (EST) the window of 01:30 EDT is open, and the next is tomorrow."""
    w = gate("30 1 * * *", "1h", "America/New_York")
    at = utc("2026-11-01T06:15")
    assert w.at(at).open
    assert w.openings[0].last_start(at) == utc("2026-11-01T05:30")
    assert w.openings[0].next_start(at) == utc("2026-11-02T06:30")


def test_lord_howe_0215_and_havana_midnight():
    """The clock changes by half an hour, or at midnight: the window opens right after the gap."""
    lord_howe = gate("15 2 * * *", "1h", "Australia/Lord_Howe").openings[0]
    assert starts(lord_howe, utc("2026-10-03T12:00"), 1) == [utc("2026-10-03T15:30")]
    havana = gate("0 0 * * *", "1h", "America/Havana").openings[0]
    assert starts(havana, utc("2026-03-08T00:00"), 1) == [utc("2026-03-08T05:00")]


def test_night_window_over_the_change():
    """Eight hours are eight elapsed hours, even in a night of nine."""
    w = gate("0 22 * * *", "8h", "America/New_York")
    period = w.at(utc("2026-11-01T04:00"))
    assert (period.open, period.until) == (True, utc("2026-11-01T10:00"))


def test_friday_2200_4h():
    w = gate("0 22 * * FRI", "4h")
    assert w.at(utc("2026-12-05T01:00")).open  # a Saturday
    assert not w.at(utc("2026-12-04T01:00")).open


def test_edges():
    w = gate("0 2 * * *", "4h")
    assert w.at(utc("2026-12-05T02:00")).open
    assert not w.at(utc("2026-12-05T06:00")).open
    assert not w.at(utc("2026-12-05T02:00") - timedelta(microseconds=1)).open


def test_a_random_walk_agrees_with_a_scan_of_each_minute():
    """The starts by cronsim are those of the wall clock, also where clocks change."""
    chance = random.Random(16)
    for zone in ("America/New_York", "Australia/Lord_Howe", "Europe/Berlin", "America/Havana"):
        opening = gate("45 1,3 * * *", "2h", zone).openings[0]
        begin = utc("2026-10-20T00:00") if "A" in zone else utc("2026-03-01T00:00")
        known = starts(opening, begin - timedelta(days=2), 30)
        for _ in range(60):
            at = begin + timedelta(minutes=chance.randrange(20 * 24 * 60))
            assert opening.last_start(at) == max(s for s in known if s <= at)
            assert opening.next_start(at) == min(s for s in known if s > at)


# -- shapes --------------------------------------------------------------------------------------


def test_overlapping_or_adjacent_windows():
    both = [*windows("0 2 * * *", "4h"), *windows("0 5 * * *", "4h", name="v")]
    both += windows("0 9 * * *", "1h", name="x")
    period = policy(windows=both).windows.at(utc("2026-12-05T03:00"))
    assert (period.open, period.until) == (True, utc("2026-12-05T10:00"))


def test_daily_24h():
    w = gate("0 0 * * *", "24h")
    period = w.at(utc("2026-12-05T03:00"))
    assert (period.open, period.until) == (True, None)


@pytest.mark.parametrize(
    "schedule",
    [
        pytest.param("0 2 30 2 *", id="february_30"),
        pytest.param("0 2 * * FRI-SUN", id="fri_to_sun"),
        pytest.param("0 0 2 * * SAT", id="six_fields"),
        pytest.param("@weekly", id="at_weekly"),
        pytest.param("CRON_TZ=UTC 0 2 * * *", id="cron_tz_prefix"),
    ],
)
def test_a_stored_schedule_that_cannot_be_evaluated_is_policy_invalid(schedule):
    stored = policy(windows=windows(schedule, "4h"))
    assert stored.invalid is not None
    assert "windows" in stored.invalid
    assert ask(member(), stored, now=utc("2026-12-05T03:00")) == ["PolicyInvalid"]


@pytest.mark.parametrize(
    "zone",
    [
        pytest.param("Asia/Shangai", id="zone_typo"),
        pytest.param("Local", id="local"),
        pytest.param("posix/Asia/Shanghai", id="posix"),
        pytest.param("+08:00", id="offset"),
    ],
)
def test_a_stored_zone_that_is_none_is_policy_invalid(zone):
    stored = policy(windows=windows("0 2 * * *", "4h", zone))
    assert ask(member(), stored, now=utc("2026-12-05T03:00")) == ["PolicyInvalid"]


def test_zone_the_operator_does_not_know():
    stored = policy(windows=windows("0 2 * * *", "4h", "Mars/Olympus"))
    assert stored.invalid is not None
    assert "Mars/Olympus" in stored.invalid
    assert TZDATA in stored.invalid


def test_unknown_enum_of_newer_crd():
    for spec in ({"approval": "FourEyes"}, {"override": True}, {"maxConcurrent": "25%"}):
        stored = policy(**spec)
        assert stored.invalid is not None
        assert stored.invalid.startswith("spec.")
        assert ask(member(), stored, now=utc("2026-12-05T03:00")) == ["PolicyInvalid"]


def test_cutoff_reached():
    p = policy(windows=windows("0 2 * * SAT", "4h", "Asia/Shanghai", cutoff="1h"))
    assert ask(member(), p, now=utc("2026-12-04T20:59")) == []
    answer = held(member(), p, now=utc("2026-12-04T21:00"))
    assert answer.reason == "OutsideWindow"
    assert "opens 2026-12-12 02:00 Asia/Shanghai (2026-12-11T18:00:00Z)" in answer.text
    assert "policy production" in answer.text
    assert answer.until == utc("2026-12-11T18:00")


def test_operator_back_inside_window():
    p = policy(windows=windows("0 2 * * SAT", "4h"))
    assert ask(member(), p, now=utc("2026-12-05T05:59")) == []


def test_clock_steps_back_or_vm_sleeps():
    """A gate's cached state holds between two moments only."""
    w = gate("0 2 * * *", "4h")
    for at, is_open in (("03:00", True), ("01:00", False), ("05:00", True), ("07:00", False)):
        assert w.at(utc(f"2026-12-05T{at}")).open is is_open
    assert w.at(utc("2026-12-05T03:00")).open


def test_a_window_of_weekdays_is_closed_at_the_weekend():
    w = gate("0 0 * * 1-5", "24h")
    assert w.at(utc("2026-12-04T12:00")).until == utc("2026-12-05T00:00")
    assert not w.at(utc("2026-12-05T12:00")).open


# -- freezes -------------------------------------------------------------------------------------

CHRISTMAS = {"from": "2026-12-20T00:00:00Z", "to": "2027-01-05T00:00:00Z", "reason": "year end"}


def test_freeze_inside_window():
    p = policy(windows=windows("0 2 * * *", "4h"), freezes=[CHRISTMAS])
    answer = held(member(), p, now=utc("2026-12-21T03:00"))
    assert answer.reason == "ChangeFreeze"
    assert "year end" in answer.text
    assert answer.until == utc("2027-01-05T02:00")


def test_freezes_overlap():
    again = {"from": "2027-01-04T00:00:00+08:00", "to": "2027-01-10T00:00:00+08:00"}
    p = policy(freezes=[again, CHRISTMAS])
    assert held(member(), p, now=utc("2026-12-21T03:00")).until == utc("2027-01-09T16:00")
    assert ask(member(), p, now=utc("2027-01-09T16:00")) == []


def test_the_reason_of_a_freeze_is_shown_in_one_line():
    """It stands in conditions, Events and logs, where a line of a tenant's could be forged."""
    written = "sale\n2026-12-24 ERROR payments/prod: deleted\x1b[31m \u202e"
    p = policy(freezes=[{"from": CHRISTMAS["from"], "to": CHRISTMAS["to"], "reason": written}])
    at = utc(CHRISTMAS["from"].removesuffix(":00Z")) + timedelta(hours=1)
    assert p.freezes.reason_at(at) == "sale 2026-12-24 ERROR payments/prod: deleted [31m  "


def test_freeze_begins_while_job_runs():
    """A running job is followed (the core's table); the freeze holds an automatic retry."""
    p = policy(freezes=[CHRISTMAS])
    failed = member(reason="UpgradeFailed", retry_requested=True)
    assert ask(failed, p, now=utc("2026-12-21T03:00")) == ["ChangeFreeze"]


def test_windows_never_meet():
    a = policy(windows=windows("0 2 * * *", "1h"))
    b = cluster_policy(windows=windows("0 5 * * *", "1h"))
    answer = held(member(), a, b, now=utc("2026-12-05T02:30"))
    assert {hold.reason for hold in answer.holds} == {"NeverOpens"}
    assert "policy production and cluster policy cluster" in answer.text
    assert answer.until is None


def test_the_next_common_opening_is_the_first_moment_at_which_all_are_open():
    chance = random.Random(5)
    for _ in range(25):
        gates = [
            gate(
                f"{chance.choice((0, 30))} {chance.randrange(24)} * * *",
                f"{chance.randrange(1, 9)}h",
                chance.choice(("UTC", "America/New_York", "Asia/Shanghai")),
            )
            for _ in range(2)
        ]
        now = utc("2026-10-30T00:00") + timedelta(minutes=30 * chance.randrange(100))
        found = next_common_opening(gates, now, MOST_LOOKS)[0].at
        steps = (now + timedelta(minutes=30 * n) for n in range(48 * 5))
        by_scan = next((t for t in steps if all(g.at(t).open for g in gates)), None)
        if by_scan is not None:
            assert found == by_scan
        else:
            assert found is None or found > now + timedelta(days=4)


HOURLY = "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23"


@pytest.fixture
def looks(monkeypatch):
    """Count the evaluations of schedules, the only part of a search that takes time."""
    counted = [0]

    class Counted(CronSim):
        def __init__(self, *args, **more):
            counted[0] += 1
            super().__init__(*args, **more)

    monkeypatch.setattr("cse_operator.core.windows.CronSim", Counted)
    return counted


def never_met(name: str):
    """Return a policy whose windows never meet those at each full hour."""
    return policy(name=name, windows=windows(f"30 {HOURLY} * * *", "10m"))


def test_a_search_for_windows_that_never_meet_is_bounded(looks):
    """Two small policies do not keep the process busy: the common opening counts as unknown."""
    one = policy(windows=windows(f"0 {HOURLY} * * *", "10m"))
    other = cluster_policy(windows=windows(f"30 {HOURLY} * * *", "10m"))
    looks[0] = 0
    answer = held(member(), one, other, now=utc("2026-12-05T12:15"))
    assert {hold.reason for hold in answer.holds} == {"OutsideWindow"}
    assert answer.until is None
    assert "at an unknown time" in answer.text
    assert looks[0] < 2_100


def test_edits_of_policies_that_never_meet_do_not_keep_the_process_busy(looks):
    """Each edit, sweep and step has its own moment; the looks of all are bounded together."""
    others = [never_met(f"p{n}") for n in range(99)]
    before = PolicySet()
    now = utc("2026-12-05T12:15")
    looks[0] = 0
    began = clock.thread_time()
    for second in range(8):
        one = policy(windows=windows(f"0 {HOURLY} * * *", f"1{second}m"))
        policies = PolicySet((one, *others))
        policies.remember(before)
        for n, other in enumerate(others):
            at = now + timedelta(seconds=second, milliseconds=n)
            assert policies.opens_at((one, other), at).at is None
        before = policies
    assert looks[0] <= MOST_LOOKS + 8  # the check of each new schedule is one more
    assert clock.thread_time() - began < 2.0


def test_schedules_that_are_slow_to_evaluate_do_not_keep_the_process_busy():
    """The next fifth Monday of a February is in 2044, and is looked for once."""
    rare = [
        window for n in range(15) for window in windows(f"{n} 2 * 2 MON#5", "1h", name=f"rare-{n}")
    ]
    one = policy(windows=[*windows(f"0 {HOURLY} * * *", "10m"), *rare])
    other = never_met("other")
    began = clock.thread_time()
    assert PolicySet((one, other)).opens_at((one, other), utc("2026-12-05T12:15")) == NOT_KNOWN
    assert clock.thread_time() - began < 0.5


def test_a_search_that_others_left_few_looks_is_repeated_ten_seconds_later():
    one = policy(windows=windows(f"0 {HOURLY} * * *", "10m"))
    others = [never_met(f"p{n}") for n in range(6)]
    policies = PolicySet((one, *others))
    now = utc("2026-12-05T12:15")
    for other in others:
        assert policies.opens_at((one, other), now) == NOT_KNOWN
    assert list(policies._openings) == [(one, others[0])]
    policies.opens_at((one, others[5]), now + timedelta(seconds=9))
    assert len(policies._openings) == 1
    policies.opens_at((one, others[5]), now + timedelta(seconds=10))
    assert list(policies._openings) == [(one, others[0]), (one, others[5])]


def test_a_short_search_still_finds_the_opening_after_long_ones():
    one = policy(windows=windows(f"0 {HOURLY} * * *", "10m"))
    others = [never_met(f"p{n}") for n in range(6)]
    weekly = cluster_policy(windows=windows("0 2 * * SAT", "1h"))
    policies = PolicySet((one, *others, weekly))
    now = utc("2026-12-05T12:15")
    for other in others:
        policies.opens_at((one, other), now)
    assert policies.opens_at((one, weekly), now).at == utc("2026-12-12T02:00")


def test_windows_that_meet_seldom_are_found():
    """A weekly and a monthly window meet when the first day of a month is a Saturday."""
    weekly = policy(windows=windows("0 2 * * SAT", "1h"))
    monthly = cluster_policy(windows=windows("0 2 1 * *", "1h"))
    daily = cluster_policy("daily", windows=windows("0 0 * * *", "3h"))
    now = utc("2026-12-05T12:15")
    answer = held(member(), weekly, monthly, daily, now=now)
    assert answer.until == utc("2027-05-01T02:00")


def test_a_search_result_survives_a_new_list_of_policies():
    one, other = policy(windows=windows("0 2 * * *", "1h")), policy(name="other")
    before, after = PolicySet((one, other)), PolicySet((one,))
    for asked in ((one,), (one, other)):
        before.opens_at(asked, NOON)
    after.remember(before)
    assert list(after._openings) == [(one,)]


def test_windows_of_minutes_are_refused():
    assert "more than 24 times a day" in (
        policy(windows=windows(f"0,10,20,30,40,50 {HOURLY} * * *", "5m")).invalid or ""
    )
    assert "more than 24 times" in (
        policy(windows=windows("0,20,40 1-9 * * *", "5m")).invalid or ""
    )


# -- approval ------------------------------------------------------------------------------------

NOON = datetime(2026, 12, 5, 12, tzinfo=UTC)


def test_approval_of_other_version():
    answer = held(member(approved="2.3.5"), policy(approval="Manual"), now=NOON)
    assert answer.reason == "ApprovalRequired"
    assert "2.4.0" in answer.text
    assert "2.3.5" in answer.text


def test_a_missing_approval_says_how_to_give_it():
    answer = held(member(), policy(name="ask-a-person", approval="Manual"), now=NOON)
    assert answer.text == (
        "policy ask-a-person asks for an approval of 2.4.0: set the annotation"
        " cse-operator.io/approved-version to 2.4.0, or list it in the policy's approvedVersions"
    )


def test_raised_after_approval():
    raised = member(wanted="2.5.0", approved="2.4.0")
    assert ask(raised, policy(approval="Manual"), now=NOON) == ["ApprovalRequired"]


def test_approval_withdrawn_before_start():
    manual = policy(approval="Manual")
    assert ask(member(approved="2.4.0"), manual, now=NOON) == []
    assert ask(member(approved=None), manual, now=NOON) == ["ApprovalRequired"]


@pytest.mark.parametrize("approved", ["v2.4.0", "2.4.0 ", " 2.4.0", "2.4", ""])
def test_approval_v2_5_0_or_blank_after(approved):
    assert ask(member(approved=approved), policy(approval="Manual"), now=NOON) == [
        "ApprovalRequired"
    ]


def test_a_version_that_the_policy_approves_is_approved_for_all_that_it_selects():
    one = policy(approval="Manual", approvedVersions=["2.4.0"])
    other = cluster_policy(approval="Manual")
    assert ask(member(), one, now=NOON) == []
    assert ask(member(), one, other, now=NOON) == ["ApprovalRequired"]


# -- policies that go wrong ----------------------------------------------------------------------


def test_a_suspended_policy_holds_what_it_selects():
    assert ask(member(), policy(suspend=True), now=NOON) == ["PolicySuspended"]


def test_policy_invalid_midway():
    """An invalid policy holds the engines that it selects, and no others."""
    selector = {"matchLabels": {"tier": "production"}}
    broken = policy(selector=selector, approval="FourEyes")
    assert ask(member(labels={"tier": "production"}), broken, now=NOON) == ["PolicyInvalid"]
    assert ask(member(), broken, now=NOON) == []


def test_selector_unreadable():
    """A policy with an unreadable selector holds its whole scope: the namespace, or the cluster."""
    broken = {"matchExpressions": [{"key": "tier", "operator": "Near"}]}
    in_namespace, of_cluster = policy(selector=broken), cluster_policy(selector=broken)
    assert ask(member(), in_namespace, now=NOON) == ["PolicyInvalid"]
    assert ask(member(namespace="other"), in_namespace, now=NOON) == []
    assert ask(member(namespace="other"), of_cluster, now=NOON) == ["PolicyInvalid"]


@pytest.mark.parametrize("why", ["policies_403", "policies_404", "first_list_pending"])
def test_policies_that_are_not_known_hold_everything(why):
    assert ask(member(), now=NOON, unknown=why) == ["PoliciesUnknown"]
    assert why in held(member(), now=NOON, unknown=why).text


def test_label_removed_with_require_policy():
    selecting = policy(selector={"matchLabels": {"tier": "production"}})
    labelled = member(labels={"tier": "production"})
    assert ask(labelled, selecting, now=NOON, required=True) == []
    assert ask(member(), selecting, now=NOON, required=True) == ["NoPolicy"]
    assert ask(member(), selecting, now=NOON) == []


def test_namespace_labels_unknown():
    production = cluster_policy(namespaceSelector={"matchLabels": {"tier": "production"}})
    assert ask(member(), production, now=NOON) == ["PoliciesUnknown"]
    assert ask(member(), production, now=NOON, namespaces={"payments": {}}) == []
    labels = {"payments": {"tier": "production"}}
    suspended = cluster_policy(suspend=True, namespaceSelector={"matchLabels": labels["payments"]})
    assert ask(member(), suspended, now=NOON, namespaces=labels) == ["PolicySuspended"]


def test_all_holds_are_told_and_the_first_of_the_order_is_shown():
    p = policy(
        suspend=True,
        approval="Manual",
        windows=windows("0 2 * * *", "1h"),
        freezes=[{"from": "2026-12-05T00:00:00Z", "to": "2026-12-06T00:00:00Z"}],
    )
    answer = held(member(), p, now=NOON)
    told = [hold.reason.value for hold in answer.holds]
    assert told == ["PolicySuspended", "ChangeFreeze", "ApprovalRequired", "OutsideWindow"]
    assert answer.until is None  # the time of the approval is unknown


def test_with_no_policy_and_none_required_everything_may_start():
    assert permit(member(), fleet(member(), policies=(), now=NOON)) is ALLOWED


def test_a_policy_without_a_spec_is_invalid():
    obj = policy_manifest("payments")
    obj["metadata"]["uid"] = "1"
    del obj["spec"]
    assert read_policy(obj).invalid is not None
