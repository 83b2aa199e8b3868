"""The message of each row in `machine.py`, for people.

No text contains an elapsed duration or a time, so that an unchanged situation writes no status.
Each function takes the observation and the status with the changed record.
"""

from __future__ import annotations

from datetime import timedelta

from cse_operator.api.duration import format_duration
from cse_operator.api.names import RETRY_REQUESTED_AT
from cse_operator.api.status import Status
from cse_operator.api.upgrade_record import Action, UpgradeRecord
from cse_operator.core.failure_messages import why_not_seen
from cse_operator.core.observation import Observation
from cse_operator.core.versions import satisfies

_RETRY_HINT = f"set the annotation {RETRY_REQUESTED_AT} to a new value to try again"


# -- about the record ---------------------------------------------------------------------------


def unreadable(_: Observation, status: Status) -> str:
    """Say that another build wrote the record, so that a person has to act."""
    return (
        f"{status.unreadable}: another version of the operator wrote it, so nothing is called and "
        "nothing is written over it; run that version again, or look at the engine's jobs in the "
        "CSE console and, if none runs, remove status.upgrade "
        "(docs/reference/reasons.md#unreadablestatus)"
    )


def submitting(_: Observation, status: Status) -> str:
    """Say that the recorded call goes out."""
    record = _record(status)
    again = f", call {record.attempts}" if record.attempts > 1 else ""
    return f"calling {_call(record)} from {record.from_version}{_to(record)}{again}"


def verifying(_: Observation, status: Status) -> str:
    """Say that a call has no clear answer."""
    record = _record(status)
    return (
        f"the call {_call(record)}{_to(record)} has no clear answer{_in_words(record)}; looking at "
        "the engine before anything else is done"
    )


def jobs_unreadable(o: Observation, status: Status) -> str:
    """Say that the list which may contain the lost job cannot be read."""
    record, failure = _record(status), o.jobs_failure
    said = f" ({failure.sentence()})" if failure else ""
    return (
        f"the answer of the call {_call(record)}{_to(record)} was lost, and the engine's list of "
        f"jobs, which may contain its job, cannot be read{said}; the call is not made again before "
        f"the list is read, unless you {_RETRY_HINT}"
    )


def called_again_later(o: Observation, status: Status) -> str:
    """Say that a call had no visible effect, and the engine is busy."""
    record = _record(status)
    return (
        f"the call {_call(record)}{_to(record)} had no visible effect, and the engine is "
        f"{o.seen_engine.status}; the call is made again when the engine is Available"
    )


def called_again_on_resume(_: Observation, status: Status) -> str:
    """Say that a call had no visible effect, and the resource is suspended."""
    record = _record(status)
    return (
        f"the call {_call(record)}{_to(record)} had no visible effect; it is made again when "
        "spec.suspend is false"
    )


def observes_a_lost_answer(o: Observation, status: Status) -> str:
    """Say that a call had no visible effect, and that no call may be made now."""
    record = _record(status)
    seen = f"the call {_call(record)}{_to(record)} had no visible effect"
    if o.deleting:
        return f"{seen}; it is not made again, because the resource is being deleted"
    return (
        f"{seen}; the operator only observes (--observe-only), and makes the call again when it "
        "runs without this option"
    )


def no_effect_seen(_: Observation, status: Status) -> str:
    """Say that no call had a visible effect and that no further call is made."""
    record = _record(status)
    times = f" after {record.attempts} calls" if record.attempts > 1 else ""
    return (
        f"the call {_call(record)}{_to(record)} has no clear answer{_in_words(record)}, and no "
        f"effect is seen{times}; look at the engine's jobs in the CSE console, then {_RETRY_HINT}"
    )


def uncertain(o: Observation, status: Status) -> str:
    """Say that the answer was lost, and that the jobs do not tell what became of the call.

    Every process writes the same words, whatever it saw before. Otherwise two processes would
    overwrite each other's message in turn.
    """
    record, latest = _record(status), o.engine.latest_job_id if o.engine else None
    job = o.shown_job(latest)
    kind = f" ({job.type})" if job is not None else ""
    if latest is None:
        finds = "the vendor names no job"
    elif latest == record.baseline_job_id:
        finds = f"nothing shows whether job {latest}{kind} ran again"
    else:
        finds = f"job {latest}{kind} ran since"
    return (
        f"the answer of the call {_call(record)}{_to(record)} was lost and {finds}, so the call's "
        "effect cannot be known; look at the engine's jobs in the CSE console, then "
        f"{_RETRY_HINT}"
    )


def follows(_: Observation, status: Status) -> str:
    """Say which job runs, and its progress if that is known."""
    record = _record(status)
    if record.action is Action.ADOPTED:
        return f"following job {record.job_id}, an upgrade that someone else started"
    text = f"upgrading from {record.from_version}{_to(record)}, job {record.job_id}"
    if record.retries:
        text += f" (retry {record.retries})"
    if record.progress and record.progress.total:
        done = f"{record.progress.completed} of {record.progress.total} steps done"
        text += f", {done}" + (f", now {record.progress.step}" if record.progress.step else "")
    return text


def overdue(o: Observation, status: Status) -> str:
    """Say that the job has run for longer than the time-out."""
    limit = format_duration(timedelta(seconds=o.desired.timeout.total_seconds()))
    return f"{follows(o, status)}; running for longer than {limit}, still followed"


def just_ended(_: Observation, status: Status) -> str:
    """Say that a job has ended and that the engine may not show its result yet."""
    job_id = status.upgrade.job_id if status.upgrade else None
    what = f"job {job_id}" if job_id is not None else "an upgrade"
    return f"{what} has ended; waiting for the engine to show its result"


def forbidden(_: Observation, status: Status) -> str:
    """Say that the credentials lack the right to the call."""
    record = _record(status)
    return (
        f"the credentials may not do the upgrade{_to(record)}{_said(record)}; grant cse:engine:"
        "upgrade and update, or set enterpriseProjectId where these are granted in one enterprise "
        f"project only, then {_RETRY_HINT}"
    )


def rejected(_: Observation, status: Status) -> str:
    """Say that the vendor refused the call."""
    record = _record(status)
    hint = f"set spec.version to one the engine offers, or {_RETRY_HINT}"
    return f"the vendor refused the upgrade{_to(record)}{_said(record)}; {hint}"


def failed(_: Observation, status: Status) -> str:
    """Say that the job failed."""
    return _ended_badly(_record(status), "failed")


def timed_out(_: Observation, status: Status) -> str:
    """Say that the vendor ended the job by the vendor's own time-out."""
    return _ended_badly(_record(status), "timed out at the vendor")


def mismatched(o: Observation, status: Status) -> str:
    """Say that the job finished and the engine is at another version."""
    record = _record(status)
    version = o.engine.version if o.engine else "another version"
    what = f"job {record.job_id} is finished" if record.job_id else "the upgrade succeeded"
    return (
        f"{what}, but the engine is at {version} and not at {o.desired.version}; compare with the "
        f"CSE console, then {_RETRY_HINT}"
    )


def answered(o: Observation, _: Status) -> str:
    """Say that the upgrade to the desired version ended and another job ran since."""
    return (
        f"the upgrade to {o.desired.version} was called before and ended, and another job ran "
        f"since; compare with the CSE console, then {_RETRY_HINT}"
    )


# -- about the engine ---------------------------------------------------------------------------


def other_owner(o: Observation, _: Status) -> str:
    """Say that another resource drives the engine; name it only in its own namespace."""
    owner = o.other_owner
    if owner is not None and owner.name:
        seen = "which is older" if owner.older else "which sees the engine with its credentials"
        why = "which has an upgrade under way" if owner.upgrading else seen
        other = f"{owner.name}, {why},"
    else:
        # A tenant learns nothing about another namespace.
        other = "a resource in another namespace"
    return f"{other} manages the same engine; delete one of the two (no engine is touched)"


def at_target(o: Observation, _: Status) -> str:
    """Say that the engine is at the desired version or a later patch of it."""
    version, wanted = _version(o), o.desired.version
    patch = "" if version == wanted else f", a later patch of {wanted}"
    # People should not wonder why the next version starts no upgrade.
    return f"engine is at {version}{patch}" + ("; suspended" if o.desired.suspend else "")


def beyond_target(o: Observation, _: Status) -> str:
    """Say that the engine is beyond the desired version, and versions cannot go back."""
    version = _version(o)
    return (
        f"engine is at {version}, beyond the desired {o.desired.version}, and versions cannot go "
        f"back; set spec.version to {version} or higher"
    )


def not_comparable(o: Observation, _: Status) -> str:
    """Say that the operator cannot know which of the two versions is later."""
    engine = o.seen_engine
    offered = f" (the vendor's latest is {engine.latest_version})" if engine.latest_version else ""
    return (
        f"engine is at {engine.version}, which cannot be ordered with the desired "
        f"{o.desired.version}, so nothing is called{offered}; set spec.version to "
        f"{engine.version}, or to a later version in numbers only; to call the vendor's latest all "
        f"the same, set spec.version to it and the annotation {RETRY_REQUESTED_AT} to a new value"
    )


def not_yet(o: Observation, _: Status) -> str:
    """Say that a call is due, and that another one may still be on its way."""
    return (
        f"engine is at {_version(o)}; the upgrade to {o.desired.version} is called soon: the "
        "operator waits until no call of another process or resource can be on its way"
    )


def observes(o: Observation, _: Status) -> str:
    """Say that a call is due, and that no call may be made now."""
    due = f"engine is at {_version(o)}; the upgrade to {o.desired.version} is not called, because "
    if o.deleting:
        return f"{due}the resource is being deleted"
    return (
        f"{due}the operator only observes (--observe-only); it is called when the operator runs "
        "without this option"
    )


def suspended(o: Observation, _: Status) -> str:
    """Say that the upgrade waits because a person suspended the resource."""
    return (
        f"engine is at {_version(o)}; the upgrade to {o.desired.version} waits until "
        "spec.suspend is false"
    )


def busy(o: Observation, _: Status) -> str:
    """Say that the engine is busy with something else."""
    return f"engine is {_status(o)} at {_version(o)}{_waits(o)}"


def unusable(o: Observation, _: Status) -> str:
    """Say that the engine needs its owner."""
    return f"engine is {_status(o)} at {_version(o)}; look at it in the CSE console{_waits(o)}"


def unavailable(o: Observation, _: Status) -> str:
    """Say that the engine is not Available."""
    return f"engine is {_status(o)} at {_version(o)}; waiting for it to be Available"


def engine_gone(o: Observation, _: Status) -> str:
    """Say that the engine of an open record cannot be seen any more."""
    return why_not_seen(o.failure) if o.failure else "there is no such engine any more"


# -- words --------------------------------------------------------------------------------------


def _record(status: Status) -> UpgradeRecord:
    if status.upgrade is None:
        raise ValueError("there is no record to speak of")
    return status.upgrade


def _version(o: Observation) -> str:
    return o.seen_engine.version


def _status(o: Observation) -> str:
    return o.seen_engine.status or "in no status"


def _waits(o: Observation) -> str:
    """Return a clause on the waiting upgrade; empty if the engine has the desired version."""
    if satisfies(_version(o), o.desired.version):
        return ""
    return f"; the upgrade to {o.desired.version} waits until it is Available"


def _call(record: UpgradeRecord) -> str:
    return "Retry" if record.action is Action.RETRY else "Upgrade"


def _to(record: UpgradeRecord) -> str:
    """Return a phrase with the target; empty if it is not known, as for somebody else's job."""
    return f" to {record.target_version}" if record.target_version else ""


def _in_words(record: UpgradeRecord) -> str:
    return f" ({record.error.message})" if record.error and record.error.message else ""


def _said(record: UpgradeRecord) -> str:
    """Return a suffix with the vendor's message, HTTP status and code; empty without an error."""
    error = record.error
    if error is None:
        return ""
    facts = [f"HTTP {error.http_status}"] if error.http_status else []
    if error.code:
        facts.append(error.code)
    said = f": {error.message}" if error.message else ""
    return said + (f" ({', '.join(facts)})" if facts else "")


def _ended_badly(record: UpgradeRecord, how: str) -> str:
    what = f"the upgrade{_to(record)} {how}, job {record.job_id}{_said(record)}"
    return f"{what}; fix the cause, then {_RETRY_HINT}"
