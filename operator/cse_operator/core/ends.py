"""How a recorded upgrade ends: the record changes of `machine.py` that lead to a result.

Each public function returns the status with the end in its record and in its history.
"""

from __future__ import annotations

from typing import Final

from cse_operator.api.status import Status
from cse_operator.api.upgrade_record import CallError, Result
from cse_operator.core.observation import Observation
from cse_operator.core.records import open_record, progress_of, recorded, vendors_now, with_ended
from cse_operator.core.vendor_states import JOB_FINISHED

ENGINE_GONE_CODE: Final = "EngineNotFound"
JOB_STOPPED_CODE: Final = "JobStopped"
JOB_VANISHED_CODE: Final = "JobNotFound"
"""This operator's own error codes, used where the vendor gives none."""


def given_up(o: Observation) -> Status:
    """Record that no effect of the call was ever seen, and that none is expected any more."""
    changes = {"result": Result.UNKNOWN, "finished_at": vendors_now(o) or o.now}
    return with_ended(o, open_record(o.status).model_copy(update=changes))


def succeeded(o: Observation) -> Status:
    """Record that the job is finished, or that the engine is at the target."""
    return _with_end(o, Result.SUCCEEDED)


def failed(o: Observation) -> Status:
    """Record that the job failed. If a retry is left, it is due now or never."""
    return _with_end(o, Result.FAILED, retry_due=_retry_is_left(o))


def timed_out(o: Observation) -> Status:
    """Record that the vendor ended the job by its own time-out."""
    return _with_end(o, Result.TIMED_OUT, retry_due=_retry_is_left(o))


def stopped(o: Observation) -> Status:
    """Record that the vendor no longer runs the job, whose status is not known."""
    record = recorded(o)
    job = o.shown_job(record.job_id)
    word = job.status if job else "unknown"
    told = f"the vendor no longer runs the job, and its status {word} is not known"
    return _with_end(o, Result.FAILED, error=CallError(code=JOB_STOPPED_CODE, message=told))


def vanished(o: Observation) -> Status:
    """Record that the vendor no longer knows the job and the engine is not at its target."""
    told = "the vendor no longer knows the job"
    return _with_end(o, Result.FAILED, error=CallError(code=JOB_VANISHED_CODE, message=told))


def engine_gone(o: Observation) -> Status:
    """Record that the engine was deleted while its job was followed."""
    told = "the engine was deleted, or cannot be seen any more"
    return _with_end(o, Result.FAILED, error=CallError(code=ENGINE_GONE_CODE, message=told))


def _with_end(
    o: Observation, result: Result, *, error: CallError | None = None, retry_due: bool = False
) -> Status:
    record = recorded(o)
    changes: dict[str, object] = {
        "result": result,
        "error": error,
        "retry_due": True if retry_due else None,
        "finished_at": (o.engine.observed_at if o.engine else None) or o.now,
    }
    job = o.shown_job(record.job_id)
    if job is not None and record.job_id is not None:
        changes |= {
            "job_status": job.status,
            "progress": progress_of(job),
            "started_at": job.started_at or record.started_at,
            "finished_at": job.ended_at or job.observed_at or o.now,
        }
        if job.status != JOB_FINISHED and error is None and result is not Result.SUCCEEDED:
            changes["error"] = CallError(message=job.message or f"the job ended as {job.status}")
    return with_ended(o, record.model_copy(update=changes))


def _retry_is_left(o: Observation) -> bool:
    """Whether this operator's failed job, for the desired version, may be retried automatically."""
    record = recorded(o)
    ours = record.own_job is True and record.target_version == o.desired.version
    return (
        ours
        and not (o.desired.suspend or o.observes_only)
        and record.retries < o.desired.retry_limit
    )
