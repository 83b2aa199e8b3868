"""Situations of a resource whose job is known: the job is followed to its end."""

from __future__ import annotations

from cse_operator.api.reasons import Reason
from cse_operator.api.upgrade_record import UpgradeRecord
from cse_operator.core.job_matching import is_current
from cse_operator.core.observation import Limits, Observation
from cse_operator.core.states import Situation
from cse_operator.core.vendor_states import (
    AVAILABLE,
    JOB_FINISHED,
    JOB_RUNS,
    JOB_TIMEOUT,
    UPGRADE_FAILED,
    UPGRADING,
)
from cse_operator.core.versions import satisfies
from cse_operator.core.views import EngineView, JobView
from cse_operator.core.waits import (
    between,
    elapsed_since_intent,
    ended_entry,
    overdue_in,
    since_end,
)


def running(o: Observation, limits: Limits) -> Situation:
    """Return the situation of a resource whose job is followed."""
    record = o.record
    assert record is not None  # noqa: S101 - the state has a record
    job = o.shown_job(record.job_id)
    if job is None:
        return _without_job(o, record, limits)
    if not (job.has_ended or job.has_stopped):
        return _not_ended(o, record, job, limits)
    current = is_current(o, record, job, limits)
    by_its_clock = between(record.baseline_at, job.observed_at) - limits.look_valid
    if not current and max(o.known_for - o.job_age, by_its_clock) < limits.grace:
        return Situation.JOB_RUNS
    if o.engine is None:
        return Situation.NOT_LOOKED
    if not current and _may_be_another(o, record, o.engine):
        return Situation.JOB_IN_DOUBT
    if not current and o.engine.status == UPGRADING:
        return _still_running(o, record, job)  # it shows its old end for long
    if job.has_stopped:
        return _not_ended(o, record, job, limits)
    if job.status == JOB_FINISHED:
        return _finished(o, record, job, limits)
    return Situation.JOB_TIMED_OUT if job.status == JOB_TIMEOUT else Situation.JOB_FAILED


def _may_be_another(o: Observation, record: UpgradeRecord, engine: EngineView) -> bool:
    """Whether the call started a job other than the one that its answer named.

    The vendor does not document whether Retry runs the failed job again or starts a new one. So the
    answer is compared with the engine's latest job.
    """
    latest = engine.latest_job_id
    return latest not in {None, record.job_id} and ended_entry(o, latest) is None


def _not_ended(o: Observation, record: UpgradeRecord, job: JobView, limits: Limits) -> Situation:
    """The job shows no known end: it runs, or this build does not know its status."""
    if job.status in JOB_RUNS and job.scheduled is not False:
        return _still_running(o, record, job)
    if o.engine is None:
        return Situation.NOT_LOOKED
    engine = o.engine
    if engine.status == UPGRADE_FAILED and elapsed_since_intent(o, limits) >= limits.grace:
        return Situation.JOB_STOPPED
    stopped_for = max(o.ended_for, between(job.ended_at, job.observed_at))
    waits = engine.status == UPGRADING or stopped_for < limits.grace
    if waits or not job.has_stopped:
        return _still_running(o, record, job)
    at_target = _reached(record, engine) and engine.status == AVAILABLE
    return Situation.JOB_FINISHED if at_target else Situation.JOB_STOPPED


def _still_running(o: Observation, record: UpgradeRecord, job: JobView) -> Situation:
    # Overdue stays overdue: another process may have known the job for a shorter time.
    said = o.status.ready is not None and o.status.ready.reason == Reason.UPGRADE_OVERDUE
    reported = said and o.status.observed_generation == o.desired.generation
    overdue = reported or overdue_in(o, record, job) <= 0
    return Situation.JOB_OVERDUE if overdue else Situation.JOB_RUNS


def _finished(o: Observation, record: UpgradeRecord, job: JobView, limits: Limits) -> Situation:
    engine = o.engine
    assert engine is not None  # noqa: S101 - the caller looked
    reached = record.target_version is None or satisfies(engine.version, record.target_version)
    if reached and engine.status != UPGRADING:
        return Situation.JOB_FINISHED
    ended_at = job.ended_at or job.observed_at
    if since_end(ended_at, engine.observed_at, o.ended_for, limits) < limits.lag:
        return Situation.JOB_FINISHED_UNSEEN
    return Situation.JOB_FINISHED if reached else Situation.JOB_FINISHED_MISMATCHED


def _reached(record: UpgradeRecord, engine: EngineView) -> bool:
    """Whether the engine is at the upgrade's target; False if the target is not known."""
    target = record.target_version
    return target is not None and satisfies(engine.version, target)


def _without_job(o: Observation, record: UpgradeRecord, limits: Limits) -> Situation:
    """The followed job was not shown: not asked for yet, or unknown to the vendor."""
    if o.job_failure is not None:
        return Situation.NOT_LOOKED if o.engine is None else Situation.JOBS_NOT_LISTED
    if o.missing_job != record.job_id:
        return Situation.JOB_NOT_SEEN
    if o.engine is None:
        return Situation.NOT_LOOKED
    # Gateways say "not found" in passing, and no later look corrects a recorded end.
    if o.job_missing_for < limits.grace or o.engine.status == UPGRADING:
        return Situation.JOB_HIDDEN
    reached = _reached(record, o.engine) and o.engine.status != UPGRADE_FAILED
    return Situation.JOB_FINISHED if reached else Situation.JOB_VANISHED
