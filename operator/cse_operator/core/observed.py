"""Everything a decision depends on, as one value."""

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
from cse_operator.core.observation import Accepted, EngineView, JobView
from cse_operator.core.permit import Allowed, Held

LONGEST_ECHO: Final = 256
"""Characters of a request that are echoed as they came; a time has 20."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks for: the spec, its generation, and the verbs in the annotations."""

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
    ) -> Wish:
        """The wish that a spec and its annotations express."""
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
    """A request as it is echoed in the status: one of an annotation's full size by its digest.

    Echoed as it came, it could make the status too large to be stored, and the resource
    one whose upgrades nobody can record.
    """
    if request is None or len(request) <= LONGEST_ECHO:
        return request
    # Lone surrogates cannot be encoded otherwise, and no request may end the step.
    return f"sha256:{hashlib.sha256(request.encode(errors='surrogatepass')).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Rival:
    """The resource that drives the same engine; its name only within the own namespace."""

    name: str | None
    upgrading: bool = False
    """Whether it drives because its upgrade is under way, and not because it is older."""
    older: bool = True
    """Whether it is older; else it drives because it sees the engine and the older one does not."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient the operator is; in seconds, except for the two counts."""

    grace: float = 35.0
    """The outcome grace: how long after an intent its call may still take effect, or its effect
    not be shown yet. The send window (5), the request time-out (15), the read lag (10) and the
    vendor's clocks (5)."""
    lag: float = 10.0
    """The read lag: how long a look may show an older state."""
    clocks: float = 5.0
    """How far two clocks of the vendor's (gateway and engine manager) may be apart."""
    look_valid: float = 15.0
    """How old a look at the engine may be for a call to be decided on it."""
    wait: float = 15.0
    """Between looks at an engine that is busy or not available."""
    slow: float = 60.0
    """Between looks at what only a person can mend."""
    confirm: float = 1.0
    """Between looks at an engine whose finished job does not show yet."""
    backoff_base: float = 1.0
    outage_limit: float = 30.0
    """The longest backoff while the vendor does not answer: back at work soon when it does."""
    backoff_limit: float = 300.0
    """The longest one for what a person has to bring."""
    patience: int = 3
    """Passing failures, or passing states of the engine, in a row before a resource that was
    fine says so."""
    repeats: int = 2
    """How many times a call is made again whose outcome stays unknown, before a person is asked."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One moment of the world, as far as one resource is concerned."""

    wish: Wish
    status: Status
    now: datetime
    engine: EngineView | None = None
    """The engine, if this step looked at it."""
    engine_age: float = 0.0
    """Seconds since the engine was seen so, by this process's steady clock: a look that took
    long, or a process that was stopped, makes it more than nothing."""
    engine_since: float = 0.0
    """Seconds since that look's answer was here. The vendor dated it before that."""
    passing_looks: int = 0
    """How many looks in a row, this one included, showed a state that passes by itself."""
    job: JobView | None = None
    """The job that matters now: the followed one, or the one an open intent may have started."""
    job_age: float = 0.0
    """Seconds since the job was looked at, whether it was shown or missing."""
    missing_job: int | None = None
    """A job that the vendor says it does not know."""
    jobs: tuple[JobView, ...] | None = None
    """The vendor's list of the engine's jobs; None while it was not asked for. Empty where the
    site does not have it: what is not in it proves nothing."""
    jobs_failure: Failure | None = None
    """Why the list of jobs could not be read."""
    failure: Failure | None = None
    """Why the engine could not be looked at."""
    job_failure: Failure | None = None
    """Why the job could not be looked at."""
    failures: int = 0
    """How many failures in a row, this one included."""
    not_found_for: float = 0.0
    """Seconds for which every look has said that there is no such engine."""
    answer: Accepted | Failure | Held | None = None
    """What the changing call was answered with, right after it, or which policy kept it back."""
    permit: Allowed | Held | None = None
    """Whether the policies let a call go; None while they were not asked."""
    known_for: float = 0.0
    """Seconds this process has known the recorded upgrade in its present stage: never more
    than the truth."""
    wrote_intent: bool = False
    """Whether this process wrote the open intent, so that it has known it from its beginning."""
    ended_for: float = 0.0
    """Seconds since this process first saw the followed job ended or stopped."""
    may_call_in: float = 0.0
    """Seconds until this process may call Upgrade or Retry: its right to act has to be older than
    what another process may have on its way."""
    observes_only: bool = False
    """Whether this process calls nothing at all: an administrator has said so."""
    poll_interval: float | None = None
    """Seconds between looks at a running job; None outside the loop."""
    progress_due: bool = True
    """Whether a new step may be written (at most one a minute)."""
    rival: Rival | None = None
    jitter: float = 0.5

    @property
    def record(self) -> UpgradeRecord | None:
        """The latest upgrade, as it is recorded.

        None is also what an unreadable status has: `stage_of` tells the two apart.
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
        """Whether a person asked for a retry that was not honoured yet."""
        request = self.wish.retry_request
        return request is not None and request != self.status.last_handled_retry_at

    @property
    def look_requested(self) -> bool:
        """Whether a person asked for a look that was not answered yet."""
        request = self.wish.reconcile_request
        return request is not None and request != self.status.last_handled_reconcile_at

    @property
    def is_ready(self) -> bool:
        """Whether the status says Ready for the present spec."""
        ready = self.status.ready
        present = self.status.observed_generation == self.wish.generation
        return present and ready is not None and ready.status == "True"

    def shown_job(self, job_id: int | None) -> JobView | None:
        """A job as it was shown, by itself or in the vendor's list."""
        if self.job is not None and self.job.job_id == job_id:
            return self.job
        return next((job for job in self.jobs or () if job.job_id == job_id), None)
