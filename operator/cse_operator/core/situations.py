"""Classifies what was observed as one situation of the stage the resource is in.

Pure functions: one per stage, each a list of questions in the order in which they matter.
The vendor's status and type names are from the Huawei Cloud CSE API Reference (ShowEngine,
ShowEngineJob); names that are not known are treated as "wait and show", never as an end.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cse_operator.api.reasons import Reason
from cse_operator.api.resource import Action, CallError, HistoryEntry, Result, UpgradeRecord
from cse_operator.core.observation import EngineView, JobView
from cse_operator.core.observed import Observed, Policy
from cse_operator.core.states import Situation, Stage
from cse_operator.core.versions import Comparison, compare, satisfies

AVAILABLE: Final = "Available"
UPGRADING: Final = "Upgrading"
UPGRADE_FAILED: Final = "UpgradeFailed"
BUSY_STATUSES: Final = frozenset({"Creating", "Modifying", UPGRADING})
UNUSABLE_STATUSES: Final = frozenset(
    {"Deleting", "Deleted", "CreateFailed", "DeleteFailed", "ModifyFailed", "Freezed", "Frozen"}
)
RETRY_ACTION: Final = "Retry"

JOB_FINISHED: Final = "Finished"
JOB_ERROR: Final = "Error"
JOB_TIMEOUT: Final = "Timeout"
JOB_ENDINGS: Final = frozenset({JOB_FINISHED, JOB_ERROR, JOB_TIMEOUT})
UPGRADE_JOB_TYPE: Final = "Upgrade"

HTTP_FORBIDDEN: Final = 403
HTTP_SERVER_ERROR: Final = 500

STORED_TO: Final = timedelta(seconds=1)
"""Moments are stored in whole seconds."""

CLOCK_TOLERANCE: Final = timedelta(seconds=5)
"""How far two clocks of the vendor's (gateway and engine manager) may be apart."""


def stage_of(record: UpgradeRecord | None) -> Stage:
    """The stage that a recorded upgrade is in."""
    if record is None or record.result is not None:
        return Stage.IDLE
    return Stage.UNANSWERED if record.job_id is None else Stage.RUNNING


def classify(o: Observed, policy: Policy) -> Situation:
    """The one situation that holds."""
    if o.rival is not None:
        return Situation.RIVAL
    if o.look_requested and not o.engine_is_fresh:
        return Situation.NOT_LOOKED
    match stage_of(o.record):
        case Stage.RUNNING:
            return _running(o, policy)
        case Stage.UNANSWERED:
            return _unanswered(o, policy)
        case Stage.IDLE:
            return _idle(o, policy)


# -- Idle ---------------------------------------------------------------------------------


def _idle(o: Observed, policy: Policy) -> Situation:
    engine = o.engine
    if engine is None:
        return Situation.NOT_LOOKED
    if engine.status == UPGRADING and engine.latest_job_id is not None:
        return _upgrade_under_way(o, engine, engine.latest_job_id, policy)
    behind_refusal = _job_behind_refusal(o, engine, policy)
    if behind_refusal is not None:
        return behind_refusal
    if not engine.version:
        return Situation.UNAVAILABLE
    match compare(engine.version, o.wish.version):
        case Comparison.SATISFIED:
            return Situation.AT_TARGET
        case Comparison.BEYOND:
            return Situation.BEYOND_TARGET
        case _:
            return _due(o, engine, policy)


def _upgrade_under_way(o: Observed, engine: EngineView, latest: int, policy: Policy) -> Situation:
    """The engine upgrades although nothing is open: someone else's job, or a lagging read."""
    record = o.record
    if _ended_lately(o, engine.observed_at, latest, policy):
        return Situation.JUST_ENDED
    if record is None or record.job_id != latest:
        return Situation.FOREIGN_UPGRADE if o.engine_is_fresh else Situation.NOT_LOOKED
    if o.job is None or o.job.job_id != latest:
        return Situation.BUSY if o.missing_job == latest else Situation.JOB_NOT_SEEN
    return Situation.BUSY if o.job.status in JOB_ENDINGS else Situation.FOREIGN_UPGRADE


def _job_behind_refusal(o: Observed, engine: EngineView, policy: Policy) -> Situation | None:
    """A job that a refused call started all the same.

    A call that is delivered twice on its way is accepted once and refused once, and the
    refusal may be the answer that arrives.
    """
    record, latest = o.record, engine.latest_job_id
    if record is None or record.result is not Result.REJECTED or not o.engine_is_fresh:
        return None
    if latest in {None, record.baseline_job_id, o.missing_job} or _ended_entry(o, latest):
        return None
    if o.job is None or o.job.job_id != latest:
        return Situation.JOB_NOT_SEEN
    started_by_it = o.job.type == UPGRADE_JOB_TYPE and is_current(o, record, o.job, policy)
    return Situation.FOREIGN_UPGRADE if started_by_it else None


def _due(o: Observed, engine: EngineView, policy: Policy) -> Situation:
    """The engine is behind the wish: what stands between it and a call?"""
    latched = _latched(o, engine)
    if latched is Situation.MISMATCHED and _may_predate_the_end(o, engine, policy):
        return Situation.JUST_ENDED
    if latched is not None and latched is not Situation.RETRY_OFFERED:
        return latched
    if latched is None and engine.status != AVAILABLE:
        return _not_available(engine)
    if o.wish.suspend:
        return Situation.SUSPENDED
    if not o.engine_is_fresh:
        return Situation.NOT_LOOKED
    if _may_predate_the_end(o, engine, policy):
        return Situation.JUST_ENDED
    return latched or Situation.UPGRADE_DUE


def _may_predate_the_end(o: Observed, engine: EngineView, policy: Policy) -> bool:
    """Whether the engine may be shown as it was before the last upgrade ended.

    Calling on such a look would upgrade the engine twice.
    """
    record = o.record
    if record is None or record.finished_at is None:
        return False
    since_end = max(o.known_for, _between(record.finished_at, engine.observed_at))
    if since_end >= policy.grace:
        return False
    if record.result is Result.SUCCEEDED and record.target_version is not None:
        # The target is what a look from after the end shows, or something beyond it.
        standing = compare(engine.version, record.target_version)
        return standing in {Comparison.BEHIND, Comparison.INCOMPARABLE}
    return engine.latest_job_id != record.job_id or engine.status == UPGRADING


def _ended_entry(o: Observed, job_id: int | None) -> HistoryEntry | None:
    """The last end of a job that is recorded."""
    return next((entry for entry in o.status.history if entry.job_id == job_id), None)


def _ended_lately(o: Observed, seen_at: datetime | None, job_id: int, policy: Policy) -> bool:
    """Whether a job's end is recorded and so recent that a look may show the job as before it."""
    entry = _ended_entry(o, job_id)
    if entry is None:
        return False
    own = o.record is not None and o.record.job_id == job_id and o.record.result is not None
    since_end = max(o.known_for if own else 0.0, _between(entry.finished_at, seen_at))
    return since_end < policy.grace


def _latched(o: Observed, engine: EngineView) -> Situation | None:
    """Whether an ended upgrade still stands for this wish, or a Retry is the way on."""
    record = o.record
    offered = engine.status == UPGRADE_FAILED and RETRY_ACTION in engine.additional_actions
    if offered and o.retry_requested:
        return Situation.RETRY_OFFERED
    if record is None or o.retry_requested:
        return None
    if offered and _may_retry(o, record):
        return Situation.RETRY_OFFERED
    if record.generation != o.wish.generation:
        return None
    match record.result:
        case Result.REJECTED:
            forbidden = record.error is not None and record.error.http_status == HTTP_FORBIDDEN
            return Situation.FORBIDDEN if forbidden else Situation.REJECTED
        case Result.FAILED:
            return Situation.FAILED
        case Result.TIMED_OUT:
            return Situation.TIMED_OUT
        case Result.SUCCEEDED if record.target_version == o.wish.version:
            return Situation.MISMATCHED
        case _:
            return None


def _may_retry(o: Observed, record: UpgradeRecord) -> bool:
    """Whether our own failed job may be retried without a person.

    A new spec for the same target is a person's word too, and starts the count anew.
    """
    ours = record.action is not Action.ADOPTED and record.target_version == o.wish.version
    failed = record.result in {Result.FAILED, Result.TIMED_OUT}
    new_spec = record.generation != o.wish.generation
    return ours and failed and (new_spec or record.retries < o.wish.retry_limit)


def _not_available(engine: EngineView) -> Situation:
    if engine.status in BUSY_STATUSES:
        return Situation.BUSY
    if engine.status in UNUSABLE_STATUSES or engine.status == UPGRADE_FAILED:
        return Situation.UNUSABLE
    return Situation.UNAVAILABLE


# -- Unanswered ---------------------------------------------------------------------------


def _unanswered(o: Observed, policy: Policy) -> Situation:
    record, engine = o.record, o.engine
    assert record is not None  # noqa: S101 - the stage says so
    if engine is None or not o.engine_is_fresh:
        return Situation.NOT_LOOKED
    job_situation = _candidate_job(o, record, engine, policy)
    if job_situation in {Situation.JOB_NOT_SEEN, Situation.NEW_JOB}:
        return job_situation
    if within_grace(o, policy):
        # Also where the engine is at the target: a late call would start a job all the same.
        return Situation.UNCHANGED_IN_GRACE
    if record.target_version and satisfies(engine.version, record.target_version):
        return Situation.REACHED_TARGET
    if job_situation is not None:
        return job_situation
    if grace_left(o, policy) > 0:
        return Situation.UNCHANGED_IN_GRACE
    return _call_again(o, record, engine)


def _candidate_job(
    o: Observed, record: UpgradeRecord, engine: EngineView, policy: Policy
) -> Situation | None:
    """Whether the engine's latest job is the one the intent started; None when none can be."""
    candidate = engine.latest_job_id
    same_job = candidate == record.baseline_job_id
    if candidate is None or (same_job and record.action is not Action.RETRY):
        return None
    if not same_job and _ended_entry(o, candidate):
        return None
    job = o.job
    if job is None or job.job_id != candidate:
        if o.missing_job != candidate:
            return Situation.JOB_NOT_SEEN
        # A job the engine names and the vendor does not show: reads lag, or it is forgotten.
        if same_job or engine.status == UPGRADING:
            return None
        return _other_job(o, record, engine)
    if not is_current(o, record, job, policy):
        return None
    upgrading = engine.status == UPGRADING and job.status not in JOB_ENDINGS
    if job.type == UPGRADE_JOB_TYPE or upgrading:
        return Situation.NEW_JOB
    return _other_job(o, record, engine)


def _other_job(o: Observed, record: UpgradeRecord, engine: EngineView) -> Situation:
    """A job ran since the intent that does not tell what became of the call."""
    shown = o.job is not None and o.job.job_id == engine.latest_job_id
    if shown and record.error is not None and refuses(record.error):
        return Situation.REFUSED_AND_BUSY
    asked_again = o.retry_requested or record.generation != o.wish.generation
    if asked_again or not _is_behind(o, engine):
        return Situation.UNCHANGED_AND_UNWANTED
    return Situation.OTHER_JOB


def _is_behind(o: Observed, engine: EngineView) -> bool:
    """Whether the engine is at another version than the wanted one, and not beyond it."""
    standing = compare(engine.version, o.wish.version)
    return bool(engine.version) and standing in {Comparison.BEHIND, Comparison.INCOMPARABLE}


def refuses(error: CallError) -> bool:
    """Whether an answer says that the call was not carried out, and not just that it failed."""
    return error.http_status is not None and error.http_status < HTTP_SERVER_ERROR


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
        if job.status not in JOB_ENDINGS:
            return not _ended_lately(o, job.observed_at, job.job_id, policy)
        return job.ended_at is not None and job.ended_at > _old_end(o, record.baseline_at, job)
    return job.started_at is None or job.started_at >= record.baseline_at - CLOCK_TOLERANCE


def elapsed_since_intent(o: Observed, policy: Policy) -> float:
    """Seconds since the intent: never more than the truth.

    Whoever wrote it knows by a steady clock. Another process has known it for a while, and the
    vendor's own clock has moved on between the look before the intent and the look now, of
    which the time goes off that the former may have been on its way. This process's wall
    clock has no say: it may be minutes off after a restart on another node.
    """
    if o.wrote_intent:
        return o.known_for
    baseline = o.record.baseline_at if o.record else None
    seen_at = o.engine.observed_at if o.engine else None
    return max(o.known_for, _between(baseline, seen_at) - policy.look_valid)


def _old_end(o: Observed, baseline_at: datetime, job: JobView) -> datetime:
    """The moment after which an end of a retried job is the end of its new run."""
    recorded = _ended_entry(o, job.job_id)
    if recorded is not None and recorded.finished_at is not None:
        return recorded.finished_at + STORED_TO
    # Somebody else's job. Retry is offered for failed ones: what finished has run again.
    margin = -CLOCK_TOLERANCE if job.status == JOB_FINISHED else CLOCK_TOLERANCE
    return baseline_at + margin


def within_grace(o: Observed, policy: Policy) -> bool:
    """Whether the call may still take effect, or its effect not be shown yet."""
    sent = o.record is not None and o.record.attempts > 0
    return sent and elapsed_since_intent(o, policy) < policy.grace


def grace_left(o: Observed, policy: Policy) -> float:
    """Seconds until the call may be made again.

    None are left of an intent whose call certainly did not go out, and few where the vendor
    said that it was not carried out. Doubled with each call that had no effect: a way that
    loses every call is not to be hammered.
    """
    attempts = o.record.attempts if o.record else 1
    if attempts < 1:
        answered = o.record is not None and o.record.error is not None
        return min(policy.lag, policy.grace) - o.known_for if answered else 0.0
    return policy.grace * min(2.0 ** (attempts - 1), 8.0) - elapsed_since_intent(o, policy)


def _between(earlier: datetime | None, later: datetime | None) -> float:
    if earlier is None or later is None:
        return 0.0
    return (later - earlier).total_seconds()


def _call_again(o: Observed, record: UpgradeRecord, engine: EngineView) -> Situation:
    if o.wish.suspend:
        return Situation.UNCHANGED_AND_UNWANTED
    if engine.latest_job_id != record.baseline_job_id and engine.status != UPGRADING:
        # Something ran that the look before the intent did not show.
        return _other_job(o, record, engine)
    if record.action is Action.RETRY:
        still_failed = engine.status == UPGRADE_FAILED
        offered = still_failed and RETRY_ACTION in engine.additional_actions
        return Situation.RETRY_UNCHANGED if offered else Situation.UNCHANGED_AND_UNWANTED
    if engine.status == UPGRADING:
        # By an older job, which is to be adopted then; or by one that does not show itself.
        older = o.job is not None and o.job.job_id == engine.latest_job_id
        return Situation.UNCHANGED_AND_UNWANTED if older else Situation.UNCHANGED_IN_GRACE
    wanted = record.target_version == o.wish.version and _is_behind(o, engine)
    if not wanted or engine.status != AVAILABLE:
        return Situation.UNCHANGED_AND_UNWANTED
    return Situation.UNCHANGED_AND_WANTED


# -- Running ------------------------------------------------------------------------------


def _running(o: Observed, policy: Policy) -> Situation:
    record, job = o.record, o.job
    assert record is not None  # noqa: S101 - the stage says so
    if job is None or job.job_id != record.job_id:
        return _without_job(o, record, policy)
    if job.status not in JOB_ENDINGS:
        return _still_running(o, record, job)
    current = is_current(o, record, job, policy)
    by_its_clock = _between(record.baseline_at, job.observed_at) - policy.look_valid
    if not current and max(o.known_for - o.job_age, by_its_clock) < policy.grace:
        return Situation.JOB_RUNS
    if o.engine is None or not o.engine_is_fresh:
        return Situation.NOT_LOOKED
    if not current and _may_be_another(o, record, o.engine):
        return Situation.JOB_IN_DOUBT
    if job.status == JOB_FINISHED:
        return _finished(o, record, job, policy)
    return Situation.JOB_FAILED if job.status == JOB_ERROR else Situation.JOB_TIMED_OUT


def _may_be_another(o: Observed, record: UpgradeRecord, engine: EngineView) -> bool:
    """Whether the call started another job than the one it was answered with.

    Whether Retry runs the failed job again or a new one is not documented, so its answer is held
    against what the engine says is its latest job.
    """
    latest = engine.latest_job_id
    return latest not in {None, record.job_id} and _ended_entry(o, latest) is None


def _still_running(o: Observed, record: UpgradeRecord, job: JobView) -> Situation:
    # What was said once stays said: another process may not know the job for as long.
    said = o.status.ready is not None and o.status.ready.reason == Reason.UPGRADE_OVERDUE
    reported = said and o.status.observed_generation == o.wish.generation
    overdue = reported or overdue_in(o, record, job) <= 0
    return Situation.JOB_OVERDUE if overdue else Situation.JOB_RUNS


def overdue_in(o: Observed, record: UpgradeRecord, job: JobView) -> float:
    """Seconds until a running job has run for longer than its time-out."""
    since = job.started_at or record.started_at or record.baseline_at
    seen_running = _between(since, job.observed_at) + o.job_age
    return o.wish.timeout.total_seconds() - max(o.known_for, seen_running)


def _finished(o: Observed, record: UpgradeRecord, job: JobView, policy: Policy) -> Situation:
    engine = o.engine
    assert engine is not None  # noqa: S101 - the caller looked
    reached = record.target_version is None or satisfies(engine.version, record.target_version)
    if reached and engine.status != UPGRADING:
        return Situation.JOB_FINISHED
    ended_at = job.ended_at or job.observed_at
    if max(o.ended_for, _between(ended_at, engine.observed_at)) < policy.grace:
        return Situation.JOB_FINISHED_UNSEEN
    return Situation.JOB_FINISHED if reached else Situation.JOB_FINISHED_MISMATCHED


def _without_job(o: Observed, record: UpgradeRecord, policy: Policy) -> Situation:
    """The followed job was not shown: not asked for yet, or the vendor does not know it."""
    if o.missing_job != record.job_id:
        return Situation.JOB_HIDDEN
    if o.engine is None or not o.engine_is_fresh:
        return Situation.NOT_LOOKED
    early = elapsed_since_intent(o, policy) - o.job_age < policy.grace
    if early or o.engine.status == UPGRADING:
        return Situation.JOB_HIDDEN
    reached = record.target_version and satisfies(o.engine.version, record.target_version)
    if reached and o.engine.status != UPGRADE_FAILED:
        return Situation.JOB_FINISHED
    return Situation.JOB_VANISHED
