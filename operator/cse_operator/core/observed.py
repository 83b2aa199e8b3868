"""Everything a decision depends on, as one value."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cse_operator.api.duration import parse_duration
from cse_operator.api.resource import Spec, Status, UpgradeRecord
from cse_operator.core.failure import Failure
from cse_operator.core.observation import EngineView, JobView

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
            reconcile_request=_bounded(reconcile_request),
            retry_request=_bounded(retry_request),
        )


def _bounded(request: str | None) -> str | None:
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


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient the operator is; all in seconds."""

    grace: float = 30.0
    """How long the vendor's reads may lag behind a call before nothing means nothing."""
    lag: float = 5.0
    """The same behind a call that was answered as not carried out: the answer is believed, but
    not by a look that may be from before the call."""
    look_valid: float = 15.0
    """How old a look at the engine may be for a call to be decided on it."""
    wait: float = 15.0
    """Between looks at an engine that is busy or not available."""
    slow: float = 60.0
    """Between looks at what only a person can mend."""
    confirm: float = 1.0
    """Between looks at an engine whose finished job does not show yet."""
    backoff_base: float = 1.0
    backoff_limit: float = 300.0
    patience: int = 3
    """Passing failures in a row before a resource that was fine says so."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One moment of the world, as far as one resource is concerned."""

    wish: Wish
    status: Status
    now: datetime
    engine: EngineView | None = None
    engine_is_fresh: bool = False
    """Whether the engine was looked at in this very step."""
    engine_age: float = 0.0
    """Seconds since the engine was seen so, by this process's steady clock: a look that is
    shared, or a process that was stopped, makes it more than nothing."""
    engine_since: float = 0.0
    """Seconds since that look's answer was here. The vendor dated it before that."""
    job: JobView | None = None
    """The job that matters now: the followed one, or the one an open intent may have started."""
    job_age: float = 0.0
    """Seconds since the job was looked at, whether it was shown or missing."""
    missing_job: int | None = None
    """A job that the vendor says it does not know."""
    failure: Failure | None = None
    """Why the engine could not be looked at."""
    failures: int = 0
    """How many failures in a row, this one included."""
    known_for: float = 0.0
    """Seconds this process has known the recorded upgrade in its present stage: never more
    than the truth."""
    wrote_intent: bool = False
    """Whether this process wrote the open intent, so that it has known it from its beginning."""
    ended_for: float = 0.0
    """Seconds since this process first saw the followed job ended."""
    progress_due: bool = True
    """Whether a new step may be written (at most one a minute)."""
    rival: Rival | None = None
    jitter: float = 0.5

    @property
    def record(self) -> UpgradeRecord | None:
        """The latest upgrade, as it is recorded."""
        return self.status.upgrade

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
