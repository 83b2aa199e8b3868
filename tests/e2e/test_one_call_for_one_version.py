"""Which changes cause a call and which do not, by the resource and the vendor's own record."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cse_simulator.vendor.admin_answers import EngineSummary
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.jobs import JobPlan
from support.operator_process import OperatorProcess
from support.scene import Scene, ready

Start = Callable[..., OperatorProcess]

REFUSED = {"error_code": "SVCSTG.00501999", "error_msg": "The version is not supported."}

SHORT_GRACE = (
    "--request-timeout=1",
    "--send-window=1",
    "--read-lag=0",
    "--clock-tolerance=1",
    "--outcome-grace=3",
)


def operations(scene: Scene, engine: EngineSummary) -> list[str]:
    return [call.operation for call in scene.changing_calls(engine)]


async def looked_again(scene: Scene, mark: str) -> None:
    """Request a look and wait for its echo; later calls, if any, have been made by then."""
    scene.annotate("orders", reconcile_requested_at=mark)
    await scene.until("orders", lambda i: i["status"].get("lastHandledReconcileAt") == mark)


async def test_after_a_refused_upgrade_only_another_version_leads_to_a_call(
    scene: Scene,
) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.add_fault(
        Fault(operation="Upgrade", engine_id=engine.id, status=400, body=REFUSED, times=1)
    )
    scene.resource(engine)
    await scene.until_reason("orders", "UpgradeRejected")
    for edit in (
        {"upgrade": {"timeout": "3h"}},
        {"upgrade": {"retryLimit": 5}},
        {"enterpriseProjectId": "0"},
        {"suspend": True},
        {"suspend": False},
    ):
        scene.patch("orders", **edit)
        await scene.until_reason("orders", "UpgradeRejected")
    await looked_again(scene, "1")
    assert operations(scene, engine) == ["Upgrade"]

    scene.annotate("orders", retry_requested_at="now")
    await scene.until_reason("orders", "UpToDate")
    assert operations(scene, engine) == ["Upgrade", "Upgrade"]


async def test_a_failed_upgrade_stays_failed_when_the_retry_limit_is_raised_afterwards(
    scene: Scene,
) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.plan_jobs(JobPlan(outcome="error"), engine.id)
    scene.resource(engine, upgrade={"retryLimit": 0})
    await scene.until_reason("orders", "UpgradeFailed")
    scene.patch("orders", upgrade={"retryLimit": 3})
    await scene.until_reason("orders", "UpgradeFailed")
    await looked_again(scene, "1")
    assert operations(scene, engine) == ["Upgrade"]


@pytest.mark.parametrize("hotfix", ["2.4.0-sp1", "2.5.0.SPC100"])
async def test_an_engine_that_the_vendor_hot_fixed_at_rest_is_not_called(
    scene: Scene, hotfix: str
) -> None:
    engine = scene.engine()
    scene.secret()
    scene.resource(engine)
    await scene.until_reason("orders", "UpToDate")
    scene.admin.patch_engine(engine.id, version=hotfix)
    await looked_again(scene, "1")
    item = await scene.until_reason("orders", "VersionNotComparable")
    assert hotfix in ready(item)["message"]
    assert operations(scene, engine) == ["Upgrade"]


async def test_a_version_with_letters_is_called_once_when_it_is_the_vendors_latest(
    scene: Scene,
) -> None:
    engine = scene.engine(latest_version="2.4.0-rc1")
    scene.secret()
    scene.resource(engine, version="2.4.0-rc1")
    await scene.until_reason("orders", "UpToDate")
    assert operations(scene, engine) == ["Upgrade"]


async def test_a_version_with_a_fourth_part_is_a_patch_of_one_with_three(scene: Scene) -> None:
    engine = scene.engine(version="2.4.1.5")
    scene.secret()
    scene.resource(engine)
    item = await scene.until_reason("orders", "UpToDate")
    assert "2.4.1.5, a later patch of 2.4.0" in item["status"]["message"]
    assert operations(scene, engine) == []


async def test_a_stranger_s_failed_job_is_not_retried_without_a_request(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.plan_jobs(JobPlan(outcome="error"), engine.id)
    scene.admin.start_foreign_upgrade(engine.id, "2.4.0")
    scene.resource(engine, upgrade={"retryLimit": 5})
    await scene.until("orders", lambda i: i["status"]["phase"] == "Failed")
    await looked_again(scene, "1")
    assert operations(scene, engine) == []

    scene.annotate("orders", retry_requested_at="now")
    await scene.until_reason("orders", "UpToDate")
    assert operations(scene, engine) == ["Retry"]


@pytest.mark.parametrize("word", ["UpgradeFailed", "Freezed"])
async def test_an_engine_that_is_not_well_at_its_target_is_not_ready(
    scene: Scene, word: str
) -> None:
    engine = scene.engine(version="2.4.0")
    scene.secret()
    scene.resource(engine)
    await scene.until_reason("orders", "UpToDate")
    scene.admin.patch_engine(engine.id, status=word)
    await looked_again(scene, "1")
    item = await scene.until_reason("orders", "EngineUnusable")
    assert ready(item)["status"] == "False"
    scene.admin.patch_engine(engine.id, status="Available")
    await scene.until_reason("orders", "UpToDate")


async def test_a_job_in_a_state_that_nobody_knows_ends_when_the_vendor_no_longer_runs_it(
    unserved: Scene, start_operator: Start
) -> None:
    scene = unserved
    engine = scene.engine()
    scene.secret()
    scene.admin.plan_jobs(JobPlan(outcome="error", last_status="Cancelled"), engine.id)
    start_operator(scene, *SHORT_GRACE)
    scene.resource(engine)
    item = await scene.until_reason("orders", "UpgradeFailed")
    assert item["status"]["upgrade"]["error"]["code"] == "JobStopped"
    assert "Cancelled" in item["status"]["message"]
    scene.annotate("orders", retry_requested_at="now")
    await scene.until_reason("orders", "UpToDate")
    assert operations(scene, engine) == ["Upgrade", "Retry"]


@pytest.mark.parametrize("repeats", [0, 2])
async def test_a_call_that_is_never_answered_is_made_again_a_few_times_and_then_left_to_a_person(
    unserved: Scene, start_operator: Start, repeats: int
) -> None:
    scene = unserved
    engine = scene.engine()
    scene.secret()
    scene.admin.add_fault(Fault(operation="Upgrade", engine_id=engine.id, status=502, times=None))
    start_operator(scene, *SHORT_GRACE, f"--outcome-repeats={repeats}")
    scene.resource(engine)
    item = await scene.until_reason("orders", "OutcomeUncertain")
    assert item["status"]["upgrade"]["attempts"] == 1 + repeats
    scene.patch("orders", upgrade={"timeout": "3h"})
    await scene.until_reason("orders", "OutcomeUncertain")
    assert operations(scene, engine) == ["Upgrade"] * (1 + repeats)

    scene.admin.clear_faults()
    scene.annotate("orders", retry_requested_at="now")
    await scene.until_reason("orders", "UpToDate")
    assert scene.accepted(engine) == {"2.4.0": 1}


@pytest.mark.parametrize("status", [401, 429])
async def test_an_answer_of_the_gateway_after_the_effect_leads_to_no_second_call(
    unserved: Scene, start_operator: Start, status: int
) -> None:
    scene = unserved
    engine = scene.engine()
    scene.secret()
    code = "APIGW.0301" if status == 401 else "APIGW.0308"
    scene.admin.add_fault(
        Fault(
            operation="Upgrade",
            engine_id=engine.id,
            status=status,
            body={"error_code": code, "error_msg": "no"},
            after_effect=True,
            times=1,
        )
    )
    start_operator(scene, *SHORT_GRACE, "--credentials-cooldown=0.5")
    scene.resource(engine)
    await scene.until_reason("orders", "UpToDate")
    assert operations(scene, engine) == ["Upgrade"]


async def test_two_regions_of_one_endpoint_are_one_engine(
    unserved: Scene, start_operator: Start
) -> None:
    """The endpoint of these tests names no region, as behind a private link."""
    scene = unserved
    engine = scene.engine()
    scene.secret()
    start_operator(scene)
    scene.resource(engine)
    await scene.until_reason("orders", "UpToDate")
    scene.resource(engine, "copy", region="cn-east-3", version="2.4.0")
    await scene.until_reason("copy", "EngineAlreadyManaged")
    assert operations(scene, engine) == ["Upgrade"]
