"""The models of `MicroserviceEngine`: the source of the CRD and of every read of a resource.

Field names in Python are the manifest's, in snake case; aliases give the camel case. The
descriptions are what `kubectl explain` shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
)

from cse_operator.api import duration
from cse_operator.api.credentials_reference import CredentialsReference
from cse_operator.api.failure_kind import FailureKind
from cse_operator.api.model import Model

NEVER_OBSERVED: Final = -1
"""`status.observedGeneration` of a resource that no operator has looked at yet (CRD default)."""

HISTORY_LIMIT: Final = 10

READER: Final = 1
"""What this build can read of a record under `status.upgrade`, and what it writes as `minReader`.

A build that gives `phase`, `action`, `result`, an error's `kind` or a condition type a new value
raises it: an older build then leaves the record alone. A new fact that needs no new reader is an
optional field whose loss makes no call.
"""


def _rfc3339(moment: datetime) -> str:
    # isoformat and not strftime, which writes the year 999 in three digits.
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


Timestamp = Annotated[datetime, PlainSerializer(_rfc3339, return_type=str)]
"""A moment, written to whole seconds in UTC as Kubernetes does."""


class StatusModel(Model):
    """A part of the status. Fields of a newer build are kept and written back as they came."""

    model_config = ConfigDict(extra="allow")


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
    UNKNOWN = "Unknown"
    """The answer was lost, and no effect was ever seen."""


class Action(StrEnum):
    """The vendor's call an upgrade was started with."""

    UPGRADE = "Upgrade"
    RETRY = "Retry"
    ADOPTED = "Adopted"
    """None of ours: someone else started the job, and it is followed all the same."""


VERSION_FORM: Final = r"^[0-9]+[.][0-9]+[.][0-9]+([-+._].*)?$"
"""At least three numeric parts, and no leading `v`."""

VERSION_ADVICE: Final = (
    "write at least three numeric parts and no leading v, such as 2.4.0 or 2.1.0.16"
)


def _whole_version(value: str) -> str:
    """Refuse a version that the vendor would not write so: `v2.4.0`, `2.4`."""
    if not re.fullmatch(VERSION_FORM.strip("^$"), value, re.ASCII):
        raise ValueError(VERSION_ADVICE)
    return value


class UpgradeOptions(Model):
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
    priority: int = Field(
        default=0,
        description="Where engines wait for a policy's slot, the highest goes first.",
        ge=-1000,
        le=1000,
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
    version: Annotated[str, AfterValidator(_whole_version)] = Field(
        description="The wanted version, such as 2.4.0 (Nacos: four parts, such as 2.1.0.16), "
        "without a leading v. Versions only go up. A later patch in the last part is accepted.",
        min_length=1,
        max_length=24,
        pattern=r"^[0-9a-zA-Z]([-+._0-9a-zA-Z]*[0-9a-zA-Z])?$",
    )
    credentials_ref: CredentialsReference | None = Field(
        default=None,
        description="The Secret with the credentials, or a ServiceAccount, in the same namespace. "
        "Without it the operator's own identity is used, where its administrator lets this "
        "namespace.",
    )
    suspend: bool = Field(
        default=False,
        description="True: keep observing the engine and following its jobs, start nothing.",
    )
    upgrade: UpgradeOptions = Field(
        default_factory=UpgradeOptions, description="How an upgrade is to be done."
    )


class EngineInfo(StatusModel):
    """The engine as the vendor shows it."""

    name: str | None = Field(default=None, description="The engine's name.")
    type: str | None = Field(default=None, description="The engine's type: CSE, NACOS, …")
    status: str | None = Field(default=None, description="The engine's status at the vendor.")


class Progress(StatusModel):
    """How far a job is."""

    completed: int = Field(description="Steps that are finished.")
    total: int = Field(description="Steps in all.")
    step: str | None = Field(default=None, description="The step that runs.")


class CallError(StatusModel):
    """What the vendor said when a call or a job failed."""

    kind: FailureKind | None = Field(
        default=None, description="What the answer to a call means; none for a job."
    )
    http_status: int | None = Field(default=None, description="HTTP status of the answer.")
    code: str | None = Field(default=None, description="The vendor's error code.")
    message: str | None = Field(default=None, description="The vendor's message.")
    detail: str | None = Field(default=None, description="The vendor's detail.")
    request_id: str | None = Field(default=None, description="The vendor's request id.")


class UpgradeRecord(StatusModel):
    """One upgrade from its intent to its result.

    Written before the call (the intent), after its answer (the job) and at its end (the
    result). Without `jobId` and without `result` it is an intent whose answer is not known.
    """

    min_reader: int = Field(
        default=READER,
        description="The oldest reader that understands this record; older builds call nothing.",
    )
    action: Action = Field(
        description="The call it was started with: Upgrade, Retry, or Adopted when someone "
        "else started it.",
    )
    wanted_version: str = Field(
        description="The spec.version that was wanted then. With its end recorded here, only a "
        "retry request calls for it again.",
        min_length=1,
    )
    answered_versions: tuple[str, ...] = Field(
        default=(),
        description="Versions wanted before, whose ends stand as well: no call for another "
        "wanted version came after them.",
        json_schema_extra={"maxItems": HISTORY_LIMIT},
    )
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
    retry_due: Literal[True] | None = Field(
        default=None,
        description="True while a failed job of the operator's own waits for its Retry call.",
    )
    retry_request: str | None = Field(
        default=None,
        description="The value of the annotation retry-requested-at that it answers.",
    )
    job_id: int | None = Field(default=None, description="The vendor's job.")
    own_job: Literal[True] | None = Field(
        default=None,
        description="True where the vendor named the job in its answer to the operator's call. One "
        "that was found by looking may be somebody else's, and is not retried by itself.",
    )
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

    def answers(self, wanted: str) -> bool:
        """Whether it ended for a wanted version, so that only a request calls for that again.

        Somebody else's job, or a Retry, that succeeded at another version leaves open what was
        never called.
        """
        if self.result is None:
            return False
        if wanted in self.answered_versions:
            return True
        no_target_of_its_own = self.action in {Action.ADOPTED, Action.RETRY}
        left_open = no_target_of_its_own and self.result is Result.SUCCEEDED
        return wanted == self.wanted_version and not left_open


class HistoryEntry(StatusModel):
    """One ended upgrade."""

    action: Action | None = Field(default=None, description="The call it was started with.")
    wanted_version: str | None = Field(
        default=None, description="The spec.version that was wanted then."
    )
    from_version: str | None = Field(default=None, description="The version before.")
    target_version: str | None = Field(default=None, description="The version it led to.")
    job_id: int | None = Field(default=None, description="The vendor's job.")
    result: Result = Field(description="What became of it.")
    started_at: Timestamp | None = Field(default=None, description="When it started.")
    finished_at: Timestamp | None = Field(default=None, description="When it ended.")
    error: CallError | None = Field(default=None, description="What the vendor said.")


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


class MicroserviceEngine(Model):
    """A Huawei Cloud CSE engine, kept at the wanted version: spec and status."""

    spec: Spec = Field(description="Which engine, and at what version it is wanted.")
    status: Status = Field(default_factory=Status, description="What the operator found and did.")
