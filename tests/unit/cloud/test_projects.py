"""What projects share, and what is left when the last resource of one is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from cse_operator.cloud.credentials import AccessKey, Credentials, StaticToken
from cse_operator.cloud.endpoints import EndpointPolicy
from cse_operator.cloud.errors import UnauthenticatedError
from cse_operator.cloud.projects import Listeners, Project, ProjectOptions, Projects
from cse_operator.cloud.transport import TransportOptions
from cse_operator.core.failure import Failure, FailureKind
from support.cloud_calls import ENGINE, PROJECT, fails

OPTIONS = ProjectOptions(
    endpoints=EndpointPolicy(
        cse_template="https://cse.{region}.example.com",
        iam_template="https://iam.{region}.example.com",
    ),
    transport=TransportOptions(),
    calls_per_second=50,
    poll_interval=5,
    resync_interval=600,
    credentials_cooldown=300,
    request_timeout=15,
)


@pytest.fixture
async def projects() -> AsyncIterator[Projects]:
    """Projects nobody uses yet."""
    nobody = Listeners(lambda _: None, lambda *_: None, lambda *_: None)
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
        engine_id=ENGINE,
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


async def test_enterprise_projects_of_one_project_share_its_limit(projects: Projects) -> None:
    one, other = attach(projects, "a/b"), attach(projects, "a/c", enterprise="1")
    elsewhere = attach(projects, "a/d", region="cn-east-3")
    assert one.bucket is other.bucket
    assert one.bucket is not elsewhere.bucket

    one.bucket._throttled_seconds = 7.0
    projects.detach("a/b")
    assert projects.throttled_seconds == 7.0
    projects.detach("a/c")
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
