"""The status of a policy: its gate, its engines, its waves, and warnings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final

from cse_operator.api.policy import PolicyCondition, PolicyStatus, WaveStatus
from cse_operator.core.fleet import Fleet
from cse_operator.core.hold_words import name_of
from cse_operator.core.member import Member
from cse_operator.core.permit import free
from cse_operator.core.policies import Policy

_MOST_NAMES: Final = 5
_MOST_COMPARED: Final = 200
_Told = tuple[str, str, str, str]
"""Type, status, reason and message of a condition."""


def policy_status(policy: Policy, fleet: Fleet, old: PolicyStatus) -> PolicyStatus:
    """Return the status of a policy at the fleet's moment."""
    members = fleet.selected(policy)
    shown = _gate(policy, fleet)
    missed = missed_window(policy, members, fleet.now)
    return PolicyStatus(
        observed_generation=policy.generation,
        **shown,
        selected=len(members),
        reached=sum(m.ready and m.runs(m.wanted) for m in members),
        in_flight=len(fleet.in_flight(policy)),
        slots=_names_of(policy, sorted(fleet.holders(policy), key=lambda m: m.key)),
        failed=sum(m.failed_at(m.wanted) for m in members if not m.excused),
        waiting=sum(m.held_since is not None for m in members),
        next=_next(policy, fleet),
        waves=tuple(_waves(policy, fleet)),
        window_missed=missed[0] if missed else old.window_missed,
        conditions=_conditions(policy, fleet, old),
    )


def missed_window(
    policy: Policy, members: Sequence[Member], now: datetime
) -> tuple[datetime, list[Member]] | None:
    """Return the end of the window that closed last, and the engines that missed it.

    These waited before the window and did not start in it. They are read from the statuses, so
    that a new process finds them too. None if no engine missed the window.
    """
    if policy.invalid is not None or not policy.windows.openings:
        return None
    span = policy.windows.last_closed(now)
    if span is None:
        return None
    start, end = span
    waited = [
        m for m in members if not m.excused and m.held_since is not None and m.held_since < start
    ]
    return (end, waited) if waited else None


def _gate(policy: Policy, fleet: Fleet) -> dict[str, Any]:
    now = fleet.now
    if policy.invalid is not None or policy.spec.suspend:
        return {"gate": "Closed"}
    periods = [policy.windows.at(now), policy.freezes.at(now)]
    if all(period.open for period in periods):
        ends = [period.until for period in periods if period.until is not None]
        return {"gate": "Open", "next_close": min(ends, default=None)}
    return {"gate": "Closed", "next_open": fleet.policies.opens_at((policy,), now).at}


def _next(policy: Policy, fleet: Fleet) -> tuple[str, ...]:
    if policy.spec.max_concurrent is None:
        return ()
    selected = {m.key for m in fleet.selected(policy)}
    return _names_of(policy, (m for m in free(fleet) if m.key in selected))


def _names_of(policy: Policy, members: Iterable[Member]) -> tuple[str, ...]:
    names = (m.key if not policy.namespace else m.name for m in members)
    return tuple(islice(names, _MOST_NAMES))


def _waves(policy: Policy, fleet: Fleet) -> Iterator[WaveStatus]:
    if not policy.spec.waves:
        return
    in_wave: dict[int, list[Member]] = {}
    for member in fleet.selected(policy):
        in_wave.setdefault(fleet.wave_of(policy, member), []).append(member)
    for index, wave in enumerate(policy.spec.waves):
        own = in_wave.get(index, [])
        reached = sum(m.ready and m.runs(m.wanted) for m in own)
        yield WaveStatus(name=wave.name, engines=len(own), reached=reached)


def _conditions(policy: Policy, fleet: Fleet, old: PolicyStatus) -> tuple[PolicyCondition, ...]:
    before = {condition.type: condition for condition in old.conditions}

    def condition(type_: str, status: str, reason: str, message: str) -> PolicyCondition:
        same = before.get(type_)
        since = same.last_transition_time if same and same.status == status else fleet.now
        return PolicyCondition.model_validate(
            {
                "type": type_,
                "status": status,
                "observedGeneration": policy.generation,
                "lastTransitionTime": since,
                "reason": reason,
                "message": message,
            }
        )

    return tuple(condition(*told) for told in _told(policy, fleet))


def _told(policy: Policy, fleet: Fleet) -> Iterator[_Told]:
    if policy.invalid is not None:
        yield "Valid", "False", "Invalid", f"{policy.invalid}; it holds all engines it selects"
        return
    yield "Valid", "True", "Valid", "the operator evaluates the policy"
    members = fleet.selected(policy)
    if members and (empty := "; ".join(_empty_waves(policy, fleet))):
        yield "EmptyWave", "True", "EmptyWave", f"{empty}: the next wave may go"
    period = policy.windows.at(fleet.now)
    if policy.windows.openings and period.open and period.until is None:
        yield "AlwaysOpen", "True", "AlwaysOpen", "the windows never close"
    timed = policy.windows.at(fleet.now).open and policy.freezes.at(fleet.now).open
    if not (policy.spec.suspend or timed) and fleet.policies.opens_at((policy,), fleet.now).never:
        yield "NeverOpens", "True", "NeverOpens", "the policy does not open within 400 days"
    if (cycle := _cycle(policy, fleet)) is not None:
        other, *pair = cycle
        first, second = (name if policy.namespace else key for name, key in _names(pair))
        told = f"{first} goes before {second} here, and after it in {name_of(other)}"
        yield "WaveCycle", "True", "WaveCycle", f"{told}: neither can start"


def _empty_waves(policy: Policy, fleet: Fleet) -> Iterator[str]:
    """Yield the waves that wait for no engine, or for no engine of a type that the policy selects.

    Each type is judged by itself, so a wave without engines of a type passes for that type.
    """
    members = fleet.selected(policy)
    types = sorted({m.type for m in members if m.type is not None and not m.excused})
    for index, wave in enumerate(policy.spec.waves):
        own = [member for member in members if fleet.wave_of(policy, member) == index]
        excused = _names_of(policy, (member for member in own if member.excused))
        waited = {member.type for member in own if not member.excused}
        without = [type_ for type_ in types if not waited & {type_, None}]
        if not own:
            yield f"no engine is in wave {wave.name}"
        elif without or not waited:
            of = f" of type {', '.join(without)}" if waited else ""
            told = f" ({', '.join(excused)} excused)" if excused else ""
            yield f"no engine{of} is waited for in wave {wave.name}{told}"


def _names(pair: Iterable[Member]) -> Iterator[tuple[str, str]]:
    return ((member.name, member.key) for member in pair)


def _cycle(policy: Policy, fleet: Fleet) -> tuple[Policy, Member, Member] | None:
    """Return two engines that this policy and another policy start in opposite orders.

    Engines alike are compared once, and at most `_MOST_COMPARED` others: this is only a warning,
    and every policy pays for it.
    """
    if not policy.spec.waves:
        return None
    alike = {fleet.selection(m): m for m in fleet.selected(policy) if not m.excused}
    places: dict[Policy, dict[tuple[int, int], Member]] = {}
    for selection, member in islice(alike.items(), _MOST_COMPARED):
        for other in selection.policies:
            if other is not policy and other.spec.waves:
                place = (selection.waves[policy], selection.waves[other])
                places.setdefault(other, {}).setdefault(place, member)
    for other, found in places.items():
        if (pair := _opposed(found)) is not None:
            return other, *pair
    return None


def _opposed(places: dict[tuple[int, int], Member]) -> tuple[Member, Member] | None:
    """Return two engines that the first and the second wave index put in opposite orders."""
    last: tuple[int, Member] | None = None
    waiting: list[tuple[int, Member]] = []
    before = -1
    for (mine, theirs), member in sorted(places.items(), key=lambda place: place[0]):
        if mine != before:
            last = max(
                [*waiting, *([last] if last else [])], key=lambda seen: seen[0], default=None
            )
            waiting, before = [], mine
        if last is not None and theirs < last[0]:
            return last[1], member
        waiting.append((theirs, member))
    return None
