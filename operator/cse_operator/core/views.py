"""Views of the outside world, as frozen values.

The vendor's enumerations stay strings, so that unknown values pass through and are shown.
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
    """When the vendor answered, by the vendor's clock (its `Date` header), in UTC; None without
    that header. This process's clock is never used, because it may be minutes off."""

    @property
    def offers_retry(self) -> bool:
        """Whether the engine's upgrade failed and the vendor offers the action Retry."""
        failed = self.status == vendor_states.UPGRADE_FAILED
        return failed and vendor_states.RETRY_ACTION in self.additional_actions


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is: finished steps, all steps, and the name of the running step."""

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
    """A failed job's own account of its failure (description or the failed step), trimmed."""
    observed_at: datetime | None
    scheduled: bool | None = None
    """Whether the vendor says that the job runs (`scheduling`); None if the vendor does not say."""
    created_by: str = ""
    """The user whose call started the job (`createUser`); empty if the vendor does not say."""

    @property
    def has_ended(self) -> bool:
        """Whether the job's top-level `status` is a known end. Nothing else proves an end."""
        return self.status in vendor_states.JOB_ENDINGS

    @property
    def has_stopped(self) -> bool:
        """Whether the vendor no longer runs the job and this build does not know its status."""
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
