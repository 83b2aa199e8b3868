"""What the operator has seen of the outside world, as frozen values.

Enumerations of the vendor stay strings: unknown values pass through and are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is: finished steps, all steps, and the name of the one that runs."""

    completed: int
    total: int
    step: str | None


@dataclass(frozen=True, slots=True)
class JobView:
    """One look at a job (ShowEngineJob). Only its top-level `status` ends it."""

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


@dataclass(frozen=True, slots=True)
class Accepted:
    """The vendor accepted a changing call (Upgrade or Retry) and named its job."""

    engine_id: str
    engine_name: str | None
    job_id: int
