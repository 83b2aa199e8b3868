"""Nothing is open: the wish is compared with the engine."""

from __future__ import annotations

from typing import Final

from cse_operator.api.failure_kind import FailureKind
from cse_operator.api.upgrade_record import Result, UpgradeRecord
from cse_operator.core.job_matching import is_current
from cse_operator.core.observation import EngineView
from cse_operator.core.observed import Limits, Observed
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
"""What stands for a wish by the end that is recorded for it."""


def idle(o: Observed, limits: Limits) -> Situation:
    """The situation of a resource with no open upgrade."""
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
    match compare(engine.version, o.wish.version):
        case Comparison.SATISFIED:
            return _at_target(o, engine, limits)
        case Comparison.BEYOND:
            return Situation.BEYOND_TARGET
        case standing:
            return _due(o, engine, limits, standing)


def _upgrade_under_way(o: Observed, engine: EngineView, latest: int, limits: Limits) -> Situation:
    """The engine upgrades although nothing is open: someone else's job, or a lagging read."""
    if ended_lately(o, engine.observed_at, latest, limits):
        return Situation.JUST_ENDED
    if satisfies(engine.version, o.wish.version) and _may_pass(o, limits):
        return Situation.PASSING
    job = o.shown_job(latest)
    if job is None:
        return Situation.BUSY if o.missing_job == latest else Situation.JOB_NOT_SEEN
    # An old job that has ended is not the one that runs now.
    over = job.has_ended or job.has_stopped
    return Situation.BUSY if over else Situation.FOREIGN_UPGRADE


def _may_pass(o: Observed, limits: Limits) -> bool:
    """Whether a resource that is Ready stays so although its engine is not well right now."""
    return o.is_ready and o.passing_looks < limits.patience


def _job_behind_refusal(o: Observed, engine: EngineView, limits: Limits) -> Situation | None:
    """A job that was started all the same by a call that was refused, or that was given up.

    A call that is delivered twice on its way is accepted once and refused once, and the
    refusal may be the answer that arrives.
    """
    record, latest = o.record, engine.latest_job_id
    if record is None or record.result not in {Result.REJECTED, Result.UNKNOWN}:
        return None
    if record.baseline_at is None:
        return None  # whether a job is older than the call cannot be known
    if latest in {None, record.baseline_job_id, o.missing_job} or ended_entry(o, latest):
        return None
    job = o.shown_job(latest)
    if job is None:
        return Situation.JOB_NOT_SEEN
    started_by_it = job.type == UPGRADE_JOB_TYPE and is_current(o, record, job, limits)
    return Situation.FOREIGN_UPGRADE if started_by_it else None


def _at_target(o: Observed, engine: EngineView, limits: Limits) -> Situation:
    """The engine is at the wanted version: is it well?"""
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


def _due(o: Observed, engine: EngineView, limits: Limits, standing: Comparison) -> Situation:
    """The engine is not at the wish, and not beyond it: what stands between it and a call?"""
    latched = _latched(o, engine, limits)
    if latched is Situation.MISMATCHED and may_predate_the_end(o, engine, limits):
        return Situation.JUST_ENDED
    if latched is Situation.MISMATCHED and standing is Comparison.INCOMPARABLE:
        return Situation.NOT_COMPARABLE
    if latched is Situation.RETRY_OFFERED:
        return _may_call(o, latched, limits)
    if latched is not None:
        return latched
    if engine.status != AVAILABLE:
        return _not_available(engine)
    if standing is Comparison.INCOMPARABLE and not _may_be_called_by_name(o, engine):
        predates = may_predate_the_end(o, engine, limits)
        return Situation.JUST_ENDED if predates else Situation.NOT_COMPARABLE
    return _may_call(o, Situation.UPGRADE_DUE, limits)


def _may_be_called_by_name(o: Observed, engine: EngineView) -> bool:
    """Whether a version that cannot be ordered may be called: offered as the latest, and new.

    At rest nothing is called for it, whatever the vendor's latest version becomes.
    """
    new = o.wish.version not in o.status.settled_versions or o.retry_requested
    return new and is_offered(engine.version, o.wish.version, engine.latest_version)


def _may_call(o: Observed, due: Situation, limits: Limits) -> Situation:
    """A call of an idle resource is due: may it go out now?"""
    if o.wish.suspend:
        return Situation.SUSPENDED
    if o.engine is not None and may_predate_the_end(o, o.engine, limits):
        return Situation.JUST_ENDED
    return permitted(o, due, limits)


def _latched(o: Observed, engine: EngineView, limits: Limits) -> Situation | None:
    """Whether an ended upgrade still stands for this wish, or a Retry is the way on."""
    record = o.record
    if engine.offers_retry and o.retry_requested:
        return Situation.RETRY_OFFERED
    if record is None or o.retry_requested or not record.answers(o.wish.version):
        return None
    retry = _retry_by_itself(o, record, engine, limits)
    if retry is not None:
        return retry
    if record.wanted_version != o.wish.version:
        return Situation.ANSWERED
    forbidden = record.error is not None and record.error.kind is FailureKind.FORBIDDEN
    if record.result is Result.REJECTED and forbidden:
        return Situation.FORBIDDEN
    return _ENDED[record.result] if record.result is not None else None


def _retry_by_itself(
    o: Observed, record: UpgradeRecord, engine: EngineView, limits: Limits
) -> Situation | None:
    """Whether our own failed job is due for its Retry, or the engine does not show its end yet."""
    ours = record.target_version == o.wish.version
    if not record.retry_due or not ours or o.wish.suspend or o.observes_only:
        return None
    if record.retries >= o.wish.retry_limit:
        return None
    if engine.offers_retry:
        latest = engine.latest_job_id == record.job_id
        return Situation.RETRY_OFFERED if latest else None
    return Situation.JUST_ENDED if may_predate_the_end(o, engine, limits) else None


def _not_available(engine: EngineView) -> Situation:
    if engine.status in BUSY_STATUSES:
        return Situation.BUSY
    return Situation.UNUSABLE if engine.status in UNUSABLE_STATUSES else Situation.UNAVAILABLE
