"""How a recorded upgrade changes: intent, answer, job, end. Values in, values out."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cse_operator.api.resource import (
    HISTORY_LIMIT,
    Action,
    CallError,
    HistoryEntry,
    Progress,
    Result,
    Status,
    UpgradeRecord,
)
from cse_operator.core.failure import Failure
from cse_operator.core.observation import JobView
from cse_operator.core.observed import Observed
from cse_operator.core.situations import JOB_FINISHED
from cse_operator.core.states import Effect, Situation

_CALLED_AGAIN: Final = frozenset({Situation.UNCHANGED_AND_WANTED, Situation.RETRY_UNCHANGED})
_DROPPED: Final = frozenset({Situation.UNCHANGED_AND_UNWANTED, Situation.REFUSED_AND_BUSY})
_ENDINGS: Final = {
    Situation.REACHED_TARGET: Result.SUCCEEDED,
    Situation.JOB_FINISHED: Result.SUCCEEDED,
    Situation.JOB_FINISHED_MISMATCHED: Result.SUCCEEDED,
    Situation.JOB_FAILED: Result.FAILED,
    Situation.JOB_TIMED_OUT: Result.TIMED_OUT,
    Situation.JOB_VANISHED: Result.FAILED,
}


def advance(o: Observed, situation: Situation) -> Status:
    """The status with its recorded upgrade moved on as the situation demands.

    Only what is recorded changes here; phase, message and conditions are made from it later.
    """
    match situation:
        case Situation.UPGRADE_DUE:
            return _with_intent(o, Effect.UPGRADE)
        case Situation.RETRY_OFFERED:
            return _with_intent(o, Effect.RETRY)
        case _ if situation in _CALLED_AGAIN:
            return _called_again(o)
        case Situation.FOREIGN_UPGRADE:
            return _with_record(o.status, _adopted(o))
        case Situation.NEW_JOB:
            return _with_record(o.status, _following(o))
        case Situation.JOB_RUNS | Situation.JOB_OVERDUE:
            return _with_record(o.status, _progressed(o))
        case _ if situation in _DROPPED:
            return dropped(o.status)
        case Situation.JOB_IN_DOUBT:
            return _unanswered_again(o)
        case _ if situation in _ENDINGS:
            return _ended(o, _ENDINGS[situation], situation)
        case _:
            return o.status


def accepted(status: Status, job_id: int) -> Status:
    """The status once the vendor named the job of the call."""
    record = _open(status)
    return _with_record(status, record.model_copy(update={"job_id": job_id, "error": None}))


def rejected(status: Status, failure: Failure) -> Status:
    """The status once the vendor refused the call for good."""
    record = _open(status)
    ended = record.model_copy(update={"result": Result.REJECTED, "error": call_error(failure)})
    return _with_history(_with_record(status, ended), ended)


def doubted(status: Status, failure: Failure) -> Status:
    """The status once the call was answered in a way that leaves its effect open.

    What the vendor itself said is kept; a refusal (busy) tells a later look that another job
    is no riddle.
    """
    record = _open(status)
    error = call_error(failure) if failure.code else None
    return _with_record(status, record.model_copy(update={"error": error}))


def undone(status: Status, failure: Failure) -> Status:
    """The status once the call had no effect, by all that is known: its intent stays.

    What the vendor answered is kept: a call that was answered did leave, and is called again
    only when a look would show it.
    """
    record = _open(status)
    answered = failure.http_status is not None
    error = call_error(failure) if answered else None
    less = {"attempts": max(record.attempts - 1, 0), "error": error}
    return _with_record(status, record.model_copy(update=less))


def dropped(status: Status) -> Status:
    """The status as it was before an intent that had no effect and is not wanted any more.

    A request for a retry that led to it is open again. A Retry leaves the failed upgrade that
    it was for, so that what is known of it (and how often it was retried) is not lost.
    """
    record = _open(status)
    if record.retry_request is not None:
        status = status.model_copy(update={"last_handled_retry_at": None})
    if record.action is not Action.RETRY:
        return _with_record(status, None)
    ended = next((h for h in status.history if h.job_id == record.baseline_job_id), None)
    failed = {
        "job_id": record.baseline_job_id,
        "result": ended.result if ended else Result.FAILED,
        "started_at": ended.started_at if ended else None,
        "finished_at": ended.finished_at if ended else None,
        "retries": max(record.retries - 1, 0),
        "retry_request": None,
        "error": None,
    }
    return _with_record(status, record.model_copy(update=failed))


def call_error(failure: Failure) -> CallError:
    """A failure in the words of the resource."""
    return CallError(
        http_status=failure.http_status,
        code=failure.code,
        message=failure.message,
        detail=failure.detail,
        request_id=failure.request_id,
    )


def handled_retry(o: Observed) -> str | None:
    """The request for a retry that is honoured with this step (or was, if there is none)."""
    return o.wish.retry_request or o.status.last_handled_retry_at


def _open(status: Status) -> UpgradeRecord:
    if status.upgrade is None or not status.upgrade.unanswered:
        raise ValueError("a call was answered although no intent is open")
    return status.upgrade


def _with_record(status: Status, record: UpgradeRecord | None) -> Status:
    """The record, and the two fields of the top level that repeat it for `kubectl get`."""
    last: UpgradeRecord | HistoryEntry | None = record
    if record is None and status.history:
        last = status.history[0]
    return status.model_copy(
        update={
            "upgrade": record,
            "job_id": last.job_id if last else None,
            "result": last.result if last else None,
        }
    )


def _with_history(status: Status, ended: UpgradeRecord) -> Status:
    if ended.result is None:
        raise ValueError("only an ended upgrade belongs into the history")
    entry = HistoryEntry(
        from_version=ended.from_version,
        target_version=ended.target_version,
        job_id=ended.job_id,
        result=ended.result,
        started_at=ended.started_at or ended.requested_at,
        finished_at=ended.finished_at,
    )
    return status.model_copy(update={"history": (entry, *status.history)[:HISTORY_LIMIT]})


def _with_intent(o: Observed, effect: Effect) -> Status:
    engine, old = o.engine, o.record
    if engine is None:
        raise ValueError("an intent needs a look at the engine")
    retrying = effect is Effect.RETRY
    goes_on = retrying and old is not None and old.generation == o.wish.generation
    record = UpgradeRecord(
        action=Action.RETRY if retrying else Action.UPGRADE,
        generation=o.wish.generation,
        from_version=old.from_version if goes_on and old else engine.version,
        target_version=_target_of_retry(old) if retrying else o.wish.version,
        retry_request=o.wish.retry_request if o.retry_requested else None,
        requested_at=o.now,
        baseline_job_id=engine.latest_job_id,
        baseline_at=_vendors_now(o),
        retries=((old.retries if goes_on and old else 0) + 1) if retrying else 0,
    )
    status = _with_record(o.status, record)
    return status.model_copy(update={"last_handled_retry_at": handled_retry(o)})


def _target_of_retry(failed: UpgradeRecord | None) -> str | None:
    """Retry has no target of its own: the failed job goes on to the one it had, if known."""
    known = failed is not None and failed.result in {Result.FAILED, Result.TIMED_OUT}
    return failed.target_version if failed is not None and known else None


def _vendors_now(o: Observed) -> datetime | None:
    """What the vendor's clock shows now at the least, by the last look and a steady clock.

    The time that the look itself took may lie before the vendor dated its answer: added to
    that date, it would put the job of the call that follows before the intent.
    """
    seen_at = o.engine.observed_at if o.engine else None
    return seen_at and seen_at + timedelta(seconds=o.engine_since)


def _called_again(o: Observed) -> Status:
    record, engine = _open(o.status), o.engine
    if engine is None:
        raise ValueError("calling again needs a look at the engine")
    again: dict[str, object] = {
        "attempts": record.attempts + 1,
        "generation": o.wish.generation,
        "requested_at": o.now,
        "baseline_job_id": engine.latest_job_id,
        "baseline_at": _vendors_now(o),
        "error": None,
    }
    if o.retry_requested:
        again["retry_request"] = o.wish.retry_request
    status = _with_record(o.status, record.model_copy(update=again))
    return status.model_copy(update={"last_handled_retry_at": handled_retry(o)})


def _adopted(o: Observed) -> UpgradeRecord:
    engine = o.engine
    if engine is None:
        raise ValueError("a job is adopted from a look at the engine")
    return UpgradeRecord(
        action=Action.ADOPTED,
        generation=o.wish.generation,
        from_version=engine.version,
        requested_at=o.now,
        baseline_at=_vendors_now(o),
        attempts=0,
        job_id=engine.latest_job_id,
    )


def _following(o: Observed) -> UpgradeRecord:
    record, job = _open(o.status), o.job
    if job is None:
        raise ValueError("a job is followed from a look at it")
    seen = {"job_id": job.job_id, "error": None, "started_at": job.started_at}
    return record.model_copy(update=seen)


def _unanswered_again(o: Observed) -> Status:
    """The status with the call as good as unanswered: the job that it named is not its own."""
    record = o.record
    if record is None:
        raise ValueError("only a recorded upgrade can be in doubt")
    unknown = {"job_id": None, "job_status": None, "progress": None, "started_at": None}
    return _with_record(o.status, record.model_copy(update=unknown))


def _progressed(o: Observed) -> UpgradeRecord | None:
    record, job = o.record, o.job
    if record is None or job is None or job.job_id != record.job_id or not o.progress_due:
        return record
    return record.model_copy(
        update={
            "job_status": job.status,
            "progress": _progress(job),
            "started_at": job.started_at or record.started_at,
        }
    )


def _progress(job: JobView) -> Progress | None:
    if job.progress is None:
        return None
    return Progress(
        completed=job.progress.completed, total=job.progress.total, step=job.progress.step
    )


def _ended(o: Observed, result: Result, situation: Situation) -> Status:
    record, job = o.record, o.job
    if record is None:
        raise ValueError("only a recorded upgrade can end")
    changes: dict[str, object] = {"result": result, "error": None}
    if job is not None and job.job_id == record.job_id:
        changes |= {
            "job_status": job.status,
            "progress": _progress(job),
            "started_at": job.started_at or record.started_at,
            "finished_at": job.ended_at or job.observed_at or o.now,
        }
        if job.status != JOB_FINISHED:
            changes["error"] = CallError(message=job.message or f"the job ended as {job.status}")
    else:
        changes["finished_at"] = (o.engine.observed_at if o.engine else None) or o.now
    if situation is Situation.JOB_VANISHED:
        changes["error"] = CallError(message="the vendor no longer knows the job")
    ended = record.model_copy(update=changes)
    return _with_history(_with_record(o.status, ended), ended)
