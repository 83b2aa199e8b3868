"""How long the operator waits for what: the outcome grace, the read lag, the time-out of a job.

All durations are in seconds. Nothing here reads a clock. What is elapsed is measured in two ways,
and the longer one counts, because either is never more than the truth: by the steady clock of this
process, and by the vendor's own clock (the `Date` of its answers). This process's wall clock has no
say: it may be minutes off after a restart on another node.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from cse_operator.api.upgrade_record import HistoryEntry, Result, UpgradeRecord
from cse_operator.core.observation import EngineView, JobView
from cse_operator.core.observed import Limits, Observed
from cse_operator.core.vendor_states import UPGRADING
from cse_operator.core.versions import Comparison, compare

_LONGEST_DOUBLING: Final = 8.0


def between(earlier: datetime | None, later: datetime | None) -> float:
    """Seconds between two moments; none if either is not known."""
    if earlier is None or later is None:
        return 0.0
    return (later - earlier).total_seconds()


# -- an intent without an answer ----------------------------------------------------------------


def elapsed_since_intent(o: Observed, limits: Limits) -> float:
    """Seconds since the intent: never more than the truth.

    Who wrote it knows by a steady clock. Another process has known it for a while, and the vendor's
    clock has moved on between the look before the intent and the look now; the time that the former
    may have been on its way goes off.
    """
    if o.wrote_intent:
        return o.known_for
    baseline = o.record.baseline_at if o.record else None
    seen_at = o.engine.observed_at if o.engine else None
    return max(o.known_for, between(baseline, seen_at) - limits.look_valid)


def is_sent(record: UpgradeRecord | None) -> bool:
    """Whether the call of an intent may have left the process that wrote it."""
    return record is not None and record.attempts > 0


def within_grace(o: Observed, limits: Limits) -> bool:
    """Whether the call may still take effect, or its effect not be shown yet."""
    return is_sent(o.record) and elapsed_since_intent(o, limits) < limits.grace


def grace_left(o: Observed, limits: Limits) -> float:
    """Seconds until the call may be made again.

    None are left of an intent whose call certainly did not go out. Doubled with each call that had
    no effect: a way that loses every call is not to be hammered.
    """
    record = o.record
    if record is None or not is_sent(record):
        return 0.0
    doubled = min(2.0 ** (record.attempts - 1), _LONGEST_DOUBLING)
    return limits.grace * doubled - elapsed_since_intent(o, limits)


# -- reads that lag behind an end ---------------------------------------------------------------


def ended_entry(o: Observed, job_id: int | None) -> HistoryEntry | None:
    """The last end of a job that is recorded."""
    return next((entry for entry in o.status.history if entry.job_id == job_id), None)


def ended_lately(o: Observed, seen_at: datetime | None, job_id: int, limits: Limits) -> bool:
    """Whether a job's end is recorded and so recent that a look may show the job as before it."""
    entry = ended_entry(o, job_id)
    if entry is None:
        return False
    own = o.record is not None and o.record.job_id == job_id and o.record.result is not None
    return since_end(entry.finished_at, seen_at, o.known_for if own else 0.0, limits) < limits.lag


def may_predate_the_end(o: Observed, engine: EngineView, limits: Limits) -> bool:
    """Whether the engine may be shown as it was before the last upgrade ended.

    Calling on such a look would upgrade the engine twice.
    """
    record = o.record
    if record is None or record.finished_at is None:
        return False
    if since_end(record.finished_at, engine.observed_at, o.known_for, limits) >= limits.lag:
        return False
    if record.result is Result.SUCCEEDED and record.target_version is not None:
        # The target is what a look from after the end shows, or something beyond it.
        standing = compare(engine.version, record.target_version)
        return standing in {Comparison.BEHIND, Comparison.INCOMPARABLE}
    if record.result is Result.SUCCEEDED and engine.version == record.from_version:
        return True  # somebody else's job, whose target is not known, and nothing has moved
    if record.job_id is None:
        return False
    return engine.latest_job_id != record.job_id or engine.status == UPGRADING


def since_end(
    finished_at: datetime | None, seen_at: datetime | None, known_for: float, limits: Limits
) -> float:
    """Seconds between an end and a look, by clocks of the vendor's that may be apart."""
    return max(known_for, between(finished_at, seen_at) - limits.clocks)


# -- a job that runs ----------------------------------------------------------------------------


def overdue_in(o: Observed, record: UpgradeRecord, job: JobView) -> float:
    """Seconds until a running job has run for longer than its time-out."""
    since = job.started_at or record.started_at or record.baseline_at
    seen_running = between(since, job.observed_at) + o.job_age
    return o.wish.timeout.total_seconds() - max(o.known_for, seen_running)
