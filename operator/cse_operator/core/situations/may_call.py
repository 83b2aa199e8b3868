"""A call is due: may it go out now? Used in every state that calls."""

from __future__ import annotations

from cse_operator.core.observation import Limits, Observation
from cse_operator.core.permit import Held
from cse_operator.core.states import Situation


def permitted(o: Observation, due: Situation, limits: Limits) -> Situation:
    """Return the situation of a first call for the desired version; holds come before waits."""
    return _permitted(o, due, Situation.HELD, limits)


def permitted_again(o: Observation, due: Situation, limits: Limits) -> Situation:
    """Return the situation of a repeated call, after a whole grace has shown no effect.

    While policies hold the call, its record stays open.
    """
    return _permitted(o, due, Situation.UNCHANGED_AND_HELD, limits)


def _permitted(o: Observation, due: Situation, held: Situation, limits: Limits) -> Situation:
    if o.observes_only:
        return Situation.OBSERVE_ONLY
    if o.permit is None:
        return Situation.PERMIT_NOT_ASKED
    return held if isinstance(o.permit, Held) else _now_or_later(o, due, limits)


def _now_or_later(o: Observation, due: Situation, limits: Limits) -> Situation:
    if o.may_call_in > 0:
        return Situation.CALL_NOT_YET
    # The process was stopped, or the look was slow: the engine may have moved on.
    return Situation.LOOK_TOO_OLD if o.engine_age > limits.look_valid else due
