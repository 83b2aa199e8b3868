"""The sentence a person reads for each situation. Nothing in it ticks."""

from __future__ import annotations

from datetime import timedelta

from cse_operator.api.duration import format_duration
from cse_operator.api.names import RETRY_REQUESTED_AT
from cse_operator.api.resource import Action, Status, UpgradeRecord
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.observed import Observed
from cse_operator.core.states import Situation

_RETRY_HINT = f"set the annotation {RETRY_REQUESTED_AT} to a new value to try again"


def sentence(o: Observed, situation: Situation, status: Status) -> str:
    """What is going on, and the way out where a person is needed.

    Args:
        o: what was observed.
        situation: what it was classified as.
        status: the status as it will be written, with the recorded upgrade moved on.
    """
    record = status.upgrade
    if record is not None:
        match situation:
            case Situation.JOB_RUNS | Situation.JOB_HIDDEN | Situation.JOB_FINISHED_UNSEEN:
                return upgrading(record)
            case Situation.JOB_OVERDUE:
                return _overdue(o, record)
            case Situation.REJECTED | Situation.FAILED | Situation.TIMED_OUT:
                return _ended_badly(record, situation)
            case Situation.MISMATCHED:
                return _mismatched(o, record)
            case Situation.UPGRADE_DUE | Situation.UNCHANGED_AND_WANTED:
                return _submitting("Upgrade", record)
            case Situation.RETRY_OFFERED | Situation.RETRY_UNCHANGED:
                return _submitting("Retry", record)
            case Situation.UNCHANGED_IN_GRACE:
                return _verifying(record)
            case Situation.OTHER_JOB:
                return _uncertain(o, record)
            case _:
                pass
    return _of_engine(o, situation)


def upgrading(record: UpgradeRecord) -> str:
    """What runs, as far as it is known."""
    if record.action is Action.ADOPTED:
        return f"following job {record.job_id}, an upgrade that someone else started"
    text = f"upgrading from {record.from_version} to {record.target_version}, job {record.job_id}"
    if record.retries:
        text += f" (retry {record.retries})"
    if record.progress and record.progress.total:
        done = f"{record.progress.completed} of {record.progress.total} steps done"
        text += f", {done}" + (f", now {record.progress.step}" if record.progress.step else "")
    return text


def could_not_look(failure: Failure) -> str:
    """Why the engine cannot be seen, or the call not be made."""
    said = failure.sentence()
    if failure.kind is FailureKind.NOT_FOUND:
        return f"{said}; check engineId, projectId, region and enterpriseProjectId"
    if failure.kind is FailureKind.UNAUTHENTICATED:
        return (
            f"the vendor refused the credentials: {said}; put working ones into the Secret, "
            "the change is noticed by itself"
        )
    if failure.kind is FailureKind.FORBIDDEN:
        return (
            f"the credentials may not do this: {said}; grant cse:engine:get, cse:engine:list, "
            "cse:engine:upgrade and cse:engine:update"
        )
    if failure.kind is FailureKind.THROTTLED:
        return f"the vendor throttles this project's calls: {said}; going on more slowly"
    if failure.kind in {FailureKind.TRANSIENT, FailureKind.OUTCOME_UNKNOWN, FailureKind.NOT_SENT}:
        return f"cannot reach the vendor's API: {said}; trying again"
    return said


def _of_engine(o: Observed, situation: Situation) -> str:
    wanted = o.wish.version
    if situation is Situation.RIVAL:
        return _rival(o)
    engine = o.engine
    if engine is None:
        raise ValueError(f"nothing to say about an engine that was not looked at: {situation}")
    version, status = engine.version, engine.status
    match situation:
        case Situation.AT_TARGET if version == wanted:
            return f"engine is at {version}"
        case Situation.AT_TARGET:
            return f"engine is at {version}, a later patch of {wanted}"
        case Situation.BEYOND_TARGET:
            return (
                f"engine is at {version}, beyond the wanted {wanted}, and versions cannot go "
                f"back; set spec.version to {version} or higher"
            )
        case Situation.SUSPENDED:
            return (
                f"engine is at {version}; the upgrade to {wanted} waits until spec.suspend is false"
            )
        case Situation.BUSY:
            return f"engine is {status}; the upgrade to {wanted} waits until it is Available"
        case Situation.UNUSABLE:
            return (
                f"engine is {status} at {version}; look at it in the CSE console, the upgrade to "
                f"{wanted} starts once it is Available"
            )
        case _:
            return f"engine is {status} at {version}; waiting for it to be Available"


def _rival(o: Observed) -> str:
    other = f"{o.rival.name}, which is older," if o.rival and o.rival.name else "an older resource"
    where = "" if o.rival and o.rival.name else " in another namespace"
    return f"{other}{where} manages the same engine; delete one of the two (no engine is touched)"


def _submitting(call: str, record: UpgradeRecord) -> str:
    again = f", call {record.attempts}" if record.attempts > 1 else ""
    return f"calling {call} from {record.from_version} to {record.target_version}{again}"


def _verifying(record: UpgradeRecord) -> str:
    call = "Retry" if record.action is Action.RETRY else "Upgrade"
    said = f" ({record.error.message})" if record.error and record.error.message else ""
    return (
        f"the call {call} to {record.target_version} has no clear answer{said}; looking at the "
        "engine before anything else is done"
    )


def _uncertain(o: Observed, record: UpgradeRecord) -> str:
    job = f"job {o.job.job_id} ({o.job.type})" if o.job else "another job"
    return (
        f"the answer of the upgrade call to {record.target_version} was lost and {job} ran since, "
        "so its effect cannot be known; look at the engine's jobs in the CSE console, then "
        + _RETRY_HINT
    )


def _overdue(o: Observed, record: UpgradeRecord) -> str:
    limit = format_duration(timedelta(seconds=o.wish.timeout.total_seconds()))
    return f"{upgrading(record)}; running for longer than {limit}, still followed"


def _ended_badly(record: UpgradeRecord, situation: Situation) -> str:
    error = record.error
    words = [error.message] if error and error.message else []
    facts = [f"HTTP {error.http_status}"] if error and error.http_status else []
    if error and error.code:
        facts.append(error.code)
    said = ": " + "; ".join(words) if words else ""
    said += f" ({', '.join(facts)})" if facts else ""
    if situation is Situation.REJECTED:
        hint = f"set spec.version to one the engine offers, or {_RETRY_HINT}"
        return f"the vendor refused the upgrade to {record.target_version}{said}; {hint}"
    what = "failed" if situation is Situation.FAILED else "timed out at the vendor"
    job = f"job {record.job_id}"
    target = f" to {record.target_version}" if record.target_version else ""
    return f"the upgrade{target} {what}, {job}{said}; mend the cause, then {_RETRY_HINT}"


def _mismatched(o: Observed, record: UpgradeRecord) -> str:
    version = o.engine.version if o.engine else "another version"
    return (
        f"job {record.job_id} is finished, but the engine is at {version} and not at "
        f"{record.target_version}; compare with the CSE console, then {_RETRY_HINT}"
    )
