"""What keeps an engine from the upgrade that its resource wants: the one place that answers it.

`kubectl cse status` and `cse-operator plan` show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_BY_REASON: Final = {
    "Suspended": "spec.suspend",
    "ObserveOnly": "the operator's --observe-only",
}


@dataclass(frozen=True, slots=True)
class Hold:
    """One thing that holds an engine."""

    by: str
    """A policy with its kind and name, or what else holds it."""
    reason: str
    until: str | None = None
    """The time at which it lets go, in RFC 3339; None where nobody knows."""

    def words(self) -> str:
        """Who holds it, until when, and why."""
        until = f" until {self.until}" if self.until else ""
        return f"by {self.by}{until} ({self.reason})"

    def sentence(self) -> str:
        """The same, to stand by itself."""
        return f"held {self.words()}"


def holds_of(resource: Mapping[str, Any]) -> tuple[Hold, ...]:
    """What holds an engine, as its status says of the present spec.

    A status of an earlier spec says nothing about this one.
    """
    status = resource.get("status") or {}
    if status.get("observedGeneration") != resource["metadata"].get("generation"):
        return ()
    if held := policy_holds(resource):
        return held
    reasons = (c.get("reason") for c in status.get("conditions") or () if c.get("type") == "Ready")
    reason = str(next(reasons, None))
    return (Hold(_BY_REASON[reason], reason),) if reason in _BY_REASON else ()


def policy_holds(resource: Mapping[str, Any]) -> tuple[Hold, ...]:
    """The policies that held an engine when the operator looked last, for whichever spec."""
    return tuple(
        Hold(
            " ".join(filter(None, (entry.get("kind"), entry.get("policy")))) or "the operator",
            str(entry.get("reason")),
            entry.get("until"),
        )
        for entry in (resource.get("status") or {}).get("held") or ()
    )
