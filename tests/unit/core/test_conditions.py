"""Conditions, as kstatus, GitOps tools and people read them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cse_operator.api.reason_facts import FACTS
from cse_operator.api.reasons import ConditionType, Reason
from cse_operator.api.status import NEVER_OBSERVED, HeldBy, Phase
from cse_operator.api.upgrade_record import Result
from cse_operator.core.decide import conditions, decide, invalid_spec
from cse_operator.core.failure import FailureKind
from cse_operator.core.observation import Owner
from support.observations import (
    LIMITS,
    NOON,
    at,
    desired,
    ended,
    engine,
    failure,
    job,
    observed,
    running,
    status,
)


@pytest.mark.parametrize("reason", Reason)
def test_the_conditions_of_each_reason_are_what_kstatus_expects(reason):
    made = conditions(status(), reason, "why", 7, NOON)
    by_type = {condition.type: condition for condition in made}
    condition = FACTS[reason].condition
    assert by_type["Ready"].status == ("True" if condition is ConditionType.READY else "False")
    assert ("Reconciling" in by_type) == (condition is ConditionType.RECONCILING)
    assert ("Stalled" in by_type) == (condition is ConditionType.STALLED)
    assert all(condition.observed_generation == 7 for condition in made)
    assert {(condition.reason, condition.message) for condition in made} == {(reason, "why")}


def test_a_transition_time_moves_only_with_the_conditions_status():
    first = decide(observed(running(), job=job()), LIMITS).status
    later = observed(running(), job=job(started_at=at(-8000)), status=first, now=at(600))
    second = decide(later, LIMITS).status
    assert second.ready is not None
    assert second.ready.reason == Reason.UPGRADE_OVERDUE
    assert [c.last_transition_time for c in second.conditions] == [NOON, NOON]
    done = replace(
        later,
        status=second,
        engine=engine(version="2.4.0"),
        job=job(status="Finished", ended_at=at(590)),
        now=at(700),
    )
    third = decide(done, LIMITS).status
    assert [(c.type, c.last_transition_time) for c in third.conditions] == [("Ready", at(700))]


def test_a_stalled_resource_that_goes_on_is_stalled_no_more():
    stalled = decide(observed(ended(Result.FAILED)), LIMITS).status
    wanted = desired(generation=4, version="2.5.0")
    going_on = decide(observed(status=stalled, desired=wanted), LIMITS).status
    assert [condition.type for condition in going_on.conditions] == ["Reconciling", "Ready"]


def test_a_message_does_not_tick():
    seen = observed(running(), job=job())
    first = decide(seen, LIMITS).status
    later = replace(
        seen, status=first, now=at(500), known_for=500, job=job(observed_at=at(500)), jitter=0.9
    )
    assert decide(later, LIMITS).status == first


@pytest.mark.parametrize(
    ("version", "suspend", "said"),
    [
        ("2.4.0", False, "engine is at 2.4.0"),
        ("2.4.0", True, "engine is at 2.4.0; suspended"),
        ("2.4.1", True, "engine is at 2.4.1, a later patch of 2.4.0; suspended"),
    ],
)
def test_a_suspended_resource_that_is_up_to_date_says_so_and_is_written_once(
    version, suspend, said
):
    seen = observed(engine=engine(version=version), desired=desired(suspend=suspend))
    first = decide(seen, LIMITS)
    assert first.status.message == said
    assert [condition.type for condition in first.status.conditions] == ["Ready"]
    later = replace(seen, status=first.status, now=at(600), jitter=0.9)
    assert decide(later, LIMITS).status == first.status


def test_a_long_message_is_cut_to_what_a_condition_may_hold():
    long = failure(FailureKind.NOT_FOUND)
    decision = decide(observed(failure=replace(long, message="x" * 5000)), LIMITS)
    assert decision.status.ready is not None
    assert len(decision.status.ready.message) == 1024


def test_a_passing_failure_is_not_shown_before_patience_ends():
    fine = decide(observed(engine=engine(version="2.4.0")), LIMITS).status
    unreachable = failure(FailureKind.TRANSIENT)
    unseen = observed(status=fine, failure=unreachable, engine=None)
    for failures in (1, 2):
        assert decide(replace(unseen, failures=failures), LIMITS).status == fine
    shown = decide(replace(unseen, failures=3), LIMITS).status
    assert shown.ready is not None
    assert shown.ready.reason == Reason.CLOUD_UNAVAILABLE
    assert shown.current_version == "2.4.0"


@pytest.mark.parametrize("kind", [FailureKind.NOT_FOUND, FailureKind.FORBIDDEN])
@pytest.mark.parametrize("upgrade", [None, running()])
def test_a_transient_gateway_failure_does_not_stall_a_healthy_resource(kind, upgrade):
    fine = decide(observed(upgrade, engine=engine(version="2.4.0"), job=job()), LIMITS).status
    unseen = observed(status=fine, failure=failure(kind), engine=None)
    for failures in (1, 2):
        decision = decide(replace(unseen, failures=failures), LIMITS)
        assert decision.status == fine
        assert decision.requeue_after == pytest.approx(LIMITS.wait, rel=0.1)
    shown = decide(replace(unseen, failures=3), LIMITS)
    assert [condition.type for condition in shown.status.conditions] == ["Stalled", "Ready"]
    assert shown.requeue_after == pytest.approx(LIMITS.slow, rel=0.1)


@pytest.mark.parametrize("kind", [FailureKind.NOT_FOUND, FailureKind.FORBIDDEN])
def test_a_transient_gateway_failure_shows_at_once_on_a_stalled_resource(kind):
    stalled = decide(observed(failure=failure(FailureKind.UNAUTHENTICATED)), LIMITS).status
    shown = decide(observed(status=stalled, failure=failure(kind), failures=1), LIMITS).status
    assert shown.ready is not None
    assert shown.ready.reason == SHOWN_AS[kind]


@pytest.mark.parametrize(
    "kind", [FailureKind.NOT_FOUND, FailureKind.FORBIDDEN, FailureKind.TRANSIENT]
)
@pytest.mark.parametrize("generation", [NEVER_OBSERVED, 2])
def test_a_failure_shows_at_once_on_a_spec_without_a_look(kind, generation):
    fine = decide(observed(engine=engine(version="2.4.0")), LIMITS).status
    before = fine.model_copy(update={"observed_generation": generation})
    shown = decide(observed(status=before, failure=failure(kind), failures=1), LIMITS).status
    assert shown.ready is not None
    assert shown.ready.reason == SHOWN_AS[kind]
    assert shown.observed_generation == 3


def test_refused_credentials_are_shown_at_once():
    fine = decide(observed(engine=engine(version="2.4.0")), LIMITS).status
    refused = failure(FailureKind.UNAUTHENTICATED)
    shown = decide(observed(status=fine, failure=refused, failures=1), LIMITS).status
    assert shown.ready is not None
    assert shown.ready.reason == Reason.CREDENTIALS_REFUSED


def test_a_passing_failure_is_shown_at_once_where_nothing_is_known_yet():
    decision = decide(observed(failure=failure(FailureKind.TRANSIENT), failures=1), LIMITS)
    assert decision.status.ready is not None
    assert decision.status.ready.reason == Reason.CLOUD_UNAVAILABLE


SHOWN_AS = {
    FailureKind.TRANSIENT: Reason.CLOUD_UNAVAILABLE,
    FailureKind.THROTTLED: Reason.THROTTLED,
    FailureKind.NOT_FOUND: Reason.ENGINE_NOT_FOUND,
    FailureKind.FORBIDDEN: Reason.PERMISSION_DENIED,
    FailureKind.UNAUTHENTICATED: Reason.CREDENTIALS_REFUSED,
    FailureKind.CREDENTIALS_MISSING: Reason.CREDENTIALS_NOT_FOUND,
    FailureKind.CREDENTIALS_INVALID: Reason.CREDENTIALS_INVALID,
    FailureKind.REGION_NOT_ALLOWED: Reason.REGION_NOT_ALLOWED,
}


@pytest.mark.parametrize("kind", FailureKind)
def test_each_failure_of_a_look_is_shown_by_its_meaning(kind):
    decision = decide(observed(failure=failure(kind), failures=9), LIMITS)
    assert decision.status.ready is not None
    shown = decision.status.ready.reason
    assert shown == SHOWN_AS.get(kind, shown)
    assert decision.status.message is not None
    assert "the vendor's words" in decision.status.message


def test_a_forbidden_look_names_the_field_for_the_enterprise_project():
    forbidden = failure(FailureKind.FORBIDDEN, http_status=403, code="APIGW.0302")
    message = decide(observed(failure=forbidden, failures=9), LIMITS).status.message
    assert message is not None
    assert "where these are granted in one enterprise project only" in message
    assert "`enterpriseProjectId`" in FACTS[Reason.PERMISSION_DENIED].way_out


def test_a_job_that_runs_stays_recorded_while_the_vendor_cannot_be_reached():
    seen = observed(running(), failure=failure(FailureKind.TRANSIENT), failures=9)
    assert decide(seen, LIMITS).status.upgrade == running()


def test_a_spec_that_does_not_fit_the_models_stalls_and_loses_nothing():
    before = status(running())
    decision = invalid_spec(before, 8, "spec.version: too long", NOON)
    assert decision.status.upgrade == running()
    assert decision.status.phase is Phase.FAILED
    assert decision.status.observed_generation == 8
    assert [condition.type for condition in decision.status.conditions] == ["Stalled", "Ready"]


def test_a_spec_that_does_not_fit_the_models_keeps_no_place_in_line():
    hold = HeldBy(reason="WaitingForSlot", policy="production")
    before = status().model_copy(update={"held": (hold,), "held_since": NOON})
    after = invalid_spec(before, 8, "spec.version: too long", NOON).status
    assert (after.held, after.held_since) == ((), None)


@pytest.mark.parametrize(
    ("other_owner", "said"),
    [
        (Owner("first"), "first, which is older, manages the same engine"),
        (Owner("late", upgrading=True), "late, which has an upgrade under way, manages the same"),
        (Owner("late", older=False), "late, which sees the engine with its credentials, manages"),
        (Owner(None), "a resource in another namespace manages the same engine"),
        (Owner(None, upgrading=True), "a resource in another namespace manages the same engine"),
    ],
)
def test_another_owner_is_explained_and_named_only_in_its_own_namespace(other_owner, said):
    message = decide(observed(other_owner=other_owner), LIMITS).status.message
    assert message is not None
    assert message.startswith(said)
    assert "no engine is touched" in message
