"""Upgrades without a stored key: real tokens of the API server, verified with its real keys."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from cse_simulator.control_plane import Cluster
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.simulation import Simulation, start_simulator
from support.kubectl import Kubectl
from support.operator_process import OperatorProcess
from support.scene import Scene, ready
from support.wait import EVENTS

AUDIENCE = "cse-operator"
PROVIDER_URN = "iam::0a1b2c3d:identityProvider:cce"
AGENCY_URN = "iam::0a1b2c3d:agency:cse-upgrades"
POD_TOKEN = "canary-pod-token-9d41"
CANARIES = ("eyJ", "UNSCOPED-", "TEMPORARY-", POD_TOKEN)
"""The first characters of all tokens (for a JWT, its first bytes) and of access keys."""


@dataclass
class Stage:
    """A cluster that the simulator's IAM trusts, and an operator that serves some namespaces."""

    cluster: Cluster
    simulation: Simulation
    operator: OperatorProcess
    free: list[str]
    lent: str

    def scene(self, namespace: str | None = None) -> Scene:
        return Scene(self.cluster, namespace or self.free.pop(), self.simulation)

    def account(self, scene: Scene, name: str = "upgrades") -> None:
        path = f"/api/v1/namespaces/{scene.namespace}/serviceaccounts"
        self.cluster.request("POST", path, {"metadata": {"name": name}})

    def shown(self, scene: Scene) -> str:
        """Return all that a reader can see: log, metrics, resources, Events."""
        with urlopen(f"http://127.0.0.1:{self.operator.port}/metrics") as answer:
            metrics = answer.read().decode()
        base, _, plural = EVENTS.rpartition("/")
        events = self.cluster.request("GET", f"/{base}/namespaces/{scene.namespace}/{plural}")
        names = scene.kubectl("get", "mse", "-n", scene.namespace, "-o", "json")
        return "\n".join((self.operator.output(), metrics, json.dumps(events), names))


def providers(cluster: Cluster, namespaces: list[str]) -> list[dict[str, Any]]:
    """Return the identity providers as an administrator sets them up, with the cluster's keys."""
    found = cluster.request("GET", "/.well-known/openid-configuration")
    jwks = Kubectl(cluster)("get", "--raw", "/openid/v1/jwks")
    usual = {
        "issuer": found["issuer"],
        "audience": AUDIENCE,
        "jwks": json.loads(jwks),
        "subjects": [f"system:serviceaccount:{name}:upgrades" for name in namespaces],
    }
    other = {**usual, "name": "other-client", "audience": "somebody-else"}
    agency = {**usual, "name": PROVIDER_URN, "agency": AGENCY_URN}
    return [{**usual, "name": "cce"}, other, agency]


@pytest.fixture(scope="module")
def stage(control_plane: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Access keys live for eight seconds; one call needs five of them."""
    folder: Path = tmp_path_factory.mktemp("keyless")
    namespaces = [f"keyless-{secrets.token_hex(4)}-{number}" for number in range(8)]
    for name in namespaces:
        control_plane.create_namespace(name)
    pod_token = folder / "pod-token"
    pod_token.write_text(f"{POD_TOKEN}\n")
    with start_simulator(job_seconds=7.0, temporary_key_seconds=8.0) as simulation:
        simulation.admin.accept_only(
            identity_providers=providers(control_plane, namespaces),
            pod_identities={POD_TOKEN: "cse-operator-agency"},
        )
        operator = OperatorProcess(
            control_plane.kubeconfig,
            folder / "log",
            cse_endpoint=simulation.url,
            namespaces=namespaces,
            flags=[
                *("--poll-interval=0.2", "--wait-interval=0.5", "--slow-interval=0.5"),
                *("--log-level=debug", f"--pod-identity-namespaces={namespaces[-1]}"),
            ],
            environment={
                "HC_CONTAINER_CREDENTIALS_FULL_URI": f"{simulation.url}/pod-identity/credentials",
                "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(pod_token),
            },
        )
        with operator:
            operator.wait_until_it_may_call()
            yield Stage(control_plane, simulation, operator, namespaces[:-1], namespaces[-1])
            assert operator.terminate() == 0
    for name in namespaces:
        control_plane.delete_namespace(name)


def account(**way: Any) -> dict[str, Any]:
    """Return a `credentialsRef` that names the ServiceAccount."""
    return {"serviceAccount": {"name": "upgrades", **way}}


async def upgraded(stage: Stage, scene: Scene, **spec: Any) -> None:
    """Assert that one call upgrades an engine, and that no output shows a secret."""
    engine = scene.engine(f"orders-{secrets.token_hex(3)}")
    name = scene.resource(engine, **spec)
    await scene.until_reason(name, "UpToDate")
    assert scene.accepted(engine) == {"2.4.0": 1}
    shown = stage.shown(scene)
    assert [canary for canary in CANARIES if canary in shown] == []


async def test_an_upgrade_by_federation_runs_through_the_expiry_of_its_keys(stage: Stage) -> None:
    scene = stage.scene()
    stage.account(scene)
    before = scene.admin.counts().get("TradeToken", 0)
    await upgraded(stage, scene, credentialsRef=account(identityProvider="cce"))
    # The job runs for as long as a key lives, so the operator needed at least one more key.
    assert scene.admin.counts()["TradeToken"] - before >= 2


async def test_an_upgrade_by_a_trust_agency(stage: Stage) -> None:
    scene = stage.scene()
    stage.account(scene)
    agency = {"providerUrn": PROVIDER_URN, "agencyUrn": AGENCY_URN}
    await upgraded(stage, scene, credentialsRef=account(trustAgency=agency))


async def test_the_identity_of_the_operators_pod_upgrades_only_where_it_is_lent(
    stage: Stage,
) -> None:
    await upgraded(stage, stage.scene(stage.lent), credentialsRef=None)
    elsewhere = stage.scene()
    name = elsewhere.resource(elsewhere.engine("orders"), credentialsRef=None)
    item = await elsewhere.until_reason(name, "CredentialsNotFound")
    assert "does not lend the operator's own identity" in ready(item)["message"]
    assert elsewhere.calls() == []


async def test_a_service_account_of_another_namespace_is_out_of_reach(stage: Stage) -> None:
    owner, stranger = stage.scene(), stage.scene()
    stage.account(owner)
    name = stranger.resource(
        stranger.engine("orders"), credentialsRef=account(identityProvider="cce")
    )
    item = await stranger.until_reason(name, "CredentialsNotFound")
    sentence = f"There is no ServiceAccount upgrades in the namespace {stranger.namespace}"
    assert sentence in ready(item)["message"]
    assert stranger.calls() == []


async def test_a_refused_identity_cools_down_and_holds_up_no_other_resource(stage: Stage) -> None:
    scene = stage.scene(stage.lent)
    stage.account(scene)
    stage.account(scene, "others")
    refusals = {
        "nowhere": ("CredentialsRefused", "check the identity provider"),
        "other-client": ("CredentialsRefused", "--token-audience"),
    }
    for provider, (reason, way_out) in refusals.items():
        name = scene.resource(
            scene.engine(provider), credentialsRef=account(identityProvider=provider)
        )
        assert way_out in ready(await scene.until_reason(name, reason))["message"]
    stranger = {"serviceAccount": {"name": "others", "identityProvider": "cce"}}
    name = scene.resource(scene.engine("ruled-out"), credentialsRef=stranger)
    item = await scene.until_reason(name, "CredentialsRefused")
    assert "the rule must name system:serviceaccount:" in ready(item)["message"]
    asked = scene.admin.counts()["TradeIdToken"]
    await upgraded(stage, scene, credentialsRef=None)
    assert scene.admin.counts()["TradeIdToken"] == asked


async def test_no_intent_is_written_with_an_identity_that_cannot_call_any_more(
    stage: Stage,
) -> None:
    scene = stage.scene()
    stage.account(scene)
    engine = scene.engine("orders", version="2.4.0", latest_version="2.5.0")
    name = scene.resource(engine, credentialsRef=account(identityProvider="cce"))
    await scene.until_reason(name, "UpToDate")
    fault = scene.admin.add_fault(Fault(operation="TradeIdToken", status=503, times=None))
    while not scene.admin.faults()[fault]:  # a look needs a new key: the old one ends soon
        scene.annotate(name, reconcile_requested_at=secrets.token_hex(4))
        await asyncio.sleep(0.5)
    scene.patch(name, version="2.5.0")
    item = await scene.until_reason(name, "CloudUnavailable")
    assert "upgrade" not in item["status"]
    assert scene.changing_calls() == []
    scene.admin.clear_faults(fault)
    await scene.until_reason(name, "UpToDate")
    assert scene.accepted(engine) == {"2.5.0": 1}
