"""The beginnings of an upgrade: the changes in `machine.py` that record an intent or adopt a job.

Each public function takes the observation and returns the status with the new record, before any
call goes out.
"""

from __future__ import annotations

from typing import Any

from cse_operator.api.status import Status
from cse_operator.api.upgrade_record import HISTORY_LIMIT, Action, UpgradeRecord
from cse_operator.core.observation import Observation
from cse_operator.core.records import open_record, vendors_now, with_record
from cse_operator.core.views import EngineView


def intent_to_upgrade(o: Observation) -> Status:
    """Record the intent to call Upgrade for the desired version."""
    engine = o.seen_engine
    return _with_intent(
        o,
        UpgradeRecord(
            action=Action.UPGRADE,
            wanted_version=o.desired.version,
            answered_versions=_answered_by(o.record),
            from_version=engine.version,
            target_version=o.desired.version,
            **_moment_of_intent(o, engine),
        ),
    )


def intent_to_retry(o: Observation) -> Status:
    """Record the intent to call Retry, which continues the failed job to the job's own target."""
    engine, old = o.seen_engine, o.record
    same_job = old is not None and old.job_id == engine.latest_job_id
    retried = old if old is not None and same_job else None
    return _with_intent(
        o,
        UpgradeRecord(
            action=Action.RETRY,
            wanted_version=o.desired.version,
            answered_versions=_answered_by(old),
            from_version=retried.from_version if retried else engine.version,
            target_version=retried.target_version if retried else None,
            retries=(retried.retries if retried else 0) + 1,
            **_moment_of_intent(o, engine),
        ),
    )


def called_again(o: Observation) -> Status:
    """Renew an intent whose call had no effect, to make the call once more."""
    moment = _moment_of_intent(o, o.seen_engine)
    changes = {**moment, "attempts": open_record(o.status).attempts + 1, "error": None}
    if not o.retry_requested:
        del changes["retry_request"]
    return _with_intent(o, open_record(o.status).model_copy(update=changes))


def adopted(o: Observation) -> Status:
    """Record a job that somebody else started, to follow it."""
    engine = o.seen_engine
    job = o.shown_job(engine.latest_job_id)
    record = UpgradeRecord(
        action=Action.ADOPTED,
        wanted_version=o.desired.version,
        answered_versions=_answered_by(o.record),
        from_version=engine.version,
        requested_at=o.now,
        baseline_at=vendors_now(o),
        attempts=0,
        job_id=engine.latest_job_id,
        started_at=job.started_at if job else None,
    )
    return with_record(o.status, record)


def handled_retry(o: Observation) -> str | None:
    """Return the retry request that this step handles; without one, the last handled request."""
    return o.desired.retry_request or o.status.last_handled_retry_at


def _answered_by(old: UpgradeRecord | None) -> tuple[str, ...]:
    """Return the versions for which an ended record stands; the next record carries them on."""
    if old is None:
        return ()
    own = (old.wanted_version,) if old.answers(old.wanted_version) else ()
    return tuple(dict.fromkeys((*own, *old.answered_versions)))[:HISTORY_LIMIT]


def _moment_of_intent(o: Observation, engine: EngineView) -> dict[str, Any]:
    return {
        "requested_at": o.now,
        "baseline_job_id": engine.latest_job_id,
        "baseline_at": vendors_now(o),
        "retry_request": o.desired.retry_request if o.retry_requested else None,
    }


def _with_intent(o: Observation, record: UpgradeRecord) -> Status:
    status = with_record(o.status, record)
    return status.model_copy(update={"last_handled_retry_at": handled_retry(o)})
