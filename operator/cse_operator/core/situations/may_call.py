"""A call is due: may it go out now? Asked in each stage that calls."""

from __future__ import annotations

from cse_operator.core.observed import Limits, Observed
from cse_operator.core.states import Situation


def now_or_later(o: Observed, due: Situation, limits: Limits) -> Situation:
    """The call that is due, or why it has to wait."""
    if o.observes_only:
        return Situation.OBSERVE_ONLY
    if o.may_call_in > 0:
        return Situation.CALL_NOT_YET
    # The process was stopped, or the look was slow: the engine may have moved on.
    return Situation.LOOK_TOO_OLD if o.engine_age > limits.look_valid else due
