"""`kubectl apply -k deploy/base` on the real API server, and what it gives away."""

from __future__ import annotations

import time
from typing import Any

import yaml

from cse_simulator.control_plane import Cluster, LocalControlPlane
from support.engines import engine_path
from support.kubectl import Kubectl
from support.repository import ROOT

BASE = ROOT / "deploy" / "base"
SAMPLES = ROOT / "deploy" / "samples"
SYSTEM = "cse-system"

Right = tuple[str, str, str, str]
"""API group, resource, name or "*", verb."""

EVERYWHERE: set[Right] = {
    ("cse-operator.io", "microserviceengines", "*", "get"),
    ("cse-operator.io", "microserviceengines", "*", "list"),
    ("cse-operator.io", "microserviceengines", "*", "watch"),
    ("cse-operator.io", "microserviceengines/status", "*", "patch"),
    ("", "secrets", "*", "get"),
    ("", "events", "*", "create"),
}
AT_HOME: set[Right] = {
    ("coordination.k8s.io", "leases", "*", "create"),
    ("coordination.k8s.io", "leases", "cse-operator", "get"),
    ("coordination.k8s.io", "leases", "cse-operator", "patch"),
}


def rights(cluster: Cluster, token: str, namespace: str) -> set[Right]:
    """What the owner of a token may do in a namespace, as the API server sees it."""
    review = cluster.request(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        {"spec": {"namespace": namespace}},
        token=token,
    )
    assert not review["status"]["incomplete"]
    assert not [rule for rule in review["status"]["nonResourceRules"] if "*" in rule["verbs"]]
    return {
        (group, resource, name, verb)
        for rule in review["status"]["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames") or ["*"]
        for verb in rule["verbs"]
    }


def rights_once_granted(
    cluster: Cluster, token: str, namespace: str, granted: set[Right]
) -> set[Right]:
    """The same, as soon as all that was granted is there: the authoriser watches the roles."""
    deadline = time.monotonic() + 30.0
    while True:
        found = rights(cluster, token, namespace)
        if granted <= found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def pod_of(deployment: dict[str, Any]) -> dict[str, Any]:
    """The Pod that the Deployment's controller would make."""
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "name": "cse-operator-0", "namespace": SYSTEM}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def test_the_base_installs_and_grants_exactly_what_the_operator_needs(
    private_control_plane: LocalControlPlane,
) -> None:
    cluster = private_control_plane.cluster
    kubectl = Kubectl(cluster)

    first = kubectl.run("apply", "-k", str(BASE))
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert "deployment.apps/cse-operator created" in first.stdout
    again = kubectl("apply", "-k", str(BASE))
    assert {line.split()[-1] for line in again.splitlines()} == {"unchanged"}

    # The operator's account may do this, and beyond it only what every account may.
    operator = cluster.service_account_token(SYSTEM, "cse-operator")
    kubectl("create", "serviceaccount", "nobody", "-n", SYSTEM)
    nobody = cluster.service_account_token(SYSTEM, "nobody")
    for namespace, granted in (("default", EVERYWHERE), (SYSTEM, EVERYWHERE | AT_HOME)):
        found = rights_once_granted(cluster, operator, namespace, granted)
        assert found - rights(cluster, nobody, namespace) == granted

    # The namespace enforces the restricted profile, and lets the operator's Pod in.
    deployment = kubectl.json("get", "deployment", "cse-operator", "-n", SYSTEM)
    pod = pod_of(deployment)
    admitted = kubectl("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))
    assert "created (server dry run)" in admitted
    del pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"]
    refused = kubectl.run("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))
    assert 'violates PodSecurity "restricted' in refused.stderr


def test_the_samples_are_what_the_api_server_accepts(
    control_plane: Cluster, namespace: str, kubectl: Kubectl
) -> None:
    applied = kubectl("apply", "-n", namespace, "-f", str(SAMPLES))
    assert len(applied.splitlines()) == len(list(SAMPLES.glob("*.yaml")))
    engines = control_plane.request("GET", engine_path(namespace))["items"]
    secrets = control_plane.request("GET", f"/api/v1/namespaces/{namespace}/secrets")["items"]
    named = {engine["spec"]["credentialsRef"]["name"] for engine in engines}
    assert named <= {secret["metadata"]["name"] for secret in secrets}
    assert len({engine["spec"]["engineId"] for engine in engines}) == len(engines) == 3
