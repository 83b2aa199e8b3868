"""The words of the state machine: states, situations, effects, and when to look again.

The machine itself is the table in `machine.py`; `situations/` finds the situation that holds.
"""

from __future__ import annotations

from enum import Enum, StrEnum

from cse_operator.api.status import Status


class State(StrEnum):
    """The state of the recorded upgrade; read from the status, so it outlives every process."""

    IDLE = "Idle"
    """Nothing is open: the last upgrade, if any, has its result."""
    UNANSWERED = "Unanswered"
    """An intent is recorded; whether its call took effect is not known."""
    RUNNING = "Running"
    """A job is known and has to be followed to its end."""
    UNREADABLE = "Unreadable"
    """Another build wrote the record, and this build does not understand it."""


def state_of(status: Status) -> State:
    """Return the state of the recorded upgrade."""
    if status.unreadable is not None:
        return State.UNREADABLE
    record = status.upgrade
    if record is None or record.result is not None:
        return State.IDLE
    return State.UNANSWERED if record.job_id is None else State.RUNNING


class Effect(StrEnum):
    """What to do to the outside world, or to ask of it. Only the last two change anything there."""

    NONE = "none"
    LOOK = "look at the engine"
    SHOW_JOB = "look at the job"
    LIST_JOBS = "look at the list of jobs"
    ASK = "ask the policies"
    UPGRADE = "call Upgrade"
    RETRY = "call Retry"

    @property
    def is_look(self) -> bool:
        """Whether the effect only asks."""
        return self in {Effect.LOOK, Effect.SHOW_JOB, Effect.LIST_JOBS, Effect.ASK}

    @property
    def is_call(self) -> bool:
        """Whether the effect changes an engine."""
        return self in {Effect.UPGRADE, Effect.RETRY}


class Requeue(Enum):
    """When to look again if nothing triggers a step earlier."""

    NEVER = "on a trigger"
    POLL = "at the next poll"
    CONFIRM = "in a second"
    WAIT = "in 15 seconds"
    GRACE = "at growing intervals, and right after the grace"
    AFTER_GRACE = "once, after the grace"
    MAY_CALL = "when a call may go out"
    SLOW = "in a minute"
    BACKOFF = "with backoff, up to half a minute"
    RARER = "with backoff, up to five minutes"


class Situation(StrEnum):
    """What an observation shows, given the state: always exactly one situation."""

    # In more than one state
    OTHER_OWNER = "another resource owns the same engine"
    NOT_LOOKED = "the engine was not looked at in this step"
    JOB_NOT_SEEN = "a job has to be looked at first"
    LOOK_TOO_OLD = "a call is due, and the look at the engine is too old for it"
    CALL_NOT_YET = "a call is due, and this process may not call yet"
    OBSERVE_ONLY = "a call is due, and the operator only observes"
    PERMIT_NOT_ASKED = "a call is due, and the policies were not asked"
    ENGINE_GONE = "every look says that there is no such engine any more"
    # Unreadable
    UNREADABLE = "the record was written by another build and cannot be read"
    # Idle
    AT_TARGET = "the engine is Available at the desired version"
    PASSING = "the engine is at the desired version, Ready, and in a state that may pass"
    BEYOND_TARGET = "the engine is beyond the desired version"
    NOT_COMPARABLE = "the two versions cannot be ordered"
    FOREIGN_UPGRADE = "someone else's upgrade runs"
    JUST_ENDED = "a job ended just now, and reads may lag"
    REJECTED = "the upgrade to the desired version was rejected"
    FORBIDDEN = "the call for the desired version was not allowed"
    FAILED = "the job for the desired version failed"
    TIMED_OUT = "the job for the desired version timed out"
    MISMATCHED = "the job for the desired version finished at another version"
    UNCERTAIN = "no effect of the call for the desired version was ever seen"
    ANSWERED = "the upgrade to the desired version ended before, and another job ran since"
    RETRY_OFFERED = "the vendor offers Retry, and a retry is due or requested"
    BUSY = "the engine is doing something else"
    UNAVAILABLE = "the engine is not Available"
    UNUSABLE = "the engine stays unusable until a person acts"
    SUSPENDED = "an upgrade is due, and spec.suspend is true"
    HELD = "a call is due, and a policy says not yet"
    UPGRADE_DUE = "an upgrade is due"
    # Unanswered, right after the call
    CALL_ACCEPTED = "the call was answered with its job"
    CALL_REFUSED = "the call was refused"
    CALL_FORBIDDEN = "the call was not allowed"
    CALL_UNCLEAR = "the call has no answer that says whether it took effect"
    CALL_NOT_SENT = "the call never left this process"
    CALL_HELD = "a policy said not yet before the call left this process"
    CALL_AGAIN_HELD = "a policy said not yet before a further call left this process"
    # Unanswered, later looks
    NEW_JOB = "the engine's latest job fits the intent"
    LISTED_JOB = "a job in the vendor's list fits the intent"
    JOBS_NOT_LISTED = "the vendor's list of jobs was not looked at"
    JOBS_UNREADABLE = "the vendor's list of jobs cannot be read, after the grace"
    REACHED_TARGET = "the engine is at the intent's target, after the grace"
    OTHER_JOB = "another job ran since, or no job tells, after the grace"
    UNCHANGED_IN_GRACE = "no effect of the call is seen, and it may still take effect"
    UNCHANGED_AND_WANTED = "no effect of the call is seen after the grace"
    RETRY_UNCHANGED = "no effect of the Retry call is seen after the grace"
    UNCHANGED_AND_BUSY = "no effect of the call is seen after the grace, and the engine is busy"
    UNCHANGED_AND_UNUSABLE = "no effect of the call is seen after the grace, on an unusable engine"
    UNCHANGED_AND_SUSPENDED = "no effect of the call is seen after the grace, while suspended"
    UNCHANGED_AND_HELD = "no effect of the call is seen after the grace, and a policy says not yet"
    NO_MORE_CALLS = "no effect of the last allowed call is seen after the grace"
    GIVEN_UP = "no effect of the call is seen after the grace, and it is no longer wanted"
    NEVER_SENT = "the call never went out"
    # Running
    JOB_RUNS = "the job runs"
    JOB_OVERDUE = "the job runs for longer than the time-out"
    JOB_FINISHED = "the job is finished and the engine shows it"
    JOB_FINISHED_UNSEEN = "the job is finished and the engine does not show it yet"
    JOB_FINISHED_MISMATCHED = "the job is finished and the engine shows another version"
    JOB_FAILED = "the job failed"
    JOB_TIMED_OUT = "the job timed out"
    JOB_STOPPED = "the vendor no longer runs the job, and its status is not known"
    JOB_IN_DOUBT = "the job shows its old run, and the engine names another job"
    JOB_HIDDEN = "the vendor does not know the job (yet)"
    JOB_VANISHED = "the vendor has not known the job for a grace, and the engine is not upgrading"
