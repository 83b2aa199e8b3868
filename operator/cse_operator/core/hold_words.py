"""The text of a hold: absolute times, and few names.

A text names only engines in the held engine's namespace: a cluster policy does not tell one tenant
about another's engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cse_operator.api.names import APPROVED_VERSION
from cse_operator.api.reasons import Reason
from cse_operator.core.fleet import Fleet
from cse_operator.core.member import Member
from cse_operator.core.policies import Policy

if TYPE_CHECKING:
    from cse_operator.core.permit import Hold

_MOST_NAMES: Final = 3


def sentence(engine: Member, fleet: Fleet, holds: Sequence[Hold]) -> str:
    """Return why an engine waits: the first hold in a clause, the others by name."""
    first, *others = holds
    told = _clause(engine, fleet, first, holds)
    more = [f"{hold.reason} ({name_of(hold.policy)})" for hold in others]
    more = [told for told in dict.fromkeys(more) if first.reason is not Reason.NEVER_OPENS]
    return told + (f"; also held by {', '.join(more[:_MOST_NAMES])}" if more else "")


def name_of(policy: Policy | None) -> str:
    """Return a policy's kind and name in words."""
    if policy is None:
        return "the operator"
    return f"policy {policy.name}" if policy.namespace else f"cluster policy {policy.name}"


def moment(at: datetime, policy: Policy) -> str:
    """Return a moment in the time zone of the policy's window, and in UTC."""
    local = at.astimezone(policy.windows.zone_of(at))
    utc = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = str(local.tzinfo)
    return utc if name == "UTC" else f"{local:%Y-%m-%d %H:%M} {name} ({utc})"


def names(members: Sequence[Member], namespace: str) -> str:
    """Return up to three names of one namespace, and the number of the other engines."""
    own = sorted(member.name for member in members if member.namespace == namespace)
    shown = own[:_MOST_NAMES]
    rest, others = len(own) - len(shown), len(members) - len(own)
    parts = [", ".join(shown)] if shown else []
    if rest:
        parts.append(f"{rest} more")
    if others:
        parts.append(f"{others} in other namespaces")
    return " and ".join(parts)


def _clause(engine: Member, fleet: Fleet, hold: Hold, holds: Sequence[Hold]) -> str:
    policy = hold.policy
    who = name_of(policy)
    match hold.reason:
        case Reason.POLICIES_UNKNOWN if policy is None:
            return f"the policies cannot be read: {fleet.policies.why_unknown(engine.namespace)}"
        case Reason.POLICIES_UNKNOWN if engine.labels is None:
            return f"the engine has too many labels to compare, and {who} may select it"
        case Reason.POLICIES_UNKNOWN:
            return f"the labels of the namespace are not known, and {who} may select it"
        case Reason.NO_POLICY:
            return "no policy selects the engine, and --require-policy asks for one"
        case Reason.NEVER_OPENS:
            told = [name_of(h.policy) for h in holds if h.reason is Reason.NEVER_OPENS]
            return f"the times of {' and '.join(told)} never let it start within 400 days"
        case Reason.POLICY_INVALID:
            return f"{who} cannot be evaluated: {policy.invalid if policy else ''}"
        case Reason.POLICY_SUSPENDED:
            return f"{who} is suspended"
        case Reason.APPROVAL_REQUIRED:
            said = f" ({engine.approved} is approved)" if engine.approved else ""
            return (
                f"{who} asks for an approval of {engine.wanted}{said}: set the annotation"
                f" {APPROVED_VERSION} to {engine.wanted}, or list it in the policy's"
                " approvedVersions"
            )
        case Reason.WAITING_FOR_SLOT:
            assert policy is not None  # noqa: S101 - only a policy limits slots
            return _of_slots(engine, fleet, policy)
        case _:
            assert policy is not None  # noqa: S101 - all other holds have a policy
            return _of_times_and_waves(engine, fleet, hold, policy)


def _of_slots(engine: Member, fleet: Fleet, policy: Policy) -> str:
    told = f"{name_of(policy)} lets {policy.spec.max_concurrent} upgrade at once"
    holders = [m for m in fleet.holders(policy) if m.key != engine.key]
    if not holders:
        return f"{told}, and others go first"
    return f"{told}, and a slot is held by {names(holders, engine.namespace)}"


def _of_times_and_waves(engine: Member, fleet: Fleet, hold: Hold, policy: Policy) -> str:
    who = name_of(policy)
    until = moment(hold.until, policy) if hold.until is not None else "at an unknown time"
    if hold.reason is Reason.CHANGE_FREEZE:
        why = policy.freezes.reason_at(fleet.now)
        return f"{who} has a freeze{f' ({why})' if why else ''}; opens {until}"
    if hold.reason is Reason.OUTSIDE_WINDOW:
        return f"outside the windows of {who}; opens {until}"
    rollout = fleet.rollout(policy, engine.type, engine.wanted)
    if hold.reason is Reason.FAILURES_EXCEEDED:
        failed = names(rollout.failed, engine.namespace)
        return f"engines of {who} failed at {engine.wanted}: {failed}"
    wave = rollout.before(policy.wave_of(engine.labels))
    assert wave is not None  # noqa: S101 - the wave holds the engine
    if hold.reason is Reason.SOAKING:
        return f"wave {wave.name} of {who} soaks at {engine.wanted}; over {until}"
    waits_for = names(wave.blockers, engine.namespace)
    return f"wave {wave.name} of {who} goes first to {engine.wanted}, and waits for {waits_for}"
