"""Each row of the table of states is reached by a named scenario."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from cse_operator.api.reasons import Reason
from cse_operator.api.status_reader import read_status
from cse_operator.api.upgrade_record import Action, CallError, Result
from cse_operator.core import decide as decide_module
from cse_operator.core import machine
from cse_operator.core.decide import Decision, after_call, decide
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.machine import TRANSITIONS, BrokenRowError, apply
from cse_operator.core.observation import Observation, Owner
from cse_operator.core.permit import ALLOWED, Held, Hold
from cse_operator.core.states import Effect, Situation, State, state_of
from cse_operator.core.views import Accepted
from support.observations import (
    BUSY,
    LIMITS,
    LOST,
    REFUSED,
    at,
    desired,
    ended,
    engine,
    failed_engine,
    failure,
    intent_of_retry,
    job,
    observed,
    ready_conditions,
    record,
    running,
    status,
    unreadable,
)

I, U, R, X = State.IDLE, State.UNANSWERED, State.RUNNING, State.UNREADABLE  # noqa: E741
S = Situation
Row = tuple[State, Situation]

BUSY_ANSWER = CallError(kind=FailureKind.BUSY, code="SVCSTG.00501117", message="is Modifying")
DENIED = CallError(kind=FailureKind.FORBIDDEN, code="APIGW.0302", message="not allowed")
GONE = failure(FailureKind.NOT_FOUND)
LONG_GONE = {"failure": GONE, "failures": 3, "not_found_for": 60.0, "engine": None}
READY = {"observed_generation": 3, "conditions": ready_conditions()}
"""Return a status that says Ready for the present spec."""
NOT_YET = Held((Hold(Reason.CHANGE_FREEZE, None),), "a freeze")
FINISHED = {"status": "Finished", "ended_at": at(-5)}


@dataclass(frozen=True)
class Scenario:
    """An observation, the rows of the table that it leads through, and the result."""

    seen: Observation
    rows: tuple[Row, ...]
    reason: Reason | None
    effect: Effect = Effect.NONE
    answer: Accepted | Failure | Held | None = None
    """The answer to the call, if the scenario is about an answer."""


SCENARIOS: dict[str, Scenario] = {
    # -- held by a policy ------------------------------------------------------------------------
    "an upgrade is due, and the policies were not asked": Scenario(
        observed(permit=None), ((I, S.PERMIT_NOT_ASKED),), None, Effect.ASK
    ),
    "an upgrade is due, and a policy says not yet": Scenario(
        observed(permit=NOT_YET), ((I, S.HELD),), Reason.CHANGE_FREEZE
    ),
    "a retry is due, and a policy says not yet": Scenario(
        observed(
            ended(Result.FAILED, own_job=True, retry_due=True),
            engine=failed_engine(),
            permit=NOT_YET,
        ),
        ((I, S.HELD),),
        Reason.CHANGE_FREEZE,
    ),
    "a policy closes right before the call": Scenario(
        observed(record(), permit=ALLOWED),
        ((U, S.CALL_HELD),),
        Reason.CHANGE_FREEZE,
        answer=NOT_YET,
    ),
    "a policy closes right before a call is made again": Scenario(
        observed(record(attempts=2)),
        ((U, S.CALL_AGAIN_HELD),),
        Reason.CHANGE_FREEZE,
        answer=NOT_YET,
    ),
    "a call is to be made again, and the policies were not asked": Scenario(
        observed(record(), known_for=36.0, jobs=(), permit=None),
        ((U, S.PERMIT_NOT_ASKED),),
        None,
        Effect.ASK,
    ),
    "a call is to be made again, and a policy says not yet": Scenario(
        observed(record(), known_for=36.0, jobs=(), permit=NOT_YET),
        ((U, S.UNCHANGED_AND_HELD),),
        Reason.CHANGE_FREEZE,
    ),
    # -- Idle -----------------------------------------------------------------------------------
    "another resource drives the engine": Scenario(
        observed(other_owner=Owner("first")), ((I, S.OTHER_OWNER),), Reason.ENGINE_ALREADY_MANAGED
    ),
    "nobody looked yet": Scenario(observed(engine=None), ((I, S.NOT_LOOKED),), None, Effect.LOOK),
    "a person asks for a look": Scenario(
        observed(engine=None, desired=desired(reconcile_request="now")),
        ((I, S.NOT_LOOKED),),
        None,
        Effect.LOOK,
    ),
    "an upgrade would be decided on an old look": Scenario(
        observed(engine=None), ((I, S.NOT_LOOKED),), None, Effect.LOOK
    ),
    "the engine upgrades again under the job that ended": Scenario(
        observed(ended(Result.FAILED), engine=engine(status="Upgrading", latest_job_id=101)),
        ((I, S.JOB_NOT_SEEN),),
        None,
        Effect.SHOW_JOB,
    ),
    "the engine is at the wanted version": Scenario(
        observed(engine=engine(version="2.4.0")), ((I, S.AT_TARGET),), Reason.UP_TO_DATE
    ),
    "the vendor patched the engine past the wanted version": Scenario(
        observed(engine=engine(version="2.4.7")), ((I, S.AT_TARGET),), Reason.UP_TO_DATE
    ),
    "the wanted version is lower than the engine's": Scenario(
        observed(engine=engine(version="2.5.0")),
        ((I, S.BEYOND_TARGET),),
        Reason.DOWNGRADE_NOT_SUPPORTED,
    ),
    "somebody upgrades in the console": Scenario(
        observed(engine=engine(status="Upgrading", latest_job_id=101)),
        ((I, S.JOB_NOT_SEEN),),
        None,
        Effect.SHOW_JOB,
    ),
    "the vendor upgrades what is well, which may pass": Scenario(
        observed(
            status=status(**READY),
            engine=engine(version="2.4.0", status="Upgrading", latest_job_id=101),
            passing_looks=2,
        ),
        ((I, S.PASSING),),
        Reason.UP_TO_DATE,
    ),
    "the engine at its target is shown as Modifying for the third time": Scenario(
        observed(
            status=status(**READY),
            engine=engine(version="2.4.0", status="Modifying"),
            passing_looks=3,
        ),
        ((I, S.BUSY),),
        Reason.ENGINE_BUSY,
    ),
    "the engine at its target is Frozen": Scenario(
        observed(
            status=status(**READY),
            engine=engine(version="2.4.0", status="Frozen"),
            passing_looks=1,
        ),
        ((I, S.UNUSABLE),),
        Reason.ENGINE_UNUSABLE,
    ),
    "the engine that upgrades shows an old job that has ended": Scenario(
        observed(
            engine=engine(status="Upgrading", latest_job_id=7),
            job=job(job_id=7, status="Error", started_at=at(-9e6), ended_at=at(-8.9e6)),
        ),
        ((I, S.BUSY),),
        Reason.ENGINE_BUSY,
    ),
    "an own job failed, and the engine shows the target and UpgradeFailed": Scenario(
        observed(ended(Result.FAILED), engine=failed_engine(version="2.4.0")),
        ((I, S.FAILED),),
        Reason.UPGRADE_FAILED,
    ),
    "the engine was hot-fixed to a version that cannot be ordered": Scenario(
        observed(status=status(settled_versions=("2.4.0",)), engine=engine(version="2.4.0-sp1")),
        ((I, S.NOT_COMPARABLE),),
        Reason.VERSION_NOT_COMPARABLE,
    ),
    "the upgrade to another version ended, and another job ran since": Scenario(
        observed(
            ended(
                Result.FAILED,
                action=Action.ADOPTED,
                wanted_version="2.5.0",
                answered_versions=("2.4.0",),
            )
        ),
        ((I, S.ANSWERED),),
        Reason.RETRY_REQUIRED,
    ),
    "no effect of the call for this version was ever seen": Scenario(
        observed(ended(Result.UNKNOWN, job_id=None, baseline_job_id=100)),
        ((I, S.UNCERTAIN),),
        Reason.OUTCOME_UNCERTAIN,
    ),
    "the process may not call yet": Scenario(
        observed(may_call_in=20.0), ((I, S.CALL_NOT_YET),), Reason.WAITING_TO_CALL
    ),
    "the operator only observes, and an upgrade is due": Scenario(
        observed(observes_only=True), ((I, S.OBSERVE_ONLY),), Reason.OBSERVE_ONLY
    ),
    "the look is too old for a call": Scenario(
        observed(engine_age=16.0), ((I, S.LOOK_TOO_OLD),), None
    ),
    "somebody upgrades while the resource is suspended": Scenario(
        observed(
            engine=engine(status="Upgrading", latest_job_id=101),
            desired=desired(suspend=True),
            job=job(),
        ),
        ((I, S.FOREIGN_UPGRADE), (R, S.JOB_RUNS)),
        Reason.UPGRADING,
    ),
    "a refused call had been delivered twice, and its job ended": Scenario(
        observed(
            ended(Result.REJECTED, 60),
            engine=failed_engine(),
            job=job(status="Error", ended_at=at(-5)),
        ),
        ((I, S.FOREIGN_UPGRADE), (R, S.JOB_FAILED), (I, S.FAILED)),
        Reason.UPGRADE_FAILED,
    ),
    "a look shows the engine as before the upgrade that just ended": Scenario(
        observed(ended(Result.SUCCEEDED, 5)), ((I, S.JUST_ENDED),), Reason.UPGRADING
    ),
    "the spec changes while looks may be from before the end": Scenario(
        observed(ended(Result.SUCCEEDED, 5), desired=desired(generation=4)),
        ((I, S.JUST_ENDED),),
        Reason.UPGRADING,
    ),
    "the failed job's end is not shown by the engine yet": Scenario(
        observed(ended(Result.FAILED, 5), engine=engine(status="Upgrading", latest_job_id=101)),
        ((I, S.JUST_ENDED),),
        Reason.UPGRADING,
    ),
    "the vendor refused this version": Scenario(
        observed(ended(Result.REJECTED)), ((I, S.REJECTED),), Reason.UPGRADE_REJECTED
    ),
    "the credentials may not do the call": Scenario(
        observed(ended(Result.REJECTED, error=DENIED)),
        ((I, S.FORBIDDEN),),
        Reason.PERMISSION_DENIED,
    ),
    "the job for this version failed": Scenario(
        observed(ended(Result.FAILED)), ((I, S.FAILED),), Reason.UPGRADE_FAILED
    ),
    "the job for this version timed out": Scenario(
        observed(ended(Result.TIMED_OUT)), ((I, S.TIMED_OUT),), Reason.UPGRADE_TIMED_OUT
    ),
    "the job finished long ago and the engine is elsewhere": Scenario(
        observed(ended(Result.SUCCEEDED), engine=engine(latest_job_id=101)),
        ((I, S.MISMATCHED),),
        Reason.VERSION_MISMATCH,
    ),
    "a failed job may be retried": Scenario(
        observed(ended(Result.FAILED, retry_due=True), engine=failed_engine()),
        ((I, S.RETRY_OFFERED),),
        Reason.SUBMITTING,
        Effect.RETRY,
    ),
    "a person asks for a retry of somebody else's failed job": Scenario(
        observed(engine=failed_engine(), desired=desired(retry_request="now")),
        ((I, S.RETRY_OFFERED),),
        Reason.SUBMITTING,
        Effect.RETRY,
    ),
    "the retries are used up": Scenario(
        observed(ended(Result.FAILED, retries=1), engine=failed_engine()),
        ((I, S.FAILED),),
        Reason.UPGRADE_FAILED,
    ),
    "the engine is being changed": Scenario(
        observed(engine=engine(status="Modifying")), ((I, S.BUSY),), Reason.ENGINE_BUSY
    ),
    "the engine upgrades without a job that shows it": Scenario(
        observed(engine=engine(status="Upgrading", latest_job_id=None)),
        ((I, S.BUSY),),
        Reason.ENGINE_BUSY,
    ),
    "the engine upgrades and its job is over for long": Scenario(
        observed(
            ended(Result.FAILED),
            engine=engine(status="Upgrading", latest_job_id=101),
            job=job(status="Error", ended_at=at(-3600)),
        ),
        ((I, S.BUSY),),
        Reason.ENGINE_BUSY,
    ),
    "the engine is in a state nobody knows": Scenario(
        observed(engine=engine(status="Meditating")),
        ((I, S.UNAVAILABLE),),
        Reason.ENGINE_UNAVAILABLE,
    ),
    "a listing does not say the engine's version": Scenario(
        observed(engine=engine(version="")), ((I, S.UNAVAILABLE),), Reason.ENGINE_UNAVAILABLE
    ),
    "the engine is frozen": Scenario(
        observed(engine=engine(status="Freezed")), ((I, S.UNUSABLE),), Reason.ENGINE_UNUSABLE
    ),
    "somebody else's upgrade failed": Scenario(
        observed(engine=failed_engine()), ((I, S.UNUSABLE),), Reason.ENGINE_UNUSABLE
    ),
    "an upgrade is due and the resource is suspended": Scenario(
        observed(desired=desired(suspend=True)), ((I, S.SUSPENDED),), Reason.SUSPENDED
    ),
    "an upgrade is due": Scenario(
        observed(), ((I, S.UPGRADE_DUE),), Reason.SUBMITTING, Effect.UPGRADE
    ),
    "a new version with letters is called when it is the vendor's latest": Scenario(
        observed(desired=desired(version="2.4.0-rc1"), engine=engine(latest_version="2.4.0-rc1")),
        ((I, S.UPGRADE_DUE),),
        Reason.SUBMITTING,
        Effect.UPGRADE,
    ),
    "a version with letters is not called at rest": Scenario(
        observed(
            status=status(settled_versions=("2.4.0-rc1",)),
            desired=desired(version="2.4.0-rc1"),
            engine=engine(latest_version="2.4.0-rc1"),
        ),
        ((I, S.NOT_COMPARABLE),),
        Reason.VERSION_NOT_COMPARABLE,
    ),
    "a refused upgrade has another version": Scenario(
        observed(ended(Result.REJECTED), desired=desired(generation=4, version="2.5.0")),
        ((I, S.UPGRADE_DUE),),
        Reason.SUBMITTING,
        Effect.UPGRADE,
    ),
    "a refused upgrade has another time-out": Scenario(
        observed(ended(Result.REJECTED), desired=desired(generation=4)),
        ((I, S.REJECTED),),
        Reason.UPGRADE_REJECTED,
    ),
    # -- Unanswered -----------------------------------------------------------------------------
    "another resource drives the engine while an answer is missing": Scenario(
        observed(record(), other_owner=Owner(None)),
        ((U, S.OTHER_OWNER),),
        Reason.ENGINE_ALREADY_MANAGED,
    ),
    "the operator comes back to an intent": Scenario(
        observed(record(), engine=None),
        ((U, S.NOT_LOOKED),),
        None,
        Effect.LOOK,
    ),
    "the engine names a new job": Scenario(
        observed(record(), engine=engine(status="Upgrading", latest_job_id=101)),
        ((U, S.JOB_NOT_SEEN),),
        None,
        Effect.SHOW_JOB,
    ),
    "the lost answer's job is found": Scenario(
        observed(record(), engine=engine(status="Upgrading", latest_job_id=101), job=job()),
        ((U, S.NEW_JOB), (R, S.JOB_RUNS)),
        Reason.UPGRADING,
    ),
    "the lost answer's job is found when it is over": Scenario(
        observed(
            record(),
            engine=engine(version="2.4.0", latest_job_id=101),
            job=job(**FINISHED),
        ),
        ((U, S.NEW_JOB), (R, S.JOB_FINISHED), (I, S.AT_TARGET)),
        Reason.UP_TO_DATE,
    ),
    "the engine is at the target without a job": Scenario(
        observed(record(), engine=engine(version="2.4.0"), known_for=60, jobs=()),
        ((U, S.REACHED_TARGET), (I, S.AT_TARGET)),
        Reason.UP_TO_DATE,
    ),
    "the lost answer's job is in the vendor's list": Scenario(
        observed(
            record(),
            engine=engine(latest_job_id=102),
            job=job(job_id=102, type="Modify"),
            jobs=(job(started_at=at(-4)), job(job_id=102, type="Modify")),
        ),
        ((U, S.LISTED_JOB), (R, S.JOB_RUNS)),
        Reason.UPGRADING,
    ),
    "another job ran since, and the list of jobs was not looked at": Scenario(
        observed(record(), engine=engine(latest_job_id=102), job=job(job_id=102, type="Modify")),
        ((U, S.JOBS_NOT_LISTED),),
        None,
        Effect.LIST_JOBS,
    ),
    "the grace is over, and the list of jobs was not looked at": Scenario(
        observed(record(), known_for=36), ((U, S.JOBS_NOT_LISTED),), None, Effect.LIST_JOBS
    ),
    "the grace is over, and the list of jobs cannot be read": Scenario(
        observed(record(), known_for=36, jobs_failure=failure(FailureKind.TRANSIENT)),
        ((U, S.JOBS_UNREADABLE),),
        Reason.VERIFYING_OUTCOME,
    ),
    "another kind of job ran since": Scenario(
        observed(
            record(),
            engine=engine(latest_job_id=101),
            job=job(type="Modify", **FINISHED),
            jobs=(),
            known_for=60,
        ),
        ((U, S.OTHER_JOB),),
        Reason.OUTCOME_UNCERTAIN,
    ),
    "the vendor does not show the job that a lost Retry may have run again": Scenario(
        observed(intent_of_retry(), engine=failed_engine(), missing_job=101, known_for=36, jobs=()),
        ((U, S.OTHER_JOB),),
        Reason.OUTCOME_UNCERTAIN,
    ),
    "nothing names a job, before the call or after it": Scenario(
        observed(
            record(baseline_job_id=None), engine=engine(latest_job_id=None), known_for=36, jobs=()
        ),
        ((U, S.OTHER_JOB),),
        Reason.OUTCOME_UNCERTAIN,
    ),
    "nothing names a job, and a person asks for the call": Scenario(
        observed(
            record(baseline_job_id=None),
            engine=engine(latest_job_id=None),
            known_for=36,
            jobs=(),
            desired=desired(retry_request="9:00"),
        ),
        ((U, S.UNCHANGED_AND_WANTED),),
        Reason.SUBMITTING,
        Effect.UPGRADE,
    ),
    "nothing names a job, and the engine upgrades": Scenario(
        observed(
            record(baseline_job_id=None),
            engine=engine(status="Upgrading", latest_job_id=None),
            known_for=36,
            jobs=(),
        ),
        ((U, S.UNCHANGED_AND_BUSY),),
        Reason.ENGINE_BUSY,
    ),
    "nothing names a job, because the list cannot be read": Scenario(
        observed(
            record(baseline_job_id=None),
            engine=engine(latest_job_id=None),
            known_for=36,
            jobs_failure=failure(FailureKind.TRANSIENT),
        ),
        ((U, S.JOBS_UNREADABLE),),
        Reason.VERIFYING_OUTCOME,
    ),
    "the job of a lost Retry is not shown, and the engine offers no Retry any more": Scenario(
        observed(
            intent_of_retry(),
            engine=engine(latest_job_id=101),
            missing_job=101,
            known_for=36,
            jobs=(),
        ),
        ((U, S.GIVEN_UP), (I, S.UNCERTAIN)),
        Reason.OUTCOME_UNCERTAIN,
    ),
    "the engine names no job, and the list shows that none ran since": Scenario(
        observed(
            record(baseline_job_id=None),
            engine=engine(latest_job_id=None),
            known_for=36,
            jobs=(job(job_id=100, started_at=at(-9000), status="Finished"),),
        ),
        ((U, S.UNCHANGED_AND_WANTED),),
        Reason.SUBMITTING,
        Effect.UPGRADE,
    ),
    "the vendor forgot the job that ran since": Scenario(
        observed(
            record(), engine=engine(latest_job_id=101), missing_job=101, known_for=60, jobs=()
        ),
        ((U, S.OTHER_JOB),),
        Reason.OUTCOME_UNCERTAIN,
    ),
    "the call was refused because of another job": Scenario(
        observed(
            record(error=BUSY_ANSWER),
            engine=engine(status="Modifying", latest_job_id=101),
            job=job(type="Modify"),
            jobs=(),
            known_for=60,
        ),
        ((U, S.OTHER_JOB),),
        Reason.OUTCOME_UNCERTAIN,
    ),
    "nothing is seen of the call yet": Scenario(
        observed(record()), ((U, S.UNCHANGED_IN_GRACE),), Reason.VERIFYING_OUTCOME
    ),
    "the engine is at the target and the call may still arrive": Scenario(
        observed(record(), engine=engine(version="2.4.0")),
        ((U, S.UNCHANGED_IN_GRACE),),
        Reason.VERIFYING_OUTCOME,
    ),
    "the engine upgrades without showing the job": Scenario(
        observed(record(), engine=engine(status="Upgrading"), known_for=600, jobs=()),
        ((U, S.UNCHANGED_AND_BUSY),),
        Reason.ENGINE_BUSY,
    ),
    "nothing was seen of the call for the whole grace": Scenario(
        observed(record(), known_for=36, jobs=()),
        ((U, S.UNCHANGED_AND_WANTED),),
        Reason.SUBMITTING,
        Effect.UPGRADE,
    ),
    "the vendor's clock says that the grace is over": Scenario(
        observed(record(), engine=engine(observed_at=at(40)), jobs=()),
        ((U, S.UNCHANGED_AND_WANTED),),
        Reason.SUBMITTING,
        Effect.UPGRADE,
    ),
    "the vendor's clock may be ahead of the intent by the look before it": Scenario(
        observed(record(), engine=engine(observed_at=at(39))),
        ((U, S.UNCHANGED_IN_GRACE),),
        Reason.VERIFYING_OUTCOME,
    ),
    "the vendor's clock jumps, and the one who wrote the intent has a clock of its own": Scenario(
        observed(record(), engine=engine(observed_at=at(600)), wrote_intent=True, known_for=34),
        ((U, S.UNCHANGED_IN_GRACE),),
        Reason.VERIFYING_OUTCOME,
    ),
    "an older job ran that the first look did not show": Scenario(
        observed(
            record(),
            engine=engine(latest_job_id=101),
            job=job(status="Error", started_at=at(-100), ended_at=at(-60)),
            jobs=(),
            known_for=36,
        ),
        ((U, S.OTHER_JOB),),
        Reason.OUTCOME_UNCERTAIN,
    ),
    "another job ran than the one to be retried": Scenario(
        observed(
            intent_of_retry(),
            engine=failed_engine(latest_job_id=102),
            job=job(job_id=102, status="Error", started_at=at(-100), ended_at=at(-60)),
            jobs=(),
            known_for=36,
        ),
        ((U, S.OTHER_JOB),),
        Reason.OUTCOME_UNCERTAIN,
    ),
    "the call certainly did not go out": Scenario(
        observed(record(attempts=0)),
        ((U, S.NEVER_SENT), (I, S.UPGRADE_DUE)),
        Reason.SUBMITTING,
        Effect.UPGRADE,
    ),
    "nothing was seen of the Retry for the whole grace": Scenario(
        observed(intent_of_retry(), engine=failed_engine(), known_for=36),
        ((U, S.JOB_NOT_SEEN),),
        None,
        Effect.SHOW_JOB,
    ),
    "the Retry's job still shows its old end": Scenario(
        observed(
            intent_of_retry(),
            engine=failed_engine(),
            job=job(status="Error", ended_at=at(-300)),
            jobs=(),
            known_for=36,
        ),
        ((U, S.RETRY_UNCHANGED),),
        Reason.SUBMITTING,
        Effect.RETRY,
    ),
    "the desired version changed while the answer was missing": Scenario(
        observed(record(), desired=desired(generation=4, version="2.5.0"), known_for=36, jobs=()),
        ((U, S.GIVEN_UP), (I, S.UPGRADE_DUE)),
        Reason.SUBMITTING,
        Effect.UPGRADE,
    ),
    "the engine moved beyond the target while the answer was missing": Scenario(
        observed(record(), engine=engine(version="2.5.0"), known_for=36, jobs=()),
        ((U, S.GIVEN_UP), (I, S.BEYOND_TARGET)),
        Reason.DOWNGRADE_NOT_SUPPORTED,
    ),
    "the resource was suspended while the answer was missing": Scenario(
        observed(record(), desired=desired(generation=4, suspend=True), known_for=36, jobs=()),
        ((U, S.UNCHANGED_AND_SUSPENDED),),
        Reason.SUSPENDED,
    ),
    "the engine was frozen while the answer was missing": Scenario(
        observed(record(), engine=engine(status="Frozen"), known_for=36, jobs=()),
        ((U, S.UNCHANGED_AND_UNUSABLE),),
        Reason.ENGINE_UNUSABLE,
    ),
    "two calls more had no effect either": Scenario(
        observed(record(attempts=3), known_for=36 * 4, jobs=()),
        ((U, S.NO_MORE_CALLS),),
        Reason.OUTCOME_UNCERTAIN,
    ),
    "the process may not call again yet": Scenario(
        observed(record(), known_for=36, jobs=(), may_call_in=20.0),
        ((U, S.CALL_NOT_YET),),
        Reason.VERIFYING_OUTCOME,
    ),
    "the operator only observes, and a call had no effect": Scenario(
        observed(record(), known_for=36, jobs=(), observes_only=True),
        ((U, S.OBSERVE_ONLY),),
        Reason.OBSERVE_ONLY,
    ),
    "the look is too old for a call again": Scenario(
        observed(record(), known_for=36, jobs=(), engine_age=16.0), ((U, S.LOOK_TOO_OLD),), None
    ),
    "the engine of an intent was deleted": Scenario(
        observed(record(), **LONG_GONE), ((U, S.ENGINE_GONE),), Reason.ENGINE_NOT_FOUND
    ),
    "the call is accepted": Scenario(
        observed(record()),
        ((U, S.CALL_ACCEPTED),),
        Reason.UPGRADING,
        answer=Accepted("engine-1", "test", 101),
    ),
    "the call is refused": Scenario(
        observed(record()), ((U, S.CALL_REFUSED),), Reason.UPGRADE_REJECTED, answer=REFUSED
    ),
    "the call is not allowed": Scenario(
        observed(record()),
        ((U, S.CALL_FORBIDDEN),),
        Reason.PERMISSION_DENIED,
        answer=failure(FailureKind.FORBIDDEN),
    ),
    "the call has no answer": Scenario(
        observed(record()), ((U, S.CALL_UNCLEAR),), Reason.VERIFYING_OUTCOME, answer=LOST
    ),
    "the call is answered as busy": Scenario(
        observed(record()), ((U, S.CALL_UNCLEAR),), Reason.VERIFYING_OUTCOME, answer=BUSY
    ),
    "the call is never sent": Scenario(
        observed(record()),
        ((U, S.CALL_NOT_SENT),),
        Reason.CLOUD_UNAVAILABLE,
        answer=failure(FailureKind.NOT_SENT),
    ),
    "an older job that the first look did not show runs": Scenario(
        observed(
            record(),
            engine=engine(status="Upgrading", latest_job_id=101),
            job=job(started_at=at(-100)),
            jobs=(),
            known_for=36,
        ),
        ((U, S.UNCHANGED_AND_BUSY),),
        Reason.ENGINE_BUSY,
    ),
    # -- Running --------------------------------------------------------------------------------
    "another resource drives the engine while a job runs": Scenario(
        observed(running(), other_owner=Owner("first")),
        ((R, S.OTHER_OWNER),),
        Reason.ENGINE_ALREADY_MANAGED,
    ),
    "the job is over and the engine was not looked at": Scenario(
        observed(running(), engine=None, job=job(**FINISHED)),
        ((R, S.NOT_LOOKED),),
        None,
        Effect.LOOK,
    ),
    "the job runs": Scenario(observed(running(), job=job()), ((R, S.JOB_RUNS),), Reason.UPGRADING),
    "the job is in a state nobody knows, and the vendor runs it": Scenario(
        observed(running(), job=job(status="Pausing", scheduled=True)),
        ((R, S.JOB_RUNS),),
        Reason.UPGRADING,
    ),
    "the vendor has stopped the job in a state nobody knows": Scenario(
        observed(
            running(),
            engine=engine(latest_job_id=101),
            job=job(status="Cancelled", ended_at=at(-300), scheduled=False),
            known_for=60,
        ),
        ((R, S.JOB_STOPPED), (I, S.FAILED)),
        Reason.UPGRADE_FAILED,
    ),
    "the vendor has just stopped the job in a state nobody knows": Scenario(
        observed(
            running(),
            engine=engine(latest_job_id=101),
            job=job(status="Cancelled", ended_at=at(-5), scheduled=False),
        ),
        ((R, S.JOB_RUNS),),
        Reason.UPGRADING,
    ),
    "the engine's upgrade failed under a job in a state nobody knows": Scenario(
        observed(
            running(),
            engine=failed_engine(),
            job=job(status="Pausing", scheduled=True),
            known_for=60,
        ),
        ((R, S.JOB_STOPPED), (I, S.FAILED)),
        Reason.UPGRADE_FAILED,
    ),
    "the job is about to run": Scenario(
        observed(running(), job=job(status="PreInit")), ((R, S.JOB_RUNS),), Reason.UPGRADING
    ),
    "the engine was deleted while its job was followed": Scenario(
        observed(running(), **LONG_GONE), ((R, S.ENGINE_GONE),), Reason.ENGINE_NOT_FOUND
    ),
    "a record of a newer build": Scenario(
        unreadable(), ((X, S.UNREADABLE),), Reason.UNREADABLE_STATUS
    ),
    "the Retry's job shows its old end, and reads may lag": Scenario(
        observed(intent_of_retry(job_id=101), job=job(status="Error", ended_at=at(-300))),
        ((R, S.JOB_RUNS),),
        Reason.UPGRADING,
    ),
    "the Retry's job shows its old end for long, and the engine upgrades": Scenario(
        observed(
            intent_of_retry(job_id=101),
            engine=engine(status="Upgrading", latest_job_id=101),
            job=job(status="Error", ended_at=at(-300)),
            known_for=90,
        ),
        ((R, S.JOB_RUNS),),
        Reason.UPGRADING,
    ),
    "the Retry was answered with the old job, and the engine runs a new one": Scenario(
        observed(
            intent_of_retry(job_id=101),
            engine=engine(status="Upgrading", latest_job_id=102),
            job=job(status="Error", ended_at=at(-300)),
            known_for=36,
        ),
        ((R, S.JOB_IN_DOUBT), (U, S.JOB_NOT_SEEN)),
        None,
        Effect.SHOW_JOB,
    ),
    "the Retry was answered with the old job, and it is the engine's only one": Scenario(
        observed(
            intent_of_retry(job_id=101),
            engine=failed_engine(),
            job=job(status="Error", ended_at=at(-300)),
            known_for=36,
            desired=desired(retry_limit=0),
        ),
        ((R, S.JOB_FAILED), (I, S.FAILED)),
        Reason.UPGRADE_FAILED,
    ),
    "the desired version changes while the job runs": Scenario(
        observed(running(), job=job(), desired=desired(generation=4, version="2.5.0")),
        ((R, S.JOB_RUNS),),
        Reason.UPGRADING,
    ),
    "the job runs for too long": Scenario(
        observed(running(), job=job(started_at=at(-7201))),
        ((R, S.JOB_OVERDUE),),
        Reason.UPGRADE_OVERDUE,
    ),
    "the job is finished": Scenario(
        observed(running(), engine=engine(version="2.4.0", latest_job_id=101), job=job(**FINISHED)),
        ((R, S.JOB_FINISHED), (I, S.AT_TARGET)),
        Reason.UP_TO_DATE,
    ),
    "the job is finished and the desired version went back": Scenario(
        observed(
            running(),
            engine=engine(version="2.4.0", latest_job_id=101),
            job=job(**FINISHED),
            desired=desired(generation=4, version="2.3.0"),
        ),
        ((R, S.JOB_FINISHED), (I, S.BEYOND_TARGET)),
        Reason.DOWNGRADE_NOT_SUPPORTED,
    ),
    "the job is finished and the desired version went on": Scenario(
        observed(
            running(),
            engine=engine(version="2.4.0", latest_job_id=101),
            job=job(**FINISHED),
            desired=desired(generation=4, version="2.5.0"),
        ),
        ((R, S.JOB_FINISHED), (I, S.UPGRADE_DUE)),
        Reason.SUBMITTING,
        Effect.UPGRADE,
    ),
    "the job is finished and the engine does not show it yet": Scenario(
        observed(
            running(), engine=engine(status="Upgrading", latest_job_id=101), job=job(**FINISHED)
        ),
        ((R, S.JOB_FINISHED_UNSEEN),),
        Reason.UPGRADING,
    ),
    "the job is finished and the engine stays at another version": Scenario(
        observed(
            running(),
            engine=engine(latest_job_id=101),
            job=job(status="Finished", ended_at=at(-31)),
        ),
        ((R, S.JOB_FINISHED_MISMATCHED), (I, S.MISMATCHED)),
        Reason.VERSION_MISMATCH,
    ),
    "the job failed and no retry is left": Scenario(
        observed(
            running(),
            engine=failed_engine(),
            job=job(status="Error"),
            desired=desired(retry_limit=0),
        ),
        ((R, S.JOB_FAILED), (I, S.FAILED)),
        Reason.UPGRADE_FAILED,
    ),
    "the job failed and is retried": Scenario(
        observed(running(own_job=True), engine=failed_engine(), job=job(status="Error")),
        ((R, S.JOB_FAILED), (I, S.RETRY_OFFERED)),
        Reason.SUBMITTING,
        Effect.RETRY,
    ),
    "somebody else's job failed and is not retried": Scenario(
        observed(
            running(action=Action.ADOPTED, target_version=None),
            engine=failed_engine(),
            job=job(status="Error"),
        ),
        ((R, S.JOB_FAILED), (I, S.FAILED)),
        Reason.UPGRADE_FAILED,
    ),
    "the job timed out at the vendor": Scenario(
        observed(
            running(),
            engine=failed_engine(),
            job=job(status="Timeout"),
            desired=desired(retry_limit=0),
        ),
        ((R, S.JOB_TIMED_OUT), (I, S.TIMED_OUT)),
        Reason.UPGRADE_TIMED_OUT,
    ),
    "the accepted job was not looked at yet": Scenario(
        observed(running()), ((R, S.JOB_NOT_SEEN),), None, Effect.SHOW_JOB
    ),
    "reads do not show the accepted job yet": Scenario(
        observed(running(), missing_job=101), ((R, S.JOB_HIDDEN),), Reason.UPGRADING
    ),
    "the job cannot be looked at, but the vendor's list may show it": Scenario(
        observed(
            running(),
            engine=engine(status="Upgrading", latest_job_id=101),
            job_failure=failure(FailureKind.TRANSIENT),
            failures=3,
        ),
        ((R, S.JOBS_NOT_LISTED),),
        None,
        Effect.LIST_JOBS,
    ),
    "a gateway says in passing that there is no such job": Scenario(
        observed(running(), missing_job=101, known_for=500, job_missing_for=34),
        ((R, S.JOB_HIDDEN),),
        Reason.UPGRADING,
    ),
    "the job vanished": Scenario(
        observed(running(), engine=failed_engine(), missing_job=101, job_missing_for=35),
        ((R, S.JOB_VANISHED), (I, S.FAILED)),
        Reason.UPGRADE_FAILED,
    ),
    "the job vanished and the engine is at the target": Scenario(
        observed(running(), engine=engine(version="2.4.0"), missing_job=101, job_missing_for=35),
        ((R, S.JOB_FINISHED), (I, S.AT_TARGET)),
        Reason.UP_TO_DATE,
    ),
}


def decided(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> tuple[Decision, tuple[Row, ...]]:
    """Return the decision, and the rows of the table that led to it."""
    rows: list[Row] = []

    def noted(o: Observation, situation: Situation):
        rows.append((state_of(o.status), situation))
        return apply(o, situation)

    monkeypatch.setattr(decide_module, "apply", noted)
    return outcome(scenario), tuple(rows)


def outcome(scenario: Scenario) -> Decision:
    if scenario.answer is not None:
        return after_call(scenario.seen, scenario.answer, LIMITS)
    return decide(scenario.seen, LIMITS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name, monkeypatch):
    scenario = SCENARIOS[name]
    decision, rows = decided(scenario, monkeypatch)
    assert rows == scenario.rows
    assert decision.effect is scenario.effect
    ready = decision.status.ready
    assert (ready and ready.reason) == scenario.reason


def test_every_row_of_the_table_is_reached_by_a_scenario():
    reached = {row for scenario in SCENARIOS.values() for row in scenario.rows}
    assert reached == set(TRANSITIONS)


@pytest.mark.parametrize("row", TRANSITIONS, ids=" ".join)
def test_a_row_with_another_state_than_its_change_leads_to_is_an_error(row, monkeypatch):
    scenario = next(scenario for scenario in SCENARIOS.values() if row in scenario.rows)
    for other in set(State) - {TRANSITIONS[row].to}:
        flipped = TRANSITIONS | {row: replace(TRANSITIONS[row], to=other)}
        monkeypatch.setattr(machine, "TRANSITIONS", flipped)
        if scenario.answer is None:
            with pytest.raises(BrokenRowError):
                outcome(scenario)
        else:
            # The vendor has answered: record the answer first, then raise the error.
            decision = outcome(scenario)
            assert isinstance(decision.broken, BrokenRowError)
            assert decision.status != scenario.seen.status


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_recorded_upgrade_is_in_the_state_that_the_table_says(name):
    scenario = SCENARIOS[name]
    transition = TRANSITIONS[scenario.rows[-1]]
    assert state_of(outcome(scenario).status) is transition.to


@pytest.mark.parametrize(
    "name", [name for name, scenario in SCENARIOS.items() if scenario.effect is Effect.NONE]
)
def test_deciding_again_after_a_decision_changes_nothing(name):
    scenario = SCENARIOS[name]
    first = outcome(scenario)
    stored = read_status(first.status.to_json())
    again = decide(replace(scenario.seen, status=stored, now=at(3)), LIMITS)
    if scenario.answer is None:
        assert again.status.to_json() == first.status.to_json()
        assert again.effect is Effect.NONE
    else:
        not_sent = isinstance(scenario.answer, Held) or (
            isinstance(scenario.answer, Failure) and scenario.answer.kind is FailureKind.NOT_SENT
        )
        assert not again.effect.is_call or not_sent


def test_a_look_that_came_before_the_jobs_end_showed_is_not_worth_a_write():
    running_engine = engine(status="Upgrading", latest_job_id=101)
    before = decide(
        observed(running(), engine=engine(latest_job_id=101), job=job(status="Executing")), LIMITS
    )
    early = observed(running(), engine=running_engine, job=job(**FINISHED))
    after = decide(replace(early, status=before.status), LIMITS)
    assert after.situation is Situation.JOB_FINISHED_UNSEEN
    assert after.status == before.status
