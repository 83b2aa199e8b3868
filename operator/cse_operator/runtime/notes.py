"""Notes: what only this process knows of a resource. A crash loses them without harm.

Only the methods of `Notes` change a note. The reconcile step calls them with what it saw and did.
"""

from __future__ import annotations

from dataclasses import dataclass

from cse_operator.api.status import Status
from cse_operator.core.states import State, state_of
from cse_operator.core.vendor_states import passes_by_itself
from cse_operator.core.views import EngineView, JobView


@dataclass(slots=True)
class Notes:
    """The notes of one resource; moments are readings of the boot-time clock."""

    failures: int = 0
    """Failed looks in a row."""
    unsent: int = 0
    """Calls in a row that never left this process."""
    passing_looks: int = 0
    """Looks in a row that showed an engine state that passes by itself."""
    not_found_since: float | None = None
    """Since when every look has said that the engine does not exist."""
    job_missing_since: float | None = None
    """Since when every look at the followed job has said that the vendor does not know it."""
    job: JobView | None = None
    ended_since: float | None = None
    """Since when this process has seen the followed job ended."""
    wrote_intent: bool = False
    """Whether this process wrote the open intent."""
    writing: bool = False
    """Whether a status write is under way: the watch may show it before its answer arrives."""
    status_written: float = 0.0
    state_since: float = 0.0
    """Since when this process has known the recorded upgrade in its present state."""
    _state: State | None = None
    _mark: object = None

    def enter(self, status: Status, now: float) -> None:
        """Note the state of the recorded upgrade, and since when.

        The notes of another state are dropped; what was seen of the entered job stays.
        """
        record, state = status.upgrade, state_of(status)
        job_id = record.job_id if record is not None else None
        mark = record and (job_id, record.attempts, record.retries, record.requested_at)
        if self._state is state and self._mark == mark:
            return
        self._state, self._mark, self.state_since = state, mark, now
        self.wrote_intent = False
        self.job_missing_since = None
        if self.job is not None and self.job.job_id != job_id:
            self.job, self.ended_since = None, None

    def intent_written(self, status: Status, now: float) -> None:
        """Note that this process wrote the open intent."""
        self.enter(status, now)
        self.wrote_intent = True

    def job_started_again(self) -> None:
        """Forget the job's last run: a call may have started the same job again."""
        self.job, self.ended_since = None, None

    def engine_shown(self, engine: EngineView, *, all_seen: bool) -> None:
        """Note that the vendor showed the engine.

        Args:
            engine: the engine as shown.
            all_seen: whether no other look of the step failed.
        """
        self.not_found_since = None
        if all_seen:
            self.failures = 0
        self.passing_looks = self.passing_looks + 1 if passes_by_itself(engine.status) else 0

    def look_failed(self, *, not_found: bool, now: float) -> None:
        """Note that the vendor did not show the engine."""
        self.failures += 1
        if not not_found:
            self.not_found_since = None
        elif self.not_found_since is None:
            self.not_found_since = now

    def job_look_failed(self) -> None:
        """Note that the vendor did not show the job; this says nothing about the engine."""
        self.failures += 1
        self.job_missing_since = None

    def job_missing(self, now: float) -> None:
        """Note that the vendor does not know the followed job."""
        if self.job_missing_since is None:
            self.job_missing_since = now

    def call_answered(self, *, sent: bool) -> None:
        """Note that a changing call was answered, lost its answer, or was never sent."""
        self.unsent = 0 if sent else self.unsent + 1

    def job_shown(self, job: JobView, now: float) -> None:
        """Note that the vendor showed the job."""
        before = self.job
        self.job = job
        self.job_missing_since = None
        self.failures = 0
        if not (job.has_ended or job.has_stopped):
            self.ended_since = None
        elif self.ended_since is None or before is None or before.ended_at != job.ended_at:
            self.ended_since = now

    def write_began(self) -> None:
        """Note that a status write is under way."""
        self.writing = True

    def write_ended(self) -> None:
        """Note that the status write was answered, or failed."""
        self.writing = False

    def wrote_status(self, now: float) -> None:
        """Note that a status was written."""
        self.status_written = now
