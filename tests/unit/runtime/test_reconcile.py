"""The reconcile step: intent, call, answer, always in this order."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from cse_operator.api.failure_kind import FailureKind
from cse_operator.api.names import RECONCILE_REQUESTED_AT, RETRY_REQUESTED_AT
from cse_operator.cloud.errors import CloudError
from cse_operator.kube import errors
from cse_operator.runtime import calls, reconcile, statuses, work
from cse_operator.runtime.polls import Polls
from support.cloud_calls import FakeTime
from support.fake_vendor import NOON, engine_view, failure, job_view
from support.reconcile_world import World
from support.resources import Object, changed, deleting, stored

KEY = "payments/orders"
ENGINE = stored()["spec"]["engineId"]


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """The steady clock that times the steps."""
    time = FakeTime()
    for module in (calls, reconcile, statuses, work):
        monkeypatch.setattr(module, "boottime", time)
    return time


@pytest.fixture
def world(time: FakeTime) -> World:
    """A resource that asks for 2.4.0, and its engine at 2.3.1."""
    world = World(time=time)
    world.cloud.engines[ENGINE] = engine_view(ENGINE)
    world.apply(stored())
    return world


def _end_job(world: World, job_id: int = 101, **fields: object) -> None:
    """End a job."""
    ended = {"status": "Finished", "ended_at": NOON + timedelta(minutes=5), "progress": None}
    job = job_view(job_id, ENGINE, **{**ended, **fields})
    good = job.status == "Finished"
    world.cloud.engines[ENGINE] = engine_view(
        ENGINE,
        version="2.4.0" if good else "2.3.1",
        status="Available" if good else "UpgradeFailed",
        additional_actions=() if good else ("Retry",),
        latest_job_id=job_id,
    )
    world.cloud.jobs[job_id] = job


# -- one upgrade -------------------------------------------------------------------------------


async def test_the_intent_is_written_before_the_call_and_the_answer_after_it(world: World) -> None:
    assert await world.step() == ["look", "write Submitting", "upgrade to 2.4.0", "write Upgrading"]
    assert world.status()["upgrade"]["jobId"] == 101
    assert world.due_in() == pytest.approx(5.0, rel=0.2)
    assert world.events == ["Upgrading"]


async def test_a_poll_of_a_running_job_is_one_look_at_the_job_and_no_write(world: World) -> None:
    await world.step()
    for _ in range(3):
        assert await world.step() == ["job 101"]
        assert world.due_in() == pytest.approx(5.0, rel=0.2)


async def test_the_result_is_written_and_the_next_look_is_the_resync(world: World) -> None:
    await world.step()
    _end_job(world)
    assert await world.step() == ["job 101", "look", "write UpToDate"]
    assert world.status()["result"] == "Succeeded"
    assert world.due_in() == pytest.approx(600.0, rel=0.2)
    assert world.events == ["Upgrading", "UpToDate"]


async def test_a_settled_resource_is_looked_at_when_asked_and_not_written(world: World) -> None:
    await world.step()
    _end_job(world)
    await world.step()
    version = world.cluster.objects[KEY]["metadata"]["resourceVersion"]
    assert await world.step() == ["look"]
    assert world.cluster.objects[KEY]["metadata"]["resourceVersion"] == version


async def test_a_step_of_the_job_is_written_at_most_once_a_minute(
    world: World, time: FakeTime
) -> None:
    await world.step()
    assert await world.step() == ["job 101"]
    time.advance(61)
    assert await world.step() == ["job 101", "write Upgrading"]
    assert world.status()["upgrade"]["progress"]["step"] == "Back up configuration"


# -- the world moves during a step -------------------------------------------------------------


def _change(world: World, **spec: Any) -> None:
    world.apply(changed(world.cluster.objects[KEY], **spec))


async def test_a_version_that_changes_during_the_look_is_not_acted_on_in_its_old_form(
    world: World,
) -> None:
    world.cloud.during["look"] = [lambda: _change(world, suspend=True)]
    assert await world.step() == ["look", "conflict"]
    assert await world.step() == ["look", "write Waiting"]
    assert world.reason() == "Suspended"


async def test_an_intent_of_another_operator_seen_in_the_watch_allows_no_call(
    world: World,
) -> None:
    intent = {"action": "Upgrade", "wantedVersion": "2.4.0", "requestedAt": "2025-06-01T12:00:00Z"}

    def another_operator_decides() -> None:
        status = {**world.status(), "phase": "Submitting", "upgrade": intent}
        world.apply(changed(world.cluster.objects[KEY], status=status))

    world.cloud.during["look"] = [another_operator_decides]
    assert await world.step() == ["look", "conflict"]
    assert world.status()["upgrade"] == intent


async def test_a_write_that_the_watch_has_not_told_yet_is_read_past_the_watch(world: World) -> None:
    world.apply(changed(world.cluster.objects[KEY], version="2.3.9"), watched=False)
    assert await world.step() == ["look", "conflict"]
    assert world.due_in() < 1.0
    assert await world.step() == ["look", "write Submitting", "upgrade to 2.3.9", "write Upgrading"]


async def test_a_change_right_after_a_write_is_worked_on_although_the_watch_was_faster(
    world: World,
) -> None:
    world.cluster.after_write = [lambda: None, lambda: _change(world, version="2.5.0")]
    await world.step()
    assert await world.queue.get() == KEY


async def test_a_resource_deleted_during_the_look_gets_no_call(world: World) -> None:
    world.cloud.during["look"] = [lambda: world.delete(KEY)]
    assert await world.step() == ["look"]


async def test_an_answer_is_recorded_although_the_spec_changed_during_the_call(
    world: World,
) -> None:
    world.cloud.during["call"] = [lambda: _change(world, version="2.5.0")]
    assert (await world.step())[-1] == "write Upgrading"
    assert world.status()["upgrade"]["jobId"] == 101
    assert world.status()["upgrade"]["targetVersion"] == "2.4.0"
    assert world.due_in() == pytest.approx(5.0, rel=0.2)


async def test_an_answer_survives_an_api_server_that_is_away_and_is_not_asked_for_again(
    world: World,
) -> None:
    def fail() -> None:
        raise errors.Unavailable("the API server is away")

    world.cluster.before_write = [lambda: None, fail, fail]
    assert await world.step() == ["look", "write Submitting", "upgrade to 2.4.0"]
    assert await world.step() == []
    assert await world.step() == ["write Upgrading"]
    assert world.status()["upgrade"]["jobId"] == 101


async def test_a_job_in_the_vendors_list_resolves_a_lost_answer(
    world: World, time: FakeTime
) -> None:
    world.cloud.outcomes = [CloudError(failure(FailureKind.OUTCOME_UNKNOWN))]
    await world.step()
    time.advance(60)
    # Another job is the latest by now, and ours is behind it.
    world.cloud.engines[ENGINE] = engine_view(ENGINE, latest_job_id=102)
    other = job_view(102, ENGINE, type="Modify", status="Finished")
    ours = job_view(101, ENGINE)
    world.cloud.jobs |= {101: ours, 102: other}
    world.cloud.listed = (ours, other)
    deeds = await world.step()
    assert deeds == ["look", "job 102", "jobs", "write Upgrading"]
    assert world.status()["upgrade"]["jobId"] == 101


async def test_a_stop_records_the_answers_that_are_left(world: World) -> None:
    def fail() -> None:
        raise errors.Unavailable("the API server is away")

    world.cluster.before_write = [lambda: None, fail]
    await world.step()
    await world.reconciler.record_answers()
    assert world.status()["upgrade"]["jobId"] == 101


async def test_an_intent_whose_write_has_an_unknown_outcome_is_followed_by_no_call(
    world: World,
) -> None:
    def written_but_not_answered() -> None:
        raise errors.Unavailable("no answer")

    world.cluster.before_write = [written_but_not_answered]
    assert await world.step() == ["look"]


async def test_a_resource_deleted_during_the_call_is_forgotten(world: World) -> None:
    world.cloud.during["call"] = [lambda: world.delete(KEY)]
    await world.step()
    assert world.cache.get(KEY) is None
    assert world.cloud.attached == set()
    assert await world.step() == []


async def test_an_answer_is_not_written_into_a_successor_of_the_resource(world: World) -> None:
    def replace_it() -> None:
        world.delete(KEY)
        world.apply(stored(uid="successor"))

    world.cloud.during["call"] = [replace_it]
    await world.step()
    assert "upgrade" not in world.status()
    assert await world.step() == ["look", "job 101", "write Upgrading"]
    assert world.status()["upgrade"]["action"] == "Adopted"
    assert world.status()["upgrade"]["jobId"] == 101


async def test_a_spec_that_becomes_invalid_during_the_call_does_not_lose_the_job(
    world: World,
) -> None:
    world.cloud.during["call"] = [lambda: _change(world, upgrade={"timeout": "soon"})]
    assert (await world.step())[-1] == "write Upgrading"
    assert world.status()["upgrade"]["jobId"] == 101
    assert await world.step() == ["write Failed"]
    assert world.status()["upgrade"]["jobId"] == 101


@pytest.mark.parametrize("doing", ["suspends it", "desires another version", "deletes it"])
async def test_a_person_who_is_faster_than_the_call_takes_it_back(world: World, doing: str) -> None:
    def the_watch_is_faster() -> None:
        match doing:
            case "suspends it":
                _change(world, suspend=True)
            case "desires another version":
                _change(world, version="2.5.0")
            case _:
                world.delete(KEY)

    world.cluster.after_write = [the_watch_is_faster]
    assert not any(deed.startswith("upgrade") for deed in await world.step())
    if doing == "deletes it":
        return
    assert await world.queue.get() == KEY, "it is decided again, at once"
    world.queue.done(KEY)
    assert (world.reason(), "upgrade" in world.status()) == ("WaitingToCall", False)
    assert world.status()["message"].endswith("was changed or deleted before the call went out")
    deeds = await world.step()
    if doing == "desires another version":
        assert "upgrade to 2.5.0" in deeds
    else:
        assert world.reason() == "Suspended"


async def test_a_resource_on_its_way_out_is_not_called_for(world: World) -> None:
    def the_watch_is_faster() -> None:
        world.apply(deleting(world.cluster.objects[KEY]))

    world.cluster.after_write = [the_watch_is_faster]
    assert "upgrade to 2.4.0" not in await world.step()


async def test_a_retry_annotation_that_was_emptied_requests_nothing(world: World) -> None:
    refused = CloudError(failure(FailureKind.REJECTED, http_status=400))
    world.cloud.outcomes = [refused] * 3
    world.apply(changed(world.cluster.objects[KEY], annotations={RETRY_REQUESTED_AT: ""}))
    assert "upgrade to 2.4.0" in await world.step()
    world.time.advance(60)
    assert await world.step() == ["look"]
    world.time.advance(600)
    assert await world.step() == ["look"]


async def test_an_annotation_for_a_look_that_was_emptied_costs_no_further_looks(
    world: World,
) -> None:
    world.apply(changed(world.cluster.objects[KEY], annotations={RECONCILE_REQUESTED_AT: ""}))
    await world.step()
    assert await world.step() == ["job 101"]


async def test_an_intent_that_is_stored_otherwise_than_decided_is_not_called(world: World) -> None:
    def alter() -> None:
        stored_now = world.cluster.objects[KEY]
        stored_now["status"]["upgrade"]["targetVersion"] = "2.3.9"

    world.cluster.after_write = [alter]
    with pytest.raises(AssertionError, match="not the one that was decided on"):
        await world.step()
    assert world.cloud.send_before == []


async def test_a_resource_on_its_way_out_is_left_alone(world: World) -> None:
    leaving = changed(world.cluster.objects[KEY])
    leaving["metadata"]["deletionTimestamp"] = "2025-06-01T13:00:00Z"
    world.apply(leaving)
    assert await world.step() == []


# -- when a call may be sent -------------------------------------------------------------------


async def test_a_call_may_be_sent_within_the_window_after_its_decision(
    world: World, time: FakeTime
) -> None:
    decided = time()
    world.cluster.before_write = [lambda: time.advance(4)]
    await world.step()
    assert world.cloud.send_before == [decided + 5.0]


async def test_a_leader_sends_nothing_beyond_its_lease(time: FakeTime) -> None:
    world = World(time=time, may_act_for=2.0)
    world.cloud.engines[ENGINE] = engine_view(ENGINE)
    world.apply(stored())
    decided = time()
    await world.step()
    assert world.cloud.send_before == [decided + 2.0]


async def test_without_a_rest_of_the_lease_nothing_is_started(time: FakeTime) -> None:
    world = World(time=time, may_act_for=0.5)
    world.cloud.engines[ENGINE] = engine_view(ENGINE)
    world.apply(stored())
    assert await world.step() == ["look"]


async def test_a_look_that_took_too_long_is_not_acted_on(world: World, time: FakeTime) -> None:
    world.cloud.during["look"] = [lambda: time.advance(60)]
    assert await world.step() == ["look"]
    assert await world.step() == ["look", "write Submitting", "upgrade to 2.4.0", "write Upgrading"]


# -- calls that go wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FailureKind.OUTCOME_UNKNOWN, "VerifyingOutcome"),
        (FailureKind.BUSY, "VerifyingOutcome"),
        (FailureKind.REJECTED, "UpgradeRejected"),
        (FailureKind.FORBIDDEN, "PermissionDenied"),
        (FailureKind.THROTTLED, "VerifyingOutcome"),
        (FailureKind.UNAUTHENTICATED, "VerifyingOutcome"),
        (FailureKind.NOT_SENT, "CloudUnavailable"),
    ],
)
async def test_what_became_of_a_call_is_written_right_away(
    world: World, kind: FailureKind, reason: str
) -> None:
    code = "SVCSTG.00500404" if kind is not FailureKind.OUTCOME_UNKNOWN else None
    status = 403 if kind is FailureKind.FORBIDDEN else 400
    world.cloud.outcomes = [CloudError(failure(kind, code=code, http_status=status))]
    deeds = await world.step()
    assert deeds[:3] == ["look", "write Submitting", "upgrade to 2.4.0"]
    assert len(deeds) == 4
    assert world.reason() == reason


async def test_a_lost_answer_leads_to_looks_and_to_no_second_call(
    world: World, time: FakeTime
) -> None:
    world.cloud.outcomes = [CloudError(failure(FailureKind.OUTCOME_UNKNOWN))]
    await world.step()
    for _ in range(5):
        time.advance(5)
        assert await world.step() == ["look"]
    time.advance(30)
    deeds = await world.step()
    assert deeds[:4] == ["look", "jobs", "write Submitting", "upgrade to 2.4.0"]


async def test_an_unforeseen_error_of_a_call_leaves_the_intent_to_be_resolved(
    world: World, time: FakeTime
) -> None:
    world.cloud.outcomes = [ValueError("nobody foresaw this")]
    with pytest.raises(ValueError, match="nobody foresaw this"):
        await world.step()
    assert "jobId" not in world.status()["upgrade"]
    time.advance(1)
    assert await world.step() == ["look", "write Submitting"]
    assert world.reason() == "VerifyingOutcome"


# -- jobs --------------------------------------------------------------------------------------


async def test_a_retried_job_with_its_old_id_is_followed_anew(world: World) -> None:
    await world.step()
    _end_job(world, status="Error")
    deeds = await world.step()
    assert deeds[-2:] == ["retry", "write Upgrading"]
    assert world.cached().notes.job is None
    assert await world.step() == ["job 101"]


async def test_while_the_end_of_the_first_run_is_shown_the_second_one_is_followed_on(
    world: World,
) -> None:
    await world.step()
    _end_job(world, status="Error")
    await world.step()
    _end_job(world, status="Error")  # the first run is shown once more
    world.cloud.engines[ENGINE] = engine_view(ENGINE, status="Upgrading", latest_job_id=101)
    assert await world.step() == ["job 101"]
    assert world.due_in() == pytest.approx(5.0, rel=0.2)


async def test_how_long_a_job_is_over_is_counted_from_its_last_end(
    world: World, time: FakeTime
) -> None:
    await world.step()
    notes = world.cached().notes
    ended = job_view(101, ENGINE, status="Error", ended_at=NOON + timedelta(minutes=5))
    notes.job_shown(ended, time())
    first = time()
    time.advance(10)
    notes.job_shown(ended, time())
    assert notes.ended_since == first

    notes.job_shown(job_view(101, ENGINE), time())
    assert notes.ended_since is None
    time.advance(10)
    notes.job_shown(job_view(101, ENGINE, status="Finished"), time())
    assert notes.ended_since == time()


async def test_a_job_that_cannot_be_looked_at_is_told_after_some_patience_and_recovers(
    world: World,
) -> None:
    await world.step()
    world.cloud.jobs[101] = CloudError(failure())
    for _ in range(2):
        assert await world.step() == ["job 101"]
    assert await world.step() == ["job 101", "look", "jobs", "write Waiting"]
    assert world.reason() == "CloudUnavailable"
    world.cloud.jobs[101] = job_view(101, ENGINE)
    assert await world.step() == ["job 101", "write Upgrading"]


async def test_looks_at_a_job_that_fail_grow_rarer(world: World) -> None:
    await world.step()
    world.cloud.jobs[101] = CloudError(failure())
    pauses = []
    for _ in range(12):
        await world.step()
        pauses.append(world.due_in())
    assert pauses[-1] >= 15


async def test_a_job_that_the_vendor_does_not_know_is_looked_for_at_the_engine(
    world: World,
) -> None:
    await world.step()
    shown = world.cloud.jobs.pop(101)
    assert (await world.step())[:2] == ["job 101", "look"]
    world.time.advance(34)
    await world.step()
    assert world.reason() == "Upgrading"
    world.cloud.jobs[101] = shown
    await world.step()
    del world.cloud.jobs[101]
    world.cloud.engines[ENGINE] = engine_view(ENGINE, latest_job_id=101)
    await world.step()
    world.time.advance(34)
    await world.step()
    assert world.reason() == "Upgrading", "only a grace without any look at the job counts"
    world.time.advance(1)
    await world.step()
    assert (world.reason(), world.status()["result"]) == ("UpgradeFailed", "Failed")


async def test_the_polls_of_a_project_stay_below_a_quarter_of_its_limit() -> None:
    polls = Polls(interval=5.0, limit=100.0)
    for number in range(1000):
        polls.runs(f"n/{number}", ("cse", "p"))
    polls.runs("n/lone", ("cse", "q"))
    polls.runs("n/lone", ("cse", "q"))
    assert 1000 / (polls.interval(("cse", "p")) * 0.9) <= 25.0
    assert polls.interval(("cse", "q")) == 5.0
    for number in range(1000):
        polls.ended(f"n/{number}")
    assert polls.interval(("cse", "p")) == 5.0


# -- before a call -----------------------------------------------------------------------------


async def test_no_call_is_made_until_the_right_to_act_was_held_for_one_grace(
    time: FakeTime,
) -> None:
    world = World(time=time, start_grace=35.0)
    world.cloud.engines[ENGINE] = engine_view(ENGINE)
    world.apply(stored())
    assert "upgrade to 2.4.0" not in await world.step()
    assert world.reason() == "WaitingToCall"
    assert 35.0 <= world.due_in() <= 36.0
    time.advance(34)
    assert "upgrade to 2.4.0" not in await world.step()
    time.advance(2)
    assert (await world.step())[-2:] == ["upgrade to 2.4.0", "write Upgrading"]


async def test_observe_only_looks_says_so_and_calls_nothing(time: FakeTime) -> None:
    world = World(time=time, observes_only=True)
    world.cloud.engines[ENGINE] = engine_view(ENGINE)
    world.apply(stored())
    assert await world.step() == ["look", "write Waiting"]
    assert world.reason() == "ObserveOnly"
    assert "only observes (--observe-only)" in world.status()["message"]


async def test_observe_only_adopts_and_follows_foreign_jobs(time: FakeTime) -> None:
    world = World(time=time, observes_only=True)
    world.cloud.engines[ENGINE] = engine_view(ENGINE, status="Upgrading", latest_job_id=101)
    world.cloud.jobs[101] = job_view(101, ENGINE)
    world.apply(stored())
    await world.step()
    assert world.status()["upgrade"]["jobId"] == 101
    assert world.reason() == "Upgrading"


async def test_a_retry_that_somebody_asks_for_waits_too(time: FakeTime) -> None:
    world = World(time=time, observes_only=True)
    world.cloud.engines[ENGINE] = engine_view(
        ENGINE, status="UpgradeFailed", latest_job_id=101, additional_actions=("Retry",)
    )
    world.cloud.jobs[101] = job_view(101, ENGINE, status="Error")
    world.apply(stored(annotations={RETRY_REQUESTED_AT: "now"}))
    assert "retry" not in await world.step()
    assert world.reason() == "ObserveOnly"


# -- a region that is not allowed any more -------------------------------------------------------


async def test_in_a_region_that_is_not_allowed_nothing_is_asked_and_nothing_begins(
    world: World,
) -> None:
    world.cloud.region_refused = True
    assert await world.step() == ["write Failed"]
    assert world.reason() == "RegionNotAllowed"


async def test_in_a_region_that_is_not_allowed_a_running_upgrade_is_followed_to_its_end(
    world: World,
) -> None:
    await world.step()
    world.cloud.region_refused = True
    assert await world.step() == ["job 101"]
    assert world.reason() == "Upgrading"
    _end_job(world)
    assert await world.step() == ["job 101", "look", "write UpToDate"]
    assert world.status()["upgrade"]["result"] == "Succeeded"
    assert await world.step() == ["write Failed"]
    assert world.reason() == "RegionNotAllowed"


async def test_in_a_region_that_is_not_allowed_a_failed_upgrade_is_recorded_and_not_retried(
    world: World,
) -> None:
    await world.step()
    world.cloud.region_refused = True
    _end_job(world, status="Error")
    assert await world.step() == ["job 101", "look", "write Failed"]
    assert world.status()["upgrade"]["result"] == "Failed"
    assert await world.step() == ["write Failed"]
    assert world.reason() == "RegionNotAllowed"


async def test_in_a_region_that_is_not_allowed_a_newer_version_waits_for_the_region(
    world: World,
) -> None:
    await world.step()
    world.cloud.region_refused = True
    world.apply(changed(world.cluster.objects[KEY], version="2.5.0"))
    _end_job(world)
    assert await world.step() == ["job 101", "look", "write Failed"]
    assert world.status()["upgrade"]["result"] == "Succeeded"
    assert world.reason() == "RegionNotAllowed"


async def test_in_a_region_that_is_not_allowed_a_lost_call_is_looked_for_and_not_made_again(
    world: World, time: FakeTime
) -> None:
    world.cloud.outcomes = [CloudError(failure(FailureKind.OUTCOME_UNKNOWN))]
    assert "upgrade to 2.4.0" in await world.step()
    world.cloud.region_refused = True
    await world.run(300)
    deeds = world.deeds
    assert "look" in deeds
    assert "upgrade to 2.4.0" not in deeds
    assert world.reason() == "RegionNotAllowed"
    assert "result" not in world.status()["upgrade"]


async def test_jobs_are_adopted_and_followed_before_that_grace_is_over(time: FakeTime) -> None:
    world = World(time=time, start_grace=35.0)
    world.cloud.engines[ENGINE] = engine_view(ENGINE, status="Upgrading", latest_job_id=101)
    world.cloud.jobs[101] = job_view(101, ENGINE)
    world.apply(stored())
    await world.step()
    assert world.status()["upgrade"]["jobId"] == 101
    assert await world.step() == ["job 101"]


async def test_after_a_stop_was_asked_for_no_call_begins(world: World) -> None:
    world.cluster.before_write = [world.authority.stop]
    assert await world.step() == ["look", "write Submitting", "write Waiting"]
    assert world.cloud.send_before == []
    assert await world.step() == ["look"]


async def test_before_an_intent_the_secret_is_read_as_it_is_now(world: World) -> None:
    assert world.cloud.live_reads == 0
    await world.step()
    assert world.cloud.live_reads == 1
    await world.step()
    assert world.cloud.live_reads == 1


async def test_a_secret_that_was_deleted_since_the_look_is_not_called_with(world: World) -> None:
    world.cloud.rotations = [CloudError(failure(FailureKind.CREDENTIALS_MISSING))]
    assert await world.step() == ["look", "write Waiting"]
    assert world.reason() == "CredentialsNotFound"


async def test_with_a_secret_that_was_rotated_since_the_look_the_engine_is_looked_at_again(
    world: World,
) -> None:
    world.cloud.rotations = [SimpleNamespace(client=world.cloud)]
    assert await world.step() == ["look"]
    assert world.queue._next() == KEY
    assert (await world.step())[-2:] == ["upgrade to 2.4.0", "write Upgrading"]


# -- when Kubernetes says no -------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [
        errors.Conflict("a webhook says no", status=409),
        errors.Invalid("unknown field"),
        errors.Denied("may not patch"),
    ],
)
async def test_writes_that_are_always_refused_cost_a_few_steps(
    world: World, refusal: Exception
) -> None:
    world.cluster.refusals = [refusal]
    world.queue.add(KEY)
    assert await world.run(600) < 16
    world.cluster.refusals.clear()
    assert await world.run(600) > 0
    assert world.reason() == "Upgrading"


async def test_an_api_server_is_asked_again_within_half_a_minute_however_long_it_was_away(
    world: World,
) -> None:
    world.cluster.refusals = [errors.Unavailable("away")]
    world.queue.add(KEY)
    await world.run(600)
    world.cluster.refusals.clear()
    await world.run(31)
    assert world.reason() == "Upgrading"


async def test_the_time_that_the_api_server_asks_for_is_waited(world: World) -> None:
    world.cluster.refusals = [errors.Unavailable("429", status=429, retry_after=120.0)]
    await world.step()
    assert world.due_in() >= 120.0


async def test_a_restored_backup_is_read_past_the_watch(world: World) -> None:
    await world.step()
    restored = changed(world.cluster.objects[KEY])
    restored["metadata"]["resourceVersion"] = "5"
    world.cluster.objects[KEY] = restored
    _end_job(world)
    world.queue.add(KEY)
    assert await world.run(60) < 5
    assert world.reason() == "UpToDate"


async def test_a_deletion_seen_before_the_answer_to_a_write_leaves_no_ghost(world: World) -> None:
    world.cloud.engines[ENGINE] = engine_view(ENGINE, version="2.4.0")
    world.cluster.after_write = [lambda: world.delete(KEY)]
    await world.step()
    assert world.cache.get(KEY) is None
    world.apply(stored("heir", namespace="shop", uid="heir"))
    await world.step("shop/heir")
    assert world.reason("shop/heir") == "UpToDate"


# -- resources that cannot be worked on --------------------------------------------------------


async def test_without_credentials_nothing_is_asked_and_the_way_out_is_said(world: World) -> None:
    world.cloud.no_access = CloudError(failure(FailureKind.CREDENTIALS_MISSING))
    assert await world.step() == ["write Waiting"]
    assert world.reason() == "CredentialsNotFound"
    world.cloud.no_access = None
    assert (await world.step())[-1] == "write Upgrading"


async def test_a_spec_that_does_not_fit_is_said_and_nothing_asked(world: World) -> None:
    world.apply(changed(world.cluster.objects[KEY], version=7))
    assert await world.step() == ["write Failed"]
    assert world.reason() == "InvalidSpec"
    assert "spec.version" in world.status()["message"]


# -- several resources for one engine ----------------------------------------------------------

OLDER, YOUNGER = "payments/older", "payments/younger"


@pytest.fixture
def other_owners(time: FakeTime) -> World:
    """Two resources for one engine; the watch has shown only the younger one so far."""
    world = World(time=time)
    world.cloud.engines[ENGINE] = engine_view(ENGINE)
    world.apply(stored("older", uid="1"), watched=False)
    world.apply(stored("younger", uid="2"))
    return world


async def test_a_resource_that_is_not_the_owner_looks_once_and_then_makes_no_call(
    other_owners: World,
) -> None:
    other_owners.watch(OLDER)
    await other_owners.step(OLDER)
    assert await other_owners.step(YOUNGER) == ["look", "write Failed"]
    assert other_owners.reason(YOUNGER) == "EngineAlreadyManaged"
    assert await other_owners.step(YOUNGER) == []


async def test_a_resource_without_credentials_owns_nothing_and_is_told_only_that(
    other_owners: World,
) -> None:
    other_owners.watch(OLDER)
    other_owners.cloud.no_access = CloudError(failure(FailureKind.CREDENTIALS_MISSING))
    await other_owners.step(OLDER)
    assert other_owners.reason(OLDER) == "CredentialsNotFound"
    other_owners.cloud.no_access = None
    await other_owners.step(YOUNGER)
    other_owners.time.advance(36)
    assert (await other_owners.step(YOUNGER))[-2:] == ["upgrade to 2.4.0", "write Upgrading"]


async def test_of_several_the_owner_writes_its_mark_and_waits_one_grace(
    other_owners: World,
) -> None:
    other_owners.watch(OLDER)
    assert await other_owners.step(OLDER) == ["look", "write Waiting"]
    assert other_owners.due_in(OLDER) > 34
    other_owners.time.advance(34)
    assert await other_owners.step(OLDER) == ["look"]
    other_owners.time.advance(2)
    assert (await other_owners.step(OLDER))[-2:] == ["upgrade to 2.4.0", "write Upgrading"]


async def test_an_older_resource_that_appears_within_the_grace_goes_first(
    other_owners: World,
) -> None:
    other_owners.watch(OLDER)
    assert await other_owners.step(YOUNGER) == ["look", "write Waiting"]
    assert await other_owners.step(OLDER) == ["look", "write Waiting"]
    other_owners.time.advance(36)
    assert await other_owners.step(YOUNGER) == ["write Failed"]
    assert (await other_owners.step(OLDER))[-2:] == ["upgrade to 2.4.0", "write Upgrading"]


async def test_an_owner_waits_if_an_older_resource_appears_during_its_look(
    other_owners: World,
) -> None:
    other_owners.cloud.during["look"] = [lambda: other_owners.watch(OLDER)]
    assert await other_owners.step(YOUNGER) == ["look", "write Waiting"]
    assert other_owners.cloud.send_before == []


async def test_a_resource_that_appears_during_a_call_waits_and_is_told_so(
    other_owners: World,
) -> None:
    async def the_older_one_appears_and_looks() -> None:
        other_owners.watch(OLDER)
        await other_owners.reconciler.reconcile(OLDER)

    other_owners.cloud.during["call"] = [the_older_one_appears_and_looks]
    deeds = await other_owners.step(YOUNGER)
    assert [deed for deed in deeds if deed.startswith("upgrade")] == ["upgrade to 2.4.0"]
    assert other_owners.status(YOUNGER)["upgrade"]["jobId"] == 101
    assert other_owners.reason(OLDER) == "EngineAlreadyManaged"


async def test_after_a_call_whose_resource_is_gone_the_next_one_waits_for_its_effect(
    world: World, time: FakeTime
) -> None:
    world.cloud.outcomes = [CloudError(failure(FailureKind.OUTCOME_UNKNOWN))]
    await world.step()
    world.delete(KEY)
    world.apply(stored(uid="successor"))
    assert await world.step() == ["look"]
    time.advance(34)
    assert await world.step() == ["look"]
    time.advance(2)
    assert (await world.step())[-2:] == ["upgrade to 2.4.0", "write Upgrading"]


async def test_after_an_upgrade_that_has_ended_the_next_resource_need_not_wait(
    world: World,
) -> None:
    world.cloud.outcomes = [CloudError(failure(FailureKind.OUTCOME_UNKNOWN))]
    await world.step()
    world.cloud.engines[ENGINE] = engine_view(ENGINE, status="Upgrading", latest_job_id=101)
    world.cloud.jobs[101] = job_view(101, ENGINE)
    assert await world.step() == ["look", "job 101", "write Upgrading"]
    _end_job(world)
    await world.step()
    world.delete(KEY)
    world.apply(stored(uid="successor", version="2.5.0"))
    assert "upgrade to 2.5.0" in await world.step()


async def test_a_deletion_that_a_write_finds_out_about_wakes_the_next_owner(
    other_owners: World,
) -> None:
    other_owners.watch(OLDER)
    await other_owners.step(OLDER)
    await other_owners.step(YOUNGER)
    other_owners.time.advance(36)
    other_owners.delete(OLDER, watched=False)
    assert await other_owners.step(OLDER) == ["look"]
    assert YOUNGER in other_owners.queue._waiting
    assert (await other_owners.step(YOUNGER))[-2:] == ["upgrade to 2.4.0", "write Upgrading"]


async def test_two_steps_at_once_for_one_engine_make_one_call(time: FakeTime) -> None:
    for delays in ((1, 3), (3, 1), (2, 2)):
        world = World(time=time)
        world.cloud.engines[ENGINE] = engine_view(ENGINE)
        objects: list[Object] = [stored("older", uid="1"), stored("younger", uid="2")]
        for obj in objects:
            world.apply(obj, watched=False)
        world.watch(YOUNGER)

        arrived = asyncio.Event()

        async def arrive(world: World, ticks: int, arrived: asyncio.Event) -> None:
            await _ticks(ticks)
            world.watch(OLDER)
            arrived.set()

        first, second = delays
        world.cloud.during["look"] = [
            partial(arrive, world, first, arrived),
            partial(_ticks, second),
        ]
        world.cloud.during["call"] = [partial(_ticks, 5)]
        await asyncio.gather(world.step(YOUNGER), _step_after(arrived, world, OLDER))
        for _ in range(3):
            time.advance(16)
            for key in (OLDER, YOUNGER):
                await world.reconciler.reconcile(key)
        assert len(world.cloud.send_before) == 1


async def _ticks(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _step_after(event: asyncio.Event, world: World, key: str) -> None:
    await event.wait()
    await world.reconciler.reconcile(key)
