"""The gate at run time: slots, sweeps, and the effect of a closing policy on a step."""

from __future__ import annotations

import asyncio
import copy
import time as clock
from datetime import timedelta
from typing import Any

import pytest

from cse_operator.api.failure_kind import FailureKind
from cse_operator.api.names import APPROVED_VERSION, RETRY_REQUESTED_AT
from cse_operator.cloud.errors import CloudError
from cse_operator.core.observation import Limits
from cse_operator.core.permit import ALLOWED, Held, permit
from cse_operator.core.policies import PolicySet
from cse_operator.kube import errors
from cse_operator.runtime import calls, gate, reconcile, statuses, work
from support.cloud_calls import FakeTime
from support.fake_vendor import NOON, engine_view, failure, job_view
from support.policies import policy, utc
from support.reconcile_world import World
from support.resources import changed, deleting, stored

KEY = "payments/orders"
CLOSED = policy(suspend=True)
NIGHT = policy(windows=[{"name": "w", "schedule": "0 2 * * *", "duration": "4h"}])


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A resource that asks for 2.4.0, and its engine at 2.3.1, at noon."""
    time = FakeTime()
    for module in (calls, reconcile, statuses, work):
        monkeypatch.setattr(module, "boottime", time)
    world = World(time=time)
    add(world, "orders")
    return world


def add(world: World, name: str, **spec: Any) -> str:
    engine = spec.setdefault("engineId", f"engine-of-{name}")
    world.cloud.engines.setdefault(engine, engine_view(engine))
    world.apply(stored(name, **spec))
    return f"payments/{name}"


def rule(world: World, *policies: Any, **of_the_set: Any) -> None:
    world.policies = PolicySet(tuple(policies), **of_the_set)
    world.gate.policies_changed()


def drain(world: World) -> None:
    """Take all keys out of the queue."""
    while (key := world.queue._next()) is not None:
        world.queue.done(key)


async def test_with_no_policy_nothing_changes(world: World) -> None:
    assert not world.gate.in_force
    assert await world.step() == ["look", "write Submitting", "upgrade to 2.4.0", "write Upgrading"]
    assert "held" not in world.status()


async def test_a_held_engine_costs_one_look_and_one_write_and_no_more(world: World) -> None:
    rule(world, CLOSED)
    assert await world.step() == ["look", "write Waiting"]
    assert world.reason() == "PolicySuspended"
    [held] = world.status()["held"]
    assert held == {"kind": "UpgradePolicy", "policy": "production", "reason": "PolicySuspended"}
    assert world.events == ["PolicySuspended"]


async def test_held_for_a_day(world: World) -> None:
    """While nothing changes, there is no status write, and no call but the looks for drift."""
    rule(world, NIGHT)
    await world.step()
    world.cluster.deeds.clear()
    for _ in range(24 * 6):
        world.wall[0] += timedelta(seconds=1)
        world.gate.changed()
        world.gate.sweep()
        await world.run(600)
    assert set(world.deeds) == {"look"}


async def test_upgrade_outlives_window(world: World) -> None:
    """A running upgrade is followed; no new one starts."""
    world.wall[0] = utc("2026-12-05T05:59")
    rule(world, NIGHT)
    other = add(world, "other")
    await world.step()
    world.wall[0] = utc("2026-12-05T06:00")
    assert await world.step() == ["job 101"]
    assert await world.step(other) == ["look", "write Waiting"]
    world.cloud.jobs[101] = job_view(101, "engine-of-orders", status="Finished", progress=None)
    engine = engine_view("engine-of-orders", version="2.4.0", latest_job_id=101)
    world.cloud.engines["engine-of-orders"] = engine
    await world.step()
    assert world.reason() == "UpToDate"


async def test_freeze_begins_while_job_runs(world: World) -> None:
    """The job is followed to its end; an automatic retry waits."""
    world.wall[0] = utc("2026-12-19T23:59")
    freeze = {"from": "2026-12-20T00:00:00Z", "to": "2026-12-21T00:00:00Z"}
    rule(world, policy(freezes=[freeze]))
    await world.step()
    world.wall[0] = utc("2026-12-20T00:00")
    world.cloud.jobs[101] = job_view(101, "engine-of-orders", status="Error", progress=None)
    world.cloud.engines["engine-of-orders"] = engine_view(
        "engine-of-orders",
        status="UpgradeFailed",
        latest_job_id=101,
        additional_actions=("Retry",),
    )
    deeds = await world.step()
    for _ in range(10):
        world.time.advance(100.0)
        deeds += await world.step()
    assert "retry" not in deeds
    assert world.reason() == "ChangeFreeze"
    assert world.status()["upgrade"]["result"] == "Failed"
    world.wall[0] = utc("2026-12-21T00:00")
    assert "retry" in await world.step()


async def test_policy_invalid_midway(world: World) -> None:
    """A running upgrade is followed; no new one starts."""
    rule(world, policy(maxConcurrent=5))
    other = add(world, "other")
    await world.step()
    rule(world, policy(maxConcurrent="25%"))
    assert await world.step() == ["job 101"]
    assert await world.step(other) == ["look", "write Waiting"]
    assert world.reason(other) == "PolicyInvalid"


async def test_windows_never_meet(world: World) -> None:
    """Only a person can end this, so the engine is Stalled."""
    morning = [{"name": "w", "schedule": "0 8 * * *", "duration": "1h"}]
    rule(world, NIGHT, policy(name="morning", windows=morning))
    await world.step()
    conditions = {c["type"]: c["status"] for c in world.status()["conditions"]}
    assert (world.reason(), conditions["Stalled"]) == ("NeverOpens", "True")
    assert "policy production and policy morning" in world.status()["message"]


async def test_window_closes_between_intent_and_put(world: World) -> None:
    """There is no PUT. The intent is released, because this process knows that it sent nothing."""
    world.wall[0] = utc("2026-12-05T05:59")
    rule(world, NIGHT)

    def close() -> None:
        world.wall[0] = utc("2026-12-05T06:00")

    world.cluster.after_write.append(close)
    assert await world.step() == ["look", "write Submitting", "write Waiting"]
    assert world.reason() == "OutsideWindow"
    assert "upgrade" not in world.status()
    assert not world.gate._reserved


async def test_a_call_that_waits_for_its_turn_does_not_go_out_after_the_window(
    world: World,
) -> None:
    """The send window of a call ends with the policy's window, or when a freeze begins."""
    freeze = {"from": "2026-12-05T05:59:57Z", "to": "2026-12-05T23:00:00Z"}
    other = add(world, "other")
    rule(world, NIGHT)
    world.wall[0] = utc("2026-12-05T05:59") + timedelta(seconds=58)
    assert "upgrade to 2.4.0" in await world.step()
    rule(world, NIGHT, policy(name="frozen", freezes=[freeze]))
    world.wall[0] = utc("2026-12-05T05:59") + timedelta(seconds=56)
    assert "upgrade to 2.4.0" in await world.step(other)
    assert world.cloud.send_before == [world.time.now + 2.0, world.time.now + 1.0]


async def test_window_closes_during_retry_after(world: World) -> None:
    """A call that was postponed asks the gate again, and is held."""
    world.wall[0] = utc("2026-12-05T05:59")
    rule(world, NIGHT)
    world.cloud.outcomes.append(CloudError(failure(FailureKind.NOT_SENT)))
    await world.step()
    world.wall[0] = utc("2026-12-05T06:00")
    assert "upgrade to 2.4.0" not in await world.step()
    assert world.reason() == "OutsideWindow"
    assert "upgrade" not in world.status()


async def test_a_requested_retry_goes_out_past_a_wave_that_waits(world: World) -> None:
    """The intent answers the request, and must not thereby end what the request excuses."""
    canary = add(world, "canary")
    labelled = changed(world.cluster.objects[canary])
    labelled["metadata"]["labels"] = {"wave": "canary"}
    world.apply(labelled)
    world.cloud.engines["engine-of-canary"] = engine_view("engine-of-canary", status="Unavailable")
    failed = {"status": "UpgradeFailed", "additional_actions": ("Retry",)}
    world.cloud.engines["engine-of-orders"] = engine_view("engine-of-orders", **failed)
    world.cloud.jobs[100] = job_view(100, "engine-of-orders", status="Error", ended_at=NOON)
    first = {"name": "canary", "selector": {"matchLabels": {"wave": "canary"}}}
    rule(world, policy(waves=[first, {"name": "rest"}]))
    await world.step(canary)
    await world.step()
    [member] = [resource.member for resource in world.cache if resource.key == KEY]
    assert isinstance(permit(member, world.gate.fleet()), Held)
    asked = changed(world.cluster.objects[KEY], annotations={RETRY_REQUESTED_AT: "9:00"})
    world.apply(asked)

    assert await world.step() == ["look", "write Submitting", "retry", "write Upgrading"]


async def test_approval_withdrawn_after_start(world: World) -> None:
    rule(world, policy(approval="Manual"))
    approved = {APPROVED_VERSION: "2.4.0"}
    now = world.cluster.objects["payments/orders"]
    world.apply(changed(now, annotations=approved))
    await world.step()
    world.apply(changed(world.cluster.objects["payments/orders"], annotations={}))
    assert await world.step() == ["job 101"]


async def test_limit_1_two_due_in_one_tick(world: World) -> None:
    """While the first engine's intent is being written, the second engine gets no slot."""
    rule(world, policy(maxConcurrent=1))
    other = add(world, "other")
    seen: list[str] = []

    async def meanwhile() -> None:
        seen.extend(await world_step_of(world, other))

    world.cluster.before_write.append(meanwhile)
    await world.reconciler.reconcile("payments/orders")
    assert "upgrade to 2.4.0" not in seen
    assert world.reason(other) == "WaitingForSlot"
    assert world.reason() == "Upgrading"


async def world_step_of(world: World, key: str) -> list[str]:
    before = len(world.cluster.deeds)
    await world.reconciler.reconcile(key)
    return world.cluster.deeds[before:]


async def test_a_conflict_gives_the_slot_back(world: World) -> None:
    rule(world, policy(maxConcurrent=1))
    other = add(world, "other")
    world.cluster.refusals.append(errors.Conflict("somebody wrote first"))
    await world.step()
    world.cluster.refusals.clear()
    assert "upgrade to 2.4.0" in await world.step(other)


async def test_thousand_wait_one_finishes(world: World) -> None:
    """The end of one upgrade wakes one waiting engine, and no other."""
    rule(world, policy(maxConcurrent=1))
    await world.step()
    names = [f"e{n:03}" for n in range(60)]
    for name in names:
        await world.step(add(world, name))
    engine = engine_view("engine-of-orders", version="2.4.0", latest_job_id=101)
    world.cloud.engines["engine-of-orders"] = engine
    world.cloud.jobs[101] = job_view(101, "engine-of-orders", status="Finished", progress=None)
    assert await world.step() == ["job 101", "look", "write UpToDate"]
    drain(world)
    world.gate.sweep()
    assert list(world.queue._waiting) == ["payments/e000"]
    assert "upgrade to 2.4.0" in await world.step("payments/e000")


@pytest.mark.parametrize("reason", ["EngineAlreadyManaged", "EngineNotFound"])
async def test_an_engine_that_is_not_looked_at_again_holds_no_slot(
    world: World, reason: str
) -> None:
    """A state seen during the owner's upgrade, or before the engine vanished, is out of date."""
    status = held_status()
    del status["held"], status["heldSince"]
    status["engine"]["status"] = "Upgrading"
    assert world.cache.get(_stored(world, "seen", status)).member.in_flight
    status["conditions"][0]["reason"] = reason
    assert not world.cache.get(_stored(world, "unseen", status)).member.in_flight


def _stored(world: World, name: str, status: dict[str, Any]) -> str:
    world.apply(stored(name, engineId=f"engine-of-{name}", status=copy.deepcopy(status)))
    return f"payments/{name}"


async def test_a_call_that_is_held_after_its_intent_keeps_its_place_in_line(world: World) -> None:
    rule(world, NIGHT)
    world.apply(changed(world.cluster.objects["payments/orders"], status=held_status()))
    since = world.status()["heldSince"]
    world.wall[0] = utc("2026-12-06T05:59")

    def close() -> None:
        world.wall[0] = utc("2026-12-06T06:00")

    world.cluster.after_write.append(close)
    assert await world.step() == ["look", "write Submitting", "write Waiting"]
    assert world.reason() == "OutsideWindow"
    assert world.status()["heldSince"] == since


async def test_an_engine_whose_step_does_not_end_blocks_no_line(world: World) -> None:
    """That engine's own retry asks again; until then, another engine takes the slot."""
    rule(world, policy(maxConcurrent=1, suspend=True))
    other = add(world, "other")
    await world.step()
    world.wall[0] += timedelta(seconds=1)
    await world.step(other)
    rule(world, policy(maxConcurrent=1))
    world.cluster.refusals.append(errors.KubeError("the API server refused it", status=422))
    await world.step()
    world.cluster.refusals.clear()
    drain(world)
    world.gate.sweep()
    assert list(world.queue._waiting) == [other]
    assert "upgrade to 2.4.0" in await world.step()
    assert world.reason() == "Upgrading"


async def test_a_released_engine_that_may_not_call_yet_is_not_woken_by_each_sweep(
    world: World,
) -> None:
    rule(world, CLOSED)
    await world.step()
    rule(world, policy(maxConcurrent=1))
    drain(world)
    world.queue.add_after("payments/orders", 1.0)
    world.gate.sweep()
    assert not world.queue._waiting
    world.queue._delays.drop("payments/orders")
    world.gate.sweep()
    assert list(world.queue._waiting) == ["payments/orders"]


async def test_a_lost_answer_that_is_held_keeps_its_facts_holds_no_slot_and_is_counted(
    world: World,
) -> None:
    """Each night one call loses its answer; after its repeats, a person has to look."""
    calls = 0
    for night in range(6, 12):
        world.wall[0] = utc(f"2026-12-{night:02}T02:00")
        rule(world, policy(maxConcurrent=1))
        world.cloud.outcomes = [CloudError(failure(FailureKind.OUTCOME_UNKNOWN))]
        calls += (await world.step()).count("upgrade to 2.4.0")
        rule(world, CLOSED)
        for _ in range(30):
            world.time.advance(100.0)
            await world.step()
        if world.reason() == "OutcomeUncertain":
            break
        assert world.reason() == "PolicySuspended"
        assert world.status()["upgrade"]["attempts"] == calls
        member = world.cache.get("payments/orders").member
        assert not member.in_flight
        [closed] = world.policies.policies
        assert world.gate.fleet().in_flight(closed) == set()
    assert calls == Limits().repeats + 1
    assert world.reason() == "OutcomeUncertain"


async def test_a_suspended_engine_whose_answer_was_lost_holds_no_slot_after_the_grace(
    world: World,
) -> None:
    rule(world, policy(maxConcurrent=1))
    world.cloud.outcomes = [CloudError(failure(FailureKind.OUTCOME_UNKNOWN))]
    await world.step()
    assert world.cache.get("payments/orders").member.in_flight
    world.apply(changed(world.cluster.objects["payments/orders"], suspend=True))
    for _ in range(3):
        world.time.advance(100.0)
        await world.step()
    assert world.reason() == "Suspended"
    assert world.status()["upgrade"]["attempts"] == 1
    assert not world.cache.get("payments/orders").member.in_flight


async def test_a_resource_that_is_deleted_in_its_upgrade_leaves_its_slot_taken(
    world: World,
) -> None:
    """As with `kubectl replace --force`: the vendor's upgrade continues, so it counts."""
    rule(world, policy(maxConcurrent=1))
    other = add(world, "other")
    await world.step()
    assert world.reason() == "Upgrading"
    world.delete("payments/orders")
    assert isinstance(world.gate.ask(other, None), Held)
    again = add(world, "again", engineId="engine-of-orders")
    assert isinstance(world.gate.ask(other, None), Held)
    await world.step(again)
    assert world.reason(again) == "Upgrading"
    assert isinstance(world.gate.ask(other, None), Held), "the new one holds the slot itself"
    world.cloud.jobs[101] = job_view(101, "engine-of-orders", status="Finished", progress=None)
    engine = engine_view("engine-of-orders", version="2.4.0", latest_job_id=101)
    world.cloud.engines["engine-of-orders"] = engine
    await world.step(again)
    assert world.gate.ask(other, None) is ALLOWED


async def test_the_slot_of_a_deleted_resource_is_free_after_the_time_out_of_its_upgrade(
    world: World,
) -> None:
    rule(world, policy(maxConcurrent=1))
    other = add(world, "other")
    world.apply(changed(world.cluster.objects["payments/orders"], upgrade={"timeout": "30m"}))
    await world.step()
    world.delete("payments/orders")
    world.wall[0] += timedelta(minutes=29)
    assert isinstance(world.gate.ask(other, None), Held)
    world.wall[0] += timedelta(minutes=1)
    assert world.gate.ask(other, None) is ALLOWED


async def test_a_resource_that_a_finalizer_keeps_is_followed_to_the_end_of_its_job(
    world: World,
) -> None:
    """After the job the slot is free, and nothing more is called for the resource."""
    rule(world, policy(maxConcurrent=1))
    await world.step()
    world.apply(deleting(world.cluster.objects["payments/orders"]))
    assert await world.step() == ["job 101"]
    world.cloud.jobs[101] = job_view(101, "engine-of-orders", status="Error", progress=None)
    world.cloud.engines["engine-of-orders"] = engine_view(
        "engine-of-orders", status="UpgradeFailed", latest_job_id=101
    )
    deeds = await world.step()
    assert deeds[:2] == ["job 101", "look"]
    assert not {"retry", "upgrade to 2.4.0"} & set(deeds)
    assert not world.cache.get("payments/orders").member.in_flight
    assert await world.step() == []


async def test_a_lost_answer_of_a_resource_that_a_finalizer_keeps_is_not_called_again(
    world: World,
) -> None:
    rule(world, policy(maxConcurrent=1))
    world.cloud.outcomes = [CloudError(failure(FailureKind.OUTCOME_UNKNOWN))]
    await world.step()
    world.apply(deleting(world.cluster.objects["payments/orders"]))
    for _ in range(3):
        world.time.advance(100.0)
        assert "upgrade to 2.4.0" not in await world.step()
    assert not world.cache.get("payments/orders").member.in_flight


async def test_a_sweep_names_the_moment_of_the_next_opening(world: World) -> None:
    rule(world, NIGHT)
    await world.step()
    drain(world)
    world.wall[0] = utc("2026-12-06T01:59")
    world.gate.changed()
    assert world.gate.sweep() == pytest.approx(60.0)
    assert not world.queue._waiting
    world.wall[0] = utc("2026-12-06T02:00")
    world.gate.sweep()
    assert list(world.queue._waiting) == ["payments/orders"]


async def test_a_sweep_comes_when_a_gate_closes_too(world: World) -> None:
    """No engine waits for the closing, but the policy's status and metrics must show it."""
    rule(world, NIGHT)
    world.wall[0] = utc("2026-12-06T05:59")
    assert world.gate.sweep() == pytest.approx(60.0)
    rule(world, policy(freezes=[{"from": "2026-12-06T06:01:00Z", "to": "2026-12-07T00:00:00Z"}]))
    assert world.gate.sweep() == pytest.approx(120.0)


async def test_sweeps_that_take_long_leave_most_of_the_time_to_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await real(0)

    def sweep() -> float:
        clock.sleep(0.2)
        world.gate.changed()
        return 600.0

    monkeypatch.setattr(world.gate, "sweep", sweep)
    monkeypatch.setattr(gate.asyncio, "sleep", sleep)
    sweeping = asyncio.create_task(world.gate.run())
    while len(pauses) < 2:
        await real(0)
    sweeping.cancel()
    await asyncio.wait({sweeping})
    assert min(pauses) >= 0.6


async def test_operator_down_all_window_and_clocks_that_jump_are_swept_within_ten_minutes(
    world: World,
) -> None:
    rule(world, NIGHT)
    await world.step()
    assert world.gate.sweep() == 600.0
    world.wall[0] = utc("2026-12-05T01:00")  # the clock steps back
    assert isinstance(world.gate.ask("payments/orders", None), Held)
    world.wall[0] = utc("2026-12-07T02:30")
    assert world.gate.ask("payments/orders", None) is ALLOWED


async def test_a_changed_policy_wakes_only_engines_whose_reason_changes(
    world: World,
) -> None:
    rule(world, CLOSED)
    await world.step()
    drain(world)
    rule(world, policy(suspend=True, maxConcurrent=3))
    assert not world.queue._waiting
    rule(world, policy(approval="Manual"))
    assert list(world.queue._waiting) == ["payments/orders"]


async def test_before_all_engines_are_listed_nobody_starts(world: World) -> None:
    """An intent of the previous leader may not be in the cache yet."""
    rule(world, policy(maxConcurrent=5))
    world.gate._listed = lambda: False
    await world.step()
    assert world.reason() == "WaitingToCall"
    world.gate._listed = lambda: True
    assert "upgrade to 2.4.0" in await world.step()


async def test_before_the_policies_are_listed_by_this_leader_nobody_starts(world: World) -> None:
    """A list from before may lack a policy that has closed since."""
    world.gate._policies_listed = lambda: False
    await world.step()
    assert world.reason() == "WaitingToCall"
    world.gate._policies_listed = lambda: True
    assert "upgrade to 2.4.0" in await world.step()


async def test_a_sweep_over_a_thousand_engines_and_fifty_policies_is_quick(world: World) -> None:
    """At most 0.1 seconds of CPU, in the best of eight tries because the machine may be busy."""
    waves = [{"name": "first", "selector": {"matchLabels": {"wave": "a"}}}, {"name": "rest"}]
    many = [
        policy(
            name=f"p{n}",
            selector={"matchLabels": {"group": str(n % 10)}},
            windows=[
                {"name": "a", "schedule": f"{n} 2 * * *", "duration": "4h"},
                {"name": "b", "schedule": f"{n} 12 * * SAT", "duration": "8h"},
            ],
            waves=waves,
            maxConcurrent=5,
        )
        for n in range(50)
    ]
    for n in range(1000):
        obj = stored(f"e{n}", engineId=f"engine-{n}", status=held_status())
        obj["metadata"]["labels"] = {"group": str(n % 10), "wave": "ab"[n % 2], "app": f"e{n}"}
        world.apply(obj)
    rule(world, *many)
    world.gate.sweep()
    took = []
    for _ in range(8):
        world.gate.changed()
        world.wall[0] += timedelta(seconds=1)
        began = clock.thread_time()
        world.gate.sweep()
        took.append(clock.thread_time() - began)
    assert min(took) < 0.1


def held_status() -> dict[str, Any]:
    return {
        "observedGeneration": 1,
        "currentVersion": "2.3.1",
        "engine": {"name": "e", "type": "CSE", "status": "Available"},
        "held": [{"kind": "UpgradePolicy", "policy": "p0", "reason": "OutsideWindow"}],
        "heldSince": "2026-12-01T00:00:00Z",
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "reason": "OutsideWindow",
                "message": "waits",
                "observedGeneration": 1,
                "lastTransitionTime": "2026-12-01T00:00:00Z",
            }
        ],
    }


async def test_a_stop_that_comes_with_a_change_ends_the_sweeps(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "BETWEEN_SWEEPS", 0.0)
    sweeping = asyncio.create_task(world.gate.run())
    for _ in range(10):
        await asyncio.sleep(0)
    world.gate.changed()
    await asyncio.sleep(0)
    sweeping.cancel()
    done, _ = await asyncio.wait({sweeping}, timeout=5)
    assert sweeping in done
