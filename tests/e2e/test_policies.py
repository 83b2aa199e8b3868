"""Policies with the whole operator: the order of upgrades, and what users see of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import yaml

from cse_simulator.vendor.admin_answers import EngineSummary
from cse_simulator.vendor.jobs import JobPlan
from support import engines
from support.operator_process import OperatorProcess
from support.policies import most_at_once, policy_manifest
from support.scene import Scene, ready

FLAGS = ("--request-timeout=2", "--send-window=2", "--read-lag=1", "--clock-tolerance=1")
Start = Callable[..., OperatorProcess]


def apply(scene: Scene, name: str = "production", **spec: Any) -> None:
    scene.kubectl(
        "apply", "-f", "-", stdin=yaml.safe_dump(policy_manifest(scene.namespace, name, **spec))
    )


def policy_of(scene: Scene, name: str = "production") -> dict[str, Any]:
    return scene.kubectl.json("get", "upgradepolicy", name, "-n", scene.namespace)


async def until_policy(scene: Scene, predicate: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Wait for the policy's status, which the operator writes at most once in ten seconds."""
    async with asyncio.timeout(60):
        while True:
            found = await asyncio.to_thread(policy_of, scene)
            if predicate(found.get("status", {})):
                return found
            await asyncio.sleep(0.3)


def labelled(scene: Scene, name: str, **labels: str) -> EngineSummary:
    """Create an engine and its resource, which has the labels from its creation on."""
    engine = scene.engine(name)
    manifest = engines.engine_manifest(
        name, namespace=scene.namespace, projectId=scene.project, engineId=engine.id
    )
    manifest["metadata"]["labels"] = labels
    scene.cluster.request("POST", engines.engine_path(scene.namespace), manifest)
    return engine


async def test_a_rollout_in_waves_stops_at_a_failure_says_so_and_goes_on_after_the_retry(
    unserved_with_own_vendor: Scene, start_operator: Start
) -> None:
    scene = unserved_with_own_vendor
    scene.secret()
    waves = [
        {"name": "canary", "selector": {"matchLabels": {"wave": "canary"}}},
        {"name": "half", "selector": {"matchLabels": {"wave": "half"}}},
        {"name": "rest"},
    ]
    apply(scene, waves=waves, maxConcurrent=2)
    # Production's resources exist first; the canary is upgraded first all the same.
    rest = [labelled(scene, f"rest-{n}") for n in range(3)]
    half = [labelled(scene, f"half-{n}", wave="half") for n in range(2)]
    canary = labelled(scene, "canary", wave="canary")
    scene.admin.plan_jobs(JobPlan(outcome="error", times=2), half[0].id)
    start_operator(scene, *FLAGS, "--outcome-grace=7")

    await scene.until_reason("half-0", "UpgradeFailed")
    await scene.until_reason("half-1", "UpToDate")
    held = await scene.until(
        "rest-0",
        lambda item: (
            ready(item)["reason"] == "FailuresExceeded" or ready(item)["reason"] == "WaitingForWave"
        ),
    )
    assert held["status"]["phase"] == "Waiting"
    assert {entry["policy"] for entry in held["status"]["held"]} == {"production"}
    shown = (await until_policy(scene, lambda status: status.get("failed") == 1))["status"]
    assert (shown["selected"], shown["reached"], shown["waiting"]) == (6, 2, 3)
    assert [wave["reached"] for wave in shown["waves"]] == [1, 1, 0]
    assert all(not scene.changing_calls(engine) for engine in rest)

    scene.annotate("half-0", retry_requested_at="1")
    for name in ("half-0", "rest-0", "rest-1", "rest-2"):
        await scene.until_reason(name, "UpToDate")
    order = [call.engine_id for call in scene.calls("Upgrade")]
    assert order[0] == canary.id
    assert set(order[1:3]) == {engine.id for engine in half}
    assert set(order[3:]) == {engine.id for engine in rest}
    assert most_at_once(scene.simulation) <= 2
    assert "held" not in scene.get("rest-0")["status"]


async def test_a_held_engine_makes_no_calls_and_is_upgraded_once_approved(
    unserved_with_own_vendor: Scene, start_operator: Start
) -> None:
    scene = unserved_with_own_vendor
    scene.secret()
    apply(
        scene,
        approval="Manual",
        freezes=[
            {"from": "2020-01-01T00:00:00Z", "to": "2199-01-01T00:00:00Z", "reason": "year end"}
        ],
    )
    engine = labelled(scene, "orders")
    operator = start_operator(scene, *FLAGS, "--outcome-grace=7")
    item = await scene.until("orders", lambda item: ready(item)["reason"] == "NeverOpens")
    assert [entry["reason"] for entry in item["status"]["held"]] == [
        "NeverOpens",
        "ApprovalRequired",
    ]
    apply(scene, approval="Manual")
    item = await scene.until_reason("orders", "ApprovalRequired")
    calls, version = len(scene.calls()), item["metadata"]["resourceVersion"]
    apply(scene, approval="Manual", maxConcurrent=3)
    await until_policy(scene, lambda status: status.get("observedGeneration") == 3)
    # The policy still holds it, so there is no write and no look.
    assert scene.get("orders")["metadata"]["resourceVersion"] == version
    assert len(scene.calls()) == calls, [c.time for c in scene.calls()]

    scene.annotate("orders", approved_version="2.3.9")
    await scene.until("orders", lambda item: "2.3.9" in item["status"]["message"])
    assert scene.changing_calls() == []
    scene.annotate("orders", approved_version="2.4.0")
    await scene.until_reason("orders", "UpToDate")
    assert len(scene.changing_calls(engine)) == 1
    assert operator.get("/readyz")[0] == 200
    metrics = operator.get("/metrics")[1]
    assert 'cse_operator_policy_gate_open{kind="UpgradePolicy"' in metrics


async def test_a_deleted_policy_releases_its_engine_and_says_so(
    unserved_with_own_vendor: Scene, start_operator: Start
) -> None:
    scene = unserved_with_own_vendor
    scene.secret()
    apply(scene, suspend=True)
    labelled(scene, "orders")
    start_operator(scene, *FLAGS, "--outcome-grace=7")
    await scene.until_reason("orders", "PolicySuspended")
    scene.kubectl("delete", "upgradepolicy", "production", "-n", scene.namespace)
    await scene.event("orders", "PolicyReleased")
    await scene.until_reason("orders", "UpToDate")


async def test_an_engine_that_no_policy_selects_is_held_where_one_is_required(
    unserved_with_own_vendor: Scene, start_operator: Start
) -> None:
    scene = unserved_with_own_vendor
    scene.secret()
    apply(scene, selector={"matchLabels": {"tier": "production"}})
    labelled(scene, "orders")
    labelled(scene, "registry", tier="production")
    start_operator(scene, *FLAGS, "--outcome-grace=7", "--require-policy")
    await scene.until_reason("registry", "UpToDate")
    await scene.until_reason("orders", "NoPolicy")
