"""May this engine start now? The policies' common answer: yes, or not yet with every reason.

Pure and stateless: waves, soak, failures and slots are read from the engines' statuses. The gate
asks for each start, and again right before each PUT. All policies that select an engine must let
it start; no policy overrides another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cse_operator.api.policy import Approval
from cse_operator.api.reasons import HELD, Reason
from cse_operator.core import hold_words as words
from cse_operator.core.fleet import Fleet
from cse_operator.core.member import Member
from cse_operator.core.policies import Policy
from cse_operator.core.windows import NextOpening

_ORDER: Final = {reason: place for place, reason in enumerate(HELD)}


@dataclass(frozen=True, slots=True)
class Hold:
    """A policy that holds an engine, and the reason; without a policy, the operator holds it."""

    reason: Reason
    policy: Policy | None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """Not yet, with every hold; the first hold is the one that is shown."""

    holds: tuple[Hold, ...]
    text: str
    """The reason in a clause, without durations that pass."""

    @property
    def reason(self) -> Reason:
        """Return the reason that is shown."""
        return self.holds[0].reason

    @property
    def until(self) -> datetime | None:
        """Return when the last hold ends; None unless the end of every hold is known."""
        ends = [hold.until for hold in self.holds if hold.until is not None]
        return max(ends) if len(ends) == len(self.holds) else None


@dataclass(frozen=True, slots=True)
class Allowed:
    """The policies let the engine start now."""


ALLOWED: Final = Allowed()


def permit(engine: Member, fleet: Fleet) -> Allowed | Held:
    """Say whether an engine may start now.

    Args:
        engine: the engine, with what the last look at it showed.
        fleet: all engines and policies at this moment.
    """
    holds = holds_of(engine, fleet)
    if not holds:
        holds = _without_slot(engine, fleet)
    if not holds:
        return ALLOWED
    return Held(holds, words.sentence(engine, fleet, holds))


def holds_of(engine: Member, fleet: Fleet) -> tuple[Hold, ...]:
    """Return the holds on an engine, except those by limits; engines alike share the result."""
    selection = fleet.selection(engine)
    # Waves, soak and failures do not hold an engine that failed itself or is asked to try again.
    exempt = engine.tries_again
    alike = (selection, engine.namespace, engine.type, engine.wanted, engine.approved, exempt)
    if alike not in fleet.memo:
        found = sorted(_holds(engine, fleet, exempt=exempt), key=lambda hold: _ORDER[hold.reason])
        fleet.memo[alike] = tuple(found)
    found_before: tuple[Hold, ...] = fleet.memo[alike]
    return found_before


def let_go(fleet: Fleet) -> tuple[list[Member], datetime | None]:
    """Return the engines in line that may start now, and when the next known hold ends."""
    holds = {hold for member in fleet.in_line() for hold in holds_of(member, fleet)}
    ends = [hold.until for hold in holds if hold.until is not None]
    return _take_slots(free(fleet), fleet, None), min(ends, default=None)


def free(fleet: Fleet) -> Sequence[Member]:
    """Return the engines in line that only a limit can hold."""
    if "free" not in fleet.memo:
        fleet.memo["free"] = [m for m in fleet.in_line() if not holds_of(m, fleet)]
    found: list[Member] = fleet.memo["free"]
    return found


def gates_change_at(fleet: Fleet) -> datetime | None:
    """Return when the windows or freezes of any policy next open or close, if known."""
    gates = (
        gate for policy in fleet.policies.policies for gate in (policy.windows, policy.freezes)
    )
    ends = (gate.at(fleet.now).until for gate in gates)
    return min((end for end in ends if end is not None), default=None)


def closes_at(engine: Member, fleet: Fleet) -> datetime | None:
    """Return when the first open gate of an engine's policies closes, if known."""
    policies = fleet.selection(engine).policies
    periods = (gate.at(fleet.now) for p in policies for gate in (p.windows, p.freezes))
    return min((s.until for s in periods if s.open and s.until is not None), default=None)


def _holds(engine: Member, fleet: Fleet, *, exempt: bool) -> Iterator[Hold]:
    policies = fleet.policies
    selection = fleet.selection(engine)
    if policies.why_unknown(engine.namespace) is not None:
        yield Hold(Reason.POLICIES_UNKNOWN, None)
    for policy in selection.unsure:
        yield Hold(Reason.POLICIES_UNKNOWN, policy)
    if policies.required and not selection.policies and not selection.unsure:
        yield Hold(Reason.NO_POLICY, None)
    opens = None
    timed = [p for p in selection.policies if not _is_open(p, fleet.now)]
    if timed:
        opens = policies.opens_at(selection.policies, fleet.now)
    for policy in selection.policies:
        if policy.invalid is not None:
            yield Hold(Reason.POLICY_INVALID, policy)
            continue
        yield from _times(policy, fleet.now, opens)
        if policy.spec.suspend:
            yield Hold(Reason.POLICY_SUSPENDED, policy)
        if policy.spec.approval is Approval.MANUAL and not _is_approved(engine, policy):
            yield Hold(Reason.APPROVAL_REQUIRED, policy)
        if not exempt:
            yield from _progress(engine, policy, fleet)


def _is_open(policy: Policy, now: datetime) -> bool:
    return policy.windows.at(now).open and policy.freezes.at(now).open


def _times(policy: Policy, now: datetime, opens: NextOpening | None) -> Iterator[Hold]:
    if opens is None:
        return
    if opens.never and (policy.windows.openings or policy.freezes.freezes):
        yield Hold(Reason.NEVER_OPENS, policy)
        return
    if not policy.freezes.at(now).open:
        yield Hold(Reason.CHANGE_FREEZE, policy, opens.at)
    if not policy.windows.at(now).open:
        yield Hold(Reason.OUTSIDE_WINDOW, policy, opens.at)


def _is_approved(engine: Member, policy: Policy) -> bool:
    return engine.approved == engine.wanted or engine.wanted in policy.spec.approved_versions


def _progress(engine: Member, policy: Policy, fleet: Fleet) -> Iterator[Hold]:
    """Yield the holds by failures and waves."""
    if policy.max_failures is None and not policy.spec.waves:
        return
    rollout = fleet.rollout(policy, engine.type, engine.wanted)
    if policy.max_failures is not None and len(rollout.failed) > policy.max_failures:
        yield Hold(Reason.FAILURES_EXCEEDED, policy)
    wave = rollout.before(policy.wave_of(engine.labels))
    if wave is not None and wave.blockers:
        yield Hold(Reason.WAITING_FOR_WAVE, policy)
    elif wave is not None:
        yield Hold(Reason.SOAKING, policy, wave.soaks_until)


# -- slots -----------------------------------------------------------------------------------


def _without_slot(engine: Member, fleet: Fleet) -> tuple[Hold, ...]:
    """Return the holds by limits without a free slot: an engine needs a slot of each limit."""
    limits = _limits(engine, fleet)
    if not limits:
        return ()
    if engine.in_flight:
        # The engine's own call has a slot already, unless others have taken them all.
        full = [p for p in limits if len(fleet.in_flight(p) - {engine.key}) >= _limit(p)]
    elif any(winner.key == engine.key for winner in _winners(fleet, engine)):
        return ()
    else:
        full = [p for p in limits if len(fleet.in_flight(p) - {engine.key}) >= _limit(p)] or limits
    return tuple(Hold(Reason.WAITING_FOR_SLOT, policy) for policy in full)


def _winners(fleet: Fleet, asking: Member | None) -> list[Member]:
    """Return the engines that get the free slots, in their order; other holds exclude an engine."""
    line = [m for m in fleet.in_line() if asking is None or m.key != asking.key]
    if asking is not None:
        line = sorted([*line, asking], key=lambda m: m.place)
    return _take_slots([m for m in line if not holds_of(m, fleet)], fleet, asking)


def _take_slots(line: Sequence[Member], fleet: Fleet, asking: Member | None) -> list[Member]:
    """Give the free slots to the engines in line: each gets all slots that it needs, or none."""
    taken: dict[tuple[str, str, str], int] = {}
    winners = []
    for member in line:
        limits = _limits(member, fleet)
        for policy in limits:
            if policy.key not in taken:
                mine = {asking.key} if asking is not None else set()
                taken[policy.key] = len(fleet.in_flight(policy) - mine)
        if all(taken[policy.key] < _limit(policy) for policy in limits):
            winners.append(member)
            for policy in limits:
                taken[policy.key] += 1
    return winners


def _limits(engine: Member, fleet: Fleet) -> list[Policy]:
    selected = fleet.selection(engine).policies
    return [policy for policy in selected if policy.spec.max_concurrent is not None]


def _limit(policy: Policy) -> int:
    assert policy.spec.max_concurrent is not None  # noqa: S101 - the policy has a limit
    return policy.spec.max_concurrent
