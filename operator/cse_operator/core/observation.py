"""What the operator has seen of the outside world, as frozen values.

Enumerations of the vendor stay strings: unknown values pass through and are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cse_operator.core import vendor_states


@dataclass(frozen=True, slots=True)
class EngineView:
    """One look at an engine (ShowEngine, or its line in ListEngines)."""

    engine_id: str
    name: str
    type: str
    status: str
    version: str
    latest_version: str | None
    latest_job_id: int | None
    additional_actions: tuple[str, ...]
    observed_at: datetime | None
    """When the vendor answered, by the vendor's own clock (its `Date` header), in UTC; None
    without such a header. Never this process's clock, which may be minutes off."""

    @property
    def offers_retry(self) -> bool:
        """Whether its upgrade failed and the vendor's action Retry is open."""
        failed = self.status == vendor_states.UPGRADE_FAILED
        return failed and vendor_states.RETRY_ACTION in self.additional_actions


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is: finished steps, all steps, and the name of the one that runs."""

    completed: int
    total: int
    step: str | None


@dataclass(frozen=True, slots=True)
class JobView:
    """One look at a job (ShowEngineJob, or its line in the list of jobs)."""

    job_id: int
    engine_id: str
    type: str
    status: str
    started_at: datetime | None
    ended_at: datetime | None
    progress: JobProgress | None
    message: str | None
    """What the job says of itself where it failed (description or the failed step), trimmed."""
    observed_at: datetime | None
    scheduled: bool | None = None
    """Whether the vendor says that it runs (`scheduling`); `None` where it says neither."""
    created_by: str = ""
    """The user whose call started it (`createUser`); empty where the vendor does not say."""

    @property
    def has_ended(self) -> bool:
        """Whether its top-level `status` is a known end. Nothing else proves one."""
        return self.status in vendor_states.JOB_ENDINGS

    @property
    def has_stopped(self) -> bool:
        """Whether the vendor no longer runs it, in a status that this build does not know."""
        if self.has_ended or self.status in vendor_states.JOB_RUNS:
            return False
        if self.scheduled is None:
            return self.ended_at is not None
        return not self.scheduled


@dataclass(frozen=True, slots=True)
class Accepted:
    """The vendor accepted a changing call (Upgrade or Retry) and named its job."""

    engine_id: str
    engine_name: str | None
    job_id: int
