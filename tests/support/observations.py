"""Short constructors of observations for the decision core; fields left out have usual values.

The usual values: the desired version is 2.4.0, the engine was just observed as Available at 2.3.0,
job 100 is the engine's latest, and nothing is recorded.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cse_operator.api.reasons import Reason
from cse_operator.api.status import Condition, Status
from cse_operator.api.status_reader import read_status
from cse_operator.api.upgrade_record import Action, HistoryEntry, Result, UpgradeRecord
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.observation import Desired, Limits, Observation
from cse_operator.core.permit import ALLOWED
from cse_operator.core.status import conditions
from cse_operator.core.views import EngineView, JobView

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
LIMITS = Limits()


def at(seconds: float) -> datetime:
    """Return a moment, given in seconds since noon."""
    return NOON + timedelta(seconds=seconds)


def desired(**changes: Any) -> Desired:
    usual: dict[str, Any] = {
        "generation": 3,
        "version": "2.4.0",
        "suspend": False,
        "timeout": timedelta(hours=2),
        "retry_limit": 1,
    }
    return Desired(**(usual | changes))


def engine(**changes: Any) -> EngineView:
    usual: dict[str, Any] = {
        "engine_id": "engine-1",
        "name": "test",
        "type": "CSE",
        "status": "Available",
        "version": "2.3.0",
        "latest_version": "2.4.0",
        "latest_job_id": 100,
        "additional_actions": (),
        "observed_at": NOON,
    }
    return EngineView(**(usual | changes))


def failed_engine(**changes: Any) -> EngineView:
    """Return an engine whose upgrade failed and that offers Retry."""
    return engine(
        **{"status": "UpgradeFailed", "latest_job_id": 101, "additional_actions": ("Retry",)}
        | changes
    )


def job(**changes: Any) -> JobView:
    """Return job 101, an upgrade that started ten seconds ago."""
    usual: dict[str, Any] = {
        "job_id": 101,
        "engine_id": "engine-1",
        "type": "Upgrade",
        "status": "Executing",
        "started_at": at(-10),
        "ended_at": None,
        "progress": None,
        "message": None,
        "observed_at": NOON,
    }
    return JobView(**(usual | changes))


def record(**changes: Any) -> UpgradeRecord:
    """Return the intent of an upgrade, recorded ten seconds ago."""
    usual: dict[str, Any] = {
        "action": Action.UPGRADE,
        "wanted_version": "2.4.0",
        "from_version": "2.3.0",
        "target_version": "2.4.0",
        "requested_at": at(-10),
        "baseline_job_id": 100,
        "baseline_at": at(-10),
    }
    return UpgradeRecord(**(usual | changes))


def running(**changes: Any) -> UpgradeRecord:
    """Return an upgrade whose job 101 runs."""
    return record(**{"job_id": 101} | changes)


def ended(result: Result, seconds_ago: float = 3600, **changes: Any) -> UpgradeRecord:
    """Return an upgrade that ended an hour ago by default."""
    usual: dict[str, Any] = {
        "requested_at": at(-2 * seconds_ago),
        "baseline_at": at(-2 * seconds_ago),
        "result": result,
    }
    if result is not Result.REJECTED:
        usual |= {"job_id": 101, "finished_at": at(-seconds_ago)}
    return record(**(usual | changes))


def intent_of_retry(**changes: Any) -> UpgradeRecord:
    """Return the intent to retry job 101."""
    return record(**{"action": Action.RETRY, "retries": 1, "baseline_job_id": 101} | changes)


def status(upgrade: UpgradeRecord | None = None, **changes: Any) -> Status:
    """Return a status with this upgrade; an upgrade that has ended is also in the history."""
    if upgrade is None:
        return Status(**changes)
    usual: dict[str, Any] = {
        "upgrade": upgrade,
        "job_id": upgrade.job_id,
        "result": upgrade.result,
    }
    if upgrade.result is not None:
        entry = HistoryEntry(
            action=upgrade.action,
            wanted_version=upgrade.wanted_version,
            target_version=upgrade.target_version,
            job_id=upgrade.job_id,
            result=upgrade.result,
            finished_at=upgrade.finished_at,
            error=upgrade.error,
        )
        usual["history"] = (entry,)
    return Status(**(usual | changes))


def observed(upgrade: UpgradeRecord | None = None, **changes: Any) -> Observation:
    usual: dict[str, Any] = {
        "desired": desired(),
        "status": status(upgrade),
        "now": NOON,
        "engine": engine(),
        "permit": ALLOWED,
    }
    return Observation(**(usual | changes))


def failure(kind: FailureKind, **changes: Any) -> Failure:
    return Failure(**({"kind": kind, "message": "the vendor's words"} | changes))


BUSY = failure(FailureKind.BUSY, http_status=400, code="SVCSTG.00501117")
LOST = failure(FailureKind.OUTCOME_UNKNOWN)
REFUSED = failure(FailureKind.REJECTED, http_status=400, code="SVCSTG.00501999")


def ready_conditions() -> tuple[Condition, ...]:
    """Return the conditions of a Ready resource."""
    return conditions(Status(), Reason.UP_TO_DATE, "engine is at 2.4.0", 3, NOON)


def unreadable(**changes: Any) -> Observation:
    """Return a resource whose open upgrade has an action that only a newer build knows."""
    stored = status(record()).to_json()
    stored["upgrade"]["action"] = "Rollback"
    return observed(status=read_status(stored), **changes)
