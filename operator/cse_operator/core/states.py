"""The state machine of an upgrade: one table, read by `decide()` and drawn in the docs.

A resource is in one of three stages, read from the recorded upgrade (`status.upgrade`), so
that a restarted operator is where the crashed one was:

* **Idle**: nothing is open; the last upgrade, if any, has its result.
* **Unanswered**: an intent is recorded, and whether the call took effect is not known: the
  call is on its way, or its answer was lost.
* **Running**: a job is known and has to be followed to its end.

What is seen in a stage is classified as exactly one *situation* (`situations.py`), and the
table says what follows: the effect on the outside world (at most one), the next stage, the
reason to show, and when to look again. Everything that changes a stage is in this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

from cse_operator.api.reasons import Reason


class Stage(StrEnum):
    """Where the recorded upgrade stands."""

    IDLE = "Idle"
    UNANSWERED = "Unanswered"
    RUNNING = "Running"


class Effect(StrEnum):
    """What to do to, or ask of, the outside world. Only the last two change anything there."""

    NONE = "none"
    LOOK = "look at the engine"
    SHOW_JOB = "look at the job"
    UPGRADE = "call Upgrade"
    RETRY = "call Retry"


class Requeue(Enum):
    """When to look again without being triggered."""

    NEVER = "on a trigger"
    POLL = "followed by the poller"
    CONFIRM = "in a second"
    WAIT = "in a quarter of a minute"
    GRACE = "after the grace"
    SLOW = "in a minute"
    BACKOFF = "with backoff"


class Situation(StrEnum):
    """What is seen; one of them holds in each stage."""

    # In any stage
    RIVAL = "another resource drives the same engine"
    NOT_LOOKED = "the engine was not looked at freshly"
    # Idle
    AT_TARGET = "the engine is at the wanted version"
    BEYOND_TARGET = "the engine is beyond the wanted version"
    FOREIGN_UPGRADE = "someone else's upgrade runs"
    JOB_NOT_SEEN = "a job has to be looked at first"
    JUST_ENDED = "a job ended just now, and reads may lag"
    REJECTED = "this wish was rejected"
    FORBIDDEN = "this wish's call was not allowed"
    FAILED = "this wish's job failed"
    TIMED_OUT = "this wish's job timed out"
    MISMATCHED = "this wish's job finished at another version"
    RETRY_OFFERED = "the vendor offers Retry, and a retry is left or requested"
    BUSY = "the engine is doing something else"
    UNAVAILABLE = "the engine is not Available"
    UNUSABLE = "the engine needs its owner"
    SUSPENDED = "an upgrade is due, and spec.suspend is true"
    UPGRADE_DUE = "an upgrade is due"
    # Unanswered
    NEW_JOB = "a job fits the intent"
    REACHED_TARGET = "the engine is at the intent's target"
    OTHER_JOB = "another kind of job ran since"
    REFUSED_AND_BUSY = "the call was answered as busy, and another job ran"
    UNCHANGED_IN_GRACE = "nothing is seen of the call, and reads may lag"
    UNCHANGED_AND_WANTED = "nothing is seen of the call after the grace"
    RETRY_UNCHANGED = "nothing is seen of the Retry call after the grace"
    UNCHANGED_AND_UNWANTED = "nothing is seen of the call after the grace, and the wish changed"
    # Running
    JOB_RUNS = "the job runs"
    JOB_OVERDUE = "the job runs for longer than the time-out"
    JOB_FINISHED = "the job is finished and the engine shows it"
    JOB_FINISHED_UNSEEN = "the job is finished and the engine does not show it yet"
    JOB_FINISHED_MISMATCHED = "the job is finished and the engine shows another version"
    JOB_FAILED = "the job failed"
    JOB_TIMED_OUT = "the job timed out"
    JOB_IN_DOUBT = "the job is the old one, and the engine names another"
    JOB_HIDDEN = "the vendor does not know the job (yet)"
    JOB_VANISHED = "the vendor does not know the job, and the engine is not upgrading"


@dataclass(frozen=True, slots=True)
class Transition:
    """What follows from a situation in a stage."""

    to: Stage
    effect: Effect = Effect.NONE
    reason: Reason | None = None
    """None: nothing to show yet, the step goes on in the next stage or after the look."""
    requeue: Requeue = Requeue.NEVER


_I, _U, _R = Stage.IDLE, Stage.UNANSWERED, Stage.RUNNING
_S = Situation

TRANSITIONS: dict[tuple[Stage, Situation], Transition] = {
    # -- Idle: compare the wish with the engine -------------------------------------------
    (_I, _S.RIVAL): Transition(_I, reason=Reason.ENGINE_ALREADY_MANAGED),
    (_I, _S.NOT_LOOKED): Transition(_I, Effect.LOOK),
    (_I, _S.JOB_NOT_SEEN): Transition(_I, Effect.SHOW_JOB),
    (_I, _S.AT_TARGET): Transition(_I, reason=Reason.UP_TO_DATE),
    (_I, _S.BEYOND_TARGET): Transition(_I, reason=Reason.DOWNGRADE_NOT_SUPPORTED),
    (_I, _S.FOREIGN_UPGRADE): Transition(_R),
    (_I, _S.JUST_ENDED): Transition(_I, reason=Reason.UPGRADING, requeue=Requeue.CONFIRM),
    (_I, _S.REJECTED): Transition(_I, reason=Reason.UPGRADE_REJECTED),
    (_I, _S.FORBIDDEN): Transition(_I, reason=Reason.PERMISSION_DENIED),
    (_I, _S.FAILED): Transition(_I, reason=Reason.UPGRADE_FAILED),
    (_I, _S.TIMED_OUT): Transition(_I, reason=Reason.UPGRADE_TIMED_OUT),
    (_I, _S.MISMATCHED): Transition(_I, reason=Reason.VERSION_MISMATCH, requeue=Requeue.SLOW),
    (_I, _S.RETRY_OFFERED): Transition(_U, Effect.RETRY, Reason.SUBMITTING),
    (_I, _S.BUSY): Transition(_I, reason=Reason.ENGINE_BUSY, requeue=Requeue.WAIT),
    (_I, _S.UNAVAILABLE): Transition(_I, reason=Reason.ENGINE_UNAVAILABLE, requeue=Requeue.WAIT),
    (_I, _S.UNUSABLE): Transition(_I, reason=Reason.ENGINE_UNUSABLE, requeue=Requeue.SLOW),
    (_I, _S.SUSPENDED): Transition(_I, reason=Reason.SUSPENDED),
    (_I, _S.UPGRADE_DUE): Transition(_U, Effect.UPGRADE, Reason.SUBMITTING),
    # -- Unanswered: find out what became of the call, by looking -------------------------
    (_U, _S.RIVAL): Transition(_U, reason=Reason.ENGINE_ALREADY_MANAGED),
    (_U, _S.NOT_LOOKED): Transition(_U, Effect.LOOK),
    (_U, _S.JOB_NOT_SEEN): Transition(_U, Effect.SHOW_JOB),
    (_U, _S.NEW_JOB): Transition(_R),
    (_U, _S.REACHED_TARGET): Transition(_I),
    (_U, _S.OTHER_JOB): Transition(_U, reason=Reason.OUTCOME_UNCERTAIN, requeue=Requeue.SLOW),
    (_U, _S.REFUSED_AND_BUSY): Transition(_I),
    (_U, _S.UNCHANGED_IN_GRACE): Transition(
        _U, reason=Reason.VERIFYING_OUTCOME, requeue=Requeue.GRACE
    ),
    (_U, _S.UNCHANGED_AND_WANTED): Transition(_U, Effect.UPGRADE, Reason.SUBMITTING),
    (_U, _S.RETRY_UNCHANGED): Transition(_U, Effect.RETRY, Reason.SUBMITTING),
    (_U, _S.UNCHANGED_AND_UNWANTED): Transition(_I),
    # -- Running: follow the job to its end -----------------------------------------------
    (_R, _S.RIVAL): Transition(_R, reason=Reason.ENGINE_ALREADY_MANAGED),
    (_R, _S.NOT_LOOKED): Transition(_R, Effect.LOOK),
    (_R, _S.JOB_RUNS): Transition(_R, reason=Reason.UPGRADING, requeue=Requeue.POLL),
    (_R, _S.JOB_OVERDUE): Transition(_R, reason=Reason.UPGRADE_OVERDUE, requeue=Requeue.POLL),
    (_R, _S.JOB_FINISHED): Transition(_I),
    (_R, _S.JOB_FINISHED_UNSEEN): Transition(_R, reason=Reason.UPGRADING, requeue=Requeue.CONFIRM),
    (_R, _S.JOB_FINISHED_MISMATCHED): Transition(_I),
    (_R, _S.JOB_FAILED): Transition(_I),
    (_R, _S.JOB_TIMED_OUT): Transition(_I),
    (_R, _S.JOB_IN_DOUBT): Transition(_U),
    (_R, _S.JOB_HIDDEN): Transition(_R, reason=Reason.UPGRADING, requeue=Requeue.POLL),
    (_R, _S.JOB_VANISHED): Transition(_I),
}
