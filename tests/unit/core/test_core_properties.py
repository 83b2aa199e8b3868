"""Properties that hold for any observation, however unlikely."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from cse_operator.api.reasons import Reason
from cse_operator.api.status import Status
from cse_operator.api.upgrade_record import Action, CallError, HistoryEntry, Result, UpgradeRecord
from cse_operator.core.decide import decide
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.machine import TRANSITIONS
from cse_operator.core.observation import Desired, Observation, Owner
from cse_operator.core.situations import classify
from cse_operator.core.states import Effect, state_of
from cse_operator.core.versions import Comparison, compare, is_offered
from cse_operator.core.views import EngineView, JobView
from support.observations import LIMITS, NOON

VERSIONS = st.sampled_from(
    [
        "2.3.0",
        "2.4.0",
        "2.4.1",
        "2.5.0",
        "2.4.1.5",
        "2.4.0-rc1",
        "2.5.0.SPC100",
        "v2.4.0",
        "odd",
        "",
    ]
)
JOB_IDS = st.sampled_from([None, 100, 101, 102])
MOMENTS = st.none() | st.integers(-9000, 9000).map(lambda s: NOON + timedelta(seconds=s))
AGES = st.sampled_from([0.0, 1.0, 10.0, 29.0, 31.0, 300.0, 9000.0])
REQUESTS = st.sampled_from([None, "a", "b"])
ENGINE_STATUSES = st.sampled_from(
    ["Available", "Upgrading", "UpgradeFailed", "Modifying", "Freezed", "Deleted", "Odd", ""]
)

engines = st.builds(
    EngineView,
    engine_id=st.just("engine-1"),
    name=st.just("test"),
    type=st.just("CSE"),
    status=ENGINE_STATUSES,
    version=VERSIONS,
    latest_version=st.none() | VERSIONS,
    latest_job_id=JOB_IDS,
    additional_actions=st.sampled_from([(), ("Retry",), ("Noting",)]),
    observed_at=MOMENTS,
)
jobs = st.builds(
    JobView,
    job_id=st.sampled_from([100, 101, 102]),
    engine_id=st.just("engine-1"),
    type=st.sampled_from(["Upgrade", "Modify", "Odd", ""]),
    status=st.sampled_from(["Init", "Executing", "Finished", "Error", "Timeout", "Odd", "PreInit"]),
    started_at=MOMENTS,
    ended_at=MOMENTS,
    progress=st.none(),
    message=st.none(),
    observed_at=MOMENTS,
    scheduled=st.sampled_from([None, True, False]),
)
records = st.builds(
    UpgradeRecord,
    action=st.sampled_from(Action),
    wanted_version=VERSIONS.filter(bool),
    answered_versions=st.lists(VERSIONS.filter(bool), max_size=2).map(tuple),
    own_job=st.sampled_from([None, True]),
    retry_due=st.sampled_from([None, True]),
    from_version=VERSIONS,
    target_version=st.none() | VERSIONS,
    requestedAt=st.just(NOON),
    baseline_job_id=JOB_IDS,
    baseline_at=MOMENTS,
    attempts=st.integers(0, 6),
    retries=st.integers(0, 3),
    retry_request=REQUESTS,
    job_id=JOB_IDS,
    finished_at=MOMENTS,
    result=st.none() | st.sampled_from(Result),
    error=st.none() | st.builds(CallError, kind=st.none() | st.sampled_from(FailureKind)),
)
histories = st.lists(
    st.builds(
        HistoryEntry,
        job_id=JOB_IDS,
        result=st.sampled_from(Result),
        finished_at=MOMENTS,
    ),
    max_size=2,
).map(tuple)
statuses = st.builds(
    Status,
    observed_generation=st.integers(-1, 4),
    upgrade=st.none() | records,
    history=histories,
    last_handled_retry_at=REQUESTS,
    last_handled_reconcile_at=REQUESTS,
)
desired_versions = st.builds(
    Desired,
    generation=st.integers(1, 4),
    version=VERSIONS.filter(bool),
    suspend=st.booleans(),
    timeout=st.just(timedelta(hours=2)),
    retry_limit=st.integers(0, 2),
    reconcile_request=REQUESTS,
    retry_request=REQUESTS,
)
observations = st.builds(
    Observation,
    desired=desired_versions,
    status=statuses,
    now=st.just(NOON),
    engine=st.none() | engines,
    may_call_in=st.sampled_from([0.0, 0.0, 0.0, 20.0]),
    observes_only=st.sampled_from([False, False, False, True]),
    jobs=st.none() | st.lists(jobs, max_size=2).map(tuple),
    jobs_failure=st.none() | st.just(Failure(FailureKind.TRANSIENT, "words")),
    passing_looks=st.integers(0, 4),
    not_found_for=AGES,
    engine_age=AGES,
    job=st.none() | jobs,
    job_age=AGES,
    missing_job=JOB_IDS,
    job_missing_for=AGES,
    failure=st.none()
    | st.builds(Failure, kind=st.sampled_from(FailureKind), message=st.just("words")),
    failures=st.integers(0, 9),
    known_for=AGES,
    ended_for=AGES,
    progress_due=st.booleans(),
    other_owner=st.none() | st.builds(Owner, name=st.none() | st.just("first")),
    jitter=st.floats(0, 1, exclude_max=True),
)


@settings(max_examples=600, deadline=None, database=None)
@given(o=observations)
def test_every_situation_that_can_be_seen_is_in_the_table(o):
    assert (state_of(o.status), classify(o, LIMITS)) in TRANSITIONS


@settings(max_examples=600, deadline=None, database=None)
@given(o=observations)
def test_every_observation_is_decided(o):
    decision = decide(o, LIMITS)
    if decision.effect.is_look:
        return
    if decision.requeue_after is not None:
        assert decision.requeue_after > 0
    stored = Status.model_validate(decision.status.to_json())
    if decision.effect is Effect.NONE and stored.ready is None:
        return
    assert stored.ready is not None
    assert stored.ready.reason in set(Reason)


@settings(max_examples=600, deadline=None, database=None)
@given(o=observations)
def test_a_call_is_only_decided_on_a_fresh_look_with_an_intent_and_never_downwards(o):
    decision = decide(o, LIMITS)
    if decision.effect not in {Effect.UPGRADE, Effect.RETRY}:
        return
    assert o.engine is not None
    assert o.may_call_in <= 0
    assert not o.observes_only
    assert o.engine_age <= LIMITS.look_valid
    assert o.other_owner is None
    assert not o.desired.suspend
    intent = decision.status.upgrade
    assert intent is not None
    assert intent.unanswered
    assert intent.attempts >= 1
    assert intent.baseline_job_id == o.engine.latest_job_id
    if decision.effect is Effect.UPGRADE:
        assert intent.target_version == o.desired.version
        assert o.engine.status == "Available"
        compared = compare(o.engine.version, o.desired.version)
        offered = is_offered(o.engine.version, o.desired.version, o.engine.latest_version)
        assert compared is Comparison.BEHIND or (compared is Comparison.INCOMPARABLE and offered), (
            "a call needs a proven behind"
        )
    else:
        assert "Retry" in o.engine.additional_actions
