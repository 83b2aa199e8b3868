"""`--observe-only`: the operator reports due upgrades, follows running jobs, and calls nothing."""

from __future__ import annotations

from collections.abc import Callable

from cse_simulator.vendor.jobs import JobPlan
from support.operator_process import OperatorProcess
from support.scene import Scene, ready

Start = Callable[..., OperatorProcess]


async def test_a_due_upgrade_is_reported_and_called_only_without_observe_only(
    unserved: Scene, start_operator: Start
) -> None:
    scene = unserved
    scene.secret()
    scene.resource(scene.engine())

    operator = start_operator(scene, "--observe-only")
    operator.wait_until_it_may_call()
    item = await scene.until_reason("orders", "ObserveOnly")
    assert "only observes (--observe-only)" in ready(item)["message"]
    assert item["status"]["phase"] == "Waiting"
    assert "--observe-only is set" in operator.output()
    # A change causes a new look and decision; by then the operator's grace is over.
    scene.patch("orders", upgrade={"retryLimit": 2})
    await scene.until(
        "orders", lambda now: now["status"]["observedGeneration"] == now["metadata"]["generation"]
    )
    assert scene.changing_calls() == []
    assert operator.terminate() == 0

    start_operator(scene, name="calling")
    await scene.until_reason("orders", "UpToDate")
    assert len(scene.changing_calls()) == 1


async def test_observe_only_stops_all_starts_and_loses_no_job(
    unserved: Scene, start_operator: Start
) -> None:
    scene = unserved
    scene.secret()
    running, late = scene.engine("running"), scene.engine("late")
    scene.admin.plan_jobs(JobPlan(outcome="never"), running.id)
    scene.resource(running)
    calling = start_operator(scene)
    item = await scene.until_reason("running", "Upgrading")
    assert calling.terminate() == 0

    start_operator(scene, "--observe-only", name="observing")
    scene.resource(late)
    await scene.until_reason("late", "ObserveOnly")
    scene.admin.end_job(item["status"]["jobId"])
    await scene.until_reason("running", "UpToDate")
    assert len(scene.changing_calls(running)) == 1
    assert scene.changing_calls(late) == []
