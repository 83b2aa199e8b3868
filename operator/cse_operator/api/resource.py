"""The models of `MicroserviceEngine`: the source of the CRD and of every read of a resource.

Field names in Python are the manifest's, in snake case; aliases give the camel case. The
descriptions are what `kubectl explain` shows.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

from cse_operator.api import duration

NEVER_OBSERVED: Final = -1
"""`status.observedGeneration` of a resource that no operator has looked at yet (CRD default)."""

HISTORY_LIMIT: Final = 10


def _rfc3339(moment: datetime) -> str:
    # isoformat and not strftime, which writes the year 999 in three digits.
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


Timestamp = Annotated[datetime, PlainSerializer(_rfc3339, return_type=str)]
"""A moment, written to whole seconds in UTC as Kubernetes does."""


class Model(BaseModel):
    """What all parts of the resource share: camel case outside, frozen, unknown fields kept out."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_enum_values=False,
    )


class Phase(StrEnum):
    """Where the resource stands, in a word."""

    PENDING = "Pending"
    WAITING = "Waiting"
    SUBMITTING = "Submitting"
    UPGRADING = "Upgrading"
    UP_TO_DATE = "UpToDate"
    FAILED = "Failed"


class Result(StrEnum):
    """What became of an upgrade call."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    TIMED_OUT = "TimedOut"
    REJECTED = "Rejected"


class Action(StrEnum):
    """The vendor's call an upgrade was started with."""

    UPGRADE = "Upgrade"
    RETRY = "Retry"
    ADOPTED = "Adopted"
    """None of ours: someone else started the job, and it is followed all the same."""


class CredentialsReference(Model):
    """Names the Secret with the credentials, in the resource's own namespace."""

    name: str = Field(
        description="Name of a Secret in the same namespace.",
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
    )


class UpgradePolicy(Model):
    """How an upgrade is to be done."""

    timeout: str = Field(
        default="2h",
        description="How long a job may run before it is reported as overdue, such as 90m or "
        "2h. It is followed to its end all the same.",
        pattern=duration.PATTERN,
        max_length=16,
    )
    retry_limit: int = Field(
        default=1,
        description="How many times a failed job is retried (the vendor's action Retry) before "
        "a person is needed.",
        ge=0,
        le=10,
    )


class Spec(Model):
    """Which engine, and at what version it is wanted."""

    region: str = Field(
        description="The vendor's region, such as cn-north-4. Immutable.",
        min_length=1,
        max_length=32,
        pattern=r"^[a-z]{2,}(-[a-z0-9]+)+$",
    )
    project_id: str = Field(
        description="Id of the project the engine is in. Immutable.",
        min_length=1,
        max_length=64,
        pattern=r"^[0-9a-zA-Z]([-0-9a-zA-Z_]*[0-9a-zA-Z])?$",
    )
    engine_id: str = Field(
        description="Id of the engine. Immutable.",
        min_length=1,
        max_length=64,
        pattern=r"^[0-9a-zA-Z]([-0-9a-zA-Z_]*[0-9a-zA-Z])?$",
    )
    enterprise_project_id: str | None = Field(
        default=None,
        description="Id of the enterprise project; without it the vendor takes the default one.",
        min_length=1,
        max_length=64,
        pattern=r"^[0-9a-zA-Z]([-0-9a-zA-Z_]*[0-9a-zA-Z])?$",
    )
    version: str = Field(
        description="The wanted version, such as 2.4.0 (Nacos: four parts, such as 2.1.0.16). "
        "Versions only go up.",
        min_length=1,
        max_length=24,
        pattern=r"^[0-9a-zA-Z]([-+._0-9a-zA-Z]*[0-9a-zA-Z])?$",
    )
    credentials_ref: CredentialsReference = Field(
        description="The Secret with the credentials, in the same namespace."
    )
    suspend: bool = Field(
        default=False,
        description="True: keep observing the engine and following its jobs, start nothing.",
    )
    upgrade: UpgradePolicy = Field(
        default_factory=UpgradePolicy, description="How an upgrade is to be done."
    )


class EngineInfo(Model):
    """The engine as the vendor shows it."""

    name: str | None = Field(default=None, description="The engine's name.")
    type: str | None = Field(default=None, description="The engine's type: CSE, NACOS, …")
    status: str | None = Field(default=None, description="The engine's status at the vendor.")


class Progress(Model):
    """How far a job is."""

    completed: int = Field(description="Steps that are finished.")
    total: int = Field(description="Steps in all.")
    step: str | None = Field(default=None, description="The step that runs.")


class CallError(Model):
    """What the vendor said when a call or a job failed."""

    http_status: int | None = Field(default=None, description="HTTP status of the answer.")
    code: str | None = Field(default=None, description="The vendor's error code.")
    message: str | None = Field(default=None, description="The vendor's message.")
    detail: str | None = Field(default=None, description="The vendor's detail.")
    request_id: str | None = Field(default=None, description="The vendor's request id.")


class UpgradeRecord(Model):
    """One upgrade from its intent to its result.

    Written before the call (the intent), after its answer (the job) and at its end (the
    result). Without `jobId` and without `result` it is an intent whose answer is not known.
    """

    action: Action = Field(
        default=Action.UPGRADE,
        description="The call it was started with: Upgrade, Retry, or Adopted when someone "
        "else started it.",
    )
    generation: int = Field(description="The generation of the spec that asked for it.")
    from_version: str | None = Field(default=None, description="The version it started from.")
    target_version: str | None = Field(default=None, description="The version it leads to.")
    requested_at: Timestamp = Field(description="When the intent was recorded.")
    baseline_job_id: int | None = Field(
        default=None, description="The engine's latest job before the call."
    )
    baseline_at: Timestamp | None = Field(
        default=None, description="When the engine was looked at before the call (vendor's clock)."
    )
    attempts: int = Field(
        default=1,
        description="How many times the call was made; 0 while it certainly was not yet.",
    )
    retries: int = Field(default=0, description="How many of them were Retry calls.")
    retry_request: str | None = Field(
        default=None,
        description="The value of the annotation retry-requested-at that it answers.",
    )
    job_id: int | None = Field(default=None, description="The vendor's job.")
    job_status: str | None = Field(default=None, description="The job's status at the vendor.")
    progress: Progress | None = Field(default=None, description="How far the job is.")
    started_at: Timestamp | None = Field(default=None, description="When the job started.")
    finished_at: Timestamp | None = Field(default=None, description="When the job ended.")
    result: Result | None = Field(default=None, description="What became of it.")
    error: CallError | None = Field(default=None, description="What the vendor said.")

    @property
    def unanswered(self) -> bool:
        """Whether this is an intent whose answer is not known."""
        return self.job_id is None and self.result is None

    @property
    def running(self) -> bool:
        """Whether its job has to be followed."""
        return self.job_id is not None and self.result is None


class HistoryEntry(Model):
    """One ended upgrade."""

    from_version: str | None = Field(default=None, description="The version before.")
    target_version: str | None = Field(default=None, description="The version it led to.")
    job_id: int | None = Field(default=None, description="The vendor's job.")
    result: Result = Field(description="What became of it.")
    started_at: Timestamp | None = Field(default=None, description="When it started.")
    finished_at: Timestamp | None = Field(default=None, description="When it ended.")


class Condition(Model):
    """A condition as Kubernetes and its tools read them."""

    type: Literal["Ready", "Reconciling", "Stalled"] = Field(
        description="Ready, and Reconciling or Stalled while they are true."
    )
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    observed_generation: int = Field(description="The generation it speaks of.")
    last_transition_time: Timestamp = Field(description="When its status changed last.")
    reason: str = Field(description="Why, in a word.", min_length=1, max_length=64)
    message: str = Field(description="Why, in a sentence.", max_length=2048)


class Status(Model):
    """What the operator found and did. Only the operator writes it."""

    observed_generation: int = Field(
        default=NEVER_OBSERVED, description="The generation this status speaks of."
    )
    phase: Phase | None = Field(default=None, description="Where the resource stands.")
    message: str | None = Field(default=None, description="Why, in a sentence.")
    current_version: str | None = Field(default=None, description="The engine's version.")
    latest_version: str | None = Field(
        default=None, description="The version the vendor offers for this engine."
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
        max_length=HISTORY_LIMIT,
    )
    conditions: tuple[Condition, ...] = Field(
        default=(), description="Ready, and Reconciling or Stalled while they are true."
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

    def to_json(self) -> dict[str, Any]:
        """The status as it is stored: camel case, without what is not set."""
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {key: value for key, value in data.items() if value != []}

    @property
    def ready(self) -> Condition | None:
        """The condition `Ready`, once there is one."""
        return next((c for c in self.conditions if c.type == "Ready"), None)


class MicroserviceEngine(Model):
    """A Huawei Cloud CSE engine, kept at the wanted version: spec and status."""

    spec: Spec = Field(description="Which engine, and at what version it is wanted.")
    status: Status = Field(default_factory=Status, description="What the operator found and did.")
