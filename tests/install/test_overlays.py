"""The kustomize overlays: the changes of each, and that the API server accepts them."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from cse_simulator.control_plane import LocalControlPlane
from support.installation import (
    DEPLOY,
    SYSTEM,
    environment_of,
    install_steps_before,
    kustomization,
    kustomized,
    the,
)
from support.kubectl import Kubectl
from support.prometheus_operator import install_prometheus_operator_crds

OVERLAYS = sorted(path.name for path in (DEPLOY / "overlays").iterdir())
COMPONENTS = sorted(path.name for path in (DEPLOY / "components").iterdir())


def test_each_overlay_is_applied_without_a_warning_and_changes_nothing_the_second_time(
    private_control_plane: LocalControlPlane,
) -> None:
    kubectl = Kubectl(private_control_plane.cluster)
    install_prometheus_operator_crds(private_control_plane.cluster)
    install_steps_before(kubectl)

    for overlay in OVERLAYS:
        folder = str(DEPLOY / "overlays" / overlay)
        first = kubectl.run("apply", "-k", folder)
        assert (first.returncode, first.stderr) == (0, ""), overlay
        before = _versions(kubectl, folder)
        kubectl("apply", "-k", folder)
        assert _versions(kubectl, folder) == before


def _versions(kubectl: Kubectl, folder: str) -> dict[tuple[str, str], str]:
    """Return the resource versions of a folder's objects: a write without a change keeps them."""
    items = kubectl.json("get", "-k", folder)["items"]
    return {
        (item["kind"], item["metadata"]["name"]): item["metadata"]["resourceVersion"]
        for item in items
    }


@pytest.mark.parametrize(
    "components",
    [chosen for n in range(1, len(COMPONENTS) + 1) for chosen in combinations(COMPONENTS, n)],
    ids="+".join,
)
def test_components_combine_in_any_namespace(
    kubectl: Kubectl, tmp_path: Path, components: tuple[str, ...]
) -> None:
    objects = kustomized(kubectl, kustomization(tmp_path, *components, namespace="payments"))

    namespaces = {item["metadata"]["namespace"] for item in objects if _is_namespaced(item)}
    assert namespaces == {"payments"}
    assert "cse-system" not in str(objects)
    assert {item["metadata"]["labels"]["app.kubernetes.io/part-of"] for item in objects} == {
        "cse-operator"
    }


def _is_namespaced(manifest: dict[str, Any]) -> bool:
    return manifest["kind"] not in {
        "Namespace",
        "CustomResourceDefinition",
        "ClusterRole",
        "ClusterRoleBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }


@pytest.mark.parametrize("components", [(), ("high-availability", "monitoring")], ids="+".join)
def test_a_namespace_of_ones_own_choice_is_neither_made_nor_labelled(
    kubectl: Kubectl, tmp_path: Path, components: tuple[str, ...]
) -> None:
    objects = kustomized(kubectl, kustomization(tmp_path, *components, namespace="platform"))

    assert {item["kind"] for item in objects}.isdisjoint({"Namespace", "CustomResourceDefinition"})


def test_the_namespaced_overlay_leaves_nothing_outside_of_its_namespace(
    kubectl: Kubectl, tmp_path: Path
) -> None:
    objects = kustomized(kubectl, kustomization(tmp_path, "namespaced", namespace="payments"))

    assert [item["kind"] for item in objects if not _is_namespaced(item)] == []
    bindings = [item for item in objects if item["kind"] == "RoleBinding"]
    account = {"kind": "ServiceAccount", "name": "cse-operator", "namespace": "payments"}
    assert [item["subjects"] for item in bindings] == [[account]] * 2
    assert {item["roleRef"]["kind"] for item in bindings} == {"Role"}


def test_the_namespaced_overlay_grants_the_same_rules_in_one_namespace(kubectl: Kubectl) -> None:
    base = kustomized(kubectl, DEPLOY / "base")
    overlay = kustomized(kubectl, DEPLOY / "overlays" / "namespaced")

    everywhere = the(base, "ClusterRole", "cse-operator")["rules"]
    of_the_cluster = {"clusterupgradepolicies", "clusterupgradepolicies/status", "namespaces"}
    in_one = [rule for rule in everywhere if not of_the_cluster.intersection(rule["resources"])]
    assert the(overlay, "Role", "cse-operator")["rules"] == in_one
    assert len(everywhere) == len(in_one) + len(of_the_cluster)
    environment = environment_of(the(overlay, "Deployment"))
    assert environment["CSE_OPERATOR_NAMESPACES"] == SYSTEM


def test_with_high_availability_a_new_pod_is_ready_before_an_old_one_goes(
    kubectl: Kubectl,
) -> None:
    objects = kustomized(kubectl, DEPLOY / "overlays" / "high-availability")

    deployment = the(objects, "Deployment")["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    labels = deployment["template"]["metadata"]["labels"]
    selectors = [
        the(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        *(
            constraint["labelSelector"]["matchLabels"]
            for constraint in deployment["template"]["spec"]["topologySpreadConstraints"]
        ),
    ]
    assert [selector.items() <= labels.items() for selector in selectors] == [True] * 3


def test_with_high_availability_the_operator_stands_for_the_lease_that_its_role_names(
    kubectl: Kubectl,
) -> None:
    objects = kustomized(kubectl, DEPLOY / "overlays" / "high-availability")

    environment = environment_of(the(objects, "Deployment"))
    role = the(objects, "Role", "cse-operator-lease")
    assert environment["CSE_OPERATOR_LEADER_ELECT"] == "true"
    assert environment["POD_NAMESPACE"] == role["metadata"]["namespace"]
    named = [rule["resourceNames"] for rule in role["rules"] if "resourceNames" in rule]
    assert named == [[environment["CSE_OPERATOR_LEASE_NAME"]]]


def test_with_monitoring_prometheus_finds_the_service_s_port(kubectl: Kubectl) -> None:
    objects = kustomized(kubectl, DEPLOY / "overlays" / "with-monitoring")

    monitor = the(objects, "ServiceMonitor")
    service = the(objects, "Service")
    chosen = monitor["spec"]["selector"]["matchLabels"]
    assert chosen.items() <= service["metadata"]["labels"].items()
    ports = {port["name"] for port in service["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} == ports
    assert {"PrometheusRule", "ConfigMap"} <= {item["kind"] for item in objects}
