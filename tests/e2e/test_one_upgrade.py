"""One upgrade as users see it: applied, followed, done; nothing else is touched."""

from __future__ import annotations

import json

import yaml

from cse_simulator.vendor.jobs import JobPlan
from support.engines import engine_manifest
from support.scene import Scene, condition_types, ready, status_writes


async def test_an_applied_resource_is_upgraded_by_one_call(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.plan_jobs(JobPlan(outcome="never"), engine.id)
    manifest = engine_manifest(
        "orders",
        namespace=scene.namespace,
        projectId=scene.project,
        engineId=engine.id,
        enterpriseProjectId="ep-1",
    )
    scene.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))

    running = await scene.until_reason("orders", "Upgrading")
    job = scene.admin.engine(engine.id).latest_job_id
    assert running["status"]["jobId"] == job
    assert running["status"]["phase"] == "Upgrading"
    assert condition_types(running) == {"Ready": "False", "Reconciling": "True"}
    row = scene.kubectl("get", "mse", "orders", "-n", scene.namespace, "--no-headers").split()
    assert row[:6] == ["orders", "2.4.0", "2.3.1", "False", "Upgrading", str(job)]

    scene.admin.end_job(job)
    scene.kubectl(
        "wait", "--for=condition=Ready", "mse/orders", "-n", scene.namespace, "--timeout=60s"
    )
    done = scene.get("orders")
    status = done["status"]
    assert (status["phase"], status["result"], status["jobId"]) == ("UpToDate", "Succeeded", job)
    assert status["currentVersion"] == "2.4.0"
    assert condition_types(done) == {"Ready": "True"}
    assert status["history"][0]["fromVersion"] == "2.3.1"
    assert status["history"][0]["result"] == "Succeeded"

    (put,) = scene.changing_calls(engine)
    assert (put.method, put.status) == ("PUT", 200)
    assert put.path == f"/v2/{scene.project}/enginemgr/engines/{engine.id}/upgrade"
    assert put.body == {"version": "2.4.0"}
    assert put.headers["content-type"] == "application/json;charset=UTF-8"
    assert put.headers["accept"] == "application/json"
    assert put.headers["x-enterprise-project-id"] == "ep-1"
    assert put.headers["x-auth-token"] == "present"
    assert "idempotency-key" not in put.headers
    for reason in ("Upgrading", "UpToDate"):
        assert (await scene.event("orders", reason))["type"] == "Normal"


async def test_the_operator_writes_the_status_and_nothing_else(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    manifest = engine_manifest(
        "orders", namespace=scene.namespace, projectId=scene.project, engineId=engine.id
    )
    manifest["metadata"]["labels"] = {"team": "payments"}
    manifest["metadata"]["annotations"] = {"example.com/owner": "alice"}
    path = f"/apis/cse-operator.io/v1alpha1/namespaces/{scene.namespace}/microserviceengines"
    before = scene.cluster.request("POST", path, manifest, query={"fieldManager": "alice"})
    await scene.until_reason("orders", "UpToDate")

    after = scene.get("orders")
    assert after["spec"] == before["spec"]
    unchanged = ("uid", "generation", "labels", "annotations", "creationTimestamp")
    for field in unchanged:
        assert after["metadata"][field] == before["metadata"][field]
    assert "finalizers" not in after["metadata"]
    assert "ownerReferences" not in after["metadata"]
    writers = {
        entry["manager"]: (entry.get("subresource"), list(entry["fieldsV1"]))
        for entry in after["metadata"]["managedFields"]
    }
    assert writers == {
        "alice": (None, ["f:metadata", "f:spec"]),
        "cse-operator": ("status", ["f:status"]),
    }


async def test_an_upgrade_takes_three_status_writes(scene: Scene) -> None:
    engine = scene.engine()
    async with scene.versions_of("orders") as versions:
        scene.resource(engine)
        await scene.until_reason("orders", "CredentialsNotFound")
        scene.secret()
        await scene.until_reason("orders", "UpToDate")

    # Count once all versions have arrived: the watch that collects them may be behind.
    writes = status_writes(versions)
    reasons = [ready(write)["reason"] for write in writes]
    writes = writes[reasons.index("CredentialsNotFound") + 1 :]
    told = [(w["status"]["phase"], w["status"]["upgrade"].get("jobId")) for w in writes]
    job = scene.admin.engine(engine.id).latest_job_id
    assert told == [("Submitting", None), ("Upgrading", job), ("UpToDate", job)]
    assert all(w["spec"] == versions[0]["spec"] for w in writes)


async def test_the_intent_is_stored_before_the_call_is_made(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    scene.resource(engine)
    await scene.until_reason("orders", "UpToDate")

    (put,) = scene.changing_calls(engine)
    (look, *_) = scene.calls("ShowEngine", engine=engine.id)
    assert look.number < put.number
    record = scene.get("orders")["status"]["upgrade"]
    assert record["baselineJobId"] < record["jobId"]
    assert (record["attempts"], record["retries"]) == (1, 0)


async def test_a_settled_resource_costs_nothing_while_others_work(scene: Scene) -> None:
    settled, busy = scene.engine("settled"), scene.engine("busy")
    scene.secret()
    scene.resource(settled)
    await scene.until_reason("settled", "UpToDate")
    version = scene.get("settled")["metadata"]["resourceVersion"]
    calls = len(scene.calls(engine=settled.id))

    scene.resource(busy)
    await scene.until_reason("busy", "UpToDate")

    assert scene.get("settled")["metadata"]["resourceVersion"] == version
    assert len(scene.calls(engine=settled.id)) == calls


async def test_an_engine_already_at_its_version_is_left_alone(scene: Scene) -> None:
    engine = scene.engine(version="2.4.0")
    scene.secret()
    async with scene.versions_of("orders") as versions:
        scene.resource(engine)
        await scene.until_reason("orders", "UpToDate")

    assert scene.changing_calls() == []
    assert len(status_writes(versions)) == 1
    assert "upgrade" not in versions[-1]["status"]


async def test_a_later_patch_of_the_wanted_release_is_enough(scene: Scene) -> None:
    engine = scene.engine(version="2.4.3", latest_version="2.4.3")
    scene.secret()
    scene.resource(engine, version="2.4.1")

    item = await scene.until_reason("orders", "UpToDate")
    assert item["status"]["message"] == "engine is at 2.4.3, a later patch of 2.4.1"
    assert scene.changing_calls() == []


async def test_a_nacos_engine_is_upgraded_to_its_four_part_version(scene: Scene) -> None:
    engine = scene.engine(type="NACOS", version="2.1.0.1", latest_version="2.1.0.16")
    scene.secret()
    scene.resource(engine, version="2.1.0.16")

    item = await scene.until_reason("orders", "UpToDate")
    assert item["status"]["currentVersion"] == "2.1.0.16"
    assert scene.accepted(engine) == {"2.1.0.16": 1}


async def test_each_new_version_gets_one_call_of_its_own(scene: Scene) -> None:
    engine = scene.engine(offered_versions=("2.4.0", "2.5.0"))  # type: ignore[arg-type]
    scene.secret()
    scene.resource(engine)
    await scene.until_reason("orders", "UpToDate")
    scene.patch("orders", version="2.5.0")
    item = await scene.until("orders", lambda i: i["status"]["currentVersion"] == "2.5.0")

    assert scene.accepted(engine) == {"2.4.0": 1, "2.5.0": 1}
    assert len(scene.changing_calls()) == 2
    history = [(h["fromVersion"], h["targetVersion"]) for h in item["status"]["history"]]
    assert history == [("2.4.0", "2.5.0"), ("2.3.1", "2.4.0")]


async def test_a_burst_of_engines_of_one_project_gets_one_call_each(scene: Scene) -> None:
    engines = [scene.engine(f"engine-{number}") for number in range(25)]
    scene.secret()
    for engine in engines:
        scene.resource(engine)
    for engine in engines:
        await scene.until_reason(engine.name, "UpToDate")

    assert [scene.accepted(engine) for engine in engines] == [{"2.4.0": 1}] * len(engines)
    assert len(scene.changing_calls()) == len(engines)


async def test_a_resource_that_nobody_serves_is_not_touched_and_does_not_look_finished(
    scene: Scene, unserved: Scene
) -> None:
    untouched, engine = unserved.engine(), scene.engine()
    for place in (unserved, scene):
        place.secret()
    unserved.resource(untouched)
    scene.resource(engine)
    await scene.until_reason("orders", "UpToDate")

    item = unserved.get("orders")
    assert item["status"] == {"observedGeneration": -1, "phase": "Pending"}
    assert unserved.calls() == []


async def test_kubectl_describe_tells_the_story(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    scene.resource(engine)
    await scene.until_reason("orders", "UpToDate")
    await scene.event("orders", "UpToDate")

    told = scene.kubectl("describe", "mse", "orders", "-n", scene.namespace)
    assert "engine is at 2.4.0" in told
    job = scene.admin.engine(engine.id).latest_job_id
    assert f"upgrading from 2.3.1 to 2.4.0, job {job}" in told
    wide = scene.kubectl("get", "mse", "-n", scene.namespace, "-o", "wide")
    assert "MESSAGE" in wide
    assert "engine is at 2.4.0" in wide
    assert ready(scene.get("orders"))["message"] in json.dumps(told)
