"""A call is due: may it go out now? Asked in each stage that calls."""

from __future__ import annotations

from cse_operator.core.observed import Limits, Observed
from cse_operator.core.permit import Held
from cse_operator.core.states import Situation


def permitted(o: Observed, due: Situation, limits: Limits) -> Situation:
    """The first call for what is wanted: it is held before anything else is waited for."""
    if o.observes_only:
        return Situation.OBSERVE_ONLY
    if o.permit is None:
        return Situation.PERMIT_NOT_ASKED
    return Situation.HELD if isinstance(o.permit, Held) else _now_or_later(o, due, limits)


def permitted_again(o: Observed, due: Situation, limits: Limits) -> Situation:
    """A call again: one that is held is given up, once no call of anybody can be on its way."""
    if o.observes_only:
        return Situation.OBSERVE_ONLY
    situation = _now_or_later(o, due, limits)
    if situation is not due:
        return situation
    if o.permit is None:
        return Situation.PERMIT_NOT_ASKED
    return Situation.UNCHANGED_AND_HELD if isinstance(o.permit, Held) else due


def _now_or_later(o: Observed, due: Situation, limits: Limits) -> Situation:
    if o.may_call_in > 0:
        return Situation.CALL_NOT_YET
    # The process was stopped, or the look was slow: the engine may have moved on.
    return Situation.LOOK_TOO_OLD if o.engine_age > limits.look_valid else due
