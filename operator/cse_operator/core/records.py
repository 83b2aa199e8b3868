"""The changes to a recorded upgrade by the answer to its call and by looks at its job.

A record begins in `intents.py` and ends in `ends.py`. All functions are pure.

Each public function is the change of a row in `machine.py`: it takes the observation and returns
the status with the changed record. Phase, message and conditions are derived from that later.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cse_operator.api.status import Status
from cse_operator.api.upgrade_record import (
    HISTORY_LIMIT,
    Action,
    CallError,
    HistoryEntry,
    Progress,
    Result,
    UpgradeRecord,
)
from cse_operator.core.failure import Failure
from cse_operator.core.job_matching import listed_job
from cse_operator.core.observation import Observation
from cse_operator.core.views import Accepted, JobView

# -- without a change of state -------------------------------------------------------


def unchanged(o: Observation) -> Status:
    """Leave the record as it is."""
    return o.status


def settled(o: Observation) -> Status:
    """Cancel the automatic Retry: the shown state stays until a person requests a retry."""
    record = o.record
    if record is None or record.retry_due is None:
        return o.status
    return with_record(o.status, record.model_copy(update={"retry_due": None}))


def settled_for_the_desired_version(o: Observation) -> Status:
    """Settle, and record the desired version as compared, so that it is not new any more."""
    versions = dict.fromkeys((o.desired.version, *o.status.settled_versions))
    return settled(o).model_copy(update={"settled_versions": tuple(versions)[:HISTORY_LIMIT]})


def settled_if_judged(o: Observation) -> Status:
    """Settle; record the desired version as compared only if the look showed the vendor's latest.

    Without the vendor's latest version, the desired version was not judged.
    """
    judged = o.engine is not None and o.engine.latest_version
    return settled_for_the_desired_version(o) if judged else settled(o)


def progressed(o: Observation) -> Status:
    """Record the running job's progress, at most once a minute."""
    record = o.record
    job = o.shown_job(record.job_id) if record else None
    if record is None or job is None or not o.progress_due:
        return o.status
    changes = {
        "job_status": job.status,
        "progress": progress_of(job),
        "started_at": job.started_at or record.started_at,
    }
    return with_record(o.status, record.model_copy(update=changes))


# -- the answer ----------------------------------------------------------------------


def accepted(o: Observation) -> Status:
    """Record the job that the vendor named in its answer."""
    if not isinstance(o.answer, Accepted):
        raise TypeError("only an accepted call has a job")
    return _with_job(o, o.answer.job_id, own=True)


def refused(o: Observation) -> Status:
    """Record the vendor's final refusal as the result."""
    record = open_record(o.status)
    changes = {"result": Result.REJECTED, "error": call_error(_failure(o)), **_called(record)}
    return _nothing_settled(with_ended(o, record.model_copy(update=changes)), record)


def unclear(o: Observation) -> Status:
    """Record the vendor's error; the answer does not say whether the call took effect."""
    failure = _failure(o)
    changes = {"error": call_error(failure) if failure.code else None}
    return with_record(o.status, open_record(o.status).model_copy(update=changes))


def not_sent(o: Observation) -> Status:
    """Uncount a call that certainly had no effect; keep the intent, and reopen its request."""
    record = open_record(o.status)
    changes = {"attempts": max(record.attempts - 1, 0), "error": None}
    status = with_record(o.status, record.model_copy(update=changes))
    return _request_open_again(status, record)


def following_the_latest(o: Observation) -> Status:
    """Record the engine's latest job as the call's."""
    return _following(o, o.shown_job(o.seen_engine.latest_job_id))


def following_the_listed(o: Observation) -> Status:
    """Record a job in the vendor's list as the call's."""
    return _following(o, listed_job(o))


def unanswered_again(o: Observation) -> Status:
    """Remove the recorded job, which may not be the call's: the call is unanswered again."""
    unknown = dict.fromkeys(("job_id", "own_job", "job_status", "progress", "started_at"))
    return with_record(o.status, recorded(o).model_copy(update=unknown))


def dropped(o: Observation) -> Status:
    """Undo an intent whose call certainly had no effect.

    The retry request that led to the intent is open again, and the upgrade that ended before it is
    the recorded one again.
    """
    record = open_record(o.status)
    status = _request_open_again(o.status, record)
    if not status.history:
        return with_record(status, None)
    last, retrying = status.history[0], record.action is Action.RETRY
    before = UpgradeRecord(
        action=last.action or Action.UPGRADE,
        wanted_version=last.wanted_version or record.wanted_version,
        answered_versions=record.answered_versions,
        from_version=last.from_version,
        target_version=last.target_version,
        requested_at=last.started_at or record.requested_at,
        baseline_job_id=record.baseline_job_id,
        baseline_at=record.baseline_at,
        job_id=last.job_id,
        started_at=last.started_at,
        finished_at=last.finished_at,
        retries=max(record.retries - 1, 0) if retrying else 0,
        retry_due=True if retrying and record.retry_request is None else None,
        result=last.result,
        error=last.error,
    )
    return with_record(status, before)


# -- helpers -------------------------------------------------------------------------


def call_error(failure: Failure) -> CallError:
    """Return a failure as the status stores it."""
    return CallError(
        kind=failure.kind,
        http_status=failure.http_status,
        code=failure.code,
        message=failure.message,
        detail=failure.detail,
        request_id=failure.request_id,
    )


def _failure(o: Observation) -> Failure:
    if not isinstance(o.answer, Failure):
        raise TypeError("the call has not failed")
    return o.answer


def recorded(o: Observation) -> UpgradeRecord:
    """Return the recorded upgrade.

    Raises:
        ValueError: No upgrade is recorded.
    """
    if o.record is None:
        raise ValueError("no upgrade is recorded")
    return o.record


def open_record(status: Status) -> UpgradeRecord:
    """Return the open intent.

    Raises:
        ValueError: No intent is open that could take an answer.
    """
    if status.upgrade is None or not status.upgrade.unanswered:
        raise ValueError("a call was answered although no intent is open")
    return status.upgrade


def vendors_now(o: Observation) -> datetime | None:
    """Return the earliest time that the vendor's clock can show now.

    It is the date of the last look plus the steady seconds since its answer arrived. The duration
    of the look is not added: part of it may lie before that date, and the job of the next call
    would then seem older than the intent.
    """
    seen_at = o.engine.observed_at if o.engine else None
    return seen_at and seen_at + timedelta(seconds=o.engine_since)


def with_record(status: Status, record: UpgradeRecord | None) -> Status:
    """Return the status with a record, and the two fields that repeat it for `kubectl get`."""
    return status.model_copy(
        update={
            "upgrade": record,
            "job_id": record.job_id if record else None,
            "result": record.result if record else None,
        }
    )


def _with_job(
    o: Observation, job_id: int, started_at: datetime | None = None, *, own: bool = False
) -> Status:
    """Return the status in which the open call has a job."""
    record = open_record(o.status)
    changes: dict[str, object] = {
        "job_id": job_id,
        "own_job": True if own else None,
        "error": None,
        "started_at": started_at,
        **_called(record),
    }
    return _nothing_settled(with_record(o.status, record.model_copy(update=changes)), record)


def _called(record: UpgradeRecord) -> dict[str, object]:
    """Return the changes of a made call: after Upgrade, earlier desired versions are new again."""
    return {"answered_versions": ()} if record.action is Action.UPGRADE else {}


def _nothing_settled(status: Status, record: UpgradeRecord) -> Status:
    if record.action is not Action.UPGRADE:
        return status
    return status.model_copy(update={"settled_versions": ()})


def _request_open_again(status: Status, record: UpgradeRecord) -> Status:
    """Reopen the retry request that led to a call without effect."""
    if record.retry_request is None:
        return status
    return status.model_copy(update={"last_handled_retry_at": None})


def _following(o: Observation, job: JobView | None) -> Status:
    if job is None:
        raise ValueError("a job is followed from a look at it")
    return _with_job(o, job.job_id, job.started_at)


def with_ended(o: Observation, ended: UpgradeRecord) -> Status:
    """Return the status with the ended record, which also heads the history."""
    if ended.result is None:
        raise ValueError("only an ended upgrade belongs into the history")
    entry = HistoryEntry(
        action=ended.action,
        wanted_version=ended.wanted_version,
        from_version=ended.from_version,
        target_version=ended.target_version,
        job_id=ended.job_id,
        result=ended.result,
        started_at=ended.started_at or ended.requested_at,
        finished_at=ended.finished_at,
        error=ended.error and ended.error.model_copy(update={"detail": None}),
    )
    return with_record(o.status, ended).with_ended(entry)


def progress_of(job: JobView) -> Progress | None:
    """Return a job's progress as the status stores it."""
    if job.progress is None:
        return None
    return Progress(
        completed=job.progress.completed, total=job.progress.total, step=job.progress.step
    )
