"""Many upgrades at once, and operators that die, double up or are lied to meanwhile.

The size is `BURST` (200 by default, which CI runs; 1000 for the real thing: `make scale
BURST=1000`). The vendor counts: one accepted call for each wanted upgrade, and no engine twice.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cse_simulator.admin import Fault, Simulation, start_simulator
from cse_simulator.control_plane import Cluster
from support import engines, wait
from support.operator_process import OperatorProcess

BURST = int(os.environ.get("BURST", "200"))
PATIENCE = 120.0 + BURST
KILL_EVERY_SECONDS = 2.0
VENDOR_REFUSES = 400

pytestmark = pytest.mark.timeout(60 + 2 * PATIENCE)

FLAGS = (
    "--poll-interval=1",
    "--wait-interval=1",
    "--calls-per-second=500",
    "--request-timeout=2",
    "--send-window=2",
    "--unknown-outcome-grace=6",
)


@asynccontextmanager
async def fleet(cluster: Cluster, namespace: str, **vendor: float) -> AsyncIterator[Simulation]:
    """A vendor with `BURST` engines, and as many resources that want them upgraded."""
    with start_simulator(
        engines=BURST,
        version="2.3.1",
        latest="2.4.0",
        job_seconds=3,
        record_calls=100_000,
        **vendor,
    ) as simulation:
        engines.create_secret(cluster, "huaweicloud", namespace=namespace, token="a-token")
        for number, engine in enumerate(simulation.admin.engines()):
            await asyncio.to_thread(
                engines.create_engine,
                cluster,
                f"e{number}",
                namespace=namespace,
                projectId=engine.project_id,
                engineId=engine.id,
            )
        yield simulation


def an_operator(
    cluster: Cluster, namespace: str, simulation: Simulation, log: Path
) -> OperatorProcess:
    return OperatorProcess(
        cluster.kubeconfig, log, cse_endpoint=simulation.url, namespaces=[namespace], flags=FLAGS
    )


async def all_succeeded(cluster: Cluster, namespace: str) -> None:
    await wait.wait_for_all(
        cluster,
        namespace,
        BURST,
        lambda item: item["status"]["result"] == "Succeeded" and item["status"]["jobId"],
        timeout=PATIENCE,
    )


def assert_each_engine_was_upgraded_once(simulation: Simulation) -> None:
    accepted = simulation.admin.accepted_upgrades()
    assert len(accepted) == BURST
    assert set(accepted.values()) == {1}
    # The vendor would refuse a second call, most of the time: there must be none to refuse.
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


async def test_an_operator_that_is_killed_every_two_seconds_upgrades_each_engine_once(
    control_plane: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with fleet(control_plane, namespace) as simulation:
        done = asyncio.ensure_future(all_succeeded(control_plane, namespace))
        kills = 0
        with an_operator(control_plane, namespace, simulation, tmp_path / "log") as operator:
            while not done.done():
                await asyncio.wait({done}, timeout=KILL_EVERY_SECONDS)
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
            for operation in ("ListEngines", "ShowEngineJob"):
                simulation.admin.add_fault(
                    Fault(operation=operation, probability=0.1, seed=7, times=None, **how)
                )
        with an_operator(control_plane, namespace, simulation, tmp_path / "log"):
            await all_succeeded(control_plane, namespace)
        assert_each_engine_was_upgraded_once(simulation)
        caught = simulation.admin.faults()
        assert sum(caught[fault] for fault in cut) >= 0.3 * BURST
