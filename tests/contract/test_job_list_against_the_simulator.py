"""An engine's list of jobs: complete in any order of a site, absent, or unknown."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from cse_operator.cloud.client import CseClient
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.reader import MOST_JOBS
from cse_operator.cloud.transport import TransportOptions, build_http_client
from cse_simulator.vendor.admin import AdminClient
from cse_simulator.vendor.admin_answers import EngineSummary
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.simulation import Simulation, start_simulator
from support.cloud_calls import FakeTime, make_client, static_auth


@pytest.fixture(scope="module")
def simulation() -> Iterator[Simulation]:
    with start_simulator("--token", "static-token", job_seconds=3600) as running:
        yield running


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


@pytest.fixture
async def client(simulation: Simulation, clock: FakeTime) -> AsyncIterator[CseClient]:
    auth = static_auth("static-token")
    async with build_http_client(TransportOptions(allow_local_addresses=True)) as http:
        url = simulation.url
        yield make_client(http, url, auth=auth, clock=clock)


@pytest.fixture
def job_list(admin: AdminClient) -> Iterator[Callable[..., None]]:
    """Change how the simulated site lists jobs, for one test."""
    usual = {
        "job_list": "plain",
        "job_list_order": "newest-first",
        "job_list_lag_ms": 0.0,
        "paging_style": "item",
        "maximum_limit": 1000,
    }
    yield lambda **changes: admin.change_settings(**changes) and None
    admin.change_settings(**usual)


def run_jobs(admin: AdminClient, engine: EngineSummary, count: int) -> list[int]:
    """Run `count` foreign jobs on an engine, one after the other."""
    ids = []
    for number in range(count):
        ids.append(admin.start_foreign_upgrade(engine.id, f"2.4.{number}"))
        admin.end_job(ids[-1])
    return ids


@pytest.mark.parametrize(
    "site",
    [
        (form, order, style)
        for form in ("plain", "wrapped")
        for order in ("newest-first", "oldest-first")
        for style in ("item", "item-from-one", "page", "page-from-zero")
    ],
    ids="-".join,
)
async def test_all_jobs_are_listed_oldest_first_however_the_site_lists_them(
    engine: EngineSummary,
    client: CseClient,
    admin: AdminClient,
    job_list: Callable[..., None],
    site: tuple[str, str, str],
) -> None:
    form, order, style = site
    ids = [engine.latest_job_id, *run_jobs(admin, engine, 24)]
    job_list(job_list=form, paging_style=style, job_list_order=order, maximum_limit=7)
    jobs = await client.list_jobs(engine.id)
    assert jobs is not None
    assert [job.job_id for job in jobs] == ids
    assert {(job.status, job.scheduled, job.engine_id) for job in jobs} == {
        ("Finished", False, engine.id)
    }
    assert [job.created_by for job in jobs[:2]] == ["simulator", "another-person"]


async def test_one_call_lists_few_jobs_and_names_no_times(
    engine: EngineSummary, admin: AdminClient, client: CseClient
) -> None:
    run_jobs(admin, engine, 3)
    jobs = await client.list_jobs(engine.id)
    assert jobs is not None
    assert len(jobs) == 4
    assert [call.query for call in admin.calls("QueryEngineJobList")] == ["limit=50&offset=0"]


async def test_a_list_that_lags_shows_a_job_later_than_other_reads(
    engine: EngineSummary,
    client: CseClient,
    admin: AdminClient,
    job_list: Callable[..., None],
) -> None:
    job_list(job_list_lag_ms=3_600_000.0)
    job_id = (await client.upgrade(engine.id, "2.4.0", send_before=math.inf)).job_id
    assert (await client.show_job(engine.id, job_id)).job_id == job_id
    assert await client.list_jobs(engine.id) == ()
    job_list(job_list_lag_ms=0.0)
    jobs = await client.list_jobs(engine.id)
    assert jobs is not None
    assert [job.job_id for job in jobs] == [engine.latest_job_id, job_id]
    assert (jobs[1].scheduled, jobs[1].created_by) == (True, "token-user")


async def test_a_site_without_the_list_is_asked_again_only_the_next_day(
    engine: EngineSummary,
    client: CseClient,
    clock: FakeTime,
    admin: AdminClient,
    job_list: Callable[..., None],
) -> None:
    job_list(job_list="absent")
    assert await client.list_jobs(engine.id) is None
    job_list(job_list="plain")
    clock.advance(24 * 3600 - 1)
    assert await client.list_jobs(engine.id) is None
    assert admin.counts()["QueryEngineJobList"] == 1
    clock.advance(1)
    jobs = await client.list_jobs(engine.id)
    assert jobs is not None
    assert [job.job_id for job in jobs] == [engine.latest_job_id]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, "<html>not found</html>"),
        (404, {"error_code": "SVCSTG.00501153", "error_msg": "no such job"}),
        (403, {"error_code": "APIGW.0302", "error_msg": "denied"}),
        (503, {"error_code": "APIGW.0101", "error_msg": "no such API"}),
        (200, {"total": 0}),
    ],
)
async def test_every_other_answer_leaves_unknown_which_jobs_there_are(
    engine: EngineSummary,
    client: CseClient,
    admin: AdminClient,
    status: int,
    body: Any,
) -> None:
    admin.add_fault(Fault(operation="QueryEngineJobList", times=None, status=status, body=body))
    with pytest.raises(CloudError):
        await client.list_jobs(engine.id)
    admin.clear_faults()
    assert await client.list_jobs(engine.id)


async def test_of_many_jobs_the_newest_are_kept(
    engine: EngineSummary, admin: AdminClient, client: CseClient
) -> None:
    ids = run_jobs(admin, engine, MOST_JOBS + 30)
    jobs = await client.list_jobs(engine.id)
    assert jobs is not None
    assert [job.job_id for job in jobs] == ids[-MOST_JOBS:]
