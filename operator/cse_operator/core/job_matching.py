"""Job matching: whether a job that the vendor shows belongs to the recorded call. Pure.

A job has no mark of the call that started it. The job's type and times, by the vendor's own clocks,
tell whether it can be the call's.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cse_operator.api.upgrade_record import Action, UpgradeRecord
from cse_operator.core.observation import Limits, Observation
from cse_operator.core.vendor_states import JOB_FINISHED, UPGRADE_JOB_TYPE
from cse_operator.core.views import JobView
from cse_operator.core.waits import ended_entry, ended_lately, is_sent

STORED_TO: Final = timedelta(seconds=1)
"""The status stores moments in whole seconds."""

CLOCK_TOLERANCE: Final = timedelta(seconds=5)
"""How long before the intent the job of its call may seem to start, by the vendor's clocks."""


def is_current(o: Observation, record: UpgradeRecord, job: JobView, limits: Limits) -> bool:
    """Whether the shown job can come from the recorded call, and not from before it.

    A job that started before the engine was looked at for the intent is an older job that the look
    did not show. A Retry may run the same job again. Until that job shows another end than the
    recorded one, it shows its old run. While reads may lag behind the recorded end, a running job
    may be the old run too.
    """
    if record.baseline_at is None or record.action is Action.ADOPTED:
        return True
    if record.action is Action.RETRY and job.job_id == record.baseline_job_id:
        if not (job.has_ended or job.has_stopped):
            return not ended_lately(o, job.observed_at, job.job_id, limits)
        if job.started_at and job.started_at > record.baseline_at + CLOCK_TOLERANCE:
            return True
        return job.ended_at is not None and job.ended_at > _old_end(o, record.baseline_at, job)
    return job.started_at is None or job.started_at >= record.baseline_at - CLOCK_TOLERANCE


def listed_job(o: Observation) -> JobView | None:
    """Return the earliest upgrade job in the vendor's list that the open call may have started.

    Jobs without a start time are skipped: an old job must not be taken for the call's.
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


def _old_end(o: Observation, baseline_at: datetime, job: JobView) -> datetime:
    """Return the moment after which an end of a retried job belongs to its new run."""
    recorded = ended_entry(o, job.job_id)
    if recorded is not None and recorded.finished_at is not None:
        return recorded.finished_at + STORED_TO
    # Somebody else's job. Retry is offered for failed jobs, so a finished job has run again.
    margin = -CLOCK_TOLERANCE if job.status == JOB_FINISHED else CLOCK_TOLERANCE
    return baseline_at + margin
