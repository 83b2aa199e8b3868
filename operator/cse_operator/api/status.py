"""The status of `MicroserviceEngine`: what the operator found and did."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal, Self

from pydantic import Field, PrivateAttr

from cse_operator.api.status_model import StatusModel, Timestamp
from cse_operator.api.upgrade_record import HISTORY_LIMIT, HistoryEntry, Result, UpgradeRecord

NEVER_OBSERVED: Final = -1
"""`status.observedGeneration` of a resource that no operator has seen yet (CRD default)."""


class Phase(StrEnum):
    """The state of a resource in one word."""

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
    """A condition in the form that Kubernetes and its tools read."""

    type: Literal["Ready", "Reconciling", "Stalled"] = Field(
        description="Ready, and Reconciling or Stalled while they are true."
    )
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    observed_generation: int = Field(description="The generation that the condition describes.")
    last_transition_time: Timestamp = Field(description="When the condition's status last changed.")
    reason: str = Field(description="The reason in one word.", min_length=1, max_length=64)
    message: str = Field(description="The reason in a sentence.", max_length=2048)


@dataclass(frozen=True, slots=True)
class KeptApart:
    """The parts of a stored status that this build does not understand: written back unchanged."""

    fields: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Entries of lists, by the list's name."""
    unreadable: str | None = None
    """Why no call may follow from this status; None if one may."""

    def put_back_into(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the status to store: `data` with the kept parts back in their places.

        A field in `data` replaces a kept one, except for a record that this build cannot read.
        """
        data = self.fields | data
        if self.unreadable is not None:
            data.pop("upgrade", None)
            data |= {name: self.fields[name] for name in ("upgrade",) if name in self.fields}
        for name, kept in self.entries.items():
            data[name] = [*data.get(name, []), *kept]
        return data


class HeldBy(StatusModel):
    """A policy that holds the engine, and the reason."""

    kind: str | None = Field(
        default=None,
        description="UpgradePolicy or ClusterUpgradePolicy; absent if no policy is the cause.",
    )
    policy: str | None = Field(default=None, description="The policy's name.")
    reason: str = Field(description="The reason in one word.")
    until: Timestamp | None = Field(
        default=None, description="When the hold ends; absent if that is not known."
    )


class Status(StatusModel):
    """What the operator found and did. Only the operator writes it."""

    observed_generation: int = Field(
        default=NEVER_OBSERVED, description="The generation that this status describes."
    )
    phase: Phase | None = Field(default=None, description="The state in one word.")
    message: str | None = Field(default=None, description="The reason in a sentence.")
    current_version: str | None = Field(default=None, description="The engine's version.")
    version_since: Timestamp | None = Field(
        default=None, description="Since when the engine has been seen at that version."
    )
    latest_version: str | None = Field(
        default=None, description="The version the vendor offers for this engine."
    )
    held: tuple[HeldBy, ...] = Field(default=(), description="The policies that hold the engine.")
    held_since: Timestamp | None = Field(
        default=None, description="Since when policies have held the engine."
    )
    engine: EngineInfo | None = Field(default=None, description="The engine.")
    job_id: int | None = Field(default=None, description="Job of the latest upgrade call.")
    result: Result | None = Field(
        default=None, description="The result of the latest upgrade call."
    )
    upgrade: UpgradeRecord | None = Field(default=None, description="The latest upgrade.")
    history: tuple[HistoryEntry, ...] = Field(
        default=(),
        description="The last ten upgrades, newest first.",
        # Not max_length: a longer history, written by another build, must still be read.
        json_schema_extra={"maxItems": HISTORY_LIMIT},
    )
    conditions: tuple[Condition, ...] = Field(
        default=(), description="Ready, and Reconciling or Stalled while they are true."
    )
    settled_versions: tuple[str, ...] = Field(
        default=(),
        description="Desired versions that were found reached, passed or not comparable since the "
        "last call. None of them counts as newly desired.",
        json_schema_extra={"maxItems": HISTORY_LIMIT},
    )
    last_handled_reconcile_at: str | None = Field(
        default=None,
        description="The last answered value of the annotation reconcile-requested-at; its digest "
        "if it is longer than 256 characters.",
    )
    last_handled_retry_at: str | None = Field(
        default=None,
        description="The last answered value of the annotation retry-requested-at; its digest if "
        "it is longer than 256 characters.",
    )

    _kept: KeptApart = PrivateAttr(default_factory=KeptApart)

    @property
    def unreadable(self) -> str | None:
        """Return why this build cannot read the stored status (`status_reader.py`), or None."""
        return self._kept.unreadable

    def with_kept(self, kept: KeptApart) -> Self:
        """Return the same status with the parts that are written back unchanged."""
        copy = self.model_copy()
        copy._kept = kept  # noqa: SLF001 - its own class
        return copy

    def with_ended(self, entry: HistoryEntry) -> Self:
        """Return the same status with one more upgrade at the head of its history."""
        room = max(HISTORY_LIMIT - len(self._kept.entries.get("history", ())), 1)
        return self.model_copy(update={"history": (entry, *self.history)[:room]})

    def to_json(self) -> dict[str, Any]:
        """Return the status to store: camel case, without unset fields."""
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        data = {key: value for key, value in data.items() if value != []}
        if "upgrade" in data and not data["upgrade"]["answeredVersions"]:
            del data["upgrade"]["answeredVersions"]
        return self._kept.put_back_into(data)

    @property
    def ready(self) -> Condition | None:
        """Return the condition `Ready`; None if there is none yet."""
        return next((c for c in self.conditions if c.type == "Ready"), None)
