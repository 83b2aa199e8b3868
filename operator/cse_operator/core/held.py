"""How the status shows an engine that policies hold: reason, sentence and list of holds."""

from __future__ import annotations

from cse_operator.api.reasons import HELD, Reason
from cse_operator.api.status import HeldBy, Status
from cse_operator.core.observation import Observation
from cse_operator.core.permit import Held


def reason_of_hold(o: Observation) -> Reason:
    """Return the reason of the first policy that holds the call."""
    return _held(o).reason


def held(o: Observation, _: Status) -> str:
    """Return the sentence for a call that policies hold."""
    waits = f"the upgrade to {o.desired.version} waits: {_held(o).text}"
    return f"engine is at {o.seen_engine.version}; {waits}"


def held_by(o: Observation, reason: Reason) -> tuple[HeldBy, ...]:
    """Return the policies that hold the engine; empty unless the reason is a hold."""
    if reason not in HELD:
        return ()
    return tuple(
        HeldBy(
            kind=hold.policy.kind if hold.policy is not None else None,
            policy=hold.policy.name if hold.policy is not None else None,
            reason=hold.reason.value,
            until=hold.until,
        )
        for hold in _held(o).holds
    )


def _held(o: Observation) -> Held:
    if not isinstance(o.permit, Held):
        raise TypeError("no policy holds the call")
    return o.permit
