"""Many upgrades at once, with operators that die or run twice, and a vendor that lies.

`BURST` sets the number of engines: 200 by default, as in CI; 1000 for a full run (`make scale
BURST=1000`). The vendor counts one accepted call for each wanted upgrade, none for an engine twice.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
import yaml

from cse_simulator.control_plane import Cluster
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.simulation import Simulation, start_simulator
from support import engines, wait
from support.kubectl import Kubectl
from support.operator_process import OperatorProcess
from support.policies import most_at_once, policy_manifest

BURST = int(os.environ.get("BURST", "200"))
PATIENCE = 120.0 + BURST
KILLED_AFTER_SECONDS = 1.0
"""Seconds after the operator may call."""
KILLS = 5
VENDOR_REFUSES = 400
VENDORS_LIMIT = 200
"""Calls per second, for each API of a project."""

pytestmark = pytest.mark.timeout(60 + 2 * PATIENCE)

FLAGS = (
    "--poll-interval=1",
    "--wait-interval=1",
    "--calls-per-second=500",
    "--request-timeout=2",
    "--send-window=2",
    "--read-lag=1",
    "--clock-tolerance=1",
    "--outcome-grace=7.5",
)


@asynccontextmanager
async def fleet(cluster: Cluster, *namespaces: str, **vendor: float) -> AsyncIterator[Simulation]:
    """A vendor with `BURST` engines, and a resource for each that asks for an upgrade.

    Several namespaces get the resources in turn.
    """
    with start_simulator(
        engines=BURST,
        version="2.3.1",
        latest="2.4.0",
        job_seconds=3,
        record_calls=100_000,
        **vendor,
    ) as simulation:
        for namespace in namespaces:
            engines.create_secret(cluster, "huaweicloud", namespace=namespace, token="a-token")
        for number, engine in enumerate(simulation.admin.engines()):
            await asyncio.to_thread(
                engines.create_engine,
                cluster,
                f"e{number}",
                namespace=namespaces[number % len(namespaces)],
                projectId=engine.project_id,
                engineId=engine.id,
            )
        yield simulation


def an_operator(
    cluster: Cluster, namespace: str, simulation: Simulation, log: Path, *flags: str
) -> OperatorProcess:
    return OperatorProcess(
        cluster.kubeconfig,
        log,
        cse_endpoint=simulation.url,
        namespaces=[namespace],
        flags=[*FLAGS, *flags],
    )


async def all_succeeded(cluster: Cluster, namespace: str, count: int = BURST) -> None:
    await wait.wait_for_all(
        cluster,
        namespace,
        count,
        lambda item: item["status"]["result"] == "Succeeded" and item["status"]["jobId"],
        timeout=PATIENCE,
    )


def assert_each_engine_was_upgraded_once(simulation: Simulation) -> None:
    accepted = simulation.admin.accepted_upgrades()
    assert len(accepted) == BURST
    assert set(accepted.values()) == {1}
    # The vendor would refuse most second calls; assert that there were none to refuse.
    refused = [call for call in simulation.admin.calls("Upgrade") if call.status == VENDOR_REFUSES]
    assert not refused


async def test_two_operators_at_once_upgrade_each_engine_once(
    control_plane: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with fleet(control_plane, namespace) as simulation:
        with (
            an_operator(control_plane, namespace, simulation, tmp_path / "one.log"),
            an_operator(control_plane, namespace, simulation, tmp_path / "two.log"),
        ):
            await all_succeeded(control_plane, namespace)
        assert_each_engine_was_upgraded_once(simulation)
        assert simulation.admin.counts()["Upgrade"] == BURST


async def test_an_operator_that_is_killed_soon_after_it_may_call_upgrades_each_engine_once(
    control_plane: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with fleet(control_plane, namespace) as simulation:
        done = asyncio.ensure_future(all_succeeded(control_plane, namespace))
        kills = 0
        # Each kill may hit an engine between its intent and its answer.
        repeats = f"--outcome-repeats={KILLS}"
        log = tmp_path / "log"
        with an_operator(control_plane, namespace, simulation, log, repeats) as operator:
            while not done.done() and kills < KILLS:
                await asyncio.to_thread(operator.wait_until_it_may_call)
                await asyncio.wait({done}, timeout=KILLED_AFTER_SECONDS)
                if not done.done():
                    operator.kill()
                    await asyncio.to_thread(operator.restart)
                    kills += 1
            await done
        assert kills > 1
        assert_each_engine_was_upgraded_once(simulation)
        assert simulation.admin.counts()["Upgrade"] == BURST


async def test_calls_that_are_cut_or_answered_with_errors_upgrade_each_engine_once(
    control_plane: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with fleet(control_plane, namespace, read_lag_ms=300) as simulation:
        cut = []
        for seed, (after, how) in enumerate(
            (after, how)
            for after in (False, True)
            for how in ({"reset": True}, {"status": 500}, {"status": 502})
        ):
            fault = simulation.admin.add_fault(
                Fault(
                    operation="Upgrade",
                    probability=0.08,
                    seed=seed,
                    times=None,
                    after_effect=after,
                    **how,
                )
            )
            cut.append(fault)
        for how in ({"reset": True}, {"status": 500}, {"truncate_at": 100}):
            for operation in ("ShowEngine", "ShowEngineJob"):
                simulation.admin.add_fault(
                    Fault(operation=operation, probability=0.1, seed=7, times=None, **how)
                )
        # One in five calls is lost before its effect; for some engines, three in a row.
        repeats = "--outcome-repeats=10"
        with an_operator(control_plane, namespace, simulation, tmp_path / "log", repeats):
            await all_succeeded(control_plane, namespace)
        assert_each_engine_was_upgraded_once(simulation)
        caught = simulation.admin.faults()
        assert sum(caught[fault] for fault in cut) >= 0.3 * BURST


async def test_leader_changes_in_a_burst_of_kills_never_exceed_a_limit(
    control_plane: Cluster, namespace: str, tmp_path: Path
) -> None:
    """During five kills and two changes of leader, the vendor never runs more than seven jobs."""
    limit, kills = 7, 0
    manifest = yaml.safe_dump(policy_manifest(namespace, maxConcurrent=limit))
    Kubectl(control_plane)("create", "-f", "-", stdin=manifest)
    election = ["--leader-elect", f"--lease-namespace={namespace}", "--lease-duration=4"]
    flags = [*election, f"--outcome-repeats={KILLS + 2}"]
    async with fleet(control_plane, namespace) as simulation:
        done = asyncio.ensure_future(all_succeeded(control_plane, namespace))
        with ExitStack() as stack:
            replicas = [
                stack.enter_context(
                    an_operator(control_plane, namespace, simulation, tmp_path / name, *flags)
                )
                for name in ("one", "two")
            ]
            while not done.done() and kills < KILLS + 2:
                started = simulation.admin.counts().get("Upgrade", 0)
                watch = asyncio.ensure_future(
                    simulation.admin.wait_for_async(
                        "Upgrade", count=started + limit, timeout=PATIENCE
                    )
                )
                await asyncio.wait({done, watch}, return_when=asyncio.FIRST_COMPLETED)
                if done.done():
                    watch.cancel()
                    break
                # Kill both replicas five times, then only the leader twice: the other takes over.
                leader = next((r for r in replicas if _leads(r)), replicas[0])
                for replica in replicas if kills < KILLS else [leader]:
                    replica.kill()
                for replica in replicas:
                    if replica.process is None:
                        await asyncio.to_thread(replica.restart)
                kills += 1
            await done
        assert kills == KILLS + 2
        assert most_at_once(simulation) <= limit
        assert_each_engine_was_upgraded_once(simulation)


def _leads(operator: OperatorProcess) -> bool:
    return "cse_operator_leader 1.0" in operator.get("/metrics")[1]


async def test_shards_by_namespace_share_the_work_within_the_vendors_limit(
    control_plane: Cluster, namespace: str, tmp_path: Path
) -> None:
    other = f"{namespace}-too"
    control_plane.create_namespace(other)
    halves = {namespace: BURST - BURST // 2, other: BURST // 2}
    # Two shards share a project and credential: 40 % of the limit each, the rest is for people.
    limit, flags = VENDORS_LIMIT, [f"--calls-per-second={VENDORS_LIMIT * 0.4}"]
    async with fleet(control_plane, *halves, calls_per_second=limit) as simulation:
        with ExitStack() as stack:
            replicas = {
                (shard, role): stack.enter_context(
                    an_operator(
                        control_plane,
                        shard,
                        simulation,
                        tmp_path / f"{shard}-{role}",
                        *flags,
                        "--leader-elect",
                        f"--lease-namespace={shard}",
                        "--lease-duration=5",
                    )
                )
                for shard in halves
                for role in ("leader", "standby")
            }
            await simulation.admin.wait_for_async("Upgrade", count=BURST // 4)
            replicas[namespace, "leader"].kill()
            for shard, count in halves.items():
                await all_succeeded(control_plane, shard, count)
        assert_each_engine_was_upgraded_once(simulation)
        throttled = [call for call in simulation.admin.calls() if call.status == 429]
        assert not throttled
    leases = "apis/coordination.k8s.io/v1/leases"
    control_plane.delete_namespace(other, (wait.ENGINES, "api/v1/secrets", "api/v1/events", leases))
