"""Access: a resource works with the Secret of its own namespace, and each lack has its name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from cse_operator.cloud.errors import CloudError
from cse_operator.core.failure import FailureKind
from cse_operator.kube import errors
from cse_operator.kube.secrets import SecretContent
from cse_operator.runtime.access import Access
from cse_operator.runtime.cache import Cache, Resource
from cse_operator.runtime.identities import Identities
from cse_operator.runtime.ownership import Ownership
from support.resources import stored

KEY = "payments/orders"


class World:
    """Secrets and projects that note what they are asked."""

    def __init__(self, answer: Exception | dict[str, str]) -> None:
        self.answer = answer
        self.read_secrets: list[tuple[str, str]] = []
        self.forgotten: list[tuple[str, str]] = []
        self.attached: list[dict[str, Any]] = []
        self.detached: list[str] = []
        self.identities = Identities(self.token, None, ())
        self.access = Access(self, self, self.identities)  # type: ignore[arg-type]

    async def token(self, namespace: str, name: str) -> SecretStr:
        raise AssertionError(f"no test here asks for a token of {namespace}/{name}")

    async def read(self, namespace: str, name: str) -> SecretContent:
        self.read_secrets.append((namespace, name))
        if isinstance(self.answer, Exception):
            raise self.answer
        return SecretContent("1", {key: SecretStr(value) for key, value in self.answer.items()})

    def forget(self, namespace: str, name: str) -> None:
        self.forgotten.append((namespace, name))

    def attach(self, key: str, **what: Any) -> str:
        self.attached.append({"key": key, **what})
        return "the project"

    def detach(self, key: str) -> None:
        self.detached.append(key)


def resource(**spec: Any) -> Resource:
    cache = Cache(Ownership(grace=30.0), lambda region: region)
    cache.watched(stored(**spec))
    tracked = cache.get(KEY)
    assert tracked is not None
    return tracked.parse()


async def test_the_secret_is_read_in_the_resources_own_namespace() -> None:
    world = World({"token": "t"})
    orders = resource(credentialsRef={"name": "cloud"}, enterpriseProjectId="ep-1")
    found: object = await world.access.project_of(KEY, orders)
    assert found == "the project"
    assert world.read_secrets == [("payments", "cloud")]
    (attached,) = world.attached
    assert attached["key"] == KEY
    assert attached["project_id"] == orders.spec.project_id
    assert (attached["region"], attached["enterprise_project_id"]) == ("cn-north-4", "ep-1")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (errors.SecretNotFound("There is no Secret"), FailureKind.CREDENTIALS_MISSING),
        (errors.Denied("not allowed"), FailureKind.CREDENTIALS_MISSING),
        (errors.SecretInvalid("no text"), FailureKind.CREDENTIALS_INVALID),
        ({"password": "canary"}, FailureKind.CREDENTIALS_INVALID),
        ({}, FailureKind.CREDENTIALS_INVALID),
    ],
)
async def test_what_is_wrong_with_a_secret_is_told_apart_without_its_values(
    answer: Exception | dict[str, str], kind: FailureKind
) -> None:
    world = World(answer)
    with pytest.raises(CloudError) as error:
        await world.access.project_of(KEY, resource())
    assert error.value.failure.kind is kind
    assert "canary" not in str(error.value)
    assert world.attached == []


async def test_an_api_server_that_is_away_is_not_the_fault_of_the_credentials() -> None:
    world = World(errors.Unavailable("away"))
    with pytest.raises(errors.Unavailable):
        await world.access.project_of(KEY, resource())


def test_a_resource_that_is_gone_uses_no_project() -> None:
    world = World({})
    world.access.release(KEY)
    assert world.detached == [KEY]


async def test_before_a_call_the_secret_is_read_as_it_is_now() -> None:
    world = World({"token": "t"})
    await world.access.project_of(KEY, resource(credentialsRef={"name": "cloud"}))
    assert world.forgotten == []
    await world.access.project_of(KEY, resource(credentialsRef={"name": "cloud"}), live=True)
    assert world.forgotten == [("payments", "cloud")]
