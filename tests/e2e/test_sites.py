"""Regions and sites: one operator for several, and a region that was taken off the lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cse_simulator.vendor.jobs import JobPlan
from support.operator_process import OperatorProcess
from support.scene import Scene, ready

QUICK = ("--poll-interval=0.1", "--wait-interval=0.3", "--slow-interval=0.5")


@pytest.fixture
def operator_of(unserved: Scene, tmp_path: Path) -> Callable[..., OperatorProcess]:
    """Make operators for the scene that know different regions."""

    def make(*flags: str, name: str, own_site: bool = True) -> OperatorProcess:
        return OperatorProcess(
            unserved.cluster.kubeconfig,
            tmp_path / f"{name}.log",
            cse_endpoint=unserved.simulation.url if own_site else None,
            namespaces=[unserved.namespace],
            flags=[*QUICK, *flags],
        )

    return make


async def test_an_upgrade_in_a_region_that_was_taken_off_the_list_is_followed_to_its_end(
    unserved: Scene, operator_of: Callable[..., OperatorProcess]
) -> None:
    scene = unserved
    scene.secret()
    engine = scene.engine()
    scene.admin.plan_jobs(JobPlan(outcome="never"), engine.id)
    scene.resource(engine)
    with operator_of(name="wide") as wide:
        item = await scene.until_reason("orders", "Upgrading")
        assert wide.terminate() == 0

    with operator_of("--allowed-regions=cn-east-3", name="narrow") as narrow:
        scene.admin.end_job(item["status"]["jobId"])
        await scene.until(
            "orders", lambda now: now["status"]["upgrade"].get("result") == "Succeeded"
        )
        scene.patch("orders", version="2.5.0")
        item = await scene.until_reason("orders", "RegionNotAllowed")
        assert "does not allow the region cn-north-4" in ready(item)["message"]
        assert narrow.terminate() == 0
    assert len(scene.changing_calls()) == 1


async def test_the_defaults_refuse_an_unlisted_region_and_name_the_setting(
    unserved: Scene, operator_of: Callable[..., OperatorProcess]
) -> None:
    unserved.secret()
    unserved.resource(unserved.engine(), region="cn-north-99")
    with operator_of(name="defaults", own_site=False):
        item = await unserved.until_reason("orders", "RegionNotAllowed")
        message = ready(item)["message"]
    assert "cn-north-99 is neither a published region nor in --sites" in message
