"""The state machine of an upgrade: one table, which `decide()` walks and is checked against.

A row says all that follows from a situation in a state: the next state, the one effect on the
outside world, the change of the record, the reason and the sentence to show, and when to look
again. Only rows change a record. A change that does not lead to the row's state is an error before
anything is called. The diagram and the lists of `docs/states.md` are generated from the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cse_operator.api.reasons import Reason
from cse_operator.api.status import Status
from cse_operator.core import ends, held, intents, messages, records
from cse_operator.core.observation import Observation
from cse_operator.core.states import Effect, Requeue, Situation, State, state_of

RecordChange = Callable[[Observation], Status]
ReasonOf = Callable[[Observation], Reason]
Sentence = Callable[[Observation, Status], str]


@dataclass(frozen=True, slots=True)
class Transition:
    """What follows from a situation in a state."""

    to: State
    effect: Effect = Effect.NONE
    record: RecordChange = records.unchanged
    reason: Reason | ReasonOf | None = None
    """None: the row shows nothing new. With `keeps`, the shown status stays; else the step goes on
    in the next state or after the look."""
    say: Sentence | None = None
    requeue: Requeue = Requeue.NEVER
    keeps: bool = False
    """Whether the step ends and the shown status stays unchanged."""
    answers_retry: bool = False
    """Whether a requested retry is answered by doing nothing, so that the request does not stay
    open."""
    shows_engine: bool = True
    """Whether the status shows this look's engine; a look from before a job's end is not shown."""


_I, _U, _R, _X = State.IDLE, State.UNANSWERED, State.RUNNING, State.UNREADABLE
_S, _E, _Q, _W = Situation, Effect, Requeue, Reason
_T = Transition

TRANSITIONS: dict[tuple[State, Situation], Transition] = {
    # -- Unreadable: nothing is called, and nothing is written over the record --------------
    (_X, _S.UNREADABLE): _T(
        _X, reason=_W.UNREADABLE_STATUS, say=messages.unreadable, shows_engine=False
    ),
    # -- Idle: compare the engine with the desired version -----------------------------------
    (_I, _S.OTHER_OWNER): _T(_I, reason=_W.ENGINE_ALREADY_MANAGED, say=messages.other_owner),
    (_I, _S.NOT_LOOKED): _T(_I, _E.LOOK),
    (_I, _S.JOB_NOT_SEEN): _T(_I, _E.SHOW_JOB),
    (_I, _S.LOOK_TOO_OLD): _T(_I, requeue=_Q.CONFIRM, keeps=True),
    (_I, _S.CALL_NOT_YET): _T(
        _I, reason=_W.WAITING_TO_CALL, say=messages.not_yet, requeue=_Q.MAY_CALL
    ),
    (_I, _S.PERMIT_NOT_ASKED): _T(_I, _E.ASK),
    (_I, _S.HELD): _T(_I, reason=held.reason_of_hold, say=held.held),
    (_I, _S.OBSERVE_ONLY): _T(
        _I, record=records.settled, reason=_W.OBSERVE_ONLY, say=messages.observes
    ),
    (_I, _S.AT_TARGET): _T(
        _I,
        record=records.settled_for_the_desired_version,
        reason=_W.UP_TO_DATE,
        say=messages.at_target,
        answers_retry=True,
    ),
    (_I, _S.PASSING): _T(_I, requeue=_Q.WAIT, keeps=True),
    (_I, _S.BEYOND_TARGET): _T(
        _I,
        record=records.settled_for_the_desired_version,
        reason=_W.DOWNGRADE_NOT_SUPPORTED,
        say=messages.beyond_target,
        answers_retry=True,
    ),
    (_I, _S.NOT_COMPARABLE): _T(
        _I,
        record=records.settled_if_judged,
        reason=_W.VERSION_NOT_COMPARABLE,
        say=messages.not_comparable,
        answers_retry=True,
    ),
    (_I, _S.FOREIGN_UPGRADE): _T(_R, record=intents.adopted),
    (_I, _S.JUST_ENDED): _T(_I, reason=_W.UPGRADING, say=messages.just_ended, requeue=_Q.CONFIRM),
    (_I, _S.REJECTED): _T(
        _I,
        record=records.settled,
        reason=_W.UPGRADE_REJECTED,
        say=messages.rejected,
        requeue=_Q.AFTER_GRACE,
    ),
    (_I, _S.FORBIDDEN): _T(
        _I,
        record=records.settled,
        reason=_W.PERMISSION_DENIED,
        say=messages.forbidden,
        requeue=_Q.AFTER_GRACE,
    ),
    (_I, _S.FAILED): _T(_I, record=records.settled, reason=_W.UPGRADE_FAILED, say=messages.failed),
    (_I, _S.TIMED_OUT): _T(
        _I, record=records.settled, reason=_W.UPGRADE_TIMED_OUT, say=messages.timed_out
    ),
    (_I, _S.MISMATCHED): _T(
        _I,
        record=records.settled,
        reason=_W.VERSION_MISMATCH,
        say=messages.mismatched,
        requeue=_Q.SLOW,
    ),
    (_I, _S.UNCERTAIN): _T(
        _I, record=records.settled, reason=_W.OUTCOME_UNCERTAIN, say=messages.no_effect_seen
    ),
    (_I, _S.ANSWERED): _T(
        _I, record=records.settled, reason=_W.RETRY_REQUIRED, say=messages.answered
    ),
    (_I, _S.RETRY_OFFERED): _T(
        _U, _E.RETRY, intents.intent_to_retry, _W.SUBMITTING, messages.submitting
    ),
    (_I, _S.BUSY): _T(
        _I,
        record=records.settled,
        reason=_W.ENGINE_BUSY,
        say=messages.busy,
        requeue=_Q.WAIT,
    ),
    (_I, _S.UNAVAILABLE): _T(
        _I,
        record=records.settled,
        reason=_W.ENGINE_UNAVAILABLE,
        say=messages.unavailable,
        requeue=_Q.WAIT,
    ),
    (_I, _S.UNUSABLE): _T(
        _I,
        record=records.settled,
        reason=_W.ENGINE_UNUSABLE,
        say=messages.unusable,
        requeue=_Q.SLOW,
    ),
    (_I, _S.SUSPENDED): _T(_I, record=records.settled, reason=_W.SUSPENDED, say=messages.suspended),
    (_I, _S.UPGRADE_DUE): _T(
        _U, _E.UPGRADE, intents.intent_to_upgrade, _W.SUBMITTING, messages.submitting
    ),
    # -- Unanswered, right after the call: record its answer -----------------------------------
    (_U, _S.CALL_ACCEPTED): _T(
        _R,
        record=records.accepted,
        reason=_W.UPGRADING,
        say=messages.follows,
        requeue=_Q.POLL,
        answers_retry=True,
    ),
    (_U, _S.CALL_REFUSED): _T(
        _I,
        record=records.refused,
        reason=_W.UPGRADE_REJECTED,
        say=messages.rejected,
        requeue=_Q.AFTER_GRACE,
    ),
    (_U, _S.CALL_FORBIDDEN): _T(
        _I,
        record=records.refused,
        reason=_W.PERMISSION_DENIED,
        say=messages.forbidden,
        requeue=_Q.AFTER_GRACE,
    ),
    (_U, _S.CALL_UNCLEAR): _T(
        _U,
        record=records.unclear,
        reason=_W.VERIFYING_OUTCOME,
        say=messages.verifying,
        requeue=_Q.CONFIRM,
    ),
    (_U, _S.CALL_NOT_SENT): _T(_U, record=records.not_sent, requeue=_Q.BACKOFF),
    (_U, _S.CALL_HELD): _T(_I, record=records.dropped, reason=held.reason_of_hold, say=held.held),
    (_U, _S.CALL_AGAIN_HELD): _T(
        _U, record=records.not_sent, reason=held.reason_of_hold, say=held.held
    ),
    # -- Unanswered, later: find out what became of the call, by looking ------------------------
    (_U, _S.OTHER_OWNER): _T(_U, reason=_W.ENGINE_ALREADY_MANAGED, say=messages.other_owner),
    (_U, _S.NOT_LOOKED): _T(_U, _E.LOOK),
    (_U, _S.JOB_NOT_SEEN): _T(_U, _E.SHOW_JOB),
    (_U, _S.JOBS_NOT_LISTED): _T(_U, _E.LIST_JOBS),
    (_U, _S.NEW_JOB): _T(_R, record=records.following_the_latest),
    (_U, _S.LISTED_JOB): _T(_R, record=records.following_the_listed),
    (_U, _S.REACHED_TARGET): _T(_I, record=ends.succeeded),
    (_U, _S.OTHER_JOB): _T(
        _U, reason=_W.OUTCOME_UNCERTAIN, say=messages.uncertain, requeue=_Q.SLOW
    ),
    (_U, _S.UNCHANGED_IN_GRACE): _T(
        _U, reason=_W.VERIFYING_OUTCOME, say=messages.verifying, requeue=_Q.GRACE
    ),
    (_U, _S.JOBS_UNREADABLE): _T(
        _U, reason=_W.VERIFYING_OUTCOME, say=messages.jobs_unreadable, requeue=_Q.SLOW
    ),
    (_U, _S.UNCHANGED_AND_WANTED): _T(
        _U, _E.UPGRADE, intents.called_again, _W.SUBMITTING, messages.submitting
    ),
    (_U, _S.RETRY_UNCHANGED): _T(
        _U, _E.RETRY, intents.called_again, _W.SUBMITTING, messages.submitting
    ),
    (_U, _S.LOOK_TOO_OLD): _T(_U, requeue=_Q.CONFIRM, keeps=True),
    (_U, _S.CALL_NOT_YET): _T(
        _U, reason=_W.VERIFYING_OUTCOME, say=messages.verifying, requeue=_Q.MAY_CALL
    ),
    (_U, _S.PERMIT_NOT_ASKED): _T(_U, _E.ASK),
    (_U, _S.OBSERVE_ONLY): _T(_U, reason=_W.OBSERVE_ONLY, say=messages.observes_a_lost_answer),
    (_U, _S.UNCHANGED_AND_BUSY): _T(
        _U, reason=_W.ENGINE_BUSY, say=messages.called_again_later, requeue=_Q.WAIT
    ),
    (_U, _S.UNCHANGED_AND_UNUSABLE): _T(
        _U, reason=_W.ENGINE_UNUSABLE, say=messages.called_again_later, requeue=_Q.SLOW
    ),
    (_U, _S.UNCHANGED_AND_SUSPENDED): _T(
        _U, reason=_W.SUSPENDED, say=messages.called_again_on_resume
    ),
    (_U, _S.UNCHANGED_AND_HELD): _T(_U, reason=held.reason_of_hold, say=held.held),
    (_U, _S.NO_MORE_CALLS): _T(
        _U, reason=_W.OUTCOME_UNCERTAIN, say=messages.no_effect_seen, requeue=_Q.SLOW
    ),
    (_U, _S.GIVEN_UP): _T(_I, record=ends.given_up),
    (_U, _S.NEVER_SENT): _T(_I, record=records.dropped),
    (_U, _S.ENGINE_GONE): _T(
        _I,
        record=ends.given_up,
        reason=_W.ENGINE_NOT_FOUND,
        say=messages.engine_gone,
        requeue=_Q.SLOW,
    ),
    # -- Running: follow the job to its end ------------------------------------------------------
    (_R, _S.OTHER_OWNER): _T(_R, reason=_W.ENGINE_ALREADY_MANAGED, say=messages.other_owner),
    (_R, _S.NOT_LOOKED): _T(_R, _E.LOOK),
    (_R, _S.JOB_NOT_SEEN): _T(_R, _E.SHOW_JOB),
    (_R, _S.JOBS_NOT_LISTED): _T(_R, _E.LIST_JOBS),
    (_R, _S.JOB_RUNS): _T(
        _R,
        record=records.progressed,
        reason=_W.UPGRADING,
        say=messages.follows,
        requeue=_Q.POLL,
        answers_retry=True,
    ),
    (_R, _S.JOB_OVERDUE): _T(
        _R,
        record=records.progressed,
        reason=_W.UPGRADE_OVERDUE,
        say=messages.overdue,
        requeue=_Q.POLL,
        answers_retry=True,
    ),
    (_R, _S.JOB_HIDDEN): _T(
        _R,
        reason=_W.UPGRADING,
        say=messages.follows,
        requeue=_Q.POLL,
        answers_retry=True,
    ),
    (_R, _S.JOB_FINISHED): _T(_I, record=ends.succeeded),
    (_R, _S.JOB_FINISHED_UNSEEN): _T(
        _R,
        reason=_W.UPGRADING,
        say=messages.follows,
        requeue=_Q.CONFIRM,
        answers_retry=True,
        shows_engine=False,
    ),
    (_R, _S.JOB_FINISHED_MISMATCHED): _T(_I, record=ends.succeeded),
    (_R, _S.JOB_FAILED): _T(_I, record=ends.failed),
    (_R, _S.JOB_TIMED_OUT): _T(_I, record=ends.timed_out),
    (_R, _S.JOB_STOPPED): _T(_I, record=ends.stopped),
    (_R, _S.JOB_IN_DOUBT): _T(_U, record=records.unanswered_again),
    (_R, _S.JOB_VANISHED): _T(_I, record=ends.vanished),
    (_R, _S.ENGINE_GONE): _T(
        _I,
        record=ends.engine_gone,
        reason=_W.ENGINE_NOT_FOUND,
        say=messages.engine_gone,
        requeue=_Q.SLOW,
    ),
}


class BrokenRowError(AssertionError):
    """A record change led to a state other than its row's: nothing may follow from it."""


def apply(o: Observation, situation: Situation) -> tuple[Transition, Status, BrokenRowError | None]:
    """Change the record as the row of a situation says.

    Returns:
        The row, the status with the changed record, and the error if the record is not in the row's
        state.
    """
    state = state_of(o.status)
    row = TRANSITIONS[state, situation]
    status = row.record(o)
    reached = state_of(status)
    if reached is row.to:
        return row, status, None
    told = f"{state}, {situation}: the record is {reached} and not {row.to}"
    return row, status, BrokenRowError(told)
