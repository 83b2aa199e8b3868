"""`decide()`: from what was observed to what to do next. Pure; the heart of the operator.

A step of the runtime calls `decide()`, carries out the one effect it names, adds what came
of it to the observation, and calls again until there is nothing left but to write the
status. The table of states is in `states.py`, the questions in `situations.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cse_operator.api.reasons import FACTS, Reason, Standing
from cse_operator.api.resource import Condition, EngineInfo, Phase, Status
from cse_operator.core import messages, records
from cse_operator.core.backoff import exponential, spread
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.observation import Accepted
from cse_operator.core.observed import Observed, Policy
from cse_operator.core.situations import classify, grace_left, overdue_in, stage_of
from cse_operator.core.states import TRANSITIONS, Effect, Requeue, Situation, Stage

_PHASES: Final = {
    Reason.UP_TO_DATE: Phase.UP_TO_DATE,
    Reason.SUBMITTING: Phase.SUBMITTING,
    Reason.VERIFYING_OUTCOME: Phase.SUBMITTING,
    Reason.UPGRADING: Phase.UPGRADING,
    Reason.UPGRADE_OVERDUE: Phase.UPGRADING,
}

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
    FailureKind.CREDENTIALS_MISSING: (Reason.CREDENTIALS_NOT_FOUND, Requeue.WAIT),
    FailureKind.CREDENTIALS_INVALID: (Reason.CREDENTIALS_INVALID, Requeue.WAIT),
    FailureKind.REGION_NOT_ALLOWED: (Reason.REGION_NOT_ALLOWED, Requeue.NEVER),
}
_PASSING: Final = frozenset({FailureKind.TRANSIENT, FailureKind.THROTTLED})
_DOUBTED: Final = frozenset({FailureKind.NOT_FOUND, FailureKind.FORBIDDEN})
"""Not believed of an engine that was just seen until it is said again: gateways say it in passing.

Never refused credentials, because trying those again locks a key.
"""

_REFUSALS: Final = frozenset({FailureKind.REJECTED, FailureKind.FORBIDDEN, FailureKind.NOT_FOUND})
_CALLS: Final = frozenset({Effect.UPGRADE, Effect.RETRY})
_IN_DOUBT: Final = frozenset({FailureKind.OUTCOME_UNKNOWN, FailureKind.BUSY, FailureKind.TRANSIENT})

_MESSAGE_LIMIT: Final = 1024


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do next.

    `status` is the status to write; with an effect that changes the outside world, it is
    the intent, to be written *before* the effect. With a look as the effect it is not
    written: the look may change it.
    """

    status: Status
    effect: Effect = Effect.NONE
    job_to_show: int | None = None
    requeue_after: float | None = None
    situation: Situation | None = None


def decide(o: Observed, policy: Policy) -> Decision:
    """Decide what follows from what was observed."""
    if o.failure is not None and o.rival is None:
        return _could_not_look(o, o.failure, policy)
    # Each turn closes one stage; a job can be found, followed and ended in one step.
    for _ in range(len(Stage) + 1):
        situation = classify(o, policy)
        transition = TRANSITIONS[stage_of(o.record), situation]
        if transition.effect in {Effect.LOOK, Effect.SHOW_JOB}:
            job = o.engine.latest_job_id if o.engine else None
            return Decision(o.status, transition.effect, job_to_show=job, situation=situation)
        if transition.effect in _CALLS and o.engine_age > policy.look_valid:
            # The process was stopped, or the look was slow: the engine may have moved on.
            return Decision(o.status, requeue_after=_seconds(o, Requeue.CONFIRM, policy))
        status = records.advance(o, situation)
        if transition.reason is not None:
            message = messages.sentence(o, situation, status)
            return Decision(
                _concluded(o, status, transition.reason, message, situation),
                transition.effect,
                requeue_after=_seconds(o, transition.requeue, policy),
                situation=situation,
            )
        o = replace(o, status=status)
    raise AssertionError(f"the table of states leads nowhere from {stage_of(o.record)}")


def after_call(o: Observed, outcome: Accepted | Failure, policy: Policy) -> Decision:
    """Decide what to record of a changing call, once it was answered or failed.

    Args:
        o: the observation, with the status that holds the intent.
        outcome: the vendor's answer, or why there is none.
        policy: how patient to be.
    """
    if isinstance(outcome, Accepted):
        status = records.accepted(o.status, outcome.job_id)
        record = status.upgrade
        assert record is not None  # noqa: S101 - it was just made
        text = messages.upgrading(record)
        return Decision(_concluded(o, status, Reason.UPGRADING, text, Situation.JOB_RUNS))
    if outcome.kind in _REFUSALS:
        return _refused(o, outcome, policy)
    if outcome.kind in _IN_DOUBT:
        status = records.doubted(o.status, outcome)
        situation = Situation.UNCHANGED_IN_GRACE
        text = messages.sentence(o, situation, status)
        concluded = _concluded(o, status, Reason.VERIFYING_OUTCOME, text, situation)
        # The first look comes soon: where the call took effect, the engine shows it by then.
        return Decision(concluded, requeue_after=spread(policy.confirm, jitter=o.jitter))
    # The intent stays, so that nothing that led to it (a request, the retries so far) is lost.
    undone = replace(o, status=records.undone(o.status, outcome))
    return _could_not_look(undone, outcome, replace(policy, patience=0))


def invalid_spec(status: Status, generation: int, why: str, now: datetime) -> Decision:
    """Decide about a resource whose spec does not fit the models: say so, call nothing."""
    message = f"{why}; correct it, and apply the CRD that belongs to this operator"
    changes = {
        "observed_generation": generation,
        "phase": Phase.FAILED,
        "message": message,
        "conditions": conditions(status, Reason.INVALID_SPEC, message, generation, now),
    }
    return Decision(status.model_copy(update=changes))


def _refused(o: Observed, failure: Failure, policy: Policy) -> Decision:
    """The vendor said no for good: recorded, and shown by what the refusal means."""
    status = records.rejected(o.status, failure)
    forbidden = failure.kind is FailureKind.FORBIDDEN
    situation = Situation.FORBIDDEN if forbidden else Situation.REJECTED
    reason = TRANSITIONS[Stage.IDLE, situation].reason
    assert reason is not None  # noqa: S101 - the table says so
    text = messages.sentence(o, situation, status)
    concluded = _concluded(o, status, reason, text, situation)
    # A look follows, because a refusal by a duplicate of the call would hide a running job, and
    # it comes when it would show that job.
    return Decision(concluded, requeue_after=policy.grace + policy.confirm * o.jitter)


def _could_not_look(o: Observed, failure: Failure, policy: Policy) -> Decision:
    reason, requeue = _FAILURES[failure.kind]
    waits_for_more = o.failures < policy.patience and _is_patient_with(o, failure)
    if waits_for_more and requeue is Requeue.SLOW:
        requeue = Requeue.WAIT
    seconds = _seconds(o, requeue, policy)
    # Refused credentials are held back for long, but the Secret may be mended before that.
    if failure.retry_after is not None and failure.kind is not FailureKind.UNAUTHENTICATED:
        seconds = max(seconds or 0.0, spread(failure.retry_after, jitter=o.jitter))
    if waits_for_more:
        return Decision(o.status, requeue_after=seconds)
    message = messages.could_not_look(failure)
    return Decision(_concluded(o, o.status, reason, message, None), requeue_after=seconds)


def _is_patient_with(o: Observed, failure: Failure) -> bool:
    """Whether what is shown of a resource may outlive a first failure of this kind.

    Of one whose present spec nobody has looked at yet, any failure is told at once.
    """
    ready = o.status.ready
    if ready is None or o.status.observed_generation != o.wish.generation:
        return False
    if failure.kind in _DOUBTED:
        return all(condition.type != Standing.STALLED.value for condition in o.status.conditions)
    return failure.kind in _PASSING


def _seconds(o: Observed, requeue: Requeue, policy: Policy) -> float | None:
    match requeue:
        case Requeue.NEVER:
            return None
        case Requeue.POLL:
            return _until_overdue(o)
        case Requeue.CONFIRM:
            return spread(policy.confirm, jitter=o.jitter)
        case Requeue.WAIT:
            return spread(policy.wait, jitter=o.jitter)
        case Requeue.GRACE:
            # Looks grow rarer within the grace, and one comes right after its end.
            left = grace_left(o, policy)
            if left <= 0:
                return spread(policy.wait, jitter=o.jitter)
            left = max(policy.confirm, left)
            return min(left, max(policy.confirm, o.known_for)) + policy.confirm * o.jitter
        case Requeue.SLOW:
            return spread(policy.slow, jitter=o.jitter)
        case Requeue.BACKOFF:
            return exponential(
                o.failures,
                base=policy.backoff_base,
                limit=policy.backoff_limit,
                jitter=o.jitter,
            )


def _until_overdue(o: Observed) -> float | None:
    """The poller triggers what follows; only the time-out passes without any news."""
    if o.record is None or o.job is None or o.job.job_id != o.record.job_id:
        return None
    seconds = overdue_in(o, o.record, o.job)
    return seconds + 1.0 if seconds > 0 else None


# -- the status, made from what is recorded and what is seen ---------------------------------


def _concluded(
    o: Observed, status: Status, reason: Reason, message: str, situation: Situation | None
) -> Status:
    message = message[:_MESSAGE_LIMIT]
    changes: dict[str, object] = {
        "observed_generation": o.wish.generation,
        "phase": _phase(reason),
        "message": message,
        "conditions": conditions(o.status, reason, message, o.wish.generation, o.now),
    }
    # A look that came a moment before the job's end shows: not worth a write of its own.
    if o.engine is not None and situation is not Situation.JOB_FINISHED_UNSEEN:
        engine = o.engine
        changes["current_version"] = engine.version or None
        changes["latest_version"] = engine.latest_version
        changes["engine"] = EngineInfo(name=engine.name, type=engine.type, status=engine.status)
    if o.engine_is_fresh or situation is Situation.RIVAL:
        answered = o.wish.reconcile_request or o.status.last_handled_reconcile_at
        changes["last_handled_reconcile_at"] = answered
    if situation in _NOTHING_TO_RETRY:
        changes["last_handled_retry_at"] = records.handled_retry(o)
    return status.model_copy(update=changes)


_NOTHING_TO_RETRY: Final = frozenset(
    {
        Situation.AT_TARGET,
        Situation.BEYOND_TARGET,
        Situation.JOB_RUNS,
        Situation.JOB_OVERDUE,
        Situation.JOB_HIDDEN,
        Situation.JOB_FINISHED_UNSEEN,
    }
)
"""Where a requested retry is answered by doing nothing, so that it does not wait for later."""


def _phase(reason: Reason) -> Phase:
    if reason in _PHASES:
        return _PHASES[reason]
    return Phase.FAILED if FACTS[reason].standing is Standing.STALLED else Phase.WAITING


def conditions(
    old: Status, reason: Reason, message: str, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The conditions for a reason: Reconciling or Stalled while they are true, and Ready.

    The abnormal ones come first, as kstatus reads them in order. A transition time moves
    only when the condition's status changes.
    """
    before = {condition.type: condition for condition in old.conditions}
    standing = FACTS[reason].standing

    def condition(type_: Standing, status: str) -> Condition:
        same = before.get(type_.value)
        since = same.last_transition_time if same and same.status == status else now
        return Condition.model_validate(
            {
                "type": type_.value,
                "status": status,
                "observedGeneration": generation,
                "lastTransitionTime": since,
                "reason": reason.value,
                "message": message,
            }
        )

    ready = condition(Standing.READY, "True" if standing is Standing.READY else "False")
    if standing is Standing.READY:
        return (ready,)
    return (condition(standing, "True"), ready)
