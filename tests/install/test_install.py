"""`kubectl apply -k deploy/base` on the real API server, and the rights that it grants."""

from __future__ import annotations

from typing import Any

import yaml

from cse_simulator.control_plane import Cluster, LocalControlPlane
from support.engines import engine_path
from support.installation import (
    DEPLOY,
    IN_THE_CLUSTER,
    SYSTEM,
    WHERE_IT_SERVES,
    install_steps_before,
    rights,
    rights_once_granted,
    where_it_runs,
)
from support.kubectl import Kubectl

BASE = DEPLOY / "base"
SAMPLES = DEPLOY / "samples"


def pod_of(deployment: dict[str, Any]) -> dict[str, Any]:
    """Return the Pod that the Deployment's controller would make."""
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "name": "cse-operator-0", "namespace": SYSTEM}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def test_the_base_installs_and_grants_exactly_what_the_operator_needs(
    private_control_plane: LocalControlPlane,
) -> None:
    cluster = private_control_plane.cluster
    kubectl = Kubectl(cluster)
    install_steps_before(kubectl)

    first = kubectl.run("apply", "-k", str(BASE))
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert "deployment.apps/cse-operator created" in first.stdout
    again = kubectl("apply", "-k", str(BASE))
    assert {line.split()[-1] for line in again.splitlines()} == {"unchanged"}

    # The operator's account may do this; anything else only if each account may.
    operator = cluster.service_account_token(SYSTEM, "cse-operator")
    kubectl("create", "serviceaccount", "nobody", "-n", SYSTEM)
    nobody = cluster.service_account_token(SYSTEM, "nobody")
    everywhere = WHERE_IT_SERVES | IN_THE_CLUSTER
    at_home = everywhere | where_it_runs()
    for namespace, granted in (("default", everywhere), (SYSTEM, at_home)):
        found = rights_once_granted(cluster, operator, namespace, granted)
        assert found - rights(cluster, nobody, namespace) == granted

    # The namespace enforces the restricted profile, and still admits the operator's Pod.
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
