"""A resource as the commands read it: where it stands, in words that all of them use alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cse_operator.kubectl.holds import holds_of


class State(Enum):
    """Where a resource stands: a sign, and its colour on a terminal."""

    GOOD = ("✔", "32")
    MOVING = ("►", "36")
    WAITING = ("◷", "33")
    UNSEEN = ("?", "35")
    BAD = ("✗", "31")


@dataclass(frozen=True, slots=True)
class Engine:
    """A `MicroserviceEngine` as kubectl gave it."""

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
        """The wanted version."""
        return str(self.spec.get("version"))

    @property
    def current(self) -> str | None:
        """The engine's version, once it was seen."""
        return self.status.get("currentVersion")

    @property
    def is_seen(self) -> bool:
        """Whether the status speaks of the present spec."""
        return bool(self.status.get("observedGeneration") == self.raw["metadata"].get("generation"))

    def condition(self, kind: str) -> Mapping[str, Any]:
        """A condition; empty where there is none."""
        conditions = self.status.get("conditions") or ()
        return next((one for one in conditions if one.get("type") == kind), {})

    @property
    def reason(self) -> str:
        """Why it is as it is, in a word."""
        return str(self.condition("Ready").get("reason") or "Pending")

    @property
    def message(self) -> str:
        """Why, in a sentence."""
        if not self.status.get("conditions"):
            return "no operator has looked at it yet"
        return str(self.status.get("message") or self.condition("Ready").get("message") or "")

    @property
    def state(self) -> State:
        """Where it stands."""
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
        """The upgrade that is recorded; empty where there is none."""
        found: Mapping[str, Any] = self.status.get("upgrade") or {}
        return found

    def progress(self) -> str:
        """The job's steps, as far as they are known."""
        steps = self.upgrade.get("progress") or {}
        if not steps.get("total"):
            return ""
        where = "ended at" if self.upgrade.get("result") else "now"
        now = f", {where} {steps['step']}" if steps.get("step") else ""
        return f"{steps.get('completed')} of {steps['total']} steps done{now}"

    def summary(self) -> dict[str, Any]:
        """What `-o json` shows of it."""
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
