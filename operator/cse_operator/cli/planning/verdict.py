"""The verdict on each engine, and the exit code that follows from all verdicts. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from cse_operator.api.names import KIND
from cse_operator.kubectl.holds import Hold

ANSWERED: Final = 0
FAILED: Final = 1
CHANGES: Final = 2
REFUSED: Final = 3


class Kind(StrEnum):
    """What happens to an engine."""

    UPGRADE = "upgrade"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    HELD = "held"
    UPGRADING = "upgrading"
    NOT_OWNER = "not the owner"
    NOTHING = "nothing"


MEANINGS: Final = {
    Kind.UPGRADE: "upgraded now",
    Kind.REFUSED: "refused, or in need of a person",
    Kind.UNKNOWN: "unknown",
    Kind.HELD: "held",
    Kind.UPGRADING: "in an upgrade already",
    Kind.NOT_OWNER: "owned by another resource",
    Kind.NOTHING: "left as they are",
}


class Change(StrEnum):
    """How a manifest differs from the base revision."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to one engine."""

    namespace: str
    name: str
    engine_id: str
    kind: Kind
    reason: str
    """One word: the reason of a condition, or of a refusal."""
    sentence: str
    from_version: str | None = None
    to_version: str | None = None
    holds: tuple[Hold, ...] = ()
    warnings: tuple[str, ...] = ()
    will_be_refused: bool = False
    """Whether the vendor will probably refuse the call."""
    change: Change | None = None
    origin: str = ""
    line: int | None = None
    policy: str = ""
    """The kind of the policy that this verdict is about; empty if it is about an engine."""

    @property
    def key(self) -> str:
        """The namespace and name, behind the kind if it is a policy."""
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.policy} {place}".lstrip()

    @property
    def versions(self) -> str:
        """The version of the engine and the desired one, as text."""
        if self.to_version is None:
            return self.from_version or ""
        return f"{self.from_version or '?'} → {self.to_version}"

    def to_json(self) -> dict[str, Any]:
        """Return the verdict for programs."""
        return {
            "kind": self.policy or KIND,
            "namespace": self.namespace,
            "name": self.name,
            "engineId": self.engine_id,
            "verdict": self.kind.value,
            "reason": self.reason,
            "message": self.sentence,
            "from": self.from_version,
            "to": self.to_version,
            "heldBy": [
                {"by": hold.by, "reason": hold.reason, "until": hold.until} for hold in self.holds
            ],
            "warnings": list(self.warnings),
            "change": self.change.value if self.change else None,
            "file": self.origin,
            "line": self.line,
        }


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """Return the detailed exit code: 3 if one is refused, 2 if one starts or may start, else 0."""
    found = list(verdicts)
    if any(one.kind is Kind.REFUSED or one.will_be_refused for one in found):
        return REFUSED
    starts = {Kind.UPGRADE, Kind.HELD, Kind.UNKNOWN}
    return CHANGES if any(one.kind in starts for one in found) else ANSWERED


def counts(verdicts: Iterable[Verdict]) -> dict[Kind, int]:
    """Return the number of engines of each kind; kinds without engines are left out."""
    found = [one.kind for one in verdicts if not one.policy]
    return {kind: found.count(kind) for kind in Kind if kind in found}
