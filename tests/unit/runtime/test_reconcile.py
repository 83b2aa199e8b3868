"""The reconcile step: intent, call, answer, in this order, whatever happens in between."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from cse_operator.cloud.errors import CloudError
from cse_operator.core.failure import FailureKind
from cse_operator.kube import errors
from cse_operator.runtime import reconcile
from cse_operator.runtime.reconcile import take_news
from support.cloud_calls import FakeTime
from support.fake_vendor import NOON, engine_view, failure, job_view
from support.reconcile_world import World
from support.resources import Object, changed, stored

KEY = "payments/orders"
ENGINE = stored()["spec"]["engineId"]


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """The steady clock that steps are measured by."""
    time = FakeTime()
    monkeypatch.setattr(reconcile, "boottime", time)
    return time


@pytest.fixture
def world(time: FakeTime) -> World:
    """A resource that wants 2.4.0, and its engine at 2.3.1."""
    world = World(time=time)
    world.cloud.engines[ENGINE] = engine_view(ENGINE)
    world.apply(stored())
    return world


def _end_job(world: World, job_id: int = 101, **fields: object) -> None:
    """Let a job end, and the follower tell of it."""
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
    tracked = world.store.get(KEY)
    assert tracked is not None
    take_news(tracked, job_id, job)


# -- one upgrade -------------------------------------------------------------------------------


async def test_the_intent_is_written_before_the_call_and_the_answer_after_it(world: World) -> None:
    assert await world.step() == ["look", "write Submitting", "upgrade to 2.4.0", "write Upgrading"]
    assert world.status()["upgrade"]["jobId"] == 101
    assert world.cloud.followed == {KEY: 101}
    assert world.events == ["Upgrading"]


async def test_a_running_job_costs_no_call_and_no_write_of_its_own(world: World) -> None:
    await world.step()
    for _ in range(3):
        assert await world.step() == []


async def test_the_result_is_written_and_the_job_let_go(world: World) -> None:
    await world.step()
    _end_job(world)
    assert await world.step() == ["look", "write UpToDate"]
    assert world.status()["result"] == "Succeeded"
    assert world.cloud.followed == {}
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
    tracked = world.store.get(KEY)
    assert tracked is not None
    take_news(tracked, 101, job_view(101, ENGINE))
    assert await world.step() == []
    time.advance(61)
    assert await world.step() == ["write Upgrading"]
    assert world.status()["upgrade"]["progress"]["step"] == "Back up configuration"


# -- the world moves during a step -------------------------------------------------------------


def _change(world: World, **spec: Any) -> None:
    world.apply(changed(world.cluster.objects[KEY], **spec))


async def test_a_wish_that_changes_during_the_look_is_not_acted_on_in_its_old_form(
    world: World,
) -> None:
    world.cloud.during["look"] = [lambda: _change(world, suspend=True)]
    assert await world.step() == ["look", "conflict"]
    assert await world.step() == ["look", "write Waiting"]
    assert world.reason() == "Suspended"


async def test_a_write_by_another_operator_that_the_watch_already_told_is_no_licence_to_call(
    world: World,
) -> None:
    intent = {"action": "Upgrade", "generation": 1, "requestedAt": "2025-06-01T12:00:00Z"}

    def another_operator_decides() -> None:
        status = {**world.status(), "phase": "Submitting", "upgrade": intent}
        world.apply(changed(world.cluster.objects[KEY], status=status))

    world.cloud.during["look"] = [another_operator_decides]
    assert await world.step() == ["look", "conflict"]
    assert world.status()["upgrade"] == intent


async def test_a_write_that_the_watch_has_not_told_yet_is_read_past_the_watch(world: World) -> None:
    world.apply(changed(world.cluster.objects[KEY], version="2.3.9"), watched=False)
    assert await world.step() == ["look", "conflict"]
    assert await world.queue.get() == KEY
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
    await world.step()
    _ = world.deeds
    assert await world.step() == ["write Upgrading"]
    assert world.status()["upgrade"]["jobId"] == 101
    assert world.status()["upgrade"]["targetVersion"] == "2.4.0"
    assert world.cloud.followed == {KEY: 101}


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
    assert world.store.get(KEY) is None
    assert world.cloud.attached == set()
    assert await world.step() == []


async def test_an_answer_is_not_written_into_a_successor_of_the_resource(world: World) -> None:
    def replace_it() -> None:
        world.delete(KEY)
        world.apply(stored(uid="successor"))

    world.cloud.during["call"] = [replace_it]
    await world.step()
    assert "upgrade" not in world.status()
    await world.step()
    assert await world.step() == []
    assert world.status()["upgrade"]["action"] == "Adopted"
    assert world.status()["upgrade"]["jobId"] == 101


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
        (FailureKind.THROTTLED, "Throttled"),
        (FailureKind.UNAUTHENTICATED, "CredentialsRefused"),
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
    assert (await world.step())[:3] == ["look", "write Submitting", "upgrade to 2.4.0"]


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
    assert world.cloud.followed == {KEY: 101}
    assert world.cloud.refollowed == [KEY, KEY]


async def test_while_the_end_of_the_first_run_is_shown_the_second_one_is_followed_on(
    world: World,
) -> None:
    await world.step()
    _end_job(world, status="Error")
    await world.step()
    before = len(world.cloud.refollowed)
    _end_job(world, status="Error")  # the follower is shown the first run once more
    world.cloud.engines[ENGINE] = engine_view(ENGINE, status="Upgrading", latest_job_id=101)
    assert await world.step() == []
    assert len(world.cloud.refollowed) == before + 1


async def test_how_long_a_job_is_over_is_counted_from_its_last_end(
    world: World, time: FakeTime
) -> None:
    await world.step()
    tracked = world.store.get(KEY)
    assert tracked is not None
    ended = job_view(101, ENGINE, status="Error", ended_at=NOON + timedelta(minutes=5))
    take_news(tracked, 101, ended)
    first = time()
    time.advance(10)
    take_news(tracked, 101, ended)
    assert tracked.notes.ended_since == first

    take_news(tracked, 101, job_view(101, ENGINE))
    assert tracked.notes.ended_since is None
    time.advance(10)
    take_news(tracked, 101, job_view(101, ENGINE, status="Finished"))
    assert tracked.notes.ended_since == time()


async def test_a_follower_that_fails_is_told_after_some_patience_and_recovers(
    world: World,
) -> None:
    await world.step()
    tracked = world.store.get(KEY)
    assert tracked is not None
    for _ in range(2):
        take_news(tracked, 101, failure())
        assert await world.step() == []
    take_news(tracked, 101, failure())
    assert await world.step() == ["write Waiting"]
    assert world.reason() == "CloudUnavailable"
    take_news(tracked, 101, job_view(101, ENGINE))
    assert await world.step() == ["write Upgrading"]


async def test_a_failure_that_comes_after_the_end_was_recorded_elsewhere_is_not_told(
    world: World,
) -> None:
    await world.step()
    _end_job(world)
    await world.step()
    engine = world.cloud.engines.pop(ENGINE)  # a cloud that does not answer for a while
    await world.step()
    world.cloud.engines[ENGINE] = engine
    tracked = world.store.get(KEY)
    assert tracked is not None
    for _ in range(5):
        take_news(tracked, 101, failure())
    assert await world.step() == ["look"]
    assert world.reason() == "UpToDate"


async def test_news_of_a_job_that_is_gone_do_not_concern_the_next_one(world: World) -> None:
    await world.step()
    tracked = world.store.get(KEY)
    assert tracked is not None
    take_news(tracked, 99, failure(FailureKind.NOT_FOUND))
    assert tracked.notes.missing_job is None
    take_news(tracked, 101, failure(FailureKind.NOT_FOUND))
    assert tracked.notes.missing_job == 101


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
def rivals(time: FakeTime) -> World:
    """Two resources for one engine, of which the watch has told the younger one so far."""
    world = World(time=time)
    world.cloud.engines[ENGINE] = engine_view(ENGINE)
    world.apply(stored("older", uid="1"), watched=False)
    world.apply(stored("younger", uid="2"))
    return world


async def test_a_rival_asks_nobody_anything(rivals: World) -> None:
    rivals.watch(OLDER)
    assert await rivals.step(YOUNGER) == ["write Failed"]
    assert rivals.reason(YOUNGER) == "EngineAlreadyManaged"
    assert rivals.cloud.attached == set()


async def test_a_driver_that_loses_its_place_during_the_look_makes_no_call(rivals: World) -> None:
    rivals.cloud.during["look"] = [lambda: rivals.watch(OLDER)]
    assert await rivals.step(YOUNGER) == ["look"]
    assert await rivals.step(YOUNGER) == ["write Failed"]


async def test_who_comes_during_a_call_waits_and_adopts_its_job(
    rivals: World, time: FakeTime
) -> None:
    async def the_older_one_appears_and_looks() -> None:
        rivals.watch(OLDER)
        await rivals.reconciler.reconcile(OLDER)

    rivals.cloud.during["call"] = [the_older_one_appears_and_looks]
    deeds = await rivals.step(YOUNGER)
    assert [deed for deed in deeds if deed.startswith("upgrade")] == ["upgrade to 2.4.0"]
    assert rivals.status(YOUNGER)["upgrade"]["jobId"] == 101
    assert rivals.reason(OLDER) == "EngineAlreadyManaged"


async def test_after_a_call_whose_resource_is_gone_the_next_one_waits_for_its_effect(
    world: World, time: FakeTime
) -> None:
    world.cloud.outcomes = [CloudError(failure(FailureKind.OUTCOME_UNKNOWN))]
    await world.step()
    world.delete(KEY)
    world.apply(stored(uid="successor"))
    assert await world.step() == ["look"]
    time.advance(29)
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


async def test_a_deletion_that_a_write_finds_out_about_wakes_the_rival(rivals: World) -> None:
    rivals.watch(OLDER)
    await rivals.step(YOUNGER)
    rivals.delete(OLDER, watched=False)
    while len(rivals.queue):
        rivals.queue.done(await rivals.queue.get())
    assert await rivals.step(OLDER) == ["look"]
    assert await rivals.queue.get() == YOUNGER
    assert (await rivals.step(YOUNGER))[-2:] == ["upgrade to 2.4.0", "write Upgrading"]


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
        for key in (OLDER, YOUNGER, OLDER, YOUNGER):
            await world.reconciler.reconcile(key)
        assert len(world.cloud.send_before) == 1


async def _ticks(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _step_after(event: asyncio.Event, world: World, key: str) -> None:
    await event.wait()
    await world.reconciler.reconcile(key)
