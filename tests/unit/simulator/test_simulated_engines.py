"""The effects of upgrades and retries on an engine, and which of them the vendor refuses."""

from __future__ import annotations

import pytest

from cse_simulator.vendor.engines import EngineDescription
from cse_simulator.vendor.jobs import JobPlan


def state_of(engine):
    state = engine.state
    return state.status, state.version, state.actions


def test_an_upgrade_leads_through_upgrading_to_the_new_version(vendor):
    v = vendor(job_seconds=10)
    engine = v.engine()
    answer = v.upgrade(engine)
    assert (answer.status, answer.json) == (
        200,
        {"id": engine.id, "name": "orders", "jobId": answer.json["jobId"]},
    )
    assert type(answer.json["jobId"]) is int
    shown = v.show(engine).json
    assert (shown["status"], shown["version"]) == ("Upgrading", "2.3.1")
    assert shown["latestJobId"] == answer.json["jobId"]
    v.clock.advance(10)
    shown = v.show(engine).json
    assert (shown["status"], shown["version"]) == ("Available", "2.4.0")
    assert v.job(engine, answer.json["jobId"]).json["status"] == "Finished"


@pytest.mark.parametrize(
    ("policy", "version", "taken"),
    [
        ("offered", "2.4.0", True),
        ("offered", "2.3.5", True),
        ("offered", "2.3.4", False),
        ("offered", "2.3.1", False),
        ("offered", "2.2.0", False),
        ("offered", "two.four", False),
        ("upward", "2.3.4", True),
        ("upward", "2.10.0", True),
        ("upward", "2.3.1", False),
        ("any", "2.2.0", True),
        ("any", "1" * 25, False),
    ],
)
def test_only_versions_within_the_policy_are_taken(vendor, policy, version, taken):
    v = vendor(upgrade_policy=policy)
    engine = v.engine(offered_versions=("2.3.5", "2.3.1"))
    answer = v.upgrade(engine, version)
    assert answer.status == (200 if taken else 400)
    assert engine.state.status == ("Upgrading" if taken else "Available")
    if not taken:
        assert answer.json["error_code"] == "SVCSTG.00501199"


def test_nacos_versions_have_four_parts(vendor):
    v = vendor(job_seconds=1)
    engine = v.engine(type="NACOS", version="2.1.0.9", latest_version="2.1.0.16")
    assert v.upgrade(engine, "2.1.0.16").status == 200
    v.clock.advance(1)
    assert v.show(engine).json["version"] == "2.1.0.16"


@pytest.mark.parametrize("status", ["Upgrading", "UpgradeFailed", "Freezed", "Unavailable"])
def test_an_engine_that_is_not_available_takes_no_upgrade(vendor, status):
    v = vendor()
    engine = v.engine(status=status)
    answer = v.upgrade(engine)
    assert (answer.status, answer.json["error_code"]) == (400, "SVCSTG.00501117")
    assert answer.json["detail"] == f"engine is {status}"
    assert v.simulator.recorder.accepted == {}


@pytest.mark.parametrize("body", [None, {}, {"version": ""}, {"version": 240}, ["2.4.0"]])
def test_a_body_without_a_version_is_refused(vendor, body):
    v = vendor()
    engine = v.engine()
    target = f"{v.engines}/{engine.id}/upgrade"
    headers = {"X-Auth-Token": "t", "Content-Type": "application/json"}
    assert v.call("PUT", target, body, headers).status == 400
    assert engine.state.status == "Available"


def test_a_failed_upgrade_offers_retry_which_starts_a_new_job(vendor):
    v = vendor(job_seconds=10)
    engine = v.engine()
    v.upgrades.plan_jobs(engine.id, JobPlan("error", step=2))
    first = v.upgrade(engine).json["jobId"]
    v.clock.advance(10)
    assert v.job(engine, first).json["status"] == "Error"
    assert state_of(engine) == ("UpgradeFailed", "2.3.1", ("Retry",))
    second = v.retry(engine)
    assert (second.status, second.json["jobId"]) == (200, first + 1)
    v.clock.advance(10)
    v.show(engine)
    assert state_of(engine) == ("Available", "2.4.0", ("Noting",))


def test_retry_may_run_the_same_job_again(vendor):
    v = vendor(job_seconds=10, retry_job_id="same")
    engine = v.engine()
    v.upgrades.plan_jobs(engine.id, JobPlan("timeout", step=1))
    job = v.upgrade(engine).json["jobId"]
    v.clock.advance(10)
    assert v.job(engine, job).json["status"] == "Timeout"
    assert v.retry(engine).json["jobId"] == job
    assert v.job(engine, job).json["status"] == "Init"
    v.clock.advance(10)
    assert v.job(engine, job).json["status"] == "Finished"
    assert v.show(engine).json["version"] == "2.4.0"


def test_retry_of_an_engine_that_does_not_offer_it_is_refused(vendor):
    v = vendor()
    engine = v.engine()
    assert v.retry(engine).json["error_code"] == "SVCSTG.00501117"
    assert v.retry(engine, "Rollback").status == 400


def test_a_plan_without_end_holds_for_every_job(vendor):
    v = vendor(job_seconds=1)
    engine = v.engine()
    v.upgrades.plan_jobs(None, JobPlan("error", times=None))
    v.upgrade(engine)
    for _ in range(3):
        v.clock.advance(1)
        v.show(engine)
        assert engine.state.status == "UpgradeFailed"
        v.retry(engine)
    v.upgrades.clear_plans()
    v.clock.advance(1)
    v.show(engine)
    v.retry(engine)
    v.clock.advance(1)
    assert v.show(engine).json["status"] == "Available"


def test_a_plan_for_two_jobs_spares_the_third(vendor):
    v = vendor(job_seconds=1)
    v.upgrades.plan_jobs(None, JobPlan("error", times=2))
    ends = []
    for name in ("a", "b", "c"):
        engine = v.engine(name)
        v.upgrade(engine)
        v.clock.advance(1)
        ends.append(v.show(engine).json["status"])
    assert ends == ["UpgradeFailed", "UpgradeFailed", "Available"]


def test_a_vendors_patch_past_the_target_survives_the_upgrade(vendor):
    v = vendor(job_seconds=10)
    engine = v.engine()
    v.upgrade(engine)
    v.world.change_engine(engine.id, version="2.4.3")
    v.clock.advance(10)
    assert v.show(engine).json["version"] == "2.4.3"


def test_an_older_jobs_end_does_not_touch_an_engine_with_a_newer_one(vendor):
    v = vendor(job_seconds=10)
    engine = v.engine()
    v.upgrade(engine)
    v.clock.advance(5)
    v.upgrades.start_foreign_upgrade(engine.id, "2.5.0", "somebody")
    v.clock.advance(6)
    assert v.show(engine).json["status"] == "Upgrading"
    v.clock.advance(4)
    assert v.show(engine).json["version"] == "2.5.0"


def test_a_job_ended_by_hand_does_not_end_a_second_time(vendor):
    v = vendor(job_seconds=10)
    engine = v.engine()
    job = v.upgrade(engine).json["jobId"]
    v.upgrades.end_job(job, "finish")
    assert engine.state.version == "2.4.0"
    v.world.change_engine(engine.id, status="Freezed")
    v.clock.advance(20)
    assert v.show(engine).json["status"] == "Freezed"
    with pytest.raises(ValueError, match="has ended already"):
        v.upgrades.end_job(job, "error")


def test_a_job_end_is_dated_when_it_was_due_not_when_it_was_seen(vendor):
    v = vendor(job_seconds=10)
    engine = v.engine()
    started = v.clock.now()
    job = v.upgrade(engine).json["jobId"]
    v.clock.advance(1000)
    assert v.job(engine, job).json["endTime"] == int((started + 10) * 1000)
    assert engine.state.since == started + 10


@pytest.mark.parametrize(
    ("setting", "shown"), [("zero", 0), ("null", None), ("start", 1_800_000_000_000)]
)
def test_the_end_time_of_a_running_job_is_what_the_setting_says(vendor, setting, shown):
    v = vendor(running_end_time=setting)
    engine = v.engine()
    job = v.job(engine, v.upgrade(engine).json["jobId"]).json
    assert job["endTime"] == shown
    assert job["scheduling"] == 1


def test_a_running_job_may_lack_its_end_time(vendor):
    v = vendor(running_end_time="absent")
    engine = v.engine()
    assert "endTime" not in v.job(engine, v.upgrade(engine).json["jobId"]).json


@pytest.mark.parametrize("quirks", [True, False])
def test_the_oddities_of_the_vendors_examples_can_be_switched_off(vendor, quirks):
    v = vendor(quirks=quirks, job_seconds=1)
    engine = v.engine()
    job_id = v.upgrade(engine).json["jobId"]
    v.clock.advance(1)
    job = v.job(engine, job_id).json
    last = job["tasks"][-1]["tasks"][-1]
    assert job["status"] == "Finished"
    assert last["status"] == ("Init" if quirks else "Finished")
    assert ("taskexEcutorBrief" in last) is quirks
    assert ("taskExecutorBrief" in last) is not quirks


def test_the_job_that_created_an_engine_is_its_first_latest_job(vendor):
    v = vendor()
    engine = v.engine()
    job = v.job(engine, engine.state.latest_job_id).json
    assert (job["type"], job["status"]) == ("Create", "Finished")


@pytest.mark.parametrize("job", ["99999", "0"])
def test_an_unknown_job_is_refused(vendor, job):
    v = vendor(missing_job_status=404)
    answer = v.job(v.engine(), job)
    assert (answer.status, answer.json["error_code"]) == (404, "SVCSTG.00501153")


def test_a_job_id_that_is_no_number_is_refused(vendor):
    v = vendor()
    assert v.job(v.engine(), "abc").json["error_code"] == "SVCSTG.00501152"


def test_a_job_of_another_engine_is_not_found(vendor):
    v = vendor()
    one, other = v.engine("one"), v.engine("other")
    assert v.job(one, other.state.latest_job_id).json["error_code"] == "SVCSTG.00501153"


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_missing_engine_is_an_engine_level_error_whatever_its_status(vendor, status):
    v = vendor(missing_engine_status=status)
    answer = v.call("GET", f"{v.engines}/no-such-engine")
    assert (answer.status, answer.json["error_code"]) == (status, "SVCSTG.00501116")
    assert "request_id" not in answer.json


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ("error_msg", {"error_code", "error_msg", "detail"}),
        ("error_message", {"error_code", "error_message", "detail"}),
        ("errorMessage", {"errorCode", "errorMessage", "detail"}),
    ],
)
def test_engine_level_errors_come_under_any_of_the_names_seen(vendor, keys, names):
    v = vendor(error_keys=keys)
    assert set(v.call("GET", f"{v.engines}/none").json) == names


def test_a_deleted_engine_is_gone_and_can_be_created_again(vendor):
    v = vendor()
    engine = v.engine()
    v.world.delete_engine(engine.id)
    assert v.show(engine).json["error_code"] == "SVCSTG.00501116"
    assert v.upgrade(engine).json["error_code"] == "SVCSTG.00501116"
    assert v.retry(engine).json["error_code"] == "SVCSTG.00501116"
    assert v.list().json == {"total": 0, "data": []}
    v.engine()
    assert v.list().json["total"] == 1
    with pytest.raises(ValueError, match="already"):
        v.engine()


def test_an_engine_of_another_project_is_not_found(vendor):
    v = vendor()
    engine = v.engine(project="other")
    assert v.show(engine).json["error_code"] == "SVCSTG.00501116"


def test_enterprise_projects_hide_engines_when_they_are_enforced(vendor):
    v = vendor(enforce_enterprise_project=True)
    engine = v.engine(enterprise_project_id="e-1")
    named = {"X-Auth-Token": "t", "x-enterprise-project-id": "e-1"}
    assert v.show(engine).status == 400
    assert v.call("GET", f"{v.engines}/{engine.id}", headers=named).status == 200
    assert v.list().json["total"] == 0
    assert v.call("GET", v.engines, headers=named).json["total"] == 1


def test_ids_are_the_same_on_every_run(vendor):
    assert vendor().engine().id == vendor().engine().id
    assert EngineDescription("a").id != EngineDescription("a", project="other").id


def test_an_engine_of_an_unknown_type_cannot_be_described():
    with pytest.raises(ValueError, match="KAFKA"):
        EngineDescription("a", type="KAFKA")


def test_a_version_with_letters_is_taken_when_it_is_the_latest(vendor):
    v = vendor()
    engine = v.engine(latest_version="2.4.0-rc1")
    assert v.upgrade(engine, "2.4.0-rc2").status == 400
    assert v.upgrade(engine, "2.4.0-rc1").status == 200
