"""What the status records of an upgrade: from its intent to its result, and the history of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

from pydantic import Field

from cse_operator.api.failure_kind import FailureKind
from cse_operator.api.status_model import StatusModel, Timestamp

HISTORY_LIMIT: Final = 10

READER: Final = 1
"""What this build can read of a record under `status.upgrade`, and what it writes as `minReader`.

A build that gives `phase`, `action`, `result`, an error's `kind` or a condition type a new value
raises it: an older build then leaves the record alone. A new fact that needs no new reader is an
optional field whose loss makes no call.
"""


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
