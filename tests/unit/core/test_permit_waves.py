"""Waves, soak and failures: each edge case of the rules under its own name."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from cse_operator.api.upgrade_record import Result
from cse_operator.core.waves import rollout
from support.policies import ask, cluster_policy, done, failed, held, member, policy, utc

NOW = utc("2026-12-05T12:00")
CANARY = {"wave": "canary"}
WAVES = [{"name": "canary", "selector": {"matchLabels": CANARY}}, {"name": "rest"}]
SOAKING = [WAVES[0] | {"soak": "30m"}, WAVES[1]]
WAVE, SOAK, FAILURES = ["WaitingForWave"], ["Soaking"], ["FailuresExceeded"]


def minutes_ago(minutes: int):
    return NOW - timedelta(minutes=minutes)


def rest_is(canary, *others, waves=WAVES, now=NOW, **spec):
    """Return the reasons that hold an engine of the last wave, with this canary."""
    return ask(member(), policy(waves=waves, **spec), now=now, others=[canary, *others])


# -- order ---------------------------------------------------------------------------------------


def test_all_raised_production_event_first():
    """One commit upgrades all; production's event comes first, but only the canary may start."""
    canary = member("canary", labels=CANARY)
    assert rest_is(canary) == WAVE
    assert ask(canary, policy(waves=WAVES), now=NOW, others=[member()]) == []


def test_only_production_raised():
    canary = done("canary", version="2.3.0", labels=CANARY)
    answer = held(member(), policy(waves=WAVES), now=NOW, others=[canary])
    assert answer.reason == "WaitingForWave"
    assert "canary" in answer.text


def test_the_rest_goes_when_the_canary_is_there():
    assert rest_is(done(labels=CANARY)) == []


def test_canary_of_other_type_only():
    """An empty wave passes; the policy's status warns of it."""
    nacos = member("nacos", labels=CANARY, type="Nacos", wanted="2.1.0.16", current="2.1.0.1")
    assert rest_is(nacos) == []


def test_what_is_in_no_wave_comes_last():
    waves = [WAVES[0], {"name": "half", "selector": {"matchLabels": {"wave": "half"}}}]
    labels = {"wave": "half"}
    half = member("half", labels=labels)
    assert rest_is(done(labels=CANARY), half, waves=waves) == WAVE
    assert rest_is(done(labels=CANARY), done("half", labels=labels), waves=waves) == []


def test_engine_added_to_passed_wave():
    """A new engine in an earlier wave holds the later waves until it is done and has soaked."""
    old = done("old", labels=CANARY)
    assert rest_is(old, member("new", labels=CANARY), waves=SOAKING) == WAVE
    fresh = done("new", labels=CANARY, ready_since=minutes_ago(10))
    assert rest_is(old, fresh, waves=SOAKING) == SOAK
    soaked = done("new", labels=CANARY, ready_since=minutes_ago(30))
    assert rest_is(old, soaked, waves=SOAKING) == []


def test_engine_removed_or_relabelled_midway():
    """An engine that is no canary any more holds no other; a running upgrade is not asked."""
    assert rest_is(member("canary", labels=CANARY)) == WAVE
    assert rest_is(member("canary")) == []
    selected = {"selector": {"matchLabels": {"tier": "production"}}}
    orders = member(labels={"tier": "production"})
    p = policy(waves=WAVES, **selected)
    assert ask(orders, p, now=NOW, others=[member("canary", labels=CANARY)]) == []


def test_canary_suspended():
    assert rest_is(member("canary", labels=CANARY, suspended=True)) == []
    assert rest_is(member("canary", labels=CANARY, deleting=True)) == []


@pytest.mark.parametrize(
    "state",
    [
        pytest.param({"type": None, "current": None, "engine_status": None}, id="never_observed"),
        pytest.param({"reason": "EngineNotFound"}, id="engine_not_found"),
        pytest.param({"reason": "CloudUnavailable"}, id="canary_unreachable"),
    ],
)
def test_canary_unreachable(state):
    canary = member("canary", labels=CANARY, **state)
    answer = held(member(), policy(waves=WAVES), now=NOW, others=[canary])
    assert answer.reason == "WaitingForWave"
    assert "waits for canary" in answer.text


def test_vendor_patched_beyond_target():
    assert rest_is(done(version="2.4.3", labels=CANARY)) == []


def test_a_version_that_cannot_be_compared_is_not_reached():
    canary = done(version="2.4.0-rc1", labels=CANARY)
    assert rest_is(canary) == WAVE


def test_names_of_another_namespace_are_not_told():
    """Up to three names from the same namespace are shown; other namespaces are only counted."""
    canaries = [member(f"canary-{n}", labels=CANARY) for n in range(5)]
    foreign = member("secret", namespace="other", labels=CANARY)
    p = cluster_policy(waves=WAVES)
    text = held(member(), p, now=NOW, others=[*canaries, foreign]).text
    assert "canary-0, canary-1, canary-2 and 2 more and 1 in other namespaces" in text
    assert "secret" not in text


def test_a_canary_with_too_many_labels_is_waited_for():
    """It may belong to the first wave, so this wave may not have passed."""
    assert rest_is(done(labels=CANARY), member("many", labels=None)) == WAVE
    assert rest_is(done(labels=CANARY), done("many", labels=None)) == []


# -- soak ----------------------------------------------------------------------------------------


def test_soak_with_ready_blip():
    """When Ready becomes False, the soak starts anew: it counts from Ready's transition time."""
    assert rest_is(done(labels=CANARY, ready_since=minutes_ago(29)), waves=SOAKING) == SOAK
    unwell = done(labels=CANARY, ready=False, reason="EngineUnavailable")
    assert rest_is(unwell, waves=SOAKING, maxFailures=9) == WAVE


def test_soak_across_restart():
    """The soak is computed from the status, so a new process gets the same result."""
    canary = done(labels=CANARY, ready_since=minutes_ago(29))
    answer = held(member(), policy(waves=SOAKING), now=NOW, others=[canary])
    assert answer.until == minutes_ago(-1)
    assert answer.text.endswith("over 2026-12-05T12:01:00Z")
    assert rest_is(canary, waves=SOAKING, now=minutes_ago(-1)) == []


def test_an_upgrade_by_the_console_soaks_since_its_version_was_seen():
    canary = done(labels=CANARY, version_since=minutes_ago(5))
    assert rest_is(canary, waves=SOAKING) == SOAK


def test_soak_ends_outside_window():
    night = [{"name": "night", "schedule": "0 2 * * *", "duration": "4h"}]
    canary = done(labels=CANARY, ready_since=minutes_ago(45))
    assert rest_is(canary, waves=SOAKING, windows=night) == ["OutsideWindow"]
    inside = utc("2026-12-06T03:00")
    assert rest_is(canary, waves=SOAKING, windows=night, now=inside) == []


def test_canary_already_wants_the_next_version():
    """Its success at a version counts for engines that want that version."""
    canary = done(
        labels=CANARY,
        wanted="2.5.0",
        ready=False,
        reason="WaitingForSlot",
        version_since=minutes_ago(30),
    )
    assert rest_is(canary, waves=SOAKING) == []
    assert rest_is(replace(canary, in_flight=True), waves=SOAKING) == WAVE


# -- failures ------------------------------------------------------------------------------------


def test_canary_fails_max_0():
    canary = failed(labels=CANARY)
    p = policy(waves=WAVES)
    assert ask(member(), p, now=NOW, others=[canary]) == [*FAILURES, *WAVE]
    assert ask(canary, p, now=NOW, others=[member()]) == []
    assert "canary" in held(member(), p, now=NOW, others=[canary]).text


def test_max_failures_without_waves_is_any_number():
    assert ask(member(), policy(), now=NOW, others=[failed()]) == []
    assert ask(member(), policy(maxFailures=0), now=NOW, others=[failed()]) == FAILURES
    assert ask(member(), policy(maxFailures=1), now=NOW, others=[failed()]) == []


def test_retry_runs():
    """A running retry does not open the gate."""
    retrying = failed(reason="Upgrading", engine_status="Upgrading", in_flight=True)
    assert ask(member(), policy(maxFailures=0), now=NOW, others=[retrying]) == FAILURES


def test_new_target_after_failure():
    assert ask(member(wanted="2.5.0"), policy(maxFailures=0), now=NOW, others=[failed()]) == []


def test_new_target_midway():
    """For a new version, the waves start again with the first."""
    canary = done(labels=CANARY)
    assert rest_is(canary) == []
    raised = member(wanted="2.5.0")
    assert ask(raised, policy(waves=WAVES), now=NOW, others=[canary]) == WAVE


def test_git_revert_midway():
    """Engines at the reverted-to version are done; engines ahead of it are no failures."""
    ahead = done(wanted="2.3.0", ready=False, reason="DowngradeNotSupported", labels=CANARY)
    behind = member(wanted="2.3.0", current="2.2.0")
    assert ask(behind, policy(waves=WAVES), now=NOW, others=[ahead]) == []


def test_failed_engine_fixed_in_console():
    """A failed engine is cured when it is Ready at the version, whatever its history says."""
    fixed = failed(ready=True, current="2.4.0", reason="UpToDate")
    assert ask(member(), policy(maxFailures=0), now=NOW, others=[fixed]) == []


def test_an_engine_that_is_unwell_at_the_version_is_a_failure():
    unwell = done(ready=False, reason="EngineUnavailable")
    assert ask(member(), policy(maxFailures=0), now=NOW, others=[unwell]) == FAILURES
    finds = rollout(policy(maxFailures=0), [(unwell, 0)], "CSE", "2.5.0", NOW)
    assert finds.failed == ()


def test_a_retry_request_passes_waves_and_failures_but_no_window():
    night = [{"name": "night", "schedule": "0 2 * * *", "duration": "4h"}]
    canary = failed(labels=CANARY)
    uncertain = ((frozenset({"2.4.0"}), Result.UNKNOWN),)
    for state in ({"ends": uncertain}, {"engine_status": "UpgradeFailed"}):
        asked = member(retry_requested=True, **state)
        assert ask(asked, policy(waves=WAVES), now=NOW, others=[canary]) == []
        p = policy(waves=WAVES, windows=night)
        assert ask(asked, p, now=NOW, others=[canary]) == ["OutsideWindow"]
        assert ask(member(**state), policy(waves=WAVES), now=NOW, others=[canary]) != []


def test_a_retry_request_without_an_ended_upgrade_passes_no_wave():
    """The request asks for a first upgrade, and its turn is up to the waves."""
    asked, canary = member(retry_requested=True), member("canary", labels=CANARY)
    assert ask(asked, policy(waves=WAVES), now=NOW, others=[canary]) == WAVE
    other = replace(asked, ends=((frozenset({"2.3.0"}), Result.FAILED),))
    assert ask(other, policy(waves=WAVES), now=NOW, others=[canary]) == WAVE


@pytest.mark.parametrize("reason", ["UpgradeRejected", "VersionNotComparable", "RetryRequired"])
def test_a_canary_that_fails_a_later_version_still_counts_for_this_version(reason):
    canary = done(labels=CANARY, wanted="2.5.0", ready=False, reason=reason)
    assert rest_is(canary) == []
    assert rest_is(replace(canary, engine_status="Creating")) == WAVE


def test_an_engine_that_another_resource_drives_is_not_waited_for():
    """The owner's resource is waited for, so an engine with two resources counts once."""
    other = member("other", labels=CANARY, reason="EngineAlreadyManaged")
    assert rest_is(other) == []
    assert rest_is(other, member("owner", labels=CANARY)) == WAVE


def test_a_suspended_failure_is_excused():
    assert ask(member(), policy(maxFailures=0), now=NOW, others=[failed(suspended=True)]) == []
