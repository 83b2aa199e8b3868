"""Lagging reads: engines, rows and jobs as they were a moment ago."""

from __future__ import annotations

import pytest

LAG = 2.0


@pytest.fixture
def lagging(vendor):
    return vendor(read_lag_ms=LAG * 1000, job_seconds=10)


def test_an_accepted_upgrade_shows_only_after_the_lag(lagging):
    engine = lagging.engine()
    before = lagging.show(engine).json["latestJobId"]
    job = lagging.upgrade(engine).json["jobId"]
    lagging.clock.advance(LAG - 0.1)
    for shown in (lagging.show(engine).json, lagging.list().json["data"][0]):
        assert (shown["status"], shown["latestJobId"]) == ("Available", before)
    answer = lagging.job(engine, job)
    assert (answer.status, answer.json["error_code"]) == (400, "SVCSTG.00501153")
    lagging.clock.advance(0.1)
    for shown in (lagging.show(engine).json, lagging.list().json["data"][0]):
        assert (shown["status"], shown["latestJobId"]) == ("Upgrading", job)
    assert lagging.job(engine, job).json["status"] == "Init"


def test_the_new_version_shows_only_after_the_lag(lagging):
    engine = lagging.engine()
    job = lagging.upgrade(engine).json["jobId"]
    lagging.clock.advance(10 + LAG - 0.1)
    assert lagging.show(engine).json["version"] == "2.3.1"
    assert lagging.job(engine, job).json["status"] == "Executing"
    lagging.clock.advance(0.1)
    assert lagging.show(engine).json["version"] == "2.4.0"
    assert lagging.job(engine, job).json["status"] == "Finished"


def test_a_second_upgrade_is_judged_by_what_is_not_by_what_is_shown(lagging):
    engine = lagging.engine()
    lagging.upgrade(engine)
    assert lagging.show(engine).json["status"] == "Available"
    assert lagging.upgrade(engine).json["error_code"] == "SVCSTG.00501117"


def test_created_and_deleted_engines_come_and_go_after_the_lag(lagging):
    engine = lagging.engine()
    lagging.world.delete_engine(engine.id)
    assert lagging.list().json["total"] == 1
    assert lagging.show(engine).status == 200
    lagging.clock.advance(LAG)
    assert lagging.list().json["total"] == 0
    assert lagging.show(engine).status == 400


def test_retry_under_the_same_id_shows_the_failed_run_until_the_lag_is_over(vendor):
    v = vendor(read_lag_ms=LAG * 1000, job_seconds=10, retry_job_id="same")
    engine = v.engine()
    job = v.upgrade(engine).json["jobId"]
    v.clock.advance(5)
    v.upgrades.end_job(job, "error")
    v.clock.advance(LAG)
    assert v.job(engine, job).json["status"] == "Error"
    v.retry(engine)
    assert v.job(engine, job).json["status"] == "Error"
    v.clock.advance(LAG)
    assert v.job(engine, job).json["status"] == "Init"


def test_a_lag_beyond_what_is_remembered_shows_the_oldest_state(vendor):
    v = vendor(read_lag_ms=50_000)
    engine = v.engine()
    for number in range(100):
        v.clock.advance(0.1)
        v.world.change_engine(engine.id, version=f"2.3.{number}")
    assert v.show(engine).json["version"] == "2.3.68"
