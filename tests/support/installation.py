"""The parts of an installation, and an operator with its rights and settings."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml

from cse_simulator.control_plane import ApiError, Cluster
from support.kubectl import Kubectl
from support.operator_process import OperatorProcess
from support.repository import ROOT
from support.wait import ENGINES

Manifest = dict[str, Any]

DEPLOY = ROOT / "deploy"
SYSTEM = "cse-system"
CRD = "microserviceengines.cse-operator.io"

Right = tuple[str, str, str, str]
"""API group, resource, name or "*", verb."""

WHERE_IT_SERVES: set[Right] = {
    ("cse-operator.io", "microserviceengines", "*", "get"),
    ("cse-operator.io", "microserviceengines", "*", "list"),
    ("cse-operator.io", "microserviceengines", "*", "watch"),
    ("cse-operator.io", "microserviceengines/status", "*", "patch"),
    ("", "secrets", "*", "get"),
    ("", "events", "*", "create"),
    ("cse-operator.io", "upgradepolicies", "*", "list"),
    ("cse-operator.io", "upgradepolicies", "*", "watch"),
    ("cse-operator.io", "upgradepolicies/status", "*", "patch"),
}

IN_THE_CLUSTER: set[Right] = {
    ("cse-operator.io", "clusterupgradepolicies", "*", "list"),
    ("cse-operator.io", "clusterupgradepolicies", "*", "watch"),
    ("cse-operator.io", "clusterupgradepolicies/status", "*", "patch"),
    ("", "namespaces", "*", "list"),
}
"""The further rights of an operator that serves all namespaces."""


def where_it_runs(lease: str = "cse-operator") -> set[Right]:
    """Return the rights that leader election needs on the Lease of that name."""
    return {
        ("coordination.k8s.io", "leases", "*", "create"),
        ("coordination.k8s.io", "leases", lease, "get"),
        ("coordination.k8s.io", "leases", lease, "patch"),
    }


# --- manifests ----------------------------------------------------------------------------------


def parsed(text: str) -> list[Manifest]:
    """Return the objects in a stream of YAML documents."""
    return [document for document in yaml.safe_load_all(text) if document]


def kustomized(kubectl: Kubectl, folder: Path) -> list[Manifest]:
    """Return the objects that `kubectl kustomize` renders from a folder."""
    return parsed(kubectl("kustomize", str(folder)))


def kustomization(folder: Path, *components: str, namespace: str = SYSTEM, **fields: Any) -> Path:
    """Write a kustomization of the base with some of the components, as a user would."""
    folder.mkdir(parents=True, exist_ok=True)
    relative = os.path.relpath(DEPLOY.resolve(), folder.resolve())
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": [f"{relative}/base"],
        "components": [f"{relative}/components/{name}" for name in components],
        **fields,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return folder


def the(manifests: Sequence[Manifest], kind: str, name: str | None = None) -> Manifest:
    """Return the only object of a kind, or of a kind and a name."""
    [found] = [
        manifest
        for manifest in manifests
        if manifest["kind"] == kind and name in {None, manifest["metadata"]["name"]}
    ]
    return found


def environment_of(deployment: Manifest) -> dict[str, str]:
    """Return the environment that the kubelet would give the operator's container."""
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: _value_of(entry, deployment) for entry in container["env"]}


def _value_of(entry: Manifest, deployment: Manifest) -> str:
    if "value" in entry:
        return str(entry["value"])
    assert entry["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.namespace"
    return str(deployment["metadata"]["namespace"])


def install_steps_before(kubectl: Kubectl) -> None:
    """Do the one-time steps of a cluster administrator: install the CRDs and the namespace."""
    kubectl("apply", "-k", str(ROOT / "crds"))
    kubectl("apply", "-k", str(DEPLOY / "namespace"))


# --- rights -------------------------------------------------------------------------------------


def rights(cluster: Cluster, token: str, namespace: str) -> set[Right]:
    """Return the rights of a token in a namespace, as the API server reports them."""
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


def rights_in(manifests: Sequence[Manifest]) -> set[Right]:
    """Return the rights in the Roles and ClusterRoles among these objects."""
    return {
        (group, resource, name, verb)
        for manifest in manifests
        if manifest["kind"] in {"Role", "ClusterRole"}
        for rule in manifest["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", ["*"])
        for verb in rule["verbs"]
    }


def rights_once_granted(
    cluster: Cluster, token: str, namespace: str, granted: set[Right]
) -> set[Right]:
    """Return the rights once all granted ones are there: the authoriser may lag behind."""
    deadline = time.monotonic() + 30.0
    while True:
        found = rights(cluster, token, namespace)
        if granted <= found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


# --- the operator -------------------------------------------------------------------------------


def await_crd(cluster: Cluster, kubectl: Kubectl) -> None:
    """Wait until the CRD that was just applied is served."""
    kubectl("wait", "--for=condition=Established", f"crd/{CRD}", "--timeout=60s")
    deadline = time.monotonic() + 30.0
    while not _is_served(cluster):  # it is served shortly after it is established
        assert time.monotonic() < deadline, f"{CRD} is established and not served"
        time.sleep(0.05)


def _is_served(cluster: Cluster) -> bool:
    try:
        cluster.request("GET", f"/{ENGINES}", query={"limit": "1"})
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return False
    return True


def operator_of(
    deployment: Manifest,
    cluster: Cluster,
    folder: Path,
    *,
    cse_endpoint: str,
    flags: Sequence[str] = ("--poll-interval=0.2", "--wait-interval=0.5", "--lease-duration=3"),
    environment: Mapping[str, str] | None = None,
    name: str = "operator",
) -> OperatorProcess:
    """Return an operator process with the rights and the settings of a Deployment.

    Args:
        deployment: The rendered Deployment; its ServiceAccount must exist.
        cluster: The cluster.
        folder: The folder for the operator's kubeconfig and log.
        cse_endpoint: The simulator's URL.
        flags: Further flags.
        environment: Further variables.
        name: The name of the files in the folder.
    """
    namespace = deployment["metadata"]["namespace"]
    account = deployment["spec"]["template"]["spec"]["serviceAccountName"]
    token = cluster.service_account_token(namespace, account)
    return OperatorProcess(
        cluster.write_kubeconfig(folder / f"{name}.kubeconfig", token, namespace),
        folder / f"{name}.log",
        flags=flags,
        # A Pod's fixed ports would collide on a machine that many tests share.
        environment={
            **environment_of(deployment),
            "CSE_OPERATOR_PROBE_LISTEN": "",
            **(environment or {}),
        },
        cse_endpoint=cse_endpoint,
    )


async def until_it_says(operator: OperatorProcess, words: str) -> None:
    """Wait for these words in the operator's log."""
    deadline = time.monotonic() + 60.0
    while words not in operator.output():
        assert time.monotonic() < deadline, f"no {words!r} in\n{operator.output()}"
        await asyncio.sleep(0.05)
