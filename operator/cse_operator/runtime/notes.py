"""Notes: what this process alone knows of a resource. Gone with a crash, and then not missed.

Nothing else assigns to a note; the reconcile step tells them what it saw and did.
"""

from __future__ import annotations

from dataclasses import dataclass

from cse_operator.api.status import Status
from cse_operator.core.observation import EngineView, JobView
from cse_operator.core.states import Stage, stage_of
from cse_operator.core.vendor_states import passes_by_itself


@dataclass(slots=True)
class Notes:
    """The notes of one resource; moments are readings of the boot-time clock."""

    failures: int = 0
    """Looks that failed, in a row."""
    unsent: int = 0
    """Calls that never left this process, in a row."""
    passing_looks: int = 0
    """Looks in a row that showed a state of the engine that passes by itself."""
    not_found_since: float | None = None
    """Since when every look has said that there is no such engine."""
    job: JobView | None = None
    ended_since: float | None = None
    """Since when this process has seen the followed job ended."""
    wrote_intent: bool = False
    """Whether the open intent is this process's own."""
    writing: bool = False
    """Whether a status write is under way: its echo may come before its answer."""
    status_written: float = 0.0
    state_since: float = 0.0
    """Since when this process has known the recorded upgrade in its present state."""
    _state: Stage | None = None
    _mark: object = None

    def enter(self, status: Status, now: float) -> None:
        """Note the state that the recorded upgrade is in, and since when.

        What was noted of another state goes; what was seen of the very job that is entered stays.
        """
        record, state = status.upgrade, stage_of(status)
        job_id = record.job_id if record is not None else None
        mark = record and (job_id, record.attempts, record.retries, record.requested_at)
        if self._state is state and self._mark == mark:
            return
        self._state, self._mark, self.state_since = state, mark, now
        self.wrote_intent = False
        if self.job is not None and self.job.job_id != job_id:
            self.job, self.ended_since = None, None

    def intent_written(self, status: Status, now: float) -> None:
        """This process wrote the open intent."""
        self.enter(status, now)
        self.wrote_intent = True

    def job_started_again(self) -> None:
        """A call may have run the same job again: what was seen of it is its last run."""
        self.job, self.ended_since = None, None

    def engine_shown(self, engine: EngineView, *, all_seen: bool) -> None:
        """The vendor showed the engine.

        Args:
            engine: what it showed.
            all_seen: whether no other look of the step failed.
        """
        self.not_found_since = None
        if all_seen:
            self.failures = 0
        self.passing_looks = self.passing_looks + 1 if passes_by_itself(engine.status) else 0

    def look_failed(self, *, not_found: bool, now: float) -> None:
        """The vendor did not show the engine."""
        self.failures += 1
        if not not_found:
            self.not_found_since = None
        elif self.not_found_since is None:
            self.not_found_since = now

    def job_look_failed(self) -> None:
        """The vendor did not show the job; what that says of the engine, a look at it tells."""
        self.failures += 1

    def call_answered(self, *, sent: bool) -> None:
        """A changing call was answered, its answer was lost, or it never left this process."""
        self.unsent = 0 if sent else self.unsent + 1

    def job_shown(self, job: JobView, now: float) -> None:
        """The vendor showed the job."""
        before = self.job
        self.job = job
        self.failures = 0
        if not (job.has_ended or job.has_stopped):
            self.ended_since = None
        elif self.ended_since is None or before is None or before.ended_at != job.ended_at:
            self.ended_since = now

    def write_began(self) -> None:
        """A status write is under way."""
        self.writing = True

    def write_ended(self) -> None:
        """The status write was answered, or failed."""
        self.writing = False

    def wrote_status(self, now: float) -> None:
        """A status was written."""
        self.status_written = now
