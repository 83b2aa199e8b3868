"""What projects share, and what is freed with a project's last resource."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from cse_operator.cloud.answers import Operation
from cse_operator.cloud.auth.credentials import AccessKey, Credentials, StaticToken
from cse_operator.cloud.auth.identities import (
    Agency,
    Federation,
    KeylessIdentity,
    ServiceAccountIdentity,
)
from cse_operator.cloud.auth.keyless import KeylessAuth
from cse_operator.cloud.endpoints import EndpointPolicy
from cse_operator.cloud.fairness import Turn
from cse_operator.cloud.ratelimit import ProjectLimits
from cse_operator.cloud.sessions import ProjectSession, ProjectSessions, SessionOptions
from cse_operator.cloud.transport import TransportOptions
from cse_operator.core.failure import Failure, FailureKind
from support.cloud_calls import ENGINE, ENGINE_ANSWER, PROJECT, fails
from support.raw_vendor import answer, serving

OPTIONS = SessionOptions(
    endpoints=EndpointPolicy(
        cse_template="https://cse.{region}.example.com",
        iam_template="https://iam.{region}.example.com",
        sts_template="https://sts.{region}.example.com",
    ),
    transport=TransportOptions(),
    calls_per_second=50,
    credentials_cooldown=300,
    request_timeout=15,
)


def nobody(*_: object) -> None:
    """Ignore a report of a call."""


@pytest.fixture
async def projects() -> AsyncIterator[ProjectSessions]:
    """A registry without projects."""
    projects = ProjectSessions(OPTIONS, nobody)
    yield projects
    await projects.close()


TOKEN = StaticToken(token=SecretStr("canary-token"))


def attach(
    projects: ProjectSessions,
    resource: str,
    *,
    region: str = "cn-north-4",
    enterprise: str | None = None,
    credentials: Credentials | KeylessIdentity = TOKEN,
    project: str = PROJECT,
    version: str = "",
) -> ProjectSession:
    return projects.attach(
        resource,
        region=region,
        project_id=project,
        enterprise_project_id=enterprise,
        credentials=credentials,
        secret_version=version,
    )


async def test_clients_of_regions_that_nobody_names_any_more_are_closed(
    projects: ProjectSessions,
) -> None:
    for number in range(50):
        attach(projects, "a/b", region=f"aa-north-{number}")
    assert len(projects._http) == 1
    projects.detach("a/b")
    assert projects._http == {}
    await asyncio.gather(*projects._closing)


async def test_a_client_stays_while_another_project_uses_its_endpoint(
    projects: ProjectSessions,
) -> None:
    attach(projects, "a/b")
    attach(projects, "a/c", enterprise="1")
    projects.detach("a/b")
    assert len(projects._http) == 1


@asynccontextmanager
async def slow_vendor(
    received: asyncio.Event, told: asyncio.Event
) -> AsyncIterator[ProjectSessions]:
    """Projects at a vendor that answers one call, when the test says so."""

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
        projects = ProjectSessions(options, nobody)
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


def limits_of(project: ProjectSession) -> ProjectLimits:
    return project.client._exchange._limits


async def test_a_call_that_waits_for_its_turn_when_the_operator_is_told_to_stop_is_not_sent() -> (
    None
):
    now = [1000.0]
    options = replace(OPTIONS, clock=lambda: now[0], calls_per_second=0.5)
    projects = ProjectSessions(options, nobody)
    project = attach(projects, "a/b")
    await limits_of(project).acquire(Operation.UPGRADE, Turn())
    call = asyncio.create_task(project.client.upgrade(ENGINE, "2.4.0", send_before=1005.0))
    await asyncio.sleep(0)
    now[0] = float("inf")
    with fails(FailureKind.NOT_SENT):
        await call
    await projects.close()


async def test_a_project_has_one_limit_whatever_enterprise_project_or_credential_calls(
    projects: ProjectSessions,
) -> None:
    one, other = attach(projects, "a/b"), attach(projects, "a/c", enterprise="1")
    key = AccessKey(access_key=SecretStr("ak"), secret_key=SecretStr("sk"))
    third = attach(projects, "b/d", credentials=key)
    elsewhere = attach(projects, "a/d", region="cn-east-3")
    assert limits_of(one) is limits_of(other) is limits_of(third)
    assert limits_of(one) is not limits_of(elsewhere)


async def test_a_resource_that_is_made_anew_does_not_get_around_a_pause(
    projects: ProjectSessions,
) -> None:
    limits_of(attach(projects, "a/b")).penalize(Operation.SHOW_ENGINE, 600)
    projects.detach("a/b")
    for number in range(200):
        attach(projects, "a/c", region=f"aa-north-{number}")
    assert limits_of(attach(projects, "a/b")).pause(Operation.SHOW_ENGINE) > 590


async def test_limits_that_are_in_use_are_never_evicted(projects: ProjectSessions) -> None:
    used = limits_of(attach(projects, "a/b"))
    for number in range(200):
        attach(projects, "a/c", region=f"aa-north-{number}")
        await asyncio.sleep(0)  # let the tasks of the previous project end
    assert limits_of(attach(projects, "b/d")) is used
    assert len(projects._limits._kept) < 100


async def test_pauses_are_counted_once_where_they_overlap(projects: ProjectSessions) -> None:
    limits = limits_of(attach(projects, "a/b"))
    limits.penalize(Operation.SHOW_ENGINE, 7)
    limits.penalize(Operation.SHOW_ENGINE, 7)
    limits.penalize(Operation.SHOW_JOB, 3)
    assert projects.throttled_seconds == pytest.approx(10, abs=0.5)


def key(secret: str, name: str = "ak") -> AccessKey:
    return AccessKey(access_key=SecretStr(name), secret_key=SecretStr(secret))


REFUSAL = Failure(FailureKind.UNAUTHENTICATED, "verify aksk signature fail")


async def test_wrong_secrets_of_one_access_key_share_what_it_may_be_refused(
    projects: ProjectSessions,
) -> None:
    for number in range(4):
        project = attach(projects, f"namespace-{number}/x", credentials=key(f"sk-{number}"))
        async with project.auth.breaker.attempt():
            project.auth.breaker.refused(REFUSAL)
    with fails(FailureKind.UNAUTHENTICATED):
        async with attach(projects, "a/b", credentials=key("sk")).auth.breaker.attempt():
            pytest.fail("a fifth one was tried")
    other = attach(projects, "a/c", credentials=key("sk", "another"))
    async with other.auth.breaker.attempt():
        pass


async def test_a_refused_secret_is_tried_again_as_soon_as_it_changes_and_not_before(
    projects: ProjectSessions,
) -> None:
    breaker = attach(projects, "a/b", credentials=key("sk"), version="uid/7").auth.breaker
    breaker.refused(REFUSAL)
    projects.detach("a/b")
    await asyncio.sleep(0)
    again = attach(projects, "a/b", credentials=key("sk"), version="uid/7").auth.breaker
    assert again is breaker
    changed = attach(projects, "a/b", credentials=key("sk"), version="uid/8").auth.breaker
    assert changed.refusal() is None


async def test_a_refusal_in_one_project_says_nothing_of_the_key_in_others(
    projects: ProjectSessions,
) -> None:
    attach(projects, "a/b", credentials=key("sk"), project="mistyped").auth.breaker.refused(REFUSAL)
    assert attach(projects, "a/c", credentials=key("sk")).auth.breaker.refusal() is None


async def test_breakers_and_budgets_that_are_in_use_are_never_evicted(
    projects: ProjectSessions,
) -> None:
    used = attach(projects, "a/b", credentials=key("sk")).auth
    for number in range(400):
        attach(projects, "b/c", credentials=key(f"sk-{number}", f"ak-{number}"))
        await asyncio.sleep(0)  # let the tasks of the previous project end
    assert attach(projects, "b/d", credentials=key("sk")).auth.breaker is used.breaker
    assert len(projects._breakers._kept) < 200
    assert len(projects._budgets._kept) < 200


async def id_token(namespace: str, name: str) -> SecretStr:
    return SecretStr(f"canary-{namespace}-{name}")


def account(namespace: str = "a", provider: str = "cce") -> ServiceAccountIdentity:
    return ServiceAccountIdentity(namespace, "upgrades", Federation(provider), id_token)


def session_of(projects: ProjectSessions, resource: str, **what: Any) -> object:
    project = projects.attach(
        resource,
        **{
            "region": "cn-north-4",
            "project_id": PROJECT,
            "enterprise_project_id": None,
            "credentials": account(),
            **what,
        },
    )
    assert isinstance(project.auth, KeylessAuth)
    return project.auth._session


async def test_an_identity_has_one_session_in_a_region_for_all_its_projects(
    projects: ProjectSessions,
) -> None:
    first = session_of(projects, "a/1")
    assert session_of(projects, "a/2", project_id="another") is first
    assert session_of(projects, "a/3", enterprise_project_id="ep") is first
    others = [
        session_of(projects, "b/1", credentials=account("b")),
        session_of(projects, "a/4", credentials=account(provider="other")),
        session_of(projects, "a/5", region="cn-east-3"),
    ]
    assert len({id(one) for one in (first, *others)}) == 4


async def test_a_trade_under_way_ends_with_the_projects(projects: ProjectSessions) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    async def hanging(namespace: str, name: str) -> SecretStr:
        begun.set()
        await never.wait()
        raise AssertionError

    identity = ServiceAccountIdentity("a", "upgrades", Federation("cce"), hanging)
    project = attach(projects, "a/b", credentials=identity)
    waiting = asyncio.create_task(project.auth.prepare())
    await begun.wait()
    (trade,) = projects._trades
    await projects.close()
    assert trade.cancelled()
    await asyncio.gather(waiting, return_exceptions=True)
    assert projects._trades == set()


async def test_no_token_goes_to_the_public_sts_for_a_region_of_an_unknown_site() -> None:
    options = replace(
        OPTIONS,
        endpoints=EndpointPolicy(
            cse_template="https://cse.example.com", iam_template="https://iam.example.com"
        ),
    )
    agency = ServiceAccountIdentity("a", "upgrades", Agency("provider", "agency"), id_token)
    projects = ProjectSessions(options, nobody)
    attach(projects, "a/1", region="my-region-1", credentials=account())
    with fails(FailureKind.REGION_NOT_ALLOWED):
        attach(projects, "a/2", region="my-region-1", credentials=agency)
    await projects.close()
