"""What projects share, and what is left when the last resource of one is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from pydantic import SecretStr

from cse_operator.cloud.credentials import AccessKey, Credentials, StaticToken
from cse_operator.cloud.endpoints import EndpointPolicy
from cse_operator.cloud.errors import NotSentError, UnauthenticatedError
from cse_operator.cloud.projects import Project, ProjectOptions, Projects
from cse_operator.cloud.transport import TransportOptions
from cse_operator.core.failure import Failure, FailureKind
from support.cloud_calls import ENGINE, ENGINE_ANSWER, PROJECT, fails
from support.raw_vendor import answer, serving

OPTIONS = ProjectOptions(
    endpoints=EndpointPolicy(
        cse_template="https://cse.{region}.example.com",
        iam_template="https://iam.{region}.example.com",
    ),
    transport=TransportOptions(),
    calls_per_second=50,
    credentials_cooldown=300,
    request_timeout=15,
)


def nobody(*_: object) -> None:
    """Nobody is told of calls."""


@pytest.fixture
async def projects() -> AsyncIterator[Projects]:
    """Projects nobody uses yet."""
    projects = Projects(OPTIONS, nobody)
    yield projects
    await projects.close()


TOKEN = StaticToken(token=SecretStr("canary-token"))


def attach(
    projects: Projects,
    resource: str,
    *,
    region: str = "cn-north-4",
    enterprise: str | None = None,
    credentials: Credentials = TOKEN,
) -> Project:
    return projects.attach(
        resource,
        region=region,
        project_id=PROJECT,
        enterprise_project_id=enterprise,
        credentials=credentials,
    )


async def test_clients_of_regions_that_nobody_names_any_more_are_closed(
    projects: Projects,
) -> None:
    for number in range(50):
        attach(projects, "a/b", region=f"aa-north-{number}")
    assert len(projects._http) == 1
    projects.detach("a/b")
    assert projects._http == {}
    await asyncio.gather(*projects._closing)


async def test_a_client_stays_while_another_project_uses_its_endpoint(projects: Projects) -> None:
    attach(projects, "a/b")
    attach(projects, "a/c", enterprise="1")
    projects.detach("a/b")
    assert len(projects._http) == 1


@asynccontextmanager
async def slow_vendor(received: asyncio.Event, told: asyncio.Event) -> AsyncIterator[Projects]:
    """Projects of a vendor that answers one call, when it is told to."""

    async def answer_when_told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        received.set()
        await told.wait()
        writer.write(answer(200, ENGINE_ANSWER))
        await writer.drain()

    async with asyncio.timeout(10), serving(answer_when_told) as port:
        url = f"http://127.0.0.1:{port}"
        options = replace(
            OPTIONS,
            endpoints=EndpointPolicy(cse_template=url, iam_template=url, allow_insecure=True),
            transport=TransportOptions(allow_local_addresses=True),
        )
        projects = Projects(options, nobody)
        yield projects
        await projects.close()


async def test_a_client_is_closed_when_the_calls_under_way_have_their_answers() -> None:
    received, told = asyncio.Event(), asyncio.Event()
    async with slow_vendor(received, told) as projects:
        project = attach(projects, "a/b")
        [http] = projects._http.values()
        call = asyncio.create_task(project.client.show_engine(ENGINE))
        await received.wait()
        projects.detach("a/b")
        for _ in range(5):
            await asyncio.sleep(0)
        told.set()
        assert (await call).engine_id == ENGINE
        await asyncio.gather(*projects._closing)
        assert http.is_closed


async def test_the_end_of_the_process_does_not_wait_for_calls_without_an_answer() -> None:
    received, never = asyncio.Event(), asyncio.Event()
    async with slow_vendor(received, never) as projects:
        project = attach(projects, "a/b")
        [http] = projects._http.values()
        call = asyncio.create_task(project.client.show_engine(ENGINE))
        await received.wait()
        projects.detach("a/b")
        await projects.close()
        assert http.is_closed
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)


async def test_a_call_that_waits_for_its_turn_when_the_operator_is_told_to_stop_is_not_sent() -> (
    None
):
    now = [1000.0]
    options = replace(OPTIONS, clock=lambda: now[0], calls_per_second=0.5)
    projects = Projects(options, nobody)
    project = attach(projects, "a/b")
    await project.bucket.acquire()
    call = asyncio.create_task(project.client.upgrade(ENGINE, "2.4.0", send_before=1005.0))
    await asyncio.sleep(0)
    now[0] = float("inf")
    with fails(NotSentError):
        await call
    await projects.close()


async def test_enterprise_projects_of_one_project_share_its_limit(projects: Projects) -> None:
    one, other = attach(projects, "a/b"), attach(projects, "a/c", enterprise="1")
    elsewhere = attach(projects, "a/d", region="cn-east-3")
    assert one.bucket is other.bucket
    assert one.bucket is not elsewhere.bucket


async def test_a_resource_that_is_made_anew_does_not_get_around_a_pause(
    projects: Projects,
) -> None:
    attach(projects, "a/b").bucket.penalize(600)
    projects.detach("a/b")
    assert attach(projects, "a/b").bucket.pause > 590


async def test_seconds_that_a_limit_held_calls_back_are_counted_once_and_for_ever(
    projects: Projects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cse_operator.cloud.projects.MOST_KEPT", 2)
    attach(projects, "a/b").bucket._waited = 7.0
    attach(projects, "a/b", enterprise="1")
    projects.detach("a/b")
    assert projects.throttled_seconds == 7.0
    for number in range(3):
        attach(projects, "a/b", region=f"aa-north-{number}")
    assert projects.throttled_seconds == 7.0


async def test_wrong_secrets_of_one_access_key_share_what_it_may_be_refused(
    projects: Projects,
) -> None:
    for number in range(4):
        key = AccessKey(access_key=SecretStr("ak"), secret_key=SecretStr(f"sk-{number}"))
        gate = attach(projects, f"namespace-{number}/x", credentials=key).auth.gate
        async with gate.attempt("https://cse.example.com"):
            gate.refused(Failure(FailureKind.UNAUTHENTICATED, "verify aksk signature fail"))

    key = AccessKey(access_key=SecretStr("ak"), secret_key=SecretStr("sk"))
    gate = attach(projects, "a/b", credentials=key).auth.gate
    with fails(UnauthenticatedError):
        async with gate.attempt("https://cse.example.com"):
            pytest.fail("a fifth one was tried")
    other = AccessKey(access_key=SecretStr("another"), secret_key=SecretStr("sk"))
    async with attach(projects, "a/c", credentials=other).auth.gate.attempt("https://cse"):
        pass
