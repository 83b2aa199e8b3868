"""One desired version, one call: only another version or a request leads to a second call."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from cse_operator.api.failure_kind import FailureKind
from cse_operator.api.reasons import Reason
from cse_operator.api.upgrade_record import Action, CallError, Result
from cse_operator.core.decide import Decision, after_call, decide
from cse_operator.core.observation import Observation
from cse_operator.core.states import Effect, Situation
from support.observations import (
    LIMITS,
    REFUSED,
    at,
    desired,
    ended,
    engine,
    failed_engine,
    failure,
    intent_of_retry,
    job,
    observed,
    record,
    running,
    status,
    unreadable,
)

EDITS = {
    "nothing": {},
    "the time-out": {"timeout": timedelta(hours=3)},
    "the retry limit": {"retry_limit": 9},
    "no retries": {"retry_limit": 0},
    "another Secret, enterprise project or label": {},
}


def reason_of(decision: Decision) -> str:
    assert decision.status.ready is not None
    return decision.status.ready.reason


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("action", [Action.UPGRADE, Action.RETRY, Action.ADOPTED])
@pytest.mark.parametrize(
    "result", [Result.FAILED, Result.TIMED_OUT, Result.REJECTED, Result.UNKNOWN]
)
def test_no_edit_of_the_spec_repeats_the_call_for_an_ended_upgrade(result, action, edit):
    for shown in (engine(latest_job_id=101), failed_engine()):
        seen = observed(
            ended(result, action=action, target_version=None if action == "Adopted" else "2.4.0"),
            engine=shown,
            job=job(status="Error", ended_at=at(-3600)),
            desired=desired(generation=4, **EDITS[edit]),
        )
        assert decide(seen, LIMITS).effect is Effect.NONE


def test_suspend_and_resume_do_not_repeat_the_call_for_an_ended_upgrade():
    seen = observed(ended(Result.REJECTED), desired=desired(generation=4, suspend=True))
    suspended = decide(seen, LIMITS)
    resumed = replace(seen, status=suspended.status, desired=desired(generation=5))
    assert reason_of(decide(resumed, LIMITS)) == Reason.UPGRADE_REJECTED


def test_suspend_and_resume_do_not_make_a_lost_call_a_first_one():
    lost = record(attempts=3)
    seen = observed(lost, known_for=600, jobs=(), desired=desired(generation=4, suspend=True))
    suspended = decide(seen, LIMITS)
    resumed = replace(seen, status=suspended.status, desired=desired(generation=5))
    decision = decide(resumed, LIMITS)
    assert (decision.effect, reason_of(decision)) == (Effect.NONE, Reason.OUTCOME_UNCERTAIN)


def test_a_version_set_again_is_not_new_without_a_call_for_another():
    refused = observed(ended(Result.REJECTED))
    left = decide(replace(refused, desired=desired(version="2.5.0", suspend=True)), LIMITS)
    back = decide(replace(refused, status=left.status), LIMITS)
    assert (back.effect, reason_of(back)) == (Effect.NONE, Reason.UPGRADE_REJECTED)


def test_a_version_set_again_after_a_foreign_job_is_not_new():
    """An adopted job replaces the refusal's record; the refusal still counts."""
    refused = observed(
        ended(Result.REJECTED, 7200),
        engine=engine(status="Upgrading", latest_job_id=200),
        job=job(job_id=200, type="Modify"),
        desired=desired(version="2.5.0"),
    )
    adopted = decide(refused, LIMITS)
    assert adopted.status.upgrade is not None
    assert adopted.status.upgrade.action is Action.ADOPTED
    over = decide(
        replace(
            refused,
            status=adopted.status,
            engine=engine(latest_job_id=200, version="2.3.4"),
            job=job(job_id=200, type="Modify", status="Finished", ended_at=at(-60)),
            desired=desired(),
        ),
        LIMITS,
    )
    assert (over.effect, reason_of(over)) == (Effect.NONE, Reason.RETRY_REQUIRED)


def test_a_version_set_again_after_a_call_for_another_is_new():
    refused = observed(ended(Result.REJECTED))
    other = decide(replace(refused, desired=desired(version="2.5.0")), LIMITS)
    assert other.effect is Effect.UPGRADE
    assert other.status.upgrade is not None
    called = other.status.upgrade.model_copy(
        update={"job_id": 200, "result": Result.FAILED, "answered_versions": ()}
    )
    back = decide(replace(refused, status=status(called)), LIMITS)
    assert back.effect is Effect.UPGRADE


def test_after_a_foreign_upgrade_a_version_that_was_never_called_is_called():
    adopted = ended(Result.SUCCEEDED, action=Action.ADOPTED, target_version=None)
    seen = observed(adopted, engine=engine(version="2.3.4", latest_job_id=101))
    assert decide(seen, LIMITS).effect is Effect.UPGRADE


@pytest.mark.parametrize("latest", [101, 200])
def test_a_stranger_s_failed_job_is_not_retried_by_itself(latest):
    """The console's job 200 failed after the recorded job 101, whose own retry was still due."""
    seen = observed(
        ended(Result.FAILED, retry_due=True), engine=failed_engine(latest_job_id=latest)
    )
    wanted = Effect.RETRY if latest == 101 else Effect.NONE
    assert decide(seen, LIMITS).effect is wanted
    asked = replace(seen, desired=desired(retry_request="9:00"))
    assert decide(asked, LIMITS).effect is Effect.RETRY


def test_a_job_that_no_answer_named_is_not_retried_automatically():
    seen = observed(running(), engine=failed_engine(), job=job(status="Error", ended_at=at(-30)))
    assert decide(seen, LIMITS).effect is Effect.NONE
    own = replace(seen, status=status(running(own_job=True)))
    assert decide(own, LIMITS).effect is Effect.RETRY


@pytest.mark.parametrize("retry_request", [None, "9:00"])
@pytest.mark.parametrize("seconds", [1.0, 36.0, 90_000.0])
def test_a_record_that_cannot_be_read_stops_all_calls(seconds, retry_request):
    seen = unreadable(
        desired=desired(retry_request=retry_request, generation=9), known_for=seconds, jobs=()
    )
    decision = decide(seen, LIMITS)
    assert (decision.effect, reason_of(decision)) == (Effect.NONE, Reason.UNREADABLE_STATUS)
    stored = decision.status.to_json()["upgrade"]
    assert stored == seen.status.to_json()["upgrade"]
    assert stored["action"] == "Rollback"
    assert decision.status.last_handled_retry_at is None
    again = replace(seen, status=decision.status)
    assert decide(again, LIMITS).status == decision.status


AT_TARGET = {"version": "2.4.0", "latest_job_id": 101}


def ready() -> Observation:
    return observed(
        engine=engine(**AT_TARGET),
        status=decide(observed(engine=engine(**AT_TARGET)), LIMITS).status,
    )


@pytest.mark.parametrize("word", ["Modifying", "Unavailable", "Upgrading", "PreInit", "Odd"])
def test_a_transient_engine_state_is_seen_three_times_before_ready_falls(word):
    for looks in (1, 2, 3):
        seen = replace(
            ready(), engine=engine(**AT_TARGET | {"status": word}), passing_looks=looks, job=job()
        )
        decision = decide(seen, LIMITS)
        assert decision.status.ready is not None
        assert (decision.status.ready.status == "True") == (looks < 3)
        if looks < 3:
            assert decision.status == seen.status
            assert decision.requeue_after is not None


@pytest.mark.parametrize(
    "word", ["UpgradeFailed", "Frozen", "Freezed", "Deleting", "Deleted", "CreateFail"]
)
def test_a_lasting_engine_state_ends_ready_at_once(word):
    seen = replace(ready(), engine=engine(**AT_TARGET | {"status": word}), passing_looks=0)
    assert reason_of(decide(seen, LIMITS)) == Reason.ENGINE_UNUSABLE


def test_an_old_ended_job_is_never_adopted():
    seen = observed(engine=engine(status="Upgrading", latest_job_id=7))
    shown = decide(seen, LIMITS)
    assert (shown.effect, shown.job_to_show) == (Effect.SHOW_JOB, 7)
    over = job(job_id=7, status="Error", started_at=at(-9e6), ended_at=at(-8.9e6))
    decision = decide(replace(seen, job=over), LIMITS)
    assert decision.situation is Situation.BUSY
    assert decision.status.upgrade is None
    assert decision.status.history == ()


def test_a_job_in_an_unknown_state_does_not_wedge_the_resource():
    """The vendor cancelled the job three days ago; the engine is Available and behind."""
    days = 3 * 86_400
    seen = observed(
        running(),
        engine=engine(latest_job_id=101),
        job=job(status="Cancelled", started_at=at(-days), ended_at=at(100 - days), scheduled=False),
        known_for=float(days),
    )
    decision = decide(seen, LIMITS)
    assert reason_of(decision) == Reason.UPGRADE_FAILED
    assert decision.status.result is Result.FAILED
    assert decision.status.upgrade is not None
    assert decision.status.upgrade.error is not None
    assert decision.status.upgrade.error.code == "JobStopped"
    asked = replace(seen, status=decision.status, desired=desired(retry_request="9:00"))
    assert decide(asked, LIMITS).effect is Effect.UPGRADE


def test_a_look_that_is_too_old_for_a_call_is_taken_again():
    decision = decide(observed(engine_age=16.0), LIMITS)
    assert decision.effect is Effect.NONE
    assert decision.requeue_after is not None
    assert decision.requeue_after < 2


def test_the_vendors_list_finds_a_lost_job_behind_a_later_one():
    lost = observed(
        record(),
        engine=engine(latest_job_id=102),
        job=job(job_id=102, type="Modify", status="Finished", ended_at=at(-1)),
        known_for=40,
    )
    assert decide(lost, LIMITS).effect is Effect.LIST_JOBS
    listed = (
        job(job_id=99, started_at=at(-900), status="Finished", ended_at=at(-800)),
        job(job_id=101, started_at=at(-8)),
        job(job_id=102, type="Modify", started_at=at(-4)),
    )
    found = decide(replace(lost, jobs=listed), LIMITS)
    assert found.status.job_id == 101
    assert reason_of(found) == Reason.UPGRADING
    absent = decide(replace(lost, jobs=()), LIMITS)
    assert reason_of(absent) == Reason.OUTCOME_UNCERTAIN


def test_a_job_that_is_missing_from_the_list_proves_nothing_and_shortens_no_wait():
    within = observed(record(), known_for=LIMITS.grace - 1, jobs=())
    decision = decide(within, LIMITS)
    assert (decision.effect, reason_of(decision)) == (Effect.NONE, Reason.VERIFYING_OUTCOME)


def test_a_process_that_has_just_started_says_so_and_calls_later():
    waits = decide(observed(may_call_in=12.0), LIMITS)
    assert (waits.effect, reason_of(waits)) == (Effect.NONE, Reason.WAITING_TO_CALL)
    assert waits.requeue_after is not None
    assert 12.0 <= waits.requeue_after <= 13.5
    assert decide(observed(status=waits.status), LIMITS).effect is Effect.UPGRADE


def test_a_busy_answer_of_a_doubled_call_proves_nothing():
    """The call was accepted, its duplicate refused; the job failed, and a change came after it."""
    busy = CallError(kind=FailureKind.BUSY, code="SVCSTG.00501117")
    seen = observed(
        record(error=busy),
        engine=engine(latest_job_id=102),
        job=job(job_id=102, type="Modify", status="Finished", ended_at=at(-1)),
        jobs=(),
        known_for=60,
    )
    decision = decide(seen, LIMITS)
    assert (decision.effect, reason_of(decision)) == (Effect.NONE, Reason.OUTCOME_UNCERTAIN)


def test_a_refused_retry_does_not_make_an_older_version_new():
    failed = ended(Result.FAILED)
    asked = observed(
        failed, engine=failed_engine(), desired=desired(version="2.5.0", retry_request="9:00")
    )
    intent = decide(asked, LIMITS)
    assert intent.effect is Effect.RETRY
    refused = after_call(replace(asked, status=intent.status), REFUSED, LIMITS)
    mended = observed(
        status=refused.status,
        engine=engine(latest_job_id=101),
        desired=desired(retry_request="9:00"),
    )
    decision = decide(mended, LIMITS)
    assert (decision.effect, reason_of(decision)) == (Effect.NONE, Reason.RETRY_REQUIRED)


@pytest.mark.parametrize(("started", "reason"), [(-5, "UpgradeFailed"), (None, "OutcomeUncertain")])
def test_a_retried_job_that_failed_again_without_a_time_of_its_end_is_not_retried_again(
    started, reason
):
    seen = observed(
        status=status(intent_of_retry(baseline_at=at(-60))),
        engine=failed_engine(),
        job=job(status="Error", started_at=None if started is None else at(started)),
        jobs=(),
        known_for=60,
    )
    decision = decide(seen, LIMITS)
    assert (decision.effect, reason_of(decision)) == (Effect.NONE, reason)


def test_an_adopted_upgrade_waits_for_the_version_to_show():
    adopted = running(action=Action.ADOPTED, target_version=None)
    over = job(status="Finished", ended_at=at(-1))
    seen = observed(adopted, engine=engine(latest_job_id=101), job=over, known_for=600)
    decision = decide(seen, LIMITS)
    assert (decision.effect, decision.situation) == (Effect.NONE, Situation.JUST_ENDED)
    shown = replace(seen, status=decision.status, engine=engine(version="2.4.0", latest_job_id=101))
    assert reason_of(decide(shown, LIMITS)) == Reason.UP_TO_DATE


def test_a_version_that_was_reached_before_is_not_new_when_it_comes_back():
    at_rest = decide(
        observed(engine=engine(version="2.5.0"), desired=desired(version="2.5.0")), LIMITS
    )
    left = decide(observed(status=at_rest.status, engine=engine(version="2.5.0")), LIMITS)
    hotfixed = engine(version="2.5.0-sp1", latest_version="2.5.0")
    back = decide(
        observed(status=left.status, engine=hotfixed, desired=desired(version="2.5.0")), LIMITS
    )
    assert (back.effect, reason_of(back)) == (Effect.NONE, Reason.VERSION_NOT_COMPARABLE)


@pytest.mark.parametrize("shown", [{"latest_version": None}, {"status": "Modifying"}])
def test_a_new_version_with_letters_is_not_judged_before_the_vendor_says_what_it_offers(shown):
    wanted = desired(version="2.4.0-rc1")
    early = decide(observed(engine=engine(**shown), desired=wanted), LIMITS)
    assert early.effect is Effect.NONE
    offered = engine(latest_version="2.4.0-rc1")
    decision = decide(observed(status=early.status, engine=offered, desired=wanted), LIMITS)
    assert decision.effect is Effect.UPGRADE


def test_after_a_call_that_never_left_an_old_job_of_others_is_not_recorded():
    refused = observed(ended(Result.REJECTED), desired=desired(version="2.5.0"))
    intent = decide(refused, LIMITS)
    unsent = after_call(
        replace(refused, status=intent.status), failure(FailureKind.NOT_SENT), LIMITS
    )
    later = replace(
        refused,
        status=unsent.status,
        job=job(job_id=100, status="Error", started_at=at(-9e6), ended_at=at(-8.9e6)),
    )
    decision = decide(later, LIMITS)
    assert decision.effect is Effect.UPGRADE
    assert all(entry.job_id != 100 for entry in decision.status.history)


def test_the_end_of_a_job_that_ran_for_long_does_not_cost_its_retry_when_reads_lag():
    seen = observed(
        running(own_job=True),
        engine=engine(status="Upgrading", latest_job_id=101),
        job=job(status="Error", ended_at=at(-1)),
        known_for=600,
    )
    lagging = decide(seen, LIMITS)
    assert lagging.situation is Situation.JUST_ENDED
    shown = replace(seen, status=lagging.status, engine=failed_engine(), known_for=2)
    assert decide(shown, LIMITS).effect is Effect.RETRY


def test_a_retry_that_is_due_is_stopped_by_a_lower_limit():
    seen = observed(
        ended(Result.FAILED, retry_due=True), engine=failed_engine(), desired=desired(retry_limit=0)
    )
    assert decide(seen, LIMITS).effect is Effect.NONE


def test_a_request_is_not_used_up_by_a_call_that_never_left():
    spent = record(attempts=3)
    asked = observed(spent, known_for=600, jobs=(), desired=desired(retry_request="9:00"))
    intent = decide(asked, LIMITS)
    assert intent.effect is Effect.UPGRADE
    unsent = after_call(replace(asked, status=intent.status), failure(FailureKind.NOT_SENT), LIMITS)
    again = decide(replace(asked, status=unsent.status), LIMITS)
    assert again.effect is Effect.UPGRADE


def test_a_running_job_of_a_deleted_engine_ends_although_the_vendor_answers_502_for_the_job():
    """For a deleted Nacos engine, the vendor answers 502 for the engine's jobs."""
    unseen = failure(FailureKind.TRANSIENT, http_status=502)
    seen = observed(running(), engine=None, job_failure=unseen, failures=3)
    assert decide(seen, LIMITS).effect is Effect.LOOK
    gone = replace(
        seen, failure=failure(FailureKind.NOT_FOUND), failures=4, not_found_for=LIMITS.grace
    )
    decision = decide(gone, LIMITS)
    assert decision.status.result is Result.FAILED
    assert reason_of(decision) == Reason.ENGINE_NOT_FOUND
    there = replace(seen, engine=engine(status="Upgrading", latest_job_id=101))
    assert decide(there, LIMITS).effect is Effect.LIST_JOBS
    assert reason_of(decide(replace(there, jobs=()), LIMITS)) == Reason.CLOUD_UNAVAILABLE
    unlisted = replace(there, jobs_failure=unseen)
    assert reason_of(decide(unlisted, LIMITS)) == Reason.CLOUD_UNAVAILABLE


def test_the_end_of_a_job_that_cannot_be_looked_at_is_found_in_the_vendors_list():
    unseen = failure(FailureKind.TRANSIENT, http_status=502)
    at_target = engine(version="2.4.0", latest_job_id=101)
    end = job(status="Finished", ended_at=at(-60))
    seen = observed(running(), engine=at_target, job_failure=unseen, failures=3, jobs=(end,))
    decision = decide(seen, LIMITS)
    assert (decision.status.result, reason_of(decision)) == (Result.SUCCEEDED, Reason.UP_TO_DATE)


def test_a_job_that_the_vendor_no_longer_runs_on_a_failed_engine_does_not_swallow_a_request():
    seen = observed(
        running(),
        engine=failed_engine(),
        job=job(scheduled=False, started_at=at(-86_400)),
        known_for=86_400,
        desired=desired(retry_request="9:00"),
    )
    assert decide(seen, LIMITS).effect is Effect.RETRY


def test_calls_that_repeatedly_fail_to_leave_back_off():
    o = observed(record())
    waits = [
        after_call(replace(o, failures=unsent), failure(FailureKind.NOT_SENT), LIMITS).requeue_after
        for unsent in (1, 4, 12)
    ]
    assert waits == sorted(waits)
    assert waits[-1] is not None
    assert waits[-1] >= LIMITS.outage_limit / 2


def test_a_list_of_jobs_that_cannot_be_read_is_asked_for_at_the_vendors_pace():
    throttled = failure(FailureKind.THROTTLED, retry_after=120.0)
    decision = decide(observed(record(), known_for=40, jobs_failure=throttled), LIMITS)
    assert decision.requeue_after is not None
    assert decision.requeue_after >= 100
