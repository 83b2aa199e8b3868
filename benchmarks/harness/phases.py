"""The phases of a measurement: start, rest, lone changes, and a burst."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from cse_simulator.control_plane import LocalControlPlane
from cse_simulator.vendor.simulation import Simulation, start_simulator
from harness import crd
from harness.contestants import Contestant, Manner, Running
from harness.load import Load, has_job_for, settled_at, upgraded_to
from harness.measures import Meter, Process, until_quiet

FIRST, LONE, BURST = "2.3.1", "2.4.0", "2.5.0"
BURST_JOB_SECONDS = 3.0
LONE_JOB_SECONDS = 0.5
"""Short, so that fifty changes in sequence end in time; the poll interval dominates the result."""
VENDOR_CALLS_PER_SECOND = 200.0
"""The vendor's documented limit for each API and project; calls beyond it get a 429."""
VENDOR_JOB_SECONDS = 60.0


@dataclass(frozen=True)
class Plan:
    """The measurements of one contestant."""

    resources: int
    lone_changes: int
    idle_seconds: float
    burst: bool = True
    limits: bool = False
    """Whether the vendor limits calls and runs long jobs."""
    seconds: float = 1800.0
    """The time after which the contestant is given up."""

    @property
    def job_seconds(self) -> float:
        """The duration of the jobs in the burst."""
        return VENDOR_JOB_SECONDS if self.limits else BURST_JOB_SECONDS


@dataclass(frozen=True)
class _Scene:
    control_plane: LocalControlPlane
    simulation: Simulation
    load: Load
    running: Running

    @property
    def process(self) -> Process:
        return self.running.process

    def meter(self) -> Meter:
        pids = self.control_plane.process_ids
        processes = {
            "contestant": self.process,
            "simulator": Process(self.simulation.pid),
            "kube-apiserver": Process(pids["kube-apiserver"]),
            "etcd": Process(pids["etcd"]),
        }
        own = self.load.made
        return Meter(self.control_plane.cluster, self.simulation.admin, processes, own.copy)


async def measure(contestant: Contestant, plan: Plan, manner: Manner, log: Path) -> dict[str, Any]:
    """Run all phases for one contestant, with a new API server and a new simulator.

    Raises:
        TimeoutError: The phases took longer than the plan's seconds.
        RuntimeError: The contestant ended, or a call failed.
    """
    async with asyncio.timeout(plan.seconds):
        return await _measure(contestant, plan, manner, log)


async def _measure(contestant: Contestant, plan: Plan, manner: Manner, log: Path) -> dict[str, Any]:
    with (
        LocalControlPlane() as control_plane,
        start_simulator(
            engines=plan.resources,
            version=FIRST,
            latest=BURST,
            upgrade_policy="upward",
            job_seconds=plan.job_seconds,
            calls_per_second=VENDOR_CALLS_PER_SECOND if plan.limits else 0.0,
        ) as simulation,
    ):
        cluster = control_plane.cluster
        cluster.install_crd(crd.definition(ours=contestant.our_crd))
        for policy in crd.policies():
            cluster.install_crd(policy)
        async with Load(cluster) as load:
            await load.create([engine.id for engine in simulation.admin.engines()], FIRST)
            writes = await load.intent_write_seconds(30)
            result: dict[str, Any] = {
                "contestant": contestant.name,
                "describes": contestant.describes,
                "resources": plan.resources,
                "limits": plan.limits,
                "status_write_ms": round(median(writes) * 1000, 2),
            }
            running = Running(contestant, manner, cluster.kubeconfig, simulation.url, log)
            await _first_contact(_Scene(control_plane, simulation, load, running), plan)
            scene = _Scene(control_plane, simulation, load, running)
            with running:
                result["start"] = await _start(scene)
                result["idle"] = await _idle(scene, plan.idle_seconds)
                await running.until_it_begins()
                if plan.lone_changes:
                    result["lone"] = await _lone(scene, plan.lone_changes)
                if plan.burst:
                    result["burst"] = await _burst(scene, plan.resources)
    return result


async def _first_contact(scene: _Scene, plan: Plan) -> None:
    """Let the contestant settle every resource, so that the measured start finds them at rest."""
    async with scene.load.watching() as onlooker:
        seen = [onlooker.expect(index, settled_at(FIRST)) for index in range(plan.resources)]
        with scene.running as running:
            await running.until_ready()
            await asyncio.gather(*seen)
            await until_quiet(running.process)


async def _start(scene: _Scene) -> dict[str, Any]:
    meter, begun = scene.meter(), time.monotonic()
    before = await meter.start()
    await scene.running.until_ready()
    ready = time.monotonic() - begun
    settled = await until_quiet(scene.process) - begun
    # The process began before the first snapshot: count all of its CPU time as its start's.
    cpu = scene.process.cpu_seconds()
    counted = await meter.since(before, wall=settled)
    return {
        **counted,
        "ready_seconds": round(ready, 3),
        "contestant_cpu": round(cpu, 3),
        "peak_rss_mib": round(scene.process.peak_rss_mib(), 1),
        "rest_rss_mib": round(scene.process.rss_mib(), 1),
    }


async def _idle(scene: _Scene, seconds: float) -> dict[str, Any]:
    meter = scene.meter()
    before = await meter.start()
    await asyncio.sleep(seconds)
    return await meter.since(before)


async def _lone(scene: _Scene, changes: int) -> dict[str, Any]:
    """Change one resource after the other; wait for each result before the next change."""
    admin = scene.simulation.admin
    admin.change_settings(job_seconds=LONE_JOB_SECONDS)
    taken: dict[str, list[float]] = {"put": [], "job": [], "result": []}
    meter = scene.meter()
    before = await meter.start()
    async with scene.load.watching() as onlooker:
        for index in range(changes):
            job = onlooker.expect(index, has_job_for(LONE))
            result = onlooker.expect(index, upgraded_to(LONE))
            await scene.load.change([index], LONE)
            changed = time.time()
            async with asyncio.timeout(120):
                taken["job"].append(await job - changed)
                taken["result"].append(await result - changed)
            put = admin.calls("Upgrade")[-1]
            taken["put"].append(put.time - changed)
            # Leave time for the work after a result, such as an Event.
            await asyncio.sleep(0.1)
    counted = await meter.since(before)
    admin.change_settings(job_seconds=BURST_JOB_SECONDS)
    return {**counted, "milliseconds": {name: _spread(of) for name, of in taken.items()}}


async def _burst(scene: _Scene, resources: int) -> dict[str, Any]:
    """Change all resources at once, and wait for the result of each."""
    await until_quiet(scene.process)
    scene.process.forget_peak()
    meter = scene.meter()
    before = await meter.start()
    async with scene.load.watching() as onlooker:
        done = [onlooker.expect(index, upgraded_to(BURST)) for index in range(resources)]
        begun = time.monotonic()
        await scene.load.change(range(resources), BURST)
        changed = time.monotonic() - begun
        await asyncio.gather(*done)
        wall = time.monotonic() - begun
    # Work after the last result, such as Events, counts as cost of the burst but not as time.
    await until_quiet(scene.process)
    counted = await meter.since(before, wall=wall)
    accepted = scene.simulation.admin.accepted_upgrades().values()
    return {
        **counted,
        "changed_after": round(changed, 3),
        "upgraded_twice": sum(1 for times in accepted if times > 1),
        "peak_rss_mib": round(scene.process.peak_rss_mib(), 1),
        "rest_rss_mib": round(scene.process.rss_mib(), 1),
    }


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    picked = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    last = len(ordered) - 1
    return {name: round(ordered[round(share * last)] * 1000, 2) for name, share in picked.items()}
