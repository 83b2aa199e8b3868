"""Our client and the simulator, written independently, understand one another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from cse_operator.clock import boottime
from cse_operator.cloud.auth.breaker import CredentialBreaker, RefusalBudget
from cse_operator.cloud.auth.credentials import parse_secret
from cse_operator.cloud.auth.kinds import auth_for
from cse_operator.cloud.client import CseClient
from cse_operator.cloud.transport import TransportOptions, build_http_client
from cse_operator.core.failure import FailureKind
from cse_simulator.vendor.admin import AdminClient
from cse_simulator.vendor.admin_answers import EngineSummary
from cse_simulator.vendor.engines import DEFAULT_PROJECT
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.jobs import JobPlan
from cse_simulator.vendor.seeds import Generation
from cse_simulator.vendor.simulation import Simulation, start_simulator
from support.cloud_calls import fails, make_client

UNDER_WAY = {"Init", "Executing"}
SECRETS = {
    "token": {"token": "static-token"},
    "access key": {"accessKey": "AKCONTRACT", "secretKey": "sk-contract"},
    "temporary key": {
        "accessKey": "AKTEMPORARY",
        "secretKey": "sk-temporary",
        "securityToken": "st-temporary",
    },
    "password": {"username": "robot", "password": "secret", "domainName": "acme"},
}


@pytest.fixture(scope="module")
def simulation() -> Iterator[Simulation]:
    credentials = [
        *("--token", "static-token", "--user", "robot:secret:acme"),
        *("--access-key", "AKCONTRACT:sk-contract"),
        *("--access-key", "AKTEMPORARY:sk-temporary:st-temporary"),
    ]
    with start_simulator(*credentials, job_seconds=3600) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with build_http_client(TransportOptions(allow_local_addresses=True)) as http:
        yield http


def connect(
    http: httpx.AsyncClient,
    url: str,
    secret: dict[str, str],
    project: str = DEFAULT_PROJECT,
    breaker: CredentialBreaker | None = None,
) -> CseClient:
    credentials = parse_secret({key: SecretStr(value) for key, value in secret.items()})
    auth = auth_for(
        credentials, breaker or CredentialBreaker(), project_id=project, iam_endpoint=url
    )
    return make_client(http, url, auth=auth, project_id=project)


async def upgrade(client: CseClient, engine: str, version: str = "2.4.0") -> int:
    return (await client.upgrade(engine, version, send_before=boottime() + 30)).job_id


@pytest.mark.parametrize("kind", SECRETS)
async def test_an_upgrade_is_followed_to_its_end_with_each_kind_of_credentials(
    simulation: Simulation,
    engine: EngineSummary,
    admin: AdminClient,
    http: httpx.AsyncClient,
    kind: str,
) -> None:
    client = connect(http, simulation.url, SECRETS[kind])
    before = await client.show_engine(engine.id)
    assert (before.status, before.version, before.latest_version) == ("Available", "2.3.1", "2.4.0")
    job_id = await upgrade(client, engine.id)
    running = await client.show_job(engine.id, job_id)
    assert (running.type, running.ended_at) == ("Upgrade", None)
    assert running.status in UNDER_WAY
    assert running.progress is not None
    assert running.progress.completed < running.progress.total
    with fails(FailureKind.BUSY):
        await upgrade(client, engine.id)
    admin.end_job(job_id)
    finished = await client.show_job(engine.id, job_id)
    assert finished.status == "Finished"
    assert finished.ended_at is not None
    assert finished.started_at is not None
    assert finished.progress is not None
    assert finished.progress.completed == finished.progress.total
    after = await client.show_engine(engine.id)
    assert (after.status, after.version, after.latest_job_id) == ("Available", "2.4.0", job_id)
    assert after.observed_at is not None
    assert admin.accepted_upgrades() == {(engine.id, "2.4.0"): 1}


async def test_a_failed_job_says_why_and_can_be_retried(
    simulation: Simulation, engine: EngineSummary, admin: AdminClient, http: httpx.AsyncClient
) -> None:
    admin.plan_jobs(JobPlan(outcome="error", seconds=0.0), engine.id)
    client = connect(http, simulation.url, SECRETS["token"])
    job_id = await upgrade(client, engine.id)
    failed = await client.show_job(engine.id, job_id)
    assert failed.status == "Error"
    assert failed.message
    assert "Retry" in (await client.show_engine(engine.id)).additional_actions
    retried = await client.retry(engine.id, send_before=boottime() + 30)
    assert retried.job_id > 0


@pytest.mark.parametrize("style", ["item", "item-from-one", "page"])
@pytest.mark.parametrize("rows", [10, 1000])
async def test_all_engines_are_listed_however_the_pages_are_counted(
    simulation: Simulation, admin: AdminClient, http: httpx.AsyncClient, style: str, rows: int
) -> None:
    project = f"listing-{style}-{rows}"
    made = admin.generate_engines(Generation(57, project=project))
    admin.change_settings(paging_style=style, maximum_limit=rows)
    try:
        client = connect(http, simulation.url, SECRETS["access key"], project)
        listed = await client.list_engines()
        assert {view.engine_id for view in listed} == {engine.id for engine in made}
        assert len(listed) == 57
        if rows == 1000:
            assert admin.counts()["ListEngines"] == 1
    finally:
        admin.change_settings(paging_style="item", maximum_limit=1000)


async def test_what_is_not_there_is_not_found(
    simulation: Simulation, engine: EngineSummary, admin: AdminClient, http: httpx.AsyncClient
) -> None:
    client = connect(http, simulation.url, SECRETS["token"])
    with fails(FailureKind.NOT_FOUND):
        await client.show_job(engine.id, 999_999)
    for status in (400, 401):
        admin.change_settings(missing_engine_status=status)
        with fails(FailureKind.NOT_FOUND):
            await client.show_engine("no-such-engine")
    with fails(FailureKind.REJECTED) as caught:
        await upgrade(client, engine.id, "9.9.9")
    assert caught.failure.code
    assert caught.failure.http_status == 400


@pytest.mark.parametrize("kind", ["access key", "password"])
async def test_many_wrong_secrets_do_not_lock_the_owner_of_the_right_one_out(
    simulation: Simulation,
    engine: EngineSummary,
    admin: AdminClient,
    http: httpx.AsyncClient,
    kind: str,
) -> None:
    field, name = {
        "access key": ("secretKey", "key AKCONTRACT"),
        "password": ("password", "user robot"),
    }[kind]
    budget = RefusalBudget()
    right = connect(http, simulation.url, SECRETS[kind], breaker=CredentialBreaker("right", budget))
    await right.show_engine(engine.id)
    wrong = [{**SECRETS[kind], field: f"wrong-{number}"} for number in range(20)]
    for secret in wrong:
        breaker = CredentialBreaker(secret[field], budget)
        mistyped = connect(http, simulation.url, secret, breaker=breaker)
        with fails(FailureKind.UNAUTHENTICATED):
            await mistyped.show_engine(engine.id)
    await right.show_engine(engine.id)
    anew = connect(http, simulation.url, SECRETS[kind], breaker=right._exchange._auth.breaker)
    await anew.show_engine(engine.id)
    assert admin.authentications()[name].most_refused_in_a_row == 4


async def test_once_the_clock_is_mended_a_signature_that_had_expired_is_tried_at_once(
    simulation: Simulation, engine: EngineSummary, admin: AdminClient, http: httpx.AsyncClient
) -> None:
    offset = [0.0]
    breaker = CredentialBreaker(offset=lambda: offset[0])
    client = connect(http, simulation.url, SECRETS["access key"], breaker=breaker)
    admin.change_settings(clock_offset_seconds=3600.0)
    try:
        for _ in range(3):
            with fails(FailureKind.UNAUTHENTICATED) as caught:
                await client.show_engine(engine.id)
            assert "clock differs from the vendor's" in caught.failure.message
    finally:
        admin.change_settings(clock_offset_seconds=0.0)
    assert admin.authentications()["key AKCONTRACT"].refused == 1
    offset[0] = 3600.0
    await client.show_engine(engine.id)


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_a_project_that_iam_does_not_know_holds_back_no_other_one(
    simulation: Simulation,
    engine: EngineSummary,
    admin: AdminClient,
    http: httpx.AsyncClient,
    status: int,
) -> None:
    admin.change_settings(iam_projects=DEFAULT_PROJECT, unknown_project_status=status)
    try:
        breaker = CredentialBreaker()
        mistyped = connect(http, simulation.url, SECRETS["password"], "mistyped", breaker)
        for _ in range(3):
            with fails(FailureKind.UNAUTHENTICATED) as caught:
                await mistyped.show_engine(engine.id)
            assert "Could not find project: mistyped." in caught.failure.message
        client = connect(http, simulation.url, SECRETS["password"], breaker=breaker)
        await upgrade(client, engine.id)
    finally:
        admin.change_settings(iam_projects="", unknown_project_status=404)
    refused = [call for call in admin.calls() if call.status == status]
    assert [call.operation for call in refused] == ["IssueToken"]


async def test_a_revoked_token_is_renewed_in_mid_job_without_a_second_upgrade(
    simulation: Simulation, engine: EngineSummary, admin: AdminClient, http: httpx.AsyncClient
) -> None:
    client = connect(http, simulation.url, SECRETS["password"])
    await client.show_engine(engine.id)
    admin.add_fault(Fault(operation="Upgrade", times=1, token="revoked"))
    with fails(FailureKind.OUTCOME_UNKNOWN) as caught:
        await upgrade(client, engine.id)
    assert "token must be updated" in caught.failure.message
    assert admin.accepted_upgrades() == {}
    job_id = await upgrade(client, engine.id)
    admin.add_fault(Fault(operation="ShowEngineJob", times=1, token="expired"))
    assert (await client.show_job(engine.id, job_id)).status in UNDER_WAY
    assert admin.accepted_upgrades() == {(engine.id, "2.4.0"): 1}
    refused = [call for call in admin.calls() if call.status == 401]
    assert len(refused) == 2


@pytest.mark.parametrize(
    "secret",
    [
        {"token": "wrong"},
        {"accessKey": "AKCONTRACT", "secretKey": "wrong"},
        {"accessKey": "AKTEMPORARY", "secretKey": "sk-temporary", "securityToken": "wrong"},
        {"username": "robot", "password": "wrong", "domainName": "acme"},
    ],
)
async def test_a_wrong_credential_is_refused_once_however_many_calls_want_it(
    simulation: Simulation, admin: AdminClient, http: httpx.AsyncClient, secret: dict[str, str]
) -> None:
    client = connect(http, simulation.url, secret)
    calls: list[Any] = [client.show_engine("engine-1") for _ in range(20)]
    calls += [upgrade(client, "engine-1") for _ in range(20)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {result.kind for result in results} == {FailureKind.UNAUTHENTICATED}
    assert [call.status for call in admin.calls()] == [401]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(operation="Upgrade", reset=True, after_effect=True),
        Fault(operation="Upgrade", status=504, after_effect=True),
        Fault(operation="Upgrade", truncate_at=10),
        Fault(operation="Upgrade", drop=("jobId",)),
    ],
)
async def test_an_upgrade_whose_answer_is_lost_took_effect_once(
    simulation: Simulation,
    engine: EngineSummary,
    admin: AdminClient,
    http: httpx.AsyncClient,
    fault: Fault,
) -> None:
    admin.add_fault(fault)
    client = connect(http, simulation.url, SECRETS["access key"])
    with fails(FailureKind.OUTCOME_UNKNOWN):
        await upgrade(client, engine.id)
    assert admin.counts()["Upgrade"] == 1
    assert admin.accepted_upgrades() == {(engine.id, "2.4.0"): 1}
    assert (await client.show_engine(engine.id)).status == "Upgrading"


async def test_throttling_is_understood_with_its_pause(
    simulation: Simulation, engine: EngineSummary, admin: AdminClient, http: httpx.AsyncClient
) -> None:
    for header, seconds in (("30", 30.0), ("date+30", 30.0)):
        admin.add_fault(Fault(operation="ShowEngine", times=1, status=429, retry_after=header))
        client = connect(http, simulation.url, SECRETS["token"])
        with fails(FailureKind.THROTTLED) as caught:
            await client.show_engine(engine.id)
        assert caught.failure.retry_after == pytest.approx(seconds, abs=1)
