"""Reads from a resource what holds back the upgrade of its engine.

`kubectl cse status` shows it, and `cse-operator plan` shows its forecast in the same form.
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
    """One cause that holds an engine: a policy, a setting, a Secret or the engine itself."""

    by: str
    """The policy's kind and name, or the other cause."""
    reason: str
    until: str | None = None
    """The time at which it lets go, in RFC 3339; None if that is not known."""

    def words(self) -> str:
        """Return who holds the engine, until when, and why."""
        until = f" until {self.until}" if self.until else ""
        return f"by {self.by}{until} ({self.reason})"

    def sentence(self) -> str:
        """Return the words as a sentence."""
        return f"held {self.words()}"


def holds_of(resource: Mapping[str, Any]) -> tuple[Hold, ...]:
    """Return what holds an engine; nothing if the status is of an earlier generation."""
    status = resource.get("status") or {}
    if status.get("observedGeneration") != resource["metadata"].get("generation"):
        return ()
    if held := policy_holds(resource):
        return held
    reasons = (c.get("reason") for c in status.get("conditions") or () if c.get("type") == "Ready")
    reason = str(next(reasons, None))
    return (Hold(_BY_REASON[reason], reason),) if reason in _BY_REASON else ()


def policy_holds(resource: Mapping[str, Any]) -> tuple[Hold, ...]:
    """Return the policies in the status that hold an engine, whatever its generation."""
    return tuple(
        Hold(
            " ".join(filter(None, (entry.get("kind"), entry.get("policy")))) or "the operator",
            str(entry.get("reason")),
            entry.get("until"),
        )
        for entry in (resource.get("status") or {}).get("held") or ()
    )
