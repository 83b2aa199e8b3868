"""Classify an observation as exactly one situation of the resource's state.

Pure functions: one module per state, each a list of questions in order of importance. The table in
`machine.py` says what follows from a situation, and `waits.py` how long the operator waits.
"""

from __future__ import annotations

from typing import Final

from cse_operator.api.failure_kind import FailureKind
from cse_operator.core.failure import Failure
from cse_operator.core.observation import Limits, Observation
from cse_operator.core.permit import Held
from cse_operator.core.situations.idle import idle
from cse_operator.core.situations.running import running
from cse_operator.core.situations.unanswered import unanswered
from cse_operator.core.states import Situation, State, state_of
from cse_operator.core.views import Accepted

_PLAIN_REFUSALS: Final = frozenset({FailureKind.REJECTED, FailureKind.NOT_FOUND})
_NEVER_LEFT: Final = frozenset(
    {
        FailureKind.NOT_SENT,
        FailureKind.CREDENTIALS_MISSING,
        FailureKind.CREDENTIALS_INVALID,
        FailureKind.REGION_NOT_ALLOWED,
    }
)


def classify(o: Observation, limits: Limits) -> Situation:
    """Return the one situation that holds."""
    state = state_of(o.status)
    if state is State.UNREADABLE:
        return Situation.UNREADABLE
    if o.other_owner is not None:
        return Situation.OTHER_OWNER
    if o.look_requested and o.engine is None:
        return Situation.NOT_LOOKED
    match state:
        case State.RUNNING:
            return running(o, limits)
        case State.UNANSWERED:
            return unanswered(o, limits)
        case State.IDLE:
            return idle(o, limits)


def classify_answer(answer: Accepted | Failure | Held, attempts: int) -> Situation:
    """Return what the answer to a changing call means.

    An answer that fits no other kind means that the call may have taken effect (`CALL_UNCLEAR`).

    Args:
        answer: the vendor's answer, the failure of the call, or the policies that held it back.
        attempts: how many calls the intent names, this one included.
    """
    if isinstance(answer, Accepted):
        return Situation.CALL_ACCEPTED
    if isinstance(answer, Held):
        return Situation.CALL_HELD if attempts <= 1 else Situation.CALL_AGAIN_HELD
    if answer.kind is FailureKind.FORBIDDEN:
        return Situation.CALL_FORBIDDEN
    if answer.kind in _PLAIN_REFUSALS:
        return Situation.CALL_REFUSED
    return Situation.CALL_NOT_SENT if answer.kind in _NEVER_LEFT else Situation.CALL_UNCLEAR


def is_gone(o: Observation, limits: Limits) -> bool:
    """Whether the engine of an open record counts as deleted.

    A gateway may answer "not found" in passing. So `patience` looks must have failed in a row, and
    every look for one outcome grace must have said that the engine does not exist.
    """
    if o.failure is None or o.failure.kind is not FailureKind.NOT_FOUND:
        return False
    is_open = state_of(o.status) in {State.UNANSWERED, State.RUNNING}
    return is_open and o.failures >= limits.patience and o.not_found_for >= limits.grace
