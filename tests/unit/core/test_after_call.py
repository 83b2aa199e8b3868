"""What the status records of a call after its answer or failure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from cse_operator.api.reasons import Reason
from cse_operator.api.status import Phase
from cse_operator.api.upgrade_record import Action, Result
from cse_operator.core.decide import Decision, after_call, decide
from cse_operator.core.failure import FailureKind
from cse_operator.core.observation import Observation
from cse_operator.core.states import Effect, State, state_of
from cse_operator.core.views import Accepted
from support.observations import (
    BUSY,
    LIMITS,
    LOST,
    REFUSED,
    at,
    desired,
    ended,
    engine,
    failed_engine,
    failure,
    job,
    observed,
)

ACCEPTED = Accepted(engine_id="engine-1", engine_name="test", job_id=101)


def called(seen: Observation) -> tuple[Observation, Decision]:
    """Return the observation with the intent stored, as at the answer, and the decision to call."""
    decision = decide(seen, LIMITS)
    assert decision.effect in {Effect.UPGRADE, Effect.RETRY}
    return replace(seen, status=decision.status), decision


def reason_of(decision: Decision) -> str:
    assert decision.status.ready is not None
    return decision.status.ready.reason


def test_an_intent_names_what_is_called_and_what_was_seen_before():
    # The look took ten seconds; the vendor may have dated its answer after the first nine.
    _, decision = called(observed(engine_age=12.5, engine_since=2.5))
    intent = decision.status.upgrade
    assert intent is not None
    assert intent.unanswered
    assert (intent.action, intent.wanted_version, intent.attempts) == (Action.UPGRADE, "2.4.0", 1)
    assert (intent.from_version, intent.target_version) == ("2.3.0", "2.4.0")
    assert (intent.baseline_job_id, intent.baseline_at) == (100, at(2.5))
    assert decision.status.phase is Phase.SUBMITTING
    assert (decision.status.job_id, decision.status.result) == (None, None)


def test_an_accepted_call_is_followed_by_its_job():
    o, _ = called(observed())
    decision = after_call(o, ACCEPTED, LIMITS)
    assert decision.status.upgrade is not None
    assert decision.status.upgrade.running
    assert (decision.status.job_id, decision.status.result) == (101, None)
    assert (reason_of(decision), decision.status.phase) == (Reason.UPGRADING, Phase.UPGRADING)


def test_a_refused_call_is_a_result_and_looked_after_once_more():
    o, _ = called(observed())
    decision = after_call(o, REFUSED, LIMITS)
    assert decision.status.result is Result.REJECTED
    assert decision.status.history[0].result is Result.REJECTED
    assert decision.status.upgrade is not None
    assert decision.status.upgrade.error is not None
    assert decision.status.upgrade.error.code == "SVCSTG.00501999"
    assert reason_of(decision) == Reason.UPGRADE_REJECTED
    assert decision.requeue_after is not None


@pytest.mark.parametrize("answer", [REFUSED, failure(FailureKind.FORBIDDEN)], ids=["400", "403"])
def test_a_step_within_the_grace_after_a_refusal_keeps_the_look_that_is_due(answer):
    o, _ = called(observed())
    refused = after_call(o, answer, LIMITS).status
    early = decide(observed(status=refused, known_for=LIMITS.grace - 2.0), LIMITS)
    assert early.requeue_after is not None
    assert 2.0 <= early.requeue_after < LIMITS.grace
    assert decide(observed(status=refused, known_for=LIMITS.grace), LIMITS).requeue_after is None


def test_a_refusal_is_told_with_the_vendors_words_and_the_way_out():
    o, _ = called(observed())
    message = after_call(o, REFUSED, LIMITS).status.message
    assert message is not None
    assert "the vendor's words (HTTP 400, SVCSTG.00501999)" in message
    assert "set spec.version" in message
    assert "cse-operator.io/retry-requested-at" in message


def test_a_forbidden_call_says_so_now_and_at_the_next_look():
    o, _ = called(observed())
    forbidden = failure(FailureKind.FORBIDDEN, http_status=403, code="APIGW.0302")
    decision = after_call(o, forbidden, LIMITS)
    assert reason_of(decision) == Reason.PERMISSION_DENIED
    assert "where these are granted in one" in (decision.status.message or "")
    next_look = decide(replace(o, status=decision.status), LIMITS)
    assert next_look.status == decision.status
    assert next_look.effect is Effect.NONE


NO_PLAIN_ANSWER = [
    LOST,
    BUSY,
    failure(FailureKind.TRANSIENT, http_status=503),
    failure(FailureKind.UNAUTHENTICATED, http_status=401, code="APIGW.0301"),
    failure(FailureKind.THROTTLED, http_status=429, code="APIGW.0308"),
]


@pytest.mark.parametrize("answer", NO_PLAIN_ANSWER, ids=lambda answer: answer.kind)
def test_an_unclear_answer_gets_the_full_grace(answer):
    o, _ = called(observed())
    decision = after_call(o, answer, LIMITS)
    assert reason_of(decision) == Reason.VERIFYING_OUTCOME
    assert state_of(decision.status) is State.UNANSWERED
    assert decision.requeue_after is not None
    assert decision.requeue_after < 2
    later = replace(o, status=decision.status, jobs=())
    assert decide(replace(later, known_for=LIMITS.grace - 1), LIMITS).effect is Effect.NONE
    again = decide(replace(later, known_for=LIMITS.grace), LIMITS)
    assert again.effect is Effect.UPGRADE
    assert again.status.upgrade is not None
    assert again.status.upgrade.attempts == 2


CERTAINLY_NOT_SENT = [
    FailureKind.NOT_SENT,
    FailureKind.CREDENTIALS_MISSING,
    FailureKind.CREDENTIALS_INVALID,
    FailureKind.REGION_NOT_ALLOWED,
]


@pytest.mark.parametrize("kind", CERTAINLY_NOT_SENT)
def test_a_call_that_certainly_never_left_is_made_again_without_a_grace(kind):
    o, _ = called(observed())
    decision = after_call(o, failure(kind), LIMITS)
    assert decision.status.upgrade is not None
    assert decision.status.upgrade.attempts == 0
    assert reason_of(decision) != Reason.VERIFYING_OUTCOME
    again = decide(replace(o, status=decision.status), LIMITS)
    assert again.effect is Effect.UPGRADE
    assert again.status.upgrade is not None
    assert again.status.upgrade.attempts == 1


def test_an_unsent_retry_keeps_the_failure_that_led_to_it():
    failed = ended(Result.FAILED, retries=1)
    o, _ = called(
        observed(
            failed, engine=failed_engine(), desired=desired(retry_request="please", retry_limit=1)
        )
    )
    decision = after_call(o, failure(FailureKind.NOT_SENT), LIMITS)
    again = decide(replace(o, status=decision.status, job=job(status="Error")), LIMITS)
    assert again.effect is Effect.RETRY
    assert again.status.upgrade is not None
    assert again.status.upgrade.retries == 2
    assert again.status.last_handled_retry_at == "please"


def test_the_vendors_request_to_pause_is_obeyed():
    asked = failure(FailureKind.THROTTLED, retry_after=60.0)
    decision = decide(observed(failure=asked, failures=1, engine=None), LIMITS)
    assert decision.requeue_after is not None
    assert decision.requeue_after >= 54


def next_call(o: Observation, limits=LIMITS) -> tuple[float, Observation] | None:
    """Return the seconds until the call is repeated, and the observation then, or None."""
    for seconds in range(1, 86_400):
        decision = decide(replace(o, known_for=float(seconds)), limits)
        if decision.effect is Effect.UPGRADE:
            return seconds, replace(o, status=decision.status)
        if decision.status.ready and decision.status.ready.reason == Reason.OUTCOME_UNCERTAIN:
            return None
    return None


@pytest.mark.parametrize("repeats", [0, 1, 2])
def test_a_call_of_unknown_outcome_is_made_again_ever_more_rarely_and_then_not_at_all(repeats):
    limits = replace(LIMITS, repeats=repeats)
    o = replace(called(observed())[0], engine=engine(), jobs=())
    waits = []
    while (called_again := next_call(o, limits)) is not None:
        waits.append(called_again[0])
        o = called_again[1]
    assert waits == [35, 70, 140][:repeats]
    uncertain = decide(replace(o, known_for=80_000.0), limits)
    assert (uncertain.effect, reason_of(uncertain)) == (Effect.NONE, Reason.OUTCOME_UNCERTAIN)


def test_an_uncertain_outcome_is_called_again_only_when_a_person_asks():
    o = replace(called(observed())[0], engine=engine(), jobs=(), known_for=80_000.0)
    assert o.record is not None
    spent = o.record.model_copy(update={"attempts": 3})
    o = replace(o, status=o.status.model_copy(update={"upgrade": spent}))
    for edited in (desired(generation=9), desired(generation=9, timeout=timedelta(hours=9))):
        assert decide(replace(o, desired=edited), LIMITS).effect is Effect.NONE
    asked = decide(replace(o, desired=desired(retry_request="9:00")), LIMITS)
    assert asked.effect is Effect.UPGRADE
    assert asked.status.last_handled_retry_at == "9:00"


def test_a_call_is_not_decided_on_a_look_that_is_too_old():
    decision = decide(observed(engine_age=LIMITS.look_valid + 1), LIMITS)
    assert decision.effect is Effect.NONE
    assert decision.status == observed().status
    assert decision.requeue_after is not None


def test_an_answer_without_an_open_intent_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="no intent is open"):
        after_call(observed(ended(Result.SUCCEEDED)), ACCEPTED, LIMITS)
