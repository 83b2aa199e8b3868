"""Classifies what was observed as one situation of the stage the resource is in.

Pure functions: one module per stage, each a list of questions in the order in which they matter.
What follows from a situation is in the table of `machine.py`, how long is waited in `waits.py`.
"""

from __future__ import annotations

from typing import Final

from cse_operator.api.failure_kind import FailureKind
from cse_operator.core.failure import Failure
from cse_operator.core.observation import Accepted
from cse_operator.core.observed import Limits, Observed
from cse_operator.core.permit import Held
from cse_operator.core.situations.idle import idle
from cse_operator.core.situations.running import running
from cse_operator.core.situations.unanswered import unanswered
from cse_operator.core.states import Situation, Stage, stage_of

_PLAIN_REFUSALS: Final = frozenset({FailureKind.REJECTED, FailureKind.NOT_FOUND})
_NEVER_LEFT: Final = frozenset(
    {
        FailureKind.NOT_SENT,
        FailureKind.CREDENTIALS_MISSING,
        FailureKind.CREDENTIALS_INVALID,
        FailureKind.REGION_NOT_ALLOWED,
    }
)


def classify(o: Observed, limits: Limits) -> Situation:
    """The one situation that holds."""
    stage = stage_of(o.status)
    if stage is Stage.UNREADABLE:
        return Situation.UNREADABLE
    if o.rival is not None:
        return Situation.RIVAL
    if o.look_requested and o.engine is None:
        return Situation.NOT_LOOKED
    match stage:
        case Stage.RUNNING:
            return running(o, limits)
        case Stage.UNANSWERED:
            return unanswered(o, limits)
        case Stage.IDLE:
            return idle(o, limits)


def classify_answer(answer: Accepted | Failure | Held, attempts: int) -> Situation:
    """What an answer to a changing call means; what is not plain leaves its effect open.

    Args:
        answer: the vendor's answer, why there is none, or which policy kept the call back.
        attempts: how many calls the intent names with this one.
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


def is_gone(o: Observed, limits: Limits) -> bool:
    """Whether an engine with an open record counts as deleted: said often enough, for long enough.

    One answer does not prove it: a gateway says it in passing.
    """
    if o.failure is None or o.failure.kind is not FailureKind.NOT_FOUND:
        return False
    is_open = stage_of(o.status) in {Stage.UNANSWERED, Stage.RUNNING}
    return is_open and o.failures >= limits.patience and o.not_found_for >= limits.grace
