"""One wanted version, one call: nothing but another version or a request calls again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from cse_operator.api.reasons import Reason
from cse_operator.api.resource import Action, Result
from cse_operator.core.decide import Decision, decide
from cse_operator.core.observed import Observed
from cse_operator.core.states import Effect, Situation
from support.observations import (
    POLICY,
    at,
    ended,
    engine,
    failed_engine,
    job,
    observed,
    record,
    running,
    status,
    unreadable,
    wish,
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
def test_no_edit_of_the_spec_calls_again_for_a_version_that_had_its_end(result, action, edit):
    for shown in (engine(latest_job_id=101), failed_engine()):
        seen = observed(
            ended(result, action=action, target_version=None if action == "Adopted" else "2.4.0"),
            engine=shown,
            job=job(status="Error", ended_at=at(-3600)),
            wish=wish(generation=4, **EDITS[edit]),
        )
        assert decide(seen, POLICY).effect is Effect.NONE


def test_suspend_and_resume_call_nothing_for_a_version_that_had_its_end():
    seen = observed(ended(Result.REJECTED), wish=wish(generation=4, suspend=True))
    suspended = decide(seen, POLICY)
    resumed = replace(seen, status=suspended.status, wish=wish(generation=5))
    assert reason_of(decide(resumed, POLICY)) == Reason.UPGRADE_REJECTED


def test_suspend_and_resume_do_not_make_a_lost_call_a_first_one():
    lost = record(attempts=3)
    seen = observed(lost, known_for=600, jobs=(), wish=wish(generation=4, suspend=True))
    suspended = decide(seen, POLICY)
    resumed = replace(seen, status=suspended.status, wish=wish(generation=5))
    decision = decide(resumed, POLICY)
    assert (decision.effect, reason_of(decision)) == (Effect.NONE, Reason.OUTCOME_UNCERTAIN)


def test_a_version_that_was_left_and_came_back_is_not_new_without_a_call_for_another():
    refused = observed(ended(Result.REJECTED))
    left = decide(replace(refused, wish=wish(version="2.5.0", suspend=True)), POLICY)
    back = decide(replace(refused, status=left.status), POLICY)
    assert (back.effect, reason_of(back)) == (Effect.NONE, Reason.UPGRADE_REJECTED)


def test_a_version_that_came_back_after_a_job_of_somebody_elses_is_not_new_either():
    """An adopted job replaces the record of the refusal, and the refusal stands all the same."""
    refused = observed(
        ended(Result.REJECTED, 7200),
        engine=engine(status="Upgrading", latest_job_id=200),
        job=job(job_id=200, type="Modify"),
        wish=wish(version="2.5.0"),
    )
    adopted = decide(refused, POLICY)
    assert adopted.status.upgrade is not None
    assert adopted.status.upgrade.action is Action.ADOPTED
    over = decide(
        replace(
            refused,
            status=adopted.status,
            engine=engine(latest_job_id=200, version="2.3.4"),
            job=job(job_id=200, type="Modify", status="Finished", ended_at=at(-60)),
            wish=wish(),
        ),
        POLICY,
    )
    assert (over.effect, reason_of(over)) == (Effect.NONE, Reason.RETRY_REQUIRED)


def test_a_version_that_came_back_after_a_call_for_another_is_new():
    refused = observed(ended(Result.REJECTED))
    other = decide(replace(refused, wish=wish(version="2.5.0")), POLICY)
    assert other.effect is Effect.UPGRADE
    assert other.status.upgrade is not None
    called = other.status.upgrade.model_copy(
        update={"job_id": 200, "result": Result.FAILED, "answered_versions": ()}
    )
    back = decide(replace(refused, status=status(called)), POLICY)
    assert back.effect is Effect.UPGRADE


def test_an_upgrade_by_somebody_else_leaves_open_what_was_never_called():
    adopted = ended(Result.SUCCEEDED, action=Action.ADOPTED, target_version=None)
    seen = observed(adopted, engine=engine(version="2.3.4", latest_job_id=101))
    assert decide(seen, POLICY).effect is Effect.UPGRADE


@pytest.mark.parametrize("latest", [101, 200])
def test_a_stranger_s_failed_job_is_not_retried_by_itself(latest):
    """The console's job 200 failed after ours: ours is recorded, and a retry of ours was left."""
    seen = observed(
        ended(Result.FAILED, retry_due=True), engine=failed_engine(latest_job_id=latest)
    )
    wanted = Effect.RETRY if latest == 101 else Effect.NONE
    assert decide(seen, POLICY).effect is wanted
    asked = replace(seen, wish=wish(retry_request="9:00"))
    assert decide(asked, POLICY).effect is Effect.RETRY


def test_a_job_that_was_found_and_not_named_by_the_vendor_is_not_retried_by_itself():
    seen = observed(running(), engine=failed_engine(), job=job(status="Error", ended_at=at(-30)))
    assert decide(seen, POLICY).effect is Effect.NONE
    own = replace(seen, status=status(running(own_job=True)))
    assert decide(own, POLICY).effect is Effect.RETRY


@pytest.mark.parametrize("retry_request", [None, "9:00"])
@pytest.mark.parametrize("seconds", [1.0, 36.0, 90_000.0])
def test_a_record_that_cannot_be_read_stops_all_calls(seconds, retry_request):
    seen = unreadable(
        wish=wish(retry_request=retry_request, generation=9), known_for=seconds, jobs=()
    )
    decision = decide(seen, POLICY)
    assert (decision.effect, reason_of(decision)) == (Effect.NONE, Reason.UNREADABLE_STATUS)
    stored = decision.status.to_json()["upgrade"]
    assert stored == seen.status.to_json()["upgrade"]
    assert stored["action"] == "Rollback"
    assert decision.status.last_handled_retry_at is None
    again = replace(seen, status=decision.status)
    assert decide(again, POLICY).status == decision.status


AT_TARGET = {"version": "2.4.0", "latest_job_id": 101}


def ready() -> Observed:
    return observed(
        engine=engine(**AT_TARGET),
        status=decide(observed(engine=engine(**AT_TARGET)), POLICY).status,
    )


@pytest.mark.parametrize("word", ["Modifying", "Unavailable", "Upgrading", "PreInit", "Odd"])
def test_a_state_that_passes_is_seen_three_times_before_ready_falls(word):
    for looks in (1, 2, 3):
        seen = replace(
            ready(), engine=engine(**AT_TARGET | {"status": word}), passing_looks=looks, job=job()
        )
        decision = decide(seen, POLICY)
        assert decision.status.ready is not None
        assert (decision.status.ready.status == "True") == (looks < 3)
        if looks < 3:
            assert decision.status == seen.status
            assert decision.requeue_after is not None


@pytest.mark.parametrize(
    "word", ["UpgradeFailed", "Frozen", "Freezed", "Deleting", "Deleted", "CreateFail"]
)
def test_a_state_that_does_not_pass_ends_ready_at_once(word):
    seen = replace(ready(), engine=engine(**AT_TARGET | {"status": word}), passing_looks=0)
    assert reason_of(decide(seen, POLICY)) == Reason.ENGINE_UNUSABLE


def test_an_old_ended_job_is_never_adopted():
    seen = observed(engine=engine(status="Upgrading", latest_job_id=7))
    shown = decide(seen, POLICY)
    assert (shown.effect, shown.job_to_show) == (Effect.SHOW_JOB, 7)
    over = job(job_id=7, status="Error", started_at=at(-9e6), ended_at=at(-8.9e6))
    decision = decide(replace(seen, job=over), POLICY)
    assert decision.situation is Situation.BUSY
    assert decision.status.upgrade is None
    assert decision.status.history == ()


def test_a_job_in_an_unknown_state_does_not_wedge_the_resource():
    """The vendor cancelled it three days ago; the engine is Available and behind."""
    days = 3 * 86_400
    seen = observed(
        running(),
        engine=engine(latest_job_id=101),
        job=job(status="Cancelled", started_at=at(-days), ended_at=at(100 - days), scheduled=False),
        known_for=float(days),
    )
    decision = decide(seen, POLICY)
    assert reason_of(decision) == Reason.UPGRADE_FAILED
    assert decision.status.result is Result.FAILED
    assert decision.status.upgrade is not None
    assert decision.status.upgrade.error is not None
    assert decision.status.upgrade.error.code == "JobStopped"
    asked = replace(seen, status=decision.status, wish=wish(retry_request="9:00"))
    assert decide(asked, POLICY).effect is Effect.UPGRADE


def test_a_look_that_is_too_old_for_a_call_is_taken_again():
    decision = decide(observed(engine_age=16.0), POLICY)
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
    assert decide(lost, POLICY).effect is Effect.LIST_JOBS
    listed = (
        job(job_id=99, started_at=at(-900), status="Finished", ended_at=at(-800)),
        job(job_id=101, started_at=at(-8)),
        job(job_id=102, type="Modify", started_at=at(-4)),
    )
    found = decide(replace(lost, jobs=listed), POLICY)
    assert found.status.job_id == 101
    assert reason_of(found) == Reason.UPGRADING
    absent = decide(replace(lost, jobs=()), POLICY)
    assert reason_of(absent) == Reason.OUTCOME_UNCERTAIN


def test_a_job_that_is_missing_from_the_list_proves_nothing_and_shortens_no_wait():
    within = observed(record(), known_for=POLICY.grace - 1, jobs=())
    decision = decide(within, POLICY)
    assert (decision.effect, reason_of(decision)) == (Effect.NONE, Reason.VERIFYING_OUTCOME)


def test_a_process_that_has_just_started_says_so_and_calls_later():
    waits = decide(observed(may_call_in=12.0), POLICY)
    assert (waits.effect, reason_of(waits)) == (Effect.NONE, Reason.WAITING_TO_CALL)
    assert waits.requeue_after is not None
    assert 12.0 <= waits.requeue_after <= 13.5
    assert decide(observed(status=waits.status), POLICY).effect is Effect.UPGRADE
