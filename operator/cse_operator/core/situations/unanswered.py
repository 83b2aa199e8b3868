"""Situations of an intent without an answer: looks find out what became of its call."""

from __future__ import annotations

from cse_operator.api.upgrade_record import Action, UpgradeRecord
from cse_operator.core.job_matching import is_current, listed_job
from cse_operator.core.observation import Limits, Observation
from cse_operator.core.situations.may_call import permitted_again
from cse_operator.core.states import Situation
from cse_operator.core.vendor_states import (
    AVAILABLE,
    UNUSABLE_STATUSES,
    UPGRADE_FAILED,
    UPGRADE_JOB_TYPE,
    UPGRADING,
)
from cse_operator.core.versions import Comparison, compare, is_offered, satisfies
from cse_operator.core.views import EngineView
from cse_operator.core.waits import (
    ended_entry,
    grace_left,
    is_sent,
    may_ask_for_jobs,
    within_grace,
)


def unanswered(o: Observation, limits: Limits) -> Situation:
    """Return the situation of a resource whose call has no recorded answer."""
    record, engine = o.record, o.engine
    assert record is not None  # noqa: S101 - the state has a record
    if not is_sent(record):
        return Situation.NEVER_SENT
    if engine is None:
        return Situation.NOT_LOOKED
    candidate = _candidate_job(o, record, engine, limits)
    if candidate in {Situation.JOB_NOT_SEEN, Situation.NEW_JOB}:
        return candidate
    if listed_job(o) is not None:
        return Situation.LISTED_JOB
    if within_grace(o, limits):
        # Even if the engine is at the target: a late call would still start a job.
        hidden = engine.latest_job_id != record.baseline_job_id and may_ask_for_jobs(o)
        return Situation.JOBS_NOT_LISTED if hidden else Situation.UNCHANGED_IN_GRACE
    if may_ask_for_jobs(o):
        return Situation.JOBS_NOT_LISTED
    if record.target_version and satisfies(engine.version, record.target_version):
        return Situation.REACHED_TARGET
    if candidate is not None:
        return candidate
    if grace_left(o, limits) > 0:
        return Situation.UNCHANGED_IN_GRACE
    return _call_again(o, record, engine, limits)


def _candidate_job(
    o: Observation, record: UpgradeRecord, engine: EngineView, limits: Limits
) -> Situation | None:
    """Classify the engine's latest job against the intent; None if it cannot be the intent's."""
    candidate = engine.latest_job_id
    same_job = candidate == record.baseline_job_id
    if candidate is None or (same_job and record.action is not Action.RETRY):
        return None
    if not same_job and ended_entry(o, candidate):
        return None
    job = o.shown_job(candidate)
    if job is None:
        if o.missing_job != candidate:
            return Situation.JOB_NOT_SEEN
        # The engine names a job that the vendor does not show: reads lag, or it is forgotten.
        if same_job or engine.status == UPGRADING:
            return None
        return _other_job(o, record, engine)
    if not is_current(o, record, job, limits):
        # An end without a time may belong to the old run or to the new one.
        return Situation.OTHER_JOB if job.has_ended and job.ended_at is None else None
    upgrading = engine.status == UPGRADING and not job.has_ended
    if job.type == UPGRADE_JOB_TYPE or upgrading:
        return Situation.NEW_JOB
    return _other_job(o, record, engine)


def _other_job(o: Observation, record: UpgradeRecord, engine: EngineView) -> Situation:
    """A job ran since the intent that does not tell what became of the call."""
    if not _is_wanted(o, record, engine) or o.retry_requested:
        return Situation.GIVEN_UP
    return Situation.OTHER_JOB


def _is_wanted(o: Observation, record: UpgradeRecord, engine: EngineView) -> bool:
    """Whether the intent's version is still desired, and the engine needs its call.

    For an Upgrade, the engine must provably be behind that version, or the vendor must offer it.
    """
    if record.wanted_version != o.desired.version:
        return False
    if record.action is Action.RETRY:
        return True
    compared = compare(engine.version, o.desired.version)
    if compared is Comparison.INCOMPARABLE:
        return is_offered(engine.version, o.desired.version, engine.latest_version)
    return compared is Comparison.BEHIND


def _call_again(
    o: Observation, record: UpgradeRecord, engine: EngineView, limits: Limits
) -> Situation:
    """No effect of the call is seen, and no wait is left: may it be made again?"""
    if not _is_wanted(o, record, engine):
        return Situation.GIVEN_UP
    if engine.latest_job_id != record.baseline_job_id and engine.status != UPGRADING:
        # A job ran that the look before the intent did not show.
        return _other_job(o, record, engine)
    retrying = record.action is Action.RETRY
    if _is_out_of_reach(o, record, engine):
        return Situation.GIVEN_UP
    if o.desired.suspend:
        return Situation.UNCHANGED_AND_SUSPENDED
    if not (engine.offers_retry if retrying else engine.status == AVAILABLE):
        unusable = engine.status in UNUSABLE_STATUSES
        return Situation.UNCHANGED_AND_UNUSABLE if unusable else Situation.UNCHANGED_AND_BUSY
    if not o.retry_requested:
        if o.jobs_failure is not None:
            return Situation.JOBS_UNREADABLE
        if _no_job_tells(o, engine):
            return Situation.OTHER_JOB
        if record.attempts > limits.repeats:
            return Situation.NO_MORE_CALLS
    due = Situation.RETRY_UNCHANGED if retrying else Situation.UNCHANGED_AND_WANTED
    return permitted_again(o, due, limits)


def _no_job_tells(o: Observation, engine: EngineView) -> bool:
    """Whether nothing shows that no job of the call ran.

    The engine names no job, and no list does; or the vendor does not show the job that a lost Retry
    may have run again.
    """
    latest = engine.latest_job_id
    return not o.jobs if latest is None else o.missing_job == latest


def _is_out_of_reach(o: Observation, record: UpgradeRecord, engine: EngineView) -> bool:
    """Whether the intent's call can no longer succeed, or a requested Retry replaces it."""
    if record.action is Action.RETRY:
        return not engine.offers_retry and engine.status != UPGRADING
    return engine.status == UPGRADE_FAILED and o.retry_requested
