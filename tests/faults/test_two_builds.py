"""A newer build wrote the record; this build takes over, by a rollback or as its standby.

The newer build is this one, with a record that today's reader does not understand: it contains a
new word, or requires a newer reader.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cse_operator.api import crd
from cse_simulator.control_plane import LocalControlPlane
from cse_simulator.vendor.admin_answers import EngineSummary
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.jobs import JobPlan
from cse_simulator.vendor.simulation import Simulation, start_simulator
from support import processes
from support.faults.stage import FLAGS, LEASE_SECONDS
from support.operator_process import OperatorProcess
from support.policies import install_policy_crds
from support.scene import Scene, ready

pytestmark = pytest.mark.timeout(600)

NEWER_BUILD = Path(__file__).parents[1] / "support" / "newer_build"
DIALECTS = ("word", "reader")


@dataclass
class Builds:
    """One resource, its engine, and operators of two builds."""

    scene: Scene
    engine: EngineSummary
    start: Callable[..., OperatorProcess]

    @property
    def record(self) -> dict[str, Any]:
        """The recorded upgrade, as it is stored."""
        stored: dict[str, Any] = self.scene.get("orders")["status"]["upgrade"]
        return stored

    async def stays_unreadable(self, record: dict[str, Any]) -> None:
        """Assert that this build calls nothing and keeps the record, also on a retry request."""
        calls = len(self.scene.changing_calls())
        item = await self.scene.until_reason("orders", "UnreadableStatus")
        assert "nothing is called" in ready(item)["message"]
        self.scene.annotate("orders", retry_requested_at="now", reconcile_requested_at="now")
        self.scene.patch("orders", upgrade={"timeout": "3h"})
        await self.scene.until_reason("orders", "UnreadableStatus")
        assert self.record == record
        assert len(self.scene.changing_calls()) == calls

    async def ends_well(self) -> None:
        """Assert that the newer build ends the upgrade, with one accepted call in all."""
        self.scene.admin.end_job(self.scene.admin.engine(self.engine.id).latest_job_id)
        item = await self.scene.until_reason("orders", "UpToDate")
        assert item["status"]["result"] == "Succeeded"
        assert self.scene.accepted(self.engine) == {"2.4.0": 1}


@pytest.fixture
def vendor_of_long_jobs() -> Iterator[Simulation]:
    """A vendor whose jobs end when a test ends them."""
    with start_simulator() as simulation:
        simulation.admin.plan_jobs(JobPlan(outcome="never", times=None))
        yield simulation


@pytest.fixture
def builds(
    private_control_plane: LocalControlPlane, vendor_of_long_jobs: Simulation, tmp_path: Path
) -> Iterator[Builds]:
    """A cluster with the newer build's CRD, as after a rollback."""
    definition = crd.definition()
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for record in ("upgrade", "history"):
        field = schema["properties"]["status"]["properties"][record]
        words = field.get("items", field)["properties"]["action"]["enum"]
        words += [f"New{word}" for word in words]
    cluster = private_control_plane.cluster
    cluster.install_crd(definition)
    install_policy_crds(cluster)
    cluster.create_namespace("payments")
    scene = Scene(cluster, "payments", vendor_of_long_jobs)
    scene.secret()
    with ExitStack() as running:

        def start(*flags: str, dialect: str | None = None, name: str = "older") -> OperatorProcess:
            sources = processes.python_environment()["PYTHONPATH"]
            newer = {
                "PYTHONPATH": os.pathsep.join([str(NEWER_BUILD), sources]),
                "NEWER_BUILD": dialect or "",
            }
            operator = OperatorProcess(
                scene.cluster.kubeconfig,
                tmp_path / f"{name}.log",
                cse_endpoint=scene.simulation.url,
                namespaces=[scene.namespace],
                flags=[*FLAGS, *flags],
                environment=newer if dialect else {},
            )
            return running.enter_context(operator)

        yield Builds(scene, scene.engine(), start)


async def _in_mid_intent(builds: Builds) -> None:
    """Wait until the call took effect and its answer is still on its way."""
    fault = Fault(operation="Upgrade", engine_id=builds.engine.id, hang=True, after_effect=True)
    builds.scene.admin.add_fault(fault)
    builds.scene.resource(builds.engine)
    await builds.scene.admin.wait_for_async(engine=builds.engine.id, phase="accepted")


async def _in_mid_job(builds: Builds) -> None:
    builds.scene.resource(builds.engine)
    await builds.scene.until_reason("orders", "Upgrading")


MOMENTS = {"in mid-intent": _in_mid_intent, "in mid-job": _in_mid_job}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("moment", MOMENTS)
async def test_rolled_back_in_the_middle_of_an_upgrade_the_older_build_calls_nothing(
    builds: Builds, moment: str, dialect: str
) -> None:
    newer = builds.start(dialect=dialect, name="newer")
    await MOMENTS[moment](builds)
    newer.kill()
    builds.scene.admin.clear_faults()
    record = builds.record
    older = builds.start()
    await builds.stays_unreadable(record)
    assert older.terminate() == 0
    newer.restart()
    await builds.ends_well()


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_rolled_back_after_a_refusal_the_older_build_calls_nothing(
    builds: Builds, dialect: str
) -> None:
    refused = {"error_code": "SVCSTG.00501999", "error_msg": "not supported"}
    builds.scene.admin.add_fault(
        Fault(operation="Upgrade", engine_id=builds.engine.id, status=400, body=refused)
    )
    newer = builds.start(dialect=dialect, name="newer")
    builds.scene.resource(builds.engine)
    await builds.scene.until_reason("orders", "UpgradeRejected")
    newer.kill()
    record = builds.record
    older = builds.start()
    await builds.stays_unreadable(record)
    assert older.terminate() == 0
    # The newer build answers the request that the older one ignored.
    newer.restart()
    await builds.scene.until_reason("orders", "Upgrading")
    await builds.ends_well()


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_older_standby_that_takes_over_in_mid_job_calls_nothing(
    builds: Builds, dialect: str
) -> None:
    elects = (
        "--leader-elect",
        f"--lease-duration={LEASE_SECONDS}",
        "--lease-namespace=payments",
        f"--outcome-grace={LEASE_SECONDS + 2}",
    )
    newer = builds.start(*elects, dialect=dialect, name="newer")
    await _in_mid_job(builds)
    older = builds.start(*elects)
    newer.kill()
    await builds.stays_unreadable(builds.record)
    newer.restart()
    assert older.terminate() == 0
    await builds.ends_well()
