"""What is recorded of a call, once it was answered or failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cse_operator.api.reasons import Reason
from cse_operator.api.resource import Action, Phase, Result
from cse_operator.core.decide import Decision, after_call, decide
from cse_operator.core.failure import FailureKind
from cse_operator.core.observation import Accepted
from cse_operator.core.observed import Observed
from cse_operator.core.situations import stage_of
from cse_operator.core.states import Effect, Stage
from support.observations import (
    BUSY,
    LOST,
    POLICY,
    REFUSED,
    at,
    ended,
    engine,
    failed_engine,
    failure,
    job,
    observed,
    wish,
)

ACCEPTED = Accepted(engine_id="engine-1", engine_name="test", job_id=101)


def called(seen: Observed) -> tuple[Observed, Decision]:
    """The observation with the intent stored, as it is when the call is answered."""
    decision = decide(seen, POLICY)
    assert decision.effect in {Effect.UPGRADE, Effect.RETRY}
    return replace(seen, status=decision.status), decision


def reason_of(decision: Decision) -> str:
    assert decision.status.ready is not None
    return decision.status.ready.reason


def test_an_intent_names_what_is_called_and_what_was_seen_before():
    # Of the look's ten seconds, the vendor may have dated its answer after the first nine.
    _, decision = called(observed(engine_age=12.5, engine_since=2.5))
    intent = decision.status.upgrade
    assert intent is not None
    assert intent.unanswered
    assert (intent.action, intent.generation, intent.attempts) == (Action.UPGRADE, 3, 1)
    assert (intent.from_version, intent.target_version) == ("2.3.0", "2.4.0")
    assert (intent.baseline_job_id, intent.baseline_at) == (100, at(2.5))
    assert decision.status.phase is Phase.SUBMITTING
    assert (decision.status.job_id, decision.status.result) == (None, None)


def test_an_accepted_call_is_followed_by_its_job():
    o, _ = called(observed())
    decision = after_call(o, ACCEPTED, POLICY)
    assert decision.status.upgrade is not None
    assert decision.status.upgrade.running
    assert (decision.status.job_id, decision.status.result) == (101, None)
    assert (reason_of(decision), decision.status.phase) == (Reason.UPGRADING, Phase.UPGRADING)


def test_a_refused_call_is_a_result_and_looked_after_once_more():
    o, _ = called(observed())
    decision = after_call(o, REFUSED, POLICY)
    assert decision.status.result is Result.REJECTED
    assert decision.status.history[0].result is Result.REJECTED
    assert decision.status.upgrade is not None
    assert decision.status.upgrade.error is not None
    assert decision.status.upgrade.error.code == "SVCSTG.00501999"
    assert reason_of(decision) == Reason.UPGRADE_REJECTED
    assert decision.requeue_after is not None


def test_a_refusal_is_told_with_the_vendors_words_and_the_way_out():
    o, _ = called(observed())
    message = after_call(o, REFUSED, POLICY).status.message
    assert message is not None
    assert "the vendor's words (HTTP 400, SVCSTG.00501999)" in message
    assert "set spec.version" in message
    assert "cse-operator.io/retry-requested-at" in message


def test_a_forbidden_call_says_so_now_and_at_the_next_look():
    o, _ = called(observed())
    forbidden = failure(FailureKind.FORBIDDEN, http_status=403, code="APIGW.0302")
    decision = after_call(o, forbidden, POLICY)
    assert reason_of(decision) == Reason.PERMISSION_DENIED
    next_look = decide(replace(o, status=decision.status), POLICY)
    assert next_look.status == decision.status
    assert next_look.effect is Effect.NONE


@pytest.mark.parametrize(
    "outcome", [LOST, BUSY, failure(FailureKind.TRANSIENT, http_status=503)], ids=lambda f: f.kind
)
def test_a_call_in_doubt_is_looked_after_soon_and_not_repeated(outcome):
    o, _ = called(observed())
    decision = after_call(o, outcome, POLICY)
    assert reason_of(decision) == Reason.VERIFYING_OUTCOME
    assert stage_of(decision.status.upgrade) is Stage.UNANSWERED
    assert decision.requeue_after is not None
    assert decision.requeue_after < 2
    again = decide(replace(o, status=decision.status, known_for=29), POLICY)
    assert again.effect is Effect.NONE


CERTAINLY_NO_EFFECT = [
    FailureKind.THROTTLED,
    FailureKind.NOT_SENT,
    FailureKind.UNAUTHENTICATED,
    FailureKind.CREDENTIALS_MISSING,
    FailureKind.CREDENTIALS_INVALID,
    FailureKind.REGION_NOT_ALLOWED,
]


@pytest.mark.parametrize("kind", CERTAINLY_NO_EFFECT)
def test_a_call_that_certainly_had_no_effect_is_made_again_without_a_grace(kind):
    o, _ = called(observed())
    decision = after_call(o, failure(kind), POLICY)
    assert decision.status.upgrade is not None
    assert decision.status.upgrade.attempts == 0
    assert reason_of(decision) != Reason.VERIFYING_OUTCOME
    again = decide(replace(o, status=decision.status), POLICY)
    assert again.effect is Effect.UPGRADE
    assert again.status.upgrade is not None
    assert again.status.upgrade.attempts == 1


@pytest.mark.parametrize("status", [401, 429])
def test_a_call_that_was_answered_as_not_done_is_made_again_when_a_look_would_show_it(status):
    kind = FailureKind.UNAUTHENTICATED if status == 401 else FailureKind.THROTTLED
    o, _ = called(observed())
    decision = after_call(o, failure(kind, http_status=status), POLICY)
    early, late = (
        decide(replace(o, status=decision.status, known_for=seconds), POLICY)
        for seconds in (POLICY.lag - 1, POLICY.lag)
    )
    assert (early.effect, reason_of(early)) == (Effect.NONE, Reason.VERIFYING_OUTCOME)
    assert late.effect is Effect.UPGRADE
    assert late.status.upgrade is not None
    assert (late.status.upgrade.attempts, late.status.upgrade.error) == (1, None)


def test_what_led_to_a_retry_survives_a_throttled_call():
    failed = ended(Result.FAILED, retries=1)
    o, _ = called(
        observed(failed, engine=failed_engine(), wish=wish(retry_request="please", retry_limit=1))
    )
    decision = after_call(o, failure(FailureKind.THROTTLED), POLICY)
    again = decide(replace(o, status=decision.status, job=job(status="Error")), POLICY)
    assert again.effect is Effect.RETRY
    assert again.status.upgrade is not None
    assert again.status.upgrade.retries == 2
    assert again.status.last_handled_retry_at == "please"


def test_the_vendors_wish_to_wait_is_obeyed():
    o, _ = called(observed())
    decision = after_call(o, failure(FailureKind.THROTTLED, retry_after=60.0), POLICY)
    assert decision.requeue_after is not None
    assert decision.requeue_after >= 54


def test_a_call_that_has_no_effect_again_and_again_is_made_ever_more_rarely():
    o = replace(called(observed())[0], engine=engine())
    waits = []
    for _ in range(6):
        seconds = 1.0
        while decide(replace(o, known_for=seconds), POLICY).effect is Effect.NONE:
            seconds += 1.0
        waits.append(seconds)
        o = replace(o, status=decide(replace(o, known_for=seconds), POLICY).status)
    assert waits == [30, 60, 120, 240, 240, 240]


def test_a_call_is_not_decided_on_a_look_that_is_too_old():
    decision = decide(observed(engine_age=POLICY.look_valid + 1), POLICY)
    assert decision.effect is Effect.NONE
    assert decision.status == observed().status
    assert decision.requeue_after is not None


def test_an_answer_without_an_open_intent_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="no intent is open"):
        after_call(observed(ended(Result.SUCCEEDED)), ACCEPTED, POLICY)
