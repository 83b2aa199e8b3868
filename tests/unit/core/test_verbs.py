"""Requests of people, by annotations and `suspend`: each is honoured once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cse_operator.api.reasons import Reason
from cse_operator.api.spec import Spec
from cse_operator.api.upgrade_record import Result
from cse_operator.core.decide import decide
from cse_operator.core.observation import Desired, Owner
from cse_operator.core.states import Effect
from support.engines import engine_manifest
from support.observations import (
    LIMITS,
    at,
    desired,
    ended,
    engine,
    failed_engine,
    intent_of_retry,
    job,
    observed,
    record,
    running,
    status,
)


def test_a_request_for_a_look_is_answered_by_a_look_and_echoed():
    asked = observed(engine=None, desired=desired(reconcile_request="9:00", suspend=True))
    assert decide(asked, LIMITS).effect is Effect.LOOK
    answered = decide(replace(asked, engine=engine()), LIMITS)
    assert answered.status.last_handled_reconcile_at == "9:00"
    at_rest = decide(replace(asked, engine=engine(), status=answered.status), LIMITS)
    assert at_rest.effect is Effect.NONE


def test_a_request_for_a_look_is_answered_where_there_is_nothing_to_look_at():
    asked = observed(other_owner=Owner("first"), desired=desired(reconcile_request="9:00"))
    assert decide(asked, LIMITS).status.last_handled_reconcile_at == "9:00"


@pytest.mark.parametrize("request_", ["a" * 257, "\ud800" * 200_000])
def test_a_request_of_any_length_is_echoed_briefly_and_distinctly(request_):
    spec = Spec.model_validate(engine_manifest("orders", namespace="payments")["spec"])
    asked = Desired.of(spec, 1, reconcile_request=request_, retry_request=request_[:256])
    assert asked.retry_request == request_[:256]
    echo = asked.reconcile_request
    assert echo is not None
    assert len(echo) < 100
    assert Desired.of(spec, 1, reconcile_request=request_) == replace(asked, retry_request=None)
    assert Desired.of(spec, 1, reconcile_request=f"{request_}!").reconcile_request != echo


def test_an_empty_request_is_none():
    """Its answer could not be told from none, so it would never be answered."""
    spec = Spec.model_validate(engine_manifest("orders", namespace="payments")["spec"])
    asked = Desired.of(spec, 1, reconcile_request="", retry_request="")
    assert (asked.reconcile_request, asked.retry_request) == (None, None)


@pytest.mark.parametrize("result", [Result.REJECTED, Result.FAILED, Result.TIMED_OUT])
def test_a_request_for_a_retry_unlocks_an_ended_upgrade_once(result):
    asked = observed(ended(result), desired=desired(retry_request="9:00"))
    first = decide(asked, LIMITS)
    assert first.effect is Effect.UPGRADE
    assert first.status.last_handled_retry_at == "9:00"
    failed_again = status(ended(result), last_handled_retry_at="9:00")
    assert decide(replace(asked, status=failed_again), LIMITS).effect is Effect.NONE
    asked_again = replace(asked, status=failed_again, desired=desired(retry_request="9:05"))
    assert decide(asked_again, LIMITS).effect is Effect.UPGRADE


def test_a_request_for_a_retry_goes_beyond_the_limit_of_retries():
    asked = observed(
        ended(Result.FAILED, retries=1),
        engine=failed_engine(),
        desired=desired(retry_request="9:00"),
    )
    decision = decide(asked, LIMITS)
    assert decision.effect is Effect.RETRY
    assert decision.status.upgrade is not None
    assert decision.status.upgrade.retries == 2
    assert decision.status.upgrade.retry_request == "9:00"


@pytest.mark.parametrize(
    "seen",
    [observed(engine=engine(version="2.4.0")), observed(running(), job=job())],
    ids=["there is nothing to retry", "the job runs"],
)
def test_a_request_for_a_retry_that_comes_to_nothing_does_not_wait_for_later(seen):
    decision = decide(replace(seen, desired=desired(retry_request="9:00")), LIMITS)
    assert decision.effect is Effect.NONE
    assert decision.status.last_handled_retry_at == "9:00"


def test_a_request_for_a_retry_waits_until_the_resource_is_no_longer_suspended():
    asked = observed(ended(Result.FAILED), desired=desired(retry_request="9:00", suspend=True))
    suspended = decide(asked, LIMITS)
    assert (suspended.effect, suspended.status.last_handled_retry_at) == (Effect.NONE, None)
    resumed = replace(asked, status=suspended.status, desired=desired(retry_request="9:00"))
    assert decide(resumed, LIMITS).effect is Effect.UPGRADE


def test_a_request_is_open_again_when_its_call_certainly_had_no_effect():
    intent = intent_of_retry(retry_request="9:00", retries=2, attempts=0)
    seen = observed(
        status=status(intent, last_handled_retry_at="9:00"),
        engine=failed_engine(),
        job=job(status="Error", ended_at=at(-300)),
        desired=desired(generation=4, suspend=True, retry_request="9:00"),
    )
    dropped = decide(seen, LIMITS)
    assert dropped.effect is Effect.NONE
    assert dropped.status.last_handled_retry_at is None
    resumed = replace(
        seen, status=dropped.status, desired=desired(generation=5, retry_request="9:00")
    )
    assert decide(resumed, LIMITS).effect is Effect.RETRY


def test_a_retry_that_never_left_leaves_the_failed_upgrade_as_it_was():
    before = ended(Result.TIMED_OUT)
    intent = intent_of_retry(retries=1, attempts=0)
    seen = observed(
        status=replace_upgrade(status(before), intent),
        engine=failed_engine(),
        job=job(status="Timeout", ended_at=at(-3600)),
        desired=desired(suspend=True),
    )
    left = decide(seen, LIMITS).status
    assert left.upgrade is not None
    assert (left.job_id, left.result) == (101, Result.TIMED_OUT)
    assert left.upgrade.retries == 0


def replace_upgrade(before, upgrade):
    return before.model_copy(update={"upgrade": upgrade, "job_id": None, "result": None})


def test_calling_again_honours_a_request_that_came_meanwhile():
    seen = observed(record(), desired=desired(retry_request="9:00"), known_for=36, jobs=())
    assert decide(seen, LIMITS).status.last_handled_retry_at == "9:00"


def test_suspend_starts_nothing_and_follows_what_runs():
    assert decide(observed(desired=desired(suspend=True)), LIMITS).effect is Effect.NONE
    followed = decide(observed(running(), job=job(), desired=desired(suspend=True)), LIMITS)
    assert followed.status.ready is not None
    assert followed.status.ready.reason == Reason.UPGRADING
    failed = observed(ended(Result.FAILED), engine=failed_engine(), desired=desired(suspend=True))
    assert decide(failed, LIMITS).effect is Effect.NONE


def test_a_retry_goes_on_to_the_failed_jobs_own_target():
    failed = ended(Result.FAILED, target_version="2.4.0")
    seen = observed(
        failed,
        engine=failed_engine(),
        desired=desired(generation=4, version="2.5.0", retry_request="9:00"),
    )
    decision = decide(seen, LIMITS)
    assert decision.status.upgrade is not None
    assert (decision.effect, decision.status.upgrade.target_version) == (Effect.RETRY, "2.4.0")


def test_a_retry_is_due_when_the_job_fails_and_never_later():
    seen = observed(
        running(own_job=True),
        engine=failed_engine(),
        job=job(status="Error", ended_at=at(-30)),
    )
    assert decide(seen, LIMITS).effect is Effect.RETRY
    used_up = replace(seen, status=status(running(own_job=True, retries=1)))
    left = decide(used_up, LIMITS)
    assert left.effect is Effect.NONE
    for limit in (1, 2, 10):
        raised = replace(
            used_up, status=left.status, desired=desired(generation=4, retry_limit=limit)
        )
        assert decide(raised, LIMITS).effect is Effect.NONE


def test_a_retry_limit_of_zero_means_no_retry_without_a_request():
    seen = observed(
        running(own_job=True),
        engine=failed_engine(),
        job=job(status="Error", ended_at=at(-30)),
        desired=desired(retry_limit=0),
    )
    left = decide(seen, LIMITS)
    assert left.effect is Effect.NONE
    edited = replace(seen, status=left.status, desired=desired(generation=4, retry_limit=0))
    assert decide(edited, LIMITS).effect is Effect.NONE
    asked = replace(edited, desired=desired(generation=4, retry_limit=0, retry_request="9:00"))
    assert decide(asked, LIMITS).effect is Effect.RETRY


def test_no_retry_is_called_for_a_version_that_has_another_target_now():
    seen = observed(
        ended(Result.FAILED), engine=failed_engine(), desired=desired(generation=4, version="2.5.0")
    )
    decision = decide(seen, LIMITS)
    assert decision.effect is Effect.NONE
    assert decision.status.ready is not None
    assert decision.status.ready.reason == Reason.ENGINE_UNUSABLE


def test_an_overdue_job_stays_overdue_for_a_process_that_knows_it_for_less_time():
    late = observed(running(), job=job(started_at=None), known_for=7300)
    said = decide(late, LIMITS).status
    other = decide(replace(late, status=said, known_for=5), LIMITS).status
    assert other == said
    longer = desired(generation=4, timeout=late.desired.timeout * 2)
    again = decide(replace(late, status=said, desired=longer), LIMITS).status
    assert again.ready is not None
    assert again.ready.reason == Reason.UPGRADING


def test_a_resource_on_its_way_out_is_not_said_to_be_only_observed():
    lost = observed(record(), known_for=36, jobs=(), observes_only=True, deleting=True)
    assert decide(lost, LIMITS).status.message == (
        "the call Upgrade to 2.4.0 had no visible effect; it is not made again, because the "
        "resource is being deleted"
    )
    due = observed(observes_only=True, deleting=True)
    assert decide(due, LIMITS).status.message.endswith("because the resource is being deleted")


def test_an_engine_past_the_desired_patch_waits_for_no_upgrade():
    frozen = observed(engine=engine(version="2.4.3", status="Freezed"))
    assert "waits" not in decide(frozen, LIMITS).status.message


@pytest.mark.parametrize(
    ("upgrade", "seen", "said"),
    [
        (record(baseline_job_id=None), engine(latest_job_id=None), "the vendor names no job"),
        (intent_of_retry(), failed_engine(), "nothing shows whether job 101 ran again"),
        (record(), engine(latest_job_id=101), "job 101 ran since"),
    ],
)
def test_who_has_to_decide_learns_what_the_jobs_do_not_tell(upgrade, seen, said):
    lost = observed(upgrade, engine=seen, missing_job=seen.latest_job_id, known_for=36, jobs=())
    message = decide(lost, LIMITS).status.message
    assert f"was lost and {said}, so the call's effect cannot be known" in message
