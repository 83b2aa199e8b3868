"""Situations without an open upgrade: the engine is compared with the desired version."""

from __future__ import annotations

from typing import Final

from cse_operator.api.failure_kind import FailureKind
from cse_operator.api.upgrade_record import Result, UpgradeRecord
from cse_operator.core.job_matching import is_current
from cse_operator.core.observation import Limits, Observation
from cse_operator.core.situations.may_call import permitted
from cse_operator.core.states import Situation
from cse_operator.core.vendor_states import (
    AVAILABLE,
    BUSY_STATUSES,
    UNUSABLE_STATUSES,
    UPGRADE_JOB_TYPE,
    UPGRADING,
    passes_by_itself,
)
from cse_operator.core.versions import Comparison, compare, is_offered, satisfies
from cse_operator.core.views import EngineView
from cse_operator.core.waits import (
    ended_entry,
    ended_lately,
    may_predate_the_end,
)

_ENDED: Final = {
    Result.REJECTED: Situation.REJECTED,
    Result.FAILED: Situation.FAILED,
    Result.TIMED_OUT: Situation.TIMED_OUT,
    Result.UNKNOWN: Situation.UNCERTAIN,
    Result.SUCCEEDED: Situation.MISMATCHED,
}
"""The situation of a desired version whose upgrade ended, by the recorded result."""


def idle(o: Observation, limits: Limits) -> Situation:
    """Return the situation of a resource with no open upgrade."""
    engine = o.engine
    if engine is None:
        return Situation.NOT_LOOKED
    if engine.status == UPGRADING and engine.latest_job_id is not None:
        return _upgrade_under_way(o, engine, engine.latest_job_id, limits)
    behind_refusal = _job_behind_refusal(o, engine, limits)
    if behind_refusal is not None:
        return behind_refusal
    if not engine.version:
        return _not_available(engine)
    match compare(engine.version, o.desired.version):
        case Comparison.SATISFIED:
            return _at_target(o, engine, limits)
        case Comparison.BEYOND:
            return Situation.BEYOND_TARGET
        case compared:
            return _due(o, engine, limits, compared)


def _upgrade_under_way(
    o: Observation, engine: EngineView, latest: int, limits: Limits
) -> Situation:
    """The engine is upgrading with no open record: somebody else's job, or a lagging read."""
    if ended_lately(o, engine.observed_at, latest, limits):
        return Situation.JUST_ENDED
    if satisfies(engine.version, o.desired.version) and _may_pass(o, limits):
        return Situation.PASSING
    job = o.shown_job(latest)
    if job is None:
        return Situation.BUSY if o.missing_job == latest else Situation.JOB_NOT_SEEN
    # A job that has ended cannot be the upgrade that runs now.
    over = job.has_ended or job.has_stopped
    return Situation.BUSY if over else Situation.FOREIGN_UPGRADE


def _may_pass(o: Observation, limits: Limits) -> bool:
    """Whether a Ready resource stays Ready for now although its engine is not Available."""
    return o.is_ready and o.passing_looks < limits.patience


def _job_behind_refusal(o: Observation, engine: EngineView, limits: Limits) -> Situation | None:
    """Return the situation if a refused or given-up call may have started a job all the same.

    The network may deliver a call twice. The vendor then accepts one delivery and refuses the
    other, and the refusal may be the answer that arrives.
    """
    record, latest = o.record, engine.latest_job_id
    if record is None or record.result not in {Result.REJECTED, Result.UNKNOWN}:
        return None
    if record.baseline_at is None:
        return None  # no time tells an older job from the call's job
    if latest in {None, record.baseline_job_id, o.missing_job} or ended_entry(o, latest):
        return None
    job = o.shown_job(latest)
    if job is None:
        return Situation.JOB_NOT_SEEN
    started_by_it = job.type == UPGRADE_JOB_TYPE and is_current(o, record, job, limits)
    return Situation.FOREIGN_UPGRADE if started_by_it else None


def _at_target(o: Observation, engine: EngineView, limits: Limits) -> Situation:
    """Return the situation of an engine at the desired version: is it well?"""
    ended_badly = o.record is not None and o.record.result in {Result.FAILED, Result.TIMED_OUT}
    if engine.status == AVAILABLE:
        predates = ended_badly and may_predate_the_end(o, engine, limits)
        return Situation.JUST_ENDED if predates else Situation.AT_TARGET
    if passes_by_itself(engine.status) and _may_pass(o, limits):
        return Situation.PASSING
    latched = _latched(o, engine, limits)
    if latched is Situation.RETRY_OFFERED:
        return _may_call(o, latched, limits)
    return latched if latched and ended_badly else _not_available(engine)


def _due(o: Observation, engine: EngineView, limits: Limits, compared: Comparison) -> Situation:
    """Return what stands between a call and an engine that has not reached the desired version."""
    latched = _latched(o, engine, limits)
    if latched is Situation.MISMATCHED and may_predate_the_end(o, engine, limits):
        return Situation.JUST_ENDED
    if latched is Situation.MISMATCHED and compared is Comparison.INCOMPARABLE:
        return Situation.NOT_COMPARABLE
    if latched is Situation.RETRY_OFFERED:
        return _may_call(o, latched, limits)
    if latched is not None:
        return latched
    if engine.status != AVAILABLE:
        return _not_available(engine)
    if compared is Comparison.INCOMPARABLE and not _may_be_called_by_name(o, engine):
        predates = may_predate_the_end(o, engine, limits)
        return Situation.JUST_ENDED if predates else Situation.NOT_COMPARABLE
    return _may_call(o, Situation.UPGRADE_DUE, limits)


def _may_be_called_by_name(o: Observation, engine: EngineView) -> bool:
    """Whether the vendor may be asked for a version that cannot be ordered.

    The vendor must offer exactly this version as its latest. The version must also be new to the
    resource, unless a retry is requested: a change of the vendor's latest version never upgrades a
    resource at rest.
    """
    new = o.desired.version not in o.status.settled_versions or o.retry_requested
    return new and is_offered(engine.version, o.desired.version, engine.latest_version)


def _may_call(o: Observation, due: Situation, limits: Limits) -> Situation:
    """An idle resource is due for a call: return what delays it, or that it may go out now."""
    if o.desired.suspend:
        return Situation.SUSPENDED
    if o.engine is not None and may_predate_the_end(o, o.engine, limits):
        return Situation.JUST_ENDED
    return permitted(o, due, limits)


def _latched(o: Observation, engine: EngineView, limits: Limits) -> Situation | None:
    """Return how the last upgrade left the desired version; also a due Retry; None if neither."""
    record = o.record
    if engine.offers_retry and o.retry_requested:
        return Situation.RETRY_OFFERED
    if record is None or o.retry_requested or not record.answers(o.desired.version):
        return None
    retry = _retry_by_itself(o, record, engine, limits)
    if retry is not None:
        return retry
    if record.wanted_version != o.desired.version:
        return Situation.ANSWERED
    forbidden = record.error is not None and record.error.kind is FailureKind.FORBIDDEN
    if record.result is Result.REJECTED and forbidden:
        return Situation.FORBIDDEN
    return _ENDED[record.result] if record.result is not None else None


def _retry_by_itself(
    o: Observation, record: UpgradeRecord, engine: EngineView, limits: Limits
) -> Situation | None:
    """Return the situation if this operator's failed job is due for its automatic Retry.

    `JUST_ENDED` while the engine may not show the job's end yet; None if no Retry is due.
    """
    ours = record.target_version == o.desired.version
    if not record.retry_due or not ours or o.desired.suspend or o.observes_only:
        return None
    if record.retries >= o.desired.retry_limit:
        return None
    if engine.offers_retry:
        latest = engine.latest_job_id == record.job_id
        return Situation.RETRY_OFFERED if latest else None
    return Situation.JUST_ENDED if may_predate_the_end(o, engine, limits) else None


def _not_available(engine: EngineView) -> Situation:
    if engine.status in BUSY_STATUSES:
        return Situation.BUSY
    return Situation.UNUSABLE if engine.status in UNUSABLE_STATUSES else Situation.UNAVAILABLE
