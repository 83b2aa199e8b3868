"""What is said of each engine, and the exit code that follows from all of it. Pure."""

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
    """How a resource stands to the git revision that it is compared with."""

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
    """A word: a condition's reason, or what the API server would say."""
    sentence: str
    from_version: str | None = None
    to_version: str | None = None
    holds: tuple[Hold, ...] = ()
    warnings: tuple[str, ...] = ()
    will_be_refused: bool = False
    """Whether the vendor can be expected to refuse the call."""
    change: Change | None = None
    origin: str = ""
    line: int | None = None
    policy: str = ""
    """The kind of a policy, of which this is said; empty where it is an engine's resource."""

    @property
    def key(self) -> str:
        """The resource."""
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.policy} {place}".lstrip()

    @property
    def versions(self) -> str:
        """From which version to which."""
        if self.to_version is None:
            return self.from_version or ""
        return f"{self.from_version or '?'} → {self.to_version}"

    def to_json(self) -> dict[str, Any]:
        """The verdict for programs."""
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
    """The detailed exit code: 3 for what is refused, 2 for what starts or may start, else 0."""
    found = list(verdicts)
    if any(one.kind is Kind.REFUSED or one.will_be_refused for one in found):
        return REFUSED
    starts = {Kind.UPGRADE, Kind.HELD, Kind.UNKNOWN}
    return CHANGES if any(one.kind in starts for one in found) else ANSWERED


def counts(verdicts: Iterable[Verdict]) -> dict[Kind, int]:
    """How many engines there are of each kind, those without any left out."""
    found = [one.kind for one in verdicts if not one.policy]
    return {kind: found.count(kind) for kind in Kind if kind in found}
