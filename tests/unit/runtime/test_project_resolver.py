"""Resolving a project: the Secret comes from the resource's namespace, each fault has its name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient
from pydantic import SecretStr

from cse_operator.cloud.auth.identities import (
    Federation,
    PodIdentity,
    ProjectedIdentity,
    ServiceAccountIdentity,
)
from cse_operator.cloud.errors import CloudError
from cse_operator.core.failure import FailureKind
from cse_operator.kube import errors
from cse_operator.kube.secrets import SecretContent
from cse_operator.runtime.cache import Cache, Resource
from cse_operator.runtime.identities import POD_TOKEN_FILE, POD_URL, Identities
from cse_operator.runtime.ownership import Ownership
from cse_operator.runtime.project_resolver import ProjectResolver
from cse_operator.runtime.settings import Settings
from support.resources import stored

KEY = "payments/orders"


class World:
    """Secrets and projects that record the requests."""

    def __init__(self, answer: Exception | dict[str, str]) -> None:
        self.answer = answer
        self.read_secrets: list[tuple[str, str]] = []
        self.forgotten: list[tuple[str, str]] = []
        self.attached: list[dict[str, Any]] = []
        self.detached: list[str] = []
        self.tokens: list[tuple[str, str]] = []
        self.prepared = 0
        self.pod: PodIdentity | None = None
        self.access = ProjectResolver(self, self, self.identities())  # type: ignore[arg-type]

    def identities(self) -> Identities:
        return Identities(self.token, self.pod, ("lent",))

    async def token(self, namespace: str, name: str) -> SecretStr:
        self.tokens.append((namespace, name))
        if isinstance(self.answer, Exception):
            raise self.answer
        return SecretStr("canary")

    async def prepare(self) -> None:
        self.prepared += 1

    async def read(self, namespace: str, name: str) -> SecretContent:
        self.read_secrets.append((namespace, name))
        if isinstance(self.answer, Exception):
            raise self.answer
        return SecretContent("1", {key: SecretStr(value) for key, value in self.answer.items()})

    def forget(self, namespace: str, name: str) -> None:
        self.forgotten.append((namespace, name))

    def attach(self, key: str, **what: Any) -> Any:
        self.attached.append({"key": key, **what})
        return SimpleNamespace(auth=self)

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
    await world.access.project_of(KEY, orders)
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
async def test_each_fault_of_a_secret_has_its_message_without_values(
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


ACCOUNT = {"serviceAccount": {"name": "upgrades", "identityProvider": "cce"}}


async def test_an_account_is_that_of_the_resources_own_namespace_and_shown_before_a_call() -> None:
    world = World({})
    orders = resource(credentialsRef=ACCOUNT)
    await world.access.project_of(KEY, orders)
    assert (world.tokens, world.prepared, world.read_secrets) == ([], 0, [])
    identity = world.attached[0]["credentials"]
    assert identity == ServiceAccountIdentity(
        "payments", "upgrades", Federation("cce"), world.token
    )
    await world.access.project_of(KEY, orders, live=True)
    assert (world.tokens, world.prepared) == ([("payments", "upgrades")], 1)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (errors.ServiceAccountNotFound("none"), FailureKind.CREDENTIALS_MISSING, "none"),
        (errors.Denied("may not"), FailureKind.CREDENTIALS_MISSING, "component keyless"),
        (errors.Invalid("wrong audience"), FailureKind.CREDENTIALS_INVALID, "wrong audience"),
    ],
)
async def test_what_is_wrong_with_an_account_is_told_before_the_call(
    answer: Exception, kind: FailureKind, words: str
) -> None:
    world = World(answer)
    with pytest.raises(CloudError, match=words) as error:
        await world.access.project_of(KEY, resource(credentialsRef=ACCOUNT), live=True)
    assert error.value.failure.kind is kind
    assert world.attached == []


async def test_the_api_server_being_away_is_no_fault_of_an_identity() -> None:
    world = World(errors.Unavailable("away", retry_after=7.0))
    with pytest.raises(errors.Unavailable):
        await world.access.project_of(KEY, resource(credentialsRef=ACCOUNT), live=True)
    await world.access.project_of(KEY, resource(credentialsRef=ACCOUNT))
    identity = world.attached[0]["credentials"]
    with pytest.raises(CloudError) as error:
        await identity.id_token("payments", "upgrades")
    assert (error.value.kind, error.value.failure.retry_after) == (FailureKind.TRANSIENT, 7.0)


async def test_without_a_reference_the_pods_identity_is_used_only_where_it_is_lent() -> None:
    world = World({})
    with pytest.raises(CloudError, match="does not lend") as refused:
        await world.identities().of("payments", None, live=False)
    assert refused.value.kind is FailureKind.CREDENTIALS_MISSING
    with pytest.raises(CloudError, match="has no identity of its own"):
        await world.identities().of("lent", None, live=False)
    world.pod = PodIdentity("http://169.254.169.250/", Path("token"))
    assert await world.identities().of("lent", None, live=True) == world.pod
    with pytest.raises(CloudError, match="does not lend"):
        await world.identities().of("payments", None, live=False)


async def test_the_operators_own_identity_is_the_one_that_its_administrator_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def own(**set_: Any) -> object:
        settings = Settings(_env_file=None, pod_identity_namespaces=("lent",), **set_)
        identities = Identities.of_settings(settings, ApiClient.__new__(ApiClient))
        return await identities.of("lent", None, live=False)

    monkeypatch.delenv(POD_URL, raising=False)
    with pytest.raises(CloudError, match="no identity of its own"):
        await own()
    monkeypatch.setenv(POD_URL, "http://169.254.169.250/")
    monkeypatch.setenv(POD_TOKEN_FILE, "/token")
    assert await own() == PodIdentity("http://169.254.169.250/", Path("/token"))
    chosen = {"pod_identity_provider": "cce", "pod_token_file": tmp_path}
    assert await own(**chosen) == ProjectedIdentity(Federation("cce"), tmp_path)
    for name, value in chosen.items():
        with pytest.raises(ValueError, match="need each other"):
            Settings(_env_file=None, **{name: value})
