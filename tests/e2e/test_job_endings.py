"""Jobs that fail, hang or vanish, and calls that the vendor throttles."""

from __future__ import annotations

from collections.abc import Callable

from cse_simulator.vendor.admin_answers import EngineSummary
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.jobs import JobPlan
from support.operator_process import OperatorProcess
from support.scene import Scene, condition_types

NO_LAG = (
    "--request-timeout=2",
    "--send-window=1",
    "--read-lag=0",
    "--clock-tolerance=1",
    "--outcome-grace=4",
)
STALLED = {"Ready": "False", "Stalled": "True"}


def _operations(scene: Scene, engine: EngineSummary) -> list[str]:
    return [call.operation for call in scene.changing_calls(engine)]


async def test_a_failed_job_is_retried_within_the_limit(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.plan_jobs(JobPlan(outcome="error", times=2), engine.id)
    scene.resource(engine, upgrade={"retryLimit": 2})

    item = await scene.until_reason("orders", "UpToDate")
    assert _operations(scene, engine) == ["Upgrade", "Retry", "Retry"]
    assert item["status"]["upgrade"]["retries"] == 2
    assert item["status"]["jobId"] == scene.admin.engine(engine.id).latest_job_id
    assert [h["result"] for h in item["status"]["history"]] == ["Succeeded", "Failed", "Failed"]


async def test_a_job_that_is_run_again_under_its_own_id_is_followed_to_its_second_end(
    unserved_with_own_vendor: Scene, start_operator: Callable[..., OperatorProcess]
) -> None:
    scene = unserved_with_own_vendor
    scene.admin.change_settings(retry_job_id="same")
    engine = scene.engine()
    scene.secret()
    start_operator(scene, *NO_LAG)
    scene.admin.plan_jobs(JobPlan(outcome="error"), engine.id)
    scene.resource(engine, upgrade={"retryLimit": 1})

    item = await scene.until_reason("orders", "UpToDate")
    first, second = item["status"]["history"]
    assert (first["result"], second["result"]) == ("Succeeded", "Failed")
    assert first["jobId"] == second["jobId"]
    assert _operations(scene, engine) == ["Upgrade", "Retry"]


async def test_a_job_that_fails_beyond_the_limit_waits_for_a_person(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.plan_jobs(JobPlan(outcome="error", step=3, times=2), engine.id)
    scene.resource(engine, upgrade={"retryLimit": 1})

    item = await scene.until(
        "orders", lambda i: i["status"]["phase"] == "Failed" and i["status"]["upgrade"]["retries"]
    )
    status = item["status"]
    assert condition_types(item) == STALLED
    assert (status["result"], status["upgrade"]["jobStatus"]) == ("Failed", "Error")
    assert f"the upgrade to 2.4.0 failed, job {status['jobId']}" in status["message"]
    assert "cse-operator.io/retry-requested-at" in status["message"]
    assert status["upgrade"]["error"]["message"] in status["message"]
    assert (await scene.event("orders", "UpgradeFailed"))["type"] == "Warning"
    assert _operations(scene, engine) == ["Upgrade", "Retry"]


async def test_a_requested_retry_is_honoured_once(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.plan_jobs(JobPlan(outcome="error", times=2), engine.id)
    scene.resource(engine, upgrade={"retryLimit": 0})
    await scene.until_reason("orders", "UpgradeFailed")
    assert _operations(scene, engine) == ["Upgrade"]

    scene.annotate("orders", retry_requested_at="monday")
    await scene.until(
        "orders",
        lambda i: (
            i["status"]["lastHandledRetryAt"] == "monday" and i["status"]["phase"] == "Failed"
        ),
    )
    scene.annotate("orders", reconcile_requested_at="1")
    await scene.until("orders", lambda i: i["status"]["lastHandledReconcileAt"] == "1")
    assert _operations(scene, engine) == ["Upgrade", "Retry"]

    scene.annotate("orders", retry_requested_at="tuesday")
    await scene.until_reason("orders", "UpToDate")
    assert _operations(scene, engine) == ["Upgrade", "Retry", "Retry"]


async def test_a_retry_request_on_a_settled_resource_does_not_wait_for_a_later_failure(
    scene: Scene,
) -> None:
    engine = scene.engine(offered_versions=("2.4.0", "2.5.0"))  # type: ignore[arg-type]
    scene.secret()
    scene.resource(engine, upgrade={"retryLimit": 0})
    await scene.until_reason("orders", "UpToDate")
    scene.annotate("orders", retry_requested_at="early")
    await scene.until("orders", lambda i: i["status"]["lastHandledRetryAt"] == "early")
    scene.admin.plan_jobs(JobPlan(outcome="error"), engine.id)
    scene.patch("orders", version="2.5.0")

    await scene.until_reason("orders", "UpgradeFailed")
    assert _operations(scene, engine) == ["Upgrade", "Upgrade"]


async def test_a_rejected_version_is_called_again_when_a_retry_is_requested(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    scene.resource(engine, version="2.5.0")
    await scene.until_reason("orders", "UpgradeRejected")
    scene.admin.patch_engine(engine.id, latest_version="2.5.0")
    scene.annotate("orders", retry_requested_at="now")

    await scene.until_reason("orders", "UpToDate")
    assert [call.status for call in scene.changing_calls(engine)] == [400, 200]


async def test_a_job_that_the_vendor_times_out_is_told_apart(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.plan_jobs(JobPlan(outcome="timeout"), engine.id)
    scene.resource(engine, upgrade={"retryLimit": 0})

    item = await scene.until_reason("orders", "UpgradeTimedOut")
    assert condition_types(item) == STALLED
    assert item["status"]["result"] == "TimedOut"
    assert "timed out at the vendor" in item["status"]["message"]


async def test_a_job_that_the_vendor_forgets_ends_as_its_engine_shows(scene: Scene) -> None:
    good, bad = scene.engine("good"), scene.engine("bad")
    scene.secret()
    scene.admin.plan_jobs(JobPlan(outcome="finish", seconds=2, vanish_after_seconds=1), good.id)
    scene.admin.plan_jobs(JobPlan(outcome="error", seconds=2, vanish_after_seconds=1), bad.id)
    scene.resource(good)
    scene.resource(bad, upgrade={"retryLimit": 0})

    item = await scene.until_reason("good", "UpToDate")
    assert item["status"]["result"] == "Succeeded"
    item = await scene.until_reason("bad", "UpgradeFailed")
    assert condition_types(item) == STALLED
    assert item["status"]["result"] == "Failed"
    assert "the vendor no longer knows the job" in item["status"]["message"]
    assert len(scene.changing_calls()) == 2


async def test_an_overdue_job_is_reported_and_still_followed(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.plan_jobs(JobPlan(outcome="never"), engine.id)
    scene.resource(engine, upgrade={"timeout": "1s"})

    item = await scene.until_reason("orders", "UpgradeOverdue")
    assert condition_types(item) == {"Ready": "False", "Reconciling": "True"}
    assert item["status"]["phase"] == "Upgrading"
    assert "running for longer than 1s, still followed" in item["status"]["message"]

    scene.admin.end_job(item["status"]["jobId"])
    item = await scene.until_reason("orders", "UpToDate")
    assert item["status"]["result"] == "Succeeded"
    assert len(scene.changing_calls()) == 1


async def test_a_throttled_call_gets_the_full_grace_and_retry_after_is_obeyed(
    unserved: Scene, start_operator: Callable[..., OperatorProcess]
) -> None:
    """A 429 does not prove that the vendor did nothing."""
    scene = unserved
    engine = scene.engine()
    scene.secret()
    scene.admin.add_fault(
        Fault(operation="Upgrade", engine_id=engine.id, status=429, retry_after=1)
    )
    start_operator(scene, *NO_LAG)
    async with scene.versions_of("orders") as versions:
        scene.resource(engine)
        await scene.until_reason("orders", "UpToDate")

    refused, made = scene.changing_calls(engine)
    assert (refused.status, made.status) == (429, 200)
    between = [c for c in scene.calls() if refused.number < c.number and c.time < refused.time + 1]
    assert between == []
    assert made.time - refused.time >= 3.5
    reasons = [
        condition["reason"]
        for version in versions
        for condition in version["status"].get("conditions", ())
        if condition["type"] == "Ready"
    ]
    assert "VerifyingOutcome" in reasons
    assert scene.accepted(engine) == {"2.4.0": 1}


async def test_a_throttled_look_delays_the_upgrade_and_loses_nothing(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.add_fault(
        Fault(operation="ShowEngine", engine_id=engine.id, status=429, retry_after="date+1")
    )
    scene.resource(engine)

    await scene.until_reason("orders", "UpToDate")
    assert scene.calls("ShowEngine", engine=engine.id)[0].status == 429
    assert scene.accepted(engine) == {"2.4.0": 1}


async def test_a_throttled_project_does_not_hold_up_another(scene: Scene, elsewhere: Scene) -> None:
    held_up, free = scene.engine(), elsewhere.engine()
    scene.admin.add_fault(Fault(project=scene.project, times=None, status=429, retry_after=600))
    scene.secret()
    elsewhere.secret()
    scene.resource(held_up)
    await scene.until_reason("orders", "Throttled")
    elsewhere.resource(free)

    await elsewhere.until_reason("orders", "UpToDate")
    assert len(scene.calls()) == 1


async def test_an_outage_of_the_vendor_in_mid_job_loses_no_result(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.plan_jobs(JobPlan(outcome="never"), engine.id)
    scene.resource(engine)
    job = (await scene.until_reason("orders", "Upgrading"))["status"]["jobId"]
    outage = scene.admin.add_fault(Fault(project=scene.project, times=None, status=503))
    item = await scene.until_reason("orders", "CloudUnavailable")
    assert item["status"]["jobId"] == job
    scene.admin.end_job(job)
    scene.admin.clear_faults(outage)

    item = await scene.until_reason("orders", "UpToDate")
    assert item["status"]["result"] == "Succeeded"
    assert len(scene.changing_calls()) == 1
