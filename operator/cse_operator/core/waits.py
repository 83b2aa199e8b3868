"""How long the operator waits: the outcome grace, the read lag, the time-out of a job.

All durations are in seconds. Nothing here reads a clock. Elapsed time is measured by this process's
steady clock and by the vendor's clock (the `Date` of its answers). Neither measure exceeds the true
time, so the longer one counts. This process's wall clock is not used: it may be minutes off after a
restart on another node.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from cse_operator.api.upgrade_record import HistoryEntry, Result, UpgradeRecord
from cse_operator.core.observation import Limits, Observation
from cse_operator.core.vendor_states import UPGRADING
from cse_operator.core.versions import Comparison, compare
from cse_operator.core.views import EngineView, JobView

_LONGEST_DOUBLING: Final = 8.0


def between(earlier: datetime | None, later: datetime | None) -> float:
    """Return the seconds between two moments; 0 if either is unknown."""
    if earlier is None or later is None:
        return 0.0
    return (later - earlier).total_seconds()


# -- an intent without an answer ----------------------------------------------------------------


def elapsed_since_intent(o: Observation, limits: Limits) -> float:
    """Return the seconds since the intent; never more than the true time.

    The process that wrote the intent measures by its steady clock. Another process takes the longer
    of two times: how long it has known the intent, and how far the vendor's clock moved from the
    look before the intent to the look now, less `look_valid`, the longest time from that look to
    its intent.
    """
    if o.wrote_intent:
        return o.known_for
    baseline = o.record.baseline_at if o.record else None
    seen_at = o.engine.observed_at if o.engine else None
    return max(o.known_for, between(baseline, seen_at) - limits.look_valid)


def is_sent(record: UpgradeRecord | None) -> bool:
    """Whether an intent's call may have left the process that wrote it."""
    return record is not None and record.attempts > 0


def within_grace(o: Observation, limits: Limits) -> bool:
    """Whether the call may still take effect, or reads may not show its effect yet."""
    return is_sent(o.record) and elapsed_since_intent(o, limits) < limits.grace


def grace_left(o: Observation, limits: Limits) -> float:
    """Return the seconds until the call may be made again; not above 0 if it may now.

    A call that certainly was not sent needs no wait. The wait doubles with each call that had no
    effect, so that a path that loses every call is not hammered.
    """
    record = o.record
    if record is None or not is_sent(record):
        return 0.0
    doubled = min(2.0 ** (record.attempts - 1), _LONGEST_DOUBLING)
    return limits.grace * doubled - elapsed_since_intent(o, limits)


def may_ask_for_jobs(o: Observation) -> bool:
    """Whether this step may still ask for the vendor's list of jobs."""
    return o.jobs is None and o.jobs_failure is None


# -- reads that lag behind an end ---------------------------------------------------------------


def ended_entry(o: Observation, job_id: int | None) -> HistoryEntry | None:
    """Return the last recorded end of a job; None if none is recorded."""
    return next((entry for entry in o.status.history if entry.job_id == job_id), None)


def ended_lately(o: Observation, seen_at: datetime | None, job_id: int, limits: Limits) -> bool:
    """Whether a job's end is recorded and so recent that a look may still show the job running."""
    entry = ended_entry(o, job_id)
    if entry is None:
        return False
    own = o.record is not None and o.record.job_id == job_id and o.record.result is not None
    return since_end(entry.finished_at, seen_at, o.known_for if own else 0.0, limits) < limits.lag


def may_predate_the_end(o: Observation, engine: EngineView, limits: Limits) -> bool:
    """Whether the look may show the engine as it was before the last upgrade ended.

    A call decided on such a look would upgrade the engine twice.
    """
    record = o.record
    if record is None or record.finished_at is None:
        return False
    if since_end(record.finished_at, engine.observed_at, o.known_for, limits) >= limits.lag:
        return False
    if record.result is Result.SUCCEEDED and record.target_version is not None:
        # A look from after the end shows the target, or a version beyond it.
        compared = compare(engine.version, record.target_version)
        return compared in {Comparison.BEHIND, Comparison.INCOMPARABLE}
    if record.result is Result.SUCCEEDED and engine.version == record.from_version:
        return True  # somebody else's job with an unknown target, and the same version as before
    if record.job_id is None:
        return False
    return engine.latest_job_id != record.job_id or engine.status == UPGRADING


def since_end(
    finished_at: datetime | None, seen_at: datetime | None, known_for: float, limits: Limits
) -> float:
    """Return the seconds between an end and a look, by two vendor clocks that may be apart."""
    return max(known_for, between(finished_at, seen_at) - limits.clocks)


# -- a job that runs ----------------------------------------------------------------------------


def overdue_in(o: Observation, record: UpgradeRecord, job: JobView) -> float:
    """Return the seconds until a running job has run for longer than its time-out."""
    since = job.started_at or record.started_at or record.baseline_at
    seen_running = between(since, job.observed_at) + o.job_age
    return o.desired.timeout.total_seconds() - max(o.known_for, seen_running)
