"""The status's record of an upgrade, from its intent to its result, and the history of upgrades."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

from pydantic import Field

from cse_operator.api.failure_kind import FailureKind
from cse_operator.api.status_model import StatusModel, Timestamp

HISTORY_LIMIT: Final = 10

READER: Final = 1
"""The version of the record `status.upgrade` that this build reads, and writes as `minReader`.

A build that adds a value of `phase`, `action`, `result`, an error's `kind` or a condition type
raises this number, so that an older build leaves the record alone. An optional field whose loss
leads to no call needs no new number.
"""


class Result(StrEnum):
    """The result of an upgrade call."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    TIMED_OUT = "TimedOut"
    REJECTED = "Rejected"
    UNKNOWN = "Unknown"
    """The answer was lost, and no effect was ever seen."""


class Action(StrEnum):
    """The vendor's call that started an upgrade."""

    UPGRADE = "Upgrade"
    RETRY = "Retry"
    ADOPTED = "Adopted"
    """No call of the operator: somebody else started the job, and the operator follows it."""


class Progress(StatusModel):
    """The progress of a job."""

    completed: int = Field(description="Steps that are finished.")
    total: int = Field(description="Steps in all.")
    step: str | None = Field(default=None, description="The step that runs.")


class CallError(StatusModel):
    """The vendor's error of a failed call or job."""

    kind: FailureKind | None = Field(
        default=None, description="The kind of a call's failure; none for a job."
    )
    http_status: int | None = Field(default=None, description="HTTP status of the answer.")
    code: str | None = Field(default=None, description="The vendor's error code.")
    message: str | None = Field(default=None, description="The vendor's message.")
    detail: str | None = Field(default=None, description="The vendor's detail.")
    request_id: str | None = Field(default=None, description="The vendor's request id.")


class UpgradeRecord(StatusModel):
    """One upgrade from its intent to its result.

    Written before the call (the intent), after its answer (the job) and at the job's end (the
    result). A record without `jobId` and `result` is an intent whose answer is not known.
    """

    min_reader: int = Field(
        default=READER,
        description="The oldest reader that understands this record; older builds call nothing.",
    )
    action: Action = Field(
        description="The call that started the upgrade: Upgrade or Retry; Adopted if someone else "
        "started it.",
    )
    wanted_version: str = Field(
        description="The spec.version at that time. Once the result is recorded, only a retry "
        "request leads to another call for this version.",
        min_length=1,
    )
    answered_versions: tuple[str, ...] = Field(
        default=(),
        description="Versions desired before whose results stand as well, because no call for "
        "another desired version came after them.",
        json_schema_extra={"maxItems": HISTORY_LIMIT},
    )
    from_version: str | None = Field(default=None, description="The engine's version before.")
    target_version: str | None = Field(default=None, description="The version to be reached.")
    requested_at: Timestamp = Field(description="When the intent was recorded.")
    baseline_job_id: int | None = Field(
        default=None, description="The engine's latest job before the call."
    )
    baseline_at: Timestamp | None = Field(
        default=None, description="The vendor's time of the last look before the call."
    )
    attempts: int = Field(
        default=1,
        description="How many times the call was made; 0 while it certainly was not made yet.",
    )
    retries: int = Field(default=0, description="How many times the job was retried.")
    retry_due: Literal[True] | None = Field(
        default=None,
        description="True while a failed job of the operator's own waits for its Retry call.",
    )
    retry_request: str | None = Field(
        default=None,
        description="The value of the annotation retry-requested-at that led to the call.",
    )
    job_id: int | None = Field(default=None, description="The vendor's job.")
    own_job: Literal[True] | None = Field(
        default=None,
        description="True if the vendor named the job in its answer to the operator's call. A job "
        "that was found by looking may be somebody else's, and is not retried by itself.",
    )
    job_status: str | None = Field(default=None, description="The job's status at the vendor.")
    progress: Progress | None = Field(default=None, description="The job's progress.")
    started_at: Timestamp | None = Field(default=None, description="When the job started.")
    finished_at: Timestamp | None = Field(default=None, description="When the job ended.")
    result: Result | None = Field(default=None, description="The result.")
    error: CallError | None = Field(default=None, description="The vendor's error.")

    @property
    def unanswered(self) -> bool:
        """Whether this is an intent whose answer is not known."""
        return self.job_id is None and self.result is None

    @property
    def running(self) -> bool:
        """Whether the record's job has to be followed."""
        return self.job_id is not None and self.result is None

    def answers(self, wanted: str) -> bool:
        """Whether a result stands for a desired version: only a retry request calls it again.

        The success of somebody else's job or of a Retry does not stand for the version: no Upgrade
        to it was called.
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

    action: Action | None = Field(default=None, description="The call that started the upgrade.")
    wanted_version: str | None = Field(default=None, description="The spec.version at that time.")
    from_version: str | None = Field(default=None, description="The engine's version before.")
    target_version: str | None = Field(default=None, description="The version to be reached.")
    job_id: int | None = Field(default=None, description="The vendor's job.")
    result: Result = Field(description="The result.")
    started_at: Timestamp | None = Field(default=None, description="When the upgrade started.")
    finished_at: Timestamp | None = Field(default=None, description="When the upgrade ended.")
    error: CallError | None = Field(default=None, description="The vendor's error.")
