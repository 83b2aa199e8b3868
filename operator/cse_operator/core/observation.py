"""All inputs of a decision, as one value."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cse_operator.api.duration import parse_duration
from cse_operator.api.spec import Spec
from cse_operator.api.status import Status
from cse_operator.api.upgrade_record import UpgradeRecord
from cse_operator.core.failure import Failure
from cse_operator.core.permit import Allowed, Held
from cse_operator.core.views import Accepted, EngineView, JobView

LONGEST_ECHO: Final = 256
"""The longest request, in characters, that the status echoes unchanged; a time has 20."""


@dataclass(frozen=True, slots=True)
class Desired:
    """The desired state: the spec, its generation, and the requests in the annotations."""

    generation: int
    version: str
    suspend: bool
    timeout: timedelta
    retry_limit: int
    reconcile_request: str | None = None
    retry_request: str | None = None

    @classmethod
    def of(
        cls,
        spec: Spec,
        generation: int,
        *,
        reconcile_request: str | None = None,
        retry_request: str | None = None,
    ) -> Desired:
        """Return the desired state that a spec and its annotations express."""
        return cls(
            generation=generation,
            version=spec.version,
            suspend=spec.suspend,
            timeout=parse_duration(spec.upgrade.timeout),
            retry_limit=spec.upgrade.retry_limit,
            reconcile_request=bounded(reconcile_request),
            retry_request=bounded(retry_request),
        )


def bounded(request: str | None) -> str | None:
    """Return a request as the status echoes it: a long one as its digest, an empty one as none.

    An annotation of full size could make the status too large to be stored, and then no upgrade of
    the resource could be recorded.
    """
    if not request:
        return None
    if len(request) <= LONGEST_ECHO:
        return request
    # Encoding a lone surrogate would raise without this, and no request may end the step.
    return f"sha256:{hashlib.sha256(request.encode(errors='surrogatepass')).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Owner:
    """The resource that drives the same engine; its name only if it is in the same namespace."""

    name: str | None
    upgrading: bool = False
    """Whether it owns the engine because its upgrade is open, although it is newer."""
    older: bool = True
    """Whether it is older. If neither holds, it sees the engine and the older resource does not."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient the operator is; in seconds, except for the two counts."""

    grace: float = 35.0
    """The outcome grace: how long after an intent its call may still take effect, or reads may not
    show its effect yet. Sum of the send window (5), the request time-out (15), the read lag (10)
    and the vendor's clocks (5)."""
    lag: float = 10.0
    """The read lag: how long a look may show an older state."""
    clocks: float = 5.0
    """How far two clocks of the vendor (gateway and engine manager) may be apart."""
    look_valid: float = 15.0
    """How old a look at the engine may be when a call is decided on it."""
    wait: float = 15.0
    """Between looks at a busy or unavailable engine."""
    slow: float = 60.0
    """Between looks at a problem that only a person can mend."""
    confirm: float = 1.0
    """Between looks at an engine that does not show the end of its job yet."""
    backoff_base: float = 1.0
    outage_limit: float = 30.0
    """The longest backoff while the vendor does not answer: short, so that work resumes soon."""
    backoff_limit: float = 300.0
    """The longest backoff while a person has to supply something."""
    patience: int = 3
    """How many passing failures, or passing states of the engine, in a row it takes before the
    status of a resource that was fine says so."""
    repeats: int = 2
    """How many times a call with an unknown outcome is made again before a person is asked."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything known about one resource and its engine at one moment."""

    desired: Desired
    status: Status
    now: datetime
    engine: EngineView | None = None
    """The engine, if this step looked at it."""
    engine_age: float = 0.0
    """Seconds since the look at the engine began, by this process's steady clock. A slow look, or a
    stop of the process, makes it grow."""
    engine_since: float = 0.0
    """Seconds since the answer to that look arrived. The vendor dated the answer before that."""
    passing_looks: int = 0
    """How many looks in a row, this one included, showed a state that passes by itself."""
    job: JobView | None = None
    """The job that matters now: the followed job, or the job that an open intent may have
    started."""
    job_age: float = 0.0
    """Seconds since the look at the job began, whether the job was shown or missing."""
    missing_job: int | None = None
    """The id of a job that the vendor says it does not know."""
    job_missing_for: float = 0.0
    """Seconds for which every look has said that the vendor does not know the followed job."""
    jobs: tuple[JobView, ...] | None = None
    """The vendor's list of the engine's jobs; None while it was not asked for, empty if the site
    does not offer it. A job's absence from the list proves nothing."""
    jobs_failure: Failure | None = None
    """Why the list of jobs could not be read."""
    failure: Failure | None = None
    """Why the engine could not be looked at."""
    job_failure: Failure | None = None
    """Why the job could not be looked at."""
    failures: int = 0
    """How many failures in a row, this one included."""
    not_found_for: float = 0.0
    """Seconds for which every look has said that the engine does not exist."""
    answer: Accepted | Failure | Held | None = None
    """The answer to the changing call, right after it, or the policies that held the call back."""
    permit: Allowed | Held | None = None
    """Whether the policies allow a call; None while they were not asked."""
    known_for: float = 0.0
    """Seconds for which this process has known the recorded upgrade in its present state; never
    more than the true time."""
    wrote_intent: bool = False
    """Whether this process wrote the open intent and so has known it from its beginning."""
    ended_for: float = 0.0
    """Seconds since this process first saw the followed job ended or stopped."""
    may_call_in: float = 0.0
    """Seconds until this process may call Upgrade or Retry. Its right to act must be older than any
    call that another process may still have on its way."""
    observes_only: bool = False
    """Whether this process may not call: an administrator said so, the region is not allowed, or
    the resource is being deleted."""
    deleting: bool = False
    """Whether the resource is being deleted."""
    poll_interval: float | None = None
    """Seconds between looks at a running job; None outside the loop."""
    progress_due: bool = True
    """Whether a new step of the job may be written (at most one a minute)."""
    other_owner: Owner | None = None
    jitter: float = 0.5

    @property
    def record(self) -> UpgradeRecord | None:
        """Return the latest recorded upgrade.

        None also if the status is unreadable: `state_of` tells the two apart.
        """
        return self.status.upgrade

    @property
    def seen_engine(self) -> EngineView:
        """The engine, in a step that looked at it.

        Raises:
            ValueError: This one did not: nothing can be recorded or said about an unseen engine.
        """
        if self.engine is None:
            raise ValueError("the engine was not looked at in this step")
        return self.engine

    @property
    def retry_requested(self) -> bool:
        """Whether a person requested a retry that is not handled yet."""
        request = self.desired.retry_request
        return request is not None and request != self.status.last_handled_retry_at

    @property
    def look_requested(self) -> bool:
        """Whether a person requested a look that is not handled yet."""
        request = self.desired.reconcile_request
        return request is not None and request != self.status.last_handled_reconcile_at

    @property
    def is_ready(self) -> bool:
        """Whether the status says Ready for the present spec."""
        ready = self.status.ready
        present = self.status.observed_generation == self.desired.generation
        return present and ready is not None and ready.status == "True"

    def shown_job(self, job_id: int | None) -> JobView | None:
        """Return a job that a look at it, or the vendor's list, has shown."""
        if self.job is not None and self.job.job_id == job_id:
            return self.job
        return next((job for job in self.jobs or () if job.job_id == job_id), None)
