"""Every row of the table of states, reached by a scenario with a name."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from cse_operator.api.reasons import Reason
from cse_operator.api.resource import Action, CallError, Result
from cse_operator.core import decide as decide_module
from cse_operator.core.decide import Decision, decide
from cse_operator.core.observed import Observed, Rival
from cse_operator.core.situations import classify, stage_of
from cse_operator.core.states import TRANSITIONS, Effect, Situation, Stage
from support.observations import (
    POLICY,
    at,
    ended,
    engine,
    failed_engine,
    intent_of_retry,
    job,
    observed,
    record,
    running,
    wish,
)

I, U, R = Stage.IDLE, Stage.UNANSWERED, Stage.RUNNING  # noqa: E741
S = Situation
Row = tuple[Stage, Situation]

BUSY_ANSWER = CallError(http_status=400, code="SVCSTG.00501117", message="engine is Modifying")
DENIED = CallError(http_status=403, code="APIGW.0302", message="not allowed")
FINISHED = {"status": "Finished", "ended_at": at(-5)}


@dataclass(frozen=True)
class Scenario:
    """What is observed, the rows it leads through, and what comes out."""

    seen: Observed
    rows: tuple[Row, ...]
    reason: Reason | None
    effect: Effect = Effect.NONE


SCENARIOS: dict[str, Scenario] = {
    # -- Idle -----------------------------------------------------------------------------------
    "another resource drives the engine": Scenario(
        observed(rival=Rival("first")), ((I, S.RIVAL),), Reason.ENGINE_ALREADY_MANAGED
    ),
    "nobody looked yet": Scenario(
        observed(engine=None, engine_is_fresh=False), ((I, S.NOT_LOOKED),), None, Effect.LOOK
    ),
    "a person asks for a look": Scenario(
        observed(engine_is_fresh=False, wish=wish(reconcile_request="now")),
        ((I, S.NOT_LOOKED),),
        None,
        Effect.LOOK,
    ),
    "an upgrade would be decided on an old look": Scenario(
        observed(engine_is_fresh=False), ((I, S.NOT_LOOKED),), None, Effect.LOOK
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
        ((I, S.FOREIGN_UPGRADE), (R, S.JOB_HIDDEN)),
        Reason.UPGRADING,
    ),
    "somebody upgrades while the resource is suspended": Scenario(
        observed(
            engine=engine(status="Upgrading", latest_job_id=101), wish=wish(suspend=True), job=job()
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
        observed(ended(Result.SUCCEEDED, 5), wish=wish(generation=4)),
        ((I, S.JUST_ENDED),),
        Reason.UPGRADING,
    ),
    "the failed job's end is not shown by the engine yet": Scenario(
        observed(ended(Result.FAILED, 5), engine=engine(status="Upgrading", latest_job_id=101)),
        ((I, S.JUST_ENDED),),
        Reason.UPGRADING,
    ),
    "the vendor refused this wish": Scenario(
        observed(ended(Result.REJECTED)), ((I, S.REJECTED),), Reason.UPGRADE_REJECTED
    ),
    "the credentials may not do the call": Scenario(
        observed(ended(Result.REJECTED, error=DENIED)),
        ((I, S.FORBIDDEN),),
        Reason.PERMISSION_DENIED,
    ),
    "this wish's job failed": Scenario(
        observed(ended(Result.FAILED)), ((I, S.FAILED),), Reason.UPGRADE_FAILED
    ),
    "this wish's job timed out": Scenario(
        observed(ended(Result.TIMED_OUT)), ((I, S.TIMED_OUT),), Reason.UPGRADE_TIMED_OUT
    ),
    "the job finished long ago and the engine is elsewhere": Scenario(
        observed(ended(Result.SUCCEEDED), engine=engine(latest_job_id=101)),
        ((I, S.MISMATCHED),),
        Reason.VERSION_MISMATCH,
    ),
    "a failed job may be retried": Scenario(
        observed(ended(Result.FAILED), engine=failed_engine()),
        ((I, S.RETRY_OFFERED),),
        Reason.SUBMITTING,
        Effect.RETRY,
    ),
    "a person asks for a retry of somebody else's failed job": Scenario(
        observed(engine=failed_engine(), wish=wish(retry_request="now")),
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
        observed(wish=wish(suspend=True)), ((I, S.SUSPENDED),), Reason.SUSPENDED
    ),
    "an upgrade is due": Scenario(
        observed(), ((I, S.UPGRADE_DUE),), Reason.SUBMITTING, Effect.UPGRADE
    ),
    "a version that cannot be compared is the vendor's to judge": Scenario(
        observed(wish=wish(version="2.4.0-rc1")),
        ((I, S.UPGRADE_DUE),),
        Reason.SUBMITTING,
        Effect.UPGRADE,
    ),
    "a refused wish is changed": Scenario(
        observed(ended(Result.REJECTED), wish=wish(generation=4)),
        ((I, S.UPGRADE_DUE),),
        Reason.SUBMITTING,
        Effect.UPGRADE,
    ),
    # -- Unanswered -----------------------------------------------------------------------------
    "another resource drives the engine while an answer is missing": Scenario(
        observed(record(), rival=Rival(None)), ((U, S.RIVAL),), Reason.ENGINE_ALREADY_MANAGED
    ),
    "the operator comes back to an intent": Scenario(
        observed(record(), engine=None, engine_is_fresh=False),
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
        observed(record(), engine=engine(version="2.4.0"), known_for=60),
        ((U, S.REACHED_TARGET), (I, S.AT_TARGET)),
        Reason.UP_TO_DATE,
    ),
    "another kind of job ran since": Scenario(
        observed(
            record(),
            engine=engine(latest_job_id=101),
            job=job(type="Modify", **FINISHED),
            known_for=60,
        ),
        ((U, S.OTHER_JOB),),
        Reason.OUTCOME_UNCERTAIN,
    ),
    "the vendor forgot the job that ran since": Scenario(
        observed(record(), engine=engine(latest_job_id=101), missing_job=101, known_for=60),
        ((U, S.OTHER_JOB),),
        Reason.OUTCOME_UNCERTAIN,
    ),
    "the call was refused because of another job": Scenario(
        observed(
            record(error=BUSY_ANSWER),
            engine=engine(status="Modifying", latest_job_id=101),
            job=job(type="Modify"),
            known_for=60,
        ),
        ((U, S.REFUSED_AND_BUSY), (I, S.BUSY)),
        Reason.ENGINE_BUSY,
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
        observed(record(), engine=engine(status="Upgrading"), known_for=600),
        ((U, S.UNCHANGED_IN_GRACE),),
        Reason.VERIFYING_OUTCOME,
    ),
    "nothing was seen of the call for the whole grace": Scenario(
        observed(record(), known_for=31),
        ((U, S.UNCHANGED_AND_WANTED),),
        Reason.SUBMITTING,
        Effect.UPGRADE,
    ),
    "the vendor's clock says that the grace is over": Scenario(
        observed(record(), engine=engine(observed_at=at(35))),
        ((U, S.UNCHANGED_AND_WANTED),),
        Reason.SUBMITTING,
        Effect.UPGRADE,
    ),
    "the vendor's clock may be ahead of the intent by the look before it": Scenario(
        observed(record(), engine=engine(observed_at=at(34))),
        ((U, S.UNCHANGED_IN_GRACE),),
        Reason.VERIFYING_OUTCOME,
    ),
    "the vendor's clock jumps, and the one who wrote the intent has a clock of its own": Scenario(
        observed(record(), engine=engine(observed_at=at(600)), wrote_intent=True, known_for=29),
        ((U, S.UNCHANGED_IN_GRACE),),
        Reason.VERIFYING_OUTCOME,
    ),
    "an older job ran that the first look did not show": Scenario(
        observed(
            record(),
            engine=engine(latest_job_id=101),
            job=job(status="Error", started_at=at(-100), ended_at=at(-60)),
            known_for=31,
        ),
        ((U, S.OTHER_JOB),),
        Reason.OUTCOME_UNCERTAIN,
    ),
    "another job ran than the one to be retried": Scenario(
        observed(
            intent_of_retry(),
            engine=failed_engine(latest_job_id=102),
            job=job(job_id=102, status="Error", started_at=at(-100), ended_at=at(-60)),
            known_for=31,
        ),
        ((U, S.OTHER_JOB),),
        Reason.OUTCOME_UNCERTAIN,
    ),
    "the call certainly did not go out": Scenario(
        observed(record(attempts=0)),
        ((U, S.UNCHANGED_AND_WANTED),),
        Reason.SUBMITTING,
        Effect.UPGRADE,
    ),
    "nothing was seen of the Retry for the whole grace": Scenario(
        observed(intent_of_retry(), engine=failed_engine(), known_for=31),
        ((U, S.JOB_NOT_SEEN),),
        None,
        Effect.SHOW_JOB,
    ),
    "the Retry's job still shows its old end": Scenario(
        observed(
            intent_of_retry(),
            engine=failed_engine(),
            job=job(status="Error", ended_at=at(-300)),
            known_for=31,
        ),
        ((U, S.RETRY_UNCHANGED),),
        Reason.SUBMITTING,
        Effect.RETRY,
    ),
    "the wish changed while the answer was missing": Scenario(
        observed(record(), wish=wish(generation=4, version="2.5.0"), known_for=31),
        ((U, S.UNCHANGED_AND_UNWANTED), (I, S.UPGRADE_DUE)),
        Reason.SUBMITTING,
        Effect.UPGRADE,
    ),
    "the engine moved beyond the target while the answer was missing": Scenario(
        observed(record(), engine=engine(version="2.5.0"), known_for=31),
        ((U, S.UNCHANGED_AND_UNWANTED), (I, S.BEYOND_TARGET)),
        Reason.DOWNGRADE_NOT_SUPPORTED,
    ),
    "the resource was suspended while the answer was missing": Scenario(
        observed(record(), wish=wish(generation=4, suspend=True), known_for=31),
        ((U, S.UNCHANGED_AND_UNWANTED), (I, S.SUSPENDED)),
        Reason.SUSPENDED,
    ),
    "an older job that the first look did not show runs": Scenario(
        observed(
            record(),
            engine=engine(status="Upgrading", latest_job_id=101),
            job=job(started_at=at(-100)),
            known_for=31,
        ),
        ((U, S.UNCHANGED_AND_UNWANTED), (I, S.FOREIGN_UPGRADE), (R, S.JOB_RUNS)),
        Reason.UPGRADING,
    ),
    # -- Running --------------------------------------------------------------------------------
    "another resource drives the engine while a job runs": Scenario(
        observed(running(), rival=Rival("first")),
        ((R, S.RIVAL),),
        Reason.ENGINE_ALREADY_MANAGED,
    ),
    "the job is over and the engine was not looked at": Scenario(
        observed(running(), engine_is_fresh=False, job=job(**FINISHED)),
        ((R, S.NOT_LOOKED),),
        None,
        Effect.LOOK,
    ),
    "the job runs": Scenario(observed(running(), job=job()), ((R, S.JOB_RUNS),), Reason.UPGRADING),
    "the job is in a state nobody knows": Scenario(
        observed(running(), job=job(status="Pausing")), ((R, S.JOB_RUNS),), Reason.UPGRADING
    ),
    "the Retry's job shows its old end, and reads may lag": Scenario(
        observed(intent_of_retry(job_id=101), job=job(status="Error", ended_at=at(-300))),
        ((R, S.JOB_RUNS),),
        Reason.UPGRADING,
    ),
    "the Retry was answered with the old job, and the engine runs a new one": Scenario(
        observed(
            intent_of_retry(job_id=101),
            engine=engine(status="Upgrading", latest_job_id=102),
            job=job(status="Error", ended_at=at(-300)),
            known_for=31,
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
            known_for=31,
            wish=wish(retry_limit=0),
        ),
        ((R, S.JOB_FAILED), (I, S.FAILED)),
        Reason.UPGRADE_FAILED,
    ),
    "the wish changes while the job runs": Scenario(
        observed(running(), job=job(), wish=wish(generation=4, version="2.5.0")),
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
    "the job is finished and the wish went back": Scenario(
        observed(
            running(),
            engine=engine(version="2.4.0", latest_job_id=101),
            job=job(**FINISHED),
            wish=wish(generation=4, version="2.3.0"),
        ),
        ((R, S.JOB_FINISHED), (I, S.BEYOND_TARGET)),
        Reason.DOWNGRADE_NOT_SUPPORTED,
    ),
    "the job is finished and the wish went on": Scenario(
        observed(
            running(),
            engine=engine(version="2.4.0", latest_job_id=101),
            job=job(**FINISHED),
            wish=wish(generation=4, version="2.5.0"),
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
            running(), engine=failed_engine(), job=job(status="Error"), wish=wish(retry_limit=0)
        ),
        ((R, S.JOB_FAILED), (I, S.FAILED)),
        Reason.UPGRADE_FAILED,
    ),
    "the job failed and is retried": Scenario(
        observed(running(), engine=failed_engine(), job=job(status="Error")),
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
            running(), engine=failed_engine(), job=job(status="Timeout"), wish=wish(retry_limit=0)
        ),
        ((R, S.JOB_TIMED_OUT), (I, S.TIMED_OUT)),
        Reason.UPGRADE_TIMED_OUT,
    ),
    "the accepted job was not looked at yet": Scenario(
        observed(running()), ((R, S.JOB_HIDDEN),), Reason.UPGRADING
    ),
    "reads do not show the accepted job yet": Scenario(
        observed(running(), missing_job=101), ((R, S.JOB_HIDDEN),), Reason.UPGRADING
    ),
    "an old 404 says nothing of now": Scenario(
        observed(running(), missing_job=101, known_for=500, job_age=490),
        ((R, S.JOB_HIDDEN),),
        Reason.UPGRADING,
    ),
    "the job vanished": Scenario(
        observed(running(), engine=failed_engine(), missing_job=101, known_for=60),
        ((R, S.JOB_VANISHED), (I, S.RETRY_OFFERED)),
        Reason.SUBMITTING,
        Effect.RETRY,
    ),
    "the job vanished and the engine is at the target": Scenario(
        observed(running(), engine=engine(version="2.4.0"), missing_job=101, known_for=60),
        ((R, S.JOB_FINISHED), (I, S.AT_TARGET)),
        Reason.UP_TO_DATE,
    ),
}


def decided(seen: Observed, monkeypatch: pytest.MonkeyPatch) -> tuple[Decision, tuple[Row, ...]]:
    """The decision, and the rows of the table that led to it."""
    rows: list[Row] = []

    def noted(o: Observed, policy: object) -> Situation:
        situation = classify(o, POLICY)
        rows.append((stage_of(o.record), situation))
        return situation

    monkeypatch.setattr(decide_module, "classify", noted)
    return decide(seen, POLICY), tuple(rows)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name, monkeypatch):
    scenario = SCENARIOS[name]
    decision, rows = decided(scenario.seen, monkeypatch)
    assert rows == scenario.rows
    assert decision.effect is scenario.effect
    ready = decision.status.ready
    assert (ready and ready.reason) == scenario.reason


def test_every_row_of_the_table_is_reached_by_a_scenario():
    reached = {row for scenario in SCENARIOS.values() for row in scenario.rows}
    assert reached == set(TRANSITIONS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_recorded_upgrade_is_in_the_stage_that_the_table_says(name):
    scenario = SCENARIOS[name]
    transition = TRANSITIONS[scenario.rows[-1]]
    decision = decide(scenario.seen, POLICY)
    assert stage_of(decision.status.upgrade) is transition.to


@pytest.mark.parametrize(
    "name", [name for name, scenario in SCENARIOS.items() if scenario.effect is Effect.NONE]
)
def test_deciding_again_on_what_was_concluded_changes_nothing(name):
    seen = SCENARIOS[name].seen
    first = decide(seen, POLICY)
    stored = type(first.status).model_validate(first.status.to_json())
    again = decide(replace(seen, status=stored, now=at(3)), POLICY)
    assert again.status.to_json() == first.status.to_json()
    assert again.effect is Effect.NONE


def test_a_look_that_came_before_the_jobs_end_showed_is_not_worth_a_write():
    running_engine = engine(status="Upgrading", latest_job_id=101)
    before = decide(
        observed(running(), engine=engine(latest_job_id=101), job=job(status="Executing")), POLICY
    )
    early = observed(running(), engine=running_engine, job=job(**FINISHED))
    after = decide(replace(early, status=before.status), POLICY)
    assert after.situation is Situation.JOB_FINISHED_UNSEEN
    assert after.status == before.status
