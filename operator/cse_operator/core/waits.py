"""How long the operator waits for what: the outcome grace, the read lag, the time-out of a job.

All durations are in seconds. Nothing here reads a clock. What is elapsed is measured in two ways,
and the longer one counts, because either is never more than the truth: by the steady clock of this
process, and by the vendor's own clock (the `Date` of its answers). This process's wall clock has no
say: it may be minutes off after a restart on another node.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cse_operator.api.resource import Action, HistoryEntry, Result, UpgradeRecord
from cse_operator.core.observation import EngineView, JobView
from cse_operator.core.observed import Observed, Policy
from cse_operator.core.vendor_states import JOB_FINISHED, UPGRADE_JOB_TYPE, UPGRADING
from cse_operator.core.versions import Comparison, compare

STORED_TO: Final = timedelta(seconds=1)
"""Moments are stored in whole seconds."""

CLOCK_TOLERANCE: Final = timedelta(seconds=5)
"""How long before the intent, by the vendor's clocks, the job of its call may seem to start."""

_LONGEST_DOUBLING: Final = 8.0


def between(earlier: datetime | None, later: datetime | None) -> float:
    """Seconds between two moments; none if either is not known."""
    if earlier is None or later is None:
        return 0.0
    return (later - earlier).total_seconds()


# -- an intent without an answer ----------------------------------------------------------------


def elapsed_since_intent(o: Observed, policy: Policy) -> float:
    """Seconds since the intent: never more than the truth.

    Who wrote it knows by a steady clock. Another process has known it for a while, and the vendor's
    clock has moved on between the look before the intent and the look now; the time that the former
    may have been on its way goes off.
    """
    if o.wrote_intent:
        return o.known_for
    baseline = o.record.baseline_at if o.record else None
    seen_at = o.engine.observed_at if o.engine else None
    return max(o.known_for, between(baseline, seen_at) - policy.look_valid)


def is_sent(record: UpgradeRecord | None) -> bool:
    """Whether the call of an intent may have left the process that wrote it."""
    return record is not None and record.attempts > 0


def within_grace(o: Observed, policy: Policy) -> bool:
    """Whether the call may still take effect, or its effect not be shown yet."""
    return is_sent(o.record) and elapsed_since_intent(o, policy) < policy.grace


def grace_left(o: Observed, policy: Policy) -> float:
    """Seconds until the call may be made again.

    None are left of an intent whose call certainly did not go out. Doubled with each call that had
    no effect: a way that loses every call is not to be hammered.
    """
    record = o.record
    if record is None or not is_sent(record):
        return 0.0
    doubled = min(2.0 ** (record.attempts - 1), _LONGEST_DOUBLING)
    return policy.grace * doubled - elapsed_since_intent(o, policy)


# -- reads that lag behind an end ---------------------------------------------------------------


def ended_entry(o: Observed, job_id: int | None) -> HistoryEntry | None:
    """The last end of a job that is recorded."""
    return next((entry for entry in o.status.history if entry.job_id == job_id), None)


def ended_lately(o: Observed, seen_at: datetime | None, job_id: int, policy: Policy) -> bool:
    """Whether a job's end is recorded and so recent that a look may show the job as before it."""
    entry = ended_entry(o, job_id)
    if entry is None:
        return False
    own = o.record is not None and o.record.job_id == job_id and o.record.result is not None
    return since_end(entry.finished_at, seen_at, o.known_for if own else 0.0, policy) < policy.lag


def may_predate_the_end(o: Observed, engine: EngineView, policy: Policy) -> bool:
    """Whether the engine may be shown as it was before the last upgrade ended.

    Calling on such a look would upgrade the engine twice.
    """
    record = o.record
    if record is None or record.finished_at is None:
        return False
    if since_end(record.finished_at, engine.observed_at, o.known_for, policy) >= policy.lag:
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
    finished_at: datetime | None, seen_at: datetime | None, known_for: float, policy: Policy
) -> float:
    """Seconds between an end and a look, by clocks of the vendor's that may be apart."""
    return max(known_for, between(finished_at, seen_at) - policy.clocks)


# -- whose job it is ----------------------------------------------------------------------------


def is_current(o: Observed, record: UpgradeRecord, job: JobView, policy: Policy) -> bool:
    """Whether what a job shows can come from the recorded call, and not from before it.

    A job that started before the engine was looked at for the intent is an older one that
    the look did not show. A Retry may run the same job again: until it shows another end than
    the recorded one, it shows the old one, and for as long as reads may lag behind that, a run
    may be the old one too.
    """
    if record.baseline_at is None or record.action is Action.ADOPTED:
        return True
    if record.action is Action.RETRY and job.job_id == record.baseline_job_id:
        if not (job.has_ended or job.has_stopped):
            return not ended_lately(o, job.observed_at, job.job_id, policy)
        if job.started_at and job.started_at > record.baseline_at + CLOCK_TOLERANCE:
            return True
        return job.ended_at is not None and job.ended_at > _old_end(o, record.baseline_at, job)
    return job.started_at is None or job.started_at >= record.baseline_at - CLOCK_TOLERANCE


def listed_job(o: Observed) -> JobView | None:
    """The upgrade job in the vendor's list that the open call may have started: the earliest.

    Only one that says when it started: an old one must not be taken for it.
    """
    record = o.record
    if record is None or record.baseline_at is None or not is_sent(record):
        return None
    earliest = record.baseline_at - CLOCK_TOLERANCE
    fitting = [
        (job.started_at, job.job_id, job)
        for job in o.jobs or ()
        if job.type == UPGRADE_JOB_TYPE
        and job.job_id != record.baseline_job_id
        and job.started_at is not None
        and job.started_at >= earliest
        and ended_entry(o, job.job_id) is None
    ]
    return min(fitting, key=lambda found: found[:2])[2] if fitting else None


def _old_end(o: Observed, baseline_at: datetime, job: JobView) -> datetime:
    """The moment after which an end of a retried job is the end of its new run."""
    recorded = ended_entry(o, job.job_id)
    if recorded is not None and recorded.finished_at is not None:
        return recorded.finished_at + STORED_TO
    # Somebody else's job. Retry is offered for failed ones: what finished has run again.
    margin = -CLOCK_TOLERANCE if job.status == JOB_FINISHED else CLOCK_TOLERANCE
    return baseline_at + margin


# -- a job that runs ----------------------------------------------------------------------------


def overdue_in(o: Observed, record: UpgradeRecord, job: JobView) -> float:
    """Seconds until a running job has run for longer than its time-out."""
    since = job.started_at or record.started_at or record.baseline_at
    seen_running = between(since, job.observed_at) + o.job_age
    return o.wish.timeout.total_seconds() - max(o.known_for, seen_running)
