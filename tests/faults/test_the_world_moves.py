"""The operator's surroundings change during an upgrade: its network, clock, API server, and other
operators. The end-to-end tests cover what people and the vendor do meanwhile.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import yaml

from cse_simulator.control_plane import LocalControlPlane
from cse_simulator.vendor.jobs import JobPlan
from cse_simulator.vendor.simulation import Simulation, start_simulator
from support.faults import catalogue
from support.faults.matrix import (
    STAGES_AT_ONCE,
    Case,
    Result,
    record,
    run_alone,
    run_case,
    run_together,
    standby,
    twin,
)
from support.faults.proxy import Behaviour, Boundary, Exchange
from support.faults.stage import Stage, World
from support.repository import CRDS
from support.upgrade_run import UPGRADE

pytestmark = pytest.mark.timeout(3600)

Judge = Callable[[str, list[Result]], None]

QUARTER = 900.0
"""The offset of a wrong clock, in seconds."""

CUT_SECONDS = 60.0
"""Ten minutes; here all of the operator's waits are a tenth, and so is this."""

REST_OF_TEN_MINUTES = 540.0
"""The rest of the ten minutes, by which the vendor's clock jumps because it cannot be shortened."""

INTENT = Boundary("kube", "PATCH microserviceengines/status", 1)
UPGRADE_CALL = Boundary("cloud", "PUT upgrade", 1)
EVENT_OF_INTENT = Boundary("kube", "EVENT microserviceengines", 2)
LOOK_AT_JOB = Boundary("cloud", "GET job", 1)


async def _calls(world: World) -> list[Boundary]:
    """Return an upgrade's calls about the resource and its engine, from the first event on."""
    boundaries = await record(world, UPGRADE)
    first = next(n for n, boundary in enumerate(boundaries) if boundary.call.startswith("EVENT"))
    others = ("EVENT", "LIST microserviceengines", "WATCH")
    return [b for b in boundaries[first:] if not b.call.startswith(others)]


# --- other operators, other clocks ------------------------------------------------------------


async def test_two_operators_with_clocks_half_an_hour_apart_make_one_call_despite_any_fault(
    world: World, judge: Judge
) -> None:
    cases = [
        Case(boundary, name, behaviour)
        for boundary in await _calls(world)
        for name, behaviour in catalogue.faults_of(boundary)
    ]
    results = await run_together(world, UPGRADE, cases, beside=twin, skew_seconds=QUARTER)
    judge("two operators, clocks ±15 min: faults", results)


async def test_an_operator_killed_around_any_call_goes_on_with_another_clock(
    world: World, judge: Judge
) -> None:
    deaths = {
        "killed before": catalogue.killed_before,
        "killed after": catalogue.killed_after,
    }
    cases = [
        Case(boundary, name, behaviour)
        for boundary in await _calls(world)
        for name, behaviour in deaths.items()
    ]
    results = await run_alone(world, UPGRADE, cases, skew_seconds=QUARTER)
    judge("killed, clocks ±15 min by turns", results)


async def test_the_clocks_of_these_operators_are_really_off(world: World) -> None:
    async with Stage(world, skew_seconds=QUARTER) as stage:
        await stage.operator.until_ready()
        await stage.operator.kill()
        await stage.operator.until_ready()
        lines = stage.operator.process.output().splitlines()
    shown = [dt.datetime.fromisoformat(json.loads(line)["time"]) for line in (lines[0], lines[-1])]
    now = dt.datetime.now(dt.UTC)
    assert [round((one - now) / dt.timedelta(seconds=QUARTER)) for one in shown] == [1, -1]


async def test_a_rolling_update_at_any_call_hands_the_upgrade_over(
    world: World, judge: Judge
) -> None:
    cases = [
        Case(boundary, "told to stop", catalogue.told_to_stop) for boundary in await _calls(world)
    ]
    results = await run_alone(world, UPGRADE, cases, beside=standby, elects=True)
    judge("rolling update", results)


async def test_a_leader_that_sleeps_beyond_its_lease_in_any_call_does_no_harm_when_it_wakes(
    world: World, judge: Judge
) -> None:
    pauses = {"wakes as its successor looks": 0.0, "wakes when its successor is done": 7.0}
    cases = [
        Case(boundary, name, catalogue.paused(seconds))
        for boundary in await _calls(world)
        for name, seconds in pauses.items()
    ]
    results = await run_alone(world, UPGRADE, cases, beside=standby, elects=True)
    judge("asleep beyond the Lease", results)


# --- the network ------------------------------------------------------------------------------


def cut_off(stage: Stage, sides: tuple[str, ...], *, silently: bool) -> Behaviour:
    """Let the call take effect; then cut all connections for ten minutes."""

    def mend() -> None:
        stage.world.simulation.admin.change_settings(clock_offset_seconds=REST_OF_TEN_MINUTES)
        for side in sides:
            stage.proxies[side].mend()

    async def behave(exchange: Exchange) -> None:
        await exchange.ask()
        asyncio.get_running_loop().call_later(CUT_SECONDS, mend)
        for side in sides:
            stage.proxies[side].cut(silently=silently)
        await exchange.proxy.pass_cut()
        exchange.hang_up()

    return behave


async def test_a_network_cut_of_ten_minutes_loses_nothing(world: World, judge: Judge) -> None:
    gate = asyncio.Semaphore(2 * STAGES_AT_ONCE)

    async def run(boundary: Boundary, sides: tuple[str, ...], silently: bool) -> Result:
        async with gate:
            with await asyncio.to_thread(start_simulator) as vendor:
                vendor.admin.plan_jobs(JobPlan(outcome="never", times=None))
                async with Stage(World(world.cluster, vendor, world.directory)) as stage:
                    (corner,) = stage.corners.values()
                    name = f"{' and '.join(sides)} {'silent' if silently else 'cut'}"
                    behaviour = cut_off(stage, sides, silently=silently)
                    return await run_case(stage, corner, UPGRADE, Case(boundary, name, behaviour))

    boundaries = (INTENT, UPGRADE_CALL, LOOK_AT_JOB)
    which_sides = (("kube",), ("cloud",), ("kube", "cloud"))
    chosen = list(product(boundaries, which_sides, (False, True)))
    judge("network cut", await asyncio.gather(*(run(*one) for one in chosen)))


# --- the API server ---------------------------------------------------------------------------


@pytest.fixture
def own_world(
    private_control_plane: LocalControlPlane, vendor: Simulation, tmp_path: Path
) -> World:
    """A world with an API server that a test may restart."""
    for path in sorted(CRDS.glob("*.yaml")):
        private_control_plane.cluster.install_crd(yaml.safe_load(path.read_text()))
    return World(private_control_plane.cluster, vendor, tmp_path)


class Outage:
    """Stop the API server once all runs wait for that, and start it again."""

    def __init__(self, control_plane: LocalControlPlane, parties: int, *, compacted: bool) -> None:
        self._control_plane = control_plane
        self._compacted = compacted
        self._waiting = asyncio.Barrier(parties)
        self._begun = asyncio.Event()
        self._over = asyncio.Event()

    async def intent_lost(self, exchange: Exchange) -> None:
        """Lose the write."""
        await self._happen()
        await self._over.wait()
        exchange.hang_up()

    async def intent_unanswered(self, exchange: Exchange) -> None:
        """Let the write be the API server's last action."""
        await exchange.ask()
        await self._happen()
        await self._over.wait()
        exchange.hang_up()

    async def answer_meanwhile(self, exchange: Exchange) -> None:
        """Let the vendor answer while no status can be written."""
        answer = await exchange.ask()
        await self._happen()
        await exchange.tell(answer)

    async def _happen(self) -> None:
        if await self._waiting.wait() == 0:
            await asyncio.to_thread(self._control_plane.stop_api_server, gracefully=False)
            self._begun.set()
            if self._compacted:
                await asyncio.to_thread(self._control_plane.compact_etcd)
            await asyncio.to_thread(self._control_plane.start_api_server)
            self._over.set()
        await self._begun.wait()


@pytest.mark.parametrize("compacted", [False, True], ids=["with its history", "compacted"])
async def test_an_api_server_that_restarts_in_mid_upgrade_delays_it_and_no_more(
    own_world: World, private_control_plane: LocalControlPlane, judge: Judge, compacted: bool
) -> None:
    outage = Outage(private_control_plane, 4, compacted=compacted)
    cases = [
        Case(INTENT, "lost in the restart", outage.intent_lost),
        Case(INTENT, "unanswered in the restart", outage.intent_unanswered),
        Case(UPGRADE_CALL, "answered in the restart", outage.answer_meanwhile),
        Case(LOOK_AT_JOB, "ended in the restart", outage.answer_meanwhile),
    ]
    async with Stage(own_world, corners=len(cases)) as stage:
        corners = stage.corners.values()
        results = await asyncio.gather(
            *(
                run_case(stage, corner, UPGRADE, case, may_end=True)
                for corner, case in zip(corners, cases, strict=True)
            )
        )
        lines = [r.line for corner in corners for r in corner.traffic.records]
    judge(f"API server restarted, {'compacted' if compacted else 'not compacted'}", results)
    assert any(b'"code":410' in line for line in lines), "no watch was told that it is too old"


@pytest.mark.parametrize("code", [410, 429, 500])
async def test_a_watch_that_ends_in_an_error_begins_again_in_the_same_process(
    world: World, judge: Judge, code: int
) -> None:
    async with Stage(world) as stage:
        (corner,) = stage.corners.values()
        behaviour = catalogue.watch_error(code)
        case = Case(EVENT_OF_INTENT, f"ERROR {code}", behaviour)
        result = await run_case(stage, corner, UPGRADE, case)
        assert stage.operator.exits == []
    judge(f"watch ERROR {code}", [result])
