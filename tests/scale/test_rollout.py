"""Thirty engines in waves: one commit upgrades all, and one engine of the second wave fails."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from cse_simulator.control_plane import Cluster
from cse_simulator.vendor.admin_answers import EngineSummary
from cse_simulator.vendor.jobs import JobPlan
from cse_simulator.vendor.simulation import Simulation
from support import engines, wait
from support.operator_process import OperatorProcess
from support.policies import policy_manifest
from support.scene import Scene, ready

pytestmark = pytest.mark.timeout(300)

FLAGS = ("--poll-interval=0.3", "--wait-interval=0.5", "--resync-interval=5")
SIZES = {"canary": 1, "half": 9, "rest": 20}
WAVES = [
    {"name": "canary", "selector": {"matchLabels": {"wave": "canary"}}},
    {"name": "half", "selector": {"matchLabels": {"wave": "half"}}},
    {"name": "rest"},
]
FAILS = "half-4"


async def test_a_commit_that_raises_thirty_engines_goes_by_waves_and_stops_at_a_failure(
    control_plane: Cluster, namespace: str, simulator: Simulation, tmp_path: Path
) -> None:
    """Production's events come first, and the canary still goes first. The failure in the second
    wave holds the third wave until its retry has succeeded."""
    scene = Scene(control_plane, namespace, simulator)
    scene.secret()
    manifest = yaml.safe_dump(policy_manifest(namespace, waves=WAVES))
    scene.kubectl("create", "-f", "-", stdin=manifest)
    waves = {wave: _engines(scene, wave, size) for wave, size in SIZES.items()}
    simulator.admin.plan_jobs(JobPlan(outcome="error", times=2), waves["half"][FAILS].id)
    with OperatorProcess(
        control_plane.kubeconfig,
        tmp_path / "log",
        cse_endpoint=simulator.url,
        namespaces=[namespace],
        flags=FLAGS,
    ) as operator:
        await asyncio.to_thread(operator.wait_until_it_may_call)
        await _all(scene, lambda item: ready(item)["reason"] == "UpToDate")
        for name in [*waves["rest"], *waves["half"], *waves["canary"]]:
            scene.patch(name, version="2.4.0")

        await _stopped(scene)
        assert all(not scene.changing_calls(engine) for engine in waves["rest"].values())

        scene.annotate(FAILS, retry_requested_at="1")
        await _all(scene, lambda item: item["status"]["currentVersion"] == "2.4.0")
    _assert_they_went_by_waves(scene, waves)


def _engines(scene: Scene, wave: str, size: int) -> dict[str, EngineSummary]:
    """Create a wave's engines, with resources that want the engines' present version."""
    found = {}
    for name in (f"{wave}-{number}" for number in range(size)):
        found[name] = engine = scene.engine(name)
        manifest = engines.engine_manifest(
            name,
            namespace=scene.namespace,
            projectId=scene.project,
            engineId=engine.id,
            version="2.3.1",
        )
        manifest["metadata"]["labels"] = {"wave": wave}
        scene.cluster.request("POST", engines.engine_path(scene.namespace), manifest)
    return found


async def _all(scene: Scene, predicate: Any) -> None:
    await wait.wait_for_all(
        scene.cluster, scene.namespace, sum(SIZES.values()), predicate, timeout=120
    )


async def _stopped(scene: Scene) -> None:
    """Wait until the rollout stops, and each held engine and the policy say why."""

    def stands(item: Any) -> bool:
        name, reason = item["metadata"]["name"], ready(item)["reason"]
        if name == FAILS:
            return reason == "UpgradeFailed"
        if not name.startswith("rest-"):
            return reason == "UpToDate" and item["status"]["currentVersion"] == "2.4.0"
        return (
            reason == "FailuresExceeded"
            and item["status"]["phase"] == "Waiting"
            and f"failed at 2.4.0: {FAILS}" in ready(item)["message"]
            and {entry["policy"] for entry in item["status"]["held"]} == {"production"}
        )

    await _all(scene, stands)
    policies = wait.ENGINES.rpartition("/")[0] + "/upgradepolicies"

    def said(item: Any) -> bool:
        status = item["status"]
        counts = [status[name] for name in ("selected", "reached", "failed", "waiting")]
        by_wave = [(wave["engines"], wave["reached"]) for wave in status["waves"]]
        return counts == [30, 9, 1, 20] and by_wave == [(1, 1), (9, 8), (20, 0)]

    await wait.wait_for_all(
        scene.cluster, scene.namespace, 1, said, timeout=60, collection=policies
    )


def _assert_they_went_by_waves(scene: Scene, waves: dict[str, dict[str, EngineSummary]]) -> None:
    order = [call.engine_id for call in scene.calls("Upgrade")]
    ids = {wave: {engine.id for engine in found.values()} for wave, found in waves.items()}
    assert set(order[:1]) == ids["canary"]
    assert set(order[1:10]) == ids["half"]
    assert set(order[10:]) == ids["rest"]
    assert len(order) == len(set(order)) == 30
