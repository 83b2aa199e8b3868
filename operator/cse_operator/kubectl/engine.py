"""A resource as all commands read it, with its state in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cse_operator.kubectl.holds import holds_of


class State(Enum):
    """The state of a resource: a sign, and its colour on a terminal."""

    GOOD = ("✔", "32")
    MOVING = ("►", "36")
    WAITING = ("◷", "33")
    UNSEEN = ("?", "35")
    BAD = ("✗", "31")


@dataclass(frozen=True, slots=True)
class Engine:
    """A `MicroserviceEngine` as kubectl returned it."""

    raw: Mapping[str, Any]

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.raw["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.raw["metadata"]["name"])

    @property
    def spec(self) -> Mapping[str, Any]:
        """Its spec."""
        found: Mapping[str, Any] = self.raw.get("spec") or {}
        return found

    @property
    def status(self) -> Mapping[str, Any]:
        """Its status."""
        found: Mapping[str, Any] = self.raw.get("status") or {}
        return found

    @property
    def desired(self) -> str:
        """The desired version."""
        return str(self.spec.get("version"))

    @property
    def current(self) -> str | None:
        """The engine's version; None until the operator has looked at the engine."""
        return self.status.get("currentVersion")

    @property
    def is_seen(self) -> bool:
        """Whether the status is of the current generation of the spec."""
        return bool(self.status.get("observedGeneration") == self.raw["metadata"].get("generation"))

    def condition(self, kind: str) -> Mapping[str, Any]:
        """Return the condition of a type; empty if there is none."""
        conditions = self.status.get("conditions") or ()
        return next((one for one in conditions if one.get("type") == kind), {})

    @property
    def reason(self) -> str:
        """The reason of the condition Ready; Pending without one."""
        return str(self.condition("Ready").get("reason") or "Pending")

    @property
    def message(self) -> str:
        """The message of the status: a sentence."""
        if not self.status.get("conditions"):
            return "no operator has looked at it yet"
        return str(self.status.get("message") or self.condition("Ready").get("message") or "")

    @property
    def state(self) -> State:
        """The state, from generation, conditions and phase."""
        if not self.is_seen:
            return State.UNSEEN
        if self.condition("Ready").get("status") == "True":
            return State.GOOD
        if self.condition("Stalled").get("status") == "True":
            return State.BAD
        moves = self.status.get("phase") in {"Submitting", "Upgrading"}
        return State.MOVING if moves else State.WAITING

    @property
    def upgrade(self) -> Mapping[str, Any]:
        """The upgrade in the status; empty if there is none."""
        found: Mapping[str, Any] = self.status.get("upgrade") or {}
        return found

    def progress(self) -> str:
        """Return the progress of the job in steps; empty if it is not known."""
        steps = self.upgrade.get("progress") or {}
        if not steps.get("total"):
            return ""
        where = "ended at" if self.upgrade.get("result") else "now"
        now = f", {where} {steps['step']}" if steps.get("step") else ""
        return f"{steps.get('completed')} of {steps['total']} steps done{now}"

    def summary(self) -> dict[str, Any]:
        """Return what `-o json` shows of the resource."""
        return {
            "namespace": self.namespace,
            "name": self.name,
            "state": self.state.name.capitalize(),
            "desired": self.desired,
            "current": self.current,
            "latest": self.status.get("latestVersion"),
            "phase": self.status.get("phase"),
            "reason": self.reason,
            "message": self.message,
            "suspended": bool(self.spec.get("suspend")),
            "heldBy": [
                {"by": hold.by, "reason": hold.reason, "until": hold.until}
                for hold in holds_of(self.raw)
            ],
            "engine": {"id": self.spec.get("engineId"), **(self.status.get("engine") or {})},
            "upgrade": dict(self.upgrade) or None,
        }
