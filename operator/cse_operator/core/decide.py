"""`decide()`: from an observation to the next action. Pure; the heart of the operator.

A step of the runtime calls `decide()`, carries out the one effect that the decision names, adds the
result to the observation, and calls `decide()` again until only the status is left to write.
`situations/` names the situation that an observation shows; `machine.py` says what follows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cse_operator.api.failure_kind import FailureKind
from cse_operator.api.reasons import ConditionType, Reason
from cse_operator.api.status import Phase, Status
from cse_operator.core.backoff import exponential, spread
from cse_operator.core.failure import Failure
from cse_operator.core.failure_messages import why_not_seen
from cse_operator.core.machine import BrokenRowError, Transition, apply
from cse_operator.core.observation import Limits, Observation
from cse_operator.core.permit import Held
from cse_operator.core.records import open_record
from cse_operator.core.situations import classify, classify_answer, is_gone
from cse_operator.core.states import Effect, Requeue, Situation, State, state_of
from cse_operator.core.status import concluded, conditions, kept
from cse_operator.core.views import Accepted
from cse_operator.core.waits import grace_left, may_ask_for_jobs, overdue_in

_FAILURES: Final = {
    FailureKind.TRANSIENT: (Reason.CLOUD_UNAVAILABLE, Requeue.BACKOFF),
    FailureKind.OUTCOME_UNKNOWN: (Reason.CLOUD_UNAVAILABLE, Requeue.BACKOFF),
    FailureKind.NOT_SENT: (Reason.CLOUD_UNAVAILABLE, Requeue.BACKOFF),
    FailureKind.THROTTLED: (Reason.THROTTLED, Requeue.BACKOFF),
    FailureKind.BUSY: (Reason.ENGINE_BUSY, Requeue.WAIT),
    FailureKind.REJECTED: (Reason.CLOUD_UNAVAILABLE, Requeue.SLOW),
    FailureKind.NOT_FOUND: (Reason.ENGINE_NOT_FOUND, Requeue.SLOW),
    FailureKind.FORBIDDEN: (Reason.PERMISSION_DENIED, Requeue.SLOW),
    FailureKind.UNAUTHENTICATED: (Reason.CREDENTIALS_REFUSED, Requeue.SLOW),
    FailureKind.CREDENTIALS_MISSING: (Reason.CREDENTIALS_NOT_FOUND, Requeue.RARER),
    FailureKind.CREDENTIALS_INVALID: (Reason.CREDENTIALS_INVALID, Requeue.WAIT),
    FailureKind.REGION_NOT_ALLOWED: (Reason.REGION_NOT_ALLOWED, Requeue.NEVER),
}
_PASSING: Final = frozenset({FailureKind.TRANSIENT, FailureKind.THROTTLED})
_DOUBTED: Final = frozenset({FailureKind.NOT_FOUND, FailureKind.FORBIDDEN})
"""Of an engine seen just before, these must be repeated before they are believed: gateways say them
in passing. Refused credentials are not among them, because trying those again locks a key."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The next action.

    `status` is the status to write. If the effect changes the outside world, the status is the
    intent, to be written *before* the effect. If the effect is a look, the status is not written,
    because the look may change it: the next decision of the step starts from it.
    """

    status: Status
    effect: Effect = Effect.NONE
    job_to_show: int | None = None
    requeue_after: float | None = None
    situation: Situation | None = None
    broken: BrokenRowError | None = None
    """Set only for an answer to a call. Raise it once the answer is recorded, so that no job is
    lost."""


def decide(o: Observation, limits: Limits) -> Decision:
    """Return the next action for an observation.

    Raises:
        BrokenRowError: A record change led to a state other than its row's; nothing may be called.
    """
    failure = o.failure or _unseen_job(o, limits)
    if failure is not None and o.other_owner is None and state_of(o.status) is not State.UNREADABLE:
        return _could_not_look(o, failure, limits)
    # Each turn leaves one state; a job can be found, followed and ended in one step.
    for _ in range(len(State) + 1):
        situation = classify(o, limits)
        row, status, broken = apply(o, situation)
        if broken is not None:
            raise broken
        if row.effect.is_look:
            return Decision(o.status, row.effect, job_to_show=_job_to_show(o), situation=situation)
        if row.keeps:
            return Decision(
                kept(o), requeue_after=_seconds(o, row.requeue, limits), situation=situation
            )
        if row.reason is not None:
            return _shown(o, status, situation, row, limits)
        # The new state begins now, so this process has known it for no time.
        o = replace(o, status=status, known_for=0.0, wrote_intent=False)
    raise AssertionError(f"the table of states leads nowhere from {state_of(o.status)}")


def after_call(o: Observation, answer: Accepted | Failure | Held, limits: Limits) -> Decision:
    """Return what to record once a changing call was answered or failed.

    Args:
        o: the observation, whose status holds the intent.
        answer: the vendor's answer, the failure of the call, or the policies that held it back.
        limits: how patient to be.

    Raises:
        ValueError: No intent is open, so there is nowhere to record an answer.
    """
    if state_of(o.status) is not State.UNANSWERED:
        raise ValueError("a call was answered although no intent is open")
    o = replace(o, answer=answer, failure=None)
    if isinstance(answer, Held):
        o = replace(o, permit=answer)
    situation = classify_answer(answer, open_record(o.status).attempts)
    row, status, broken = apply(o, situation)
    if row.reason is not None:
        return replace(_shown(o, status, situation, row, limits), broken=broken)
    assert isinstance(answer, Failure)  # noqa: S101 - an accepted call is shown
    # Keep the intent: it holds the request and the retries so far that led to the call.
    undone = replace(o, status=status)
    decision = _told(undone, answer, limits, patient=False)
    return replace(decision, situation=situation, broken=broken)


def invalid_spec(status: Status, generation: int, why: str, now: datetime) -> Decision:
    """Return the decision for a spec that does not fit the models: say so, call nothing."""
    message = f"{why}; correct it, and apply the CRD that belongs to this operator"
    changes = {
        "observed_generation": generation,
        "phase": Phase.FAILED,
        "message": message,
        "conditions": conditions(status, Reason.INVALID_SPEC, message, generation, now),
        "held": (),
        "held_since": None,
    }
    return Decision(status.model_copy(update=changes))


def _shown(
    o: Observation, status: Status, situation: Situation, row: Transition, limits: Limits
) -> Decision:
    """Return the decision of a row that ends the step: the status to show, and any effect."""
    if row.reason is None or row.say is None:
        raise AssertionError(f"nothing to say: {situation}")
    message = row.say(o, status)
    seconds = _seconds(o, row.requeue, limits)
    for failure in (o.jobs_failure, o.answer):
        if isinstance(failure, Failure) and failure.retry_after is not None:
            # Not before the time that the vendor named, and not all resources at that moment.
            late = failure.retry_after + limits.confirm * o.jitter
            seconds = max(seconds or 0.0, late)
    reason = row.reason(o) if callable(row.reason) else row.reason
    return Decision(
        concluded(o, status, reason, message, row),
        row.effect,
        requeue_after=seconds,
        situation=situation,
    )


def _unseen_job(o: Observation, limits: Limits) -> Failure | None:
    """Return why the job cannot be seen; None if there is something else to look at.

    The vendor may answer with a server error (502) for the jobs of a deleted engine. And an answer
    that is never readable must not hide the job's end, which the vendor's list of jobs may show.
    """
    record = o.record
    if record is None or not record.running or o.failures < limits.patience:
        return o.job_failure
    listed = o.shown_job(record.job_id) is not None
    return None if o.engine is None or may_ask_for_jobs(o) or listed else o.job_failure


def _job_to_show(o: Observation) -> int | None:
    if o.record is not None and o.record.running:
        return o.record.job_id
    return o.engine.latest_job_id if o.engine else None


def _could_not_look(o: Observation, failure: Failure, limits: Limits) -> Decision:
    if is_gone(o, limits):
        row, status, broken = apply(o, Situation.ENGINE_GONE)
        if broken is not None:
            raise broken
        return _shown(o, status, Situation.ENGINE_GONE, row, limits)
    return _told(o, failure, limits, patient=True)


def _told(o: Observation, failure: Failure, limits: Limits, *, patient: bool) -> Decision:
    """The vendor could not be asked: report why, unless the failure may pass by itself."""
    reason, requeue = _FAILURES[failure.kind]
    waits_for_more = patient and o.failures < limits.patience and _is_patient_with(o, failure)
    if waits_for_more and requeue is Requeue.SLOW:
        requeue = Requeue.WAIT
    seconds = _seconds(o, requeue, limits)
    # Refused credentials have a long retry_after, but the Secret may be mended earlier.
    if failure.retry_after is not None and failure.kind is not FailureKind.UNAUTHENTICATED:
        seconds = max(seconds or 0.0, spread(failure.retry_after, jitter=o.jitter))
    if waits_for_more:
        return Decision(o.status, requeue_after=seconds)
    message = why_not_seen(failure)
    return Decision(concluded(o, o.status, reason, message, None), requeue_after=seconds)


def _is_patient_with(o: Observation, failure: Failure) -> bool:
    """Whether the shown status may outlast a first failure of this kind.

    While the status is of an older spec, any failure is reported at once.
    """
    ready = o.status.ready
    if ready is None or o.status.observed_generation != o.desired.generation:
        return False
    if failure.kind in _DOUBTED:
        return all(
            condition.type != ConditionType.STALLED.value for condition in o.status.conditions
        )
    return failure.kind in _PASSING


def _seconds(o: Observation, requeue: Requeue, limits: Limits) -> float | None:
    fixed = {
        Requeue.CONFIRM: limits.confirm,
        Requeue.WAIT: limits.wait,
        Requeue.SLOW: limits.slow,
    }
    if requeue in fixed:
        return spread(fixed[requeue], jitter=o.jitter)
    soon = limits.confirm * o.jitter
    match requeue:
        case Requeue.POLL:
            return _until_the_next_poll(o)
        case Requeue.GRACE:
            return _until_the_grace_is_over(o, limits)
        case Requeue.AFTER_GRACE:
            return _after_the_grace_of_a_refusal(o, limits)
        case Requeue.MAY_CALL:
            return max(limits.confirm, o.may_call_in) + soon
        case Requeue.BACKOFF | Requeue.RARER:
            away = requeue is Requeue.BACKOFF
            limit = limits.outage_limit if away else limits.backoff_limit
            return exponential(o.failures, base=limits.backoff_base, limit=limit, jitter=o.jitter)
        case _:
            return None


def _until_the_grace_is_over(o: Observation, limits: Limits) -> float:
    """Return seconds until the next look: ever more within the grace, then right after it."""
    left = grace_left(o, limits)
    if left <= 0:
        return spread(limits.wait, jitter=o.jitter)
    left = max(limits.confirm, left)
    return min(left, max(limits.confirm, o.known_for)) + limits.confirm * o.jitter


def _after_the_grace_of_a_refusal(o: Observation, limits: Limits) -> float | None:
    """Return seconds until the one look right after the grace; None once the grace is over.

    The refused call may be a duplicate of a call that took effect, and lagging reads hide its job
    until then. A step that an event triggers in between does not replace this look.
    """
    left = limits.grace if o.answer is not None else limits.grace - o.known_for
    return left + limits.confirm * o.jitter if left > 0 else None


def _until_the_next_poll(o: Observation) -> float | None:
    """Return seconds until the job is looked at again, or is overdue, whichever is earlier."""
    record = o.record
    job = o.shown_job(record.job_id) if record is not None else None
    overdue = overdue_in(o, record, job) if record is not None and job is not None else 0.0
    moments = [overdue + 1.0] if overdue > 0 else []
    if o.poll_interval is not None:
        moments.append(spread(o.poll_interval, jitter=o.jitter))
    return min(moments, default=None)
