"""The sentence a person reads for each situation. Nothing in it ticks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

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
    say = _OF_RECORD.get(situation)
    if record is None or say is None:
        return _of_engine(o, situation)
    return say(o, record)


def upgrading(record: UpgradeRecord) -> str:
    """What runs, as far as it is known."""
    if record.action is Action.ADOPTED:
        return f"following job {record.job_id}, an upgrade that someone else started"
    text = f"upgrading from {record.from_version}{_to(record)}, job {record.job_id}"
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
        case Situation.AT_TARGET:
            patch = "" if version == wanted else f", a later patch of {wanted}"
            # So that nobody wonders why the next wish will start nothing.
            return f"engine is at {version}{patch}" + ("; suspended" if o.wish.suspend else "")
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
    why = "which has an upgrade under way" if o.rival and o.rival.upgrading else "which is older"
    if o.rival and o.rival.name:
        other = f"{o.rival.name}, {why},"
    elif o.rival and o.rival.upgrading:
        other = f"a resource in another namespace, {why},"
    else:
        other = "an older resource in another namespace"
    return f"{other} manages the same engine; delete one of the two (no engine is touched)"


def _submitting(_: Observed, record: UpgradeRecord) -> str:
    again = f", call {record.attempts}" if record.attempts > 1 else ""
    return f"calling {_call(record)} from {record.from_version}{_to(record)}{again}"


def _call(record: UpgradeRecord) -> str:
    return "Retry" if record.action is Action.RETRY else "Upgrade"


def _to(record: UpgradeRecord) -> str:
    """Nothing where the target is somebody else's and not known."""
    return f" to {record.target_version}" if record.target_version else ""


def _verifying(_: Observed, record: UpgradeRecord) -> str:
    said = f" ({record.error.message})" if record.error and record.error.message else ""
    return (
        f"the call {_call(record)}{_to(record)} has no clear answer{said}; looking at the "
        "engine before anything else is done"
    )


def _uncertain(o: Observed, record: UpgradeRecord) -> str:
    # The same words from every process, whatever it saw before: two would take turns otherwise.
    latest = o.engine.latest_job_id if o.engine else None
    job = f"job {latest}"
    if o.job is not None and o.job.job_id == latest:
        job += f" ({o.job.type})"
    return (
        f"the answer of the upgrade call{_to(record)} was lost and {job} ran since, "
        "so its effect cannot be known; look at the engine's jobs in the CSE console, then "
        + _RETRY_HINT
    )


def _overdue(o: Observed, record: UpgradeRecord) -> str:
    limit = format_duration(timedelta(seconds=o.wish.timeout.total_seconds()))
    return f"{upgrading(record)}; running for longer than {limit}, still followed"


def _said(record: UpgradeRecord) -> str:
    """What the vendor said, with its status and code, to stand after a clause."""
    error = record.error
    if error is None:
        return ""
    facts = [f"HTTP {error.http_status}"] if error.http_status else []
    if error.code:
        facts.append(error.code)
    said = f": {error.message}" if error.message else ""
    return said + (f" ({', '.join(facts)})" if facts else "")


def _forbidden(_: Observed, record: UpgradeRecord) -> str:
    return (
        f"the credentials may not do the upgrade{_to(record)}{_said(record)}; grant "
        f"cse:engine:upgrade and cse:engine:update, then {_RETRY_HINT}"
    )


def _rejected(_: Observed, record: UpgradeRecord) -> str:
    hint = f"set spec.version to one the engine offers, or {_RETRY_HINT}"
    return f"the vendor refused the upgrade{_to(record)}{_said(record)}; {hint}"


def _failed(_: Observed, record: UpgradeRecord) -> str:
    return _ended_badly(record, "failed")


def _timed_out(_: Observed, record: UpgradeRecord) -> str:
    return _ended_badly(record, "timed out at the vendor")


def _ended_badly(record: UpgradeRecord, how: str) -> str:
    what = f"the upgrade{_to(record)} {how}, job {record.job_id}{_said(record)}"
    return f"{what}; mend the cause, then {_RETRY_HINT}"


def _just_ended(_: Observed, record: UpgradeRecord) -> str:
    what = f"job {record.job_id}" if record.job_id is not None else "an upgrade"
    return f"{what} has ended; waiting for the engine to show its result"


def _follows(_: Observed, record: UpgradeRecord) -> str:
    return upgrading(record)


def _mismatched(o: Observed, record: UpgradeRecord) -> str:
    version = o.engine.version if o.engine else "another version"
    return (
        f"job {record.job_id} is finished, but the engine is at {version} and not at "
        f"{record.target_version}; compare with the CSE console, then {_RETRY_HINT}"
    )


_OF_RECORD: Final[dict[Situation, Callable[[Observed, UpgradeRecord], str]]] = {
    Situation.JOB_RUNS: _follows,
    Situation.JOB_HIDDEN: _follows,
    Situation.JOB_FINISHED_UNSEEN: _follows,
    Situation.JOB_OVERDUE: _overdue,
    Situation.JUST_ENDED: _just_ended,
    Situation.REJECTED: _rejected,
    Situation.FORBIDDEN: _forbidden,
    Situation.FAILED: _failed,
    Situation.TIMED_OUT: _timed_out,
    Situation.MISMATCHED: _mismatched,
    Situation.UPGRADE_DUE: _submitting,
    Situation.UNCHANGED_AND_WANTED: _submitting,
    Situation.RETRY_OFFERED: _submitting,
    Situation.RETRY_UNCHANGED: _submitting,
    Situation.UNCHANGED_IN_GRACE: _verifying,
    Situation.OTHER_JOB: _uncertain,
}
"""What is said of the recorded upgrade; of all else, what is said is about the engine."""
