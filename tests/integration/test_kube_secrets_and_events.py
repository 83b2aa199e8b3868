"""Secrets and Events on the real API server, and what kubectl shows of them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest
from kubernetes.aio.client import ApiClient

from cse_operator.kube import connection, errors
from cse_operator.kube.events import EventPoster
from cse_operator.kube.references import ObjectReference
from cse_operator.kube.secrets import SecretReader
from cse_simulator.control_plane import Cluster
from support.engines import create_engine, create_secret
from support.kubectl import Kubectl


@pytest.fixture
async def client(control_plane: Cluster) -> AsyncIterator[ApiClient]:
    """The operator's API client, as the administrator."""
    async with await connection.connect(kubeconfig=str(control_plane.kubeconfig)) as client:
        yield client


async def test_a_secret_is_read_and_its_rotation_noticed(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    create_secret(
        control_plane, "huaweicloud", namespace=namespace, accessKey="AK", secretKey="SK\n"
    )
    reader = SecretReader(client)
    before = await reader.read(namespace, "huaweicloud")
    assert {key: value.get_secret_value() for key, value in before.data.items()} == {
        "accessKey": "AK",
        "secretKey": "SK",
    }
    control_plane.request(
        "PATCH",
        f"/api/v1/namespaces/{namespace}/secrets/huaweicloud",
        {"stringData": {"secretKey": "SK2"}},
        content_type="application/merge-patch+json",
    )
    reader.forget(namespace, "huaweicloud")
    after = await reader.read(namespace, "huaweicloud")
    assert after.data["secretKey"].get_secret_value() == "SK2"
    assert after.resource_version != before.resource_version


async def test_a_missing_secret_and_a_binary_one_are_told_apart(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    reader = SecretReader(client)
    with pytest.raises(errors.SecretNotFound, match="no Secret absent in the namespace"):
        await reader.read(namespace, "absent")
    control_plane.request(
        "POST",
        f"/api/v1/namespaces/{namespace}/secrets",
        {
            "metadata": {"name": "binary"},
            "data": {"keystore": base64.b64encode(b"\xfe\xed").decode()},
        },
    )
    with pytest.raises(errors.SecretInvalid, match="The key keystore of the Secret binary"):
        await reader.read(namespace, "binary")


async def test_a_secret_that_kubernetes_itself_uses_is_not_taken_for_credentials(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    account = {"kubernetes.io/service-account.name": "default"}
    control_plane.request(
        "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "default"}}
    )
    control_plane.request(
        "POST",
        f"/api/v1/namespaces/{namespace}/secrets",
        {
            "metadata": {"name": "account", "annotations": account},
            "type": "kubernetes.io/service-account-token",
            "stringData": {"token": "canary"},
        },
    )
    with pytest.raises(errors.SecretInvalid, match=r"of the type kubernetes\.io/"):
        await SecretReader(client).read(namespace, "account")


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [
        ("kubernetes.io/basic-auth", True),
        ("bootstrap.kubernetes.io/token", True),
        ("Opaque", False),
        ("huaweicloud.example.com/iam", False),
        ("my-kubernetes.io/iam", False),
    ],
)
async def test_what_is_refused_is_told_by_the_domain_of_the_type(
    client: ApiClient, control_plane: Cluster, namespace: str, kind: str, *, theirs: bool
) -> None:
    secret = {"metadata": {"name": "any"}, "type": kind, "stringData": {"password": "canary"}}
    control_plane.request("POST", f"/api/v1/namespaces/{namespace}/secrets", secret)
    if not theirs:
        assert (await SecretReader(client).read(namespace, "any")).data
        return
    with pytest.raises(errors.SecretInvalid) as caught:
        await SecretReader(client).read(namespace, "any")
    assert kind in caught.value.sentence
    assert "make one of the type Opaque" in caught.value.sentence
    assert "canary" not in caught.value.sentence


async def test_people_see_events_in_describe_and_in_get(
    client: ApiClient, control_plane: Cluster, namespace: str, kubectl: Kubectl
) -> None:
    engine = create_engine(control_plane, "orders", namespace=namespace)
    reference = ObjectReference(namespace, "orders", engine["metadata"]["uid"])
    async with EventPoster(client, instance="cse-operator-1", drain_seconds=60.0) as events:
        events.post(reference, "Normal", "Upgrading", "job 17655 upgrades it to 2.4.0")
        events.post(reference, "Warning", "UpgradeFailed", "引擎" * 1000)
    assert events.lost == 0
    described = kubectl("describe", "mse", "orders", "-n", namespace)
    table = described.split("Events:")[1]
    [line] = [line for line in table.splitlines() if "17655" in line]
    kind, reason, age, source, *message = line.split()
    assert (kind, reason, source) == ("Normal", "Upgrading", "cse-operator")
    assert age != "<unknown>"
    assert " ".join(message) == "job 17655 upgrades it to 2.4.0"
    assert "引擎…" in table
    listed = kubectl("get", "events", "-n", namespace, "--no-headers")
    assert sorted(line.split()[1:4] for line in listed.splitlines()) == [
        ["Normal", "Upgrading", "microserviceengine/orders"],
        ["Warning", "UpgradeFailed", "microserviceengine/orders"],
    ]
    assert "<unknown>" not in listed


async def test_the_newer_events_api_shows_the_same(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    engine = create_engine(control_plane, "orders", namespace=namespace)
    reference = ObjectReference(namespace, "orders", engine["metadata"]["uid"])
    async with EventPoster(client, instance="cse-operator-1", drain_seconds=60.0) as events:
        events.post(reference, "Normal", "UpToDate", "engine is at 2.4.0")
    path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    [event] = control_plane.request("GET", path)["items"]
    assert event["reportingController"] == "cse-operator.io/cse-operator"
    assert event["reportingInstance"] == "cse-operator-1"
    assert event["action"] == "Reconcile"
    assert event["regarding"]["uid"] == engine["metadata"]["uid"]
    assert event["eventTime"]


async def test_an_event_in_a_namespace_that_is_gone_is_lost_quietly(client: ApiClient) -> None:
    async with EventPoster(client, instance="cse-operator-1", drain_seconds=60.0) as events:
        events.post(ObjectReference("no-such-namespace", "a", "u"), "Normal", "UpToDate", "m")
    assert events.lost == 1
