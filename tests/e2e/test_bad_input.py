"""Mistakes of users: the status names each with a way out, and recovers once it is corrected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from cse_simulator.vendor.engines import engine_id
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.jobs import JobPlan
from support.engines import engine_manifest
from support.operator_process import OperatorProcess
from support.scene import SECRET, TOKEN, Scene, condition_types, ready

MOVING = {"Ready": "False", "Reconciling": "True"}
STALLED = {"Ready": "False", "Stalled": "True"}


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"version": "2.4.0-with-24-characters"}, None),
        ({"version": "2.4.0-of-25-characters-xx"}, "spec.version: Too long"),
        ({"version": ""}, "spec.version"),
        ({"engineId": "a/b"}, "spec.engineId"),
        ({"engineId": ".."}, "spec.engineId"),
        ({"engineId": "a..%2f"}, "spec.engineId"),
        ({"projectId": "../other"}, "spec.projectId"),
        ({"region": "evil.example.com/"}, "spec.region"),
        ({"credentialsRef": {"name": "other/secret"}}, "spec.credentialsRef.name"),
        ({"versoin": "2.4.0"}, 'unknown field "spec.versoin"'),
    ],
)
def test_the_api_server_refuses_an_invalid_spec(
    scene: Scene, spec: dict[str, Any], complaint: str | None
) -> None:
    manifest = engine_manifest("orders", namespace=scene.namespace, **spec)
    applied = scene.kubectl.run("create", "-f", "-", stdin=yaml.safe_dump(manifest))
    if complaint is None:
        assert applied.returncode == 0, applied.stderr
    else:
        assert applied.returncode == 1
        assert complaint in applied.stderr


def test_a_resource_cannot_be_pointed_to_another_engine(scene: Scene) -> None:
    scene.resource(scene.engine())
    for field, value in (("engineId", "other"), ("projectId", "other"), ("region", "eu-west-0")):
        patch = yaml.safe_dump({"spec": {field: value}})
        refused = scene.kubectl.run(
            "patch", "mse", "orders", "-n", scene.namespace, "--type=merge", "-p", patch
        )
        assert refused.returncode == 1
        assert f"{field} is immutable: to manage another engine, create another" in refused.stderr


async def test_a_missing_secret_is_waited_for(scene: Scene) -> None:
    engine = scene.engine()
    scene.resource(engine)

    item = await scene.until_reason("orders", "CredentialsNotFound")
    assert condition_types(item) == MOVING
    assert item["status"]["phase"] == "Waiting"
    assert f"There is no Secret {SECRET} in the namespace" in item["status"]["message"]
    assert scene.calls() == []

    scene.secret()
    await scene.until_reason("orders", "UpToDate")
    assert scene.accepted(engine) == {"2.4.0": 1}


async def test_bad_credentials_are_reported_tried_rarely_and_recover_once_corrected(
    unserved_with_own_vendor: Scene, start_operator: Callable[..., OperatorProcess]
) -> None:
    scene = unserved_with_own_vendor
    running = scene.engine("running")
    scene.admin.plan_jobs(JobPlan(outcome="never"), running.id)
    scene.secret()
    scene.secret("incomplete", username="alice", password="canary-password-31d")
    scene.resource(running)
    start_operator(scene, "--resync-interval=1")  # the operator caches a Secret no longer than this
    job = (await scene.until_reason("running", "Upgrading"))["status"]["jobId"]
    scene.admin.refuse_tokens("revoked", TOKEN)
    await scene.until_reason("running", "CredentialsRefused")
    names = [f"engine-{number}" for number in range(4)]
    for name in names:
        scene.resource(scene.engine(name))
    scene.resource(scene.engine("orders"), credentialsRef={"name": "incomplete"})

    item = await scene.until_reason("orders", "CredentialsInvalid")
    assert condition_types(item) == STALLED
    assert "has password, username but lacks domainName" in item["status"]["message"]
    assert "canary" not in str(item)
    for name in names:
        item = await scene.until_reason(name, "CredentialsRefused")
        assert condition_types(item) == STALLED
        assert "HTTP 401, APIGW.0307" in item["status"]["message"]
        assert "put working credentials into the Secret" in item["status"]["message"]
    assert len([call for call in scene.calls() if call.status == 401]) <= 2

    scene.change_secret("incomplete", token="canary-token-complete")
    scene.change_secret(token="canary-token-renewed")
    await scene.until_reason("running", "Upgrading")
    scene.admin.end_job(job)
    for name in ("running", *names, "orders"):
        await scene.until_reason(name, "UpToDate")
    assert len(scene.changing_calls()) == len(names) + 2


async def test_an_unknown_engine_is_said_with_the_vendors_code(scene: Scene) -> None:
    missing = engine_id(scene.project, "orders")
    manifest = engine_manifest(
        "orders", namespace=scene.namespace, projectId=scene.project, engineId=missing
    )
    scene.secret()
    scene.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))

    item = await scene.until_reason("orders", "EngineNotFound")
    assert condition_types(item) == STALLED
    message = item["status"]["message"]
    assert "SVCSTG.00501116" in message
    assert "check engineId, projectId, region and enterpriseProjectId" in message
    assert scene.changing_calls() == []
    assert (await scene.event("orders", "EngineNotFound"))["type"] == "Warning"

    engine = scene.engine()
    assert engine.id == missing
    await scene.until_reason("orders", "UpToDate")


async def test_a_missing_engine_answered_as_401_is_not_taken_for_bad_credentials(
    scene: Scene,
) -> None:
    engine, other = scene.engine(), scene.engine("other", version="2.4.0")
    body = {"error_code": "SVCSTG.00501116", "error_msg": "The engine does not exist."}
    scene.admin.add_fault(
        Fault(operation="ShowEngine", engine_id=engine.id, status=401, body=body, times=None)
    )
    scene.secret()
    scene.resource(engine)

    item = await scene.until_reason("orders", "EngineNotFound")
    assert "HTTP 401, SVCSTG.00501116" in item["status"]["message"]
    scene.resource(other)
    await scene.until_reason("other", "UpToDate")


async def test_a_refused_version_is_latched_until_another_one_is_desired(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    scene.resource(engine, version="9.9.9")

    item = await scene.until_reason("orders", "UpgradeRejected")
    status = item["status"]
    assert condition_types(item) == STALLED
    assert (status["phase"], status["result"]) == ("Failed", "Rejected")
    assert status["upgrade"]["error"]["code"] == "SVCSTG.00501199"
    assert status["upgrade"]["error"]["httpStatus"] == 400
    assert "The target version is not supported." in status["message"]
    assert "HTTP 400, SVCSTG.00501199" in status["message"]
    assert "set spec.version to one the engine offers" in status["message"]
    assert (await scene.event("orders", "UpgradeRejected"))["message"] == status["message"]

    scene.annotate("orders", reconcile_requested_at="1")
    await scene.until("orders", lambda i: i["status"]["lastHandledReconcileAt"] == "1")
    assert len(scene.changing_calls()) == 1

    scene.patch("orders", version="2.4.0")
    healed = await scene.until_reason("orders", "UpToDate")
    assert len(scene.changing_calls()) == 2
    assert scene.accepted(engine) == {"2.4.0": 1}
    results = [(h["targetVersion"], h["result"]) for h in healed["status"]["history"]]
    assert results == [("2.4.0", "Succeeded"), ("9.9.9", "Rejected")]


async def test_a_downgrade_is_refused_without_a_call(scene: Scene) -> None:
    engine = scene.engine(version="2.4.0")
    scene.secret()
    scene.resource(engine, version="2.3.1")

    item = await scene.until_reason("orders", "DowngradeNotSupported")
    assert condition_types(item) == STALLED
    assert "set spec.version to 2.4.0 or higher" in item["status"]["message"]
    assert scene.changing_calls() == []

    scene.patch("orders", version="2.4.0")
    await scene.until_reason("orders", "UpToDate")
    assert scene.changing_calls() == []


async def test_a_region_that_is_not_allowed_is_never_called(scene: Scene) -> None:
    scene.secret()
    scene.resource(scene.engine(), region="ap-southeast-3")

    item = await scene.until_reason("orders", "RegionNotAllowed")
    assert condition_types(item) == STALLED
    assert "(allowed: cn-east-3, cn-north-4)" in ready(item)["message"]
    assert scene.calls() == []


async def test_a_status_that_somebody_mangled_is_written_anew(scene: Scene) -> None:
    engine = scene.engine(version="2.4.0")
    scene.secret()
    scene.resource(engine)
    await scene.until_reason("orders", "UpToDate")

    patch = {"status": {"conditions": None, "phase": None, "currentVersion": "0.0.1"}}
    scene.kubectl(
        *("patch", "mse", "orders", "-n", scene.namespace, "--type=merge"),
        *("--subresource=status", "-p", yaml.safe_dump(patch)),
    )
    item = await scene.until("orders", lambda i: i["status"]["currentVersion"] == "2.4.0")
    assert ready(item)["reason"] == "UpToDate"
