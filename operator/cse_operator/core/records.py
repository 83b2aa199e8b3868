"""How a recorded upgrade changes by the answer to its call and by looks at its job.

Its beginning is in `intents.py`, its end in `ends.py`. Values in, values out.

Each public function is the change of a row in `machine.py`: it takes what was observed and returns
the status with its record changed. Phase, message and conditions are made from it later.
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
    """No Retry is due by itself any more: what is shown now stands until a person asks."""
    record = o.record
    if record is None or record.retry_due is None:
        return o.status
    return with_record(o.status, record.model_copy(update={"retry_due": None}))


def settled_for_the_desired_version(o: Observation) -> Status:
    """The same, and the wanted version counts as compared: it is not new any more."""
    versions = dict.fromkeys((o.desired.version, *o.status.settled_versions))
    return settled(o).model_copy(update={"settled_versions": tuple(versions)[:HISTORY_LIMIT]})


def settled_if_judged(o: Observation) -> Status:
    """The same, if the look said what the vendor offers: only then was the version judged."""
    judged = o.engine is not None and o.engine.latest_version
    return settled_for_the_desired_version(o) if judged else settled(o)


def progressed(o: Observation) -> Status:
    """Note how far the running job is, at most once a minute."""
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
    """The vendor named the job of the call."""
    if not isinstance(o.answer, Accepted):
        raise TypeError("only an accepted call has a job")
    return _with_job(o, o.answer.job_id, own=True)


def refused(o: Observation) -> Status:
    """The vendor refused the call for good: that is the result."""
    record = open_record(o.status)
    changes = {"result": Result.REJECTED, "error": call_error(_failure(o)), **_called(record)}
    return _nothing_settled(with_ended(o, record.model_copy(update=changes)), record)


def unclear(o: Observation) -> Status:
    """The answer does not say whether the call took effect; what the vendor said is kept."""
    failure = _failure(o)
    changes = {"error": call_error(failure) if failure.code else None}
    return with_record(o.status, open_record(o.status).model_copy(update=changes))


def not_sent(o: Observation) -> Status:
    """The call certainly had no effect: the intent stays, and all that led to it."""
    record = open_record(o.status)
    changes = {"attempts": max(record.attempts - 1, 0), "error": None}
    status = with_record(o.status, record.model_copy(update=changes))
    return _request_open_again(status, record)


def following_the_latest(o: Observation) -> Status:
    """The engine's latest job is the call's."""
    return _following(o, o.shown_job(o.seen_engine.latest_job_id))


def following_the_listed(o: Observation) -> Status:
    """A job in the vendor's list is the call's."""
    return _following(o, listed_job(o))


def unanswered_again(o: Observation) -> Status:
    """The job that the call was answered with is not its own: as good as unanswered."""
    unknown = dict.fromkeys(("job_id", "own_job", "job_status", "progress", "started_at"))
    return with_record(o.status, recorded(o).model_copy(update=unknown))


def dropped(o: Observation) -> Status:
    """Go back to before an intent whose call certainly had no effect.

    A request for a retry that led to it is open again, and the upgrade that ended before it stands
    as it did.
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
    """A failure in the words of the resource."""
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
    """The recorded upgrade.

    Raises:
        ValueError: There is none.
    """
    if o.record is None:
        raise ValueError("no upgrade is recorded")
    return o.record


def open_record(status: Status) -> UpgradeRecord:
    """The open intent.

    Raises:
        ValueError: There is none: an answer has nowhere to go.
    """
    if status.upgrade is None or not status.upgrade.unanswered:
        raise ValueError("a call was answered although no intent is open")
    return status.upgrade


def vendors_now(o: Observation) -> datetime | None:
    """What the vendor's clock shows now at the least, by the last look and a steady clock.

    The time that the look itself took may lie before the vendor dated its answer: added to
    that date, it would put the job of the call that follows before the intent.
    """
    seen_at = o.engine.observed_at if o.engine else None
    return seen_at and seen_at + timedelta(seconds=o.engine_since)


def with_record(status: Status, record: UpgradeRecord | None) -> Status:
    """The record, and the two fields of the top level that repeat it for `kubectl get`."""
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
    """The open call has a job."""
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
    """A call of Upgrade was made: from here on, versions wanted before are new again."""
    return {"answered_versions": ()} if record.action is Action.UPGRADE else {}


def _nothing_settled(status: Status, record: UpgradeRecord) -> Status:
    if record.action is not Action.UPGRADE:
        return status
    return status.model_copy(update={"settled_versions": ()})


def _request_open_again(status: Status, record: UpgradeRecord) -> Status:
    """A request for a retry that led to a call which had no effect is open again."""
    if record.retry_request is None:
        return status
    return status.model_copy(update={"last_handled_retry_at": None})


def _following(o: Observation, job: JobView | None) -> Status:
    if job is None:
        raise ValueError("a job is followed from a look at it")
    return _with_job(o, job.job_id, job.started_at)


def with_ended(o: Observation, ended: UpgradeRecord) -> Status:
    """The record at its end, at the head of the history too."""
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
    """How far a job is, in the words of the resource."""
    if job.progress is None:
        return None
    return Progress(
        completed=job.progress.completed, total=job.progress.total, step=job.progress.step
    )
