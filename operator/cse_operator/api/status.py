"""The status of `MicroserviceEngine`: what the operator found and did."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal, Self

from pydantic import Field, PrivateAttr

from cse_operator.api.status_model import StatusModel, Timestamp
from cse_operator.api.upgrade_record import HISTORY_LIMIT, HistoryEntry, Result, UpgradeRecord

NEVER_OBSERVED: Final = -1
"""`status.observedGeneration` of a resource that no operator has looked at yet (CRD default)."""


class Phase(StrEnum):
    """Where the resource stands, in a word."""

    PENDING = "Pending"
    WAITING = "Waiting"
    SUBMITTING = "Submitting"
    UPGRADING = "Upgrading"
    UP_TO_DATE = "UpToDate"
    FAILED = "Failed"


class EngineInfo(StatusModel):
    """The engine as the vendor shows it."""

    name: str | None = Field(default=None, description="The engine's name.")
    type: str | None = Field(default=None, description="The engine's type: CSE, NACOS, …")
    status: str | None = Field(default=None, description="The engine's status at the vendor.")


class Condition(StatusModel):
    """A condition as Kubernetes and its tools read them."""

    type: Literal["Ready", "Reconciling", "Stalled"] = Field(
        description="Ready, and Reconciling or Stalled while they are true."
    )
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    observed_generation: int = Field(description="The generation it speaks of.")
    last_transition_time: Timestamp = Field(description="When its status changed last.")
    reason: str = Field(description="Why, in a word.", min_length=1, max_length=64)
    message: str = Field(description="Why, in a sentence.", max_length=2048)


@dataclass(frozen=True, slots=True)
class KeptApart:
    """What is stored in a status and not understood by this build: written back as it came."""

    fields: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Entries of lists, by the list's name."""
    unreadable: str | None = None
    """Why no call may be decided on this status."""

    def put_back_into(self, data: dict[str, Any]) -> dict[str, Any]:
        """A status as it is stored, with what was kept apart in its place again.

        What this build writes itself comes first, except for a record that it cannot read.
        """
        data = self.fields | data
        if self.unreadable is not None:
            data.pop("upgrade", None)
            data |= {name: self.fields[name] for name in ("upgrade",) if name in self.fields}
        for name, kept in self.entries.items():
            data[name] = [*data.get(name, []), *kept]
        return data


class HeldBy(StatusModel):
    """One policy that does not let the engine start, and why."""

    kind: str | None = Field(
        default=None,
        description="UpgradePolicy or ClusterUpgradePolicy; absent where no policy is meant.",
    )
    policy: str | None = Field(default=None, description="The policy's name.")
    reason: str = Field(description="Why, in a word.")
    until: Timestamp | None = Field(
        default=None, description="When it lets the engine go; absent where nobody knows."
    )


class Status(StatusModel):
    """What the operator found and did. Only the operator writes it."""

    observed_generation: int = Field(
        default=NEVER_OBSERVED, description="The generation this status speaks of."
    )
    phase: Phase | None = Field(default=None, description="Where the resource stands.")
    message: str | None = Field(default=None, description="Why, in a sentence.")
    current_version: str | None = Field(default=None, description="The engine's version.")
    version_since: Timestamp | None = Field(
        default=None, description="Since when the engine has been seen at that version."
    )
    latest_version: str | None = Field(
        default=None, description="The version the vendor offers for this engine."
    )
    held: tuple[HeldBy, ...] = Field(
        default=(), description="The policies that do not let the engine start."
    )
    held_since: Timestamp | None = Field(
        default=None, description="Since when policies have held the engine."
    )
    engine: EngineInfo | None = Field(default=None, description="The engine.")
    job_id: int | None = Field(default=None, description="Job of the latest upgrade call.")
    result: Result | None = Field(
        default=None, description="What became of the latest upgrade call."
    )
    upgrade: UpgradeRecord | None = Field(default=None, description="The latest upgrade.")
    history: tuple[HistoryEntry, ...] = Field(
        default=(),
        description="The last ten upgrades, newest first.",
        # Not max_length: a longer one, of another build, is read all the same.
        json_schema_extra={"maxItems": HISTORY_LIMIT},
    )
    conditions: tuple[Condition, ...] = Field(
        default=(), description="Ready, and Reconciling or Stalled while they are true."
    )
    settled_versions: tuple[str, ...] = Field(
        default=(),
        description="Wanted versions that were found reached, passed or not comparable since the "
        "last call. While one of them is wanted, it is not new.",
        json_schema_extra={"maxItems": HISTORY_LIMIT},
    )
    last_handled_reconcile_at: str | None = Field(
        default=None,
        description="The value of the annotation reconcile-requested-at that was answered last; "
        "its digest if it is longer than 256 characters.",
    )
    last_handled_retry_at: str | None = Field(
        default=None,
        description="The value of the annotation retry-requested-at that was answered last; its "
        "digest if it is longer than 256 characters.",
    )

    _kept: KeptApart = PrivateAttr(default_factory=KeptApart)

    @property
    def unreadable(self) -> str | None:
        """Why this build cannot read what is stored (`status_reader.py`); None if it can."""
        return self._kept.unreadable

    def with_kept(self, kept: KeptApart) -> Self:
        """The same status, with what is written back as it came."""
        copy = self.model_copy()
        copy._kept = kept  # noqa: SLF001 - its own class
        return copy

    def with_ended(self, entry: HistoryEntry) -> Self:
        """The same status with one more upgrade at the head of its history."""
        room = max(HISTORY_LIMIT - len(self._kept.entries.get("history", ())), 1)
        return self.model_copy(update={"history": (entry, *self.history)[:room]})

    def to_json(self) -> dict[str, Any]:
        """The status as it is stored: camel case, without what is not set."""
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        data = {key: value for key, value in data.items() if value != []}
        if "upgrade" in data and not data["upgrade"]["answeredVersions"]:
            del data["upgrade"]["answeredVersions"]
        return self._kept.put_back_into(data)

    @property
    def ready(self) -> Condition | None:
        """The condition `Ready`, once there is one."""
        return next((c for c in self.conditions if c.type == "Ready"), None)
