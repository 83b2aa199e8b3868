"""A call is due: may it go out now? Asked in each stage that calls."""

from __future__ import annotations

from cse_operator.core.observed import Limits, Observed
from cse_operator.core.permit import Held
from cse_operator.core.states import Situation


def permitted(o: Observed, due: Situation, limits: Limits) -> Situation:
    """The first call for what is wanted: it is held before anything else is waited for."""
    return _permitted(o, due, Situation.HELD, limits)


def permitted_again(o: Observed, due: Situation, limits: Limits) -> Situation:
    """A call again, of which the whole grace has shown nothing: while held, its record stays."""
    return _permitted(o, due, Situation.UNCHANGED_AND_HELD, limits)


def _permitted(o: Observed, due: Situation, held: Situation, limits: Limits) -> Situation:
    if o.observes_only:
        return Situation.OBSERVE_ONLY
    if o.permit is None:
        return Situation.PERMIT_NOT_ASKED
    return held if isinstance(o.permit, Held) else _now_or_later(o, due, limits)


def _now_or_later(o: Observed, due: Situation, limits: Limits) -> Situation:
    if o.may_call_in > 0:
        return Situation.CALL_NOT_YET
    # The process was stopped, or the look was slow: the engine may have moved on.
    return Situation.LOOK_TOO_OLD if o.engine_age > limits.look_valid else due
