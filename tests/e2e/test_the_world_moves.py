"""Others act on the same engines and resources: people, the vendor, other resources."""

from __future__ import annotations

from collections.abc import Callable

from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.jobs import JobPlan
from support.operator_process import OperatorProcess
from support.scene import Object, Scene, condition_types, ready


def _age(item: Object) -> tuple[str, str]:
    """Return the sort key of resources by age: the creation time, then the uid."""
    return item["metadata"]["creationTimestamp"], item["metadata"]["uid"]


async def test_an_upgrade_that_someone_else_started_is_adopted(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.plan_jobs(JobPlan(outcome="never"), engine.id)
    job = scene.admin.start_foreign_upgrade(engine.id, "2.4.0")
    scene.resource(engine)

    item = await scene.until_reason("orders", "Upgrading")
    assert item["status"]["jobId"] == job
    assert item["status"]["upgrade"]["action"] == "Adopted"
    assert "someone else started" in item["status"]["message"]

    scene.admin.end_job(job)
    item = await scene.until_reason("orders", "UpToDate")
    assert (item["status"]["result"], item["status"]["jobId"]) == ("Succeeded", job)
    assert scene.changing_calls() == []


async def test_a_foreign_upgrade_to_less_than_wanted_is_followed_by_our_own(scene: Scene) -> None:
    engine = scene.engine(latest_version="2.5.0")
    scene.secret()
    scene.admin.start_foreign_upgrade(engine.id, "2.4.0")
    scene.resource(engine, version="2.5.0")

    await scene.until_reason("orders", "UpToDate")
    assert scene.accepted(engine) == {"2.5.0": 1}


async def test_deleting_the_resource_touches_no_engine_and_its_successor_adopts_the_job(
    scene: Scene,
) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.plan_jobs(JobPlan(outcome="never"), engine.id)
    scene.resource(engine)
    job = (await scene.until_reason("orders", "Upgrading"))["status"]["jobId"]
    scene.delete("orders")
    scene.resource(engine)

    item = await scene.until_reason("orders", "Upgrading")
    assert item["status"]["jobId"] == job
    scene.admin.end_job(job)
    item = await scene.until_reason("orders", "UpToDate")
    assert (item["status"]["result"], item["status"]["jobId"]) == ("Succeeded", job)
    assert len(scene.changing_calls()) == 1


async def test_a_resource_deleted_in_mid_call_leaves_no_second_call_to_its_successor(
    scene: Scene,
) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.add_fault(Fault(operation="Upgrade", engine_id=engine.id, delay_ms=60_000))
    scene.resource(engine, name="first")
    await scene.admin.wait_for_async(engine=engine.id, phase="received")
    scene.delete("first")
    scene.resource(engine, name="second")
    await scene.admin.wait_for_async("ShowEngine", 2, engine=engine.id)
    scene.admin.clear_faults()

    await scene.until_reason("second", "UpToDate")
    assert scene.accepted(engine) == {"2.4.0": 1}
    assert len(scene.changing_calls()) == 1


async def test_the_oldest_of_two_resources_drives_and_its_deletion_hands_over(
    scene: Scene,
) -> None:
    engine = scene.engine()
    scene.secret()
    for name in ("first", "second"):
        scene.resource(engine, name=name, suspend=True)
    driver, other_owner = sorted(("first", "second"), key=lambda name: _age(scene.get(name)))

    item = await scene.until_reason(other_owner, "EngineAlreadyManaged")
    assert condition_types(item) == {"Ready": "False", "Stalled": "True"}
    assert item["status"]["message"].startswith(f"{driver}, which is older, manages the same")
    assert "no engine is touched" in item["status"]["message"]
    await scene.until_reason(driver, "Suspended")

    scene.delete(driver)
    await scene.until_reason(other_owner, "Suspended")
    scene.patch(other_owner, suspend=False)
    await scene.until_reason(other_owner, "UpToDate")
    assert len(scene.changing_calls()) == 1


async def test_the_next_owner_follows_a_running_upgrade_to_its_end_before_its_own(
    scene: Scene,
) -> None:
    engine = scene.engine(latest_version="2.5.0", offered_versions=("2.4.0",))  # type: ignore[arg-type]
    scene.secret()
    scene.admin.plan_jobs(JobPlan(outcome="never"), engine.id)
    scene.resource(engine, name="first")
    job = (await scene.until_reason("first", "Upgrading"))["status"]["jobId"]
    scene.resource(engine, name="second", version="2.5.0")
    await scene.until_reason("second", "EngineAlreadyManaged")

    scene.delete("first")
    item = await scene.until_reason("second", "Upgrading")
    assert item["status"]["jobId"] == job
    scene.admin.end_job(job)
    await scene.until_reason("second", "UpToDate")
    assert [call.body["version"] for call in scene.changing_calls()] == ["2.4.0", "2.5.0"]


async def test_an_owner_in_another_namespace_is_not_named(scene: Scene, elsewhere: Scene) -> None:
    engine = scene.engine()
    for namespace in (scene, elsewhere):
        namespace.secret()
        namespace.resource(engine, projectId=scene.project)

    first = scene if _age(scene.get("orders")) < _age(elsewhere.get("orders")) else elsewhere
    other_owner = elsewhere if first is scene else scene
    await first.until_reason("orders", "UpToDate")
    item = await other_owner.until_reason("orders", "EngineAlreadyManaged")
    assert "resource in another namespace manages the same engine" in item["status"]["message"]
    assert first.namespace not in str(item["status"])
    assert scene.accepted(engine) == {"2.4.0": 1}


async def test_two_resources_applied_at_once_for_one_engine_make_one_call(scene: Scene) -> None:
    scene.secret()
    engines = [scene.engine(f"engine-{number}") for number in range(6)]
    # The call is slow to take effect: until then, a look at the engine shows no upgrade.
    scene.admin.add_fault(
        Fault(operation="Upgrade", project=scene.project, times=None, delay_ms=300)
    )
    for engine in engines:
        scene.resource(engine, name=f"{engine.name}-a")
        scene.resource(engine, name=f"{engine.name}-b")
    names = [f"{engine.name}-{letter}" for engine in engines for letter in "ab"]
    for name in names:
        await scene.until(
            name, lambda i: ready(i)["reason"] in {"UpToDate", "EngineAlreadyManaged"}
        )
    for engine in engines:
        assert len(scene.changing_calls(engine)) == 1, engine.name
        assert scene.accepted(engine) == {"2.4.0": 1}


async def test_a_suspended_resource_starts_nothing_and_goes_on_when_resumed(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    scene.resource(engine, suspend=True)

    item = await scene.until_reason("orders", "Suspended")
    assert condition_types(item) == {"Ready": "False", "Reconciling": "True"}
    assert item["status"]["currentVersion"] == "2.3.1"
    assert scene.changing_calls() == []

    scene.patch("orders", suspend=False)
    await scene.until_reason("orders", "UpToDate")
    assert scene.accepted(engine) == {"2.4.0": 1}


async def test_a_resource_suspended_in_mid_job_is_followed_to_its_end(scene: Scene) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.plan_jobs(JobPlan(outcome="never"), engine.id)
    scene.resource(engine)
    job = (await scene.until_reason("orders", "Upgrading"))["status"]["jobId"]
    scene.patch("orders", suspend=True)
    scene.admin.end_job(job)

    item = await scene.until_reason("orders", "UpToDate")
    assert item["status"]["result"] == "Succeeded"


async def test_a_spec_changed_during_a_look_prevents_a_call_for_the_old_version(
    scene: Scene,
) -> None:
    engine, other = scene.engine(), scene.engine("other", version="2.4.0")
    scene.secret()
    scene.resource(other)
    await scene.until_reason("other", "UpToDate")
    scene.admin.add_fault(Fault(operation="ShowEngine", engine_id=engine.id, delay_ms=60_000))
    scene.resource(engine)
    await scene.admin.wait_for_async("ShowEngine", engine=engine.id, phase="received")
    scene.patch("orders", suspend=True)
    # When another resource was answered, the watch has delivered the change too.
    scene.annotate("other", reconcile_requested_at="1")
    await scene.until("other", lambda i: i["status"]["lastHandledReconcileAt"] == "1")
    scene.admin.clear_faults()

    await scene.until_reason("orders", "Suspended")
    assert scene.changing_calls() == []


async def test_a_version_changed_in_mid_call_gets_its_own_call_afterwards(scene: Scene) -> None:
    engine = scene.engine(offered_versions=("2.4.0", "2.5.0"))  # type: ignore[arg-type]
    scene.secret()
    scene.admin.add_fault(Fault(operation="Upgrade", engine_id=engine.id, delay_answer_ms=60_000))
    scene.resource(engine)
    await scene.admin.wait_for_async(engine=engine.id, phase="accepted")
    scene.patch("orders", version="2.5.0")
    scene.admin.clear_faults()

    await scene.until("orders", lambda i: i["status"]["currentVersion"] == "2.5.0")
    await scene.until_reason("orders", "UpToDate")
    assert scene.accepted(engine) == {"2.4.0": 1, "2.5.0": 1}
    assert [put.status for put in scene.changing_calls()] == [200, 200]


async def test_a_requested_look_is_answered_and_echoed(scene: Scene) -> None:
    engine = scene.engine(version="2.4.0")
    scene.secret()
    scene.resource(engine)
    await scene.until_reason("orders", "UpToDate")
    scene.admin.patch_engine(engine.id, version="2.4.7")
    scene.annotate("orders", reconcile_requested_at="2030-01-01T00:00:00Z")

    item = await scene.until(
        "orders", lambda i: i["status"]["lastHandledReconcileAt"] == "2030-01-01T00:00:00Z"
    )
    assert item["status"]["currentVersion"] == "2.4.7"
    assert scene.changing_calls() == []


async def test_the_vendors_own_patch_moves_the_current_version_without_a_call(
    unserved: Scene, start_operator: Callable[..., OperatorProcess]
) -> None:
    scene = unserved
    engines = [scene.engine(f"engine-{number}", version="2.4.0") for number in range(5)]
    scene.secret()
    start_operator(scene, "--resync-interval=0.5")
    for engine in engines:
        scene.resource(engine)
        await scene.until_reason(engine.name, "UpToDate")
    scene.admin.patch_engine(engines[3].id, version="2.4.2", latest_version="2.4.2")

    item = await scene.until("engine-3", lambda i: i["status"]["currentVersion"] == "2.4.2")
    assert ready(item)["reason"] == "UpToDate"
    assert "a later patch of 2.4.0" in item["status"]["message"]
    assert scene.changing_calls() == []


async def test_an_engine_that_is_busy_is_waited_for(scene: Scene) -> None:
    engine = scene.engine(status="Modifying")
    scene.secret()
    scene.resource(engine)
    item = await scene.until_reason("orders", "EngineBusy")
    assert "engine is Modifying" in item["status"]["message"]
    assert scene.changing_calls() == []

    scene.admin.patch_engine(engine.id, status="Available")
    await scene.until_reason("orders", "UpToDate")
